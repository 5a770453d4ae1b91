"""Keyword models: one definition offline, in the training path, streamed and exported."""

import copy
import dataclasses

import pytest
import torch
from sweeps import sweep
from torch import nn

from wavedil.config import FeatureConfig, ModelConfig
from wavedil.layers.interleave import run_interleaved
from wavedil.models import build_model
from wavedil.streaming import Stream
from wavedil.testing import verify_streaming_contract

SMALL = {
    "mel": ModelConfig(
        name="mel", channels=4, skip_channels=5, cycles=1, depth=2, window_ms=20.0, norm="batch",
        features=FeatureConfig(n_fft=64, win_length=64, hop_length=32, n_mels=6),
    ),
    "raw": ModelConfig(
        name="raw", channels=4, skip_channels=5, cycles=1, depth=2, window_ms=20.0, norm="rms", gate="glu",
        stem_channels=[4, 4], stem_strides=[4, 4],
    ),
    "filters": ModelConfig(
        name="raw", stem="filters", channels=4, skip_channels=5, cycles=1, depth=2, window_ms=20.0,
        features=FeatureConfig(win_length=64, hop_length=32, n_mels=6),
    ),
    "entry": ModelConfig(
        name="mel", channels=4, skip_channels=5, cycles=1, depth=2, window_ms=20.0, entry_channels=[3, 2],
        features=FeatureConfig(n_fft=128, win_length=64, hop_length=32, n_mels=10),
    ),
    "broadcast": ModelConfig(
        name="broadcast", width=0.5, channels=6, skip_channels=10, window_ms=20.0, bands=3, stage_channels=[6, 8],
        stage_blocks=[1, 1], stage_dilations=[1, 2], stage_strides=[1, 2],
        features=FeatureConfig(n_fft=128, win_length=64, hop_length=32, n_mels=12),
    ),
}  # fmt: skip


VARIANTS = [(name, boundary) for name in SMALL for boundary in ("zeros", "silence")]


def small(name: str, boundary: str = "zeros"):
    torch.manual_seed(0)
    model = build_model(dataclasses.replace(SMALL[name], boundary=boundary), n_classes=3)
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            assert layer.running_mean is not None
            layer.running_mean.normal_()
            layer.bias.data.normal_()
    return model.eval()


@pytest.mark.parametrize(("name", "boundary"), sweep(VARIANTS, set(VARIANTS[::3]).__contains__))
def test_contract(name, boundary):
    verify_streaming_contract(small(name, boundary), chunkings=1)


@pytest.mark.full
@pytest.mark.parametrize(("name", "boundary"), sweep(VARIANTS, {("raw", "silence")}.__contains__))
def test_captured(name, boundary):
    verify_streaming_contract(small(name, boundary), chunkings=1, backends=("capture",))


# The layers of all have tests of their own in which they are exported.
@pytest.mark.parametrize("name", sweep(SMALL, {"raw"}.__contains__))
def test_pcm_in_logits_out_in_onnx(name):
    verify_streaming_contract(small(name), chunkings=1, backends=("export", "onnx"))


@pytest.mark.full
@pytest.mark.parametrize("name", list(SMALL))
def test_compiled_by_inductor(name):
    verify_streaming_contract(small(name, "silence"), chunkings=1, backends=("compile",))


@pytest.mark.full
@pytest.mark.parametrize("name", ["mel", "raw", "broadcast"])
def test_the_default_sizes_keep_the_contract(name):
    verify_streaming_contract(build_model(ModelConfig(name=name), 12), chunkings=1, backends=("onnx",))


@pytest.mark.parametrize("samples", [100, 320, 1600])
@pytest.mark.parametrize("boundary", ["zeros", "silence"])
@pytest.mark.parametrize("name", list(SMALL))
def test_clip_logits_are_those_of_the_last_frame(name, boundary, samples):
    model = small(name, boundary)
    waveform = torch.randn(2, 1, samples)
    torch.testing.assert_close(model.clip_logits(waveform), model(waveform)[..., -1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("boundary", ["zeros", "silence"])
@pytest.mark.parametrize("name", [name for name in SMALL if name != "raw"])
def test_a_batch_as_one_signal_gives_the_same(name, boundary):
    model = small(name, boundary).double().train()
    features = model.features(torch.randn(5, 1, 640, dtype=torch.float64))
    expected = copy.deepcopy(model).classify(features)  # a copy, since running statistics move
    torch.testing.assert_close(model.classify(features, run_interleaved), expected, atol=1e-12, rtol=0)


def test_silence_is_constant():
    model = small("raw", "silence")
    logits = model(torch.zeros(1, 1, 1600))
    torch.testing.assert_close(logits, logits[..., :1].expand_as(logits), atol=1e-6, rtol=0)


def test_every_parameter_is_trained():
    for name in SMALL:
        model = small(name).train()
        model.clip_logits(torch.randn(2, 1, 1600)).square().sum().backward()
        idle = [key for key, parameter in model.named_parameters() if parameter.grad is None]
        assert not idle


def test_covers_the_clip():
    for name in ("mel", "raw", "broadcast"):
        model = build_model(ModelConfig(name=name), 35)
        assert model.receptive_field_seconds() >= 1.0
        assert model.lookahead == 0
        assert model.latency_seconds() < 0.0201


def test_stages_must_match():
    with pytest.raises(ValueError, match=r"as many stem_channels as stem_strides, got \[4, 4\] and \[4\]"):
        build_model(ModelConfig(name="raw", stem_channels=[4, 4], stem_strides=[4]), 3)
    with pytest.raises(ValueError, match=r"as many stage_channels as stage_blocks, .* got 4, 3, 4, 4"):
        build_model(ModelConfig(name="broadcast", stage_blocks=[1, 1, 1]), 3)
    with pytest.raises(ValueError, match=r"5 does not divide 24 \(n_mels 48, stage_strides \[1, 2, 2, 1\]\)"):
        build_model(ModelConfig(name="broadcast", features=FeatureConfig(n_mels=48)), 3)


@pytest.mark.parametrize("name", ["mel", "raw", "broadcast"])
def test_the_width_multiplies_the_channels(name):
    base = ModelConfig(name=name, channels=16, skip_channels=32)
    sizes = {width: sum(p.numel() for p in build_model(dataclasses.replace(base, width=width), 12).parameters())
             for width in (0.5, 1.0, 2.0)}  # fmt: skip
    assert 2 < sizes[1.0] / sizes[0.5] < 4
    assert 2 < sizes[2.0] / sizes[1.0] < 4
    wide = dataclasses.replace(base, width=2.0)
    assert wide.widened() == dataclasses.replace(wide.widened(), width=1.0)
    with pytest.raises(ValueError, match=r"width: expected a number above 0 .*, got 0"):
        build_model(dataclasses.replace(base, width=0.0), 12)


def test_broadcast_models_have_the_published_sizes():
    # Kim et al. 2021, table 2: BC-ResNet-1, -2, -3 and -8 of 12 classes have 9.2, 27.3, 54.2 and 321 thousand.
    for width, thousands in ((1, 9.2), (2, 27.3), (3, 54.2), (8, 321)):
        model = build_model(ModelConfig(name="broadcast", channels=16, skip_channels=32, width=width), 12)
        assert sum(p.numel() for p in model.parameters()) / 1000 == pytest.approx(thousands, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", SMALL)
def test_half_precision_is_near_float32_offline_and_streamed(name, dtype):
    torch.manual_seed(0)
    model = build_model(SMALL[name], 3, 8000).eval()
    waveform = 0.1 * torch.randn(1, 1, 3200)
    half = copy.deepcopy(model).to(dtype)
    with torch.no_grad():
        expected, found = model(waveform), half(waveform.to(dtype))
    assert found.dtype == dtype
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()
    assert torch.equal(Stream(half).push(waveform.to(dtype)), found)
