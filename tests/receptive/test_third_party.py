"""Modules that nobody here wrote: traced, held against their gradients, and against what is known of them."""

import pytest
import torch
from networks import as_measured
from pytorch_tcn import TCN
from sweeps import sweep
from torch import Tensor, nn

from wavedil.data.torchaudio_compat import torchaudio
from wavedil.receptive.trace.module import trace


def finite(module: nn.Module) -> nn.Module:
    """The module without the norms that read all of time."""
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm):
            setattr(module, name, nn.Identity())
        else:
            finite(child)
    return module


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("options", [{}, {"use_gate": True, "use_skip_connections": True}], ids=["plain", "gated"])
def test_pytorch_tcn(causal, options):
    # Two convolutions of 4 taps in each of 4 blocks with dilations 1 to 8: 1 + 2 * 3 * 15.
    module = TCN(2, [4] * 4, kernel_size=4, dilations=[1, 2, 4, 8], causal=causal, **options).eval()
    (field,) = as_measured(module, torch.zeros(1, 2, 100)).fields
    assert field.receptive_field == 91
    assert field.lookahead == (0 if causal else field.receptive_field - 1 - field.history)
    assert (field.lookahead == 0) == causal


@pytest.mark.full  # it has 23 million weights
@pytest.mark.parametrize("traced", [trace, as_measured])
def test_wav2letter(traced):
    module = torchaudio().models.Wav2Letter(num_classes=3, input_type="waveform", num_features=1).eval()
    (field,) = traced(module, torch.zeros(1, 1, 8000)).fields
    # Kernels 250, 48, seven of 7, 32, 1 and 1, with strides 160 and 2 in the first two.
    assert field.receptive_field == 250 + 160 * 47 + 320 * (7 * 6 + 31) == 31_130
    assert field.stride == 320


def conv_tasnet() -> nn.Module:
    return torchaudio().models.ConvTasNet(
        num_sources=2,
        enc_kernel_size=16,
        enc_num_feats=8,
        msk_num_feats=4,
        msk_num_hidden_feats=8,
        msk_num_layers=3,
        msk_num_stacks=2,
    )


@pytest.mark.full
def test_conv_tasnet_reads_everything_by_its_norms():
    (field,) = as_measured(conv_tasnet().eval(), torch.zeros(1, 1, 400)).fields
    assert field.receptive_field == float("inf")
    assert field.lookahead == float("inf")


def test_conv_tasnet_without_its_norms():
    (field,) = as_measured(finite(conv_tasnet()).eval(), torch.zeros(1, 1, 400)).fields
    # Frames of 16, 8 apart; two stacks of three-tap layers with dilations 1, 2, 4 reach 14 frames to either side; the
    # decoder lays two frames over each sample.
    frames = 1 + 2 * 2 * 7
    assert field.receptive_field == 16 + 8 * (frames - 1) + 8
    assert field.stride == 1


def test_upsampling_of_wavernn():
    factors = [2, 3]
    module = (
        torchaudio()
        .models.wavernn.UpsampleNetwork(
            upsample_scales=factors, n_res_block=1, n_freq=4, n_hidden=4, n_output=4, kernel_size=5
        )
        .eval()
    )

    (field,) = as_measured(First(module), torch.zeros(1, 4, 40)).fields
    assert field.outputs == 6
    assert field.inputs == 1
    # Seven neighbours of three copies each are three values, of five neighbours of two copies each: four inputs.
    assert (field.smallest_receptive_field, field.receptive_field) == (4, 4)


class First(nn.Module):
    """The first thing that a module gives."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)[0]


class Aspp(nn.Module):
    """Parallel dilated convolutions over an image, as torchvision arranges them, by hand.

    Args:
        rates: dilations of the 3x3 branches.
        pooled: whether one branch is the average of the image.
    """

    def __init__(self, rates: tuple[int, ...], pooled: bool) -> None:
        super().__init__()
        branches = [nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.BatchNorm2d(3), nn.ReLU())]
        for rate in rates:
            conv = nn.Conv2d(2, 3, 3, padding=rate, dilation=rate, bias=False)
            branches.append(nn.Sequential(conv, nn.BatchNorm2d(3), nn.ReLU()))
        self.branches = nn.ModuleList(branches)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 3, 1), nn.ReLU()) if pooled else None
        self.project = nn.Conv2d(3 * (len(branches) + pooled), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        results = [branch(x) for branch in self.branches]
        if self.pool is not None:
            pooled = self.pool(x)
            results.append(nn.functional.interpolate(pooled, size=x.shape[-2:], mode="bilinear", align_corners=False))
        return self.project(torch.cat(results, dim=1))


RATES = [((2, 3), 7), ((6, 12, 18), 37), ((12, 24, 36), 73), ((6, 12, 18, 24), 49)]


@pytest.mark.parametrize(("rates", "expected"), sweep(RATES, RATES[:1].__contains__))
def test_aspp(rates, expected):
    traced = as_measured(Aspp(rates, pooled=False).eval(), torch.zeros(1, 2, *(2 * (expected // 2) + 10,) * 2))
    assert [field.receptive_field for field in traced.fields] == [expected, expected]
    assert [taps.reached(0) for taps in traced.taps if taps is not None] == [2 * len(rates) + 1] * 2


@pytest.mark.full
def test_aspp_with_image_pooling_reads_everything():
    traced = as_measured(Aspp((2,), pooled=True).eval(), torch.zeros(1, 2, 12, 12))
    assert [field.receptive_field for field in traced.fields] == [float("inf")] * 2
