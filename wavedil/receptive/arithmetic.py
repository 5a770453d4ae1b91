"""Which inputs an output reads, exactly, through any chain or branching of layers.

A layer's output n reads an interval of inputs. For a convolution the interval moves by the stride with each output; for
a transposed convolution it depends on the phase of n as well. Both are periodic: some outputs further on, the interval
is the same, some inputs further on. :class:`Field` keeps one period, so composition is exact for every phase.
Sources: Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019, for the
chain; intervals instead of centres, because a causal residual block has no common centre.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from wavedil.checks import bounded_integer, shown

# Upper ends of sizes, by name; of any other, MOST_ELSE.
MOST = {"kernel_size": 10**6, "stride": 10**6, "channels": 10**6, "bins": 10**6}
MOST |= {"dilation": 10**100, "in_channels": 10**6, "out_channels": 10**6}
MOST_ELSE = 10**9
# Outputs after which a pattern repeats, and inputs: products of the strides of all layers.
MOST_PHASES, MOST_INPUTS = 2**16, 10**15
# Intervals that are compared one by one, where outputs are not in the order of what they read.
_MOST_COMPARED = 2**24

# The interval of an output that reads nothing: the neutral element of the hull.
_EMPTY = (math.inf, -math.inf)


def dilated_span(kernel_size: int, dilation: int = 1) -> int:
    """Inputs from the first tap of a dilated kernel to its last, ``dilation * (kernel_size - 1) + 1``."""
    return dilation * (kernel_size - 1) + 1


@dataclass(frozen=True)
class Field:
    """One period of a periodic interval map from outputs to inputs.

    Output ``outputs * m + p`` reads the inputs ``inputs * m + starts[p]`` to ``inputs * m + ends[p]``, both included,
    for every integer m. Offsets may be infinite: minus infinity at a start is "the whole past".

    Attributes:
        outputs: outputs in a period.
        inputs: inputs in a period.
        starts: first input read by each output of period 0.
        ends: last input read by each output of period 0.

    Example:
        >>> first = Field.convolution(kernel_size=3, padding=2)
        >>> second = Field.convolution(kernel_size=3, dilation=2, padding=4)
        >>> first.then(second).receptive_field
        7
    """

    outputs: int
    inputs: int
    starts: tuple[float, ...]
    ends: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.outputs < 1 or self.inputs < 1:
            raise ValueError(f"a period needs inputs and outputs, got {self.inputs} and {self.outputs}")
        _require_few(self.outputs, self.inputs)
        if not len(self.starts) == len(self.ends) == self.outputs:
            raise ValueError(f"expected {self.outputs} starts and ends, got {len(self.starts)} and {len(self.ends)}")

    @classmethod
    def identity(cls) -> "Field":
        """Output n reads input n."""
        return cls(1, 1, (0,), (0,))

    @classmethod
    def convolution(cls, kernel_size: int, stride: int = 1, dilation: int = 1, padding: int = 0) -> "Field":
        """Output n reads ``n * stride - padding`` up to ``dilation * (kernel_size - 1)`` further (pooling likewise).

        Args:
            kernel_size: taps.
            stride: inputs between outputs.
            dilation: inputs between taps.
            padding: inputs imagined before the first one; negative where the first inputs are skipped.
        """
        _require_positive(kernel_size=kernel_size, stride=stride, dilation=dilation)
        return cls(1, stride, (-padding,), (dilated_span(kernel_size, dilation) - 1 - padding,))

    @classmethod
    def transposed(cls, kernel_size: int, stride: int = 1, dilation: int = 1, padding: int = 0) -> "Field":
        """Output o reads every input i with ``i * stride + dilation * t = o + padding`` for a tap t.

        Without dilation these are ``ceil((o + padding - kernel_size + 1) / stride)`` to ``floor((o + padding) /
        stride)``.

        Args:
            kernel_size: taps.
            stride: outputs between inputs.
            dilation: outputs between taps.
            padding: outputs cut off at the start.
        """
        _require_positive(kernel_size=kernel_size, stride=stride, dilation=dilation)
        _require_few(stride, 1)
        common = math.gcd(stride, dilation)
        apart = stride // common  # taps that meet the same output are as far apart
        inverse = pow(dilation // common, -1, apart)
        intervals = []
        for position in range(padding, padding + stride):
            first = position // common * inverse % apart
            if position % common or first >= kernel_size:
                intervals.append(_EMPTY)
                continue
            last = kernel_size - 1 - (kernel_size - 1 - first) % apart
            intervals.append(((position - dilation * last) // stride, (position - dilation * first) // stride))
        return cls(stride, 1, tuple(start for start, _ in intervals), tuple(end for _, end in intervals))

    @classmethod
    def delay(cls, samples: int) -> "Field":
        """Output n reads input ``n - samples``."""
        return cls(1, 1, (-samples,), (-samples,))

    def at(self, output: int) -> tuple[float, float]:
        """First and last input that this output reads; (inf, -inf) where it reads none."""
        period, phase = divmod(output, self.outputs)
        return self.inputs * period + self.starts[phase], self.inputs * period + self.ends[phase]

    def then(self, following: "Field") -> "Field":
        """The field of ``following(self(x))`` in terms of x."""
        common = math.lcm(self.outputs, following.inputs)
        outputs = following.outputs * (common // following.inputs)
        _require_few(outputs, self.inputs * (common // self.outputs))
        ascending = self._is_ascending()
        if not ascending and outputs * self.outputs > _MOST_COMPARED:
            raise ValueError(f"a period of {outputs:,} outputs is too long to be composed: it leaves gaps")
        intervals = [self._hull_of(*following.at(p), ascending) for p in range(outputs)]
        inputs = self.inputs * (common // self.outputs)
        return Field(outputs, inputs, tuple(a for a, _ in intervals), tuple(b for _, b in intervals))

    def _hull_of(self, first: float, last: float, ascending: bool) -> tuple[float, float]:
        """Hull of what the outputs ``first`` to ``last`` read; only one period at either end can decide it."""
        if first > last:
            return _EMPTY
        if ascending:
            start = -math.inf if first == -math.inf else self.at(int(first))[0]
            return start, math.inf if last == math.inf else self.at(int(last))[1]
        start, end = -math.inf, math.inf
        if first > -math.inf:
            start = min(self.at(n)[0] for n in range(int(first), int(min(last, first + self.outputs - 1)) + 1))
        if last < math.inf:
            end = max(self.at(n)[1] for n in range(int(max(first, last - self.outputs + 1)), int(last) + 1))
        return start, end

    def _is_ascending(self) -> bool:
        """Whether no output reads further back than one before it, nor less far on."""
        orders = ((*self.starts, self.starts[0] + self.inputs), (*self.ends, self.ends[0] + self.inputs))
        finite = all(map(math.isfinite, (*self.starts, *self.ends)))
        return finite and all(a <= b for order in orders for a, b in pairwise(order))

    def union(self, other: "Field") -> "Field":
        """Hull with the field of a parallel branch.

        Raises:
            ValueError: if the branches have different strides, so that their outputs cannot be added.
        """
        if self.stride != other.stride:
            raise ValueError(f"parallel branches must have one stride, got {self.stride} and {other.stride}")
        outputs = math.lcm(self.outputs, other.outputs)
        _require_few(outputs, self.inputs * (outputs // self.outputs))
        pairs = [(self.at(p), other.at(p)) for p in range(outputs)]
        starts = tuple(min(a[0], b[0]) for a, b in pairs)
        ends = tuple(max(a[1], b[1]) for a, b in pairs)
        return Field(outputs, self.inputs * (outputs // self.outputs), starts, ends)

    @property
    def stride(self) -> Fraction:
        """Inputs an output, on average."""
        return Fraction(self.inputs, self.outputs)

    @property
    def receptive_field(self) -> int | float:
        """Inputs from the first that an output reads to the last, the largest over the phases."""
        return max(max(end - start + 1, 0) for start, end in zip(self.starts, self.ends, strict=True))

    @property
    def smallest_receptive_field(self) -> int | float:
        """The smallest over the phases; 0 where an output reads nothing."""
        return min(max(end - start + 1, 0) for start, end in zip(self.starts, self.ends, strict=True))

    @property
    def history(self) -> int | float:
        """How far back of a period's newest input its outputs reach."""
        return max(self.inputs - 1 - min(self.starts), 0)

    @property
    def lookahead(self) -> int | float:
        """How far beyond a period's newest input its outputs reach: 0 for a causal layer, whatever its stride."""
        return max(max(self.ends) - (self.inputs - 1), 0)


def _require_few(outputs: int, inputs: int) -> None:
    """Refuse a period that is too long to be held output by output.

    Raises:
        ValueError: naming the stride of all layers together.
    """
    if outputs > MOST_PHASES:
        raise ValueError(f"stride: outputs repeat after {shown(outputs)}, expected at most {MOST_PHASES:,}")
    if inputs > MOST_INPUTS:
        raise ValueError(f"stride: outputs are {shown(inputs)} inputs apart, expected at most {MOST_INPUTS:,}")


def _require_positive(**sizes: int) -> None:
    """Refuse sizes below 1, or beyond what anybody needs, by their name."""
    for name, value in sizes.items():
        bounded_integer(name, value, 1, MOST.get(name, MOST_ELSE))
