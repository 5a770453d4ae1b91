"""A computed receptive field held against two measurements of the very module: gradients and NaN."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wavedil.receptive.arithmetic import Field
from wavedil.receptive.measure import gradient_reach, nan_reach, reach_hull
from wavedil.receptive.trace.fields import Intervals, intervals
from wavedil.receptive.trace.module import Trace, trace
from wavedil.receptive.trace.program import Step

# Phases of which each is measured by its gradient; of more, so many are taken evenly.
_PHASES = 256
# Phases that are probed with NaN, each by several runs of the module.
_PROBED = 4
_AXES = ("time", "frequency")


class DisagreementError(ValueError):
    """What was computed is not what was measured: both, and the layer where they part."""


@dataclass(frozen=True)
class Verification:
    """What was measured, and agreed.

    Attributes:
        length: of the input in time on which it was measured.
        outputs: neighbouring outputs of which the exact set of inputs was measured by gradients.
        probed: outputs that were probed with NaN.
        taps: whether the sets were compared input by input, and not by their first and last alone.
        notes: what a reader must know.
    """

    length: int
    outputs: int
    probed: int
    taps: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "notes": list(self.notes)}


def verify_receptive_field(
    module: nn.Module,
    example_input: Tensor | tuple[Any, ...],
    *,
    time_axis: int = -1,
    frequency_axis: int | None = None,
    output: int = 0,
    traced: Trace | None = None,
) -> Verification:
    """Compute the receptive field of a module, measure it twice, and compare.

    The first measurement is the gradient in float64 of a copy with positive weights and linear activations, in which
    nothing can cancel or vanish; the second puts NaN into the inputs of an untouched copy. The input is at least twice
    as long as the field, and every phase of the outputs is measured. A field that is said to be unbounded must reach
    the first input, and the last if it is everything.

    Args:
        module: any module; it is not changed.
        example_input: see :func:`wavedil.receptive.receptive_field`.
        time_axis: likewise.
        frequency_axis: likewise.
        output: likewise.
        traced: what was computed, if it was computed before.

    Raises:
        DisagreementError: if computed and measured differ; with both numbers and the layer where they part.
        ValueError: if the module cannot be traced, or not measured.

    Example:
        >>> verify_receptive_field(nn.Conv1d(1, 1, 3, dilation=2), torch.zeros(1, 1, 20)).outputs
        1
    """
    if traced is None:
        traced = trace(module, example_input, time_axis=time_axis, frequency_axis=frequency_axis, output=output)
    args = _inputs(traced)
    outputs = probed = 0
    notes: list[str] = []
    for axis, field in enumerate(traced.fields):
        where = intervals(traced.reach, axis, traced.lengths[axis])
        places = [0] if where is None else _middle(field, where)
        dim = traced.reach.ndim - 1 if where is None else where.dim
        indices = [_index(dim, place, traced.reach.ndim, where is None) for place in places]
        masks = gradient_reach(module, args, indices, output=traced.subject.output or None)
        for place, mask in zip(places, masks, strict=True):
            _compare(module, args, traced, axis, None if where is None else place, mask)
        outputs += len(places)
        if where is not None and math.isfinite(field.receptive_field):
            for place, index in list(zip(places, indices, strict=True))[:_PROBED]:
                notes += _probe(module, args, traced, axis, place, index)
                probed += 1
    exact = all(taps is not None for taps in traced.taps)
    return Verification(traced.lengths[0], outputs, probed, exact, tuple(dict.fromkeys(notes)))


def _inputs(traced: Trace) -> tuple[Any, ...]:
    """The inputs of the trace, of which the one that is followed holds noise, so that nothing is zero by chance."""
    args, position = list(traced.subject.args), traced.subject.position
    example = args[position]
    if example.is_floating_point() or example.is_complex():
        generator = torch.Generator().manual_seed(0)
        args[position] = torch.randn(example.shape, generator=generator, dtype=example.dtype)
    return tuple(args)


def _middle(field: Field, where: Intervals) -> list[int]:
    """Outputs of every phase, from the middle."""
    first = max(len(where.starts) // 2 - field.outputs // 2, 0)
    last = min(first + field.outputs, len(where.starts))
    step = max(-(-field.outputs // _PHASES), 1)
    return list(range(first, last, step))


def _index(dim: int, place: int, ndim: int, whole: bool) -> tuple[Any, ...]:
    """An index of the output without its batch: all of it, or one place along a dimension."""
    if whole or dim == 0:
        return (...,)
    return tuple(place if d == dim else slice(None) for d in range(1, ndim))


def _compare(
    module: nn.Module, args: tuple[Any, ...], traced: Trace, axis: int, place: int | None, mask: Tensor
) -> None:
    """Hold the measured inputs of one output against the computed ones."""
    hull = reach_hull(mask, traced.subject.axes[axis])
    expected = expected_hull(traced, axis, place)
    if hull != expected:
        parting = _where_they_part(module, args, traced, axis)
        output = "the output" if place is None else f"output {place}"
        raise DisagreementError(
            f"{_AXES[axis]}: {output} reads inputs {_span(expected)} as computed, {_span(hull)} as measured; {parting}"
        )
    taps = traced.taps[axis]
    if taps is not None and place is not None:
        along = mask.movedim(traced.subject.axes[axis], 0).reshape(traced.lengths[axis], -1).any(1)
        measured = tuple(along.nonzero().flatten().tolist())
        computed = taps.positions(place)
        if measured != computed:
            part = sorted(set(measured) ^ set(computed))
            raise DisagreementError(
                f"{_AXES[axis]}: output {place} reads {len(computed)} inputs as computed, {len(measured)} as measured; "
                f"they part at input {part[0]}"
            )


def expected_hull(traced: Trace, axis: int, place: int | None) -> tuple[int, int] | None:
    """First and last input that an output is computed to read within the traced length."""
    field, length = traced.fields[axis], traced.lengths[axis]
    if place is None:
        planes = traced.reach.planes[2 * axis : 2 * axis + 2]
        return int(-planes[0].max()), int(planes[1].max())
    start, end = field.at(place)
    return (int(max(start, 0)), int(min(end, length - 1))) if start <= end else None


def _span(hull: tuple[int, int] | None) -> str:
    return "none" if hull is None else f"{hull[0]} to {hull[1]} ({hull[1] - hull[0] + 1} inputs)"


def _probe(
    module: nn.Module, args: tuple[Any, ...], traced: Trace, axis: int, place: int, index: tuple[Any, ...]
) -> list[str]:
    """Hold NaN in the inputs of one output against what was computed."""
    hull = expected_hull(traced, axis, place)
    start, end = (0, -1) if hull is None else hull
    found = nan_reach(module, args, index, start, end, traced.subject.axes[axis], output=traced.subject.output or None)
    name = f"{_AXES[axis]}: output {place} reads inputs {_span(hull)} as computed"
    if found.outside and found.outside_changes:
        raise DisagreementError(f"{name}, but NaN and other numbers outside of these reach it")
    if hull is not None and not (found.at_start and found.at_end):
        missed = start if not found.at_start else end
        raise DisagreementError(f"{name}, but NaN in input {missed} does not reach it")
    if found.outside:
        return [f"{_AXES[axis]}: NaN passes where it is multiplied by zero, numbers do not"]
    return []


def _where_they_part(module: nn.Module, args: tuple[Any, ...], traced: Trace, axis: int) -> str:
    """The first layer of which the computed field is not the measured one."""
    for path, step in _last_steps(traced.walk.steps).items():
        where = intervals(step.output, axis, traced.lengths[axis])
        if where is None or where.dim == 0:
            continue
        place = len(where.starts) // 2
        index = _index(where.dim, place, step.output.ndim, whole=False)
        try:
            mask = gradient_reach(_Inner(module, path), args, index)
        except (ValueError, LookupError):
            continue
        measured = reach_hull(mask, traced.subject.axes[axis])
        start, end = float(where.starts[place]), float(where.ends[place])
        computed = (int(start), int(end)) if start <= end else None
        if measured != computed:
            return f"they part at layer {path} ({step.name}): {_span(computed)} computed, {_span(measured)} measured"
    return "no single layer shows it"


def _last_steps(steps: Sequence[Step]) -> dict[str, Step]:
    """The last operator of each module, in order."""
    last: dict[str, Step] = {}
    for step in steps:
        last.pop(step.path, None)
        last[step.path] = step
    return {path: step for path, step in last.items() if path}


class _Inner(nn.Module):
    """What one of a module's layers gives, in the place of its output."""

    def __init__(self, module: nn.Module, path: str) -> None:
        super().__init__()
        self.module = module
        self.path = path

    def forward(self, *args: Any) -> Any:
        caught: list[Any] = []
        handle = self.module.get_submodule(self.path).register_forward_hook(lambda *call: caught.append(call[2]))
        try:
            self.module(*args)
        finally:
            handle.remove()
        return caught[-1]
