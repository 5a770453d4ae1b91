"""Pure functions: the operator by its formula, causal convolutions, mu-law coding."""

import math
import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.nn import functional as F

from wavedil.checks import bounded_integer, one_of

Array = TypeVar("Array", np.ndarray, Tensor)
Mode = Literal["valid", "same", "full"]

MOST_CODES = 2**16
LONGEST = 2**24  # inputs from the first tap of a kernel to its last, or between outputs: six minutes at 48 kHz
MOST_VALUES = 2**27  # of a tensor that is made for a call: half a gibibyte in float32


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
        TypeError: for a signal and a kernel that are not both arrays or both tensors, or a dilation that is no integer.
        ValueError: for a kernel of other than 1 or 2 axes, a dilation below 1, a kernel longer than the signal with
            mode "valid", or another mode.

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
    one_of("mode", mode, get_args(Mode))
    if not any(isinstance(signal, kind) and isinstance(kernel, kind) for kind in (np.ndarray, Tensor)):
        kinds = f"{type(signal).__name__} and {type(kernel).__name__}"
        raise TypeError(f"signal and kernel: expected two NumPy arrays or two tensors, got {kinds}")
    axes = kernel.ndim
    rates = tuple(dilation) if isinstance(dilation, Sequence) else (dilation,) * axes
    _check_dilated(tuple(signal.shape), tuple(kernel.shape), rates)
    spans = [rate * (size - 1) + 1 for size, rate in zip(kernel.shape, rates, strict=True)]
    if mode != "valid":
        ahead = [span - 1 if mode == "full" else (span - 1) // 2 for span in spans]
        behind = [span - 1 if mode == "full" else span // 2 for span in spans]
        # The output at p reads back to p - (span - 1): "same" keeps the centre of "full", as SciPy does.
        before, after = (behind, ahead) if flip else (ahead, behind)
        _require_room(tuple(signal.shape), spans)
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

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if shapes do not fit each other, or a number is out of its range.
    """
    _check_causal(waveform, weight, bias, stride, dilation, groups)
    padding = dilation * (weight.shape[-1] - 1) + 1 - stride
    return F.conv1d(F.pad(waveform, (padding, 0)), weight, bias, stride, 0, dilation, groups)


def mu_law_encode(waveform: Tensor, quantization_channels: int = 256) -> Tensor:
    """Companded and quantised: ``sign(x) ln(1 + mu |x|) / ln(1 + mu)``. Source: ITU-T G.711, van den Oord 2016, 2.2.

    It is computed in float32, or in float64 for a waveform of that type.

    Args:
        waveform: any shape, of any floating-point type, in [-1, 1]; values beyond, infinite ones too, are clipped.
        quantization_channels: number of codes, ``mu + 1``, from 2 to 65,536.

    Returns:
        int64 codes from 0 to ``quantization_channels - 1``, of the same shape.

    Raises:
        TypeError: if the waveform is no tensor, or the number of codes no integer.
        ValueError: if the waveform is not floating point or holds NaN, or the number of codes is out of its range.
    """
    mu = bounded_integer("quantization_channels", quantization_channels, 2, MOST_CODES) - 1
    require_tensor("waveform", waveform)
    if not waveform.is_floating_point():
        raise ValueError(f"waveform: expected floating point in [-1, 1], got {waveform.dtype}: divide integers by 2^15")
    x = _widened(waveform)
    if not _is_symbolic(x) and x.isnan().any():
        raise ValueError(f"waveform: expected numbers, got NaN in {int(x.isnan().sum())} of {x.numel()} samples")
    x = x.clamp(-1.0, 1.0)
    companded = torch.sign(x) * torch.log1p(mu * x.abs()) / math.log1p(mu)
    return ((companded + 1) / 2 * mu + 0.5).to(torch.int64)


def mu_law_decode(codes: Tensor, quantization_channels: int = 256) -> Tensor:
    """The waveform in [-1, 1] that :func:`mu_law_encode` maps to these codes.

    Args:
        codes: any shape, of any integer type, from 0 to ``quantization_channels - 1``.
        quantization_channels: number of codes, from 2 to 65,536.

    Returns:
        Of the same shape, of torch's default type.

    Raises:
        TypeError: if the codes are no tensor, or their number no integer.
        ValueError: if the codes are not integers, or one of them or their number is out of its range.
    """
    mu = bounded_integer("quantization_channels", quantization_channels, 2, MOST_CODES) - 1
    require_tensor("codes", codes)
    if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise ValueError(f"codes: expected integers from 0 to {mu}, got {codes.dtype}")
    codes = codes.to(torch.int64)
    if codes.numel() and not _is_symbolic(codes):
        lowest, highest = (int(value) for value in codes.aminmax())
        if lowest < 0 or highest > mu:
            raise ValueError(f"codes: expected integers from 0 to {mu}, got {lowest if lowest < 0 else highest}")
    kind = torch.get_default_dtype()
    companded = codes.to(torch.promote_types(kind, torch.float32)) / mu * 2 - 1
    amplitude = torch.expm1(companded.abs() * math.log1p(mu)) / mu
    return (torch.sign(companded) * amplitude.clamp(max=1.0)).to(kind)


def require_tensor(name: str, value: Any) -> None:
    """Refuse, by name, what is no tensor.

    Raises:
        TypeError: if it is none.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")


def _widened(x: Tensor) -> Tensor:
    """In float32 at least: half precision has too few digits for a code, or for the energy of a quiet frame."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _is_symbolic(x: Tensor) -> bool:
    """Whether values cannot be looked at, since a graph is made of what is done to them."""
    return torch.compiler.is_compiling() or x.is_meta or isinstance(x, FakeTensor)


def _check_dilated(signal: tuple[int, ...], kernel: tuple[int, ...], rates: tuple[int, ...]) -> None:
    if len(kernel) not in (1, 2) or len(rates) != len(kernel) or len(signal) < len(kernel) or 0 in kernel:
        raise ValueError(
            "expected a kernel of 1 or 2 axes, a dilation for each, and a signal of at least as many axes; "
            f"got signal {signal}, kernel {kernel}, dilation {rates}"
        )
    for rate in rates:
        bounded_integer("dilation", rate, 1, LONGEST)


def _check_causal(
    waveform: Tensor, weight: Tensor, bias: Tensor | None, stride: int, dilation: int, groups: int
) -> None:
    for name, value in {"waveform": waveform, "weight": weight, **({} if bias is None else {"bias": bias})}.items():
        require_tensor(name, value)
        if value.dtype != waveform.dtype or not (value.is_floating_point() or value.is_complex()):
            raise ValueError(f"{name}: expected the waveform's floating-point type, got {value.dtype}")
    for name, value in {"stride": stride, "dilation": dilation, "groups": groups}.items():
        bounded_integer(name, value, 1, LONGEST)
    if weight.ndim != 3 or 0 in weight.shape or weight.shape[0] % groups:
        expected = f"(out_channels in multiples of {groups}, in_channels / groups, kernel_size)"
        raise ValueError(f"weight: expected {expected}, none of them 0, got {tuple(weight.shape)}")
    if waveform.ndim != 3 or waveform.shape[1] != weight.shape[1] * groups or waveform.shape[2] < stride:
        expected = f"(batch, {weight.shape[1] * groups}, time of at least {stride})"
        raise ValueError(f"waveform: expected {expected}, got {tuple(waveform.shape)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias: expected ({weight.shape[0]},), got {tuple(bias.shape)}")


def _require_room(signal: tuple[int, ...], spans: list[int]) -> None:
    """Refuse a kernel whose span would pad the signal to more than memory is meant to hold."""
    lead = signal[: len(signal) - len(spans)]
    padded = math.prod((*lead, *(n + 2 * (span - 1) for n, span in zip(signal[len(lead) :], spans, strict=True))))
    if padded > MOST_VALUES:
        raise ValueError(f"a kernel that spans {spans} would pad the signal to {padded:,} values, over {MOST_VALUES:,}")


def _pad_axes(signal: Array, before: list[int], after: list[int]) -> Array:
    if isinstance(signal, np.ndarray):
        widths = [(0, 0)] * (signal.ndim - len(before)) + list(zip(before, after, strict=True))
        return np.pad(signal, widths)
    reversed_pairs = [width for pair in zip(reversed(before), reversed(after), strict=True) for width in pair]
    return F.pad(signal, reversed_pairs)
