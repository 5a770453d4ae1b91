"""Exactly which inputs an output reads, hole by hole, and along how many paths: sets as the bits of one large integer.

The hull of a field (:class:`Field`) says how far an output reads; the tap set says what it reads in between. Composing
two layers is shifting and merging, which Python's integers do thousands of taps at a time. With more than one bit a tap
the same shifts and sums multiply polynomials, so that they count the paths to each tap (Kronecker substitution).
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wavedil.receptive.arithmetic import Field


@dataclass(frozen=True)
class Taps:
    """One period of the sets of inputs that outputs read.

    Output ``outputs * m + p`` reads input ``inputs * m + firsts[p] + i`` if coefficient i of ``masks[p]`` is not zero.

    Attributes:
        outputs: outputs in a period.
        inputs: inputs in a period.
        firsts: the input that coefficient 0 of each mask stands for.
        masks: the set of each output of period 0, coefficient i in the bits ``width * i`` onwards.
        width: bits of a coefficient; 1 for sets, more for numbers of paths.

    Example:
        >>> first = Taps.of(1, 1, [[-2, 0]])
        >>> first.then(first).positions(0)
        (-4, -2, 0)
    """

    outputs: int
    inputs: int
    firsts: tuple[int, ...]
    masks: tuple[int, ...] = field(repr=False)
    width: int = 1

    @classmethod
    def of(cls, outputs: int, inputs: int, sets: Sequence[Iterable[int]], width: int = 1) -> "Taps":
        """From the inputs that each output of a period reads; one that is listed twice counts as two paths."""
        firsts, masks = [], []
        for positions in sets:
            positions = list(positions)
            first = min(positions, default=0)
            firsts.append(first)
            masks.append(_mask([position - first for position in positions], width))
        return cls(outputs, inputs, tuple(firsts), tuple(masks), width)

    @classmethod
    def identity(cls, width: int = 1) -> "Taps":
        """Output n reads input n."""
        return cls(1, 1, (0,), (1,), width)

    def at(self, output: int) -> tuple[int, int]:
        """The input that coefficient 0 stands for, and the mask, of this output."""
        period, phase = divmod(output, self.outputs)
        return self.inputs * period + self.firsts[phase], self.masks[phase]

    def counts(self, output: int) -> dict[int, int]:
        """The inputs that this output reads, in order, and the number of paths to each (1 where only sets are kept)."""
        first, mask = self.at(output)
        if self.width == 1:
            return {first + match.start(): 1 for match in re.finditer("1", f"{mask:b}"[::-1])}
        digits = f"{mask:b}"
        values = [int(digits[max(end - self.width, 0) : end], 2) for end in range(len(digits), 0, -self.width) if mask]
        return {first + i: value for i, value in enumerate(values) if value}

    def positions(self, output: int) -> tuple[int, ...]:
        """The inputs that this output reads, in order."""
        return tuple(self.counts(output))

    def then(self, following: "Taps") -> "Taps":
        """The taps of ``following(self(x))`` in terms of x; quick where ``following`` has few taps."""
        common = math.lcm(self.outputs, following.inputs)
        outputs = following.outputs * (common // following.inputs)
        pairs = [self._merged(following.counts(p)) for p in range(outputs)]
        inputs = self.inputs * (common // self.outputs)
        return Taps(outputs, inputs, tuple(f for f, _ in pairs), tuple(m for _, m in pairs), self.width)

    def _merged(self, counts: Mapping[int, int]) -> tuple[int, int]:
        """First input and mask of what all of these outputs read, each as often as it is counted."""
        parts = [(*self.at(n), count) for n, count in counts.items() if self.at(n)[1]]
        first = min((first for first, _, _ in parts), default=0)
        total = 0
        for start, mask, count in parts:
            shifted = mask << self.width * (start - first)
            total = _merge(total, shifted if self.width == 1 else shifted * count, self.width)
        return first, total

    def union(self, other: "Taps") -> "Taps":
        """What a sum of two parallel branches reads.

        Raises:
            ValueError: if the branches have different strides, so that their outputs cannot be added.
        """
        if self.inputs * other.outputs != other.inputs * self.outputs:
            strides = f"{self.inputs}/{self.outputs} and {other.inputs}/{other.outputs}"
            raise ValueError(f"parallel branches must have one stride, got {strides}")
        outputs = math.lcm(self.outputs, other.outputs)
        firsts, masks = [], []
        for p in range(outputs):
            parts = [part for part in (self.at(p), other.at(p)) if part[1]]
            first = min((first for first, _ in parts), default=0)
            total = 0
            for start, mask in parts:
                total = _merge(total, mask << self.width * (start - first), self.width)
            firsts.append(first)
            masks.append(total)
        return Taps(outputs, self.inputs * (outputs // self.outputs), tuple(firsts), tuple(masks), self.width)

    @property
    def hull(self) -> Field:
        """From the first tap of each output to the last."""
        ends = [(mask.bit_length() - 1) // self.width for mask in self.masks]
        starts = tuple(first if mask else math.inf for first, mask in zip(self.firsts, self.masks, strict=True))
        lasts = tuple(
            first + end if mask else -math.inf for first, end, mask in zip(self.firsts, ends, self.masks, strict=True)
        )
        return Field(self.outputs, self.inputs, starts, lasts)

    def holes(self, output: int) -> tuple[int, ...]:
        """Inputs between the first and the last that this output reads, which it does not read."""
        first, mask = self.at(output)
        if self.width == 1:
            return tuple(first + match.start() for match in re.finditer("0", f"{mask:b}"[::-1])) if mask else ()
        read = self.counts(output)
        return tuple(i for i in range(min(read, default=0), max(read, default=-1)) if i not in read)

    def reached(self, output: int) -> int:
        """How many inputs this output reads."""
        return self.masks[output % self.outputs].bit_count() if self.width == 1 else len(self.counts(output))


def _mask(positions: Sequence[int], width: int) -> int:
    """An integer with 1 added to the coefficient of each position, or of sets set."""
    if width > 1:
        return sum(1 << width * position for position in positions)
    bits = bytearray(max(positions, default=0) // 8 + 1)
    for position in positions:
        bits[position // 8] |= 1 << position % 8
    return int.from_bytes(bits, "little")


def _merge(a: int, b: int, width: int) -> int:
    return a | b if width == 1 else a + b
