"""Spectrograms augmented by kernels, and their gradients, are torch's."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_here import load, threads
from sweeps import examples

from wavedil.config import AugmentConfig
from wavedil.data.spectrogram_augment import LEAST_DEVIATION, augment_spectrogram
from wavedil.runtime.spectrogram import SpectrogramKernel

OFF = AugmentConfig(frequency_warp=0.0, style_probability=0.0, filter_db=0.0, time_masks=0, frequency_masks=0)
EVERY = replace(
    OFF,
    frequency_warp=0.2,
    style_probability=0.7,
    filter_db=10.0,
    time_masks=2,
    time_mask_frames=5,
    frequency_masks=1,
    frequency_mask_bins=4,
)
CONFIGS = {
    "everything": EVERY,
    "warp": replace(OFF, frequency_warp=0.3),
    "style": replace(OFF, style_probability=1.0),
    "filter": replace(OFF, filter_db=6.0),
    "masks of time": replace(OFF, time_masks=1, time_mask_frames=30),
    "masks of frequency": replace(OFF, frequency_masks=2, frequency_mask_bins=9),
    "no style": replace(EVERY, style_probability=0.0),
    "no masks": replace(EVERY, time_masks=0, frequency_masks=0),
    "nothing": OFF,
}


@pytest.fixture(scope="module")
def kernel() -> SpectrogramKernel:
    return SpectrogramKernel(load(), LEAST_DEVIATION)


def augmented(
    energies: torch.Tensor, grad: torch.Tensor, config: AugmentConfig, seed: int, render: SpectrogramKernel | None
) -> list[torch.Tensor]:
    """The augmented energies and the gradient of the given ones."""
    centres = torch.linspace(100, 4000, energies.shape[1]).cumsum(0)
    energies = energies.clone().requires_grad_()
    y = augment_spectrogram(energies, config, centres, torch.Generator().manual_seed(seed), render)
    (by_input,) = torch.autograd.grad(y, energies, grad.to(y.dtype))
    return [y.detach(), by_input]


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=examples(15))
@given(
    batch=st.integers(1, 9),
    bands=st.integers(1, 50),
    frames=st.integers(1, 60),
    count=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_is_what_torch_augments(
    kernel: SpectrogramKernel, name: str, batch: int, bands: int, frames: int, count: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    energies = 3 * torch.randn(batch, bands, frames, generator=generator) - 9
    grad = torch.randn(batch, bands, frames, generator=generator)
    with threads(count):
        found = augmented(energies, grad, CONFIGS[name], seed, kernel)
        again = augmented(energies, grad, CONFIGS[name], seed, kernel)
    exact = augmented(energies.double(), grad, CONFIGS[name], seed, None)
    plain = augmented(energies, grad, CONFIGS[name], seed, None)
    for own, same, wanted, by_torch in zip(found, again, exact, plain, strict=True):
        assert torch.equal(own, same)
        # A deviation of next to nothing makes a large scale, of which torch's own float32 knows as little.
        assert (own - wanted).norm() <= 3 * (by_torch - wanted).norm() + 1e-5 * wanted.norm()


@pytest.mark.parametrize("seed", range(5))
def test_a_band_that_hardly_moves_has_the_gradient_that_torch_finds(kernel: SpectrogramKernel, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    energies = 0.01 * torch.randn(9, 20, 2, generator=generator) - 9
    energies[::2] *= 1 + torch.rand(5, 20, 2, generator=generator)
    grad = torch.randn(9, 20, 2, generator=generator)
    _, own = augmented(energies, grad, CONFIGS["style"], seed, kernel)
    _, by_torch = augmented(energies, grad, CONFIGS["style"], seed, None)
    _, exact = augmented(energies.double(), grad, CONFIGS["style"], seed, None)
    # What rounding leaves of a mean is a large part of so small a deviation: both must take it out.
    assert (own - by_torch).norm() <= 0.1 * (by_torch - exact).norm()


def test_a_constant_band_has_a_gradient(kernel: SpectrogramKernel) -> None:
    energies, grad = torch.randn(4, 6, 20), torch.randn(4, 6, 20)
    energies[:, 2] = -20.0
    for own, wanted in zip(*(augmented(energies, grad, EVERY, 1, how) for how in (kernel, None)), strict=True):
        assert own.isfinite().all()
        torch.testing.assert_close(own, wanted, rtol=1e-3, atol=1e-3)


def test_other_precisions_are_left_to_torch(kernel: SpectrogramKernel) -> None:
    energies, grad = torch.randn(3, 5, 7, dtype=torch.float64), torch.randn(3, 5, 7)
    for own, wanted in zip(*(augmented(energies, grad, EVERY, 0, how) for how in (kernel, None)), strict=True):
        assert torch.equal(own, wanted)
