"""Clips rendered by kernels are those of torch's augmentation, sample by sample."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_here import load
from sweeps import examples

from wavedil.config import AugmentConfig
from wavedil.data.augment import Augment
from wavedil.runtime.render import ClipRenderer

RATE = 1000
EVERY = AugmentConfig(
    shift_ms=100.0, speed=0.2, gain_db=6.0, cut_probability=0.5, cut_ms=300.0, noise_probability=0.7, noise_gain=0.5
)
CONFIGS = {
    "everything": EVERY,
    "no speed": replace(EVERY, speed=0.0),
    "no shift": replace(EVERY, shift_ms=0.0, cut_probability=0.0),
    "mixup": replace(EVERY, mixup=0.3),
    "nothing": AugmentConfig(shift_ms=0.0, speed=0.0, gain_db=0.0, noise_probability=0.0, mixup=0.0),
}


@pytest.fixture(scope="module")
def kernels() -> Any:
    return load()


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=examples(40))
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 9),
    samples=st.integers(1, 400),
    noise=st.none() | st.integers(1, 900),
)
def test_it_is_what_torch_renders(
    kernels: Any, name: str, seed: int, batch: int, samples: int, noise: int | None
) -> None:
    drawn = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randint(-32768, 32768, shape, generator=drawn).short()

    recording = None if noise is None else random(noise)
    clips, targets = random(batch, samples), torch.randint(3, (batch,), generator=drawn)
    own, plain = (Augment(CONFIGS[name], RATE, recording, 3, silence_index=1) for _ in range(2))
    own.renderer = ClipRenderer(kernels)
    given = own(clips, targets, torch.Generator().manual_seed(seed))
    expected = plain(clips, targets, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(given[0], expected[0], rtol=0, atol=2e-4)
    assert torch.equal(given[1], expected[1])


def test_floats_are_left_to_torch(kernels: Any) -> None:
    clips, targets = torch.randn(3, 100), torch.zeros(3, dtype=torch.int64)
    own, plain = (Augment(EVERY, RATE, None, 3) for _ in range(2))
    own.renderer = ClipRenderer(kernels)
    given, expected = (augment(clips, targets, torch.Generator().manual_seed(0))[0] for augment in (own, plain))
    assert torch.equal(given, expected)
