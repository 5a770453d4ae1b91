"""Keyword models: one definition offline, in the training path, streamed and exported."""

import dataclasses

import pytest
import torch
from torch import nn

from wavedil.config import FeatureConfig, ModelConfig
from wavedil.models import build_model
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
}  # fmt: skip


def small(name: str, boundary: str = "zeros"):
    torch.manual_seed(0)
    model = build_model(dataclasses.replace(SMALL[name], boundary=boundary), n_classes=3)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d):
            assert layer.running_mean is not None
            layer.running_mean.normal_()
            layer.bias.data.normal_()
    return model.eval()


@pytest.mark.parametrize("boundary", ["zeros", "silence"])
@pytest.mark.parametrize("name", ["mel", "raw"])
def test_contract(name, boundary):
    verify_streaming_contract(small(name, boundary), chunkings=2, backends=("capture",))


@pytest.mark.parametrize("name", ["mel", "raw"])
def test_pcm_in_logits_out_in_onnx(name):
    verify_streaming_contract(small(name), chunkings=1, backends=("export", "onnx"))


@pytest.mark.full
@pytest.mark.parametrize("name", ["mel", "raw"])
def test_compiled_by_inductor(name):
    verify_streaming_contract(small(name, "silence"), chunkings=1, backends=("compile",))


@pytest.mark.full
@pytest.mark.parametrize("name", ["mel", "raw"])
def test_the_default_sizes_keep_the_contract(name):
    verify_streaming_contract(build_model(ModelConfig(name=name), 12), chunkings=1, backends=("onnx",))


@pytest.mark.parametrize("samples", [100, 320, 1600])
@pytest.mark.parametrize("boundary", ["zeros", "silence"])
@pytest.mark.parametrize("name", ["mel", "raw"])
def test_clip_logits_are_those_of_the_last_frame(name, boundary, samples):
    model = small(name, boundary)
    waveform = torch.randn(2, 1, samples)
    torch.testing.assert_close(model.clip_logits(waveform), model(waveform)[..., -1], atol=1e-6, rtol=0)


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
    for name in ("mel", "raw"):
        model = build_model(ModelConfig(name=name), 35)
        assert model.receptive_field_seconds() >= 1.0
        assert model.lookahead == 0
        assert model.latency_seconds() < 0.0201


def test_stages_must_match():
    with pytest.raises(ValueError, match=r"as many stem_channels as stem_strides, got \[4, 4\] and \[4\]"):
        build_model(ModelConfig(name="raw", stem_channels=[4, 4], stem_strides=[4]), 3)
