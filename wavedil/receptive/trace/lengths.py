"""How long an input must be to show a whole receptive field, and whether any would."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from torch import Tensor, nn

from wavedil.receptive.trace.fields import Intervals, along, fitted, inner, intervals
from wavedil.receptive.trace.program import Program, Walk
from wavedil.receptive.trace.reach import Reach
from wavedil.receptive.trace.subject import Subject, interval_seed

# Outputs beyond the field itself, from which the period is read.
_MARGIN = 64
# Outputs of the least input at which a growing field is taken to grow for ever: a window of attention may be longer
# than the example. Fewer where a long one takes long to capture.
_LONG, _LONG_IF_SLOW = 512, 64
# As many for odd rates, as from 44.1 to 48 kHz, 160 outputs for 147 inputs; and where no period is seen in fewer.
_ODD_PERIOD, _LONG_PERIOD = 1024, 4096
# Elements of the input that are added to look for such periods at most, and with which a trace is still tried.
_FURTHER, _LONGEST = 1 << 16, 1 << 25


@dataclass(frozen=True)
class Attempt:
    """A module captured at one length.

    Attributes:
        subject: at that length.
        program: its graph.
        endless: what its output reads where padding counts as more of the signal.
        fixed: axes along which the module takes no other length.
        growing: axes along which it reads more of a longer input.
        wider: axes along which it read more of this input than of the shorter one before.
        hops: inputs for each output, as far as a longer input has shown it.
        cuts: which share of the outputs that a cut leaves out lies before the first one, 1 for the last so many of
            any input; None where nothing is cut off, as far as a longer input has shown it.
        stretched: axes along which it spreads as many outputs over a longer input.
        slow: a longer input takes longer to capture: recurrent layers, and loops over time.
    """

    subject: Subject
    program: Program
    endless: Reach
    fixed: tuple[bool, ...]
    growing: tuple[bool, ...]
    wider: tuple[bool, ...]
    hops: tuple[Fraction | None, ...]
    cuts: tuple[float | None, ...]
    stretched: tuple[bool, ...]
    slow: bool

    @cached_property
    def walk(self) -> Walk:
        """What its operators read."""
        return _walk(self.program, self.subject, interval_seed(self.subject), keep_steps=True)

    @property
    def reach(self) -> Reach:
        """What its output reads."""
        return output_of(self.walk, self.subject)

    def reach_from(self, seed: Reach) -> Reach:
        """What its output reads of other seeds."""
        return output_of(_walk(self.program, self.subject, seed), self.subject)

    @property
    def lengths(self) -> list[int]:
        """Of the input along each axis."""
        return [self.subject.example.shape[axis] for axis in self.subject.axes]

    @cached_property
    def places(self) -> list[Intervals | None]:
        """The intervals of the endless reach along each axis, where it moves."""
        return [intervals(self.endless, axis, length) for axis, length in enumerate(self.lengths)]

    @cached_property
    def widths(self) -> list[float]:
        """Inputs from the first to the last that an output reads along each axis, away from the ends."""
        planes = self.endless.planes
        wholes = [float(planes[2 * i].max() + planes[2 * i + 1].max()) + 1 for i in range(len(self.lengths))]
        return [
            max(whole if place is None else place.width, 1.0) for whole, place in zip(wholes, self.places, strict=True)
        ]

    def where(self, axis: int) -> Intervals | None:
        """The intervals of the output along the dimension in which it moves along an axis; None if it does not."""
        place, length = self.places[axis], self.lengths[axis]
        found = intervals(self.reach, axis, length)
        if place is not None and (found is None or place.travel <= length / 4):  # padding hides how it moves
            return along(self.reach, axis, place.dim)
        dim = self.subject.axes[axis] % max(self.reach.ndim, 1)
        if found is None and self.reach.ndim == self.subject.example.ndim and self.reach.varies(dim):
            return along(self.reach, axis, dim)  # unevenly, where the input has this axis
        return found

    def hop(self, axis: int) -> int:
        """Inputs for each output, roughly."""
        place = self.places[axis]
        return 1 if place is None else place.hop

    def seems_cut(self, axis: int) -> bool:
        """Whether more of the input goes unread than padding accounts for, and no other length has been seen."""
        place = self.places[axis]
        if place is None or self.fixed[axis] or self.growing[axis] or self.stretched[axis]:
            return False
        if self.hops[axis] is not None or self.cuts[axis] is not None:
            return False
        return self.lengths[axis] - place.travel > 2 * self.widths[axis] + place.hop

    def need(self, axis: int) -> int:
        """The length at which enough outputs are sure to see nothing of either end."""
        length, width = self.lengths[axis], self.widths[axis]
        if (self.cuts[axis] is not None or self.stretched[axis]) and self.hops[
            axis
        ] is None:  # a longer input gives no more outputs
            return math.ceil(2 * width) + _MARGIN
        need = math.ceil(2 * width) + _MARGIN * self.hop(axis)
        place = self.places[axis]
        if length < need or place is None or self.seems_cut(axis):
            return need
        field = fitted(place, inner(place, length, width, width))
        if field is not None and 1 in field.stride.as_integer_ratio():
            return need
        # No period is seen yet; or, of an odd rate, perhaps not the true one.
        further = (_LONG_PERIOD if field is None else _ODD_PERIOD) * self.hop(axis)
        return need + min(further, _FURTHER * length // self.subject.example.numel())


def _walk(program: Program, subject: Subject, seed: Reach, keep_steps: bool = False) -> Walk:
    return program.walk(seed, position=subject.number, allow_unknown=subject.allow_unknown, keep_steps=keep_steps)


def output_of(walk: Walk, subject: Subject) -> Reach:
    """What the output in question reads.

    Raises:
        ValueError: if there is no such output, or it does not depend on the input.
    """
    tensors = [value for value in walk.outputs if isinstance(value, Reach | Tensor)]
    if not 0 <= subject.output < len(tensors):
        gives = {0: "no tensor", 1: "1 tensor"}.get(len(tensors), f"{len(tensors)} tensors")
        raise ValueError(f"output: the module gives {gives}, got {subject.output}")
    reach = tensors[subject.output]
    if not isinstance(reach, Reach):
        raise ValueError(f"{type(subject.module).__name__}: its output does not depend on the input")
    return reach


def attempt(subject: Subject) -> Attempt:
    """Capture a module and walk through it.

    Raises:
        ValueError: if it cannot be captured at this length, or its output does not depend on the input.
    """
    program = Program(subject.module, subject.args)
    walk = _walk(program, subject, interval_seed(subject, endless=True))
    none = (False,) * len(subject.axes)
    unseen = (None,) * len(none)
    output = output_of(walk, subject)
    return Attempt(subject, program, output, none, none, none, unseen, unseen, none, slow=_recurs(subject))


def settled(subject: Subject) -> Attempt:
    """The module captured at a length at which each axis shows its whole field, or is seen to have none."""
    found = _of_one_row(_first(subject))
    if found.program.divides:
        found = _lengthen(found, list(range(len(subject.axes))))
    for _ in range(12):
        short = [
            i
            for i, length in enumerate(found.lengths)
            if length < found.need(i) and not found.fixed[i] and not found.growing[i]
        ]
        if not short:
            break
        found = _lengthen(found, short)
    cut = [i for i in range(len(found.lengths)) if found.seems_cut(i)]
    return _lengthen(found, cut) if cut else found


def _recurs(subject: Subject) -> bool:
    """Whether there are recurrent layers, which take long to capture; a module made of a file says so itself."""
    return any(isinstance(m, nn.RNNBase) or getattr(m, "recurrent", False) for m in subject.module.modules())


def _long(found: Attempt, axis: int) -> int:
    long = _LONG_IF_SLOW if found.slow or len(found.lengths) > 1 else _LONG
    return long * found.hop(axis)


def _first(subject: Subject) -> Attempt:
    """The module as it is given; with recurrent layers on a shorter input if it can be."""
    whole = subject.example.shape[subject.axes[0]]
    if _recurs(subject):
        shorter = whole
        while shorter % 2 == 0 and shorter > _LONG_IF_SLOW:
            shorter //= 2
        while shorter < whole:
            try:
                return attempt(subject.shortened(shorter))
            except ValueError:
                shorter *= 2
    return attempt(subject)


def _of_one_row(found: Attempt) -> Attempt:
    """With a batch of 1, where rows of the batch and places in time may have become rows of one matrix."""
    batch, rows = found.subject.example.shape[0], found.endless.shape[:1]
    if (
        -found.subject.example.ndim in found.subject.axes
        or batch == 1
        or not rows
        or rows[0] == batch
        or rows[0] % batch
    ):
        return found
    try:
        return attempt(found.subject.of_one_row())
    except ValueError:
        return found


def _lengthen(found: Attempt, short: list[int]) -> Attempt:
    """A longer capture, along each axis by itself where the module takes only one length of the others."""
    factors = [_factor(found, i) if i in short else 1 for i in range(len(found.lengths))]
    size = found.subject.example.numel() * math.prod(factors)
    if size > _LONGEST:
        raise ValueError(
            f"the field may be {max(found.widths):.0f} inputs long, and an input of {size} values, which would show "
            "it, is too large to trace"
        )
    ways = [factors] + [[f if j == i else 1 for j, f in enumerate(factors)] for i in short if len(short) > 1]
    # Those of a lower rate along with it; and not as long as it should be, if it cannot be.
    tries = [(way, others) for way in ways for others in (False, True)]
    tries += [([min(f, 2) for f in way], False) for way in ways if max(way) > 2]
    for way, others in tries:
        try:
            longer = attempt(found.subject.lengthened(way, others))
        except ValueError:
            continue
        return _compared(found, longer, {i for i in short if way[i] == 1})
    return replace(found, fixed=tuple(f or i in short for i, f in enumerate(found.fixed)))


def _factor(found: Attempt, axis: int) -> int:
    """How many times as long the input is to be."""
    length, need, long = found.lengths[axis], found.need(axis), _long(found, axis)
    if found.wider[axis]:
        need = max(need, long)
    elif length >= long and found.widths[axis] <= length + 1:  # it may read the whole input: twice as much shows that
        need = min(need, 2 * length)
    return max(-(-need // length), 2)


def _compared(shorter: Attempt, longer: Attempt, refused: set[int]) -> Attempt:
    """What was found at a greater length, with what the two say together."""
    axes = range(len(shorter.lengths))
    longer = replace(longer, slow=shorter.slow or longer.program.size > 1.5 * shorter.program.size)
    wider = tuple(longer.widths[i] > 1.01 * shorter.widths[i] + 1 for i in axes)
    return replace(
        longer,
        fixed=tuple(shorter.fixed[i] or i in refused for i in axes),
        growing=tuple(shorter.growing[i] or (wider[i] and _grows(shorter, longer, i)) for i in axes),
        wider=wider,
        hops=tuple(measured_hop(shorter, longer, i) for i in axes),
        cuts=tuple(_cut(shorter, longer, i) for i in axes),
        stretched=tuple(_stretches(shorter, longer, i) for i in axes),
    )


def _cut(shorter: Attempt, longer: Attempt, axis: int) -> float | None:
    """Which share of what a cut leaves out lies before the first output, from how far the ends of the output moved."""
    inputs = longer.lengths[axis] - shorter.lengths[axis]
    if not inputs:
        return shorter.cuts[axis]
    a, b = shorter.places[axis], longer.places[axis]
    if a is None or b is None or a.dim != b.dim:
        return None
    left, right = float(b.ends[0] - a.ends[0]), inputs - float(b.ends[-1] - a.ends[-1])
    if left + right > inputs / 8:  # not so where either end read nothing
        return left / (left + right)
    return None


def _stretches(shorter: Attempt, longer: Attempt, axis: int) -> bool:
    """Whether as many outputs lie further apart in a longer input."""
    if longer.lengths[axis] == shorter.lengths[axis]:
        return shorter.stretched[axis]
    a, b = shorter.places[axis], longer.places[axis]
    if a is None or b is None or a.dim != b.dim or len(a.ends) != len(b.ends):
        return False
    return float((b.ends[-1] - b.ends[0]) - (a.ends[-1] - a.ends[0])) > 0


def _grows(shorter: Attempt, longer: Attempt, axis: int) -> bool:
    """Whether the field grows along with the input, or for the second time, and the input is long enough to say so."""
    if longer.program.divides and measured_hop(shorter, longer, axis) is None:
        return True
    if longer.lengths[axis] < _long(longer, axis):
        return False
    ratio = longer.lengths[axis] / shorter.lengths[axis]
    again = shorter.wider[axis] and shorter.lengths[axis] >= _long(shorter, axis)
    return longer.widths[axis] > 0.9 * ratio * shorter.widths[axis] or again


def measured_hop(shorter: Attempt, longer: Attempt, axis: int) -> Fraction | None:
    """Inputs for each output, from what a longer input added to the output; None where it added nothing."""
    inputs = longer.lengths[axis] - shorter.lengths[axis]
    if not inputs:
        return shorter.hops[axis]
    more = [b - a for a, b in zip(shorter.endless.shape, longer.endless.shape, strict=True)]
    place = longer.places[axis]
    taken = {other.dim for i, other in enumerate(longer.places) if other is not None and i != axis}
    dims = [place.dim] if place is not None else [d for d in range(len(more)) if d not in taken]
    return next((Fraction(inputs, more[d]) for d in dims if more[d] > 0), None)
