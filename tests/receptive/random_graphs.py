"""Random networks of convolutions, and four ways to find what their outputs read.

A network is a list of parts: a layer with a geometry for each axis, or a sum of branches, each a list of layers of
stride 1. Signals are endless: a tensor comes with the place of its first element, and where a window would hang over
an edge there is no output, so that no padding hides anything.
"""

import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from wavedil.receptive import Field, Geometry, Taps

Layer = tuple[Geometry, ...]
Sum = list[list[Layer]]
Network = list[Layer | Sum]


def random_network(rng: random.Random, axes: int) -> Network:
    """One to four parts, strided, transposed or dilated, padded causally, centred or anyhow, some of them branching."""
    return [
        _branches(rng, axes) if rng.random() < 0.3 else _layer(rng, axes, rng.random() < 0.25, rng.randint(1, 3))
        for _ in range(rng.randint(1, 4))
    ]


def _branches(rng: random.Random, axes: int) -> Sum:
    """Two or three parallel branches, one of which may be the input itself."""
    return [[_layer(rng, axes, False, 1) for _ in range(rng.randint(0, 2))] for _ in range(rng.randint(2, 3))]


def _layer(rng: random.Random, axes: int, transposed: bool, most: int) -> Layer:
    geometries = tuple(_geometry(rng, transposed, rng.randint(1, most)) for _ in range(axes))
    if transposed and axes > 1:
        # An output that reads nothing along one axis reads nothing at all: without such, the axes are independent.
        return tuple(replace(g, kernel_size=max(g.kernel_size, g.stride), dilation=1) for g in geometries)
    return geometries


def _geometry(rng: random.Random, transposed: bool, stride: int) -> Geometry:
    kernel_size, dilation = rng.randint(1, 4), rng.randint(1, 4)
    kind = rng.choice(("causal", "centred", "any"))
    if transposed:
        return Geometry(kernel_size, stride, dilation, rng.randint(0, 4), transposed=True)
    if kind == "causal":
        return Geometry.causal(kernel_size, stride, dilation)
    if kind == "centred":
        return Geometry.centred(kernel_size, stride, dilation)
    return Geometry(kernel_size, stride, dilation, rng.randint(-3, 6))


def field_of(network: Network, axis: int) -> Field:
    """By interval arithmetic."""
    total = Field.identity()
    for part in network:
        if isinstance(part, list):
            total = total.then(_union([field_of(list(branch), axis) for branch in part]))
        else:
            total = total.then(part[axis].field)
    return total


def _union(fields: list[Field]) -> Field:
    total = fields[0]
    for field in fields[1:]:
        total = total.union(field)
    return total


def taps_of(network: Network, axis: int) -> Taps:
    """By arithmetic of sets as large integers."""
    total = Taps.identity()
    for part in network:
        if isinstance(part, list):
            branches = [total.then(taps_of(list(branch), axis)) for branch in part]
            total = branches[0]
            for branch in branches[1:]:
                total = total.union(branch)
        else:
            total = total.then(part[axis].taps())
    return total


def brute_force(network: Network, axis: int, outputs: set[int]) -> set[int]:
    """By following every tap, one at a time."""
    for part in reversed(network):
        if isinstance(part, list):
            outputs = set().union(*(brute_force(list(branch), axis, outputs) for branch in part))
        else:
            outputs = {i for n in outputs for i in _read(part[axis], n)}
    return outputs


def _read(geometry: Geometry, n: int) -> list[int]:
    steps = [geometry.dilation * t for t in range(geometry.kernel_size)]
    if not geometry.transposed:
        return [n * geometry.stride - geometry.padding + step for step in steps]
    places = [n + geometry.padding - step for step in steps]
    return [place // geometry.stride for place in places if place % geometry.stride == 0]


@dataclass
class Signal:
    """Values ``(batch, 1, *axes)`` and where the first of them stands on each axis."""

    values: Tensor
    origin: list[int]


def run(network: Network, signal: Signal) -> Signal:
    """By torch, with weights of one; only outputs of which every input is there."""
    for part in network:
        if isinstance(part, list):
            signal = _sum([run(list(branch), signal) for branch in part])
        else:
            signal = _transposed(part, signal) if part[0].transposed else _convolved(part, signal)
    return signal


def _convolved(layer: Layer, signal: Signal) -> Signal:
    values, origin = signal.values, []
    for axis, geometry in enumerate(layer):
        first = -(-(signal.origin[axis] + geometry.padding) // geometry.stride)
        skipped = first * geometry.stride - geometry.padding - signal.origin[axis]
        values = values.narrow(2 + axis, skipped, values.shape[2 + axis] - skipped)
        origin.append(first)
    convolve = F.conv1d if len(layer) == 1 else F.conv2d
    weight = values.new_ones(1, 1, *(geometry.kernel_size for geometry in layer))
    strides, dilations = [g.stride for g in layer], [g.dilation for g in layer]
    return Signal(convolve(values, weight, None, strides, 0, dilations), origin)


def _transposed(layer: Layer, signal: Signal) -> Signal:
    transpose = F.conv_transpose1d if len(layer) == 1 else F.conv_transpose2d
    weight = signal.values.new_ones(1, 1, *(geometry.kernel_size for geometry in layer))
    values = transpose(signal.values, weight, None, [g.stride for g in layer], 0, 0, 1, [g.dilation for g in layer])
    origin = []
    for axis, geometry in enumerate(layer):
        # Complete from where the last tap meets the first input, to where the first tap meets the last.
        reach = geometry.span - 1
        length = (signal.values.shape[2 + axis] - 1) * geometry.stride + 1 - reach
        values = values.narrow(2 + axis, reach, length)
        origin.append(signal.origin[axis] * geometry.stride + reach - geometry.padding)
    return Signal(values, origin)


def _sum(branches: list[Signal]) -> Signal:
    axes = len(branches[0].origin)
    first = [max(branch.origin[axis] for branch in branches) for axis in range(axes)]
    last = [min(branch.origin[axis] + branch.values.shape[2 + axis] for branch in branches) for axis in range(axes)]
    total: Tensor | None = None
    for branch in branches:
        values = branch.values
        for axis in range(axes):
            values = values.narrow(2 + axis, first[axis] - branch.origin[axis], last[axis] - first[axis])
        total = values if total is None else total + values
    if total is None:
        raise ValueError("a sum of nothing")
    return Signal(total, first)


def check(rng: random.Random, axes: int) -> int:
    """Hold the four against each other on a random network; the number of outputs that were compared."""
    network = random_network(rng, axes)
    fields, taps = [field_of(network, a) for a in range(axes)], [taps_of(network, a) for a in range(axes)]
    sizes = [2 * _reach(network, a) + 3 * fields[a].inputs for a in range(axes)]
    x = torch.ones(1, 1, *sizes, dtype=torch.float64, requires_grad=True)
    found = run(network, Signal(x, [0] * axes))
    places = [length // 2 + rng.randint(0, min(2, length // 2 - 1)) for length in found.values.shape[2:]]
    element = found.values[(0, 0, *places)]
    (gradient,) = torch.autograd.grad(element, x) if element.requires_grad else (torch.zeros_like(x),)
    for axis in range(axes):
        output = found.origin[axis] + places[axis]
        expected = brute_force(network, axis, {output})
        others = tuple(d for d in range(x.ndim) if d != 2 + axis)
        measured = set(gradient.abs().amax(others).nonzero().flatten().tolist())
        assert measured == expected, f"gradient: {network}, axis {axis}, output {output}"
        assert set(taps[axis].positions(output)) == expected, f"taps: {network}, axis {axis}, output {output}"
        start, end = fields[axis].at(output)
        if expected:
            ascending = not _has_gaps(network, axis)
            hull = (min(expected), max(expected))
            assert start <= hull[0] <= hull[1] <= end, f"field: {network}, axis {axis}, output {output}"
            assert not ascending or (start, end) == hull, f"field: {network}, axis {axis}, output {output}"
            _probe(network, x.detach(), axis, places, hull)
    return axes


def _probe(network: Network, x: Tensor, axis: int, places: list[int], hull: tuple[int, int]) -> None:
    """NaN outside the interval must not reach the output, NaN at either end must."""
    rows = [x.clone() for _ in range(3)]
    inside = torch.zeros(x.shape[2 + axis], dtype=torch.bool)
    inside[hull[0] : hull[1] + 1] = True
    for row, where in zip(rows, (~inside, hull[0], hull[1]), strict=True):
        row.movedim(2 + axis, 0)[where] = torch.nan
    reached = run(network, Signal(torch.cat(rows), [0] * x[0, 0].ndim)).values[(slice(None), 0, *places)].isnan()
    assert reached.tolist() == [False, True, True], f"NaN: {network}, axis {axis}, {hull}"


def _has_gaps(network: Network, axis: int) -> bool:
    """Whether a transposed layer makes hulls wider than what is read: outputs that read nothing, or out of order."""
    geometries = [part[axis] for part in network if isinstance(part, tuple)]
    return any(g.transposed and (g.kernel_size < g.stride or g.dilation > 1) for g in geometries)


def _reach(network: Network, axis: int) -> int:
    """Inputs that are more than enough on either side."""
    total, hop = 8, 1
    for part in network:
        branches = part if isinstance(part, list) else [[part]]
        width = max(sum(g[axis].span + abs(g[axis].padding) for g in branch) for branch in branches)
        total += (width + 8) * hop
        if not isinstance(part, list) and not part[axis].transposed:
            hop *= part[axis].stride
    return total
