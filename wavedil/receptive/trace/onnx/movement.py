"""Operators that move elements and compute nothing: shapes, slices, pads, concatenations, indexing."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wavedil.receptive.trace.onnx.registry import Operation, as_tensor, operator

_PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@operator("Shape")
def shape(call: Operation) -> np.ndarray:
    """The shape, which is a constant."""
    sizes = np.array(call.tensor(0).shape, dtype=np.int64)
    return sizes[slice(call.get("start", 0), call.get("end"))]


@operator("Size")
def size(call: Operation) -> np.ndarray:
    """The number of elements, which is a constant."""
    return np.array(call.tensor(0).numel(), dtype=np.int64)


@operator("EyeLike", "RandomNormalLike", "RandomUniformLike")
def of_its_shape(call: Operation) -> np.ndarray:
    """A constant of its shape: of random ones, any will do."""
    sizes = call.tensor(0).shape
    return np.eye(*sizes, k=call.get("k", 0), dtype=np.float32) if len(sizes) == 2 else np.ones(sizes, np.float32)


@operator("Reshape")
def reshape(call: Operation) -> Tensor:
    """Another shape; 0 keeps a size, -1 takes what is left."""
    x, sizes = call.tensor(0), call.ints(1, "shape") or []
    if not call.get("allowzero", 0):
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    return x.reshape(sizes)


@operator("Flatten")
def flatten(call: Operation) -> Tensor:
    """A matrix."""
    x = call.tensor(0)
    axis = call.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Transpose")
def transpose(call: Operation) -> Tensor:
    """Other order of the axes."""
    x = call.tensor(0)
    return x.permute(call.get("perm") or list(reversed(range(x.ndim))))


@operator("Squeeze")
def squeeze(call: Operation) -> Tensor:
    """Without axes of size 1."""
    x, axes = call.tensor(0), call.ints(1, "axes")
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


@operator("Unsqueeze")
def unsqueeze(call: Operation) -> Tensor:
    """With further axes of size 1."""
    x, axes = call.tensor(0), call.ints(1, "axes") or []
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


@operator("Expand")
def expand(call: Operation) -> Tensor:
    """Broadcast to a shape, and that to it."""
    x = call.tensor(0)
    return x.expand(torch.broadcast_shapes(x.shape, call.ints(1) or []))


@operator("Tile")
def tile(call: Operation) -> Tensor:
    """Repetitions."""
    return call.tensor(0).repeat(call.ints(1) or [])


@operator("Concat")
def concatenate(call: Operation) -> Tensor:
    """Several tensors behind each other."""
    return torch.cat(call.tensors, call.get("axis", 1))


@operator("Split")
def split(call: Operation) -> tuple[Tensor, ...]:
    """Parts, of sizes that are given or alike."""
    x, axis, sizes = call.tensor(0), call.get("axis", 0), call.ints(1, "split")
    if sizes is None:
        each = -(-x.shape[axis] // len(call.node.outputs))
        return x.split(each, axis)
    return x.split(sizes, axis)


@operator("Slice")
def slices(call: Operation) -> Tensor:
    """A run of elements along each of some axes, backwards too."""
    x = call.tensor(0)
    starts, ends = call.ints(1, "starts") or [], call.ints(2, "ends") or []
    axes = call.ints(3, "axes") or list(range(len(starts)))
    for start, end, axis, step in zip(starts, ends, axes, call.ints(4) or [1] * len(starts), strict=True):
        length = x.shape[axis]
        if step < 0:  # the same, counted from the other side
            x = x.flip(axis)
            start = length - 1 - _clamped(start, length, -1, length - 1)
            end = length - 1 - _clamped(end, length, -1, length - 1)
        first, last = (_clamped(place, length, 0, length) if step > 0 else place for place in (start, end))
        x = _run(x, axis, first, last, abs(step))
    return x


def _clamped(place: int, length: int, low: int, high: int) -> int:
    return min(max(place + length if place < 0 else place, low), high)


def _run(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    return x[(slice(None),) * (axis % x.ndim) + (slice(start, max(start, end), step),)]


@operator("Pad")
def pad(call: Operation) -> Tensor:
    """Constants, mirrors or copies of the edges around a tensor; by negative widths, less of it."""
    x, mode = call.tensor(0), call.get("mode", "constant")
    widths = call.ints(1, "pads") or []
    value = call.constant(2, "value")
    count = len(widths) // 2
    pairs = dict(zip(call.ints(3) or range(count), zip(widths[:count], widths[count:], strict=True), strict=True))
    pairs = {axis % x.ndim: pair for axis, pair in pairs.items() if any(pair)}
    if mode == "constant":
        flat = [width for axis in reversed(range(x.ndim)) for width in pairs.get(axis, (0, 0))]
        return F.pad(x, flat, value=0.0 if value is None else float(np.asarray(value).reshape(())))
    for axis, pair in pairs.items():
        rows = x.movedim(axis, -1)
        padded = F.pad(rows.reshape(1, -1, rows.shape[-1]), pair, _PAD_MODES[mode])
        x = padded.reshape(*rows.shape[:-1], -1).movedim(-1, axis)
    return x


@operator("Gather")
def gather(call: Operation) -> Tensor:
    """Elements along an axis by number: rows of a table, say."""
    x, axis = call.tensor(0), call.get("axis", 0)
    axis %= x.ndim
    index = call.value(1)
    if isinstance(index, Tensor):
        if axis == 0 and x.ndim == 2:
            return F.embedding(index.long(), x)
        found = x.index_select(axis, index.reshape(-1).long())
        return found.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    places = np.asarray(index) % max(x.shape[axis], 1)
    if places.ndim == 0:
        return x.select(axis, int(places))
    return taken(x, axis, places.reshape(-1)).reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])


def taken(x: Tensor, axis: int, places: np.ndarray) -> Tensor:
    """Elements along an axis by number, as a slice where they are one."""
    steps = np.diff(places)
    if len(places) > 1 and steps[0] > 0 and (steps == steps[0]).all():
        return _run(x, axis, int(places[0]), int(places[-1]) + 1, int(steps[0]))
    return x.index_select(axis, as_tensor(places.astype(np.int64)))


@operator("GatherElements")
def gather_elements(call: Operation) -> Tensor:
    """An element for each number."""
    x, axis = call.tensor(0), call.get("axis", 0)
    places = call.value(1)
    places = places.long() if isinstance(places, Tensor) else as_tensor(places % max(x.shape[axis], 1)).long()
    return torch.gather(x, axis, places)


@operator("GatherND")
def gather_nd(call: Operation) -> Tensor:
    """Elements, or rows of them, by tuples of numbers."""
    x, places = call.tensor(0), call.constant(1)
    if call.get("batch_dims", 0):
        raise call.unknown("batch_dims is not known")
    if places.shape[-1] == 1:
        places = places[..., 0] % max(x.shape[0], 1)
        return taken(x, 0, places.reshape(-1)).reshape(*places.shape, *x.shape[1:])
    return x[_columns(places)]


def _columns(places: np.ndarray) -> tuple[Tensor, ...]:
    return tuple(as_tensor(places[..., i]).long() for i in range(places.shape[-1]))


@operator("ScatterND")
def scatter_nd(call: Operation) -> Tensor:
    """A tensor with some elements, or rows of them, written over or added to."""
    reduction = call.get("reduction", "none")
    if reduction not in ("none", "add"):
        raise call.unknown(f"reduction {reduction!r} is not known")
    return call.tensor(0).index_put(_columns(call.constant(1)), call.tensor(2), accumulate=reduction == "add")


@operator("ScatterElements", "Scatter")
def scatter_elements(call: Operation) -> Tensor:
    """A tensor with some elements written over or added to."""
    x, axis, reduction = call.tensor(0), call.get("axis", 0), call.get("reduction", "none")
    places = as_tensor(call.constant(1) % max(x.shape[axis], 1)).long()
    if reduction == "add":
        return torch.scatter_add(x, axis, places, call.tensor(2))
    if reduction == "none":
        return torch.scatter(x, axis, places, call.tensor(2))
    raise call.unknown(f"reduction {reduction!r} is not known")


@operator("Trilu")
def triangle(call: Operation) -> Tensor:
    """Zeros on one side of a diagonal."""
    return (torch.triu if call.get("upper", 1) else torch.tril)(call.tensor(0), call.integer(1))


@operator("OneHot")
def one_hot(call: Operation) -> Tensor:
    """A row for each number, set where the number says; negative ones count from the end."""
    x, depth = call.tensor(0).long(), call.integer(1)
    off, on = np.asarray(call.constant(2)).tolist()
    rows = torch.where(x < 0, x + depth, x)[..., None] == torch.arange(depth)
    return torch.where(rows, on, off).movedim(-1, call.get("axis", -1))


@operator("ReverseSequence")
def reverse_sequence(call: Operation) -> Tensor:
    """The first elements of each item of the batch backwards; only whole items are known."""
    x, axis = call.tensor(0), call.get("time_axis", 0)
    if set(call.ints(1) or []) != {x.shape[axis]}:
        raise call.unknown("parts of sequences are not known")
    return x.flip(axis)


@operator("DepthToSpace")
def depth_to_space(call: Operation) -> Tensor:
    """Channels moved into blocks of the plane."""
    x, block = call.tensor(0), call.get("blocksize")
    batch, channels, high, wide = x.shape
    rest = channels // block**2
    if call.get("mode", "DCR") == "CRD":
        parts = x.reshape(batch, rest, block, block, high, wide).permute(0, 1, 4, 2, 5, 3)
    else:
        parts = x.reshape(batch, block, block, rest, high, wide).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(batch, rest, high * block, wide * block)


@operator("SpaceToDepth")
def space_to_depth(call: Operation) -> Tensor:
    """Blocks of the plane moved into channels."""
    x, block = call.tensor(0), call.get("blocksize")
    batch, channels, high, wide = x.shape
    parts = x.reshape(batch, channels, high // block, block, wide // block, block).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(batch, channels * block**2, high // block, wide // block)


@operator("Col2Im")
def fold(call: Operation) -> Tensor:
    """Overlapping windows added up."""
    sizes, kernel = call.ints(1) or [], call.ints(2) or []
    count = len(sizes)
    widths = call.get("pads", [0] * 2 * count)
    if count != 2 or widths[:count] != widths[count:]:
        raise call.unknown("only planes padded alike on both sides are known")
    dilation, stride = (tuple(call.get(name, (1, 1))) for name in ("dilations", "strides"))
    return F.fold(call.tensor(0), tuple(sizes), tuple(kernel), dilation, tuple(widths[:count]), stride)
