"""Hybrid schedules: dense by brute force, with the paths that they promise, as large as was asked."""

from math import floor, gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavedil.receptive import exponential_dilations, hybrid_criterion, hybrid_dilations
from wavedil.receptive.gridding import is_dense, span

overlaps = st.sampled_from([1, 1.1, 1.25, 4 / 3, 1.5, 1.9, 2, 2.5, 3, 4])


def count_paths(kernel_size: int, dilations: tuple[int, ...]) -> list[int]:
    """Paths from an output to each input of its field, one after the other."""
    paths = [1]
    for dilation in dilations:
        following = [0] * (len(paths) + (kernel_size - 1) * dilation)
        for tap in range(kernel_size):
            for i, count in enumerate(paths):
                following[i + tap * dilation] += count
        paths = following
    return paths


@given(st.integers(1, 5), st.integers(2, 5), st.integers(1, 2), overlaps, st.booleans())
def test_no_holes_and_as_many_paths_as_promised(depth, kernel_size, cycles, overlap, coprime):
    dilations = hybrid_dilations(depth, kernel_size, cycles=cycles, overlap=overlap, coprime=coprime)
    assert len(dilations) == depth * cycles
    assert dilations == dilations[:depth] * cycles
    assert list(dilations[:depth]) == sorted(dilations[:depth])
    assert min(count_paths(kernel_size, dilations)) == 1
    one = dilations[:depth]
    if span([(kernel_size, d) for d in one[:-1]]) >= overlap:
        copies = min(kernel_size, floor(overlap))
        paths, edge = count_paths(kernel_size, one), (copies - 1) * one[-1]
        assert min(paths[edge : len(paths) - edge]) >= copies


@given(st.integers(1, 6), st.integers(2, 4), overlaps)
def test_each_dilation_is_the_largest_that_overlaps(depth, kernel_size, overlap):
    dilations = hybrid_dilations(depth, kernel_size, overlap=overlap, coprime=False)
    spanned = 1
    for dilation in dilations:
        assert dilation == 1 or dilation * overlap <= spanned * (1 + 1e-9)
        assert (dilation + 1) * overlap > spanned * (1 - 1e-9)
        spanned += (kernel_size - 1) * dilation


@given(st.integers(1, 20), st.integers(1, 5), overlaps)
def test_common_factors_only_where_nothing_larger_is_free_of_them(depth, kernel_size, overlap):
    dilations = hybrid_dilations(depth, kernel_size, overlap=overlap)
    plain = hybrid_dilations(depth, kernel_size, overlap=overlap, coprime=False)
    for i, dilation in enumerate(dilations):
        assert dilation <= plain[i]
        if i and any(gcd(dilation, before) > 1 for before in dilations[:i]):
            others = range(dilations[i - 1] + 1, dilation + 1)
            assert all(any(gcd(other, before) > 1 for before in dilations[:i]) for other in others)


@given(st.data(), st.integers(1, 5), st.integers(2, 4), st.integers(1, 3), st.booleans())
def test_a_wanted_field_is_reached_with_all_the_overlap_it_leaves(data, depth, kernel_size, cycles, coprime):
    options = {"cycles": cycles, "coprime": coprime}

    def reach(dilations: tuple[int, ...]) -> int:
        return span([(kernel_size, dilation) for dilation in dilations])

    largest = reach(hybrid_dilations(depth, kernel_size, overlap=1, **options))
    wanted = data.draw(st.integers(1, largest))
    dilations = hybrid_dilations(depth, kernel_size, receptive_field=wanted, **options)
    assert len(count_paths(kernel_size, dilations)) == reach(dilations) >= wanted
    assert is_dense([(kernel_size, dilation) for dilation in dilations])
    steps = [
        hybrid_dilations(depth, kernel_size, overlap=1 + i / 20, **options) for i in range(20 * kernel_size * depth)
    ]
    chosen = max(i for i, schedule in enumerate(steps) if schedule == dilations)
    assert chosen + 1 == len(steps) or reach(steps[chosen + 1]) < wanted
    with pytest.raises(ValueError, match=f"receptive_field must be at most {largest} with depth {depth}"):
        hybrid_dilations(depth, kernel_size, receptive_field=largest + 1, **options)


def test_schedules_of_others_are_of_the_family():
    assert hybrid_dilations(8, overlap=1, coprime=False) == exponential_dilations(1, 8, base=3)
    assert hybrid_dilations(6, overlap=2, coprime=False) == (1, 1, 2, 4, 8, 16)
    wang = hybrid_dilations(3, overlap=1.25, cycles=2)
    assert wang == (1, 2, 5, 1, 2, 5)
    # The published criterion refuses the groups repeated; none of their 33 inputs is missed.
    assert not hybrid_criterion(3, wang).holds
    assert hybrid_criterion(3, wang).dense


@pytest.mark.parametrize(
    ("dilations", "least", "most"),
    [
        ((2, 2, 2), 0, 7),
        (hybrid_dilations(3, receptive_field=13), 2, 3),
        (exponential_dilations(1, 5), 1, 8),
        (hybrid_dilations(5, receptive_field=61), 3, 6),
    ],
)
def test_paths_to_the_inner_half_of_the_field(dilations, least, most):
    paths = count_paths(3, dilations)
    inner = paths[len(paths) // 4 : -(len(paths) // 4)]
    assert (min(inner), max(inner)) == (least, most)


def test_wide_schedules_are_exact():
    dilations = hybrid_dilations(100, overlap=1, coprime=False)
    assert dilations[-1] == 3**99
    assert is_dense([(3, dilation) for dilation in hybrid_dilations(100, overlap=1)])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0,), {}, "depth: expected an integer from 1 to 256, got 0"),
        ((3, 0), {}, r"kernel_size: expected an integer from 1 to .*, got 0"),
        ((3,), {"cycles": 0}, r"cycles: expected an integer from 1 to .*, got 0"),
        ((3,), {"overlap": 0.5}, "overlap: expected a number of at least 1 and at most 1e.06, got 0.5"),
        (
            (4, 1),
            {"receptive_field": 2},
            "must be at most 1 with depth 4, kernel_size 1, cycles 1, overlap 1 and coprime",
        ),
        ((3,), {"receptive_field": 26}, "at most 25 .* coprime True, got 26"),
    ],
)
def test_errors_say_what_was_expected(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        hybrid_dilations(*arguments, **options)
