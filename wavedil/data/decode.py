"""A recording as the clip cache keeps it: one channel of int16 at the wanted rate and length."""

from pathlib import Path

import numpy as np

from wavedil.audio import load_audio


def decode(path: Path, sample_rate: int, cancelling: list[Path] | None = None) -> np.ndarray:
    """Read a recording of any format, rate and channel count.

    Args:
        path: of the file.
        sample_rate: in Hz; the mean of the channels is resampled to it, or the loudest of them where they cancel.
        cancelling: gets the path if they do.

    Returns:
        ``(samples,)`` int16; what is louder than full scale is clipped.

    Raises:
        OSError: if it cannot be opened, or is a folder, a pipe or a device.
        ValueError: if it is not audio, is cut short, is empty or has NaN or infinite samples.
    """
    waveform = load_audio(path, sample_rate)
    if waveform.channel is not None and cancelling is not None:
        cancelling.append(path)
    return np.clip(np.rint(waveform.samples.numpy() * 32768.0), -32768, 32767).astype(np.int16)


def fit_length(samples: np.ndarray, length: int) -> np.ndarray:
    """Pad with zeros at the end, or take the (first) window of ``length`` samples with the most energy."""
    if len(samples) <= length:
        return np.pad(samples, (0, length - len(samples)))
    energy = np.concatenate([[0], np.cumsum(samples.astype(np.int64) ** 2)])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return samples[start : start + length]
