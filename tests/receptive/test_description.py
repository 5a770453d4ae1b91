"""Described layers against the modules that they describe, and against published figures."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sweeps import examples
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from wavedil.layers import (
    CausalAvgPool1d,
    CausalConv1d,
    CausalConv2d,
    CausalConvTranspose1d,
    DilatedStack,
    StreamingModule,
)
from wavedil.receptive.chain import answer_for, effective_sigma
from wavedil.receptive.description import (
    Geometry,
    Layer,
    bins_after,
    chained_fields,
    chained_taps,
    convolution,
    gated_block,
)

few = settings(max_examples=examples(50))
sizes = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def state(module: StreamingModule, *shape: int) -> int:
    return sum(t.numel() for t in module.initial_state(1, *shape))


def macs_per_output(module: nn.Module, inputs: int, *shape: int) -> Fraction:
    """By torch's own counter, over the outputs of torch's own, unpadded layer."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        outputs = module(torch.zeros(1, *shape, inputs)).shape[-1]
    return Fraction(counter.get_total_flops(), 2 * outputs)


@few
@given(st.data(), sizes, st.sampled_from([1, 2]), st.booleans())
def test_convolution(data, size, groups, bias):
    kernel_size, stride, dilation = size
    lookahead = data.draw(st.integers(0, dilation * (kernel_size - 1)))
    options = {"groups": groups, "bias": bias}
    conv = CausalConv1d(2, 4, kernel_size, stride, dilation=dilation, lookahead=lookahead, **options)
    assume(conv.span >= stride)  # a shorter one has a gap, of which the layer keeps more than it must
    time = Geometry.causal(kernel_size, stride, dilation, lookahead)
    layer = convolution("conv", time, in_channels=2, out_channels=4, groups=groups, bias=bias)
    assert layer.time.field == conv.field
    assert (layer.parameters, layer.state_values) == (parameters(conv), state(conv))
    plain = nn.Conv1d(2, 4, kernel_size, stride, dilation=dilation, **options)
    assert layer.macs == macs_per_output(plain, 40, 2)


@few
@given(st.data(), sizes, st.sampled_from([1, 2]))
def test_transposed(data, size, groups):
    kernel_size, stride, dilation = size
    lookahead = data.draw(st.integers(0, dilation * (kernel_size - 1) // stride))
    conv = CausalConvTranspose1d(2, 4, kernel_size, stride, dilation=dilation, groups=groups, lookahead=lookahead)
    time = Geometry(kernel_size, stride, dilation, lookahead * stride, transposed=True)
    layer = convolution("up", time, in_channels=2, out_channels=4, groups=groups)
    assert layer.kind == "transposed"
    assert layer.time.field == conv.field
    assert (layer.parameters, layer.state_values) == (parameters(conv), state(conv))
    # Each input meets every weight once.
    assert layer.macs * stride == conv.weight.numel()


@few
@given(st.data(), sizes, sizes)
def test_convolution_over_a_spectrogram(data, band_size, size):
    kernels, strides, dilations = zip(band_size, size, strict=True)
    lookahead = data.draw(st.integers(0, dilations[1] * (kernels[1] - 1)))
    bins = data.draw(st.integers(1, 9))
    conv = CausalConv2d(2, 3, kernels, strides, dilation=dilations, lookahead=lookahead)
    assume(conv.span >= strides[1])
    time, band = Geometry.causal(*size, lookahead=lookahead), Geometry.centred(*band_size)
    layer = convolution("conv", time, band, in_channels=2, out_channels=3, bins=bins)
    assert layer.time.field == conv.field
    assert (layer.parameters, layer.state_values) == (parameters(conv), state(conv, bins))
    y = conv(torch.zeros(1, 2, bins, 24))
    assert bins_after(band, bins) == y.shape[-2]
    assert layer.macs == y.shape[-2] * conv.weight.numel()


@few
@given(st.data(), st.integers(1, 7), st.integers(1, 7))
def test_pool(data, kernel_size, stride):
    assume(kernel_size >= stride)
    lookahead = data.draw(st.integers(0, kernel_size - 1))
    pool = CausalAvgPool1d(kernel_size, stride, lookahead=lookahead)
    layer = Layer("pool", "pool", Geometry.causal(kernel_size, stride, lookahead=lookahead), in_channels=3)
    assert layer.time.field == pool.field
    assert layer.state_values == state(pool, 3)


@few
@given(st.data(), st.integers(1, 4), st.integers(1, 4), st.booleans(), st.sampled_from([1, 2]))
def test_gated_block(data, kernel_size, dilation, bias, groups):
    lookahead = data.draw(st.integers(0, dilation * (kernel_size - 1)))
    block = DilatedStack(4, kernel_size, [dilation], lookahead=lookahead, bias=bias, groups=groups)
    time = Geometry.causal(kernel_size, 1, dilation, lookahead)
    layer = gated_block("block", 4, time, groups=groups, bias=bias)
    assert layer.time.field == block.field
    assert (layer.parameters, layer.state_values) == (parameters(block), state(block))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        block.step(torch.zeros(1, 4, 10), block.initial_state(1))
    assert layer.macs * 10 == counter.get_total_flops() // 2


@pytest.mark.parametrize(("padding", "kept"), [(-9, 4), (0, 4), (2, 4), (4, 4), (6, 6)])
def test_what_a_stream_keeps_never_depends_on_a_lookahead_but_on_a_delay(padding, kept):
    assert Geometry(5, 1, 1, padding).remembered == kept


def test_a_lookahead_that_is_no_multiple_of_the_stride_is_rounded_up():
    # Eight inputs, four to a step, three of them to come: they come with the next four.
    assert Geometry.causal(8, 4).remembered == 4
    assert Geometry.causal(8, 4, lookahead=3).remembered == 5


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@given(sizes)
def test_centred_is_what_torch_calls_same(size):
    kernel_size, _, dilation = size
    conv = nn.Conv1d(1, 1, kernel_size, dilation=dilation, padding="same", bias=False).double()
    nn.init.ones_(conv.weight)
    x = torch.zeros(1, 1, 41, dtype=torch.float64, requires_grad=True)
    conv(x)[0, 0, 20].backward()
    assert x.grad is not None
    read = x.grad[0, 0].nonzero().flatten().tolist()
    assert Geometry.centred(kernel_size, dilation=dilation).taps().positions(20) == tuple(read)


def test_distill_figure():
    """Araujo, Norris and Sim, Distill 2019: kernels 3 and 2, strides 3 and 1, padding 1 and 0."""
    fields, _ = chained_fields([Geometry(3, 3, padding=1), Geometry(2, 1, padding=0)])
    assert fields[-1].at(0) == (-1, 4)
    assert fields[-1].receptive_field == 6


def test_context_module():
    """Yu and Koltun 2016, table 1, arXiv:1511.07122: the field after each layer."""
    layers = [Geometry.centred(3, dilation=d) for d in (1, 1, 2, 4, 8, 16, 1)] + [Geometry()]
    assert [field.receptive_field for field in chained_fields(layers)[0]] == [3, 5, 9, 17, 33, 65, 67, 67]


def test_demucs_encoder_and_decoder():
    """Defossez et al. 2019, arXiv:1911.13254: five strided layers down, five transposed ones up."""
    down = [Geometry.causal(8, 4)] * 5
    up = [Geometry(8, 4, transposed=True)] * 5
    fields, taps = chained_fields([*down, *up])
    assert fields[4].receptive_field == 2388
    assert (fields[-1].stride, fields[-1].lookahead) == (1, 0)
    assert taps is not None
    assert taps.outputs == 1024
    assert fields[-1].smallest_receptive_field < fields[-1].receptive_field


@pytest.mark.parametrize(
    ("dilations", "sigma", "field"),
    [((1,) * 10, "2.582", 21), (tuple(2**i for i in range(10)), "482.72", 2047)],
)
def test_effective_width(dilations, sigma, field):
    """Luo et al. 2016, arXiv:1701.04128; it is the width of the distribution of paths."""
    geometries = [Geometry.centred(3, dilation=d) for d in dilations]
    found = effective_sigma([Layer("", "conv", geometry) for geometry in geometries])
    assert found is not None
    assert f"{found:.{len(sigma.partition('.')[2])}f}" == sigma
    counts = chained_taps(geometries, counted=True).counts(0)
    assert max(counts) - min(counts) + 1 == field
    variance = Fraction(sum(i * i * n for i, n in counts.items()), sum(counts.values()))
    assert math.isclose(found**2, variance, rel_tol=1e-12)


@given(st.lists(sizes, min_size=1, max_size=4))
def test_effective_width_is_that_of_the_paths_with_strides_too(layers):
    geometries = [Geometry.causal(*size) for size in layers]
    found = effective_sigma([Layer("", "conv", geometry) for geometry in geometries])
    counts = chained_taps(geometries, counted=True).counts(0)
    total = sum(counts.values())
    mean = Fraction(sum(i * n for i, n in counts.items()), total)
    variance = Fraction(sum(i * i * n for i, n in counts.items()), total) - mean**2
    assert found is not None
    assert math.isclose(found**2, variance, rel_tol=1e-9, abs_tol=1e-12)


def test_there_is_no_effective_width_where_outputs_have_unequal_taps():
    assert effective_sigma([Layer("", "transposed", Geometry(5, 3, transposed=True))]) is None


@given(st.lists(sizes, min_size=1, max_size=3), st.integers(0, 3))
def test_warm_up_is_where_the_last_output_reads_padding(layers, lookahead):
    ahead = min(lookahead, layers[0][2] * (layers[0][0] - 1))
    geometries = [Geometry.causal(*layers[0], lookahead=ahead), *(Geometry.causal(*size) for size in layers[1:])]
    answer = answer_for([Layer("", "conv", geometry) for geometry in geometries])
    field, hop = answer.axes.time.field, answer.hop
    reading = [n for n in range(200) if field.at(n)[0] < 0]
    assert answer.axes.time.warm_up == (len(reading) * hop if reading else 0)


def test_a_field_beyond_all_bounds_says_that_its_taps_are_not_known():
    answer = answer_for([Layer("wide", "conv", Geometry.causal(2, dilation=10**12))])
    assert answer.receptive_field == 10**12 + 1
    assert (answer.axes.time.dense, answer.axes.time.density, answer.axes.time.holes) == (None, None, ())
    assert any("too wide" in note for note in answer.notes)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Geometry(0), r"kernel_size: expected an integer from 1 to .*, got 0"),
        (lambda: Geometry(2, 2, residual=True), "a residual layer must have stride 1, got 2"),
        (lambda: Geometry(2, 1, transposed=True, residual=True), "a residual layer must"),
        (lambda: Geometry.causal(3, lookahead=3), "lookahead must be from 0 to 2 .* got 3"),
        (lambda: convolution("a", Geometry(), in_channels=4, out_channels=6, groups=4), "groups must divide .* got 4"),
        (lambda: convolution("a", Geometry(), groups=0), "groups must divide .* got 0"),
        (lambda: answer_for([]), "expected at least one layer, got none"),
    ],
)
def test_errors(make, line):
    with pytest.raises(ValueError, match=line):
        make()
