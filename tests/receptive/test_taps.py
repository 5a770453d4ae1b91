"""Tap sets and numbers of paths against brute force, and the published cases of holes."""

import math
from collections import Counter
from fractions import Fraction
from functools import reduce
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples

from wavedil.receptive.description import Geometry, chained_fields, chained_taps
from wavedil.receptive.taps import Taps


def causal(kernel_size: int, dilation: int) -> Geometry:
    return Geometry.causal(kernel_size, dilation=dilation)


def centred(dilation: int, kernel_size: int = 3) -> Taps:
    return Geometry.centred(kernel_size, dilation=dilation).taps()


geometries = st.one_of(
    st.builds(Geometry, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(-2, 6), st.booleans()),
    st.builds(Geometry, st.integers(1, 4), st.just(1), st.integers(1, 3), st.integers(-2, 6), residual=st.just(True)),
)


def inputs_of(layer: Geometry, output: int) -> list[int]:
    """By the definition of the operator, an input for each path."""
    s, d, p, taps = layer.stride, layer.dilation, layer.padding, range(layer.kernel_size)
    if layer.transposed:
        return [(output + p - d * t) // s for t in taps if (output + p - d * t) % s == 0]
    return [output * s - p + d * t for t in taps] + [output] * layer.residual


def paths_of(layers: list[Geometry], output: int) -> Counter[int]:
    reached = Counter({output: 1})
    for layer in reversed(layers):
        following: Counter[int] = Counter()
        for n, count in reached.items():
            for i in inputs_of(layer, n):
                following[i] += count
        reached = following
    return reached


@settings(max_examples=examples(300))
@given(st.lists(geometries, min_size=1, max_size=5), st.integers(-30, 30))
def test_chains_are_those_of_brute_force(layers, output):
    expected = paths_of(layers, output)
    taps, counted = chained_taps(layers), chained_taps(layers, counted=True)
    assert taps.positions(output) == tuple(sorted(expected))
    assert counted.counts(output) == dict(sorted(expected.items()))
    assert taps.reached(output) == counted.reached(output) == len(expected)
    inside = set(range(min(expected, default=0), max(expected, default=-1) + 1)) - set(expected)
    assert taps.holes(output) == counted.holes(output) == tuple(sorted(inside))


@settings(max_examples=examples(300))
@given(st.lists(geometries, min_size=1, max_size=5), st.integers(-30, 30))
def test_the_fields_of_a_chain_are_the_hulls_of_its_taps(layers, output):
    expected = [paths_of(layers[: i + 1], output) for i in range(len(layers))]
    fields, taps = chained_fields(layers)
    assert taps == chained_taps(layers)
    for field, paths in zip(fields, expected, strict=True):
        assert field.at(output) == ((min(paths), max(paths)) if paths else (math.inf, -math.inf))


def ascending(layer: Geometry) -> bool:
    """Whether every output reads something, and none begins or ends before the one to its left."""
    ends = [layer.field.at(o) for o in range(layer.field.outputs + 1)]
    return all(a <= b for a, b in ends) and all(
        left[0] <= right[0] and left[1] <= right[1] for left, right in pairwise(ends)
    )


@settings(max_examples=examples(300))
@given(st.lists(geometries, min_size=1, max_size=5), st.integers(-30, 30))
def test_interval_arithmetic_holds_every_tap_and_is_tight_where_phases_ascend(layers, output):
    total = layers[0].field
    for layer in layers[1:]:
        total = total.then(layer.field)
    start, end = total.at(output)
    paths = paths_of(layers, output)
    assert all(start <= i <= end for i in paths)
    if all(map(ascending, layers)):
        assert (start, end) == (min(paths), max(paths))


@given(geometries, geometries, st.integers(-20, 20))
def test_branches_are_united(a, b, output):
    first, second = a.taps(8), b.taps(8)
    if first.inputs * second.outputs != second.inputs * first.outputs:
        with pytest.raises(ValueError, match="parallel branches must have one stride"):
            first.union(second)
        return
    expected = Counter(inputs_of(a, output)) + Counter(inputs_of(b, output))
    assert first.union(second).counts(output) == dict(sorted(expected.items()))
    assert a.taps().union(b.taps()).positions(output) == tuple(sorted(expected))


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 20)), min_size=1, max_size=8))
def test_paths_are_the_product_of_the_layers_polynomials(sizes):
    # Coefficients of the product of 1 + z^d + ... + z^(d (k - 1)).
    polynomial = reduce(
        lambda total, layer: [
            sum(total[i - layer[1] * t] for t in range(layer[0]) if 0 <= i - layer[1] * t < len(total))
            for i in range(len(total) + layer[1] * (layer[0] - 1))
        ],
        sizes,
        [1],
    )
    counts = chained_taps([causal(k, d) for k, d in sizes], counted=True).counts(0)
    newest = len(polynomial) - 1
    assert [counts.get(i - newest, 0) for i in range(len(polynomial))] == polynomial
    assert sum(counts.values()) == math.prod(k for k, _ in sizes)


def test_paths_beyond_any_float():
    counts = chained_taps([causal(3, 1)] * 700, counted=True).counts(0)
    assert sum(counts.values()) == 3**700
    assert counts[0] == counts[-1400] == 1
    assert counts[-1] == 700


@pytest.mark.parametrize(
    ("kernel_size", "dilations", "reached", "span"),
    [
        (3, (2, 2, 2), 7, 13),
        (2, (1, 2, 5), 8, 9),
        (3, (1, 2, 5, 1, 2, 5), 33, 33),
        (3, (1, 2, 4, 8), 31, 31),
        (3, tuple(3**i for i in range(8)), 6561, 6561),
        (3, (*(2**i for i in range(11)), 1153), 6401, 6401),
    ],
)
def test_published_holes(kernel_size, dilations, reached, span):
    taps = chained_taps([causal(kernel_size, d) for d in dilations])
    assert taps.reached(0) == reached
    assert taps.hull.receptive_field == span
    assert len(taps.holes(0)) == span - reached


def test_the_hole_of_two_taps():
    assert chained_taps([causal(2, d) for d in (1, 2, 5)]).holes(0) == (-4,)


def test_powers_of_three_reach_each_tap_once():
    counts = chained_taps([causal(3, 3**i) for i in range(8)], counted=True).counts(0)
    assert set(counts.values()) == {1}


@pytest.mark.parametrize(
    ("rates", "pointwise", "span", "taps"),
    [((6, 12, 18, 24), False, 49, 33), ((6, 12, 18), True, 37, 25), ((12, 24, 36), True, 73, 25)],
)
def test_spatial_pyramid(rates, pointwise, span, taps):
    """Chen et al. 2018, arXiv:1606.00915 and 1706.05587: parallel 3x3 convolutions, with or without a 1x1 one."""
    branches = [centred(rate) for rate in rates] + [Taps.identity()] * pointwise
    union = reduce(Taps.union, branches)
    assert union.hull.receptive_field == span
    # In two dimensions each branch reads the product of its taps along either axis.
    pairs = {pair for branch in branches for pair in product(branch.positions(0), repeat=2)}
    assert len(pairs) == taps
    assert {x for x, _ in pairs} == set(union.positions(0))


def test_transposed_phases():
    taps = Geometry(5, 3, padding=2, transposed=True).taps()
    assert [taps.positions(o) for o in range(3)] == [(0,), (0, 1), (0, 1)]


def test_a_transposed_kernel_shorter_than_its_stride_reads_nothing_in_between():
    taps = Geometry(2, 3, transposed=True).taps()
    assert taps.positions(2) == ()
    assert taps.holes(2) == ()
    assert taps.hull.smallest_receptive_field == 0
    assert taps.hull.stride == Fraction(1, 3)


def test_of_counts_what_is_listed_twice():
    assert Taps.of(1, 1, [[0, -2, 0]], width=4).counts(5) == {3: 1, 5: 2}
    assert Taps.of(1, 1, [[0, -2, 0]]).counts(5) == {3: 1, 5: 1}
