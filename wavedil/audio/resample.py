"""Resampling by the exact ratio of two rates."""

import math

import numpy as np
from numpy.typing import NDArray

_CROSSINGS = 6  # of zero, of the sinc on either side of its centre
_ROLLOFF = 0.99  # of the lower Nyquist frequency
_BLOCK = 1 << 20  # products at a time, so that memory stays small


def resampled_length(length: int, rate: int, new_rate: int) -> int:
    """Samples after resampling: ``ceil(length * new_rate / rate)``."""
    return -(-length * new_rate // rate)


def resample(samples: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    """Resample with a sinc under a Hann window, at the exact ratio of the rates, however odd it is.

    The filter is that of ``torchaudio.functional.resample`` with its defaults. A sine below 0.7 of the lower Nyquist
    frequency comes out within 0.01 of its amplitude.

    Args:
        samples: ``(time,)``.
        rate: in Hz.
        new_rate: in Hz.

    Returns:
        ``(ceil(time * new_rate / rate),)``.
    """
    if rate == new_rate:
        return samples
    divisor = math.gcd(rate, new_rate)
    step, phases = rate // divisor, new_rate // divisor
    count = resampled_length(len(samples), rate, new_rate)
    cutoff = _ROLLOFF * min(1.0, new_rate / rate)  # of the Nyquist frequency of the samples
    width = math.ceil(_CROSSINGS / cutoff)
    table = _weights(np.arange(min(phases, count)) * step % phases / phases, width, cutoff)
    padded = np.pad(samples, (width, width + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, table.shape[1])
    result = np.empty(count, np.float32)
    block = max(1, _BLOCK // table.shape[1])
    for first in range(0, count, block):
        outputs = np.arange(first, min(first + block, count))
        chosen = table if phases == 1 else table[outputs % phases]
        result[first : first + block] = np.einsum("ij,ij->i", windows[outputs * step // phases], chosen, optimize=False)
    return result


def _weights(fractions: NDArray[np.float64], width: int, cutoff: float) -> NDArray[np.float32]:
    """Weights of the ``2 width + 1`` samples around outputs that lie ``fractions`` behind the middle one."""
    weights = np.empty((len(fractions), 2 * width + 1), np.float32)
    block = max(1, _BLOCK // weights.shape[1])
    for first in range(0, len(fractions), block):
        distance = (np.arange(-width, width + 1) - fractions[first : first + block, None]) * cutoff
        window = np.cos(np.clip(distance, -_CROSSINGS, _CROSSINGS) * (np.pi / 2 / _CROSSINGS)) ** 2
        weights[first : first + block] = np.sinc(distance) * window * cutoff
    return weights
