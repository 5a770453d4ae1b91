"""Intervals, taps and periods against sets that are written out, and the upper ends of sizes."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples

from wavedil.receptive import Field, Geometry, Layer, Taps, answer_for, stack
from wavedil.receptive.arithmetic import MOST_INPUTS, MOST_PHASES, dilated_span
from wavedil.receptive.description import MOST_LAYERS, chained_fields, convolution
from wavedil.receptive.stack import stack_layers

SMALL = st.integers(1, 6)


def transposed_set(output, kernel_size, stride, dilation, padding):
    """Inputs i with ``i * stride + dilation * t == output + padding``."""
    return {
        i
        for i in range(-60, 60)
        for t in range(kernel_size)
        if i * stride + dilation * t == output + padding
    }  # fmt: skip


@settings(max_examples=examples(60))
@given(SMALL, SMALL, SMALL, st.integers(-5, 9), st.integers(-9, 9))
def test_a_transposed_layer_reads_what_its_definition_says(kernel_size, stride, dilation, padding, output):
    read = transposed_set(output, kernel_size, stride, dilation, padding)
    field = Field.transposed(kernel_size, stride, dilation, padding)
    assert (field.outputs, field.inputs) == (stride, 1)
    assert field.at(output) == ((min(read), max(read)) if read else (math.inf, -math.inf))
    taps = Geometry(kernel_size, stride, dilation, padding, transposed=True).taps()
    assert set(taps.positions(output)) == read
    assert taps.reached(output) == len(read)
    assert set(taps.holes(output)) == (set(range(min(read), max(read))) - read if read else set())


@settings(max_examples=examples(60))
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=4), SMALL, SMALL, SMALL, st.integers(-9, 9))
def test_composition_of_any_order_of_outputs(starts, inputs, kernel_size, stride, output):
    """Outputs that read neither in order nor without gaps."""
    first = Field(len(starts), inputs, tuple(starts), tuple(start + start % 3 for start in starts))
    second = Field.convolution(kernel_size, stride, 2, 1)
    start, end = second.at(output)
    pairs = [first.at(n) for n in range(int(start), int(end) + 1)]
    both = first.then(second)
    assert both.at(output) == (min(a for a, _ in pairs), max(b for _, b in pairs))
    assert both.stride == first.stride * stride


@settings(max_examples=examples(40))
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=2), st.lists(st.integers(-4, 4), min_size=3, max_size=3))
def test_branches_of_unlike_periods(two, three):
    a = Field(2, 4, tuple(two), tuple(n + 1 for n in two))
    b = Field(3, 6, tuple(three), tuple(n + 2 for n in three))
    both = a.union(b)
    assert (both.outputs, both.inputs) == (6, 12)
    for n in range(-6, 7):
        assert both.at(n) == (min(a.at(n)[0], b.at(n)[0]), max(a.at(n)[1], b.at(n)[1]))


def test_what_a_period_says_of_itself():
    field = Field(3, 6, (-7, math.inf, 1), (2, -math.inf, 9))
    assert field.stride == Fraction(2)
    assert field.receptive_field == 10
    assert field.smallest_receptive_field == 0
    assert field.history == 12  # back of input 5
    assert field.lookahead == 4  # beyond input 5
    assert field.at(4) == (math.inf, -math.inf)
    assert field.at(-1) == (-5, 3)
    assert Field(1, 4, (2,), (3,)).lookahead == 0
    assert Field(1, 4, (4,), (5,)).history == 0
    assert Field.delay(3).at(1) == (-2, -2)
    assert dilated_span(4, 3) == 10


@pytest.mark.parametrize(("start", "end"), [(-math.inf, 2), (-3, math.inf), (-math.inf, math.inf)])
def test_what_has_no_bound_keeps_its_other_end(start, end):
    endless = Field(1, 1, (start,), (end,))
    for both in (endless.then(Field.convolution(3, padding=2)), Field.convolution(3, padding=2).then(endless)):
        first, last = both.at(0)
        assert first == (-math.inf if start == -math.inf else start - 2)
        assert last == (math.inf if end == math.inf else end)


def test_a_period_needs_inputs_and_outputs():
    for outputs, inputs, starts in ((0, 1, ()), (1, 0, (0,)), (2, 1, (0,))):
        with pytest.raises(ValueError, match=r"a period needs inputs and outputs|expected 2 starts and ends"):
            Field(outputs, inputs, starts, starts)
    with pytest.raises(ValueError, match="expected 1 starts and ends, got 1 and 2"):
        Field(1, 1, (0,), (0, 1))


def test_paths_are_counted_in_wide_coefficients():
    one = Taps.of(2, 3, [[0, 2, 2], [1]], width=8)
    assert one.counts(0) == {0: 1, 2: 2}
    assert one.counts(3) == {4: 1}
    assert one.holes(0) == (1,)
    assert one.reached(2) == 2
    assert one.hull == Field(2, 3, (0, 1), (2, 1))
    both = one.then(Taps.of(1, 2, [[0, 1, 1]], width=8))
    assert both.counts(0) == {0: 1, 1: 2, 2: 2}
    assert (both.outputs, both.inputs) == (1, 3)
    summed = one.union(Taps.of(2, 3, [[2], []], width=8))
    assert summed.counts(0) == {0: 1, 2: 3}
    assert summed.counts(1) == {1: 1}
    with pytest.raises(ValueError, match="parallel branches must have one stride, got 3/2 and 1/1"):
        one.union(Taps.identity(8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Field.convolution(10**6 + 1), "kernel_size: expected an integer from 1 to 1000000, got 1000001"),
        (lambda: Field.convolution(3, stride=10**6 + 1), "stride: expected an integer from 1 to 1000000, got 1000001"),
        (lambda: Field.transposed(1, MOST_PHASES + 1), "stride: outputs repeat after 65537, expected at most 65,536"),
        (lambda: Field(1, MOST_INPUTS + 1, (0,), (0,)), "stride: outputs are 1000000000000001 inputs apart"),
        (lambda: Geometry(3, padding=-(10**108)), "padding must have at most 107 digits, got an integer of about 10"),
        (lambda: chained_fields([Geometry()] * (MOST_LAYERS + 1)), "expected at most 10,000 layers, got 10,001"),
        (lambda: stack(3, [1] * 11, cycles=1000), "cycles: expected at most 10,000 layers in all, got 11,000"),
        (lambda: stack(3, channels=10**6 + 1), "channels: expected an integer from 1 to 1000000, got 1000001"),
        (lambda: stack(3, bins=0), "bins: expected an integer from 1 to 1000000, got 0"),
        (lambda: stack(10**400), "kernel_size: expected an integer from 1 to 1000000, got an integer of about 40"),
    ],
)
def test_upper_ends(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("size", [2.0, "3", None, True])
def test_sizes_are_integers(size):
    with pytest.raises(TypeError, match="kernel_size: expected an integer from 1 to 1000000, got"):
        Geometry(size)


def test_the_largest_sizes_are_taken():
    assert Field.convolution(10**6, 10**6).receptive_field == 10**6
    assert Field.transposed(1, MOST_PHASES).outputs == MOST_PHASES
    assert Field(1, MOST_INPUTS, (0,), (0,)).stride == MOST_INPUTS
    # No output reads further back than the one before, so that there is no limit to what is compared.
    assert Field.transposed(5_000, 5_000).then(Field.convolution(3)).receptive_field == 2


def test_periods_out_of_order_that_are_too_long_are_refused():
    gaps = Layer("up", "transposed", Geometry(1, 5_000, transposed=True))
    with pytest.raises(ValueError, match="a period of 5,000 outputs is too long to be composed: it leaves gaps"):
        answer_for([gaps, Layer("next", "conv", Geometry(3))])


def test_sizes_that_are_left_out():
    assert Field.convolution(3) == Field(1, 1, (0,), (2,))
    assert Field.transposed(3) == Field(1, 1, (-2,), (0,))
    assert Field.transposed(3, dilation=2) == Field(1, 1, (-4,), (0,))
    assert dilated_span(3) == 3
    assert Taps(1, 1, (0,), (0b1101,)).counts(0) == {0: 1, 2: 1, 3: 1}
    assert Taps.of(1, 1, [[0, 0]]).counts(0) == Taps.identity().counts(0) == {0: 1}


def test_outputs_that_read_further_than_the_first_of_the_next_period():
    pair = Field.convolution(2)
    assert Field(2, 1, (0, 0), (0, 5)).then(pair) == Field(2, 1, (0, 0), (5, 5))
    assert Field(2, 1, (0, 5), (7, 7)).then(pair) == Field(2, 1, (0, 1), (7, 8))


def test_no_bound_behind_outputs_that_are_out_of_order():
    gaps = Field(3, 6, (-7, math.inf, 1), (2, -math.inf, 9))
    past, future = Field(3, 3, (-math.inf,) * 3, (0, 1, 2)), Field(3, 3, (0, 1, 2), (math.inf,) * 3)
    assert [gaps.then(past).at(n) for n in range(3)] == [(-math.inf, 3), (-math.inf, 3), (-math.inf, 9)]
    assert [gaps.then(future).at(n) for n in range(3)] == [(-7, math.inf), (-1, math.inf), (-1, math.inf)]


@pytest.mark.parametrize(
    ("name", "most", "take"),
    [
        ("kernel_size", 10**6, lambda n: Field.convolution(n)),
        ("stride", 10**6, lambda n: Field.convolution(1, stride=n)),
        ("dilation", 10**100, lambda n: Field.convolution(1, dilation=n)),
        ("in_channels", 10**6, lambda n: convolution("", Geometry(1), in_channels=n)),
        ("out_channels", 10**6, lambda n: convolution("", Geometry(1), out_channels=n)),
        ("channels", 10**6, lambda n: stack_layers(1, channels=n)),
        ("bins", 10**6, lambda n: stack_layers(1, bins=n)),
    ],
)
def test_the_upper_end_of_each_size(name, most, take):
    take(most)
    with pytest.raises(ValueError, match=f"^{name}: expected an integer from 1 to .*, got"):
        take(most + 1)
