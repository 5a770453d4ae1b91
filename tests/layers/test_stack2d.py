"""The gated block and the stack over spectrograms: the contract, their counterparts in 1D, and which bins they read."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweeps import examples
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

import wavedil
from wavedil import Stream
from wavedil.export import to_onnx
from wavedil.layers import DilatedStack, DilatedStack2d, GatedResidualBlock2d
from wavedil.layers.conv import CausalConv2d
from wavedil.layers.norm import BatchNorm2d, FrameLayerNorm, FrameRMSNorm
from wavedil.testing import verify_streaming_contract

few = settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.too_slow])
boundaries = st.sampled_from(["zeros", "silence"])
norms = st.sampled_from(["none", "batch", "layer", "rms"])


def settle(module: nn.Module) -> None:
    """Running statistics and norm weights other than 0 and 1, as after training."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
        if isinstance(layer, _BatchNorm | FrameLayerNorm | FrameRMSNorm):
            layer.weight.data.uniform_(0.5, 2)
    module.eval()


@few
@given(
    st.data(), st.tuples(st.integers(1, 4), st.integers(1, 4)), st.tuples(st.integers(1, 3), st.integers(1, 4)),
    st.sampled_from([None, 3]), st.sampled_from(["tanh", "glu"]), norms, boundaries,
)  # fmt: skip
def test_block(data, kernel_size, dilation, skip_channels, gate, norm, boundary):
    lookahead = data.draw(st.integers(0, dilation[1] * (kernel_size[1] - 1)))
    block = GatedResidualBlock2d(
        4, kernel_size, dilation, skip_channels=skip_channels, gate=gate, norm=norm, boundary=boundary, dropout=0.3,
        lookahead=lookahead,
    )  # fmt: skip
    settle(block)
    bins = dilation[0] * (kernel_size[0] - 1) + data.draw(st.integers(1, 4))
    verify_streaming_contract(block, shape=(4, bins), chunkings=1)
    assert block.lookahead == lookahead


@few
@given(
    st.data(), st.integers(1, 3), st.lists(st.integers(1, 5), min_size=1, max_size=3), st.sampled_from([None, 3]),
    boundaries, st.sampled_from(["add", "film"]), st.sampled_from([0, 2]), st.sampled_from([0, 3]), st.booleans(),
)  # fmt: skip
def test_stack(
    data, kernel_size, dilations, skip_channels, boundary, conditioning, global_channels, local_channels, ahead
):
    lookahead = [data.draw(st.integers(0, d * (kernel_size - 1))) for d in dilations] if ahead else 0
    stack = DilatedStack2d(
        2, kernel_size, dilations, frequency_dilations=dilations[::-1], skip_channels=skip_channels, boundary=boundary,
        conditioning=conditioning, global_channels=global_channels, local_channels=local_channels, lookahead=lookahead,
    )  # fmt: skip
    time = 2 * int(stack.receptive_field) + 11
    conditions = {}
    if global_channels:
        conditions["global_condition"] = torch.randn(2, global_channels)
    if local_channels:
        conditions["local_condition"] = torch.randn(2, local_channels, time)
    verify_streaming_contract(stack, shape=(2, 5), time=time, conditions=conditions, chunkings=1)
    assert stack.receptive_field == 1 + sum(d * (kernel_size - 1) for d in dilations)
    assert stack.frequency_field.receptive_field == stack.receptive_field


REPRESENTATIVE = {
    "ahead": {"skip_channels": 3, "lookahead": [0, 2], "norm": "batch", "boundary": "silence"},
    "frames": {"skip_channels": 3, "gate": "glu", "norm": "layer", "frequency_dilations": [1, 2]},
}


def representative(name: str) -> DilatedStack2d:
    torch.manual_seed(0)
    stack = DilatedStack2d(4, (3, 2), [1, 2], **REPRESENTATIVE[name])
    settle(stack)
    return stack


@pytest.mark.full  # a smaller one is exported below
@pytest.mark.parametrize("name", REPRESENTATIVE)
def test_captured_exported_and_onnx(name):
    backends = ("capture", "export", "onnx")
    report = verify_streaming_contract(representative(name), shape=(4, 6), chunkings=1, backends=backends)
    assert set(report.backends) == set(backends)


@pytest.mark.full
@pytest.mark.parametrize("name", REPRESENTATIVE)
def test_compiled_by_inductor(name):
    verify_streaming_contract(representative(name), shape=(4, 6), chunkings=1, backends=("compile",))


@pytest.mark.full
def test_onnx_names_the_states(tmp_path):
    onnx = pytest.importorskip("onnx")
    stack = DilatedStack2d(2, 3, [2], skip_channels=3, lookahead=1).eval()
    assert stack.state_names == ("blocks.0.conv.buffer", "blocks.0.residual_delay.buffer", "skip_delays.0.buffer")
    to_onnx(stack, tmp_path / "stack.onnx", 2, 5)
    graph = onnx.load(str(tmp_path / "stack.onnx")).graph
    names = [name.replace(".", "_") for name in stack.state_names]
    assert [value.name for value in graph.input] == ["chunk", *(f"state_{name}" for name in names)]
    assert [value.name for value in graph.output] == ["output", *(f"next_state_{name}" for name in names)]


@pytest.mark.parametrize(
    "options", [{}, {"gate": "glu", "norm": "batch", "skip_channels": 5}, {"lookahead": [2, 0, 1]}]
)
@pytest.mark.parametrize("conditioning", ["add", "film"])
def test_without_taps_in_frequency_each_bin_is_a_stack_of_its_own(options, conditioning):
    options = {**options, "conditioning": conditioning, "global_channels": 2, "local_channels": 3}
    flat = DilatedStack(4, 3, [1, 2, 4], **options)
    settle(flat)
    over_bins = DilatedStack2d(4, (1, 3), [1, 2, 4], **options).eval()
    weights = {
        name: value[:, :, None] if value.ndim == 3 and "projection" not in name else value
        for name, value in flat.state_dict().items()
    }
    over_bins.load_state_dict(weights)
    x, conditions = torch.randn(2, 4, 6, 30), (torch.randn(2, 2), torch.randn(2, 3, 30))
    given = dict(zip(("global_condition", "local_condition"), conditions, strict=True))
    bins = torch.stack([flat(x[:, :, i], **given) for i in range(6)], dim=2)
    torch.testing.assert_close(over_bins(x, **given), bins, atol=1e-6, rtol=0)


def test_block_is_what_torch_computes_with_its_weights():
    block = GatedResidualBlock2d(3, (3, 2), (2, 4), skip_channels=5)
    x = torch.randn(2, 3, 9, 20)
    padded = F.pad(x, (4, 0, 2, 2))
    filtered, gated = F.conv2d(padded, block.conv.weight, block.conv.bias, dilation=(2, 4)).chunk(2, dim=1)
    z = torch.tanh(filtered) * torch.sigmoid(gated)
    residual, skip = block(x)
    assert block.residual is not None
    assert block.skip is not None
    torch.testing.assert_close(residual, x + block.residual(z))
    torch.testing.assert_close(skip, block.skip(z))


def bins_read(module: nn.Module, channels: int, bins: int) -> list[list[int]]:
    """The input bins that each output bin reads, by NaN."""
    x = torch.randn(1, channels, bins, 12).repeat(bins, 1, 1, 1)
    for i in range(bins):
        x[i, :, i] = math.nan
    with torch.no_grad():
        reached = module(x).isnan().any(dim=1).any(dim=-1)
    return [[i for i in range(bins) if reached[i, output]] for output in range(reached.shape[1])]


def assert_bins_are_those_of_the_field(module: CausalConv2d | DilatedStack2d, channels: int, bins: int) -> None:
    """For every output bin whose field lies inside the input, or is unbounded."""
    read = bins_read(module, channels, bins)
    fields = [module.frequency_field.at(output) for output in range(len(read))]
    inside = [i for i, (a, b) in enumerate(fields) if a == -math.inf or (a >= 0 and b < bins)]
    assert inside
    for i in inside:
        start, end = fields[i]
        assert (min(read[i]), max(read[i])) == (max(start, 0), min(end, bins - 1))


@given(*[st.integers(1, 4) for _ in range(3)], st.sampled_from(["same", "valid"]))
def test_conv2d_reads_the_bins_that_its_field_says(kernel_size, stride, dilation, frequency_padding):
    conv = CausalConv2d(
        2, 3, (kernel_size, 2), (stride, 1), dilation=(dilation, 1), frequency_padding=frequency_padding
    )
    assert_bins_are_those_of_the_field(conv, 2, bins=2 * dilation * (kernel_size - 1) + 2 * stride)


@few
@given(st.integers(1, 4), st.lists(st.integers(1, 3), min_size=1, max_size=3), norms)
def test_stack_reads_the_bins_that_its_field_says(kernel_size, frequency_dilations, norm):
    stack = DilatedStack2d(
        2, (kernel_size, 1), [1] * len(frequency_dilations), frequency_dilations=frequency_dilations, norm=norm
    )
    settle(stack)
    assert_bins_are_those_of_the_field(stack, 2, 2 * sum(frequency_dilations) * kernel_size + 1)


@pytest.mark.parametrize(
    ("kernel_size", "options"),
    [
        (3, {}),
        ((5, 3), {"frequency_dilations": [1, 2, 4], "skip_channels": 3}),
        ((2, 4), {"frequency_dilations": [3, 1, 1], "lookahead": [1, 2, 0]}),
        (3, {"norm": "batch"}),
    ],
)
def test_both_axes_are_those_of_the_traced_graph(kernel_size, options):
    stack = DilatedStack2d(2, kernel_size, [1, 2, 4], **options).eval()
    axes = wavedil.receptive_field(stack, torch.zeros(1, 2, 40, 60)).axes
    assert axes.frequency is not None
    assert axes.time.field == stack.field
    assert axes.frequency.field == stack.frequency_field


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_frame_norms_read_every_bin(norm):
    stack = DilatedStack2d(2, 3, [1, 2], norm=norm).eval()
    assert stack.frequency_field.receptive_field == math.inf
    axes = wavedil.receptive_field(stack, torch.zeros(1, 2, 20, 30)).axes
    assert axes.frequency is not None
    assert axes.frequency.unbounded == "everything"
    assert axes.time.receptive_field == stack.receptive_field == 7


def test_streams_frame_by_frame():
    stack = representative("frames")
    spectrogram = torch.randn(2, 4, 8, 20)
    stream = Stream(stack, 2, 8)  # bins; the channels it knows
    frames = [stream.push(spectrogram[..., i : i + 1]) for i in range(20)]
    assert all(frame.shape == (2, 3, 8, 1) for frame in frames)
    torch.testing.assert_close(torch.cat(frames, dim=-1), stack(spectrogram), atol=1e-6, rtol=0)


def test_state_of_so_many_bins():
    stack = DilatedStack2d(3, 3, [1, 2])
    assert [tuple(t.shape) for t in stack.initial_state(2, 7)] == [(2, 3, 7, 2), (2, 3, 7, 4)]
    assert [t.shape for t in stack.initial_state(2, 3, 7)] == [t.shape for t in stack.initial_state(2, 7)]
    with pytest.raises(ValueError, match="give the axes between batch and time"):
        stack.initial_state(2)


@pytest.mark.parametrize("layer", [BatchNorm2d(3), FrameLayerNorm(3), FrameRMSNorm(3)], ids=str)
def test_norms_over_spectrograms(layer):
    settle(layer)
    verify_streaming_contract(layer, shape=(3, 5))


def test_frame_norms_are_torchs_over_channels_and_bins():
    x, weight, bias = torch.randn(2, 3, 5, 4), torch.rand(3), torch.randn(3)
    frames = x.permute(0, 3, 1, 2)
    layer, rms = FrameLayerNorm(3), FrameRMSNorm(3)
    layer.weight.data, layer.bias.data, rms.weight.data = weight, bias, weight
    by_channel = weight[:, None].expand(3, 5), bias[:, None].expand(3, 5)
    torch.testing.assert_close(layer(x).permute(0, 3, 1, 2), F.layer_norm(frames, (3, 5), *by_channel))
    torch.testing.assert_close(rms(x).permute(0, 3, 1, 2), F.rms_norm(frames, (3, 5), by_channel[0], eps=rms.eps))


def test_every_parameter_is_trained():
    stack = DilatedStack2d(
        2, 3, [1, 2], frequency_dilations=[2, 1], skip_channels=3, norm="batch", global_channels=2, local_channels=2
    )
    conditions = {"global_condition": torch.randn(2, 2), "local_condition": torch.randn(2, 2, 9)}
    stack(torch.randn(2, 2, 6, 9), **conditions).square().sum().backward()
    assert not [name for name, parameter in stack.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize(
    ("dilations", "options", "message"),
    [
        ([], {}, "dilations: expected 1 to 1,024 items, got 0"),
        ([1, 2], {"frequency_dilations": [1]}, "expected a frequency dilation for each of 2 dilations, got 1"),
        ([1, 0], {}, "dilation in time: expected an integer from 1 to 16777216, got 0"),
        ([1], {"frequency_dilations": [0]}, "dilation in frequency: expected an integer from 1 to 16777216, got 0"),
        ([1, 2], {"lookahead": [1]}, "expected a lookahead for each of 2 dilations, got 1"),
        ([1], {"gate": "relu"}, "gate: expected one of tanh, glu; got 'relu'"),
    ],
)
def test_errors_say_what_was_expected(dilations, options, message):
    with pytest.raises(ValueError, match=message):
        DilatedStack2d(2, 3, dilations, **options)
