"""Audio as it comes, a file or an array of any rate and channel count, to one waveform at a model's rate."""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from wavedil.data.torchaudio_compat import torchaudio

Audio = str | Path | tuple[ArrayLike | Tensor, int]

# What integer samples are divided by; unsigned bytes, as in old WAV files, are centred first.
_FULL_SCALE = {"int16": 2.0**15, "int32": 2.0**31, "uint8": 2.0**7}
_LOUDEST = 16.0  # float samples may pass 1 a little, after resampling say; this much is a mistake of scale


@dataclass(frozen=True)
class Waveform:
    """One channel at the wanted rate, and what it was before.

    Attributes:
        samples: ``(time,)`` float32 in [-1, 1].
        original_rate: sample rate of the source in Hz.
        original_channels: channels of the source, of which the mean was taken.
    """

    samples: Tensor
    original_rate: int
    original_channels: int


def load_audio(audio: Audio, sample_rate: int) -> Waveform:
    """Read a file, or take an array, as one channel at ``sample_rate``.

    Args:
        audio: a path to what soundfile reads (WAV, FLAC, Ogg, MP3, ...), or ``(samples, sample_rate)`` with samples
            as :func:`as_samples` takes them.
        sample_rate: the wanted rate in Hz.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not audio or is cut short, or the audio is empty, not finite or of a wrong shape.
    """
    if isinstance(audio, str | Path):
        source = str(audio)
        values, rate = _read(Path(audio))
    elif isinstance(audio, tuple) and len(audio) == 2:
        source = "the audio"
        values, rate = audio[0], _checked_rate(audio[1])
    else:
        raise ValueError(f"expected a path or (samples, sample_rate), got {_describe(audio)}")
    samples = as_samples(values, source)
    mono = samples.mean(dim=0)
    if rate != sample_rate:
        # A nearby ratio of small numbers (off by a millionth at most) keeps the filter bank small at odd rates.
        ratio = Fraction(rate, sample_rate).limit_denominator(1000)
        mono = torchaudio().functional.resample(mono, ratio.numerator, ratio.denominator)
    return Waveform(mono, rate, len(samples))


def as_samples(values: ArrayLike | Tensor, source: str = "the audio") -> Tensor:
    """Check samples and bring them to float32 ``(channels, time)``.

    Args:
        values: ``(time,)`` or ``(channels, time)``: floats in [-1, 1], or int16, int32 or uint8 PCM.
        source: what messages call it.

    Raises:
        ValueError: if it is empty, has a wrong shape or type, is NaN or infinite, or is far out of [-1, 1].
    """
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim not in (1, 2):
        raise ValueError(f"{source}: expected shape (time,) or (channels, time), got {array.shape}")
    if array.size == 0:
        raise ValueError(f"{source}: there are no samples in it")
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        raise ValueError(f"{source}: shape {array.shape} looks like (time, channels); pass (channels, time)")
    if array.dtype.name in _FULL_SCALE:
        scaled = (array.astype(np.float64) - (128 if array.dtype == np.uint8 else 0)) / _FULL_SCALE[array.dtype.name]
    elif array.dtype.kind == "f":
        scaled = array
    else:
        raise ValueError(f"{source}: expected floats in [-1, 1] or int16, int32 or uint8 PCM, got {array.dtype}")
    bad = np.flatnonzero(~np.isfinite(scaled))
    if len(bad):
        raise ValueError(f"{source}: sample {bad[0] % array.shape[-1]} is {scaled.flat[bad[0]]}")
    loudest = float(np.abs(scaled).max())
    if loudest > _LOUDEST:
        raise ValueError(f"{source}: samples reach {loudest:g}; expected floats in [-1, 1] (integers are scaled)")
    return torch.from_numpy(np.atleast_2d(scaled).astype(np.float32))


def _read(path: Path) -> tuple[np.ndarray, int]:
    """``(channels, time)`` float32 and the sample rate of a file."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: this is a folder, not an audio file")
    _check_whole(path)
    try:
        with path.open("rb") as file, soundfile.SoundFile(file) as sound:
            return sound.read(dtype="float32", always_2d=True).T, sound.samplerate
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a .raw file, which does not say its rate
        reason = getattr(error, "error_string", str(error)).rstrip(".")
        raise ValueError(f"{path}: not an audio file that can be read ({reason})") from error


def _check_whole(path: Path) -> None:
    """Refuse a WAV file that is shorter than its header says: libsndfile takes what there is without a word."""
    with path.open("rb") as file:
        head = file.read(8)
    promised = int.from_bytes(head[4:8], "little") + 8
    size = path.stat().st_size
    # Programs that write to a pipe do not know the size, and put a number near 2 GiB or 4 GiB.
    if head[:4] == b"RIFF" and size < promised < 0x7FFF_0000:
        raise ValueError(f"{path}: cut short: {size:,} of {promised:,} bytes are there")


def _checked_rate(rate: object) -> int:
    if not isinstance(rate, int | float | np.number) or not 0 < rate < math.inf or rate != int(rate):
        raise ValueError(f"expected a sample rate in whole Hz, got {rate!r}")
    return int(rate)


def _describe(thing: object) -> str:
    shape = getattr(thing, "shape", None)
    if shape is not None:
        return f"an array of shape {tuple(shape)} without its sample rate"
    return f"a {type(thing).__name__}"
