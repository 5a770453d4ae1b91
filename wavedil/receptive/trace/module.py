"""The receptive field of any module, from its graph."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from wavedil.receptive.answer import Answer, Axes, Axis
from wavedil.receptive.arithmetic import Field
from wavedil.receptive.taps import Taps
from wavedil.receptive.trace.capture import one_thread
from wavedil.receptive.trace.costs import cost_rows
from wavedil.receptive.trace.fields import fitted, inner, intervals, of_everything, of_one_side, seeds, taps_from
from wavedil.receptive.trace.lengths import Attempt, settled
from wavedil.receptive.trace.program import Walk
from wavedil.receptive.trace.reach import NOTHING, Reach
from wavedil.receptive.trace.subject import Subject, set_seed, subject_of

# Elements of the planes of one tensor with which exact taps are still looked for.
_TAP_BUDGET = 1 << 27


def receptive_field(
    module: nn.Module,
    example_input: Tensor | tuple[Any, ...],
    *,
    time_axis: int = -1,
    frequency_axis: int | None = None,
    output: int = 0,
    sample_rate: float | None = None,
    allow_unknown: bool = False,
    taps: bool = True,
) -> Answer:
    """Which inputs an output of a module reads, computed from its graph, operator by operator.

    The module is captured by ``torch.export`` as it is, in training or in evaluation mode: batch normalisation in
    training reads everything, and is said to. Where the example is too short to show the whole field, longer ones are
    traced, so any length that the module accepts will do.

    Args:
        module: any module; it is not changed.
        example_input: a tensor, or a tuple of the positional inputs, of which the first tensor is traced. Layout
            ``(batch, channels, time)`` or ``(batch, channels, frequency, time)``, unless the axes are given.
        time_axis: of the input.
        frequency_axis: of the input; None takes the axis before time, if there are four.
        output: which of the module's tensors, where it gives several.
        sample_rate: of the input, in Hz.
        allow_unknown: take operators that are not known to read everything, and say so in the notes.
        taps: whether to find the exact taps too, which tell holes.

    Returns:
        The field along each axis, its growth, parameters, multiply-accumulates and state.

    Raises:
        ValueError: if the module cannot be captured, has an operator that is not known, or its output does not depend
            on the input.

    Example:
        >>> conv = nn.Sequential(nn.Conv1d(1, 8, 3, padding=1), nn.Conv1d(8, 8, 3, padding=2, dilation=2))
        >>> answer = receptive_field(conv, torch.zeros(1, 1, 100))
        >>> answer.receptive_field, answer.lookahead
        (7, 3)
    """
    traced = trace(
        module,
        example_input,
        time_axis=time_axis,
        frequency_axis=frequency_axis,
        output=output,
        allow_unknown=allow_unknown,
        taps=taps,
    )
    return answer_of(traced, module, sample_rate)


@dataclass(frozen=True)
class Trace:
    """A walk through a module, with the fields that came out of it.

    Attributes:
        found: the walk, at the length at which it was read.
        fields: of each axis.
        taps: of each axis, where they are known.
        notes: what a reader must know.
    """

    found: Attempt
    fields: tuple[Field, ...]
    taps: tuple[Taps | None, ...]
    notes: tuple[str, ...]

    @property
    def subject(self) -> Subject:
        """What was traced."""
        return self.found.subject

    @property
    def walk(self) -> Walk:
        """What its operators read."""
        return self.found.walk

    @property
    def reach(self) -> Reach:
        """What its output reads."""
        return self.found.reach

    @property
    def lengths(self) -> list[int]:
        """Of the input along each axis."""
        return self.found.lengths


@one_thread()
def trace(
    module: nn.Module,
    example_input: Tensor | tuple[Any, ...],
    *,
    time_axis: int = -1,
    frequency_axis: int | None = None,
    output: int = 0,
    allow_unknown: bool = False,
    taps: bool = True,
) -> Trace:
    """:func:`receptive_field` with everything that it was computed from."""
    subject = subject_of(module, example_input, time_axis, frequency_axis, output, allow_unknown)
    found = settled(subject)
    notes = list(_training_notes(module))
    notes += [f"unknown {name}: taken to read everything" for name in found.walk.unknown]
    fields = []
    for axis in range(len(subject.axes)):
        field, note = _field(found, axis)
        fields.append(field)
        notes += [note] if note else []
    exact = [_taps(found, axis, field) if taps else None for axis, field in enumerate(fields)]
    return Trace(found, tuple(fields), tuple(exact), tuple(notes))


@one_thread()
def answer_of(traced: Trace, module: nn.Module, sample_rate: float | None) -> Answer:
    """The answer of a trace."""
    axes = [Axis.of(field, taps) for field, taps in zip(traced.fields, traced.taps, strict=True)]
    rows = cost_rows(traced.walk.steps, traced.lengths, module)
    states = [row.state_values for row in rows]
    state = None if any(value is None for value in states) else sum(value or 0 for value in states)
    size = next((p.element_size() for p in module.parameters()), 4)
    return Answer(
        axes=Axes(axes[0], axes[1] if len(axes) > 1 else None),
        layers=tuple(rows),
        parameters=sum(p.numel() for p in module.parameters()),
        state_values=state,
        state_bytes=None if state is None else state * size,
        macs_per_sample=sum(row.macs_per_sample or 0.0 for row in rows),
        sample_rate=sample_rate,
        notes=traced.notes,
    )


def _field(found: Attempt, axis: int) -> tuple[Field, str | None]:
    """The field along an axis and, where something is to be said of it, what."""
    length, name = found.lengths[axis], ("time", "frequency")[axis]
    where = intervals(found.reach, axis, length)
    if where is None:
        return _of_one_place(found, axis, name)
    fixed, width = found.fixed[axis], found.widths[axis]
    note = f"{name}: the module could not be traced at a greater length than {length}" if fixed else None
    if found.program.divides and not fixed and found.hops[axis] is None:
        note = f"{name}: the module makes {len(where.starts)} outputs of any input, here of {length}"
    if not found.growing[axis]:
        place = found.places[axis]
        if fixed and place is not None and place.dim == where.dim:  # no room to stay far away from the ends
            inside = inner(place, length, width, width / 2)
        else:
            inside = inner(where, length, width, width)
        field = fitted(where, inside)
        if field is not None:
            widest = float((where.ends - where.starts).max()) + 1
            if widest > field.receptive_field:
                note = f"{name}: the outputs at the ends read up to {widest:.0f} inputs, as of circular padding"
            return field, note
        if not fixed:
            raise ValueError(
                f"{name}: the fields of neighbouring outputs are not alike, as those of a flipped or permuted signal "
                "are not: there is no one receptive field"
            )
    return of_one_side(where, length) or of_everything(_stride(found, axis)), note


def _stride(found: Attempt, axis: int) -> Fraction:
    """Inputs between outputs that read everything: those of an operator before, with as many, that does not."""
    length = found.lengths[axis]
    for step in reversed(found.walk.steps):
        where = intervals(step.output, axis, length)
        if where is not None and len(where.starts) in found.reach.shape:
            field = fitted(where, inner(where, length, where.width, where.width)) or of_one_side(where, length)
            if field is not None:
                return field.stride
    return found.hops[axis] or Fraction(length, max(found.reach.shape)).limit_denominator(10_000)


def _of_one_place(found: Attempt, axis: int, name: str) -> tuple[Field, str | None]:
    """The field of an output that has no place along the axis: a pooled one, or the last of a signal."""
    length = found.lengths[axis]
    planes = found.reach.planes[2 * axis : 2 * axis + 2]
    start, end = -float(planes[0].max()), float(planes[1].max())
    if start > end:
        raise ValueError(f"{name}: the output does not depend on the input")
    if found.growing[axis] and found.hops[axis] is not None:
        return of_everything(_stride(found, axis)), None
    note = f"{name}: the output has no such axis"
    if found.growing[axis] or found.fixed[axis]:
        return of_everything(Fraction(1)), f"{note}, it reads all of the input"
    offset = int(end)
    return Field(1, 1, (int(start) - offset,), (0,)), f"{note}, it reads inputs {int(start)} to {offset} of {length}"


def _taps(found: Attempt, axis: int, field: Field) -> Taps | None:
    """The exact taps along an axis, if they are finite and few enough to be looked for."""
    length = found.lengths[axis]
    where = intervals(found.reach, axis, length)
    if math.inf in (-field.starts[0], field.ends[0]) or where is None or found.fixed[axis]:
        return None
    if field.inputs * length * math.prod(found.lengths) // length > _TAP_BUDGET:
        return None
    positions = seeds(field, length)
    each = max(_TAP_BUDGET // 8 // math.prod(found.lengths), 1)
    rows = []
    for first in range(0, len(positions), each):
        seed = set_seed(found.subject, axis, positions[first : first + each])
        planes = found.reach_from(seed).planes
        rows.append(planes.amax([1 + i for i in range(planes.ndim - 1) if i != where.dim]) > NOTHING)
    return taps_from(torch.cat(rows), positions, field)


def _training_notes(module: nn.Module) -> list[str]:
    """Layers that read the whole batch as they are."""
    norms = (nn.modules.batchnorm._BatchNorm, nn.SyncBatchNorm)
    return [
        f"{name or type(layer).__name__}: {type(layer).__name__} in training mode reads the whole batch and signal; "
        "call eval() for the field of the trained model"
        for name, layer in module.named_modules()
        if isinstance(layer, norms) and layer.training
    ]
