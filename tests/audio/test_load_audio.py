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


@pytest.mark.parametrize(
    "rate",
    [0, -8_000, 99, 1_000_001, 10**400, 16_000.5, "16000", None, True, np.complex64(8_000), float("nan"), float("inf")],
)
def test_wrong_rates_are_named(rate):
    with pytest.raises(
        ValueError, match=r"the audio: expected a sample rate (in whole Hz|of 100 to 1,000,000 Hz), got "
    ):
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


def mixed(*channels: np.ndarray):
    return load_audio((np.stack(channels), 16_000), 16_000)


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_of_channels_that_cancel_the_loudest_is_taken(offset):
    x = tone(16_000) + offset
    for first, second, loudest in ((x, -x, 0), (0.5 * x, offset - x, 1), (x, -0.9 * x + offset, 0)):
        waveform = mixed(first, second)
        assert waveform.channel == loudest
        np.testing.assert_allclose(waveform.samples, (first, second)[loudest], atol=1e-6)
    assert mixed(x, -x, np.zeros(len(x))).channel == 0


def test_of_other_channels_the_mean_is_taken():
    x, other = tone(16_000), tone(16_000, frequency=300)
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, len(x)))
    for channels in (
        (x, x),
        (x, 0 * x),
        (x, -0.2 * x),
        (x, other),
        (x, noise[0]),
        tuple(noise),
        (x, *noise),
        (0 * x, 0 * x),
    ):
        waveform = mixed(*channels)
        assert waveform.channel is None
        np.testing.assert_allclose(waveform.samples, np.mean(channels, axis=0), atol=1e-6)


def test_a_pair_the_other_way_round_is_named():
    with pytest.raises(ValueError, match=r"got \(sample_rate, samples\): swap them"):
        load_audio((16_000, np.zeros(10)), 16_000)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0, 99, 16_000.5, True, "16000"])
def test_a_wrong_wanted_rate_is_named(rate):
    with pytest.raises(ValueError, match="sample_rate: expected a sample rate"):
        load_audio((np.zeros(10), 16_000), rate)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.dtype(">f4"), np.dtype(">i2"), np.dtype(">i4")])
def test_floats_and_integers_of_any_width_and_byte_order(dtype):
    scale = 2.0 ** (8 * np.dtype(dtype).itemsize - 1) if np.dtype(dtype).kind == "i" else 1.0
    samples = as_samples((np.array([0.0, 0.25, -0.5]) * scale).astype(dtype))
    assert samples.tolist() == [[0.0, 0.25, -0.5]]


def test_a_tensor_of_bfloat16_is_taken():
    assert as_samples(torch.tensor([0.0, 0.5], dtype=torch.bfloat16)).tolist() == [[0.0, 0.5]]


@pytest.mark.parametrize(
    "values", [[[0.1], [0.1, 0.2]], torch.zeros(2, 2).to_sparse(), np.zeros(3, complex), [None], b"ab"]
)
def test_what_is_no_array_of_samples_is_named(values):
    with pytest.raises(ValueError, match="the audio: expected"):
        as_samples(values)


def test_what_does_not_fit_into_memory_is_refused_before(monkeypatch):
    monkeypatch.setattr("wavedil.audio.samples.MOST", 1_000)
    with pytest.raises(ValueError, match=r"the audio: it has 1,001 samples, at most 1,000 are taken: split it"):
        load_audio((np.zeros(1_001), 16_000), 16_000)
    with pytest.raises(ValueError, match="the audio: it has 1,600 samples"):
        load_audio((np.zeros(100), 1_000), 16_000)
