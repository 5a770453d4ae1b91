"""Traced fields of resampling, pooling and Fourier transforms: by their formulas, and as autograd measures them."""

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
SCALES = [2, 4, 1.5, 0.5, 0.75, 2.5, 1 / 3]


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize("scale", SCALES)
def test_interpolation_by_a_factor(mode, scale):
    traced = as_measured(lambda x: F.interpolate(x, scale_factor=scale, mode=mode), signal())
    assert traced.fields[0].stride == Fraction(1 / scale).limit_denominator(100)
    exact = scale == 1 / 3  # a linear mix of thirds meets its middle input
    assert traced.fields[0].receptive_field == (2 if mode == "linear" and not exact else 1)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("scale", [2.0, 0.5, 0.75])
def test_interpolation_of_two_axes(mode, antialias, scale):
    """Windows are stretched by a factor below one if antialiased, and only then."""
    traced = as_measured(
        lambda x: F.interpolate(x, scale_factor=(scale, 1), mode=mode, antialias=antialias), torch.zeros(1, 1, 40, 20)
    )
    width = {"bilinear": 2, "bicubic": 4}[mode]
    expected = {0.5: 2 * width, 0.75: {2: 3, 4: 6}[width]}.get(scale, width) if antialias else width
    assert facts(traced, 0) == (0, 0, 1)
    assert traced.fields[1].receptive_field == expected


RESAMPLED = {
    "twice the length": (lambda x: F.interpolate(x, size=2 * x.shape[-1]), (0, 0, Fraction(1, 2))),
    "aligned corners": (
        lambda x: F.interpolate(x, size=2 * x.shape[-1] - 1, mode="linear", align_corners=True),
        (0, 0, Fraction(1, 2)),
    ),
    "factor computed again": (
        lambda x: F.interpolate(x, scale_factor=1.3, mode="linear", recompute_scale_factor=True),
        (-1, 0, Fraction(10, 13)),
    ),
    "44.1 to 48 kHz": (lambda x: F.interpolate(x, scale_factor=160 / 147), (0, 0, Fraction(147, 160))),
    "area": (lambda x: F.interpolate(x, scale_factor=0.5, mode="area"), (0, 1, 2)),
    "repeated": (lambda x: x.repeat_interleave(3, -1), (0, 0, Fraction(1, 3))),
    "decimated": (lambda x: x[..., 1::3], (1, 1, 3)),
    "picked": (lambda x: x[..., torch.arange(0, x.shape[-1], 3)], (0, 0, 3)),
    "gathered": (
        lambda x: x.gather(-1, (torch.arange(x.shape[-1]) - 2).clamp(min=0).expand(x.shape)),
        (-2, -2, 1),
    ),
    "added in pairs": (
        lambda x: x.new_zeros(1, 1, x.shape[-1] // 2).index_add(-1, torch.arange(x.shape[-1]) // 2, x),
        (0, 1, 2),
    ),
    "scattered": (lambda x: torch.zeros_like(x).scatter(-1, torch.arange(x.shape[-1]).expand(x.shape), x), (0, 0, 1)),
    "differences": (lambda x: x.diff(dim=-1), (0, 1, 1)),
    "rolled": (lambda x: x + x.roll(3, -1), (-3, 0, 1)),
    "flipped twice": (lambda x: F.conv1d(x.flip(-1), torch.ones(1, 1, 3), dilation=2).flip(-1), (0, 4, 1)),
    "median of five": (lambda x: x.unfold(-1, 5, 1).median(-1)[0], (0, 4, 1)),
    "quantile of five": (lambda x: x.unfold(-1, 5, 1).quantile(0.3, dim=-1), (0, 4, 1)),
    "variance of five": (lambda x: x.unfold(-1, 5, 2).var(-1), (0, 4, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", RESAMPLED)
def test_resampling(name):
    function, expected = RESAMPLED[name]
    assert facts(as_measured(function, signal())) == expected


POOLS = {
    "max, dilated": (nn.MaxPool1d(3, 2, 1, dilation=2), (-2, 4, 2)),
    "max, beyond the end": (nn.MaxPool1d(3, 2, 1, ceil_mode=True), (-2, 2, 2)),
    "max with places": (nn.MaxPool1d(2, return_indices=True), (-1, 2, 2)),
    "average, beyond the end": (nn.AvgPool1d(5, 3, 2, ceil_mode=True, count_include_pad=False), (-3, 3, 3)),
    "norm": (nn.LPPool1d(2, 3, 2), (-1, 3, 2)),
    "half": (Function(lambda x: F.adaptive_avg_pool1d(x, x.shape[-1] // 2)), (-1, 2, 2)),
    "two thirds": (Function(lambda x: F.adaptive_max_pool1d(x, x.shape[-1] * 2 // 3)), (-1, 2, Fraction(3, 2))),
    "all": (nn.AdaptiveAvgPool1d(1), EVERYTHING),
    "without a batch": (Function(lambda x: F.avg_pool1d(x[0], 3)[None]), (-1, 3, 3)),
}


@pytest.mark.parametrize("name", POOLS)
def test_pooling(name):
    pool, expected = POOLS[name]
    module = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), pool)
    assert facts(as_measured(module, signal())) == expected


def test_pooling_of_two_axes():
    module = nn.Sequential(nn.MaxPool2d((2, 3)), nn.AvgPool2d((3, 1), padding=(1, 0)))
    traced = as_measured(module, torch.zeros(1, 1, 40, 40))
    assert [facts(traced, axis) for axis in (0, 1)] == [(0, 2, 3), (-2, 3, 6)]


@pytest.mark.parametrize("count", [5, 100])
def test_so_many_outputs_of_any_input_read_more_of_a_longer_one(count):
    traced = trace(nn.Sequential(nn.Conv1d(1, 1, 21), nn.AdaptiveAvgPool1d(count)), signal(1, 2000))
    assert facts(traced)[:2] == (-INF, INF)
    assert f"makes {count} outputs of any input" in traced.notes[0]


def test_pooling_over_frequency_leaves_time_alone():
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d((1, None)))
    traced = as_measured(module, torch.zeros(1, 1, 20, 40))
    assert facts(traced, 0) == (-1, 1, 1)
    assert facts(traced, 1) == EVERYTHING
    assert "frequency: the output has no such axis, it reads all of the input" in traced.notes


HANN = torch.hann_window(64)  # periodic: its first value is zero
BOX = torch.ones(64)


def stft(x, **options):
    return torch.stft(x[:, 0], 64, 16, return_complex=True, **options)


def istft(spectrum, **options):
    return torch.istft(spectrum, 64, 16, **options)


TRANSFORMS = {
    "frames": (lambda x: stft(x, window=HANN, center=False).abs(), (1, 63, 16)),
    "centred frames": (lambda x: stft(x, window=HANN).abs(), (-31, 31, 16)),
    "centred, zeros": (lambda x: stft(x, window=BOX, pad_mode="constant").abs(), (-32, 31, 16)),
    "short window": (lambda x: stft(x, window=torch.ones(40), win_length=40).abs(), (-20, 19, 16)),
    "power": (
        lambda x: torch.view_as_real(torch.stft(x[:, 0], 64, 16, window=BOX, center=False, return_complex=True))
        .square()
        .sum(-1),
        (0, 63, 16),
    ),
    "log mel": (
        lambda x: (torch.ones(10, 33) @ stft(x, window=HANN).abs().square()).clamp(min=1e-5).log(),
        (-31, 31, 16),
    ),
    "rfft of frames": (lambda x: torch.fft.rfft(x[:, 0].unfold(-1, 32, 8) * BOX[:32]).abs().mT, (0, 31, 8)),
    "rfft of their beginnings": (lambda x: torch.fft.rfft(x[:, 0].unfold(-1, 32, 8), n=20).abs().mT, (0, 19, 8)),
    "rfft of padded frames": (lambda x: torch.fft.rfft(x[:, 0].unfold(-1, 32, 8), n=64).abs().mT, (0, 31, 8)),
    "blocks there and back": (
        lambda x: torch.fft.irfft(torch.fft.rfft(x[:, 0].unfold(-1, 32, 32)) * 2).flatten(1),
        (0, 31, 1),
    ),
    "there and back": (lambda x: istft(stft(x, window=HANN) * 2, window=HANN), (-47, 47, 1)),
    "there and back, as long": (
        lambda x: istft(stft(x, window=HANN) * 2, window=HANN, length=x.shape[-1]),
        (-47, 47, 1),
    ),
    "long convolution": (
        lambda x: torch.fft.irfft(torch.fft.rfft(x, n=2 * x.shape[-1]) * 0.5, n=2 * x.shape[-1])[..., : x.shape[-1]],
        EVERYTHING,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    function, expected = TRANSFORMS[name]
    assert facts(as_measured(function, signal(1, 320))) == expected


def test_every_phase_of_an_overlap_add():
    """Windows of 63 samples every 16, on either side: the first sample of a hop has one frame fewer."""
    traced = as_measured(lambda x: istft(stft(x, window=HANN), window=HANN), signal(1, 320))
    field = traced.fields[0]
    assert (field.outputs, field.smallest_receptive_field, field.receptive_field) == (16, 95, 111)
