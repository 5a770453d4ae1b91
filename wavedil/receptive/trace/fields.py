"""From the intervals of a finite tensor to the field of an endless signal: which dimension is time, and its period."""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from wavedil.receptive.arithmetic import Field
from wavedil.receptive.taps import Taps
from wavedil.receptive.trace.reach import NOTHING, Reach, compact

# Outputs over which a period is looked for.
_WINDOW = 16_384


@dataclass(frozen=True, eq=False)
class Intervals:
    """What the positions of a tensor along one of its dimensions read of an axis of the input.

    Attributes:
        dim: the dimension.
        starts: first input that each position reads, ``(positions,)``; infinite where it reads none.
        ends: last input.
    """

    dim: int
    starts: Tensor
    ends: Tensor

    @property
    def travel(self) -> float:
        """Inputs by which the field moves from one side of the tensor to the other."""
        read = self.ends > NOTHING
        if not bool(read.any()):
            return 0.0
        starts, ends = self.starts[read], self.ends[read]
        return float(max(starts.max() - starts.min(), ends.max() - ends.min()))

    @property
    def hop(self) -> int:
        """Inputs from one position to the next, roughly."""
        return max(math.ceil(self.travel / max(len(self.starts) - 1, 1)), 1)

    @property
    def width(self) -> float:
        """Inputs from the first to the last that a position away from either end reads."""
        quarter = len(self.starts) // 4
        widths = (self.ends - self.starts)[quarter : len(self.starts) - quarter]
        return float(widths.max()) + 1


def intervals(reach: Reach, axis: int, length: int) -> Intervals | None:
    """Intervals along the dimension in which the field moves on the most; None if it does not move.

    A way that is short beside the input counts where it is even, as that of an output which is cut to a few samples:
    channels that read different inputs are no axis of time.

    Args:
        reach: with the planes of intervals.
        axis: which axis of the input.
        length: of that axis.
    """
    planes = compact(reach.planes[2 * axis : 2 * axis + 2])
    found = [along(reach, axis, d) for d in range(reach.ndim) if planes.shape[1 + d] > 1]
    far = [one for one in found if one.travel > length / 4]
    return max(far or [one for one in found if _is_even(one)], key=lambda one: one.travel, default=None)


def along(reach: Reach, axis: int, dim: int) -> Intervals:
    """Intervals along one dimension, each the hull over all others."""
    planes = compact(reach.planes[2 * axis : 2 * axis + 2]).movedim(1 + dim, 1)
    edges = planes.reshape(2, planes.shape[1], -1).amax(-1).double().expand(2, reach.shape[dim])
    return Intervals(dim, -edges[0], edges[1])


def _is_even(found: Intervals) -> bool:
    everywhere = torch.ones(len(found.starts), dtype=torch.bool)
    flipped = Intervals(found.dim, found.starts.flip(0), found.ends.flip(0))
    return any(fitted(one, everywhere) or of_one_side(one, math.inf) for one in (found, flipped))


def inner(found: Intervals, length: float, width: float, margin: float) -> Tensor:
    """Which outputs see nothing of either side.

    Args:
        found: the intervals.
        length: of the input.
        width: inputs that an output reads at most; those that read more, as circular padding lets the outer ones, do
            not count.
        margin: how far from either side the centre of an interval must be.
    """
    centres = (found.starts + found.ends) / 2
    return (centres >= margin) & (centres <= length - 1 - margin) & (found.ends - found.starts < width)


def fitted(found: Intervals, inside: Tensor) -> Field | None:
    """The field of which these are the intervals, from the outputs that see nothing of either side.

    Returns None if these outputs are too few or not periodic.
    """
    places = inside.nonzero().flatten()
    if len(places) < 2:
        return None
    first, last = int(places[0]), int(places[-1]) + 1
    if last - first > _WINDOW:
        first += (last - first - _WINDOW) // 2
        last = first + _WINDOW
    starts, ends = found.starts[first:last], found.ends[first:last]
    for outputs in range(1, (last - first) // 2 + 1):
        # Most periods are ruled out by a few outputs.
        if _shift(starts[: outputs + 16], ends[: outputs + 16], outputs) is not None or outputs == 1:
            inputs = _shift(starts, ends, outputs)
            if inputs is not None:
                return _period(first, outputs, inputs, starts, ends)
    return None


def _shift(starts: Tensor, ends: Tensor, outputs: int) -> int | None:
    """By how many inputs all intervals move every ``outputs`` positions."""
    read = ends > NOTHING
    if not bool((read[outputs:] == read[:-outputs]).all()):
        return None
    pairs = read[outputs:]
    moves = torch.cat([(starts[outputs:] - starts[:-outputs])[pairs], (ends[outputs:] - ends[:-outputs])[pairs]])
    if len(moves) == 0 or float(moves[0]) < 1 or not bool((moves == moves[0]).all()):
        return None
    return int(moves[0])


def _period(first: int, outputs: int, inputs: int, starts: Tensor, ends: Tensor) -> Field:
    """The period of outputs 0 to ``outputs - 1``, from one that begins elsewhere."""
    pairs = []
    for phase in range(outputs):
        n = (phase - first) % outputs
        periods = (first + n - phase) // outputs
        a, b = float(starts[n]), float(ends[n])
        pairs.append((a - periods * inputs, b - periods * inputs) if a <= b else (math.inf, -math.inf))
    exact = [(int(a), int(b)) if a <= b else (a, b) for a, b in pairs]
    return Field(outputs, inputs, tuple(a for a, _ in exact), tuple(b for _, b in exact))


def of_one_side(found: Intervals, length: float) -> Field | None:
    """The field of outputs that read the whole past: only their ends move."""
    read = found.starts[found.ends > NOTHING]
    if len(read) == 0 or not bool((read == read[0]).all()):
        return None
    ends = Intervals(found.dim, found.ends, found.ends)
    everywhere = torch.ones(len(found.ends), dtype=torch.bool)
    field = fitted(ends, inner(ends, length, 1, length / 4)) or fitted(ends, everywhere)
    if field is None:
        return None
    return Field(field.outputs, field.inputs, (-math.inf,) * field.outputs, field.ends)


def of_everything(stride: Fraction) -> Field:
    """The field of outputs that read all there is."""
    outputs = stride.denominator
    return Field(outputs, stride.numerator, (-math.inf,) * outputs, (math.inf,) * outputs)


def of_longest_run(found: Intervals) -> tuple[Field, int, int] | None:
    """The field of the most outputs in a row that follow each other evenly, and the first and the last of them."""
    moves, others = found.starts.diff(), found.ends.diff()
    even = (moves == others) & (moves >= 1) & moves.isfinite()
    values, counts = torch.where(even, moves, -1.0).unique_consecutive(return_counts=True)
    best = int(torch.where(values >= 1, counts, 0).argmax())
    first = int(counts[:best].sum())
    last = first + int(counts[best])
    inside = torch.zeros(len(found.starts), dtype=torch.bool)
    inside[first : last + 1] = bool(even.any())
    field = fitted(found, inside)
    return None if field is None else (field, first, last)


def renumbered(field: Field, by: int) -> Field:
    """The same field for outputs of which output 0 becomes output ``by``."""
    pairs = [field.at(phase - by) for phase in range(field.outputs)]
    return Field(field.outputs, field.inputs, tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def renumbered_taps(taps: Taps, by: int) -> Taps:
    """Likewise."""
    pairs = [taps.at(phase - by) for phase in range(taps.outputs)]
    return Taps(taps.outputs, taps.inputs, tuple(first for first, _ in pairs), tuple(mask for _, mask in pairs))


def seeds(field: Field, length: int) -> list[int]:
    """Inputs, one of each phase, from the middle of a signal."""
    first = length // 2 // field.inputs * field.inputs
    return list(range(first, first + field.inputs))


def taps_from(reached: Tensor, inputs: list[int], field: Field) -> Taps:
    """Exact taps from which outputs some inputs reach.

    Args:
        reached: whether the input reaches the output, ``(inputs, outputs)``.
        inputs: one of each phase.
        field: gives the period.
    """
    sets: list[set[int]] = [set() for _ in range(field.outputs)]
    for row, position in zip(reached, inputs, strict=True):
        for n in row.nonzero().flatten().tolist():
            period, phase = divmod(n, field.outputs)
            sets[phase].add(position - period * field.inputs)
    return Taps.of(field.outputs, field.inputs, sets)
