"""Audio files of every format that is read, as soundfile writes them, and WAV files chunk by chunk."""

import struct
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
PCM = ["PCM_16", "PCM_24", "PCM_32"]
FLOATS = ["FLOAT", "DOUBLE", "ULAW", "ALAW"]
BLOCKS = ["IMA_ADPCM", "MS_ADPCM", "GSM610"]
WRITTEN = [
    *(("WAV", subtype, "FILE") for subtype in ("PCM_U8", *PCM, *FLOATS, *BLOCKS)),
    *(("WAV", subtype, "BIG") for subtype in ("PCM_U8", *PCM, *FLOATS)),
    *(("WAVEX", subtype, "FILE") for subtype in ("PCM_U8", *PCM, *FLOATS)),
    *(("RF64", subtype, "FILE") for subtype in ("PCM_U8", *PCM, *FLOATS)),
    *(("W64", subtype, "FILE") for subtype in ("PCM_U8", *PCM, *FLOATS, *BLOCKS)),
    *(("AIFF", subtype, "FILE") for subtype in ("PCM_S8", "PCM_U8", *PCM, *FLOATS, "IMA_ADPCM", "GSM610")),
    *(("AIFF", subtype, end) for subtype in PCM for end in ("LITTLE", "BIG")),
    *(("AU", subtype, end) for subtype in ("PCM_S8", *PCM, *FLOATS) for end in ("LITTLE", "BIG")),
    *(("CAF", subtype, end) for subtype in ("PCM_S8", *PCM, *FLOATS) for end in ("LITTLE", "BIG")),
    *(("NIST", subtype, end) for subtype in ("PCM_S8", *PCM) for end in ("LITTLE", "BIG")),
    *(("NIST", subtype, "FILE") for subtype in ("ULAW", "ALAW")),
    *(("FLAC", subtype, "FILE") for subtype in ("PCM_S8", "PCM_16", "PCM_24")),
    *(("OGG", subtype, "FILE") for subtype in ("VORBIS", "OPUS")),
    ("MP3", "MPEG_LAYER_III", "FILE"),
]  # fmt: skip
EXACT = {"PCM_U8", "PCM_S8", *PCM, *FLOATS}
MONO_ONLY = {"GSM610"}


def sound(samples: int = 3_200, channels: int = 1) -> np.ndarray:
    """Two tones and a little noise, ``(samples, channels)`` float32."""
    time = np.arange(samples)[:, None] / RATE
    tones = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 1_300 * time + np.arange(channels))
    return (tones + 0.01 * np.random.default_rng(0).standard_normal((samples, channels))).astype(np.float32)


def write_as(path: Path, written: tuple[str, str, str], samples: np.ndarray) -> Path:
    """Write a file of one of ``WRITTEN``."""
    form, subtype, endian = written
    soundfile.write(path, samples, RATE, format=form, subtype=subtype, endian=endian)
    return path


def fmt(rate: int = RATE, bits: int = 16, channels: int = 1, tag: int = 1) -> bytes:
    """Content of a ``fmt`` chunk."""
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits)


def chunk(name: bytes, content: bytes, size: int | None = None, pad: bool = True) -> bytes:
    """A chunk of RIFF."""
    size = len(content) if size is None else size
    return name + struct.pack("<I", size) + content + b"\0" * (pad and len(content) % 2)


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    """A WAV file."""
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body
