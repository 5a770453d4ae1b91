"""Audio files: the header is read strictly first, then libsndfile decodes, and both must agree."""

import hashlib
import io
import os
import stat
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavedil.audio.headers import Promise, Source, check_whole, read_promise
from wavedil.audio.samples import check_amount, checked_rate


def read_file(path: Path) -> tuple[NDArray[np.float32], int]:
    """Decode a file.

    Returns:
        ``(channels, time)`` and the sample rate.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it cannot be opened, or is a folder, a pipe or a device.
        ValueError: if it is not audio that can be read, is cut short or damaged.
    """
    try:
        _check_regular(path)
        with path.open("rb") as file:
            promise = read_promise(Source(file, os.fstat(file.fileno()).st_size))
        if promise.rate is not None:
            checked_rate(promise.rate, "its header")
        return _decode(path, promise)
    except OSError as error:
        raise _named(error, path) from error
    except (ValueError, MemoryError) as error:
        raise ValueError(f"{path}: {str(error) or 'it does not fit into memory'}") from error


def _check_regular(path: Path) -> None:
    mode = os.stat(path).st_mode  # noqa: PTH116  a path with a null byte raises ValueError there
    if stat.S_ISDIR(mode):
        raise IsADirectoryError("this is a folder, not an audio file")
    if not stat.S_ISREG(mode):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
        raise OSError(f"this is {kind}, not a file: write the audio to a file first")


def _decode(path: Path, promise: Promise) -> tuple[NDArray[np.float32], int]:
    # By its path: libsndfile reads some codecs (GSM 6.10) from no file object. As bytes: a name may be no UTF-8.
    name = str(path) if sys.platform == "win32" else os.fsencode(path)
    try:
        sound = soundfile.SoundFile(_patched(path, promise) if promise.patches else cast(str, name))
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        raise ValueError(f"not an audio file that can be read ({_reason(error)})") from error
    with sound:
        frames = _agreed_frames(sound, promise)
        try:
            values: NDArray[Any] = sound.read(frames, dtype="int32" if promise.md5 else "float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise ValueError(f"cut short or damaged: it cannot be decoded to its end ({_reason(error)})") from error
    check_whole(len(values), frames, "samples of each channel")
    if promise.md5:
        _check_md5(values, promise)
        values = values.astype(np.float32) / np.float32(2**31)
    return values.T, sound.samplerate


def _agreed_frames(sound: soundfile.SoundFile, promise: Promise) -> int:
    """The number of frames, on which libsndfile and the header must agree, as on all else."""
    promised = (sound.samplerate if promise.rate is None else promise.rate, promise.channels, promise.subtype)
    found = (sound.samplerate, sound.channels, sound.subtype)
    if found != promised:
        expected, got = (f"{rate} Hz, {channels} channels, {subtype}" for rate, channels, subtype in (promised, found))
        raise ValueError(f"damaged header: {expected}; decoded as {got}")
    if promise.endian not in (None, sound.endian):
        raise ValueError(f"damaged header: order of bytes {promise.endian}; decoded as {sound.endian}")
    least = promise.least if promise.frames is None else promise.frames
    if not least <= sound.frames <= promise.most:
        expected = f"{least:,} to {promise.most:,} samples of each channel"
        raise ValueError(f"damaged header: {expected}; decoded as {sound.frames:,}")
    frames = sound.frames if promise.frames is None else promise.frames
    check_amount(frames * sound.channels, "its header")
    return frames


def _patched(path: Path, promise: Promise) -> io.BytesIO:
    content = bytearray(path.read_bytes())
    for patch in promise.patches:
        content[patch.start : patch.end] = patch.content
    return io.BytesIO(content)


def _check_md5(values: NDArray[np.int32], promise: Promise) -> None:
    """Hold the samples, as integers of their own width, against the MD5 in the header."""
    bits = int(promise.subtype.rpartition("_")[2].strip("S"))
    integers = (values >> (32 - bits)).astype("<i4", order="C")
    raw = integers.view(np.uint8).reshape(-1, 4)[:, : -(-bits // 8)]
    if hashlib.md5(raw.tobytes(), usedforsecurity=False).digest() != promise.md5:
        raise ValueError("damaged: the MD5 of its samples is another than its header tells")


def _reason(error: Exception) -> str:
    """What libsndfile says, without the file's name and its "Error"."""
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return text.removeprefix("Error : ") or type(error).__name__


def _named(error: OSError, path: Path) -> OSError:
    """The same error with a message that begins with the file."""
    reason = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()
    named = type(error)(f"{path}: {reason}")
    named.errno = error.errno
    return named
