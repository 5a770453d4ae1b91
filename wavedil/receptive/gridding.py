"""Holes in the receptive field of a stack of dilated convolutions: which inputs an output never reads.

A layer is a pair (kernel_size, dilation) and has stride 1. Tap t of it reads ``dilation * t`` inputs on, so the inputs
that the stack reaches are the sums of one tap from each layer, and their order does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wavedil.checks import bounded_integer
from wavedil.receptive.arithmetic import dilated_span

# Reached inputs are counted in one bit each: this many fill 128 MiB.
MAX_SPAN = 2**30


def span(layers: Sequence[tuple[int, int]]) -> int:
    """Inputs from the first that an output reads to the last, holes included."""
    return 1 + sum(dilated_span(kernel_size, dilation) - 1 for kernel_size, dilation in layers)


def is_dense(layers: Sequence[tuple[int, int]]) -> bool:
    """Whether an output reads every input of its receptive field.

    By ascending dilation, the taps of a layer leave no hole between copies of what the layers before it reach exactly
    if its dilation is at most the span of those. If it is larger, the input just behind that span is missed for good,
    for no later layer has a smaller step. A kernel of 1 tap takes no steps and is left out.

    Args:
        layers: (kernel_size, dilation) of each layer, all of stride 1, in any order.

    Raises:
        ValueError: if a kernel size or a dilation is below 1.
    """
    _check(layers)
    reached = 1
    for dilation, kernel_size in sorted((d, k) for k, d in layers if k > 1):
        if dilation > reached:
            return False
        reached += (kernel_size - 1) * dilation
    return True


def count_taps(layers: Sequence[tuple[int, int]]) -> int:
    """How many inputs an output reads: its span without the holes.

    Args:
        layers: (kernel_size, dilation) of each layer, all of stride 1, in any order.

    Raises:
        ValueError: if a kernel size or a dilation is below 1, or a stack with holes spans more than ``MAX_SPAN``.
    """
    if is_dense(layers):
        return span(layers)
    if span(layers) > MAX_SPAN:
        raise ValueError(f"expected a span of at most {MAX_SPAN:,} inputs to count the taps in, got {span(layers):,}")
    reached = 1  # bit i is set if input i is reached
    for kernel_size, dilation in sorted(layers, key=lambda layer: layer[1]):
        copies = 0
        for tap in range(kernel_size):
            copies |= reached << tap * dilation
        reached = copies
    return reached.bit_count()


@dataclass(frozen=True)
class HybridCriterion:
    """What the criterion of hybrid dilated convolution says of a stack, and what is true of it.

    Attributes:
        kernel_size: taps of every layer.
        dilations: of the layers, from the input on.
        distance: M_2, the largest distance between taps that the criterion finds; None for a single layer, for which
            it is not defined.
        holds: whether M_2 is at most the kernel size; None for a single layer.
        dense: whether the stack really reaches every input of its field.
        taps: inputs that it reaches.
        span: inputs from the first reached to the last.
    """

    kernel_size: int
    dilations: tuple[int, ...]
    distance: int | None
    holds: bool | None
    dense: bool
    taps: int
    span: int

    @property
    def advice(self) -> str:
        """One line: the criterion's verdict, the truth, and which to trust where they part."""
        truth = f"all {self.span:,} inputs" if self.dense else f"only {self.taps:,} of {self.span:,} inputs"
        if self.holds is None:
            return f"the hybrid criterion is defined for 2 layers or more, got 1; {truth} are reached"
        relation = f"M_2 = {self.distance} {'<=' if self.holds else '>'} kernel_size {self.kernel_size}"
        verdict = f"the hybrid criterion {'holds' if self.holds else 'fails'} ({relation})"
        if self.holds == self.dense:
            return f"{verdict}, and {truth} are reached"
        fault = "strict" if self.dense else "lenient"
        return f"{verdict}, but {truth} are reached: it is advice, and here too {fault}"


def hybrid_criterion(kernel_size: int, dilations: Sequence[int]) -> HybridCriterion:
    """The criterion by which hybrid dilated convolution chooses dilations, beside the exact answer.

    ``M_n = r_n`` and ``M_i = max(M_{i+1} - 2 r_i, M_{i+1} - 2 (M_{i+1} - r_i), r_i)`` for dilations r_1 to r_n; it
    holds if ``M_2 <= kernel_size``. That is neither necessary nor sufficient for a field without holes: with 3 taps the
    dilations 2, 2, 2 pass and reach only every other input, and 1, 2, 5, 1, 2, 5 fail and reach them all.
    Source: Wang et al. 2018, section 3.2, arXiv:1702.08502.

    Args:
        kernel_size: taps of every layer.
        dilations: of the layers, from the input on.

    Raises:
        ValueError: if there is no dilation, one or the kernel size is below 1, or a stack with holes spans more than
            ``MAX_SPAN``.

    Example:
        >>> criterion = hybrid_criterion(3, [2, 2, 2])
        >>> criterion.holds, criterion.dense
        (True, False)
    """
    if not dilations:
        raise ValueError("expected at least one dilation, got none")
    layers = [(kernel_size, dilation) for dilation in dilations]
    dense, taps = is_dense(layers), count_taps(layers)
    distance = None
    if len(dilations) > 1:
        distance = dilations[-1]
        for r in reversed(dilations[1:-1]):
            distance = max(distance - 2 * r, distance - 2 * (distance - r), r)
    holds = None if distance is None else distance <= kernel_size
    return HybridCriterion(kernel_size, tuple(dilations), distance, holds, dense, taps, span(layers))


def _check(layers: Sequence[tuple[int, int]]) -> None:
    for kernel_size, dilation in layers:
        bounded_integer("kernel_size", kernel_size, 1, 10**100)
        bounded_integer("dilation", dilation, 1, 10**100)
