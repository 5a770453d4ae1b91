"""What of torch's modules the kernels know, and how they are told of them."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils import parametrize

from wavedil.layers import BatchNorm1d, BatchNorm2d, SubSpectralNorm
from wavedil.runtime.structures import LONG, Arguments, Convolution, Norm, padded

_NORMS = (BatchNorm1d, BatchNorm2d, SubSpectralNorm)


def describe_norm(
    keep: Arguments, norm: nn.modules.batchnorm._BatchNorm, moments: Tensor, bands: int = 1, bias: Tensor | None = None
) -> Norm:
    """A batch normalisation as the kernels want it.

    Args:
        keep: what is pointed to.
        norm: that :func:`is_known_norm`.
        moments: room for those of the batch, ``(2, bands * padded channels)``.
        bands: of frequency, each normalised by itself.
        bias: of the convolution before it.
    """
    features, channels = norm.num_features, norm.num_features // bands
    return Norm(
        channels=channels,
        bands=bands,
        gamma=keep.floats(norm.weight, features),
        beta=keep.floats(norm.bias, features),
        bias=keep.floats(bias, features),
        moments=keep.floats(moments, 2, bands, padded(channels)),
        running_mean=keep.floats(norm.running_mean, features),
        running_var=keep.floats(norm.running_var, features),
        momentum=norm.momentum,
        eps=norm.eps,
    )


def taps_of(keep: Arguments, conv: nn.Conv1d | nn.Conv2d, sessions: int) -> int:
    """To the rows that a convolution over time reads, from the present, oldest first."""
    taps, dilation = conv.kernel_size[-1], conv.dilation[-1] * sessions
    return keep.array(LONG, (-dilation * (taps - 1 - j) for j in range(taps)))


def rows_before(conv: nn.Conv1d | nn.Conv2d, sessions: int) -> int:
    """How many rows before the first a convolution over time reads."""
    return conv.dilation[-1] * (conv.kernel_size[-1] - 1) * sessions


def describe(
    keep: Arguments,
    conv: nn.Conv1d | nn.Conv2d,
    norm: nn.modules.batchnorm._BatchNorm,
    moments: Tensor,
    sessions: int,
    **places: Any,
) -> Convolution:
    """A convolution and its norm as the kernels want them.

    Args:
        keep: what is pointed to.
        conv: of stride 1 in time.
        norm: of its output.
        moments: room for those of the batch, ``(2, padded channels)``.
        sessions: that take turns in the rows, so that a frame is as many rows.
        places: the other fields, of the rows.
    """
    return Convolution(
        outputs=conv.out_channels,
        inputs=conv.in_channels,
        bins_read=(1, *conv.kernel_size)[-2],
        n_taps=conv.kernel_size[-1],
        taps=taps_of(keep, conv, sessions),
        weight=keep.floats(conv.weight, conv.out_channels, conv.in_channels, *conv.kernel_size),
        norm=describe_norm(keep, norm, moments, bias=conv.bias),
        **places,
    )


def fill_rows(x: Tensor) -> Tensor:
    """Rows as the kernels want them: in bfloat16, contiguous, their channels filled up to whole vectors by zeros."""
    missing = padded(x.shape[-1]) - x.shape[-1]
    return (pad(x, (0, missing)) if missing else x).to(torch.bfloat16).contiguous()


def is_known_norm(norm: nn.Module | None) -> bool:
    """Whether the kernels know a norm: over the batch, with running statistics."""
    if type(norm) not in _NORMS:
        return False
    norm = cast(nn.modules.batchnorm._BatchNorm, norm)
    return norm.affine and norm.track_running_stats and norm.momentum is not None and has_plain_weights(norm)


def is_known(conv: nn.Module, norm: nn.Module | None) -> bool:
    """Whether the kernels know a convolution followed by a norm."""
    if not isinstance(conv, nn.Conv1d | nn.Conv2d):
        return False
    return conv.groups == conv.stride[-1] == 1 and has_plain_weights(conv) and is_known_norm(norm)


def is_known_depthwise(conv: nn.Module) -> bool:
    """Whether the kernels know a convolution as one of each channel by itself, without bias."""
    if not isinstance(conv, nn.Conv1d | nn.Conv2d) or conv.bias is not None or conv.stride[-1] > 1:
        return False
    return conv.groups == conv.in_channels == conv.out_channels and has_plain_weights(conv)


def has_plain_weights(module: nn.Module) -> bool:
    """Whether all weights inside are there as such, in float32 on the CPU, as the kernels read them."""
    for weight in module.parameters():
        if weight.device.type != "cpu" or weight.dtype != torch.float32 or not weight.is_contiguous():
            return False
    return not any(parametrize.is_parametrized(child) for child in module.modules())
