"""What each element of a tensor depends on, carried through a network in the place of its value.

A :class:`Reach` holds a few planes of numbers, each of the tensor's shape, of which the larger one wins wherever two
dependences meet. With the planes ``-position`` and ``position`` of an axis that is the interval of inputs an element
reads; with a plane for each of some inputs, 0 where the element reads that input, it is the exact set. Views, slices,
pads and concatenations act on planes as they do on values, so that nothing is assumed of how a module arranges time.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# In a plane: depends on nothing.
NOTHING = -math.inf
# A constant added to a score that no softmax gives any weight after, in any precision.
MASKED = -1e4


@dataclass(frozen=True, eq=False)
class Reach:
    """Dependence of the elements of one tensor.

    Attributes:
        planes: ``(planes, *shape)``; axes along which nothing varies have stride 0.
        value: what is known of the values, ``shape``, NaN elsewhere; a known zero annihilates what it is multiplied
            by, and what is :data:`MASKED` or less gets no weight in a softmax. None where nothing is known.
        endless: padding counts as more of the signal, so that planes of intervals show how far elements read even
            where the input is too short for it. They are exact away from the ends alone.
    """

    planes: Tensor
    value: Tensor | None = None
    endless: bool = False

    @property
    def shape(self) -> torch.Size:
        """Of the tensor."""
        return self.planes.shape[1:]

    @property
    def ndim(self) -> int:
        """Of the tensor."""
        return self.planes.ndim - 1

    def varies(self, dim: int) -> bool:
        """Whether the elements along this dimension depend on different inputs."""
        planes = self.planes
        dim = 1 + dim % self.ndim
        if planes.shape[dim] < 2 or planes.stride(dim) == 0:
            return False
        return not bool((planes == planes.narrow(dim, 0, 1)).all())

    def like(self, planes: Tensor, value: Tensor | None = None) -> "Reach":
        """A reach of the same kind."""
        return replace(self, planes=planes, value=value)

    def continued(self, dim: int) -> "Reach":
        """With padding along a dimension counted as more of the signal, if this is endless."""
        return replace(self, planes=continued(self.planes, 1 + dim % self.ndim)) if self.endless else self


def compact(planes: Tensor) -> Tensor:
    """Without the repetitions: dimensions along which nothing varies have size 1."""
    for dim in range(1, planes.ndim):
        if planes.stride(dim) == 0 and planes.shape[dim] > 1:
            planes = planes.narrow(dim, 0, 1)
    return planes


def spread(planes: Tensor, shape: Sequence[int]) -> Tensor:
    """Planes broadcast to the shape of a tensor, as strides of 0."""
    missing = len(shape) - (planes.ndim - 1)
    planes = planes.reshape(planes.shape[0], *[1] * missing, *planes.shape[1:])
    return planes.expand(planes.shape[0], *shape)


def lift(x: Any, like: Reach) -> Reach:
    """A constant as a reach of the same kind: it depends on nothing, and its value is known."""
    if isinstance(x, Reach):
        return x
    x = torch.as_tensor(x)
    planes = like.planes.new_full((), NOTHING).expand(like.planes.shape[0], *x.shape)
    value = None if x.is_complex() else x.to(torch.float32)
    return like.like(planes, value)


def reaches(*values: Any) -> list[Reach]:
    """Those of the values, or of lists among them, that depend on the input."""
    found: list[Reach] = []
    for value in values:
        if isinstance(value, Reach):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(reaches(*value))
    return found


def join(parts: Sequence[Reach], shape: Sequence[int] | None = None, value: Tensor | None = None) -> Reach:
    """What depends on all of these, broadcast against each other and to ``shape``."""
    shape = torch.broadcast_shapes(*(part.shape for part in parts)) if shape is None else shape
    total = compact(spread(parts[0].planes, shape))
    for part in parts[1:]:
        total = torch.maximum(total, compact(spread(part.planes, shape)))
    return parts[0].like(total.expand(total.shape[0], *shape), value)


def rearrange(function: Callable[..., Any], *parts: Reach) -> Any:
    """Apply a function that only moves elements, plane by plane; it may give several tensors.

    Args:
        function: of as many tensors as there are parts.
        parts: to be rearranged together.
    """
    count = parts[0].planes.shape[0]
    results = [function(*(part.planes[i] for part in parts)) for i in range(count)]
    known = any(part.value is not None for part in parts)
    values = function(*(_known(part) for part in parts)) if known else None
    if isinstance(results[0], Tensor):
        return parts[0].like(_stacked(results), values)
    return [
        parts[0].like(_stacked([result[i] for result in results]), values[i] if values is not None else None)
        for i in range(len(results[0]))
    ]


def _known(part: Reach) -> Tensor:
    if part.value is not None:
        return part.value.expand(part.shape)
    return torch.full((), math.nan).expand(part.shape)


def _stacked(planes: Sequence[Tensor]) -> Tensor:
    """Planes one behind the other, repeated dimensions kept as such."""
    shape = planes[0].shape
    narrow = [compact(plane[None])[0] for plane in planes]
    common = torch.broadcast_shapes(*(plane.shape for plane in narrow))
    stacked = torch.stack([plane.expand(common) for plane in narrow])
    return stacked.expand(len(planes), *shape)


def reduce(reach: Reach, dims: Sequence[int] | None, keepdim: bool = False) -> Reach:
    """What depends on all elements along these dimensions (None: on all there are)."""
    axes = range(reach.ndim) if dims is None or len(dims) == 0 else dims
    axes = sorted({1 + dim % max(reach.ndim, 1) for dim in axes}) if reach.ndim else []
    planes = compact(reach.planes)
    planes = planes.amax(axes, keepdim=True) if axes else planes
    shape = [1 if 1 + dim in axes else size for dim, size in enumerate(reach.shape)]
    planes = planes.expand(planes.shape[0], *shape)
    if not keepdim:
        for axis in reversed(axes):
            planes = planes.squeeze(axis)
    return reach.like(planes)


def around(reach: Reach, dims: Sequence[int]) -> Reach:
    """Each element together with all others along these dimensions: softmax, norms."""
    return join([reach, reduce(reach, dims, keepdim=True)], reach.shape)


def before(reach: Reach, dim: int, *, backwards: bool = False) -> Reach:
    """Each element together with all that come before it along a dimension (or after it)."""
    axis = 1 + dim % reach.ndim
    planes = compact(reach.planes)
    planes = planes.flip(axis).cummax(axis).values.flip(axis) if backwards else planes.cummax(axis).values
    return reach.like(planes.expand(planes.shape[0], *reach.shape))


def fill(planes: Tensor, dim: int, left: int, right: int) -> Tensor:
    """Pad (or crop, by negative numbers) planes along a dimension with elements that depend on nothing."""
    if not left and not right:
        return planes
    dim %= planes.ndim
    widths = [0, 0] * (planes.ndim - 1 - dim) + [left, right]
    result = F.pad(_only(planes, dim), widths, value=NOTHING)
    return _widened(result, planes.shape, dim)


def continued(planes: Tensor, dim: int) -> Tensor:
    """Elements at either end of a dimension that depend on nothing, instead on what would stand there.

    The intervals of the others, which go on as they do on average.
    """
    ends = torch.stack([planes.select(dim, 0), planes.select(dim, -1)])
    if not bool((ends == NOTHING).any()):
        return planes
    rows = _only(planes, dim).movedim(dim, -1)
    known = (rows != NOTHING).to(torch.uint8)
    first = known.argmax(-1, keepdim=True)
    last = known.shape[-1] - 1 - known.flip(-1).argmax(-1, keepdim=True)
    index = torch.arange(rows.shape[-1])
    slope = (rows.gather(-1, last) - rows.gather(-1, first)) / (last - first).clamp(min=1)
    nearest = torch.minimum(torch.maximum(index, first), last)
    result = torch.where(nearest == index, rows, rows.gather(-1, nearest) + slope.nan_to_num(0.0) * (index - nearest))
    return _widened(result.movedim(-1, dim), planes.shape, dim)


def slide(planes: Tensor, dim: int, kernel_size: int, stride: int, dilation: int) -> Tensor:
    """The largest in each window along a dimension of planes."""
    if kernel_size == 1 and stride == 1:
        return planes
    dim %= planes.ndim
    moved = _only(planes, dim).movedim(dim, -1)
    rows = moved.reshape(-1, 1, moved.shape[-1])
    result = F.max_pool1d(rows, kernel_size, stride, 0, dilation)
    return _widened(result.reshape(*moved.shape[:-1], result.shape[-1]).movedim(-1, dim), planes.shape, dim)


def _only(planes: Tensor, dim: int) -> Tensor:
    """Without repetitions, save along one dimension."""
    narrow = compact(planes)
    sizes = [planes.shape[d] if d == dim else size for d, size in enumerate(narrow.shape)]
    return narrow.expand(sizes)


def _widened(planes: Tensor, shape: Sequence[int], dim: int) -> Tensor:
    """With the repetitions of a shape, save along one dimension."""
    return planes.expand([planes.shape[d] if d == dim else size for d, size in enumerate(shape)])
