"""Small recordings, and a miniature of Speech Commands."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def tone(frequency: float, seconds: float = 0.1, rate: int = RATE, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype)
    return path


def write_words(folder: Path, words: Iterable[str], speakers: int) -> list[str]:
    """``<word>/<speaker>_nohash_0.wav`` for each word and speaker, no two alike; their names."""
    names = []
    for number, word in enumerate(words):
        for speaker in range(speakers):
            name = f"{word}/{speaker:08x}_nohash_0.wav"
            write(folder / name, tone(200 + 100 * number + 7 * speaker))
            names.append(name)
    return names


def write_speech_commands(
    root: Path, words: Iterable[str] = ("go", "stop", "tree"), speakers: int = 8, version: str = "v0.02"
) -> Path:
    """Speech Commands in miniature: speaker 0 is for validation, speaker 1 for testing; its folder."""
    folder = root / "SpeechCommands" / f"speech_commands_{version}"
    names = write_words(folder, words, speakers)
    for number, file in enumerate(("validation_list.txt", "testing_list.txt")):
        (folder / file).write_text("".join(f"{name}\n" for name in names if f"/{number:08x}_" in name))
    hiss = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 3 * RATE))
    write(folder / "_background_noise_" / "hiss.wav", hiss[0])
    write(folder / "_background_noise_" / "wind.wav", hiss[1])
    (folder / "_background_noise_" / "README.md").write_text("not a recording")
    return folder
