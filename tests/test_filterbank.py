"""The learned front end begins as a mel filter bank of waves, streams, and is trained."""

import math

import pytest
import torch

from wavedil.config import FeatureConfig
from wavedil.features import FLOOR
from wavedil.filterbank import FilterEnergies, waves
from wavedil.testing import verify_streaming_contract

RATE = 16_000
CONFIG = FeatureConfig(n_mels=80)


def sine(hertz: float, phase: float = 0.0, seconds: float = 0.5) -> torch.Tensor:
    time = torch.arange(round(RATE * seconds)) / RATE
    return torch.sin(2 * math.pi * hertz * time + phase)[None, None]


def centre(band: int) -> float:
    """Of a mel band, in Hz."""
    low, high = (2595 * math.log10(1 + f / 700) for f in (CONFIG.f_min, RATE / 2))
    return 700 * (10 ** ((low + (high - low) * (band + 1) / (CONFIG.n_mels + 1)) / 2595) - 1)


@pytest.mark.parametrize("band", [8, 20, 40, 60, 78])
def test_a_full_scale_sine_gives_one_in_the_band_of_its_frequency(band):
    frames = FilterEnergies(RATE, CONFIG)(sine(centre(band)))[0, :, 2:].detach()
    assert (frames.argmax(0) == band).all()
    torch.testing.assert_close(frames[band], torch.zeros_like(frames[band]), atol=0.02, rtol=0)


@pytest.mark.parametrize("phase", [0.3, 1.0, 2.0])
def test_the_phase_of_a_wave_does_not_matter(phase):
    filters = FilterEnergies(RATE, CONFIG)
    loudest = filters(sine(1000)).argmax(1)[0, 5]
    energies = [filters(sine(1000, shift))[0, loudest, 5].item() for shift in (0.0, phase)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-3)


def test_silence_is_the_floor():
    frames = FilterEnergies(RATE, CONFIG)(torch.zeros(1, 1, 3200))
    torch.testing.assert_close(frames, torch.full((1, 80, 10), math.log(FLOOR)))


def test_filters_are_as_long_as_the_window_or_four_periods_of_their_band():
    begun = waves(RATE, CONFIG)
    assert begun.shape == (160, 480)
    spans = (begun[:80].abs() + begun[80:].abs() > 0).sum(1)
    assert spans[0] >= 478
    assert spans[-1] < 300
    assert (spans.diff() <= 0).all()


def test_it_streams():
    small = FeatureConfig(win_length=40, hop_length=16, n_mels=5)
    report = verify_streaming_contract(FilterEnergies(RATE, small), backends=("export", "onnx"))
    assert set(report.backends) == {"export", "onnx"}


def test_it_is_trained():
    filters = FilterEnergies(RATE, CONFIG)
    filters(sine(1000)).sum().backward()
    assert filters.weight.grad is not None
    assert filters.weight.grad.abs().sum(1).min() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"win_length": 100, "hop_length": 200}, "expected 1 <= hop_length <= win_length, got 200, 100"),
        ({"f_max": 9000.0}, "f_max: expected a number above 0 and at most 8000, got 9000.0"),
    ],
)
def test_errors_say_what_was_expected(settings, message):
    with pytest.raises(ValueError, match=message):
        FilterEnergies(RATE, FeatureConfig(**settings))
