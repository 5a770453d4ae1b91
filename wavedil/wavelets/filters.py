"""The filters of the wavelet transforms: the starlet's, PyWavelets' by name, or anybody's own."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavedil.checks import did_you_mean, shown

Taps = Sequence[float]
Wavelet = str | Taps | Sequence[Taps]

STARLET = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""The cubic B-spline's low-pass filter. Source: Starck, Fadili and Murtagh 2007, doi:10.1109/TIP.2006.887733."""

MOST_TAPS = 4096
LARGEST_TAP = 1e6

# How far a bank may be from reconstructing, relative to the signal: PyWavelets' "dmey" is off by 0.2 %.
_IMPERFECTION = 1e-2
# What is off by less was meant to be exact and is written to too few digits, as "sym5" and "bior4.4" are.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Filters:
    """One level's filters, undilated, as PyWavelets has them: tap 0 meets the newest sample.

    Without ``high`` the scheme is the starlet's: details are what smoothing takes away, and their sum gives the signal
    back. With it, the four are a filter bank: smoothing and details through ``low`` and ``high``, and back through
    ``inverse_low`` and ``inverse_high``, whose gain is such that the signal comes back as it was.

    Attributes:
        low: of the smooth part.
        high: of the details, as long as ``low``; None for the starlet's scheme.
        inverse_low: from the smooth part back; as long as ``low``.
        inverse_high: from the details back; as long as ``low``.
        delay: samples by which the bank's output is late when every filter is causal.
    """

    low: tuple[float, ...]
    high: tuple[float, ...] | None = None
    inverse_low: tuple[float, ...] = ()
    inverse_high: tuple[float, ...] = ()
    delay: int = 0

    @property
    def is_bank(self) -> bool:
        """Whether details have a filter of their own."""
        return self.high is not None

    @property
    def reach(self) -> int:
        """Inputs, besides one, that an undilated filter reads."""
        return len(self.low) - 1

    @property
    def ahead(self) -> int:
        """Inputs that the centred analysis reads beyond the present, undilated: half, as PyWavelets has it."""
        half = len(self.low) // 2
        # What is left of the delay is for the synthesis to read ahead, at most its whole reach.
        return min(max(half, self.delay - self.reach), self.delay) if self.is_bank else half

    @property
    def inverse_ahead(self) -> int:
        """Inputs that the centred synthesis reads beyond the present, undilated."""
        return self.delay - self.ahead if self.is_bank else 0


def filters_for(wavelet: Wavelet, norm: bool = False) -> Filters:
    """The filters that a user's ``wavelet`` stands for.

    Args:
        wavelet: "starlet", a discrete wavelet's name in PyWavelets, the taps of a low-pass filter (for the starlet's
            scheme), or a bank ``(dec_lo, dec_hi, rec_lo, rec_hi)`` of four filters of one length.
        norm: divide a bank's analysis filters by the square root of 2, as ``pywt.swt(norm=True)`` does.

    Raises:
        ModuleNotFoundError: for a name, without the extra ``wavelets``.
        ValueError: for an unknown name, filters of a wrong shape, or a bank that does not reconstruct.
    """
    bank = _bank_of_name(wavelet) if isinstance(wavelet, str) else wavelet
    try:
        taps = np.asarray(bank)
        taps = taps.astype(np.float64) if taps.dtype.kind in "iuf" else np.empty(0)
    except (TypeError, ValueError):  # filters of different lengths
        taps = np.empty(0)
    if not (taps.ndim in (1, 2) and 2 <= taps.shape[-1] <= MOST_TAPS and (taps.ndim == 1 or len(taps) == 4)):
        raise ValueError(
            f"wavelet: expected a name, a low-pass filter of 2 to {MOST_TAPS} taps, or four filters of one length "
            f"(dec_lo, dec_hi, rec_lo, rec_hi), got {shown(wavelet)}"
        )
    if not (np.abs(taps) <= LARGEST_TAP).all():
        raise ValueError(f"wavelet: expected finite taps of at most {LARGEST_TAP:g}, got {shown(wavelet)}")
    if taps.ndim == 2:
        return _checked_bank(taps, norm)
    if norm:
        raise ValueError(f"norm is for filter banks; {shown(wavelet)} has a low-pass filter alone")
    return Filters(tuple(taps.tolist()))


def _bank_of_name(name: str) -> Taps | Sequence[Taps]:
    if name == "starlet":
        return STARLET
    try:
        pywt: Any = importlib.import_module("pywt")  # it has no types
    except ModuleNotFoundError as error:
        message = f'wavelet {name!r} needs PyWavelets, which is not installed: pip install "wavedil[wavelets]"'
        raise ModuleNotFoundError(message, name=error.name) from error
    known = ["starlet", *pywt.wavelist(kind="discrete")]
    if name not in known:
        nearest = did_you_mean(name, known)
        expected = "'starlet' or one of pywt.wavelist(kind='discrete')"
        raise ValueError(f"wavelet: expected {expected}, got {shown(name)}{nearest}")
    return pywt.Wavelet(name).filter_bank


def _checked_bank(taps: np.ndarray, norm: bool) -> Filters:
    """A bank with the delay and the gain that its product has: it must be a single delayed sample."""
    if norm:
        taps = taps / np.sqrt(2)
    low, high, inverse_low, inverse_high = taps
    product = np.convolve(low, inverse_low) + np.convolve(high, inverse_high)
    delay = int(np.abs(product).argmax())
    gain = product[delay]
    rest = np.abs(np.delete(product, delay)).max(initial=0)
    if not rest < _IMPERFECTION * abs(gain):
        raise ValueError(
            "dec_lo * rec_lo + dec_hi * rec_hi must be one sample, delayed, for the bank to reconstruct; "
            f"got {gain:.3g} at delay {delay} and up to {rest:.3g} elsewhere"
        )
    inverse_low, inverse_high = inverse_low / gain, inverse_high / gain
    if rest < _ROUNDING * abs(gain):
        inverse_low, inverse_high = _exact_inverse(taps[:2], np.stack([inverse_low, inverse_high]), delay)
    four = (tuple(filter_.tolist()) for filter_ in (low, high, inverse_low, inverse_high))
    return Filters(*four, delay=delay)


def _exact_inverse(analysis: np.ndarray, inverse: np.ndarray, delay: int) -> np.ndarray:
    """The nearest synthesis filters with which the bank reconstructs to rounding, ``(2, k)`` as those given."""
    size = inverse.shape[-1]
    shifts = np.arange(size)
    # Of all taps of the synthesis to the bank's response: the product is linear in them, with one tap to spare.
    response = np.zeros((2 * size - 1, 2, size))
    for taps, columns in zip(analysis, response.transpose(1, 0, 2), strict=True):
        for k, tap in enumerate(taps):
            columns[shifts + k, shifts] = tap
    response = response.reshape(2 * size - 1, 2 * size)
    wanted = np.eye(2 * size - 1)[delay]
    for _ in range(2):  # the second takes up what rounding left of the first
        missing = wanted - response @ inverse.ravel()
        if np.abs(missing).max() < np.finfo(np.float64).eps:
            break
        inverse = inverse + np.linalg.lstsq(response, missing, rcond=1e-12)[0].reshape(2, size)
    return inverse
