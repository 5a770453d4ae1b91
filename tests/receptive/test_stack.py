"""Stacks by their numbers: published receptive fields, costs, and the modules of the package."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples

from wavedil.layers import CausalConv1d, CausalConv2d, Chain, DilatedStack, DilatedStack2d
from wavedil.receptive import Geometry, exponential_dilations
from wavedil.receptive.chain import answer_for
from wavedil.receptive.stack import framing_layer, stack, stack_layers


@pytest.mark.parametrize(
    ("kernel_size", "dilations", "field"),
    [
        (3, exponential_dilations(3, 10), 6139),
        (3, exponential_dilations(4, 6), 505),
        (3, exponential_dilations(2, 6), 253),
        (3, (1,) * 30, 61),
        (2, (1, *exponential_dilations(5, 10)), 5117),
        (4, tuple(2**i for i in range(7) for _ in range(2)), 763),
        (3, exponential_dilations(1, 8, base=3), 6561),
        (3, exponential_dilations(1, 12), 8191),
        (3, (*exponential_dilations(1, 11), 1153), 6401),
    ],
)
def test_published_stacks(kernel_size, dilations, field):
    for block in ("conv", "gated"):
        answer = stack(kernel_size, dilations, block=block)
        assert (answer.receptive_field, answer.history, answer.lookahead) == (field, field - 1, 0)
        assert answer.axes.time.dense
        assert (answer.axes.time.start, answer.axes.time.end) == (1 - field, 0)
        assert answer.axes.time.warm_up == field - 1


@pytest.mark.parametrize(
    ("kernel_size", "growth", "layers", "field"),
    [(5, 10, 4, 4445), (13, 10, 4, 13333), (15, 2, 10, 14323), (5, 10, 5, 44445)],
)
def test_compressor_models(kernel_size, growth, layers, field):
    """The TCN-100, 300, 324 and 1000 of Steinmetz and Reiss 2021, arXiv:2102.06200, named by their ms at 44.1 kHz."""
    dilations = exponential_dilations(1, layers, base=growth)
    answer = stack(kernel_size, dilations, channels=32, sample_rate=44_100)
    assert answer.receptive_field == field
    assert answer.state_values == (field - 1) * 32


def test_demucs_encoder():
    answer = stack(8, [1] * 5, strides=4)
    assert (answer.receptive_field, answer.hop, answer.lookahead) == (2388, 1024, 0)
    assert [row.time.receptive_field for row in answer.layers] == [8, 36, 148, 596, 2388]


def test_streaming_state_of_a_wavenet():
    answer = stack(2, exponential_dilations(3, 10), channels=64)
    assert (answer.state_values, answer.state_bytes) == (3069 * 64, 785_664)
    assert stack(2, exponential_dilations(3, 10), channels=64, value_bytes=1).state_bytes == 196_416


@pytest.mark.parametrize(
    ("kernel_size", "dilations", "density", "holes"),
    [
        (3, (2, 2, 2), Fraction(7, 13), (-11, -9, -7, -5, -3, -1)),
        (2, (1, 2, 5), Fraction(8, 9), (-4,)),
        (3, (1, 2, 5, 1, 2, 5), Fraction(1), ()),
    ],
)
def test_holes(kernel_size, dilations, density, holes):
    axis = stack(kernel_size, dilations).axes.time
    assert (axis.holes, axis.dense, axis.density) == (holes, not holes, float(density))


def test_a_residual_branch_fills_holes_that_a_plain_stack_has():
    plain = stack(2, [2, 3], padding="causal", lookahead=1)
    gated = stack(2, [2, 3], padding="causal", lookahead=1, block="gated")
    assert plain.axes.time.holes == (-2, 1)
    assert gated.axes.time.holes == ()


@settings(max_examples=examples(50))
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from([1, 2]),
)
def test_gated_stacks_are_those_of_the_package(kernel_size, sizes, bias, groups):
    dilations = [dilation for dilation, _ in sizes]
    lookahead = [min(ahead, dilation * (kernel_size - 1)) for dilation, ahead in sizes]
    module = DilatedStack(4, kernel_size, dilations, lookahead=lookahead, bias=bias, groups=groups)
    answer = stack(kernel_size, dilations, lookahead=lookahead, channels=4, block="gated", bias=bias, groups=groups)
    assert answer.axes.time.field == module.field
    assert answer.parameters == sum(p.numel() for p in module.parameters())
    assert answer.state_values == sum(t.numel() for t in module.initial_state(1))


@settings(max_examples=examples(50))
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=4),
    st.booleans(),
    st.integers(1, 9),
)
def test_gated_stacks_over_spectrograms_are_those_of_the_package(kernel_size, pairs, bias, bins):
    bands, frames = zip(*pairs, strict=True)
    module = DilatedStack2d(4, kernel_size, frames, frequency_dilations=bands, bias=bias)
    answer = stack(kernel_size, pairs, channels=4, block="gated", bias=bias, bins=bins)
    assert answer.axes.time.field == module.field
    assert answer.axes["frequency"].field == module.frequency_field
    assert answer.parameters == sum(p.numel() for p in module.parameters())
    assert answer.macs_per_sample == sum(p.numel() for p in module.parameters() if p.ndim > 1) * bins
    assert answer.state_values == sum(t.numel() for t in module.initial_state(1, bins))


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4))
def test_plain_stacks_are_those_of_the_package(sizes):
    kernels, strides, dilations = map(list, zip(*sizes, strict=True))
    module = Chain(*(CausalConv1d(2, 2, k, s, dilation=d) for k, s, d in sizes))
    answer = stack(kernels, dilations, strides=strides, channels=2)
    assert answer.axes.time.field == module.field
    assert answer.parameters == sum(p.numel() for p in module.parameters())
    assert answer.state_values == sum(t.numel() for t in module.initial_state(1))


def test_a_spectrogram_stack_is_that_of_the_package():
    pairs = [(3, 2), (2, 4)]
    convs = [CausalConv2d(2, 2, kernel, dilation=2) for kernel in pairs]
    answer = stack(pairs, [2, 2], channels=2, bins=10)
    assert answer.axes["time"].field == convs[0].field.then(convs[1].field)
    assert answer.axes["frequency"].receptive_field == 7
    assert answer.parameters == sum(p.numel() for conv in convs for p in conv.parameters())
    assert answer.state_values == sum(t.numel() for conv in convs for t in conv.initial_state(1, 10))


def test_framing_is_layer_0():
    answer = stack(3, [1, 2, 4], framing=(480, 160), sample_rate=16_000)
    assert [row.kind for row in answer.layers] == ["framing", "conv", "conv", "conv"]
    assert (answer.receptive_field, answer.hop) == (480 + 14 * 160, 160)
    assert (answer.axes.time.start, answer.axes.time.end) == (-2560, 159)
    assert answer.to_json()["axes"]["time"]["ms"]["receptive_field"] == 170


@pytest.mark.parametrize(
    ("padding", "start", "end", "lookahead"), [("causal", -6, 0, 0), ("centred", -3, 3, 3), ("valid", 0, 6, 6)]
)
def test_padding(padding, start, end, lookahead):
    answer = stack(3, [1, 2], padding=padding)
    assert (answer.axes.time.start, answer.axes.time.end, answer.lookahead) == (start, end, lookahead)
    assert answer.receptive_field == 7


def test_costs():
    answer = stack(3, [1, 2], channels=8, groups=2, strides=[2, 1], bias=False, sample_rate=1000)
    assert answer.parameters == 2 * 3 * 8 * 4
    assert answer.macs_per_sample == 2 * 3 * 8 * 4 / 2
    assert answer.macs_per_second == 2 * 3 * 8 * 4 / 2 * 1000
    assert [row.macs_per_sample for row in answer.layers] == [3 * 8 * 4 / 2] * 2


def test_cycles_repeat_all_sizes():
    answer = stack([3, 5], [1, 2], strides=[1, 2], cycles=2)
    assert [row.time.kernel_size for row in answer.layers] == [3, 5, 3, 5]
    assert answer.hop == 4
    assert stack_layers(3, [1, 2], cycles=2) == stack_layers(3, [1, 2, 1, 2])


def test_a_wide_stack_has_all_its_holes():
    axis = stack(2, [3**i for i in range(12)]).axes.time
    span = 1 + (3**12 - 1) // 2
    assert (axis.receptive_field, axis.density, len(axis.holes)) == (span, 2**12 / span, span - 2**12)


def test_a_thousand_layers():
    answer = stack(3, exponential_dilations(100, 10), channels=64)
    assert (len(answer.layers), answer.receptive_field) == (1000, 204_601)
    assert answer.axes.time.dense


def test_json_is_plain_and_whole():
    content = stack((3, 3), [1, 2], strides=2, channels=4, bins=16, sample_rate=50).to_json()
    assert content["schema"] == 1
    assert set(content["axes"]) == {"time", "frequency"}
    assert content["axes"]["time"]["receptive_field"] == 11
    assert content["axes"]["time"]["ms"]["hop"] == 80
    assert "ms" not in content["axes"]["frequency"]
    assert content["layers"][1]["frequency"]["receptive_field"] == 11
    assert content["effective"]["sigma"] == stack(3, [1, 2], strides=2).sigma


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"dilations": []}, "expected at least one dilation, got none"),
        ({"dilations": [1, 0]}, r"layer 1: dilation: expected an integer from 1 to .*, got 0"),
        ({"strides": [1, 2, 3]}, "strides: expected one value, or one for each of 2 dilations, got 3"),
        ({"lookahead": 9}, "layer 0: lookahead must be from 0 to 2 .* got 9"),
        ({"lookahead": 1, "padding": "valid"}, "layer 0: lookahead 1 goes with causal padding, got 'valid'"),
        ({"padding": "same"}, "padding: expected one of causal, centred, valid; got 'same'"),
        ({"block": "glu"}, "block: expected one of conv, gated; got 'glu'"),
        ({"block": "gated", "strides": 2}, "layer 0: a residual layer must have stride 1, got 2"),
        ({"block": "gated", "strides": (2, 1)}, "layer 0: a residual layer must have stride 1, got 2"),
        ({"channels": 0}, r"channels: expected an integer from 1 to .*, got 0"),
        ({"cycles": 0}, "cycles: expected an integer from 1 to 10000, got 0"),
        ({"groups": 2}, "layer 0: groups must divide the channels 1 and 1, got 2"),
        ({"framing": (160, 480)}, "framing: expected 1 <= hop_length <= win_length, got 480 and 160"),
    ],
)
def test_errors_name_the_layer(arguments, line):
    with pytest.raises(ValueError, match=line):
        stack(**{"kernel_size": 3, "dilations": [1, 2]} | arguments)


def test_what_is_left_out_is_one_plain_causal_layer():
    layers = stack_layers(
        3, [1], strides=1, cycles=1, padding="causal", lookahead=0, channels=1, groups=1, bias=True, block="conv"
    )
    assert stack_layers(3) == layers
    assert repr(stack(3)) == repr(answer_for(layers, value_bytes=4))
    assert stack(3).parameters == 3 + 1


def test_frames_that_begin_with_every_sample():
    assert framing_layer(4, 1).time.field.receptive_field == 4
    assert framing_layer(4, 4).time.field.stride == 4
    for hop_length in (0, 5):
        with pytest.raises(ValueError, match="framing: expected 1 <= hop_length <= win_length"):
            framing_layer(4, hop_length)


def test_pairs_are_of_frequency_and_time():
    (layer,) = stack_layers((3, 5), [(4, 6)], strides=(2, 3), bins=40)
    assert layer.time == Geometry.causal(5, 3, 6)
    assert layer.frequency == Geometry.centred(3, 2, 4)
