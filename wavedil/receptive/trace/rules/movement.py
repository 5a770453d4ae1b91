"""Operators that move elements and compute nothing: views, slices, pads, concatenations, indexing."""

import math
from typing import Any

import torch
from torch import Tensor

from wavedil.receptive.trace.reach import (
    NOTHING,
    Reach,
    continued,
    fill,
    join,
    lift,
    reaches,
    rearrange,
    reduce,
    spread,
)
from wavedil.receptive.trace.rules.registry import Call, rule

_NAMES = """
view reshape _unsafe_view _reshape_alias view_copy permute permute_copy transpose transpose_copy t t_copy numpy_T mT
mH adjoint unsqueeze unsqueeze_copy squeeze squeeze_copy flatten unflatten expand expand_copy expand_as broadcast_to
select select_copy slice slice_copy narrow narrow_copy split split_with_sizes split_copy split_with_sizes_copy chunk
unsafe_split unsafe_split_with_sizes unsafe_chunk tensor_split unbind unbind_copy flip fliplr flipud roll unfold
unfold_copy as_strided as_strided_copy repeat repeat_interleave tile diagonal diagonal_copy pixel_shuffle
pixel_unshuffle channel_shuffle movedim moveaxis swapaxes swapdims rot90 index_select gather take_along_dim ravel
view_as reshape_as hsplit vsplit dsplit matrix_H
"""
MOVES = frozenset(_NAMES.split())

_VIEWS = frozenset(("view", "_unsafe_view", "view_copy"))


@rule(*MOVES)
def move(call: Call) -> Any:
    """The operator itself, on each plane."""
    name, x = next(iter(call.args.items()))
    others = {k: v for k, v in call.args.items() if k != name}
    if not isinstance(x, Reach) or reaches(*others.values()):
        return picked(call)
    if call.name in _VIEWS:  # planes are not laid out in memory as the values are
        return rearrange(lambda plane: plane.reshape(others["size"]), x)
    laid_out = call.name.startswith("as_strided")
    return rearrange(lambda p: call.again(**{name: p.contiguous() if laid_out else p, **others}), x)


def picked(call: Call) -> Any:
    """Elements from places that depend on the input: any of a row, or of all there are."""
    x, index = call.get("self", "input"), call.get("index", "indices")
    if call.name not in ("gather", "take_along_dim") or call["dim"] is None:
        return everything(call)
    parts = [reduce(x, [call["dim"]], keepdim=True)] if isinstance(x, Reach) else []
    return join([*parts, index], call.shape)


def everything(call: Call) -> Any:
    """Each output element may be any input element."""
    parts = reaches(*call.values)

    def whole(shape: torch.Size) -> Reach:
        total = join([reduce(part, None) for part in parts], ())
        return total.like(spread(total.planes, shape))

    return [whole(shape) for shape in call.shapes] if isinstance(call.shapes, list) else whole(call.shapes)


@rule("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack")
def concatenate(call: Call) -> Reach:
    """Several tensors behind or beside each other; constants among them depend on nothing."""
    tensors = call.get("tensors")
    like = reaches(tensors)[0]
    parts = [lift(tensor, like) for tensor in tensors]
    result = rearrange(lambda *planes: call.again(tensors=list(planes)), *parts)
    return result.continued(call["dim"]) if "dim" in call.args else result


@rule("broadcast_tensors")
def broadcast(call: Call) -> Any:
    """Each of several tensors repeated to the shape of all."""
    tensors = call["tensors"]
    parts = [lift(tensor, reaches(tensors)[0]) for tensor in tensors]
    pairs = zip(parts, call.shapes, strict=True)
    return [part.like(spread(part.planes, shape), part.value) for part, shape in pairs]


@rule("constant_pad_nd")
def constant_pad(call: Call) -> Reach:
    """Constants around a tensor, or, by negative widths, less of it."""
    return padded(call["self"], call["pad"], "constant", call.get("value", default=0.0) or 0.0)


@rule("pad")
def pad(call: Call) -> Reach:
    """``torch.nn.functional.pad`` in each of its modes."""
    return padded(call["self"], call["pad"], call.get("mode", default="constant"), call.get("value") or 0.0)


@rule("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def reflection_pad(call: Call) -> Reach:
    """Mirrored edges."""
    return padded(call["self"], call["padding"], "reflect", 0.0)


@rule("replication_pad1d", "replication_pad2d", "replication_pad3d")
def replication_pad(call: Call) -> Reach:
    """Repeated edges."""
    return padded(call["self"], call["padding"], "replicate", 0.0)


def padded(x: Reach, widths: Any, mode: str, value: float) -> Reach:
    """A padded tensor. Mirrors and copies of the edges depend on what they show, constants on nothing."""
    planes, known = x.planes, x.value
    for i in range(0, len(widths), 2):
        left, right = int(widths[i]), int(widths[i + 1])
        dim = x.ndim - 1 - i // 2
        if not left and not right:
            continue
        if mode == "constant":
            planes = fill(planes, 1 + dim, left, right)
            planes = continued(planes, 1 + dim) if x.endless else planes
            if known is None:
                known = torch.full((), math.nan).expand(x.shape)
            edges = [0, 0] * (i // 2) + [left, right]
            known = torch.nn.functional.pad(known, edges, value=value)
        else:
            index = edge_index(x.shape[dim], left, right, mode)
            if x.endless:
                planes = continued(fill(planes, 1 + dim, left, right), 1 + dim)
            else:
                planes = planes.index_select(1 + dim, index)
            known = None
    return x.like(planes, known)


def edge_index(size: int, left: int, right: int, mode: str) -> Tensor:
    """Which element each element of a padded dimension shows."""
    index = torch.arange(-left, size + right)
    if mode == "reflect":
        index = index.abs()
        return torch.where(index >= size, 2 * (size - 1) - index, index)
    if mode == "replicate":
        return index.clamp(0, size - 1)
    if mode == "circular":
        return index % size
    raise ValueError(f"pad: mode must be constant, reflect, replicate or circular, got {mode!r}")


@rule("tril", "triu")
def triangle(call: Call) -> Reach:
    """Zeros on one side of a diagonal."""
    x, ones = call["self"], torch.ones(call.shape[-2:])
    kept = call.again(self=ones) != 0
    planes = torch.where(kept, x.planes, NOTHING)
    value = torch.where(kept, torch.nan if x.value is None else x.value, 0.0)
    return x.like(planes, value.expand(x.shape))


@rule("index", "_unsafe_index")
def index(call: Call) -> Any:
    """Indexing by constant tensors."""
    indices = call["indices"]
    given = [index for index in indices if index is not None]
    if not isinstance(call["self"], Reach) and len(given) == 1 and isinstance(given[0], Reach):
        # Rows of a table: each reads its own number.
        rest = [1] * (call["self"].ndim - 1 - indices.index(given[0]))
        planes = given[0].planes
        return given[0].like(spread(planes.reshape(*planes.shape, *rest), call.shape))
    if reaches(indices) or not isinstance(call["self"], Reach):
        return everything(call)
    return rearrange(lambda plane: call.again(self=plane), call["self"])


@rule("index_put", "_unsafe_index_put", "scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy",
      "slice_scatter", "select_scatter", "diagonal_scatter", "as_strided_scatter", "index_fill",
      "masked_scatter")  # fmt: skip
def write(call: Call) -> Reach:
    """A tensor of which some elements are written over, or added to, from another."""
    source_name = next(name for name in ("values", "src", "source", "value") if name in call.args)
    others = {k: v for k, v in call.args.items() if k not in ("self", source_name)}
    if reaches(*others.values()) or call.name == "masked_scatter":
        return everything(call)
    like = reaches(call["self"], call[source_name])[0]
    target, source = lift(call["self"], like), lift(call[source_name], like)
    if call.name in ("scatter_add", "scatter_reduce", "index_add") or call.get("accumulate", default=False):
        places = _places(call)
        return rearrange(lambda a, b: _added(places, a, b), target, source)
    result = rearrange(lambda a, b: call.again(**{"self": a.contiguous(), source_name: b}), target, source)
    return result.continued(call["dim"]) if isinstance(call.get("dim"), int) else result


def _places(call: Call) -> Tensor:
    """Where in the flat tensor each element of the source is added."""
    shape = call["self"].shape
    flat = torch.arange(math.prod(shape)).reshape(shape)
    if "indices" in call.args:
        return flat[[slice(None) if index is None else index for index in call["indices"]]]
    where = flat.index_select if call.name == "index_add" else flat.gather
    return where(call["dim"], call["index"])


def _added(places: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """The larger one of what was there and all that is added."""
    if source.ndim == places.ndim:  # of a larger source, scatter_add takes the beginning
        source = source[tuple(slice(size) for size in places.shape)]
    source = source.expand(places.shape).reshape(-1)
    return target.reshape(-1).scatter_reduce(0, places.reshape(-1), source, "amax").reshape(target.shape)


@rule("col2im")
def fold(call: Call) -> Reach:
    """Overlapping windows added up: the inverse of ``im2col``."""
    x, size = call["self"], call["output_size"]
    kernel, dilation = call["kernel_size"], call["dilation"]
    padding, stride = call["padding"], call["stride"]
    channels = x.shape[-2] // math.prod(kernel)
    blocks = [
        (size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(len(kernel))
    ]
    planes = x.planes.reshape(*x.planes.shape[:-2], channels, *kernel, *blocks)
    canvas = planes.new_full(
        (*planes.shape[: -2 * len(kernel)], *(size[i] + 2 * padding[i] for i in range(len(kernel)))), NOTHING
    )
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            rows = slice(row * dilation[0], row * dilation[0] + (blocks[0] - 1) * stride[0] + 1, stride[0])
            start = column * dilation[1]
            columns = slice(start, start + (blocks[1] - 1) * stride[1] + 1, stride[1])
            part = planes[..., row, column, :, :]
            canvas[..., rows, columns] = torch.maximum(canvas[..., rows, columns], part)
    high, wide = padding
    canvas = canvas[..., high : high + size[0], wide : wide + size[1]]
    return x.like(canvas.reshape(x.planes.shape[0], *call.shape))


@rule("im2col")
def unfold(call: Call) -> Reach:
    """Windows side by side, zeros around the edges."""
    padding = [int(p) for p in call["padding"]]
    x = padded(call["self"], [padding[1], padding[1], padding[0], padding[0]], "constant", 0.0)
    kernel, dilation, stride = call["kernel_size"], call["dilation"], call["stride"]

    def windows(plane: Tensor) -> Tensor:
        plane = plane.reshape(-1, *plane.shape[-3:])
        for axis in range(2):
            span = dilation[axis] * (kernel[axis] - 1) + 1
            plane = plane.unfold(2 + axis, span, stride[axis])[..., :: dilation[axis]]
        return plane.permute(0, 1, 4, 5, 2, 3).reshape(call.shape)

    return rearrange(windows, x)
