"""The interval arithmetic against oracles and against brute force over explicit tap sets."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavedil.receptive import Field, exponential_dilations


def chain(*fields: Field) -> Field:
    total = Field.identity()
    for field in fields:
        total = total.then(field)
    return total


def causal(kernel_size: int, dilation: int = 1) -> Field:
    return Field.convolution(kernel_size, dilation=dilation, padding=dilation * (kernel_size - 1))


@pytest.mark.parametrize(
    ("kernel_size", "dilations", "expected"),
    [
        (3, exponential_dilations(3, 10), 6139),
        (3, exponential_dilations(4, 6), 505),
        (3, exponential_dilations(2, 6), 253),
        (3, (1,) * 30, 61),
        (3, exponential_dilations(1, 8, base=3), 6561),
        (3, exponential_dilations(1, 12), 8191),
        (3, (*exponential_dilations(1, 11), 1153), 6401),
    ],
)
def test_published_stacks(kernel_size, dilations, expected):
    field = chain(*(causal(kernel_size, d) for d in dilations))
    assert field.receptive_field == expected
    assert field.history == expected - 1
    assert field.lookahead == 0


def test_wavenet_with_an_initial_layer():
    assert chain(causal(2), *(causal(2, d) for d in exponential_dilations(5, 10))).receptive_field == 5117


def test_two_convolutions_a_block():
    assert chain(*(causal(4, d) for d in exponential_dilations(1, 7) for _ in range(2))).receptive_field == 763


def test_demucs_encoder():
    assert chain(*(Field.convolution(8, 4) for _ in range(5))).receptive_field == 2388


def test_distill_example():
    field = chain(Field.convolution(3, 3, padding=1), Field.convolution(2, 1, padding=0))
    assert field.at(0) == (-1, 4)


def test_transposed_by_the_published_formula():
    kernel_size, stride, padding = 5, 3, 2
    field = Field.transposed(kernel_size, stride, padding=padding)
    for o in range(-7, 20):
        start = math.ceil((o + padding - (kernel_size - 1)) / stride)
        assert field.at(o) == (start, math.floor((o + padding) / stride))
    assert (field.smallest_receptive_field, field.receptive_field) == (1, 2)


def test_transposed_kernel_shorter_than_its_stride_reads_nothing_in_between():
    field = Field.transposed(kernel_size=2, stride=3)
    assert field.smallest_receptive_field == 0
    # The three outputs that a causal kernel of 3 reads hold two inputs at phase 0, one at the others.
    assert field.then(Field.convolution(3, padding=2)).starts == (-1, 0, 0)


def test_union_refuses_different_strides():
    with pytest.raises(ValueError, match="one stride, got 1 and 2"):
        Field.identity().union(Field.convolution(2, 2))


def test_unbounded_past_stays_unbounded():
    whole_past = Field(1, 1, (-math.inf,), (0,))
    field = causal(3).then(whole_past).then(causal(2))
    assert field.receptive_field == math.inf
    assert field.lookahead == 0


# A layer as both its Field and the set of inputs that each of its taps reads.
layers = st.one_of(
    st.tuples(st.just("conv"), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(-2, 6)),
    st.tuples(st.just("transposed"), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 4)),
)


def field_of(layer) -> Field:
    kind, k, s, d, p = layer
    return (Field.convolution if kind == "conv" else Field.transposed)(k, s, d, p)


def inputs_of(layer, output: int) -> set[int]:
    kind, k, s, d, p = layer
    if kind == "conv":
        return {output * s - p + d * t for t in range(k)}
    return {(output + p - d * t) // s for t in range(k) if (output + p - d * t) % s == 0}


@given(st.lists(layers, min_size=1, max_size=4), st.integers(-20, 20))
def test_hull_contains_every_tap_and_is_tight_for_a_single_layer(chain_of_layers, output):
    field = chain(*(field_of(layer) for layer in chain_of_layers))
    reached = {output}
    for layer in reversed(chain_of_layers):
        reached = {i for n in reached for i in inputs_of(layer, n)}
    start, end = field.at(output)
    assert all(start <= i <= end for i in reached)
    if len(chain_of_layers) == 1 and reached:
        assert (min(reached), max(reached)) == (start, end)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=5),
    st.integers(0, 9),
)
def test_convolution_chains_are_exact(sizes, output):
    convolutions = [("conv", k, s, d, 0) for k, s, d in sizes]
    reached = {output}
    for layer in reversed(convolutions):
        reached = {i for n in reached for i in inputs_of(layer, n)}
    assert chain(*map(field_of, convolutions)).at(output) == (min(reached), max(reached))


def test_schedule():
    assert exponential_dilations(2, 4) == (1, 2, 4, 8, 1, 2, 4, 8)
    with pytest.raises(ValueError, match="depth: expected an integer from 1 to 100000, got 0"):
        exponential_dilations(1, 0)


@pytest.mark.parametrize("kernel_size", range(1, 8))
def test_transposed_reads_every_input_whose_taps_meet_the_output(kernel_size):
    for stride, dilation, padding in itertools.product(range(1, 6), range(1, 6), range(-2, 5)):
        field = Field.transposed(kernel_size, stride, dilation, padding)
        for o in range(stride):
            reached = [
                i for i in range(-40, 40) for t in range(kernel_size) if i * stride + dilation * t == o + padding
            ]
            expected = (min(reached), max(reached)) if reached else (math.inf, -math.inf)
            assert field.at(o) == expected


def test_periods_without_end_are_refused():
    with pytest.raises(ValueError, match=r"^stride: expected an integer from 1 to 1000000, got 9000000$"):
        Field.transposed(1, 9_000_000)
    with pytest.raises(ValueError, match=r"stride: outputs repeat after 90000, expected at most 65,536"):
        Field.transposed(1, 300).then(Field.transposed(1, 300))
