from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from recordings import tone, write

from wavedil.data.decode import decode, fit_length
from wavedil.data.torchaudio_compat import torchaudio


def test_pcm_comes_back_bit_for_bit(tmp_path: Path) -> None:
    samples = np.array([0, 1, -1, 32767, -32768, 1234], np.int16)
    assert decode(write(tmp_path / "a.wav", samples), 16_000).tolist() == samples.tolist()
    assert decode(write(tmp_path / "a.flac", samples), 16_000).tolist() == samples.tolist()


@pytest.mark.parametrize(("suffix", "tolerance"), [("ogg", 0.05), ("mp3", 0.05), ("aiff", 1e-4), ("au", 1e-4)])
def test_formats(tmp_path: Path, suffix: str, tolerance: float) -> None:
    wave = tone(440, 0.5)
    found = decode(write(tmp_path / f"a.{suffix}", wave), 16_000) / 32768
    middle = slice(2000, 6000)  # lossy codecs change the ends
    assert np.sqrt(np.mean((found[middle] - wave[middle]) ** 2)) < tolerance


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = tone(300), tone(500)
    both = decode(write(tmp_path / "a.wav", np.stack([left, right], axis=1)), 16_000)
    assert np.abs(both / 32768 - (left + right) / 2).max() < 1e-4


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled_as_torchaudio_does(tmp_path: Path, rate: int) -> None:
    wave = tone(440, 0.25, rate)
    found = decode(write(tmp_path / "a.wav", wave, rate, subtype="FLOAT"), 16_000)
    expected = torchaudio().functional.resample(torch.from_numpy(wave), rate, 16_000).numpy()
    assert found.shape == expected.shape
    assert np.abs(found / 32768 - expected).max() < 1e-4


def test_too_loud_is_clipped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.array([1.5, -1.5, 0.5]), subtype="FLOAT")
    assert decode(path, 16_000).tolist() == [32767, -32768, 16384]


def test_cut_short_is_refused_though_libsndfile_reads_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(300))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert len(soundfile.read(path)[0])
    with pytest.raises(ValueError, match=r"a\.wav: cut short: 1,622 of 3,244 bytes"):
        decode(path, 16_000)


def test_a_wav_from_a_pipe_has_no_size_and_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(300))
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(decode(path, 16_000)) == 1600


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not audio at all", bytes(100)])
def test_not_audio(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.wav"):
        decode(path, 16_000)


@pytest.mark.parametrize("samples", [[], [0.1, np.nan], [np.inf, 0.0]])
def test_empty_or_not_finite(tmp_path: Path, samples: list[float]) -> None:
    path = write(tmp_path / "a.wav", np.array(samples), subtype="FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav"):
        decode(path, 16_000)


waves = hnp.arrays(np.int16, st.integers(1, 40))


@given(waves, st.integers(1, 40))
def test_the_length_fits_and_the_window_has_the_most_energy(samples: np.ndarray, length: int) -> None:
    found = fit_length(samples, length)
    assert (len(found), found.dtype) == (length, np.int16)
    if len(samples) <= length:
        assert found[: len(samples)].tolist() == samples.tolist()
        assert not found[len(samples) :].any()
    else:
        energies = [int((samples[i : i + length].astype(int) ** 2).sum()) for i in range(len(samples) - length + 1)]
        assert int((found.astype(int) ** 2).sum()) == max(energies)
        assert found.tolist() == samples[energies.index(max(energies)) :][:length].tolist()
