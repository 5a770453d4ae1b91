"""Holes against brute force over explicit tap sets, and the published criterion beside the truth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavedil.receptive import exponential_dilations
from wavedil.receptive.gridding import MAX_SPAN, count_taps, hybrid_criterion, is_dense, span

stacks = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 12)), max_size=6)


def tap_set(layers) -> set[int]:
    reached = {0}
    for kernel_size, dilation in layers:
        reached = {i + dilation * tap for i in reached for tap in range(kernel_size)}
    return reached


@given(stacks)
def test_holes_are_those_of_the_tap_set(layers):
    reached = tap_set(layers)
    assert span(layers) == max(reached) + 1
    assert count_taps(layers) == len(reached)
    assert is_dense(layers) == (len(reached) == max(reached) + 1)


@pytest.mark.parametrize(
    ("kernel_size", "dilations", "taps", "inputs"),
    [
        (3, exponential_dilations(1, 8, base=3), 6561, 6561),
        (3, exponential_dilations(3, 10), 6139, 6139),
        (3, (*exponential_dilations(1, 11), 1153), 6401, 6401),
        (3, exponential_dilations(1, 7, base=4), 3**7, 10923),
        (2, exponential_dilations(1, 10, base=3), 2**10, (3**10 - 1) // 2 + 1),
        (3, (6,), 3, 13),
    ],
)
def test_taps_of_known_stacks(kernel_size, dilations, taps, inputs):
    layers = [(kernel_size, dilation) for dilation in dilations]
    assert (count_taps(layers), span(layers), is_dense(layers)) == (taps, inputs, taps == inputs)


def test_a_dense_stack_of_any_span_is_not_counted_tap_by_tap():
    assert count_taps([(2, 2**i) for i in range(200)]) == 2**200


def test_too_wide_to_count():
    assert not is_dense([(2, 1), (2, MAX_SPAN)])
    with pytest.raises(ValueError, match="at most 1,073,741,824 inputs to count the taps in, got 1,073,741,826"):
        count_taps([(2, 1), (2, MAX_SPAN)])


@pytest.mark.parametrize("function", [is_dense, count_taps])
def test_sizes_below_one_are_refused(function):
    with pytest.raises(ValueError, match=r"dilation: expected an integer from 1 to .*, got 0"):
        function([(3, 1), (3, 0)])
    with pytest.raises(ValueError, match=r"kernel_size: expected an integer from 1 to .*, got 0"):
        function([(0, 1)])


CASES = [
    (3, (1, 2, 5), 2, "holds (M_2 = 2 <= kernel_size 3), and all 17 inputs are reached"),
    (3, (1, 2, 9), 5, "fails (M_2 = 5 > kernel_size 3), and only 21 of 25 inputs are reached"),
    (
        3,
        (2, 2, 2),
        2,
        "holds (M_2 = 2 <= kernel_size 3), but only 7 of 13 inputs are reached: it is advice, and here too lenient",
    ),
    (
        2,
        (1, 2, 5),
        2,
        "holds (M_2 = 2 <= kernel_size 2), but only 8 of 9 inputs are reached: it is advice, and here too lenient",
    ),
    (
        3,
        (1, 2, 5, 1, 2, 5),
        5,
        "fails (M_2 = 5 > kernel_size 3), but all 33 inputs are reached: it is advice, and here too strict",
    ),
]


@pytest.mark.parametrize(("kernel_size", "dilations", "distance", "verdict"), CASES)
def test_criterion_and_truth(kernel_size, dilations, distance, verdict):
    criterion = hybrid_criterion(kernel_size, dilations)
    reached = tap_set([(kernel_size, dilation) for dilation in dilations])
    assert criterion.distance == distance
    assert criterion.holds == (distance <= kernel_size)
    assert (criterion.taps, criterion.span) == (len(reached), max(reached) + 1)
    assert criterion.dense == (criterion.taps == criterion.span)
    assert criterion.advice == f"the hybrid criterion {verdict}"


@given(st.integers(1, 4), st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_distance_is_the_published_recursion(kernel_size, rates):
    def largest_distance(i: int) -> int:
        if i == len(rates):
            return rates[-1]
        following, rate = largest_distance(i + 1), rates[i - 1]
        return max(following - 2 * rate, following - 2 * (following - rate), rate)

    criterion = hybrid_criterion(kernel_size, rates)
    assert criterion.distance == largest_distance(2)
    assert criterion.dense == is_dense([(kernel_size, rate) for rate in rates])


def test_criterion_of_one_layer_is_not_defined():
    criterion = hybrid_criterion(3, [2])
    assert criterion.distance is None
    assert criterion.holds is None
    expected = "the hybrid criterion is defined for 2 layers or more, got 1; only 3 of 5 inputs are reached"
    assert criterion.advice == expected


def test_criterion_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected at least one dilation, got none"):
        hybrid_criterion(3, [])
