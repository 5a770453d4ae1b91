"""Resampling, by the operators of PyTorch where they are the same, else element by element from its definition."""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wavedil.receptive.trace.onnx.registry import Operation, as_tensor, operator

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


@operator("Resize", "Upsample")
def resize(call: Operation) -> Tensor:
    """More or fewer elements along some axes, nearest, linear or cubic."""
    x = call.tensor(0)
    if call.get("antialias") or call.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.unknown("antialias and keep_aspect_ratio_policy are not known")
    scales, sizes = _geometry(call, x)
    alike = _as_interpolation(call, x, scales, sizes)
    if alike is not None:
        return alike
    for axis, (scale, size) in enumerate(zip(scales, sizes, strict=True)):
        if size != x.shape[axis] or scale != 1:
            x = _resampled(call, x, axis, scale, size)
    return x


def _geometry(call: Operation, x: Tensor) -> tuple[list[float], list[int]]:
    """For each axis, outputs for each input and the number of outputs."""
    early = call.node.operator == "Upsample" or call.node.opset < 11
    given = call.constant(1, "scales") if early else call.constant(2)
    axes = [axis % x.ndim for axis in call.get("axes", range(x.ndim))]
    scales, sizes = [1.0] * x.ndim, list(x.shape)
    if given is not None and len(np.asarray(given)):
        for axis, scale in zip(axes, np.asarray(given).tolist(), strict=True):
            scales[axis], sizes[axis] = scale, int(x.shape[axis] * scale)
    else:
        for axis, size in zip(axes, call.ints(3) or [], strict=True):
            scales[axis], sizes[axis] = size / x.shape[axis], size
    return scales, sizes


def _modes(call: Operation) -> tuple[str, str, str]:
    """How values are mixed, how places are told, and how they are rounded."""
    early = call.node.operator == "Upsample" or call.node.opset < 11
    places = call.get("coordinate_transformation_mode", "asymmetric" if early else "half_pixel")
    rounding = call.get("nearest_mode", "floor" if early else "round_prefer_floor")
    return call.get("mode", "nearest"), places, rounding


def _as_interpolation(call: Operation, x: Tensor, scales: Sequence[float], sizes: Sequence[int]) -> Tensor | None:
    """PyTorch's own interpolation, if this is one."""
    mode, places, rounding = _modes(call)
    if x.ndim not in _LINEAR or sizes[:2] != list(x.shape[:2]):
        return None
    factors = [scale if int(n * scale) == size else None for n, scale, size in zip(x.shape, scales, sizes, strict=True)]
    exact = None not in factors[2:]
    interpolate = functools.partial(
        F.interpolate,
        x,
        size=None if exact else list(sizes[2:]),
        scale_factor=list(scales[2:]) if exact else None,  # type: ignore[arg-type]
    )
    if mode == "nearest" and places == "asymmetric" and rounding == "floor":
        return interpolate(mode="nearest")
    aligned = places == "align_corners"
    if not aligned and (places not in ("half_pixel", "pytorch_half_pixel") or 1 in sizes[2:]):
        return None
    if mode == "linear":
        return interpolate(mode=_LINEAR[x.ndim], align_corners=aligned)
    if (
        mode == "cubic"
        and x.ndim == 4
        and call.get("cubic_coeff_a", -0.75) == -0.75
        and not call.get("exclude_outside")
    ):
        return interpolate(mode="bicubic", align_corners=aligned)
    return None


def _resampled(call: Operation, x: Tensor, axis: int, scale: float, size: int) -> Tensor:
    """One axis: a weighted sum of neighbours."""
    mode, places, rounding = _modes(call)
    length = x.shape[axis]
    where = _places(call, places, length, size, scale)
    if mode == "nearest":
        rounded = {
            "floor": np.floor,
            "ceil": np.ceil,
            "round_prefer_floor": lambda p: np.ceil(p - 0.5),
            "round_prefer_ceil": lambda p: np.floor(p + 0.5),
        }[rounding](where)
        return x.index_select(axis, _index(rounded, length))
    first = np.floor(where)
    part = where - first
    weights = {0: 1 - part, 1: part} if mode == "linear" else _cubic(part, call.get("cubic_coeff_a", -0.75))
    if call.get("exclude_outside"):
        weights = {i: np.where((first + i >= 0) & (first + i < length), w, 0.0) for i, w in weights.items()}
        total = sum(weights.values())
        weights = {i: w / total for i, w in weights.items()}
    shape = [-1, *[1] * (x.ndim - 1 - axis)]
    parts = [
        x.index_select(axis, _index(first + i, length)) * as_tensor(weight).to(x.dtype).reshape(shape)
        for i, weight in weights.items()
    ]
    return torch.stack(parts).sum(0)


def _places(call: Operation, mode: str, length: int, size: int, scale: float) -> np.ndarray:
    """The place among the inputs that each output stands for."""
    outputs = np.arange(size, dtype=np.float32)  # in single precision, as runtimes compute it
    if mode == "asymmetric":
        return outputs / scale
    if mode == "align_corners":
        return outputs * ((length - 1) / (size - 1) if size > 1 else 0.0)
    if mode == "tf_half_pixel_for_nn":
        return (outputs + 0.5) / scale
    if mode == "half_pixel_symmetric":
        middle = length / 2 * (1 - size / (length * scale))
        return middle + (outputs + 0.5) / scale - 0.5
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (outputs + 0.5) / scale - 0.5 if size > 1 or mode == "half_pixel" else 0 * outputs
    raise call.unknown(f"coordinate_transformation_mode {mode!r} is not known")


def _cubic(part: np.ndarray, a: float) -> dict[int, np.ndarray]:
    """Weights of four neighbours. Source: Keys 1981, "Cubic convolution interpolation for digital image processing"."""

    def near(d: np.ndarray) -> np.ndarray:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: np.ndarray) -> np.ndarray:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return {-1: far(part + 1), 0: near(part), 1: near(1 - part), 2: far(2 - part)}


def _index(places: np.ndarray, length: int) -> Tensor:
    return as_tensor(places.clip(0, length - 1).astype(np.int64))
