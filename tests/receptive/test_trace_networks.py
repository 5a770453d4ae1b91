"""Traced fields of hand-built networks: known by hand, and equal to what autograd measures."""

import math
from fractions import Fraction

import pytest
import torch
from measured import Function
from networks import as_measured, facts, signal
from torch import nn
from torch.nn import functional as F

from wavedil.receptive.trace import trace

INF = math.inf
EVERYTHING = (-INF, INF, 1)


def conv(channels=1, outs=1, kernel_size=3, **options):
    return nn.Conv1d(channels, outs, kernel_size, **options)


def residual(dilation, causal):
    """Two convolutions of 3 and 1 beside the identity."""
    padding = (2 * dilation, 0) if causal else (dilation, dilation)
    return Function(
        lambda x, first, second: x + second(F.relu(first(F.pad(x, padding)))),
        first=conv(4, 4, dilation=dilation),
        second=conv(4, 4, 1),
    )


def u_net(x, down1, down2, middle, up2, up1, out):
    a = F.gelu(down1(x))
    b = F.gelu(down2(a))
    skipped = torch.cat([up2(middle(b)), a], 1)
    return out(torch.cat([up1(skipped), x], 1))


U_NET = {
    "down1": conv(1, 4, 4, stride=2, padding=1),
    "down2": conv(4, 8, 4, stride=2, padding=1),
    "middle": conv(8, 8, padding=1),
    "up2": nn.ConvTranspose1d(8, 4, 4, 2, padding=1),
    "up1": nn.ConvTranspose1d(8, 4, 4, 2, padding=1),
    "out": conv(5, 1, padding=1),
}


def dense(x, **layers):
    for layer in layers.values():
        x = torch.cat([x, F.elu(layer(x))], 1)
    return x


def delayed_channels(x, groups, mix):
    """The first two of four channels five ahead of the others, in groups of their own."""
    return mix(groups(torch.cat([x[:, :2, 5:], x[:, 2:, :-5]], 1)))


def aspp(x, rate1, rate2, rate3, out):
    return out(torch.cat([rate1(x), rate2(x), rate3(x)], 1))


BLOCKS = {
    "residual": (nn.Sequential(*(residual(d, False) for d in (1, 2, 4))), signal(4), (-7, 7, 1)),
    "causal residual": (nn.Sequential(*(residual(d, True) for d in (1, 2, 4))), signal(4), (-14, 0, 1)),
    "branches cropped at the start": (
        Function(lambda x, a, b: torch.cat([a(x)[..., 6:], b(x)], 1), a=conv(), b=conv(1, 1, 5, dilation=2)),
        signal(),
        (0, 8, 1),
    ),
    "branches cropped at both ends": (
        Function(lambda x, a, b: torch.cat([a(x)[..., 3:-3], b(x)], 1), a=conv(), b=conv(1, 1, 5, dilation=2)),
        signal(),
        (0, 8, 1),
    ),
    "u-net": (Function(u_net, **U_NET), signal(1, 64), (-11, 14, 1)),
    "deep u-net": (
        nn.Sequential(
            *(conv(1, 1, 8, stride=4) for _ in range(4)), *(nn.ConvTranspose1d(1, 1, 8, 4) for _ in range(4))
        ),
        signal(1, 1500),
        (-512, 595, 1),
    ),
    "strided, dilated": (nn.Sequential(conv(stride=2, dilation=3), conv(stride=3, dilation=2)), signal(), (0, 14, 6)),
    "dense": (
        Function(dense, **{f"l{i}": conv(2 * i + 2, 2, dilation=2**i, padding=2**i) for i in range(4)}),
        signal(2),
        (-15, 15, 1),
    ),
    "depthwise separable": (
        nn.Sequential(conv(4, 4, 5, groups=4, padding=2), conv(4, 8, 1), nn.PReLU(8), conv(8, 8, groups=8, dilation=2)),
        signal(4),
        (-2, 6, 1),
    ),
    "groups of delayed channels, mixed": (
        Function(delayed_channels, groups=conv(4, 4, groups=2), mix=conv(4, 2, 1)),
        signal(4),
        (0, 7, 1),
    ),
    "squeeze and excite": (
        Function(lambda x, gate: x * gate(x.mean(-1))[..., None], gate=nn.Sequential(nn.Linear(4, 4), nn.Sigmoid())),
        signal(4),
        EVERYTHING,
    ),
    "aspp": (
        Function(
            aspp,
            **{f"rate{i}": nn.Conv2d(1, 2, 3, padding=r, dilation=r) for i, r in enumerate((6, 12, 18), 1)},
            out=nn.Conv2d(6, 1, 1),
        ),
        torch.zeros(1, 1, 90, 90),
        (-18, 18, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks(name):
    module, x, expected = BLOCKS[name]
    assert facts(as_measured(module, x)) == expected


def test_taps_of_dilated_branches():
    """Rates of 6, 12 and 18 reach seven rows and columns, and 25 of the 37 x 37 places."""
    module, x, _ = BLOCKS["aspp"]
    for taps in trace(module, x).taps:
        assert taps is not None
        assert taps.positions(0) == (-18, -12, -6, 0, 6, 12, 18)


def test_channels_of_one_group_read_only_that_group():
    module = Function(delayed_channels, groups=conv(4, 4, groups=2), mix=Function(lambda y: y[:, :1]))
    assert facts(as_measured(module, signal(4))) == (5, 7, 1)


def test_two_axes_with_different_strides():
    module = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=2, dilation=2, stride=(2, 1)))
    traced = as_measured(module, torch.zeros(1, 1, 40, 50))
    assert facts(traced, 0) == (-3, 3, 1)
    assert facts(traced, 1) == (-3, 3, 2)


PADDINGS = {
    "zeros": ((-3, 3, 1), False),
    "reflect": ((-3, 3, 1), False),
    "replicate": ((-3, 3, 1), False),
    "circular": ((-3, 3, 1), True),
}


@pytest.mark.parametrize("mode", PADDINGS)
def test_padding_modes(mode):
    expected, noted = PADDINGS[mode]
    traced = as_measured(
        nn.Sequential(conv(1, 2, 5, padding=2, padding_mode=mode), conv(2, 1, padding=1, padding_mode=mode)), signal()
    )
    assert facts(traced) == expected
    assert ("circular padding" in " ".join(traced.notes)) == noted


PADS = {
    "constant": (nn.ConstantPad1d((3, 1), 1.0), -3),
    "zero": (nn.ZeroPad1d((3, 1)), -3),
    "reflection": (nn.ReflectionPad1d((3, 1)), -3),
    "replication": (nn.ReplicationPad1d((3, 1)), -3),
    "circular": (nn.CircularPad1d((3, 1)), -3),
    "negative": (nn.ConstantPad1d((-3, 1), 0.0), 3),
    "concatenated": (Function(lambda x: torch.cat([x.new_zeros(1, 1, 3), x, x.new_ones(1, 1, 1)], -1)), -3),
    "concatenated edge": (Function(lambda x: torch.cat([x[..., :1].expand(-1, -1, 3), x], -1)), -3),
}


@pytest.mark.parametrize("name", PADS)
def test_pads(name):
    pad, first = PADS[name]
    assert facts(as_measured(nn.Sequential(pad, conv()), signal())) == (first, first + 2, 1)


@pytest.mark.parametrize(("padding", "expected"), [("same", (-4, 6, 1)), ("valid", (0, 10, 1))])
def test_named_paddings(padding, expected):
    module = nn.Sequential(conv(1, 2, 4, padding=padding, dilation=3), conv(2, 1, 2, padding=padding))
    assert facts(as_measured(module, signal())) == expected


def test_a_field_longer_than_the_example_is_found():
    module = nn.Sequential(nn.ConstantPad1d((512, 0), 0.0), conv(1, 1, 2, dilation=512))
    traced = as_measured(module, signal(1, 20))
    assert facts(traced) == (-512, 0, 1)
    taps = traced.taps[0]
    assert taps is not None
    assert taps.positions(0) == (-512, 0)


def overlap_add(x, synthesis):
    frames = synthesis(x[:, 0].unfold(-1, 8, 4)).transpose(1, 2)
    length = (frames.shape[-1] - 1) * 4 + 8
    return F.fold(frames, (1, length), (1, 8), stride=(1, 4))[:, 0]


def strided_view(x, linear):
    frames = (x.shape[-1] - 8) // 4 + 1
    return linear(x[:, 0].contiguous().as_strided((x.shape[0], frames, 8), (x.shape[-1], 4, 1)))


def shuffled(x, layer):
    y = layer(x)
    return y.unflatten(1, (2, 4)).transpose(2, 3).flatten(2)


FRAMES = {
    "reshape": (Function(lambda x, c: c(x.reshape(1, -1, 8).mT), c=conv(8, 3, 2)), (0, 15, 8)),
    "view": (Function(lambda x, c: c(x.view(1, -1, 8)).mT, c=nn.Linear(8, 3)), (0, 7, 8)),
    "unfold": (Function(lambda x, c: c(x[:, 0].unfold(-1, 8, 4)), c=nn.Linear(8, 3)), (0, 7, 4)),
    "padded unfold": (Function(lambda x, c: c(F.pad(x[:, 0], (4, 4)).unfold(-1, 8, 4)), c=nn.Linear(8, 3)), (-4, 3, 4)),
    "as_strided": (Function(strided_view, linear=nn.Linear(8, 3)), (0, 7, 4)),
    "overlap-add": (Function(overlap_add, synthesis=nn.Linear(8, 8)), (-4, 7, 1)),
    "overlap-add of the frames themselves": (
        Function(lambda x: F.fold(x[:, 0].unfold(-1, 8, 4).mT, (1, x.shape[-1]), (1, 8), stride=(1, 4))[:, 0]),
        (0, 0, 1),
    ),
    "im2col": (
        Function(
            lambda x, c: c(F.unfold(x[:, :, None], (1, 5), stride=(1, 3), dilation=(1, 2), padding=(0, 2))),
            c=conv(5, 2, 1),
        ),
        (-2, 6, 3),
    ),
    "shuffled channels": (Function(shuffled, layer=conv(1, 8, padding=1)), (-1, 1, Fraction(1, 4))),
    "norm of each frame": (
        Function(lambda x, n: n(x.reshape(-1, 1, 16)).reshape(1, 1, -1), n=nn.GroupNorm(1, 1)),
        (0, 15, 1),
    ),
    "loop over time": (
        Function(lambda x: torch.stack([x[..., max(t - 3, 0) : t + 1].mean(-1) for t in range(x.shape[-1])], -1)),
        (-3, 0, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_frames(name):
    module, expected = FRAMES[name]
    assert facts(as_measured(module, signal(1, 64 if name != "loop over time" else 16))) == expected


def test_pixel_shuffle_and_back():
    up = as_measured(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2)), torch.zeros(1, 1, 30, 30))
    assert [facts(up, axis) for axis in (0, 1)] == [(-1, 1, Fraction(1, 2))] * 2
    down = as_measured(nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 3, padding=1)), torch.zeros(1, 1, 30, 30))
    assert [facts(down, axis) for axis in (0, 1)] == [(-2, 3, 2)] * 2


NORMS = {
    "group": (nn.GroupNorm(2, 4), EVERYTHING),
    "instance": (nn.InstanceNorm1d(4), EVERYTHING),
    "instance, tracked": (nn.InstanceNorm1d(4, track_running_stats=True).eval(), (-2, 2, 1)),
    "batch, trained": (nn.BatchNorm1d(4).eval(), (-2, 2, 1)),
    "batch without statistics": (nn.BatchNorm1d(4, track_running_stats=False).eval(), EVERYTHING),
    "local response": (nn.LocalResponseNorm(3), (-2, 2, 1)),
    "layer": (Function(lambda x, n: n(x.mT).mT, n=nn.LayerNorm(4)), (-2, 2, 1)),
    "root mean square": (Function(lambda x, n: n(x.mT).mT, n=nn.RMSNorm(4)), (-2, 2, 1)),
    "layer norm over time": (Function(lambda x: F.layer_norm(x, x.shape[1:])), EVERYTHING),
    "over channels by hand": (Function(lambda x: F.normalize(x, dim=1)), (-2, 2, 1)),
    "cumulative": (Function(lambda x: x - x.cumsum(-1) / torch.arange(1, x.shape[-1] + 1)), (-INF, 2, 1)),
    "softmax over time": (nn.Softmax(-1), EVERYTHING),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms(name):
    norm, expected = NORMS[name]
    assert facts(as_measured(nn.Sequential(conv(1, 4, padding=1), norm, conv(4, 2, padding=1)), signal())) == expected


@pytest.mark.parametrize(
    "wrapped",
    [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm],
)
def test_parametrised_weights(wrapped):
    module = nn.Sequential(conv(1, 4, padding=1), wrapped(conv(4, 4, dilation=2))).eval()
    assert facts(as_measured(module, signal())) == (-1, 5, 1)
