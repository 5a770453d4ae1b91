"""What is concluded from a walk along one axis: the field, its taps, how outputs are counted, and what must be said."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch

from wavedil.receptive.arithmetic import Field
from wavedil.receptive.taps import Taps
from wavedil.receptive.trace.fields import (
    Intervals,
    fitted,
    inner,
    intervals,
    of_everything,
    of_longest_run,
    of_one_side,
    renumbered,
    seeds,
    taps_from,
)
from wavedil.receptive.trace.hops import even_hop
from wavedil.receptive.trace.lengths import Attempt
from wavedil.receptive.trace.reach import NOTHING, reaches
from wavedil.receptive.trace.subject import set_seed

AXES = ("time", "frequency")
# Outputs of a period whose numbers are still matched to those of the input.
_PHASES = 256
# Elements of the planes of one tensor with which exact taps are still looked for.
_TAP_BUDGET = 1 << 27


@dataclass(frozen=True)
class Conclusion:
    """What an axis was found to be.

    Attributes:
        field: of the outputs as the module gives them for the input that was traced.
        taps: the exact sets of inputs; None where they are not known one by one.
        number: output 0 counts as this one in the answer: the last of an output that is cut to the last samples
            belongs to the newest input.
        notes: what a reader must know.
        outputs: the outputs of which all this holds.
    """

    field: Field
    taps: Taps | None
    number: int
    notes: tuple[str, ...]
    outputs: range = range(1)


def concluded(found: Attempt, axis: int, *, taps: bool) -> Conclusion:
    """The field along an axis with all that belongs to it.

    Raises:
        ValueError: if there is no one receptive field, or the output does not depend on the input.
    """
    where = found.where(axis)
    if where is None:
        field, note = _of_one_place(found, axis)
        return Conclusion(field, None, 0, (*note, *_everything_note(found, axis, field)))
    notes = [*_length_notes(found, axis, where)]
    run = _of_run(found, axis, where)
    if run is not None:
        field, outputs = run
        said = f"what is said holds of outputs {outputs[0]} to {outputs[-1]} of {len(where.starts)}"
        notes.append(f"{AXES[axis]}: the outputs do not follow each other evenly: {said}")
        return Conclusion(field, None, 0, tuple(notes), outputs)
    field = _field(found, axis, where)
    notes += [*_edge_note(axis, where, field, found.lengths[axis]), *_everything_note(found, axis, field)]
    number = _number(found, axis, where, field)
    if number:
        first = field.at(0)
        reads = f"up to {first[1]:.0f}" if math.isinf(first[0]) else f"{first[0]:.0f} to {first[1]:.0f}"
        notes.append(
            f"{AXES[axis]}: the output is cut: of {found.lengths[axis]} inputs its first place reads inputs {reads}, "
            f"and counts as output {number}"
        )
    exact = _taps(found, axis, field, where) if taps else None
    return Conclusion(field, exact, number, tuple(notes), range(len(where.starts)))


def _length_notes(found: Attempt, axis: int, where: Intervals) -> list[str]:
    name, length = AXES[axis], found.lengths[axis]
    if found.fixed[axis]:
        return [f"{name}: the module could not be traced at a greater length than {length}"]
    constant = found.cuts[axis] is not None or found.stretched[axis] or found.program.divides
    if found.hops[axis] is None and constant:
        return [f"{name}: the module makes {len(where.starts)} outputs of any input, here of {length}"]
    return []


def _of_run(found: Attempt, axis: int, where: Intervals) -> tuple[Field, range] | None:
    """The field of the most outputs that follow each other evenly, where not all do."""
    if found.growing[axis] or found.fixed[axis]:
        return None
    if not found.stretched[axis] and (_of_middle(found, axis, where) or _of_cut(found, axis, where)):
        return None
    run = of_longest_run(where)
    return None if run is None else (run[0], range(run[1], run[2] + 1))


def _field(found: Attempt, axis: int, where: Intervals) -> Field:
    """The field of outputs that move along an axis."""
    length, name = found.lengths[axis], AXES[axis]
    field = None if found.growing[axis] else _of_middle(found, axis, where) or _of_cut(found, axis, where)
    place = found.places[axis]
    ends = where.ends if place is None or place.dim != where.dim else place.ends
    field = field or of_one_side(where, length) or of_one_side(Intervals(where.dim, where.starts, ends), length)
    if field is None and not (found.growing[axis] or found.fixed[axis]):
        raise ValueError(
            f"{name}: the fields of neighbouring outputs are not alike, as those of a flipped or permuted signal "
            "are not: there is no one receptive field"
        )
    return field or of_everything(_stride(found, axis))


def _of_middle(found: Attempt, axis: int, where: Intervals) -> Field | None:
    """The field of outputs that are away from the ends of the input."""
    length, width, place = found.lengths[axis], found.widths[axis], found.places[axis]
    if found.fixed[axis] and place is not None and place.dim == where.dim:  # no room to stay far away from the ends
        return fitted(where, inner(place, length, width, width / 2))
    return fitted(where, inner(where, length, width, width))


def _of_cut(found: Attempt, axis: int, where: Intervals) -> Field | None:
    """The field of an output that is cut to some samples: of those that read no padding, or as they would go on."""
    place = found.places[axis]
    if found.cuts[axis] is None and where.travel > found.lengths[axis] / 4:
        return None
    everywhere = torch.ones(len(where.starts), dtype=torch.bool)
    if place is None or place.dim != where.dim:
        return fitted(where, everywhere)
    return fitted(where, _clean(where, place)) or fitted(place, everywhere)


def _clean(where: Intervals, place: Intervals) -> torch.Tensor:
    """Which outputs read no padding: more of the signal in its place changes nothing."""
    return (where.starts == place.starts) & (where.ends == place.ends)


def _edge_note(axis: int, where: Intervals, field: Field, length: int) -> list[str]:
    """Outputs that read more than their part of the field, as mirrored and circular padding lets those at the ends."""
    if not math.isfinite(field.receptive_field):
        return []
    count = len(where.starts)
    periods, phases = torch.arange(count) // field.outputs * field.inputs, torch.arange(count) % field.outputs
    starts = (torch.tensor(field.starts, dtype=torch.float64)[phases] + periods).clamp(min=0)
    ends = (torch.tensor(field.ends, dtype=torch.float64)[phases] + periods).clamp(max=length - 1)
    others = ((where.starts < starts) | (where.ends > ends)) & (where.ends > NOTHING)
    if not bool(others.any()):
        return []
    n = int(others.nonzero()[0])
    reads = f"output {n} reads inputs {where.starts[n]:.0f} to {where.ends[n]:.0f} of {length}"
    why = "as mirrored, repeated and circular padding lets those at the ends"
    return [f"{AXES[axis]}: {int(others.sum())} of {count} outputs read beyond their part of the field, {why}: {reads}"]


def _number(found: Attempt, axis: int, where: Intervals, field: Field) -> int:
    """How output 0 is counted: what a cut leaves out before it is counted too."""
    length, share, place = found.lengths[axis], found.cuts[axis], found.places[axis]
    missing = int(length / field.stride) - len(where.starts)
    if place is None or missing <= 0:
        return 0
    if found.fixed[axis]:  # nothing tells what the ends do but where they lie
        left, right = max(float(place.ends[0]), 0.0), max(length - 1 - float(place.ends[-1]), 0.0)
        share = left / (left + right) if left + right > 2 * found.widths[axis] + place.hop else None
    return 0 if share is None else _aligned(field, int(missing * share + 0.5))


def _aligned(field: Field, number: int) -> int:
    """The number nearby that lets the outputs of a period look back and ahead the least."""
    if field.outputs > _PHASES or not math.isfinite(field.receptive_field):
        return number
    near = range(number - field.outputs // 2, number + (field.outputs + 1) // 2)

    def reach(candidate: int) -> tuple[float, int]:
        shifted = renumbered(field, candidate)
        return shifted.history + shifted.lookahead, abs(candidate - number)

    return min(near, key=reach)


def _stride(found: Attempt, axis: int) -> Fraction:
    """Inputs between outputs that read everything: those of an operator before, with as many, that does not."""
    length = found.lengths[axis]
    for step in reversed(found.walk.steps):
        where = intervals(step.output, axis, length)
        if where is not None and len(where.starts) in found.reach.shape:
            field = fitted(where, inner(where, length, where.width, where.width)) or of_one_side(where, length)
            if field is not None:
                return field.stride
    hop = found.hops[axis] or Fraction(length, max(found.reach.shape)).limit_denominator(10_000)
    return even_hop(found, axis) or hop


def _of_one_place(found: Attempt, axis: int) -> tuple[Field, list[str]]:
    """The field of an output that has no place along the axis: a pooled one, or the last of a signal."""
    length, name = found.lengths[axis], AXES[axis]
    planes = found.reach.planes[2 * axis : 2 * axis + 2]
    start, end = -float(planes[0].max()), float(planes[1].max())
    if start > end:
        raise ValueError(f"{name}: the output does not depend on the input")
    if found.growing[axis] and found.hops[axis] is not None:
        return of_everything(_stride(found, axis)), []
    note = f"{name}: the output has no such axis"
    if found.growing[axis] or found.fixed[axis]:
        return of_everything(Fraction(1)), [f"{note}, it reads all of the input"]
    offset = int(end)
    together = "" if _alike(planes) else ", its elements taken together"
    reads = f"it reads inputs {int(start)} to {offset} of {length}{together}"
    return Field(1, 1, (int(start) - offset,), (0,)), [f"{note}, {reads}"]


def _alike(planes: torch.Tensor) -> bool:
    """Whether all elements read the same."""
    flat = planes.flatten(1)
    return bool((flat == flat[:, :1]).all())


def _everything_note(found: Attempt, axis: int, field: Field) -> list[str]:
    """Which operator is the first of which an output reads all of the input."""
    if math.inf not in field.ends or found.walk.unknown:
        return []
    length = found.lengths[axis]
    for step in found.walk.steps:
        narrow = [part for part in reaches(*step.call.values) if intervals(part, axis, length) is not None]
        if narrow and intervals(step.output, axis, length) is None:
            place = f"{step.name} in {step.path or 'the module itself'}"
            return [f"{AXES[axis]}: an output reads everything from {place} on"]
    return []


def _taps(found: Attempt, axis: int, field: Field, where: Intervals) -> Taps | None:
    """The exact taps along an axis, if they are finite and few enough to be looked for."""
    length = found.lengths[axis]
    if math.inf in (-field.starts[0], field.ends[0]) or found.fixed[axis]:
        return None
    cut = found.cuts[axis] is not None
    outputs = _whole_period(found, axis, field, where) if cut else range(len(where.starts))
    if not outputs:
        return None
    positions = _read_by(field, outputs) if cut else seeds(field, length)
    if len(positions) * math.prod(found.lengths) > _TAP_BUDGET:
        return None
    reached = _reached(found, axis, positions, where.dim)
    chosen = torch.zeros(len(where.starts), dtype=torch.bool)
    chosen[outputs.start : outputs.stop] = True
    return taps_from(reached & chosen, positions, field)


def _whole_period(found: Attempt, axis: int, field: Field, where: Intervals) -> range:
    """Outputs of one period, none of which reads padding."""
    place = found.places[axis]
    if place is None or place.dim != where.dim:
        return range(0)
    clean = _clean(where, place)
    runs = [n for n in range(len(clean) - field.outputs + 1) if bool(clean[n : n + field.outputs].all())]
    first = runs[len(runs) // 2] if runs else 0
    return range(first, first + field.outputs) if runs else range(0)


def _read_by(field: Field, outputs: range) -> list[int]:
    """All inputs from the first that these outputs read to the last."""
    pairs = [field.at(n) for n in outputs if field.at(n)[0] <= field.at(n)[1]]
    return list(range(int(min(a for a, _ in pairs)), int(max(b for _, b in pairs)) + 1))


def _reached(found: Attempt, axis: int, positions: Sequence[int], dim: int) -> torch.Tensor:
    """Which outputs each of these inputs reaches, ``(inputs, outputs)``."""
    each = max(_TAP_BUDGET // 8 // math.prod(found.lengths), 1)
    rows = []
    for first in range(0, len(positions), each):
        seed = set_seed(found.subject, axis, positions[first : first + each])
        planes = found.reach_from(seed).planes
        rows.append(planes.amax([1 + i for i in range(planes.ndim - 1) if i != dim]) > NOTHING)
    return torch.cat(rows)
