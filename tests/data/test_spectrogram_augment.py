import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wavedil.config import AugmentConfig
from wavedil.data.spectrogram_augment import filter_augment, frequency_warp, mix_style, spec_augment

OFF = AugmentConfig()
seeds = st.integers(0, 2**32 - 1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


MASKS = AugmentConfig(time_masks=2, time_mask_frames=7, frequency_masks=1, frequency_mask_bins=5)


@given(seeds, st.integers(1, 3), st.integers(0, 20), st.integers(0, 3), st.integers(0, 12))
def test_spec_augment_masks_at_most_what_it_says(seed: int, n_time: int, frames: int, n_bands: int, bins: int) -> None:
    features = torch.rand(8, 10, 30, generator=generator(seed)) + torch.arange(30)
    kept = features.clone()
    config = AugmentConfig(
        time_masks=n_time, time_mask_frames=frames, frequency_masks=n_bands, frequency_mask_bins=bins
    )
    found = spec_augment(features, config, generator(seed))
    assert torch.equal(features, kept)
    changed = found != features
    torch.testing.assert_close(found[changed], features.mean((1, 2))[:, None, None].expand_as(found)[changed])
    # A frame or band is masked whole; what is left of the mask after taking those frames away are whole bands.
    whole_frames = changed.all(dim=1)
    whole_bands = changed.all(dim=2)
    assert torch.equal(changed, whole_frames[:, None, :] | whole_bands[:, :, None])
    if not whole_bands.all(dim=1).any():  # all bands masked is all frames masked
        assert whole_frames.sum(dim=1).max() <= n_time * frames
    if not whole_frames.all(dim=1).any():
        assert whole_bands.sum(dim=1).max() <= n_bands * bins


def test_spec_augment_masks_something_and_differently() -> None:
    features = torch.rand(50, 40, 100, generator=generator())
    found = spec_augment(features, MASKS, generator())
    changed = found != features
    assert changed.any(dim=(1, 2)).sum() > 40
    assert len({tuple(row.flatten().tolist()) for row in changed}) > 40
    assert torch.equal(found, spec_augment(features, MASKS, generator()))
    assert not torch.equal(found, spec_augment(features, MASKS, generator(1)))


def test_spec_augment_off_is_the_identity() -> None:
    features = torch.rand(3, 4, 5)
    assert torch.equal(spec_augment(features, OFF, generator()), features)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_spec_augment_keeps_the_dtype(dtype: torch.dtype) -> None:
    assert spec_augment(torch.rand(3, 4, 5).to(dtype), MASKS, generator()).dtype == dtype


@given(seeds, st.floats(0.5, 20), st.integers(2, 60))
def test_a_filter_is_smooth_constant_in_time_and_within_its_bounds(seed: int, decibels: float, bands: int) -> None:
    energies = torch.randn(7, bands, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    config = replace(OFF, filter_db=decibels)
    response = filter_augment(energies, config, generator(seed)) - energies
    torch.testing.assert_close(response, response[..., :1].expand_as(response))
    gains = response[..., 0] * 10 / np.log(10)
    assert gains.abs().max() <= decibels + 1e-6
    assert gains.abs().max() > 0.3 * decibels  # of so many numbers
    steepest = 2 * decibels * 4 / max(bands - 1, 1)  # from one of five knots to the next
    assert gains.diff(dim=1).abs().max() <= min(steepest, 2 * decibels) + 1e-6
    assert torch.equal(filter_augment(energies, config, generator(seed)), energies + response)


def test_a_filter_of_nothing_leaves_the_energies() -> None:
    energies = torch.randn(2, 5, 4)
    assert filter_augment(energies, OFF, generator()) is energies


@given(seeds, st.floats(0.01, 0.3), st.integers(5, 80))
def test_a_warp_multiplies_frequencies_within_its_bounds(seed: int, most: float, bands: int) -> None:
    """Energies that are their band's own frequency show by which factor each band was read."""
    centres = torch.linspace(100, 4000, bands).cumsum(0)
    energies = centres[:, None].expand(20, bands, 3)
    config = replace(OFF, frequency_warp=most)
    warped = frequency_warp(energies, config, centres, torch.Generator().manual_seed(seed))
    factors = (warped / energies)[:, 1:]
    inside = (warped[:, 1:] > centres[0]) & (warped[:, 1:] < centres[-1] * 0.999)
    for clip, within in zip(factors, inside, strict=True):
        if within.any():
            assert clip[within].max() - clip[within].min() < 1e-3
            assert 1 - most - 1e-4 <= float(clip[within].mean()) <= 1 + most + 1e-4
    assert warped.min() >= centres[0]
    assert warped.max() <= centres[-1]
    assert len({round(float(clip[1, 0]), 3) for clip in warped}) > 3


def test_a_warp_of_nothing_leaves_the_energies() -> None:
    energies = torch.randn(3, 10, 4)
    assert frequency_warp(energies, OFF, torch.arange(10.0), torch.Generator()) is energies


def styles(energies: Tensor) -> Tensor:
    """Mean and deviation of each band, ``(batch, 2, bands)``."""
    return torch.stack([energies.mean(2), energies.std(2, correction=0)], dim=1)


@given(seeds, st.integers(1, 20), st.integers(1, 12))
def test_a_style_lies_between_its_own_and_another_of_the_batch(seed: int, batch: int, bands: int) -> None:
    energies = 10 * torch.rand(batch, bands, 9, generator=generator(seed), dtype=torch.float64) + torch.randn(
        batch, 1, 1
    )
    mixed = mix_style(energies, replace(OFF, style_probability=1.0), generator(seed))
    own, found = styles(energies), styles(mixed)
    for clip in range(batch):
        # The same share of the other's style in every band: one number makes up all the differences.
        towards = own - own[clip]
        moved = (found[clip] - own[clip]).expand_as(towards)
        share = ((moved * towards).sum((1, 2)) / towards.square().sum((1, 2)).clamp_min(1e-12)).clamp(0, 1)
        rest = (moved - share[:, None, None] * towards).abs().amax((1, 2))
        assert rest.min() < 0.02
    # What a band does over time is left: it is scaled and shifted.
    shape = (energies - energies.mean(2, keepdim=True)) / energies.std(2, correction=0, keepdim=True)
    kept = (mixed - mixed.mean(2, keepdim=True)) / mixed.std(2, correction=0, keepdim=True)
    torch.testing.assert_close(kept, shape)


def test_the_share_of_the_clips_that_take_over_a_style() -> None:
    energies = torch.randn(2000, 4, 6, generator=generator())
    changed = (mix_style(energies, replace(OFF, style_probability=0.3), generator()) - energies).abs().amax(
        (1, 2)
    ) > 1e-5
    assert 0.25 < float(changed.float().mean()) < 0.35


def test_silence_has_a_style_too() -> None:
    silent = torch.full((2, 4, 1), math.log(1e-9))
    assert torch.isfinite(mix_style(silent, replace(OFF, style_probability=1.0), generator())).all()


def test_silence_has_a_gradient_too() -> None:
    energies = torch.randn(4, 3, 6, generator=generator())
    energies[1:, 1] = math.log(1e-9)  # as digital silence and a learned front end give it
    energies.requires_grad_()
    mix_style(energies, replace(OFF, style_probability=1.0), generator()).square().sum().backward()
    assert energies.grad is not None
    assert torch.isfinite(energies.grad).all()


def test_no_style_leaves_the_energies() -> None:
    energies = torch.randn(3, 10, 4)
    assert mix_style(energies, OFF, generator()) is energies


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    energies, centres = torch.randn(64, 40, 50, generator=generator()), torch.arange(100.0, 4100.0, 100.0)
    config = replace(MASKS, frequency_warp=0.2, style_probability=0.5, filter_db=6.0)
    for function in (spec_augment, mix_style, filter_augment):
        on_gpu = function(energies.cuda(), config, generator())
        assert on_gpu.device.type == "cuda"
        torch.testing.assert_close(on_gpu.cpu(), function(energies, config, generator()), atol=1e-4, rtol=0)
    warped = frequency_warp(energies.cuda(), config, centres.cuda(), generator())
    torch.testing.assert_close(warped.cpu(), frequency_warp(energies, config, centres, generator()), atol=1e-4, rtol=0)
