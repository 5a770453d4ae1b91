"""Interpolation: which inputs each output mixes, by the formulas of ``torch.nn.functional.interpolate``."""

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wavedil.receptive.trace.reach import Reach, continued, fill
from wavedil.receptive.trace.rules.registry import Call, rule

# Given the place of each output among the inputs, inputs from one output to the next, and how many inputs there are:
# rows of inputs that the outputs read; what lies outside stands for the nearest inside.
Mix = Callable[[Tensor, float, int], Sequence[Tensor]]


@rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
      "_upsample_nearest_exact2d", "_upsample_nearest_exact3d")  # fmt: skip
def nearest(call: Call) -> Reach:
    """Copies of the nearest element."""
    offset = 0.5 if "exact" in call.name else 0.0
    return interpolated(call, lambda o, scale: (o + offset) * scale, lambda positions, *_: [positions.floor()])


@rule("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")
def linear(call: Call) -> Reach:
    """The two neighbours on each axis, one where it is met exactly."""

    def mix(positions: Tensor, scale: float, size: int) -> Sequence[Tensor]:
        first = positions.clamp(0, size - 1).floor()
        return [first, torch.where(positions.clamp(0, size - 1) == first, first, first + 1)]

    return interpolated(call, _source(call), mix)


@rule("upsample_bicubic2d")
def cubic(call: Call) -> Reach:
    """The four neighbours on each axis, one where it is met exactly."""

    def mix(positions: Tensor, scale: float, size: int) -> Sequence[Tensor]:
        first = positions.floor()
        return [torch.where(positions == first, first, first + i) for i in (-1, 0, 1, 2)]

    return interpolated(call, _source(call), mix)


@rule("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_upsample_lanczos2d_aa")
def antialiased(call: Call) -> Reach:
    """The same windows, stretched by the scale where that is more than one; their zeros are not read."""
    half = next(width for name, width in (("bilinear", 1), ("bicubic", 2), ("lanczos", 3)) if name in call.name)

    def mix(positions: Tensor, scale: float, size: int) -> Sequence[Tensor]:
        stretch = max(scale, 1.0)
        centres = positions + 0.5
        first = (centres - half * stretch + 0.5).floor().clamp(min=0)
        rows = [first + i for i in range(math.ceil(2 * half * stretch) + 1)]
        nearest = (positions.round()).clamp(0, size - 1)
        places = [(row - positions) / stretch for row in rows]
        zero = [(place.abs() >= half) | ((place % 1 == 0) & (place != 0)) for place in places]
        return [torch.where(skip | (row > size - 1), nearest, row) for skip, row in zip(zero, rows, strict=True)]

    return interpolated(call, _half_pixel, mix)


def _source(call: Call) -> Callable[[Tensor, float], Tensor]:
    if call["align_corners"]:
        return lambda o, scale: o * scale
    return _half_pixel


def _half_pixel(o: Tensor, scale: float) -> Tensor:
    return (o + 0.5) * scale - 0.5


def interpolated(call: Call, source: Callable[[Tensor, float], Tensor], mix: Mix) -> Reach:
    """Resample each of the last dimensions.

    Args:
        call: of an ``upsample`` operator.
        source: position among the inputs of outputs, given the scale.
        mix: what each output reads.
    """
    x = call.get("self", "input")
    planes, count = x.planes, x.ndim - 2
    given = call.get("scale_factors") or [call.get(*names) for names in _SCALES[count]]
    for i in range(count):
        dim, size, out = 3 + i, x.shape[2 + i], call.shape[2 + i]
        if size == out:
            continue
        if call.get("align_corners"):
            scale = (size - 1) / (out - 1) if out > 1 else 0.0
        else:
            factor = given[i] if i < len(given) else None
            scale = 1 / factor if factor else size / out
        # Rounded, as 13 * (1 / 1.3) is meant to be 10.
        positions = source(torch.arange(out, dtype=torch.float64), scale).round(decimals=9)
        if x.endless:
            more = math.ceil(3 * max(scale, 1.0)) + 1
            planes = continued(fill(planes, dim, more, more), dim)
            positions, size = positions + more, size + 2 * more
        rows = mix(positions, scale, size)
        parts = [planes.index_select(dim, row.clamp(0, size - 1).long()) for row in rows]
        planes = functools.reduce(torch.maximum, parts)
    return x.like(planes)


_SCALES = {1: [("scales",)], 2: [("scales_h",), ("scales_w",)], 3: [("scales_d",), ("scales_h",), ("scales_w",)]}
