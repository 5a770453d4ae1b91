"""The log-mel front end against torchaudio, a pure tone, and the contract."""

import numpy as np
import pytest
import torch
from sweeps import sweep

from wavedil.config import FeatureConfig
from wavedil.data.torchaudio_compat import torchaudio
from wavedil.features import FLOOR, LogMel, mel_filters
from wavedil.testing import verify_streaming_contract

CONFIG = FeatureConfig(hop_length=160)


@pytest.mark.parametrize("backend", sweep(["capture", "export", "onnx"], "capture".__eq__))  # test_export.py has ONNX
def test_contract_and_exports(backend):
    small = FeatureConfig(n_fft=64, win_length=48, hop_length=16, n_mels=5)
    verify_streaming_contract(LogMel(16_000, small), backends=(backend,))


def test_filters_are_torchaudios():
    theirs = torchaudio().functional.melscale_fbanks(257, 20.0, 8000.0, 40, 16_000, norm=None, mel_scale="htk")
    torch.testing.assert_close(mel_filters(16_000, CONFIG).float(), theirs, atol=1e-4, rtol=0)


def test_frames_by_numpy():
    waveform = np.random.default_rng(0).standard_normal(1600).astype(np.float32)
    features = LogMel(16_000, CONFIG)(torch.from_numpy(waveform)[None, None])[0].numpy()
    window = np.hanning(481)[:-1]
    padded = np.concatenate([np.zeros(320), waveform])
    for n in range(10):
        spectrum = np.fft.rfft(padded[160 * n : 160 * n + 480] * window * 2 / window.sum(), 512)
        expected = np.log(np.abs(spectrum) ** 2 @ mel_filters(16_000, CONFIG).numpy() + FLOOR)
        np.testing.assert_allclose(features[:, n], expected, atol=1e-4)


def test_a_full_scale_tone_is_near_zero_decibels_in_its_band():
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)
    frame = LogMel(16_000, CONFIG)(tone[None, None])[0, :, 50]
    centre = mel_filters(16_000, CONFIG)[32].argmax()
    assert frame.argmax() == centre
    assert 0 < frame.max() < 1.2  # the window spreads the tone over a few bins


def test_autocast_leaves_the_features_alone():
    waveform = 1e-3 * torch.randn(1, 1, 1600)
    features = LogMel(16_000)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(features(waveform), features(waveform.float()))
    assert features(waveform).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_the_features_and_nothing_else(dtype):
    waveform = (1e-3 * torch.randn(1, 1, 1600)).to(dtype)
    exact = LogMel(16_000)
    expected = exact(waveform.float())
    half = LogMel(16_000).to(dtype)
    assert torch.equal(half(waveform), expected.to(dtype))
    assert torch.equal(half.float()(waveform.float()), expected)  # the window did not lose its digits
    assert half.double()(waveform.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (FeatureConfig(win_length=100, hop_length=160), "hop_length <= win_length <= n_fft, got 160, 100, 512"),
        (FeatureConfig(f_max=9000.0), "f_max: expected a number above 0 and at most 8000, got 9000.0"),
        (FeatureConfig(n_mels=200), "hold no Fourier bin: n_mels 200 is too many for n_fft 512 at 16000 Hz"),
    ],
)
def test_errors_say_what_was_expected(config, message):
    with pytest.raises(ValueError, match=message):
        LogMel(16_000, config)
