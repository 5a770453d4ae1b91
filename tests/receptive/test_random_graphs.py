"""Arithmetic, exact sets, gradients and NaN agree on networks that nobody chose."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import check
from sweeps import examples


@settings(max_examples=examples(100), deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 2))
def test_the_four_agree(rng, axes):
    assert check(rng, axes) == axes


@pytest.mark.full
@pytest.mark.parametrize("seed", range(4))
def test_the_four_agree_on_five_hundred_networks_each(seed):
    rng = random.Random(seed)
    assert sum(check(rng, 1 + i % 4 // 3) for i in range(500)) == 625


@pytest.mark.full
@pytest.mark.parametrize("part", range(20))
def test_the_four_agree_on_two_hundred_thousand(part):
    rng = random.Random(f"networks {part}")
    assert sum(check(rng, 1 + i % 4 // 3) for i in range(10_000)) == 12_500
