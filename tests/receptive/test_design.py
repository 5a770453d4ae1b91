"""Inverse design: the oracles, the costs of real modules, and the search against a naive one."""

import tomllib
from itertools import count

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from wavedil.layers import DilatedStack
from wavedil.receptive import Field, exponential_dilations
from wavedil.receptive.design import LARGEST_FIELD, MOST_LAYERS, Candidate, design, table

targets, kernels = st.integers(1, 3000), st.integers(2, 9)
FOUND = design(6400, sample_rate=16_000)  # 400 ms


def find(dilations, candidates=FOUND) -> Candidate:
    (candidate,) = [c for c in candidates if c.dilations == tuple(dilations)]
    return candidate


def costs(c: Candidate) -> tuple:
    return c.layers, c.receptive_field, -c.density, not c.single_path


def dominates(a: Candidate, b: Candidate) -> bool:
    return costs(a) != costs(b) and all(x <= y for x, y in zip(costs(a), costs(b), strict=True))


def build(c: Candidate) -> DilatedStack:
    return eval(c.constructor(), {"DilatedStack": DilatedStack, "exponential_dilations": exponential_dilations})


@pytest.mark.parametrize(
    ("dilations", "layers", "field", "schedule"),
    [
        (exponential_dilations(1, 8, base=3), 8, 6561, "3^0..3^7"),
        (exponential_dilations(1, 12), 12, 8191, "2^0..2^11"),
        ((*exponential_dilations(1, 11), 1153), 12, 6401, "2^0..2^10, 1153"),
        (exponential_dilations(4, 10), 40, 8185, "4 x 2^0..2^9"),
        (exponential_dilations(8, 4, base=7), 32, 6401, "8 x 7^0..7^3"),
    ],
)
def test_400_ms_at_16_khz(dilations, layers, field, schedule):
    candidate = find(dilations)
    assert (candidate.layers, candidate.receptive_field, candidate.schedule) == (layers, field, schedule)
    assert candidate.overshoot == field - 6400
    assert candidate.dense
    assert candidate.density == 1
    assert candidate.single_path == (candidate.base == 3)


def test_what_falls_short_or_is_too_deep_is_not_listed():
    listed = [c.dilations for c in FOUND]
    assert exponential_dilations(3, 10) not in listed
    assert max(map(len, listed)) <= MOST_LAYERS
    assert 15 <= len(listed) <= 30


def test_undilated_stacks_are_listed_while_they_are_short():
    assert find((1,) * 25, design(50)).schedule == "25 x 1"
    assert find((1,) * 8 + (17,), design(50)).schedule == "8 x 1, 17"


def test_costs_are_those_of_the_modules():
    candidates = design(300, channels=4, sample_rate=100)
    assert {c.fitted for c in candidates} == {c.cycles > 1 for c in candidates} == {False, True}
    for c in candidates:
        stack = build(c)
        assert stack.dilations == c.dilations
        assert sum(p.numel() for p in stack.parameters()) == c.parameters
        assert sum(s.numel() * s.element_size() for s in stack.initial_state()) == c.state_bytes
        assert (stack.receptive_field, stack.lookahead) == (c.receptive_field, c.lookahead)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            stack(torch.zeros(1, 4, 50))
        assert counter.get_total_flops() == 50 * 2 * c.macs_per_sample
        assert c.macs_per_second == 100 * c.macs_per_sample


def test_values_of_two_bytes_halve_the_state_and_nothing_else():
    pairs = list(zip(design(300), design(300, bytes_per_value=2), strict=True))
    assert all(a.state_bytes == 2 * b.state_bytes and a.parameters == b.parameters for a, b in pairs)


def test_constructor_and_snippet():
    fitted = find((*exponential_dilations(1, 11), 1153))
    assert fitted.constructor() == "DilatedStack(64, kernel_size=3, dilations=(*exponential_dilations(1, 11), 1153))"
    powers = find(exponential_dilations(1, 8, base=3))
    assert powers.constructor() == "DilatedStack(64, kernel_size=3, dilations=exponential_dilations(1, 8, base=3))"
    for c in FOUND:
        model = tomllib.loads(c.snippet())["model"]
        assert model == {"channels": 64, "kernel_size": 3, "dilations": list(c.dilations)}


@given(targets, kernels)
def test_every_candidate_is_what_it_says(target, kernel_size):
    candidates = design(target, kernel_size, channels=8)
    for c in candidates:
        field, reached = Field.identity(), {0}
        for d in c.dilations:
            field = field.then(Field.convolution(kernel_size, dilation=d, padding=d * (kernel_size - 1)))
            if not c.dense:
                reached = {i + d * tap for i in reached for tap in range(kernel_size)}
        assert c.receptive_field == field.receptive_field == target + c.overshoot >= target
        assert c.dense or (c.taps == len(reached) and c.density == c.taps / c.receptive_field)
        assert c.dense == (c.taps == c.receptive_field) == (c.density == 1)
        assert c.single_path == (c.taps == kernel_size**c.layers)
        assert c.macs_per_second is None
    assert [(c.layers, c.overshoot) for c in candidates] == sorted((c.layers, c.overshoot) for c in candidates)
    assert len({c.dilations for c in candidates}) == len(candidates)


@given(targets, kernels)
def test_the_shortest_powers_of_two_and_of_the_kernel_size_are_always_listed(target, kernel_size):
    candidates = design(target, kernel_size)
    for base in (2, kernel_size):
        depth = next(n for n in count(1) if 1 + (kernel_size - 1) * sum(base**i for i in range(n)) >= target)
        candidate = find(exponential_dilations(1, depth, base), candidates)
        assert candidate.front or base < kernel_size


@given(targets, kernels)
def test_front_and_kinds(target, kernel_size):
    candidates = design(target, kernel_size)
    for c in candidates:
        better = [other for other in candidates if dominates(other, c)]
        assert c.front == (not better)
        assert c.front or c.dense
        kind = (c.base, c.cycles > 1, c.fitted)
        assert c.front or all((b.base, b.cycles > 1, b.fitted) != kind for b in better)


def naive_front(target: int, kernel_size: int) -> set[tuple[int, int, float, bool]]:
    """Costs on the Pareto front of all that the docstring says is searched, by trying one after another."""
    found = set()
    for base in {*range(1, 9), kernel_size}:
        for cycles in range(1, 9):
            for depth in range(1, MOST_LAYERS + 1):
                dilations = exponential_dilations(cycles, depth, base)
                reached = {0}
                for d in dilations:
                    reached = {i + d * tap for i in reached for tap in range(kernel_size)}
                short = max(reached) + 1 < target
                if short:
                    span = max(reached) + 1
                    last = next(d for d in count(1) if span + (kernel_size - 1) * d >= target)
                    if last > max(span, base**depth):
                        continue
                    reached = {i + last * tap for i in reached for tap in range(kernel_size)}
                layers, span = len(dilations) + short, max(reached) + 1
                if layers <= MOST_LAYERS:
                    found.add((layers, span, -len(reached) / span, len(reached) < kernel_size**layers))
                if not short:
                    break
    return {a for a in found if not any(b != a and all(x <= y for x, y in zip(b, a, strict=True)) for b in found)}


@pytest.mark.parametrize("kernel_size", [2, 3, 5])
@pytest.mark.parametrize("target", [1, 2, 3, 7, 16, 27, 40, 55])
def test_front_is_that_of_a_naive_search(target, kernel_size):
    front = {costs(c) for c in design(target, kernel_size) if c.front}
    assert front == naive_front(target, kernel_size)


@pytest.mark.parametrize(
    ("limit", "attribute"),
    [("max_parameters", "parameters"), ("max_state_bytes", "state_bytes"), ("max_macs", "macs_per_second")],
)
def test_limits_keep_what_is_within_them(limit, attribute):
    value = getattr(find(exponential_dilations(1, 8, base=3)), attribute)
    limited = design(6400, sample_rate=16_000, **{limit: value})
    assert limited == tuple(c for c in FOUND if getattr(c, attribute) <= value)
    assert 0 < len(limited) < len(FOUND)


def test_dense_stacks_alone():
    assert design(6400, sample_rate=16_000, dense=True) == tuple(c for c in FOUND if c.dense)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_parameters": 100_000}, "the smallest needs 144,320 parameters, got max_parameters 100,000"),
        (
            {"max_parameters": 100_000, "dense": True},
            "the smallest needs 230,912 parameters, got max_parameters 100,000",
        ),
        ({"max_state_bytes": 10}, "the smallest needs 1,638,400 state bytes, got max_state_bytes 10"),
        (
            {"max_macs": 10**9, "sample_rate": 16_000},
            "needs 2,293,760,000 MACs per second, got max_macs 1,000,000,000",
        ),
    ],
)
def test_nothing_within_the_limits(limits, message):
    with pytest.raises(ValueError, match=message):
        design(6400, **limits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"receptive_field": 0}, r"receptive_field: expected an integer from 1 to .*, got 0"),
        ({"receptive_field": LARGEST_FIELD + 1}, "receptive_field must be at most 16,777,216, got 16,777,217"),
        ({"kernel_size": 1}, "kernel_size must be at least 2 for a receptive field to grow, got 1"),
        ({"kernel_size": 0}, r"kernel_size: expected an integer from 1 to .*, got 0"),
        ({"channels": 0}, r"channels: expected an integer from 1 to .*, got 0"),
        ({"sample_rate": 0}, r"sample_rate: expected a number above 0 .*, got 0"),
        ({"bytes_per_value": 0}, r"bytes_per_value: expected an integer from 1 to .*, got 0"),
        ({"max_macs": 10}, "max_macs is a limit a second: give sample_rate in Hz, got None"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        design(**{"receptive_field": 6400, **arguments})


def test_table():
    lines = table(FOUND).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 1 + len(FOUND)
    words = [" ".join(line.split()) for line in lines]
    assert words[0] == "layers dilations field overshoot density parameters MACs/s state bytes"
    assert "* 8 3^0..3^7 6,561 161 100% 230,912 3.67 G 1,679,360" in words
    assert "12 2^0..2^10, 1153 6,401 1 100% 346,368 5.51 G 1,638,400" in words
    assert "* 5 8^0..8^3, 2615 6,401 1 3.80% 144,320 2.29 G 1,638,400" in words


def test_table_without_a_sample_rate_counts_macs_for_each_sample():
    header, row = table(design(2, 2, channels=1)).splitlines()
    assert header.split()[6] == "MACs/sample"
    assert row.split() == ["*", "1", "1", "2", "0", "100%", "8", "5", "4"]
