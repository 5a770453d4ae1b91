"""What the tests of traced receptive fields share: a trace, and how it is compared with the module's own gradients."""

import math
from typing import Any

import torch
from measured import Function
from torch import Tensor, nn

from wavedil.receptive import Field
from wavedil.receptive.measure import gradient_reach, reach_hull
from wavedil.receptive.trace import trace
from wavedil.receptive.trace.fields import Intervals, intervals
from wavedil.receptive.trace.module import Trace

# Phases of an output that are compared, from either end of the period.
_PHASES = 6


def as_measured(module: Any, x: Any, **options: Any) -> Trace:
    """The trace of a module or function, after it was held against autograd.

    Compared are the intervals of single elements of the output, those at the ends among them, as the operators were
    walked through; and of every phase in the middle what was concluded, the field and the exact taps.
    """
    module = module if isinstance(module, nn.Module) else Function(module)
    traced = trace(module, x, **options)
    _compare_elements(traced)
    for axis, field in enumerate(traced.fields):
        where = intervals(traced.reach, axis, traced.lengths[axis])
        if where is not None:
            _compare_axis(traced, axis, field, where)
    return traced


def _measured(traced: Trace, indices: list[Any]) -> Tensor:
    return gradient_reach(traced.subject.module, traced.subject.args, indices, output=traced.subject.output or None)


def _compare_elements(traced: Trace) -> None:
    shape = traced.reach.shape[1:]
    flat = {0, math.prod(shape) // 2, math.prod(shape) - 1}
    indices = [tuple(int(i) for i in torch.unravel_index(torch.tensor(n), shape)) if shape else (...,) for n in flat]
    for index, mask in zip(indices, _measured(traced, indices), strict=True):
        planes = traced.reach.planes[(slice(None), 0, *index)]
        for axis, number in enumerate(traced.subject.axes):
            start, end = -float(planes[2 * axis]), float(planes[2 * axis + 1])
            walked = (start, end) if start <= end else None
            hull = reach_hull(mask, number)
            assert hull == walked, f"output {index}: autograd reads {hull} of axis {number}, the walk {walked}"


def _compare_axis(traced: Trace, axis: int, field: Field, where: Intervals) -> None:
    number, length, taps = traced.subject.axes[axis], traced.lengths[axis], traced.taps[axis]
    outputs = _chosen(where, field, length)
    places = [(slice(None),) * (where.dim - 1) + (n,) for n in outputs]
    for n, mask in zip(outputs, _measured(traced, places), strict=True):
        start, end = field.at(n)
        hull = reach_hull(mask, number)
        assert hull == ((max(start, 0), min(end, length - 1)) if start <= end else None), f"output {n} reads {hull}"
        if taps is not None:
            read = mask.movedim(number, 0).reshape(length, -1).any(1).nonzero().flatten().tolist()
            assert tuple(read) == taps.positions(n), f"output {n} reads {read}"


def _chosen(where: Intervals, field: Field, length: int) -> list[int]:
    """Outputs from the middle, of each phase if they are few."""
    outputs = range(len(where.starts))
    if math.isfinite(field.receptive_field):
        outputs = [n for n in outputs if field.at(n)[0] >= 0 and field.at(n)[1] < length]
        assert len(outputs) >= field.outputs, "the input is too short to show the field"
    first = len(outputs) // 2 - field.outputs // 2
    phases = outputs[first : first + field.outputs]
    return sorted({*phases[:_PHASES], *phases[-_PHASES:]})


def facts(traced: Trace, axis: int = 0) -> tuple[Any, ...]:
    """First and last input of output 0, and the inputs from an output to the next."""
    field = traced.fields[axis]
    return (*field.at(0), field.stride)


def signal(channels: int = 1, time: int = 60, **options: Any) -> Tensor:
    return torch.zeros(1, channels, time, **options)
