"""Arrays of samples: checked, and brought to float32 in [-1, 1]."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

# What integer samples are divided by; unsigned bytes, as in old WAV files, are centred first.
_FULL_SCALE = {"int16": 2.0**15, "int32": 2.0**31, "uint8": 2.0**7}
_LOUDEST = 16.0  # float samples may pass 1 a little, after resampling say; this much is a mistake of scale
SLOWEST, FASTEST = 100, 1_000_000  # sample rates in Hz: from slow sensors to recorders of bats
MOST = 2**30  # samples of all channels, at either rate: 4 GiB


def as_samples(values: ArrayLike | Tensor, source: str = "the audio") -> Tensor:
    """Check samples and bring them to float32 ``(channels, time)``.

    Args:
        values: ``(time,)`` or ``(channels, time)``: floats in [-1, 1], or int16, int32 or uint8 PCM.
        source: what messages call it.

    Raises:
        ValueError: if it is empty, has a wrong shape or type, is NaN or infinite, or is far out of [-1, 1].
    """
    array = _as_array(values, source)
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
    loudest = float(np.abs(scaled).max())
    if not math.isfinite(loudest):
        bad = np.flatnonzero(~np.isfinite(scaled))[0]
        raise ValueError(f"{source}: sample {bad % array.shape[-1]} is {scaled.flat[bad]}")
    if loudest > _LOUDEST:
        raise ValueError(f"{source}: samples reach {loudest:g}; expected floats in [-1, 1] (integers are scaled)")
    return torch.from_numpy(np.atleast_2d(scaled).astype(np.float32))


def checked_rate(rate: Any, source: str) -> int:
    """A sample rate in whole Hz.

    Raises:
        ValueError: if it is something else, or out of range.
    """
    number = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if not number or not -math.inf < rate < math.inf or rate != int(rate):
        raise ValueError(f"{source}: expected a sample rate in whole Hz, got {_short(rate)}")
    if not SLOWEST <= rate <= FASTEST:
        raise ValueError(f"{source}: expected a sample rate of {SLOWEST} to {FASTEST:,} Hz, got {_short(rate)}")
    return int(rate)


def check_amount(samples: int, source: str) -> None:
    """Refuse what does not fit into memory before memory is asked for."""
    if samples > MOST:
        raise ValueError(f"{source}: it has {samples:,} samples, at most {MOST:,} are taken: split it")


def _as_array(values: ArrayLike | Tensor, source: str) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, sparse or quantized tensors
        raise ValueError(f"{source}: expected an array of samples ({str(error).splitlines()[0]})") from error


def _short(thing: object) -> str:
    if isinstance(thing, int) and thing.bit_length() > 128:
        return f"an integer of {thing.bit_length()} bits"
    text = repr(thing)
    return text if len(text) <= 60 else f"a {type(thing).__name__}"
