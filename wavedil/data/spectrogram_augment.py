"""Augmentation of spectrograms in batches, on the device that they are on, with all chance from one generator."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from wavedil.config import AugmentConfig
from wavedil.data.augment import uniform

_FILTER_KNOTS = 5
_LEAST_DEVIATION = 1e-3  # of a band over time, which a silent one may not have


def spec_augment(features: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Mask bands of time and frequency by each clip's mean. Source: Park 2019, arXiv:1904.08779, without the warping.

    Args:
        features: ``(batch, channels, frames)``, such as log-mel; left as they are.
        config: number and largest width of the masks; the widths are uniform from 0 up.
        generator: on any device.

    Returns:
        Masked features of the same shape, dtype and device.
    """
    batch, channels, frames = features.shape
    mask = torch.zeros(1, 1, 1, dtype=torch.bool, device=features.device)
    for _ in range(config.time_masks if config.time_mask_frames else 0):
        mask = mask | _bands(batch, frames, config.time_mask_frames, generator, features.device)[:, None, :]
    for _ in range(config.frequency_masks if config.frequency_mask_bins else 0):
        mask = mask | _bands(batch, channels, config.frequency_mask_bins, generator, features.device)[:, :, None]
    return torch.where(mask, features.mean(dim=(1, 2), keepdim=True), features)


def mix_style(log_energies: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Let some clips sound in part like another of the batch: in the mean and the deviation of each band over time.

    Source: Zhou et al. 2021, "Domain Generalization with MixStyle", arXiv:2104.02008, there of hidden channels and with
    Beta shares, here uniform; "Freq-MixStyle" (Schmid et al. 2022) takes it to bands, against unseen microphones.

    Args:
        log_energies: ``(batch, bands, frames)``; left as they are.
        config: which share of the clips it happens to.
        generator: on any device.

    Returns:
        Energies of the same shape, dtype and device.
    """
    if not config.style_probability:
        return log_energies
    batch, device = len(log_energies), log_energies.device
    share, chance = uniform(2, batch, generator, device)
    share = (share * (chance < config.style_probability)).to(log_energies.dtype)[:, None, None]
    other = torch.randperm(batch, generator=generator, device=generator.device).to(device)
    mean = log_energies.mean(2, keepdim=True)
    centred = log_energies - mean
    # Not Tensor.std, which takes a CPU ten times as long; and not the root of zero, which has no gradient.
    deviation = (centred.square().mean(2, keepdim=True) + _LEAST_DEVIATION**2).sqrt()
    scale = torch.lerp(torch.ones_like(deviation), deviation[other] / deviation, share)
    return centred * scale + torch.lerp(mean, mean[other], share)


def filter_augment(log_energies: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Filter each clip by a random smooth response, as microphones, rooms and throats do.

    Source: Nam, Kim and Park 2022, "FilterAugment", arXiv:2110.03282, the linear type, with knots at equal distances.

    Args:
        log_energies: ``(batch, bands, frames)``, natural logarithms; left as they are.
        config: the largest gain of the response at its knots, in dB.
        generator: on any device.

    Returns:
        Filtered energies of the same shape, dtype and device.
    """
    if not config.filter_db:
        return log_energies
    batch, bands, _ = log_energies.shape
    decibels = config.filter_db * (2 * uniform(_FILTER_KNOTS, batch, generator, log_energies.device).T - 1)
    # By a product, since CUDA's interpolation of few points goes through the batch clip after clip.
    knots = torch.eye(_FILTER_KNOTS, dtype=decibels.dtype, device=decibels.device)
    weights = F.interpolate(knots[:, None], size=bands, mode="linear", align_corners=True)[:, 0]
    response = decibels @ weights * (math.log(10) / 10)
    return log_energies + response.to(log_energies.dtype)[:, :, None]


def frequency_warp(log_energies: Tensor, config: AugmentConfig, centres: Tensor, generator: torch.Generator) -> Tensor:
    """Stretch each clip along frequency by a random factor, as a longer or shorter vocal tract does.

    Source: Jaitly and Hinton 2013, "Vocal tract length perturbation"; here by interpolation between mel bands.

    Args:
        log_energies: ``(batch, bands, frames)``; left as they are.
        config: the largest relative change either way.
        centres: of the bands, in Hz, ``(bands,)``, rising.
        generator: on any device.

    Returns:
        Warped energies of the same shape, dtype and device; beyond the outermost bands these are repeated.
    """
    if not config.frequency_warp:
        return log_energies
    batch, bands, frames = log_energies.shape
    factor = 1 + config.frequency_warp * (2 * uniform(1, batch, generator, log_energies.device)[0] - 1)
    wanted = factor[:, None].to(centres.dtype) * centres
    above = torch.searchsorted(centres, wanted).clamp(1, bands - 1)
    low, high = centres[above - 1], centres[above]
    share = ((wanted - low) / (high - low)).clamp(0, 1).to(log_energies.dtype)[:, :, None]
    index = above[:, :, None].expand(-1, -1, frames)
    return torch.lerp(log_energies.gather(1, index - 1), log_energies.gather(1, index), share)


def _bands(batch: int, length: int, widest: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """One random band a clip: ``(batch, length)`` bool."""
    width, start = uniform(2, batch, generator, device)[:, :, None]
    width = (width * (min(widest, length) + 1)).long()
    start = (start * (length - width + 1)).long()
    positions = torch.arange(length, device=device)
    return (positions >= start) & (positions < start + width)
