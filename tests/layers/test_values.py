"""Each layer's numbers by a line of ``torch.nn.functional``, in float64: what it computes, not what shape it has."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples
from torch import Tensor, nn
from torch.nn import functional as F

from wavedil.layers import (
    BatchNorm1d,
    BatchNorm2d,
    BroadcastResidualBlock,
    CausalAvgPool1d,
    CausalConv1d,
    CausalConv2d,
    CausalConvTranspose1d,
    CausalImagePool,
    DilatedStack,
    FrameLayerNorm,
    FrameRMSNorm,
    GatedResidualBlock,
    GatedResidualBlock2d,
    ImagePool,
    SubSpectralNorm,
)

sizes = st.integers(1, 4)
few = settings(max_examples=examples(25))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@few
@given(sizes, sizes, sizes, st.sampled_from([1, 2]), st.booleans(), st.data())
def test_convolution(kernel_size, stride, dilation, groups, bias, data):
    span = dilation * (kernel_size - 1) + 1
    ahead = data.draw(st.integers(0, span - 1))
    conv = CausalConv1d(
        2, 4, kernel_size, stride, dilation=dilation, groups=groups, bias=bias, lookahead=ahead, dtype=torch.float64
    )
    x = noise(2, 2, 5 * stride)
    # Window n ends with input (n + 1) stride - 1 + ahead.
    before = span - stride - ahead
    padded = F.pad(x, (before, ahead)) if before >= 0 else F.pad(x, (0, ahead))[..., -before:]
    same(conv(x), F.conv1d(padded, conv.weight, conv.bias, stride, 0, dilation, groups))


@few
@given(sizes, sizes, sizes, st.sampled_from([1, 2]), st.data())
def test_transposed_convolution(kernel_size, stride, dilation, groups, data):
    ahead = data.draw(st.integers(0, dilation * (kernel_size - 1) // stride))
    conv = CausalConvTranspose1d(
        4, 2, kernel_size, stride, dilation=dilation, groups=groups, lookahead=ahead, dtype=torch.float64
    )
    x = noise(2, 4, 6)
    whole = F.conv_transpose1d(x, conv.weight, conv.bias, stride, 0, 0, groups, dilation)
    assert conv.bias is not None
    bias = conv.bias[:, None].expand(2, -1, 6 * stride + ahead * stride)
    whole = torch.cat([whole, bias], -1) if whole.shape[-1] < (6 + ahead) * stride else whole
    same(conv(x), whole[..., ahead * stride : (6 + ahead) * stride])


@few
@given(*[st.tuples(sizes, sizes)] * 3, st.sampled_from(["same", "valid"]))
def test_convolution_over_spectrograms(kernel_size, stride, dilation, padding):
    height, span = (d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True))
    conv = CausalConv2d(2, 3, kernel_size, stride, dilation=dilation, frequency_padding=padding, dtype=torch.float64)
    x = noise(2, 2, height + 2, 4 * stride[1])
    bins = ((height - 1) // 2, height // 2) if padding == "same" else (0, 0)
    before = span - stride[1]
    padded = F.pad(x[..., max(-before, 0) :], (max(before, 0), 0, *bins))
    same(conv(x), F.conv2d(padded, conv.weight, conv.bias, stride, 0, dilation))


@pytest.mark.parametrize(("kernel_size", "stride", "ahead"), [(1, 1, 0), (4, 1, 0), (4, None, 0), (3, 2, 1), (2, 3, 0)])
def test_average_pool(kernel_size, stride, ahead):
    x, step = noise(2, 3, 12), stride or kernel_size
    padded = F.pad(x, (kernel_size, kernel_size))
    ends = [(n + 1) * step - 1 + ahead for n in range(12 // step)]
    windows = [padded[..., end + 1 : end + 1 + kernel_size] for end in ends]
    expected = torch.stack([window.sum(-1) / kernel_size for window in windows], -1)
    same(CausalAvgPool1d(kernel_size, stride, lookahead=ahead)(x), expected)


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 5, 7)])
def test_pools_of_the_image(shape):
    x = noise(*shape)
    frames = x if x.ndim == 3 else x.mean(2, keepdim=True)
    same(ImagePool()(x), frames.mean(-1, keepdim=True).expand(*frames.shape))
    so_far = [frames[..., : n + 1].mean(-1) for n in range(7)]
    same(CausalImagePool()(x), torch.stack(so_far, -1))
    recent = [frames[..., max(n - 2, 0) : n + 1].mean(-1) for n in range(7)]
    same(CausalImagePool(3)(x), torch.stack(recent, -1))


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 5, 7)])
def test_norms_of_frames(shape):
    x, axes = noise(*shape), tuple(shape[1:-1])
    by_frame = x.movedim(-1, 1)
    layer, rms = FrameLayerNorm(3, eps=1e-3, dtype=torch.float64), FrameRMSNorm(3, eps=1e-3, dtype=torch.float64)
    for norm in (layer, rms):
        norm.weight.data = noise(3)
    layer.bias.data = noise(3)
    along = [-1, *[1] * (len(shape) - 2)]
    expected = F.layer_norm(by_frame, axes, eps=1e-3).movedim(1, -1)
    same(layer(x), expected * layer.weight.view(along) + layer.bias.view(along))
    same(rms(x), F.rms_norm(by_frame, axes, eps=1e-3).movedim(1, -1) * rms.weight.view(along))


@pytest.mark.parametrize("training", [True, False])
def test_norms_of_batches(training):
    x, image = noise(3, 4, 9), noise(3, 4, 6, 9)
    for norm, signal in ((BatchNorm1d(4), x), (BatchNorm2d(4, eps=1e-2, momentum=0.3), image)):
        norm = norm.double().train(training)
        nn.init.uniform_(norm.weight)
        mean, variance = noise(4), noise(4).abs() + 0.1
        norm.running_mean, norm.running_var = mean.clone(), variance.clone()
        momentum = norm.momentum or 0.0
        expected = F.batch_norm(signal, mean, variance, norm.weight, norm.bias, training, momentum, norm.eps)
        same(norm(signal), expected)
        same(norm.running_mean, mean)  # which the line above has updated in training
        same(norm.running_var, variance)
    bands = SubSpectralNorm(4, 3).double().train(training)
    nn.init.uniform_(bands.weight)
    expected = [
        F.batch_norm(image[:, :, 2 * b : 2 * b + 2], None, None, bands.weight[b::3], training=True)
        if training
        else image[:, :, 2 * b : 2 * b + 2] / (1 + 1e-5) ** 0.5 * bands.weight[b::3, None, None]
        for b in range(3)
    ]
    same(bands(image), torch.cat(expected, 2))


def gated(block: GatedResidualBlock | GatedResidualBlock2d, x: Tensor, fixed: Tensor, running: Tensor) -> list[Tensor]:
    """The block's formula with torch's functions; its kernel has 3 taps in each axis."""
    flat, dilation = x.ndim == 3, block.conv.dilation
    if flat:
        hidden = F.conv1d(F.pad(x, (2 * dilation[0], 0)), block.conv.weight, block.conv.bias, 1, 0, dilation)
    else:
        padded = F.pad(x, (2 * dilation[1], 0, dilation[0], dilation[0]))
        hidden = F.conv2d(padded, block.conv.weight, block.conv.bias, 1, 0, dilation)
    if block.norm is not None:
        hidden = (
            F.rms_norm(hidden.movedim(-1, 1), tuple(hidden.shape[1:-1]), eps=1e-5).movedim(1, -1).contiguous()
        )  # dropout is drawn in the order of memory
    if block.global_projection is not None and block.local_projection is not None:
        given = block.global_projection(fixed)[:, :, None]
        given = given + F.conv1d(running, block.local_projection.weight, block.local_projection.bias)
        given = given if flat else given[:, :, None]
        if block.conditioning == "film":
            half = given.shape[1] // 2
            hidden = hidden * (1 + given[:, :half]) + given[:, half:]
        else:
            hidden = hidden + given
    half = hidden.shape[1] // 2
    filtered = torch.tanh(hidden[:, :half]) if block.gate == "tanh" else hidden[:, :half]
    z = F.dropout(filtered * torch.sigmoid(hidden[:, half:]), block.dropout.p, block.training)
    product = F.conv1d if flat else F.conv2d
    outputs = [x if block.residual is None else x + product(z, block.residual.weight, block.residual.bias)]
    return outputs if block.skip is None else [*outputs, product(z, block.skip.weight, block.skip.bias)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", [GatedResidualBlock, GatedResidualBlock2d])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gate": "glu", "norm": "rms", "skip_channels": 3},
        {"skip_channels": 2, "project_residual": False},
        {"global_channels": 2, "local_channels": 3},
        {"global_channels": 2, "local_channels": 3, "conditioning": "film", "gate": "glu"},
    ],
    ids=str,
)
def test_gated_block(kind, options, training):
    block = kind(4, 3, 2, dropout=0.5, dtype=torch.float64, **options).train(training)
    x = noise(2, 4, 9) if kind is GatedResidualBlock else noise(2, 4, 5, 9)
    fixed, running = noise(2, 2), noise(2, 3, 9)
    given = {"global_condition": fixed, "local_condition": running} if "global_channels" in options else {}
    torch.manual_seed(7)
    expected = gated(block, x, fixed, running)
    torch.manual_seed(7)
    found = block(x, **given)
    for one, other in zip([found] if isinstance(found, Tensor) else found, expected, strict=True):
        same(one, other)


@pytest.mark.parametrize("skip_channels", [None, 3])
def test_a_stack_is_its_blocks_one_after_the_other(skip_channels):
    stack = DilatedStack(4, 3, [1, 4, 2], skip_channels=skip_channels, gate="glu", dtype=torch.float64)
    x = hidden = noise(2, 4, 20)
    skips = []
    for block in stack.blocks:
        assert isinstance(block, GatedResidualBlock)
        hidden, *skip = gated(block, hidden, x, x)
        skips += skip
    same(stack(x), sum(skips[1:], skips[0]) if skip_channels else hidden)


@pytest.mark.parametrize("channels", [4, 6])
def test_broadcast_block(channels):
    block = BroadcastResidualBlock(4, channels, 3, frequency_stride=1 if channels == 4 else 2, bands=2).double().eval()
    x = noise(2, 4, 8, 10)
    scale = 1 / (1 + 1e-5) ** 0.5  # of a norm whose statistics are still 0 and 1
    weights = [p for p in block.parameters() if p.ndim > 2]
    inner = x
    if channels != 4:
        inner = F.relu(F.conv2d(x, weights.pop(0)) * scale)
    by_bin = F.conv2d(inner, weights[0], padding=(1, 0), stride=(1 if channels == 4 else 2, 1), groups=channels) * scale
    by_frame = F.conv1d(F.pad(by_bin.mean(2), (6, 0)), weights[1], dilation=3, groups=channels) * scale
    y = by_bin + F.conv1d(F.silu(by_frame), weights[2])[:, :, None]
    same(block(x), F.relu(x + y if channels == 4 else y))
