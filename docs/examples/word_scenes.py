"""Scenes for the word-mask example: a spoken word somewhere in noise that looks like it from near by.

What tells them apart is far away. A vowel is a stack of harmonics, and so is each chord here, but a chord goes on for
longer than any vowel; a stop is a burst, and so are the clicks here, but no vowel follows them.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wavedil.config import DataConfig, FeatureConfig
from wavedil.data.clips import open_clips
from wavedil.data.index import Split
from wavedil.data.noise import shaped_noise
from wavedil.features import LogMel

SAMPLE_RATE = 16_000
FEATURES = FeatureConfig(win_length=480, hop_length=160, n_mels=40)
FRAMES = 152  # 1.52 s, a multiple of 4 for the network that pools twice
SNR_DB = (-5.0, 10.0)  # mean power of the word's clip over that of all noise in the scene
FLOOR_DB = -25.0  # what is fainter, against the word's loudest bin, is no speech
LOG_MEAN, LOG_STD = -10.7, 2.4  # of the mixtures' log energies, about
_SAMPLES = FRAMES * FEATURES.hop_length
_TRAINING_SHARE = 0.8  # of each noise recording; the tests have the rest


@dataclass(frozen=True)
class Batch:
    """Scenes as a network takes them.

    Attributes:
        features: ``(batch, 1, bins, frames)``, log mel energies of the mixtures, less LOG_MEAN and over LOG_STD.
        target: ``(batch, 1, bins, frames)`` bool, the ideal mask.
    """

    features: Tensor
    target: Tensor


class Scenes:
    """Mixtures of words and noise, made when they are asked for.

    Args:
        words: ``(n, samples)`` int16, one word each, no longer than a scene.
        noise: ``(time,)`` int16, recorded noise, no shorter than a scene.

    Raises:
        ValueError: if the words are too long or the noise too short.
    """

    def __init__(self, words: Tensor, noise: Tensor) -> None:
        if words.shape[1] > _SAMPLES or len(noise) < _SAMPLES:
            sizes = f"{words.shape[1]} and {len(noise)}"
            raise ValueError(f"words and noise: expected at most and at least {_SAMPLES} samples, got {sizes}")
        self.words = words
        self.noise = noise
        self.mel = LogMel(SAMPLE_RATE, FEATURES)

    def batch(self, size: int, *key: int) -> Batch:
        """Some scenes; the same key gives the same ones."""
        rng = np.random.default_rng(key)
        length = self.words.shape[1]
        words = self.words[torch.from_numpy(rng.integers(len(self.words), size=size))].float()
        starts = rng.integers(_SAMPLES - length + 1, size=size)
        speech = torch.stack(
            [F.pad(w, (int(s), _SAMPLES - length - int(s))) for w, s in zip(words, starts, strict=True)]
        )
        noise = torch.from_numpy(np.stack([self._noise(rng) for _ in range(size)])).float()
        snr_db = torch.from_numpy(rng.uniform(*SNR_DB, size=(size, 1))).float()
        noise *= words.square().mean(1, keepdim=True).sqrt() * 10 ** (-snr_db / 20)
        full_scale = 2.0**15
        with torch.no_grad():
            log_mel, speech_mel, noise_mel = (
                self.mel(x.unsqueeze(1) / full_scale) for x in (speech + noise, speech, noise)
            )
        features = (log_mel.unsqueeze(1) - LOG_MEAN) / LOG_STD
        return Batch(features, ideal_mask(speech_mel, noise_mel).unsqueeze(1))

    def _noise(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """What stands behind the word, of RMS 1: a steady background, chords and bursts."""
        if rng.random() < 0.5:
            start = rng.integers(len(self.noise) - _SAMPLES + 1)
            background = self.noise[start : start + _SAMPLES].numpy().astype(np.float64)
        else:
            background = shaped_noise(_SAMPLES, rng.uniform(0, 2), rng)
        sound = _unit(background)
        for _ in range(rng.integers(3)):
            sound += 10 ** (rng.uniform(-3, 9) / 20) * chord(_SAMPLES, rng)
        for _ in range(rng.poisson(4)):
            _add_burst(sound, rng)
        return _unit(sound)


def corpus_scenes(split: Split) -> Scenes:
    """Words of the default corpus by the voices of a split, over the corpus's own noise.

    Raises:
        ModuleNotFoundError: if the corpus has to be made and espeakng-loader is not installed; the message names the
            extra.
    """
    cache = open_clips(DataConfig())
    rows = [row for row, clip in enumerate(cache.clips) if clip.split == split]
    # A split is in one piece, so that this is a view of the file.
    return Scenes(cache.waveforms[rows[0] : rows[-1] + 1], noise_of(split, cache.noise, cache.noise_offsets))


def ideal_mask(speech: Tensor, noise: Tensor) -> Tensor:
    """The bins in which speech is louder than noise, and not much fainter than its own loudest bin.

    Source: Wang 2005, "On ideal binary mask as the computational goal of auditory scene analysis".

    Args:
        speech: ``(batch, bins, frames)``, log energies of the speech alone.
        noise: likewise of the noise.

    Returns:
        ``(batch, bins, frames)`` bool.
    """
    floor = speech.amax((1, 2), keepdim=True) + FLOOR_DB / 10 * float(np.log(10))
    return (speech > noise) & (speech > floor)


def chord(samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A long tone with harmonics, formants, slight vibrato and tremolo: ``(samples,)`` of RMS 1 while it sounds."""
    time = np.arange(samples) / SAMPLE_RATE
    pitch = 90 * 2 ** rng.uniform(0, 1.7)
    harmonics = np.arange(1, int(7000 / pitch) + 1)
    spectrum = np.zeros(1025, dtype=np.complex128)  # of one period, 2048 points
    amplitude = harmonics ** -rng.uniform(0.5, 1.5)
    for formant in rng.uniform((300, 900, 2200), (900, 2200, 3500)):
        amplitude *= 1 + 5 * np.exp(-0.5 * ((harmonics * pitch - formant) / 120) ** 2)
    spectrum[harmonics] = amplitude * np.exp(2j * np.pi * rng.uniform(size=len(harmonics)))
    period = _unit(np.fft.irfft(spectrum))
    vibrato = rng.uniform(0.002, 0.01) * np.sin(2 * np.pi * (rng.uniform(4, 7) * time + rng.uniform()))
    phase = np.cumsum(pitch * (1 + vibrato)) / SAMPLE_RATE
    tremolo = 1 + rng.uniform(0, 0.3) * np.sin(2 * np.pi * (rng.uniform(2, 6) * time + rng.uniform()))
    first, last = rng.uniform(-0.5, 0.4), rng.uniform(1.2, 2.0)
    ramp = np.clip(np.minimum(time - first, last - time) / 0.02, 0, 1)
    return ramp * tremolo * np.interp(phase % 1, np.arange(2049) / 2048, np.append(period, period[0]))


def _add_burst(sound: NDArray[np.float64], rng: np.random.Generator) -> None:
    """A click or a puff of coloured noise that dies away, at a random time."""
    length = SAMPLE_RATE // 5
    decay = np.exp(-np.arange(length) / (SAMPLE_RATE * rng.uniform(0.003, 0.05)))
    burst = 10 ** (rng.uniform(0, 12) / 20) * decay * shaped_noise(length, rng.uniform(-1, 1), rng)
    start = rng.integers(len(sound) - length)
    sound[start : start + length] += burst


def _unit(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled to an RMS of 1; silence stays silence."""
    return sound / max(np.sqrt(np.mean(sound**2)), 1e-12)


def noise_of(split: Split, noise: Tensor, offsets: Tensor) -> Tensor:
    """The first part of each noise recording for training, the rest for other splits.

    Args:
        split: which part.
        noise: ``(time,)``, the recordings one after another.
        offsets: ``(recordings + 1,)``, where each begins and the last one ends.
    """
    parts = []
    for begin, end in pairwise(offsets.tolist()):
        cut = begin + round(_TRAINING_SHARE * (end - begin))
        parts.append(noise[begin:cut] if split == "training" else noise[cut:end])
    return torch.cat(parts)
