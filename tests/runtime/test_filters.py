"""Learned filters by kernels: outputs and gradients are torch's, as near to exact arithmetic as those."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_here import load, threads
from sweeps import examples
from torch import Tensor, nn

from wavedil.config import FeatureConfig
from wavedil.filterbank import FilterEnergies
from wavedil.layers import StreamingModule
from wavedil.layers.interleave import run_each
from wavedil.runtime.filters import FilterRunner


@pytest.fixture(scope="module")
def runner() -> FilterRunner:
    return FilterRunner(load())


def filters(bands: int, span: int, hop: int) -> FilterEnergies:
    made = FilterEnergies(16_000, FeatureConfig(n_mels=bands, win_length=span, hop_length=hop))
    nn.init.normal_(made.weight)  # those of few samples would be alike
    return made


def run(module: FilterEnergies, x: Tensor, past: Tensor, grad: Tensor, how: Any) -> list[Tensor]:
    """Outputs and the gradient of the filters."""
    module.zero_grad()
    y = how(module, x, (past,))
    y.backward(grad.to(y.dtype))
    assert module.weight.grad is not None
    return [y.detach(), module.weight.grad]


@settings(max_examples=examples(25))
@given(
    clips=st.integers(1, 5),
    bands=st.integers(1, 40),
    hop=st.integers(1, 40),
    overlap=st.integers(0, 50),
    samples=st.integers(0, 700),
    count=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_it_is_what_torch_computes(
    runner: FilterRunner, clips: int, bands: int, hop: int, overlap: int, samples: int, count: int, seed: int
) -> None:
    torch.manual_seed(seed)
    module = filters(bands, hop + overlap, hop)
    x, past = torch.randn(clips, 1, hop + samples), torch.randn(1, 1, overlap)
    grad = torch.randn(clips, bands, (hop + samples) // hop)
    exact = run(copy.deepcopy(module).double(), x.double(), past.double(), grad, run_each)
    with threads(count):
        found = run(module, x, past, grad, runner)
        again = run(module, x, past, grad, runner)
    for own, same, wanted in zip(found, again, exact, strict=True):
        assert torch.equal(own, same)
        assert (own - wanted).norm() <= 1e-4 * wanted.norm() + 1e-6


def test_energies_of_a_quiet_frame_are_not_lost_beside_a_loud_one(runner: FilterRunner) -> None:
    module, past = filters(20, 100, 50), torch.zeros(1, 1, 50)
    x = torch.randn(1, 1, 500) * torch.logspace(0, -4, 500)
    exact = run_each(copy.deepcopy(module).double(), x.double(), (past.double(),))
    assert exact.max() - exact.min() > 10  # of logarithms
    torch.testing.assert_close(runner(module, x, (past,)).double(), exact, rtol=0, atol=1e-4)


def test_what_is_not_a_number_stays_where_it_is(runner: FilterRunner) -> None:
    module, x = filters(5, 20, 10), torch.randn(3, 1, 100)
    x[1, 0, 55] = torch.nan
    y, expected = (how(module, x, (torch.zeros(1, 1, 10),)) for how in (runner, run_each))
    assert expected.isnan().any()
    assert torch.equal(y.isnan(), expected.isnan())


def test_what_the_kernels_do_not_know_is_left_to_torch(runner: FilterRunner) -> None:
    module, past = filters(4, 20, 10), torch.zeros(1, 1, 10)
    x = torch.randn(2, 1, 60, requires_grad=True)
    (own,) = torch.autograd.grad(runner(module, x, (past,)).sum(), x)
    (expected,) = torch.autograd.grad(run_each(module, x, (past,)).sum(), x)
    assert torch.equal(own, expected)
    assert runner(module.double(), x.double(), (past.double(),)).dtype == torch.float64
    other: StreamingModule = filters(4, 20, 10)
    with pytest.raises(ValueError, match="chunk of at least 10"):
        runner(other, torch.randn(2, 1, 9), (past,))
