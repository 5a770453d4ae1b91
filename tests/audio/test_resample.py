"""Resampling: the exact length and pitch at every ratio of rates, at bounded cost."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavedil.audio.resample import resample, resampled_length
from wavedil.data.torchaudio_compat import torchaudio

rates = st.integers(100, 1_000_000)


@given(st.integers(1, 50), rates, st.sampled_from([8_000, 16_000, 44_100]))
def test_the_length_is_exact(time, rate, new_rate):
    expected = -(-time * new_rate // rate)
    assert resampled_length(time, rate, new_rate) == expected
    assert resample(np.zeros(time, np.float32), rate, new_rate).shape == (expected,)


@pytest.mark.parametrize("rate", [101, 7_919, 11_025, 22_255, 44_100, 48_001, 96_000, 999_983])
@pytest.mark.parametrize(("new_rate", "share"), [(8_000, 0.7), (16_000, 0.3)])
def test_a_sine_keeps_its_frequency_and_amplitude(rate, new_rate, share):
    frequency = share * min(rate, new_rate) / 2
    length = max(200, rate // 20)
    found = resample(np.sin(2 * np.pi * frequency * np.arange(length) / rate).astype(np.float32), rate, new_rate)
    expected = np.sin(2 * np.pi * frequency * np.arange(len(found)) / new_rate)
    edge = int(10 * max(1.0, new_rate / rate))
    error = (found - expected)[edge:-edge]
    assert np.abs(error).max() < 0.01
    assert len(error) > 50


def test_what_lies_above_the_new_nyquist_frequency_is_gone():
    high = np.sin(2 * np.pi * 11_000 * np.arange(4_800) / 48_000).astype(np.float32)
    assert np.abs(resample(high, 48_000, 16_000)[20:-20]).max() < 0.005


@pytest.mark.parametrize(("rate", "new_rate"), [(44_100, 16_000), (48_000, 16_000), (8_000, 16_000), (22_050, 16_000)])
def test_as_torchaudio_does(rate, new_rate):
    noise = np.random.default_rng(0).uniform(-1, 1, 2_000).astype(np.float32)
    expected = torchaudio().functional.resample(torch.from_numpy(noise), rate, new_rate).numpy()
    np.testing.assert_allclose(resample(noise, rate, new_rate), expected, atol=5e-5)


def test_blocks_do_not_show(monkeypatch):
    noise = np.random.default_rng(0).uniform(-1, 1, 500).astype(np.float32)
    whole = resample(noise, 22_255, 16_000)
    monkeypatch.setattr("wavedil.audio.resample._BLOCK", 100)
    np.testing.assert_array_equal(resample(noise, 22_255, 16_000), whole)
