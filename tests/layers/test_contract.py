"""Every layer passes the streaming contract, over the sizes that nobody thinks of."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweeps import examples, sweep
from torch import nn

from wavedil import exponential_dilations
from wavedil.layers import (
    BatchNorm1d,
    CausalAvgPool1d,
    CausalConv1d,
    CausalConv2d,
    CausalConvTranspose1d,
    Chain,
    Delay,
    DilatedStack,
    FrameLayerNorm,
    FrameRMSNorm,
    GatedResidualBlock,
    StreamingModule,
    add_weight_norm,
    fold_weight_norm,
)
from wavedil.testing import verify_streaming_contract

few = settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.too_slow])
boundaries = st.sampled_from(["zeros", "silence"])


@few
@given(st.data(), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_conv1d(data, kernel_size, stride, dilation, batch_size):
    lookahead = data.draw(st.integers(0, dilation * (kernel_size - 1)))
    groups = data.draw(st.sampled_from([1, 2]))
    conv = CausalConv1d(2, 4, kernel_size, stride, dilation=dilation, groups=groups, lookahead=lookahead)
    verify_streaming_contract(conv, batch_size=batch_size, seed=data.draw(st.integers(0, 99)))
    assert conv.lookahead == lookahead


@few
@given(st.data(), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))
def test_conv_transpose1d(data, kernel_size, stride, dilation):
    lookahead = data.draw(st.integers(0, dilation * (kernel_size - 1) // stride))
    conv = CausalConvTranspose1d(2, 4, kernel_size, stride, dilation=dilation, lookahead=lookahead)
    verify_streaming_contract(conv, seed=data.draw(st.integers(0, 99)))


@few
@given(
    st.data(), *[st.tuples(st.integers(1, 4), st.integers(1, 4)) for _ in range(3)], st.sampled_from(["same", "valid"])
)
def test_conv2d(data, kernel_size, stride, dilation, frequency_padding):
    lookahead = data.draw(st.integers(0, dilation[1] * (kernel_size[1] - 1)))
    bins = dilation[0] * (kernel_size[0] - 1) + data.draw(st.integers(1, 4))
    conv = CausalConv2d(
        2, 3, kernel_size, stride, dilation=dilation, frequency_padding=frequency_padding, lookahead=lookahead
    )
    verify_streaming_contract(conv, shape=(2, bins), seed=data.draw(st.integers(0, 99)))


@few
@given(st.data(), st.integers(1, 7), st.integers(1, 4))
def test_average_pool(data, kernel_size, stride):
    pool = CausalAvgPool1d(kernel_size, stride, lookahead=data.draw(st.integers(0, kernel_size - 1)))
    verify_streaming_contract(pool, shape=(3,))


@few
@given(
    st.data(), st.integers(1, 4), st.integers(1, 5), st.sampled_from([None, 3]), st.sampled_from(["tanh", "glu"]),
    st.sampled_from(["none", "batch", "layer", "rms"]), boundaries,
)  # fmt: skip
def test_gated_block(data, kernel_size, dilation, skip_channels, gate, norm, boundary):
    block = GatedResidualBlock(
        4, kernel_size, dilation, skip_channels=skip_channels, gate=gate, norm=norm, boundary=boundary, dropout=0.3,
        lookahead=data.draw(st.integers(0, dilation * (kernel_size - 1))),
    )  # fmt: skip
    verify_streaming_contract(settle_norms(block), chunkings=2)


@few
@given(
    st.data(), st.integers(1, 4), st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from([None, 3]),
    boundaries, st.sampled_from(["add", "film"]), st.sampled_from([0, 2]), st.sampled_from([0, 3]), st.booleans(),
)  # fmt: skip
def test_stack(
    data, kernel_size, dilations, skip_channels, boundary, conditioning, global_channels, local_channels, ahead
):
    lookahead = [data.draw(st.integers(0, d * (kernel_size - 1))) for d in dilations] if ahead else 0
    stack = DilatedStack(
        4, kernel_size, dilations, skip_channels=skip_channels, boundary=boundary, conditioning=conditioning,
        global_channels=global_channels, local_channels=local_channels, lookahead=lookahead,
    )  # fmt: skip
    time = 2 * int(stack.receptive_field) + 11
    conditions = {}
    if global_channels:
        conditions["global_condition"] = torch.randn(2, global_channels)
    if local_channels:
        conditions["local_condition"] = torch.randn(2, local_channels, time)
    verify_streaming_contract(stack, time=time, conditions=conditions, chunkings=2)
    assert stack.receptive_field == 1 + sum(d * (kernel_size - 1) for d in dilations)


@few
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), boundaries)
def test_chain_of_rates(down, kernel_size, up, again, boundary):
    chain = Chain(
        CausalConv1d(1, 4, kernel_size, down),
        nn.ReLU(),
        DilatedStack(4, kernel_size, [1, 2]),
        CausalConvTranspose1d(4, 2, kernel_size + 1, up),
        FrameRMSNorm(2),
        CausalConv1d(2, 2, kernel_size, again),
        boundary=boundary,
    )
    verify_streaming_contract(chain, chunkings=2)


@pytest.mark.parametrize("layer", [Delay(0), Delay(3), BatchNorm1d(3), FrameLayerNorm(3), FrameRMSNorm(3)], ids=str)
def test_small_layers(layer):
    verify_streaming_contract(settle_norms(layer), shape=(3,))


REPRESENTATIVE = {
    "dilated": (lambda: CausalConv1d(2, 3, 3, dilation=4), ()),
    "strided": (lambda: CausalConv1d(2, 3, 4, 2), ()),
    "transposed": (lambda: CausalConvTranspose1d(2, 3, 5, 2), ()),
    "2d": (lambda: CausalConv2d(2, 3, (3, 4), (2, 3), dilation=(1, 2), lookahead=2), (2, 7)),
    "pool": (lambda: CausalAvgPool1d(5, 1), (3,)),
    "stack": (
        lambda: DilatedStack(
            4, 2, exponential_dilations(1, 2), skip_channels=5, norm="batch", lookahead=1, boundary="silence"
        ),
        (),
    ),
}


@pytest.mark.parametrize("name", sweep(REPRESENTATIVE, "dilated".__ne__))
def test_captured_exported_and_onnx(name):
    make, shape = REPRESENTATIVE[name]
    report = verify_streaming_contract(make(), shape=shape, chunkings=1, backends=("capture", "export", "onnx"))
    assert set(report.backends) == {"capture", "export", "onnx"}


@pytest.mark.full
@pytest.mark.parametrize("name", REPRESENTATIVE)
def test_compiled_by_inductor(name):
    make, shape = REPRESENTATIVE[name]
    verify_streaming_contract(make(), shape=shape, chunkings=1, backends=("compile",))


@pytest.mark.full
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", [CausalConv1d, CausalConvTranspose1d])
def test_every_size_exported(kind, kernel_size, stride, dilation):
    layer = kind(2, 3, kernel_size, stride, dilation=dilation)
    verify_streaming_contract(layer, chunkings=1, backends=("capture", "export", "onnx"))


def test_weight_norm_streams_and_folds_away():
    stack = add_weight_norm(DilatedStack(4, 3, [1, 2, 4]))
    verify_streaming_contract(stack, chunkings=1)
    x = torch.randn(2, 4, 30)
    before = stack(x)
    folded = fold_weight_norm(stack)
    assert not any("parametrizations" in name for name in folded.state_dict())
    torch.testing.assert_close(folded(x), before, atol=1e-6, rtol=0)


def settle_norms(module: StreamingModule) -> StreamingModule:
    """Running statistics other than 0 and 1, as after training."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return module
