import sys
from pathlib import Path

import numpy as np
import pytest

from wavedil.data.espeak import SAMPLE_RATE, Espeak, data_path
from wavedil.data.speakers import ACCENTS, HIGH_VARIANTS, LOW_VARIANTS


@pytest.fixture(scope="module")
def voice() -> Espeak:
    return Espeak()


def fundamental(waveform: np.ndarray) -> float:
    """In Hz, by the autocorrelation of the loudest tenth of a second."""
    size = SAMPLE_RATE // 10
    energy = np.convolve(waveform.astype(np.float64) ** 2, np.ones(size), "valid")
    piece = waveform[energy.argmax() :][:size].astype(np.float64)
    correlation = np.correlate(piece, piece, "full")[size - 1 :]
    shortest, longest = SAMPLE_RATE // 400, SAMPLE_RATE // 60
    return SAMPLE_RATE / (shortest + int(correlation[shortest:longest].argmax()))


def test_a_word_is_heard_and_the_console_stays_quiet(capfd: pytest.CaptureFixture[str]):
    voice = Espeak()
    voice.set_voice("gmw/en-US", "m3")
    waveform = voice.speak("seven")
    assert waveform.dtype == np.int16
    assert 0.2 < len(waveform) / SAMPLE_RATE < 0.9
    assert np.abs(waveform).max() > 3000
    assert capfd.readouterr() == ("", "")


def test_a_second_synthesiser_begins_as_the_first_did():
    first = Espeak()
    length = len(first.speak("seven"))
    first.set_voice("gmw/en-029", "f4")
    first.speak("seven")
    assert abs(len(Espeak().speak("seven")) - length) < 0.05 * length


def test_the_first_synthesiser_is_heard_after_a_second_was_made():
    first = Espeak()
    Espeak().speak("seven")
    assert first.speak("seven").any()


def test_nothing_to_say_is_silence(voice: Espeak):
    assert not voice.speak("").any()


@pytest.mark.parametrize("accent", ACCENTS)
def test_every_voice_of_the_corpus_exists_and_never_overflows(voice: Espeak, accent: str):
    for variant in LOW_VARIANTS + HIGH_VARIANTS:
        voice.set_voice(accent, variant)
        peak = np.abs(voice.speak("stop!", pitch=75, pitch_range=99).astype(int)).max()
        assert 300 < peak < 32767, variant


def test_rate_and_pitch_do_what_they_say(voice: Espeak):
    voice.set_voice("gmw/en", "m3")
    assert len(voice.speak("marvin", rate=250)) < 0.8 * len(voice.speak("marvin", rate=140))
    low, high = (fundamental(voice.speak("four", pitch=pitch, pitch_range=0)) for pitch in (30, 70))
    assert 1.2 * low < high


def test_accents_and_variants_sound_different(voice: Espeak):
    heard = set()
    for accent, variant in (("gmw/en", "m3"), ("gmw/en-US", "m3"), ("gmw/en-US", "f3")):
        voice.set_voice(accent, variant)
        heard.add(voice.speak("dog").tobytes())
    assert len(heard) == 3


def test_unknown_voice_is_refused(voice: Espeak):
    with pytest.raises(ValueError, match=r"no voice 'gmw/en-US\+nobody'"):
        voice.set_voice("gmw/en-US", "nobody")
    with pytest.raises(ValueError, match="no voice 'gmw/en-Mars'"):
        voice.set_voice("gmw/en-Mars")


@pytest.mark.parametrize("folder", ["missing", "x" * 160])
def test_unreadable_voices_are_refused_without_noise(tmp_path: Path, capfd: pytest.CaptureFixture[str], folder: str):
    with pytest.raises(RuntimeError, match="cannot read its voices"):
        Espeak(tmp_path / folder)
    assert capfd.readouterr() == ("", "")


def test_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    for call in (data_path, Espeak):
        with pytest.raises(ModuleNotFoundError, match=r'pip install "wavedil\[demo\]"'):
            call()
