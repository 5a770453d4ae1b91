"""Dilated filters along one axis, signals continued beyond their ends, and long signals in blocks."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Extension = Literal["zeros", "reflect", "periodic"]

# A band, as a tensor or as the difference of two: it can then be written where it belongs at once.
Band = tuple[Tensor, Tensor | None]

# Bytes of a block: few enough for the cache, and enough that the work is longer than the calls.
_BLOCK = 2**19


def convolve(x: Tensor, taps: Sequence[float] | Tensor, dilation: int, axis: int = -1) -> Tensor:
    """Dilated convolution along an axis, where the filter lies inside: ``y(n) = sum_k taps(k) x(n + reach - k d)``.

    Shift and add: for the few taps of wavelets several times as fast as ``conv1d`` on a CPU.

    Args:
        x: any shape.
        taps: numbers, which stay exact whatever the signal's type, or a tensor ``(k,)`` that is learned.
        dilation: inputs between taps, d.
        axis: which is filtered; it becomes shorter by ``reach = d (k - 1)``.
    """
    reach = dilation * (len(taps) - 1)
    length = x.shape[axis] - reach
    y = x.narrow(axis, reach, length) * taps[0]
    for k in range(1, len(taps)):
        shifted = x.narrow(axis, reach - k * dilation, length)
        # Nothing but this sum has seen y, and its gradient needs no y: in place, the cache holds all there is.
        y = torch.addcmul(y, shifted, taps[k]) if isinstance(taps, Tensor) else y.add_(shifted, alpha=taps[k])
    return y


def window(x: Tensor, first: int, last: int, extension: Extension, axis: int = -1) -> Tensor:
    """The values from ``first`` to before ``last`` of a signal that goes on beyond its ends, however short it is.

    Args:
        x: any shape, with at least one value on the axis.
        first: may be negative.
        last: at least ``first``; may lie beyond the end.
        extension: "zeros", "reflect" (about the first and the last value, which are not repeated) or "periodic".
        axis: which is continued.
    """
    size = x.shape[axis]
    before, after = max(min(last, 0) - first, 0), max(last - max(first, size), 0)
    inside = x.narrow(axis, min(max(first, 0), size), last - first - before - after)
    if not before and not after:
        return inside
    if extension == "zeros":
        return F.pad(inside, (0, 0) * (-1 - axis) + (before, after))

    def beyond(first: int, last: int) -> Tensor:
        at = torch.arange(first, last, device=x.device)
        if extension == "periodic":
            return x.index_select(axis, at % size)
        return x.index_select(axis, size - 1 - (at % max(2 * size - 2, 1) - (size - 1)).abs())

    return torch.cat([beyond(first, first + before), inside, beyond(last - after, last)], dim=axis)


def block_length(x: Tensor, reach: int) -> int:
    """Outputs that are best computed at a time, if each reads ``reach`` inputs besides one and needs no gradient."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return x.shape[-1] + reach
    # At least the reach, so that no more than half of the work is done twice.
    return max(_BLOCK * x.shape[-1] // x.nbytes - reach, reach, 1)


def stack_bands(bands: Iterable[Band], axis: int) -> Tensor:
    """The bands as one tensor."""
    return torch.stack([a if b is None else a - b for a, b in bands], dim=axis)


def stack_blocks(bands_of: Callable[[int, int], Iterable[Band]], length: int, block: int, axis: int) -> Tensor:
    """Bands, stacked, that are computed block by block in time, so that all but the outputs stays in the cache.

    Args:
        bands_of: gives the bands from a time to before another; no gradient flows through it.
        length: of the bands in time.
        block: length of a block.
        axis: of the stack, counted from the end.
    """
    if block >= length:
        return stack_bands(bands_of(0, length), axis)
    one = stack_bands(bands_of(0, 1), axis)
    y = _empty((*one.shape[:-1], length), one.dtype)
    with torch.inference_mode():
        for first in range(0, length, block):
            last = min(first + block, length)
            for part, (a, b) in zip(y[..., first:last].unbind(axis), bands_of(first, last), strict=True):
                part.copy_(a) if b is None else torch.sub(a, b, out=part)
    return y


def _empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Memory from NumPy, which asks for huge pages: of small ones, the faults would take longer than the transform."""
    return torch.from_numpy(np.empty(math.prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(shape)
