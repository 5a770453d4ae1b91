"""Dilation schedules."""

import math
from bisect import bisect_left
from fractions import Fraction
from typing import overload

from wavedil.checks import bounded_integer, bounded_number, one_of

MOST_LAYERS = 100_000


@overload
def exponential_dilations(depth: int, /, *, cycles: int = 1, base: int = 2) -> tuple[int, ...]: ...
@overload
def exponential_dilations(cycles: int, depth: int, base: int = 2) -> tuple[int, ...]: ...
@overload
def exponential_dilations(*, depth: int, cycles: int = 1, base: int = 2) -> tuple[int, ...]: ...
def exponential_dilations(*sizes: int, **named: int) -> tuple[int, ...]:
    """Dilations 1, base, base^2, ..., base^(depth-1), repeated ``cycles`` times.

    One number is the depth; of two, the first is the number of cycles, as ``range`` has a stop, or a start and a stop.
    Source: van den Oord 2016, section 2.1, arXiv:1609.03499 (cycles of 1, 2, 4, ..., 512).

    Args:
        cycles: how often the schedule is repeated, 1 by default.
        depth: layers in a cycle.
        base: growth from one layer to the next; 1 gives undilated layers.

    Raises:
        TypeError: if an argument is no integer, is missing or given twice.
        ValueError: if an argument is below 1, there are more than 100,000 layers, or a dilation of more than 2^63.

    Example:
        >>> exponential_dilations(10)
        (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
        >>> exponential_dilations(2, 4)
        (1, 2, 4, 8, 1, 2, 4, 8)
    """
    names = ("depth",) if len(sizes) == 1 and "depth" not in named else ("cycles", "depth", "base")
    given = {"cycles": 1, "base": 2, **dict(zip(names, sizes, strict=False)), **named}
    is_twice = len(sizes) > len(names) or not named.keys().isdisjoint(names[: len(sizes)])
    if is_twice or given.keys() != {"cycles", "depth", "base"}:
        raise TypeError("expected exponential_dilations(depth) or exponential_dilations(cycles, depth, base=2)")
    cycles, depth, base = given["cycles"], given["depth"], given["base"]
    require_layers(cycles, depth)
    bounded_integer("base", base, 1, 2**63)
    if depth > 1 and base > 1 and (depth - 1) * math.log2(base) > 63:
        raise ValueError(f"base^(depth-1): expected a dilation of at most 2^63, got {base}^{depth - 1}")
    return tuple(base**i for i in range(depth)) * cycles


def require_layers(cycles: int, depth: int) -> None:
    """Refuse a schedule of too many layers.

    Raises:
        TypeError: if a number is no integer.
        ValueError: if it is below 1, or the product is above 100,000.
    """
    bounded_integer("cycles", cycles, 1, MOST_LAYERS)
    bounded_integer("depth", depth, 1, MOST_LAYERS)
    if cycles * depth > MOST_LAYERS:
        raise ValueError(f"cycles * depth: expected at most {MOST_LAYERS:,} layers, got {cycles * depth:,}")


def hybrid_dilations(
    depth: int,
    kernel_size: int = 3,
    *,
    cycles: int = 1,
    overlap: float | None = None,
    coprime: bool = True,
    receptive_field: int | None = None,
) -> tuple[int, ...]:
    """Dilations without gridding: each input of the field is read, and but for the edges along several paths.

    A layer reads copies of what the layers before it span, one dilation apart. They leave no hole exactly if the
    dilation is at most that span (see :func:`wavedil.receptive.is_dense`); but then a single path may lead to an input.
    Here each dilation fits ``overlap`` times into the span of the layers before it (or is 1), so that an input lies in
    ``overlap`` copies, rounded down and at most ``kernel_size``, unless it is nearer to an edge of the field than
    ``overlap - 1`` times the last dilation. Of such dilations the largest is taken; with ``coprime`` the largest that
    has no factor in common with those before it, if one is larger than they: paths along a common factor meet in the
    same inputs, and leave few to those in between.

    Schedules of others are members of the family: ``overlap=1, coprime=False`` is the largest field without holes,
    powers of the kernel size with one path to each input; ``overlap=2, coprime=False`` begins with 1, 1, 2, 4, 8, 16
    for 3 taps (Yu and Koltun 2016, arXiv:1511.07122); ``overlap=1.25`` with 1, 2, 5, which Wang et al. 2018, section
    3.2, arXiv:1702.08502, repeat in groups like the teeth of a saw: ``cycles``.

    Args:
        depth: layers in a cycle.
        kernel_size: taps of each layer, of stride 1.
        cycles: how often the schedule is repeated.
        overlap: how often a dilation fits into the span of the layers before it, at least 1. None takes 2, or what the
            wanted receptive field leaves.
        coprime: whether to avoid common factors.
        receptive_field: wanted, in inputs: the overlap is raised, in steps of a twentieth, as far as this is reached.

    Returns:
        ``cycles * depth`` dilations, in each cycle ascending from 1.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range, or the receptive field is out of reach.

    Example:
        >>> hybrid_dilations(5), hybrid_dilations(3, overlap=1.25, cycles=2)
        ((1, 1, 2, 3, 7), (1, 2, 5, 1, 2, 5))
        >>> hybrid_dilations(5, receptive_field=40)  # reaches 41
        (1, 1, 2, 5, 11)
    """
    require_layers(cycles, bounded_integer("depth", depth, 1, 256))
    bounded_integer("kernel_size", kernel_size, 1, 2**24)
    if overlap is not None:  # below 1 the field has holes
        overlap = bounded_number("overlap", overlap, 1, 1e6)
    if receptive_field is not None:
        bounded_integer("receptive_field", receptive_field, 1, 2**63)
    one_of("coprime", coprime, (True, False))
    if receptive_field is None:
        return _overlapping(depth, kernel_size, _exact(2 if overlap is None else overlap), coprime) * cycles
    least = _exact(1 if overlap is None else overlap)

    def schedule(step: int) -> tuple[int, ...]:
        return _overlapping(depth, kernel_size, least + Fraction(step, 20), coprime) * cycles

    def reach(step: int) -> int:
        return 1 + (kernel_size - 1) * sum(schedule(step))

    if reach(0) < receptive_field:
        raise ValueError(
            f"receptive_field must be at most {reach(0)} with depth {depth}, kernel_size {kernel_size}, "
            f"cycles {cycles}, overlap {float(least):g} and coprime {coprime}, got {receptive_field}"
        )
    # An overlap as wide as the undilated layers leaves no dilation.
    steps = range(20 * kernel_size * depth)
    return schedule(bisect_left(steps, True, key=lambda step: reach(step) < receptive_field) - 1)


def _overlapping(depth: int, kernel_size: int, overlap: Fraction, coprime: bool) -> tuple[int, ...]:
    dilations: list[int] = []
    for _ in range(depth):
        spanned = 1 + (kernel_size - 1) * sum(dilations)
        largest = max(1, spanned // overlap)
        if coprime and dilations:
            product = math.prod(dilations)
            larger = range(largest, dilations[-1], -1)
            largest = next((dilation for dilation in larger if math.gcd(dilation, product) == 1), largest)
        dilations.append(largest)
    return tuple(dilations)


def _exact(overlap: float) -> Fraction:
    """1.1 is meant as 11/10, not as the float beside it: it divides spans that no float can hold."""
    return Fraction(overlap).limit_denominator(10_000)
