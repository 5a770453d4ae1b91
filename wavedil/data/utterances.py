"""The clips of the synthetic corpus: speak a word, record it through the speaker's channel, write it.

Run as a module, this is the process of its own that :class:`wavedil.data.espeak.Espeak` asks for: it speaks one task,
given as JSON (see :func:`run_task`), and knows nothing of any other.
"""

import json
import os
import sys
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavedil.data import espeak
from wavedil.data.noise import SAMPLE_RATE, SECONDS, babble, shaped_noise, to_pcm
from wavedil.data.speakers import Speaker, draw_speakers

CLIP_SAMPLES = SAMPLE_RATE  # one second, so that bin k of a clip's spectrum is k Hz
FREQUENCIES = np.arange(CLIP_SAMPLES // 2 + 1, dtype=np.float64)

_INTONATIONS = ("", "", ".", "!", "?", ",")
_LONGEST = 0.92  # seconds; leaves room on both sides
_MARGIN = 0.03  # seconds of background before and after every word, at least
_PEAK = 0.9  # of full scale, at most


def channel_response(speaker: Speaker) -> NDArray[np.complex128]:
    """The speaker's room and microphone, as a frequency response at every Hz from 0 to 8,000."""
    octaves = np.log2(np.maximum(FREQUENCIES, 20.0) / 1000.0)
    gain_db = speaker.tilt_db * octaves
    for centre, width, gain in speaker.resonances:
        gain_db += gain * np.exp(-0.5 * ((octaves - np.log2(centre / 1000.0)) / width) ** 2)
    room = np.ones(len(FREQUENCIES), dtype=np.complex128)
    for delay, gain in speaker.reflections:
        room += gain * np.exp(-2j * np.pi * FREQUENCIES * delay)
    high_pass = 1 / np.sqrt(1 + (speaker.high_pass / np.maximum(FREQUENCIES, 1.0)) ** 4)
    low_pass = 1 / np.sqrt(1 + (FREQUENCIES / speaker.low_pass) ** 12)
    return room * 10 ** (gain_db / 20) * high_pass * low_pass


def speak_word(
    voice: espeak.Espeak, speaker: Speaker, word: str, rng: np.random.Generator
) -> tuple[NDArray[np.float64], int]:
    """One take of a word, as dry sound without leading or trailing silence.

    Returns:
        The waveform ``(time,)`` and the number of its samples that make a second: 22,050, or another number that
        scales all frequencies by the speaker's vocal tract. It lasts 0.92 seconds at most.

    Raises:
        RuntimeError: if nothing is heard, or the word does not fit into a second however fast it is spoken.
    """
    samples_a_second = 210 * round(espeak.SAMPLE_RATE * speaker.vocal_tract / 210)  # for a fast Fourier transform
    # What the vocal tract's factor does to the tempo is undone here.
    rate = speaker.rate / speaker.vocal_tract * rng.uniform(0.9, 1.1)
    pitch = round(np.clip(speaker.pitch + rng.uniform(-6, 6), 0, 99))
    pitch_range = round(np.clip(speaker.pitch_range + rng.uniform(-10, 10), 0, 99))
    text = word + _INTONATIONS[rng.integers(len(_INTONATIONS))]
    for _ in range(6):
        waveform = voice.speak(text, round(np.clip(rate, 80, 450)), pitch, pitch_range).astype(np.float64)
        heard = np.flatnonzero(np.abs(waveform) > 0.01 * np.abs(waveform).max(initial=1.0))
        if len(heard) == 0:
            raise RuntimeError(f"espeak-ng says nothing for {word!r} as {speaker.accent}+{speaker.variant}")
        waveform = waveform[heard[0] : heard[-1] + 1]
        if len(waveform) <= _LONGEST * samples_a_second:
            return waveform, samples_a_second
        rate *= 1.2
    raise RuntimeError(f"the word {word!r} does not fit into one second: {speaker.accent}+{speaker.variant}")


def record(
    dry: NDArray[np.float64],
    samples_a_second: int,
    speaker: Speaker,
    response: NDArray[np.complex128],
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Place a word in a one-second clip, and record it through a channel with background noise, at 16 kHz.

    One second has one spectrum, whatever the sample rate: bin k is k Hz. So resampling is to keep the bins up to 8 kHz,
    and channel and noise are a product and a sum before the inverse transform.

    Args:
        dry: the word ``(time,)``, shorter than a second.
        samples_a_second: its sample rate.
        speaker: whose level and noise to use.
        response: of the channel, from :func:`channel_response`.
        rng: for the word's position, level and noise.

    Returns:
        The clip ``(16000,)``.
    """
    slack = samples_a_second - len(dry)
    margin = min(round(_MARGIN * samples_a_second), slack // 2)
    middle = slack / 2 + rng.uniform(-0.3, 0.3) * slack
    start = round(np.clip(middle, margin, slack - margin))
    second = np.zeros(samples_a_second)
    second[start : start + len(dry)] = dry
    spectrum = np.fft.rfft(second)[: len(FREQUENCIES)] * response
    speech = np.fft.irfft(spectrum, CLIP_SAMPLES)
    rms = np.sqrt(np.sum(speech**2) * samples_a_second / (len(dry) * CLIP_SAMPLES))  # while the word lasts
    noise = shaped_noise(CLIP_SAMPLES, speaker.noise_slope, rng)
    noise *= rms * 10 ** (-(speaker.snr_db + rng.uniform(-3, 3)) / 20)
    clip = speech + noise
    gain = 10 ** ((speaker.level_db + rng.uniform(-3, 3)) / 20) / rms
    gain = min(gain, _PEAK / np.abs(clip).max())
    return np.rint(clip * (gain * 32767)).astype(np.int16)


def write_wav(path: Path, waveform: NDArray[np.int16]) -> None:
    """Write a waveform ``(time,)`` as 16 kHz mono PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(waveform.astype("<i2").tobytes())


def write_clips(
    folder: Path, voice: espeak.Espeak, speaker: Speaker, words: Sequence[str], takes: int, seed: int
) -> None:
    """Write all clips of one speaker as ``folder/<word>/<speaker>_nohash_<take>.wav``."""
    voice.set_voice(speaker.accent, speaker.variant)
    response = channel_response(speaker)
    for word in words:
        for take in range(takes):
            rng = np.random.default_rng([seed, 3, speaker.index, take, *word.encode()])
            dry, samples_a_second = speak_word(voice, speaker, word, rng)
            clip = record(dry, samples_a_second, speaker, response, rng)
            write_wav(folder / word / f"{speaker.id}_nohash_{take}.wav", clip)


def run_task(task: dict) -> None:
    """Do what the JSON says: ``folder``, ``seed``, ``words``, ``takes`` and ``speakers`` (first and last + 1), or
    ``babble`` (the file to write) instead of the last three.
    """
    data = espeak.data_path()
    os.chdir(data.parent)  # espeak-ng cuts long paths
    voice = espeak.Espeak(Path(data.name))
    if "babble" in task:
        write_wav(Path(task["babble"]), to_pcm(babble(SECONDS * SAMPLE_RATE, task["seed"], voice)))
        return
    first, end = task["speakers"]
    for speaker in draw_speakers(max(end, 3), task["seed"])[first:end]:
        write_clips(Path(task["folder"]), voice, speaker, task["words"], task["takes"], task["seed"])


if __name__ == "__main__":
    try:
        run_task(json.loads(sys.argv[1]))
    except (OSError, RuntimeError, ValueError) as failure:
        sys.exit(f"{failure}")
