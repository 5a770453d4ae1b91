"""Audio files of every format and encoding that soundfile writes, cut and mutated.

A mutated file is refused, or its samples are the original's wherever its bytes are, and as many as its header says.
"""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from target import Wrong

from wavedil.audio import load_audio
from wavedil.audio.read import read_file

ALLOWED = (ValueError, OSError)
RATE = 16_000
_WIDTHS = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
_PATCHES = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


@dataclass(frozen=True)
class _Seed:
    """A whole file.

    Attributes:
        name: format, encoding, byte order and number of channels, as they were asked for.
        told: the same, as the header tells them.
        content: its bytes.
        values: ``(channels, time)``; None where the package refuses the format.
        data: where the samples begin in the file; None where it is not plain PCM.
        frame: bytes of a frame.
    """

    name: str
    told: tuple[str, str, str, int]
    content: bytes
    values: np.ndarray | None
    data: int | None
    frame: int


_seeds: list[_Seed] = []
_path = Path()


def prepare(folder: Path) -> None:
    """Write all files."""
    global _path
    _path = folder / "input"
    for form in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(form):
            for endian in ("FILE", "LITTLE", "BIG"):
                for channels in (1, 2):
                    seed = _seed(folder, form, subtype, endian, channels)
                    if seed is not None:
                        _seeds.append(seed)


def _seed(folder: Path, form: str, subtype: str, endian: str, channels: int) -> _Seed | None:
    if not soundfile.check_format(form, subtype, endian):
        return None
    rng = np.random.default_rng(channels)
    time = np.arange(700)[:, None] / RATE
    samples = 0.4 * np.sin(2 * np.pi * (440 * time + np.arange(channels) / 8)) + 0.05 * rng.standard_normal(
        (700, channels)
    )
    path = folder / "seed"
    try:
        soundfile.write(path, samples, RATE, subtype, endian, form)
        content = path.read_bytes()
    except (soundfile.LibsndfileError, RuntimeError, OSError):  # listed, but not written
        return None
    name = f"{form} {subtype} {endian} {channels}"
    info = soundfile.info(str(path)) if form != "RAW" else None
    told = (info.format, info.subtype, info.endian, info.channels) if info else (form, subtype, endian, channels)
    try:
        values, rate = read_file(path)
    except ValueError:
        return _Seed(name, told, content, None, None, 1)
    if rate != RATE:
        raise RuntimeError(f"{name}: {rate} Hz")
    frame = _WIDTHS.get(subtype, 0) * channels
    data = _find_data(content, values, subtype, frame) if frame and form != "FLAC" else None
    return _Seed(name, told, content, values, data, frame)


def _find_data(content: bytes, values: np.ndarray, subtype: str, frame: int) -> int:
    """Where the samples are, found by decoding without a header."""
    size = values.shape[1] * frame
    for offset in range(len(content) - size, max(-1, len(content) - size - 16), -1):
        for endian in ("LITTLE", "BIG"):
            file = io.BytesIO(content[offset : offset + size])
            raw = soundfile.read(
                file, -1, 0, None, "float32", True, None, None, RATE, len(values), "RAW", subtype, endian
            )
            if np.array_equal(raw[0].T, values):
                return offset
    raise RuntimeError("no samples found")


def attempt(rng: random.Random) -> str:
    """Mutate a file and read it."""
    seed = rng.choice(_seeds)
    mutation = rng.choice(_MUTATIONS)
    content, shift = mutation(rng, seed)
    if content == seed.content:
        return "unchanged"
    _path.write_bytes(content)
    values, _ = read_file(_path)
    load_audio(_path, RATE)
    where = f"{seed.name}, {mutation.__name__.strip('_')}"
    if seed.values is None:
        return _other(where, seed)
    if shift is None:
        if not np.array_equal(values, seed.values):
            raise Wrong(f"{where}: {values.shape} of {seed.values.shape} samples")
        return "taken, equal"
    return _compare(where, seed, content, values, shift)


def _compare(where: str, seed: _Seed, content: bytes, values: np.ndarray, shift: int) -> str:
    """Compare what was taken with the original, up to the byte ``shift`` behind which bytes have moved."""
    assert seed.values is not None  # noqa: S101
    info = soundfile.info(str(_path))
    if not _is_as(info, seed):
        return f"taken as another ({seed.name.split()[0]})"
    if seed.data is None:
        return "taken, coded"
    if content[: seed.data] == seed.content[: seed.data] and values.shape != seed.values.shape:
        raise Wrong(f"{where}: {values.shape} samples, the header tells {seed.values.shape}")
    if values.shape[1] != info.frames and info.format != "W64":  # of which libsndfile counts all to the file's end
        raise Wrong(f"{where}: {values.shape[1]} samples, the header tells {info.frames}")
    size = min(len(content), len(seed.content), shift) - seed.data
    frames = max(0, min(size // seed.frame, values.shape[1], seed.values.shape[1]))
    before, after = (
        np.frombuffer(data, np.uint8, frames * seed.frame, seed.data).reshape(frames, seed.frame)
        for data in (seed.content, content)
    )
    same = (before == after).all(axis=1)
    if not np.array_equal(values[:, :frames][:, same], seed.values[:, :frames][:, same]):
        raise Wrong(f"{where}: other samples of the same bytes")
    return "taken"


def _is_as(info: Any, seed: _Seed) -> bool:
    """Whether a header still tells the original's format, encoding and channels; if not, the samples are others."""
    return (info.format, info.subtype, info.endian, info.channels) == seed.told


def _other(where: str, seed: _Seed) -> str:
    """What was taken of a file whose original is refused must be of another format."""
    if _is_as(soundfile.info(str(_path)), seed):
        raise Wrong(f"{where}: taken, where the original is refused")
    return f"taken as another ({seed.name.split()[0]})"


def _place(rng: random.Random, seed: _Seed) -> int:
    """A byte, of the header more often than not."""
    header = seed.data or min(200, len(seed.content))
    near = rng.choice([range(min(120, header)), range(max(0, header - 24), header), range(len(seed.content))])
    return rng.choice(near) if near else 0


def _cut(rng: random.Random, seed: _Seed) -> tuple[bytes, int | None]:
    return seed.content[: rng.randrange(len(seed.content))], None


def _flip(rng: random.Random, seed: _Seed) -> tuple[bytes, int | None]:
    content = bytearray(seed.content)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        content[_place(rng, seed)] ^= 1 << rng.randrange(8)
    return bytes(content), len(content)


def _overwrite(rng: random.Random, seed: _Seed) -> tuple[bytes, int | None]:
    content, place = bytearray(seed.content), _place(rng, seed)
    piece = rng.choice([rng.randbytes, bytes])(rng.randint(1, 16))
    content[place : place + len(piece)] = piece
    return bytes(content[: len(seed.content)]), len(content)


def _set_number(rng: random.Random, seed: _Seed) -> tuple[bytes, int | None]:
    content, place, width = bytearray(seed.content), _place(rng, seed) & ~1, rng.choice([2, 4, 8])
    number = rng.choice([rng.choice(_PATCHES), rng.getrandbits(8 * width), len(content) + rng.randint(-16, 16)])
    content[place : place + width] = (number % (1 << 8 * width)).to_bytes(width, rng.choice(["little", "big"]))
    return bytes(content[: len(seed.content)]), len(content)


def _grow(rng: random.Random, seed: _Seed) -> tuple[bytes, int | None]:
    return seed.content + rng.choice([rng.randbytes, bytes])(rng.randint(1, 300)), None


def _insert(rng: random.Random, seed: _Seed) -> tuple[bytes, int | None]:
    place = _place(rng, seed)
    return seed.content[:place] + rng.randbytes(rng.randint(1, 40)) + seed.content[place:], place


def _remove(rng: random.Random, seed: _Seed) -> tuple[bytes, int | None]:
    place = _place(rng, seed)
    return seed.content[:place] + seed.content[place + rng.randint(1, 40) :], place


def _splice(rng: random.Random, seed: _Seed) -> tuple[bytes, int | None]:
    other, place = rng.choice(_seeds), _place(rng, seed)
    return seed.content[:place] + other.content[_place(rng, other) :], place


_MUTATIONS: list[Callable[[random.Random, _Seed], tuple[bytes, int | None]]] = [
    _cut, _flip, _flip, _overwrite, _set_number, _grow, _insert, _remove, _splice,
]  # fmt: skip
