"""Pure functions: the operator by its formula, causal convolutions, mu-law coding."""

import math
import operator
from functools import reduce
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Array = TypeVar("Array", np.ndarray, Tensor)
Mode = Literal["valid", "same", "full"]


def dilated_convolution(
    signal: Array, kernel: Array, dilation: int | tuple[int, ...] = 1, *, mode: Mode = "valid", flip: bool = True
) -> Array:
    """The l-dilated convolution ``(F *_l k)(p) = sum over s + l t = p of F(s) k(t)``.

    This is a true convolution: the kernel is flipped against what ``torch.nn.functional.conv1d`` computes, which is
    cross-correlation; ``flip=False`` gives that. Shift and add, so integers stay exact and gradients flow.
    Source: Yu and Koltun 2016, eq. 2, arXiv:1511.07122.

    Args:
        signal: ``(..., time)`` for a 1D kernel, ``(..., height, width)`` for a 2D one; NumPy array or tensor.
        kernel: ``(k,)`` or ``(k_height, k_width)``, of the same library as the signal.
        dilation: the rate l, one for all axes or one for each.
        mode: "valid" (where the dilated kernel lies inside the signal), "same" (the centre, as long as the signal) or
            "full" (wherever they overlap).
        flip: False for cross-correlation.

    Returns:
        The convolution; on each axis of the kernel, with span ``d = l (k - 1) + 1``, the length is ``n - d + 1``, ``n``
        or ``n + d - 1`` by mode.

    Raises:
        ValueError: for a kernel of other than 1 or 2 axes, a dilation below 1, or a kernel longer than the signal with
            mode "valid".

    Example:
        >>> dilated_convolution(np.array([1, 0, 0, 0, 2]), np.array([3, 5]), dilation=2)
        array([5, 0, 6])

        In 2D, a square of ones under a kernel that spans 7x7 (docs/examples/worked_example.py goes through it):

        >>> matrix = np.zeros((9, 9), dtype=int)
        >>> matrix[4:7, 3:6] = 1
        >>> dilated_convolution(matrix, np.arange(1, 10).reshape(3, 3), dilation=3)
        array([[2, 2, 2],
               [5, 5, 5],
               [5, 5, 5]])
    """
    axes = kernel.ndim
    rates = (dilation,) * axes if isinstance(dilation, int) else tuple(dilation)
    _check_dilated(tuple(signal.shape), tuple(kernel.shape), rates)
    spans = [rate * (size - 1) + 1 for size, rate in zip(kernel.shape, rates, strict=True)]
    if mode != "valid":
        ahead = [span - 1 if mode == "full" else (span - 1) // 2 for span in spans]
        behind = [span - 1 if mode == "full" else span // 2 for span in spans]
        # The output at p reads back to p - (span - 1): "same" keeps the centre of "full", as SciPy does.
        before, after = (behind, ahead) if flip else (ahead, behind)
        signal = _pad_axes(signal, before, after)
    lengths = [size - span + 1 for size, span in zip(signal.shape[-axes:], spans, strict=True)]
    if min(lengths) < 1:
        raise ValueError(f"a kernel that spans {spans} does not fit the signal's {list(signal.shape[-axes:])}")
    terms = []
    for tap in np.ndindex(*kernel.shape):
        offsets = [rate * (size - 1 - t if flip else t) for t, rate, size in zip(tap, rates, kernel.shape, strict=True)]
        window = (..., *(slice(start, start + length) for start, length in zip(offsets, lengths, strict=True)))
        terms.append(signal[window] * kernel[tap])
    return reduce(operator.add, terms)


def dilated_convolution_reference(signal: np.ndarray, kernel: np.ndarray, dilation: int = 1) -> np.ndarray:
    """The formula of :func:`dilated_convolution` read literally, mode "full": every s and t that add up to p.

    The slow oracle that the fast form is tested against.

    Args:
        signal: ``(time,)`` or ``(height, width)``.
        kernel: as many axes as the signal.
        dilation: the rate l, on every axis.
    """
    shape = [n + dilation * (k - 1) for n, k in zip(signal.shape, kernel.shape, strict=True)]
    output = np.zeros(shape, dtype=np.result_type(signal, kernel))
    for s in np.ndindex(*signal.shape):
        for t in np.ndindex(*kernel.shape):
            p = tuple(a + dilation * b for a, b in zip(s, t, strict=True))
            output[p] += signal[s] * kernel[t]
    return output


def causal_conv1d(
    waveform: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation with zeros before the start, so that output n reads nothing after input ``(n + 1) stride - 1``.

    Args:
        waveform: ``(batch, in_channels, time)``.
        weight: ``(out_channels, in_channels / groups, kernel_size)``.
        bias: ``(out_channels,)``.
        stride: inputs between outputs; the newest input of each stride is read by its last tap.
        dilation: inputs between taps.
        groups: as in ``torch.nn.functional.conv1d``.

    Returns:
        ``(batch, out_channels, time // stride)``.
    """
    padding = dilation * (weight.shape[-1] - 1) + 1 - stride
    return F.conv1d(F.pad(waveform, (padding, 0)), weight, bias, stride, 0, dilation, groups)


def mu_law_encode(waveform: Tensor, quantization_channels: int = 256) -> Tensor:
    """Companded and quantised: ``sign(x) ln(1 + mu |x|) / ln(1 + mu)``. Source: ITU-T G.711, van den Oord 2016, 2.2.

    Args:
        waveform: any shape, in [-1, 1]; values beyond are clipped.
        quantization_channels: number of codes, ``mu + 1``.

    Returns:
        int64 codes from 0 to ``quantization_channels - 1``, of the same shape.

    Raises:
        ValueError: if the waveform is not floating point.
    """
    if not waveform.is_floating_point():
        raise ValueError(f"expected a floating-point waveform in [-1, 1], got {waveform.dtype}")
    mu = quantization_channels - 1
    x = waveform.clamp(-1.0, 1.0)
    companded = torch.sign(x) * torch.log1p(mu * x.abs()) / math.log1p(mu)
    return ((companded + 1) / 2 * mu + 0.5).to(torch.int64)


def mu_law_decode(codes: Tensor, quantization_channels: int = 256) -> Tensor:
    """The waveform in [-1, 1] that :func:`mu_law_encode` maps to these codes.

    Args:
        codes: any shape, from 0 to ``quantization_channels - 1``.
        quantization_channels: number of codes.
    """
    mu = quantization_channels - 1
    companded = codes.to(torch.get_default_dtype()) / mu * 2 - 1
    return torch.sign(companded) * torch.expm1(companded.abs() * math.log1p(mu)) / mu


def _check_dilated(signal: tuple[int, ...], kernel: tuple[int, ...], rates: tuple[int, ...]) -> None:
    if len(kernel) not in (1, 2) or len(rates) != len(kernel) or len(signal) < len(kernel) or 0 in kernel:
        raise ValueError(
            "expected a kernel of 1 or 2 axes, a dilation for each, and a signal of at least as many axes; "
            f"got signal {signal}, kernel {kernel}, dilation {rates}"
        )
    if min(rates) < 1:
        raise ValueError(f"dilation must be at least 1, got {rates}")


def _pad_axes(signal: Array, before: list[int], after: list[int]) -> Array:
    if isinstance(signal, np.ndarray):
        widths = [(0, 0)] * (signal.ndim - len(before)) + list(zip(before, after, strict=True))
        return np.pad(signal, widths)
    reversed_pairs = [width for pair in zip(reversed(before), reversed(after), strict=True) for width in pair]
    return F.pad(signal, reversed_pairs)
