"""Operators that slide a window: convolutions, transposed convolutions, pooling."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wavedil.receptive.trace.reach import NOTHING, Reach, continued, fill, join, reaches, reduce, slide, spread
from wavedil.receptive.trace.rules.registry import Call, as_pair, rule


@rule("conv1d", "conv2d", "conv3d", "convolution", "_convolution", "conv_transpose1d", "conv_transpose2d",
      "conv_transpose3d", "cudnn_convolution", "mkldnn_convolution", "_convolution_mode")  # fmt: skip
def convolution(call: Call) -> Reach:
    """A convolution, transposed or not; a tap that is exactly zero for every channel of the input is not read."""
    x, weight = call["input"], call["weight"]
    if not isinstance(x, Reach) or isinstance(weight, Reach):
        return _by_a_dependent_kernel(call)
    count = weight.ndim - 2
    single = x.ndim == count + 1  # without a batch
    planes = x.planes[:, None] if single else x.planes
    transposed = "transpose" in call.name or bool(call.get("transposed", default=False))
    stride, dilation = (as_pair(call.get(name, default=1), count) for name in ("stride", "dilation"))
    groups, padding = call["groups"], call.get("padding", default=0)
    outs = weight.shape[1] * groups if transposed else weight.shape[0]
    planes = across_channels(planes, groups, outs)
    spans = [dilation[i] * (weight.shape[2 + i] - 1) + 1 for i in range(count)]
    if isinstance(padding, str):
        # "same" puts the odd element on the right.
        total = [span - 1 if padding == "same" else 0 for span in spans]
        edges = [(t // 2, t - t // 2) for t in total]
    else:
        edges = [(p, p) for p in as_pair(padding, count)]
    if transposed:
        further = as_pair(call.get("output_padding", default=0), count)
        edges = [(s - 1 - p, s - 1 - p + o) for s, (p, _), o in zip(spans, edges, further, strict=True)]
        planes, stride = stuffed_with_edges(planes, stride, edges, x.endless), [1] * count
    else:
        planes = with_edges(planes, edges, x.endless)
    planes = by_taps(planes, _taps_used(weight, groups, transposed), stride, dilation)
    planes = planes[:, 0] if single else planes
    parts = reaches(call.get("bias"))
    result = x.like(planes)
    return join([result, *(part.like(_as_channel(part.planes, count)) for part in parts)]) if parts else result


def _taps_used(weight: Tensor, groups: int, transposed: bool) -> Tensor:
    """Which taps are not zero, ``(outputs, *kernel)``, as a sliding window meets them."""
    if not transposed:
        return (weight != 0).any(1)
    used = (weight != 0).unflatten(0, (groups, -1)).any(1).flatten(0, 1)
    return used.flip(list(range(1, used.ndim)))


def by_taps(planes: Tensor, used: Tensor, stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """The largest among the used taps of each window, which may be others in each channel."""
    if bool((used == used[:1]).all()):
        return windows(planes, used[0], stride, dilation)
    patterns, which = used.flatten(1).unique(dim=0, return_inverse=True)
    parts = []
    for i, pattern in enumerate(patterns):
        channels = (which == i).nonzero().flatten()
        alike = planes.stride(2) == 0
        some = planes.narrow(2, 0, 1) if alike else planes.index_select(2, channels)
        part = windows(some, pattern.reshape(used.shape[1:]), stride, dilation)
        parts.append(part.expand(*part.shape[:2], len(channels), *part.shape[3:]))
    order = torch.cat([(which == i).nonzero().flatten() for i in range(len(patterns))]).argsort()
    return torch.cat(parts, 2).index_select(2, order)


def _as_channel(planes: Tensor, count: int) -> Tensor:
    return planes.reshape(*planes.shape, *[1] * count)


def _by_a_dependent_kernel(call: Call) -> Reach:
    """A kernel that is computed from the input: every output reads all of it, and the window of the signal."""
    x, weight = call["input"], call["weight"]
    kernel = reduce(weight, None) if isinstance(weight, Reach) else None
    parts = [] if kernel is None else [kernel]
    if isinstance(x, Reach):
        ones = torch.ones(weight.shape)
        plain = Call(call.name, {**call.args, "weight": ones, "bias": None}, call.shapes, call.function)
        parts.append(convolution(plain))
    return join(parts, call.shape)


def across_channels(planes: Tensor, groups: int, outs: int) -> Tensor:
    """Planes ``(planes, batch, channels, ...)`` of which every output channel reads its group of input channels."""
    if planes.stride(2) == 0:
        planes = planes.narrow(2, 0, 1)
    rest = planes.shape[3:]
    if groups == 1 or planes.shape[2] == 1:
        planes = planes.amax(2, keepdim=True) if planes.shape[2] > 1 else planes
        return planes.expand(*planes.shape[:2], outs, *rest)
    planes = planes.reshape(*planes.shape[:2], groups, -1, *rest).amax(3, keepdim=True)
    planes = planes.expand(*planes.shape[:3], outs // groups, *rest)
    return planes.reshape(*planes.shape[:2], outs, *rest)


def with_edges(planes: Tensor, edges: Sequence[tuple[int, int]], endless: bool) -> Tensor:
    """Planes with padding on the left and the right of each dimension from 3 on."""
    for i, (left, right) in enumerate(edges):
        planes = fill(planes, 3 + i, left, right)
        planes = continued(planes, 3 + i) if endless else planes
    return planes


def stuffed_with_edges(
    planes: Tensor, stride: Sequence[int], edges: Sequence[tuple[int, int]], endless: bool
) -> Tensor:
    """:func:`stuffed` planes with padding around them; what counts as more of the signal is stuffed likewise."""
    more = [max(-(-max(edge) // step), 0) if endless else 0 for edge, step in zip(edges, stride, strict=True)]
    planes = stuffed(with_edges(planes, [(n, n) for n in more], endless), stride)
    rest = [(a - n * s, b - n * s) for (a, b), n, s in zip(edges, more, stride, strict=True)]
    return with_edges(planes, rest, False)


def stuffed(planes: Tensor, stride: Sequence[int]) -> Tensor:
    """Planes with ``stride - 1`` elements that depend on nothing between each two, over the dimensions from 3 on."""
    for i, step in enumerate(stride):
        if step > 1:
            shape = list(planes.shape)
            shape[3 + i] = (shape[3 + i] - 1) * step + 1
            narrow = planes.narrow(2, 0, 1) if planes.stride(2) == 0 else planes
            wide = planes.new_full([*narrow.shape[: 3 + i], shape[3 + i], *narrow.shape[4 + i :]], NOTHING)
            wide[(slice(None),) * (3 + i) + (slice(None, None, step),)] = narrow
            planes = wide.expand(shape)
    return planes


def windows(planes: Tensor, used: Tensor, stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """The largest among the used taps of each window, over the dimensions from 3 on."""
    if not bool(used.all()):
        return _of_some_taps(planes, used, stride, dilation)
    for i in range(used.ndim):
        planes = slide(planes, 3 + i, used.shape[i], stride[i], dilation[i])
    return planes


def _of_some_taps(planes: Tensor, used: Tensor, stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    lengths = [
        (planes.shape[3 + i] - dilation[i] * (size - 1) - 1) // stride[i] + 1 for i, size in enumerate(used.shape)
    ]
    total = planes.new_full((*planes.shape[:3], *lengths), NOTHING)
    for tap in itertools.product(*(range(size) for size in used.shape)):
        if used[tap]:
            part = planes
            for i, t in enumerate(tap):
                start = t * dilation[i]
                part = part[
                    (slice(None),) * (3 + i) + (slice(start, start + (lengths[i] - 1) * stride[i] + 1, stride[i]),)
                ]
            total = torch.maximum(total, part)
    return total


@rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d_with_indices",
      "max_pool2d_with_indices", "max_pool3d_with_indices", "quantized_max_pool1d")  # fmt: skip
def pooling(call: Call) -> Any:
    """A window of a channel."""
    x = call["self"]
    count = int(next(digit for digit in call.name if digit in "123"))
    kernel = as_pair(call["kernel_size"], count)
    stride = as_pair(call.get("stride") or kernel, count)
    padding = as_pair(call.get("padding", default=0), count)
    dilation = as_pair(call.get("dilation", default=1), count)
    shapes = call.shapes if isinstance(call.shapes, list) else [call.shapes]
    planes, lead = x.planes, x.ndim - count
    while lead < 2:
        planes, lead = planes[:, None], lead + 1
    lengths = shapes[0][len(shapes[0]) - count :]
    # With ceil_mode a last window hangs over the edge.
    needed = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(lengths, stride, dilation, kernel, strict=True)]
    edges = [(p, max(n - size - p, 0)) for p, n, size in zip(padding, needed, planes.shape[3:], strict=True)]
    planes = windows(with_edges(planes, edges, x.endless), torch.ones(kernel, dtype=torch.bool), stride, dilation)
    result = x.like(planes.reshape(planes.shape[0], *shapes[0]))
    return [result] * len(shapes) if isinstance(call.shapes, list) else result


@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d",
      "_adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")  # fmt: skip
def adaptive_pooling(call: Call) -> Any:
    """Windows that divide the whole into so many parts."""
    x = call["self"]
    shapes = call.shapes if isinstance(call.shapes, list) else [call.shapes]
    count = len(as_pair(call["output_size"], int(next(digit for digit in call.name if digit in "123"))))
    planes = x.planes
    for i in range(count):
        dim = planes.ndim - count + i
        size, parts = planes.shape[dim], shapes[0][len(shapes[0]) - count + i]
        starts = [n * size // parts for n in range(parts)]
        ends = [-(-(n + 1) * size // parts) for n in range(parts)]
        pieces = [planes.narrow(dim, a, b - a).amax(dim, keepdim=True) for a, b in zip(starts, ends, strict=True)]
        planes = torch.cat(pieces, dim)
    result = x.like(spread(planes, shapes[0]))
    return [result] * len(shapes) if isinstance(call.shapes, list) else result
