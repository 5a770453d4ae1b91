"""Augmentation of spectrograms in batches, on the device that they are on, with all chance from one generator."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from wavedil.config import AugmentConfig
from wavedil.data.augment import uniform

_FILTER_KNOTS = 5
LEAST_DEVIATION = 1e-3  # of a band over time, which a silent one may not have


class Warp(NamedTuple):
    """Where each band is read: ``(batch, bands)``, the upper of two bands, and its share against the one below it."""

    above: Tensor
    share: Tensor


class Style(NamedTuple):
    """Whose style a clip is given a share of: ``(batch,)``; each clip's is given to one."""

    share: Tensor
    other: Tensor


class Masks(NamedTuple):
    """What is masked: ``(batch, frames)`` and ``(batch, bands)``, bool."""

    frames: Tensor
    bands: Tensor


# Log energies on a CPU in float32, and what chance decided for them (above and share of the warp, share and other of
# the style, response, masks of frames and bands, None for what is off), to augmented ones.
SpectrogramRenderer = Callable[..., Tensor]


def augment_spectrogram(
    log_energies: Tensor,
    config: AugmentConfig,
    centres: Tensor,
    generator: torch.Generator,
    render: SpectrogramRenderer | None = None,
) -> Tensor:
    """:func:`frequency_warp`, :func:`mix_style`, :func:`filter_augment` and :func:`spec_augment`, in this order.

    Args:
        log_energies: ``(batch, bands, frames)``, natural logarithms; left as they are.
        config: of the augmentation.
        centres: of the bands, in Hz, ``(bands,)``, rising.
        generator: on any device.
        render: what follows the draws for float32 on a CPU, if not torch; see wavedil.runtime.spectrogram.
    """
    batch, bands, frames = log_energies.shape
    device = log_energies.device
    warp = _draw_warp(batch, config, centres, generator)
    style = _draw_style(batch, config, generator, device)
    response = _draw_response(batch, bands, config, generator, device)
    masks = _draw_masks(batch, bands, frames, config, generator, device)
    if render is not None and log_energies.dtype == torch.float32 and device.type == "cpu":
        off = None, None
        return render(log_energies, *(warp or off), *(style or off), response, *(masks or off))
    return _mask(_add(_mix(_warp(log_energies, warp), style), response), masks)


def spec_augment(features: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Mask bands of time and frequency by each clip's mean. Source: Park 2019, arXiv:1904.08779, without the warping.

    Args:
        features: ``(batch, channels, frames)``, such as log-mel; left as they are.
        config: number and largest width of the masks; the widths are uniform from 0 up.
        generator: on any device.

    Returns:
        Masked features of the same shape, dtype and device.
    """
    batch, bands, frames = features.shape
    return _mask(features, _draw_masks(batch, bands, frames, config, generator, features.device))


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
    return _mix(log_energies, _draw_style(len(log_energies), config, generator, log_energies.device))


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
    batch, bands, _ = log_energies.shape
    return _add(log_energies, _draw_response(batch, bands, config, generator, log_energies.device))


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
    return _warp(log_energies, _draw_warp(len(log_energies), config, centres, generator))


def _draw_warp(batch: int, config: AugmentConfig, centres: Tensor, generator: torch.Generator) -> Warp | None:
    bands = len(centres)
    if not config.frequency_warp or bands < 2:
        return None
    factor = 1 + config.frequency_warp * (2 * uniform(1, batch, generator, centres.device)[0] - 1)
    wanted = factor[:, None].to(centres.dtype) * centres
    above = torch.searchsorted(centres, wanted).clamp(1, bands - 1)
    low, high = centres[above - 1], centres[above]
    return Warp(above, ((wanted - low) / (high - low)).clamp(0, 1))


def _warp(log_energies: Tensor, warp: Warp | None) -> Tensor:
    if warp is None:
        return log_energies
    share = warp.share.to(log_energies.dtype)[:, :, None]
    index = warp.above[:, :, None].expand(-1, -1, log_energies.shape[2])
    return torch.lerp(log_energies.gather(1, index - 1), log_energies.gather(1, index), share)


def _draw_style(batch: int, config: AugmentConfig, generator: torch.Generator, device: torch.device) -> Style | None:
    if not config.style_probability:
        return None
    share, chance = uniform(2, batch, generator, device)
    other = torch.randperm(batch, generator=generator, device=generator.device).to(device)
    return Style(share * (chance < config.style_probability), other)


def _mix(log_energies: Tensor, style: Style | None) -> Tensor:
    if style is None:
        return log_energies
    share, other = style.share.to(log_energies.dtype)[:, None, None], style.other
    mean = log_energies.mean(2, keepdim=True)
    centred = log_energies - mean
    # Not Tensor.std, which takes a CPU ten times as long; and not the root of zero, which has no gradient.
    deviation = (centred.square().mean(2, keepdim=True) + LEAST_DEVIATION**2).sqrt()
    scale = torch.lerp(torch.ones_like(deviation), deviation[other] / deviation, share)
    return centred * scale + torch.lerp(mean, mean[other], share)


def _draw_response(
    batch: int, bands: int, config: AugmentConfig, generator: torch.Generator, device: torch.device
) -> Tensor | None:
    if not config.filter_db:
        return None
    decibels = config.filter_db * (2 * uniform(_FILTER_KNOTS, batch, generator, device).T - 1)
    # By a product, since CUDA's interpolation of few points goes through the batch clip after clip.
    knots = torch.eye(_FILTER_KNOTS, dtype=decibels.dtype, device=decibels.device)
    weights = F.interpolate(knots[:, None], size=bands, mode="linear", align_corners=True)[:, 0]
    return decibels @ weights * (math.log(10) / 10)


def _add(log_energies: Tensor, response: Tensor | None) -> Tensor:
    return log_energies if response is None else log_energies + response.to(log_energies.dtype)[:, :, None]


def _draw_masks(
    batch: int, bands: int, frames: int, config: AugmentConfig, generator: torch.Generator, device: torch.device
) -> Masks | None:
    n_frames = config.time_masks if config.time_mask_frames else 0
    n_bands = config.frequency_masks if config.frequency_mask_bins else 0
    if not n_frames + n_bands:
        return None
    masked = []
    for number, length, widest in (
        (n_frames, frames, config.time_mask_frames),
        (n_bands, bands, config.frequency_mask_bins),
    ):
        masked.append(torch.zeros(batch, length, dtype=torch.bool, device=device))
        for _ in range(number):
            masked[-1] |= _stretch(batch, length, widest, generator, device)
    return Masks(*masked)


def _mask(features: Tensor, masks: Masks | None) -> Tensor:
    if masks is None:
        return features
    mask = masks.frames[:, None, :] | masks.bands[:, :, None]
    return torch.where(mask, features.mean(dim=(1, 2), keepdim=True), features)


def _stretch(batch: int, length: int, widest: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """One random stretch a clip: ``(batch, length)`` bool."""
    width, start = uniform(2, batch, generator, device)[:, :, None]
    width = (width * (min(widest, length) + 1)).long()
    start = (start * (length - width + 1)).long()
    positions = torch.arange(length, device=device)
    return (positions >= start) & (positions < start + width)
