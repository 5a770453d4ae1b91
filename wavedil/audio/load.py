"""A file, or an array with its rate, as one channel at a wanted rate."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from wavedil.audio.read import read_file
from wavedil.audio.resample import resample, resampled_length
from wavedil.audio.samples import as_samples, check_amount, checked_rate

Audio = str | os.PathLike[str] | tuple[ArrayLike | Tensor, int]


@dataclass(frozen=True)
class Waveform:
    """One channel at the wanted rate, and what it was before.

    Attributes:
        samples: ``(time,)`` float32 in [-1, 1].
        original_rate: sample rate of the source in Hz.
        original_channels: channels of the source, of which the mean was taken.
        channel: the one that was taken instead, because the channels cancel; None where the mean was.
    """

    samples: Tensor
    original_rate: int
    original_channels: int
    channel: int | None = None


def load_audio(audio: Audio, sample_rate: int) -> Waveform:
    """Read a file, or take an array, as one channel at ``sample_rate``.

    The channel is the mean of all channels. Where they cancel, as with one channel inverted, it is the loudest of them:
    where the mean, without its offset, has less than half the energy that the loudest channel alone gives it.

    Args:
        audio: a path to WAV, RF64, W64, AIFF, AU, CAF, NIST, FLAC, Ogg Vorbis, Opus or MP3, or
            ``(samples, sample_rate)`` with samples as :func:`as_samples` takes them.
        sample_rate: the wanted rate in Hz. Rates are 100 Hz to 1 MHz; the result is exactly
            ``ceil(time * sample_rate / rate)`` samples long.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it cannot be opened, or is a folder, a pipe or a device.
        ValueError: if the file is not audio or is cut short or damaged, or the audio is empty, not finite or of a
            wrong shape. The message begins with the file.
    """
    new_rate = checked_rate(sample_rate, "sample_rate")
    if isinstance(audio, str | os.PathLike):
        source = os.fspath(audio)
        values, rate = read_file(Path(source))
    elif isinstance(audio, tuple) and len(audio) == 2:
        source = "the audio"
        if np.ndim(audio[1]) > 0 and np.ndim(audio[0]) == 0:
            raise ValueError("expected (samples, sample_rate), got (sample_rate, samples): swap them")
        values, rate = audio[0], checked_rate(audio[1], source)
    else:
        raise ValueError(f"expected a path or (samples, sample_rate), got {_describe(audio)}")
    samples = as_samples(values, source)
    check_amount(resampled_length(samples.shape[1], rate, new_rate), source)
    mono, channel = _mix(samples.numpy())
    return Waveform(torch.from_numpy(resample(mono, rate, new_rate)), rate, len(samples), channel)


def _mix(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], int | None]:
    """One channel of many, and its number where it is not their mean."""
    mean = samples.mean(axis=0)
    if len(samples) == 1:
        return mean, None
    energies = samples.var(axis=1)
    loudest = int(energies.argmax())
    if mean.var() < energies[loudest] / len(samples) ** 2 / 2:
        return samples[loudest], loudest
    return mean, None


def _describe(thing: object) -> str:
    shape = getattr(thing, "shape", None)
    if shape is not None:
        return f"an array of shape {tuple(shape)} without its sample rate"
    return f"a {type(thing).__name__}"
