"""Audio in: any type, rate and channel count comes out the same; what makes no sense is named."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavedil.audio import as_samples, load_audio


def tone(rate: int, seconds: float = 0.5, frequency: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


@given(st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_integer_pcm_is_scaled_and_type_and_container_do_not_matter(seed, n):
    pcm = np.random.default_rng(seed).integers(-(2**15), 2**15, n).astype(np.int16)
    expected = as_samples(pcm.astype(np.float64) / 2**15)
    assert expected.dtype == torch.float32
    assert expected.shape == (1, n)
    for same in (pcm, torch.from_numpy(pcm), pcm.astype(np.int32) * 2**16, (pcm / 2**15).astype(np.float32), pcm[None]):
        torch.testing.assert_close(as_samples(same), expected, rtol=0, atol=0)


def test_unsigned_bytes_are_centred():
    assert as_samples(np.array([0, 128, 192], dtype=np.uint8)).tolist() == [[-1.0, 0.0, 0.5]]


def test_what_is_given_is_not_changed():
    samples = tone(16_000).astype(np.float32)
    before = samples.copy()
    load_audio((samples, 16_000), 16_000).samples.mul_(0)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_255, 44_100, 48_000, 192_000])
def test_resampling_keeps_pitch_and_length(rate):
    waveform = load_audio((tone(rate), rate), 16_000)
    assert waveform.original_rate == rate
    assert len(waveform.samples) == pytest.approx(8_000, abs=2)
    middle, expected = (x[1_000:7_000] for x in (waveform.samples.numpy(), tone(16_000)))
    assert np.abs(middle - expected).max() < 0.02


@pytest.mark.parametrize(("format", "subtype", "tolerance"), [("WAV", "PCM_16", 4e-5), ("WAV", "FLOAT", 1e-7),
                                                              ("FLAC", "PCM_24", 3e-7)])  # fmt: skip
def test_file_and_array_agree(tmp_path, format, subtype, tolerance):
    stereo = np.stack([tone(16_000), tone(16_000, frequency=300)])
    path = tmp_path / f"a.{format.lower()}"
    soundfile.write(path, stereo.T, 16_000, subtype=subtype)
    waveform = load_audio(path, 16_000)
    assert waveform.original_channels == 2
    torch.testing.assert_close(waveform.samples, torch.from_numpy(stereo.mean(axis=0)).float(), rtol=0, atol=tolerance)
    assert torch.equal(waveform.samples, load_audio(str(path), 16_000).samples)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0), "the audio: there are no samples in it"),
        (np.zeros((2, 0)), "the audio: there are no samples in it"),
        (np.zeros((1, 1, 5)), r"the audio: expected shape \(time,\) or \(channels, time\), got \(1, 1, 5\)"),
        (np.float32(0), r"expected shape \(time,\) or \(channels, time\), got \(\)"),
        (np.zeros((5, 2)), r"the audio: shape \(5, 2\) looks like \(time, channels\); pass \(channels, time\)"),
        (np.array([0, 0.1, np.nan]), "the audio: sample 2 is nan"),
        (np.array([[0, 0, 0], [0.1, -np.inf, 0]]), "the audio: sample 1 is -inf"),
        (np.array([0.0, 12_345.0]), r"the audio: samples reach 12345; expected floats in \[-1, 1\]"),
        (np.array([1, 2]), "the audio: expected floats .* got int64"),
        (np.array([True, False]), "got bool"),
        (["a"], "got <U1"),
    ],
)
def test_wrong_samples_are_named(samples, message):
    with pytest.raises(ValueError, match=message):
        load_audio((samples, 16_000), 16_000)


@pytest.mark.parametrize("rate", [0, -8_000, 16_000.5, "16000", None, float("nan"), float("inf")])
def test_wrong_rates_are_named(rate):
    with pytest.raises(ValueError, match="expected a sample rate in whole Hz, got "):
        load_audio((np.zeros(10), rate), 16_000)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(10), r"got an array of shape \(10,\) without its sample rate"),
        (3, "got a int"),
        ((np.zeros(10),), "got a tuple"),
    ],
)
def test_wrong_audio_is_named(audio, message):
    with pytest.raises(ValueError, match=rf"expected a path or \(samples, sample_rate\), {message}"):
        load_audio(audio, 16_000)


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.wav: no such file"):
        load_audio(tmp_path / "none.wav", 16_000)
    with pytest.raises(IsADirectoryError, match="this is a folder, not an audio file"):
        load_audio(tmp_path, 16_000)
    for name in ("text.wav", "text.raw"):
        (tmp_path / name).write_text("not audio")
        with pytest.raises(ValueError, match=rf"{name}: not an audio file that can be read \("):
            load_audio(tmp_path / name, 16_000)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    with pytest.raises(ValueError, match=r"empty\.wav: there are no samples in it"):
        load_audio(tmp_path / "empty.wav", 16_000)


def test_a_wav_cut_short_is_refused_and_one_of_unknown_length_is_read(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1600, dtype=np.float32), 16_000, subtype="PCM_16")
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=r"a\.wav: cut short: 1,000 of 3,244 bytes are there"):
        load_audio(path, 16_000)
    piped = whole[:4] + b"\xff\xff\xff\x7f" + whole[8:40] + b"\xff\xff\xff\x7f" + whole[44:]
    path.write_bytes(piped)
    assert load_audio(path, 16_000).samples.shape == (1600,)
