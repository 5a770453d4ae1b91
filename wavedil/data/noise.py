"""Background noise for the synthetic corpus: coloured noises, mains hum, clattering dishes, a room full of talk."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wavedil.data import espeak
from wavedil.data.speakers import draw_speakers

SAMPLE_RATE = 16_000
SECONDS = 30  # of each recording

_SENTENCES = (
    "Could you pass me the salt, please?",
    "The train was late again this morning.",
    "I have never been to the seaside in winter.",
    "She said that they would meet us at the station.",
    "What did the doctor tell your brother?",
    "We should paint the kitchen before the guests arrive.",
    "Nobody knows who left the window open.",
    "It rained all week, and then the sun came out.",
)
_TALKERS = 8


def shaped_noise(samples: int, slope: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Gaussian noise with a power spectrum of 1 / frequency ** slope: 0 is white, 1 is pink, 2 is brown.

    Returns:
        The waveform ``(samples,)``, without offset and with an RMS of about 1.
    """
    frequencies = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    amplitude = np.maximum(frequencies, 20.0) ** (-slope / 2)
    amplitude[0] = 0.0
    spectrum = rng.standard_normal(2 * len(amplitude)).view(np.complex128) * amplitude
    return np.fft.irfft(spectrum, samples) * (samples / 2 / np.sqrt(np.sum(amplitude**2)))


def mains_hum(samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A 50 Hz hum with harmonics of slowly wandering strength, over a little pink noise."""
    time = np.arange(samples) / SAMPLE_RATE
    hum = 0.2 * shaped_noise(samples, 1.0, rng)
    for harmonic in range(1, 13):
        wander = 1 + 0.5 * np.sin(2 * np.pi * (rng.uniform(0.05, 0.3) * time + rng.uniform()))
        hum += wander * rng.uniform(0.3, 1.0) / harmonic * np.sin(2 * np.pi * (50 * harmonic * time + rng.uniform()))
    return hum


def clatter(samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Struck things, about four a second: each rings in a few modes that die away; over running water."""
    sound = 0.05 * np.diff(shaped_noise(samples + 1, 0.5, rng))
    ring = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    for start in np.sort(rng.integers(0, samples - len(ring), size=4 * samples // SAMPLE_RATE)):
        modes = rng.uniform(600, 6000, size=(6, 1))
        decay = rng.uniform(20, 150, size=(6, 1))
        strike = np.exp(-decay * ring) * np.sin(2 * np.pi * modes * ring)
        sound[start : start + len(ring)] += rng.exponential(0.3) * strike.sum(axis=0)
    return np.tanh(2 * sound)  # as a recorder's limiter does, or the rare loud strike would make the rest inaudible


def babble(samples: int, seed: int, voice: espeak.Espeak) -> NDArray[np.float64]:
    """Eight people talk at once: speakers of the training split, with sentences that hold no word of the corpus."""
    speakers = [s for s in draw_speakers(2 * _TALKERS, seed) if s.split == "training"][:_TALKERS]
    sound = np.zeros(samples)
    for speaker in speakers:
        rng = np.random.default_rng([seed, 4, speaker.index])
        voice.set_voice(speaker.accent, speaker.variant)
        talk: list[NDArray[np.float64]] = []
        while sum(map(len, talk)) < samples:
            sentence = _SENTENCES[rng.integers(len(_SENTENCES))]
            said = voice.speak(sentence, round(speaker.rate), round(speaker.pitch)).astype(np.float64)
            talk += [_resample(said), np.zeros(rng.integers(SAMPLE_RATE))]
        stream = np.concatenate(talk)[:samples]
        sound += np.roll(stream / np.sqrt(np.mean(stream**2)), rng.integers(samples))
    return sound


def background_noises(seed: int) -> dict[str, NDArray[np.int16]]:
    """All recordings but the babble, by name: waveforms ``(30 * 16000,)``."""
    samples = SECONDS * SAMPLE_RATE
    makers: dict[str, Callable[[np.random.Generator], NDArray[np.float64]]] = {
        "white_noise": lambda rng: shaped_noise(samples, 0.0, rng),
        "pink_noise": lambda rng: shaped_noise(samples, 1.0, rng),
        "brown_noise": lambda rng: shaped_noise(samples, 2.0, rng),
        "mains_hum": lambda rng: mains_hum(samples, rng),
        "clattering_dishes": lambda rng: clatter(samples, rng),
    }
    return {name: to_pcm(make(np.random.default_rng([seed, 5, i]))) for i, (name, make) in enumerate(makers.items())}


def to_pcm(sound: NDArray[np.float64]) -> NDArray[np.int16]:
    """Scale to an RMS 20 dB below full scale, or less where the peak needs it."""
    gain = min(0.1 / np.sqrt(np.mean(sound**2)), 0.9 / np.abs(sound).max())
    return np.rint(sound * (gain * 32767)).astype(np.int16)


def _resample(waveform: NDArray[np.float64]) -> NDArray[np.float64]:
    """From espeak-ng's rate to 16 kHz, by cutting the spectrum at 8 kHz."""
    samples = round(len(waveform) * SAMPLE_RATE / espeak.SAMPLE_RATE)
    return np.fft.irfft(np.fft.rfft(waveform)[: samples // 2 + 1], samples)
