"""The undecimated wavelet transform by dilated filters, in one dimension and in two."""

from torch import Tensor, nn

from wavedil.layers.sizes import require_channels, require_flags
from wavedil.wavelets.analysis import AtrousAnalysis
from wavedil.wavelets.dilated import Extension
from wavedil.wavelets.filters import Wavelet, filters_for
from wavedil.wavelets.synthesis import AtrousSynthesis


class _AtrousWavelet(nn.Module):
    """What is the same in one dimension and in two."""

    def __init__(
        self, axes: int, levels: int, wavelet: Wavelet, causal: bool, learnable: bool, boundary: Extension, norm: bool
    ) -> None:
        super().__init__()
        require_flags(learnable=learnable, norm=norm)
        filters = filters_for(wavelet, norm)
        self.levels = levels
        self.analysis = AtrousAnalysis(filters, levels, axes, causal=causal, boundary=boundary, learnable=learnable)
        self.synthesis = AtrousSynthesis(filters, levels, axes, causal=causal, boundary=boundary, learnable=learnable)

    def forward(self, x: Tensor) -> Tensor:
        """The analysis."""
        return self.analysis(x)

    @property
    def bands(self) -> int:
        """Coefficients of each sample."""
        return self.analysis.bands

    @property
    def delay(self) -> int:
        """Samples by which the synthesis gives the signal late; 0 unless it is a causal filter bank."""
        return self.synthesis.delay

    @property
    def margin(self) -> tuple[int, int]:
        """Coefficients before and behind the signal, on each centred axis, that the synthesis reads."""
        return self.analysis.margin

    @property
    def receptive_field(self) -> int:
        """Samples from the first that the coarsest coefficient reads to the last."""
        return int(self.analysis.receptive_field)


class AtrousWavelet1d(_AtrousWavelet):
    """The algorithme a trous: an undecimated wavelet transform over time, by filters dilated by 1, 2, 4, ...

    ``analysis`` gives as many coefficients a level as there are samples, so that a shift of the signal shifts them;
    ``synthesis`` gives the signal back. Both are modules; with ``causal=True`` both stream.

    By default the starlet: the smooth parts are ``c_j(n) = sum_k h(k) c_{j-1}(n + 2^(j-1) (centre - k))`` with the
    cubic B-spline ``h = (1, 4, 6, 4, 1) / 16``, the details ``w_j = c_{j-1} - c_j``, and ``x = c_J + w_1 + ... + w_J``
    whatever the taps, learned ones too. A filter bank has a filter for the details and two for the way back, which is
    made exact where its taps are written to too few digits: PyWavelets' reconstruct to rounding, but for "dmey", which
    is off by 0.6 % as designed, and learned ones only as long as they stay such a bank. Sources: Holschneider,
    Kronland-Martinet, Morlet and Tchamitchian 1989; Shensa 1992, doi:10.1109/78.157290; the starlet: Starck, Fadili and
    Murtagh 2007, doi:10.1109/TIP.2006.887733.

    - Centred, the filters read to both sides, and the coefficients of a structure stand where it stands.
      ``boundary`` says what the signal is beyond its ends. Coefficients of a filter bank are wanted there too, unless
      it is periodic: their time axis is longer than the signal's by ``margin``, before and behind.
    - Causal, coefficient n reads nothing after sample n, and before the start there are zeros. The starlet's sum holds
      sample by sample, so it reconstructs at once. A bank's synthesis gives the signal ``delay`` samples late: feed as
      many zeros to the analysis behind the end to get the last of it.

    With ``boundary="periodic"`` the bands are those of ``pywt.swt(trim_approx=True)``, coarsest last, with the same
    ``norm``, for signals of any length.

    Args:
        levels: J; the dilations are 1 to ``2^(J-1)``.
        wavelet: "starlet"; the name of a discrete wavelet of PyWavelets ("haar", "db4", "sym5", "bior2.2", ...; needs
            the extra ``wavelets``); the taps of a low-pass filter; or a bank ``(dec_lo, dec_hi, rec_lo, rec_hi)``.
        causal: whether no coefficient reads the future.
        learnable: whether the filters, which all channels and levels share, are parameters.
        boundary: "zeros", "reflect" (about the first and last sample) or "periodic", if not causal.
        norm: divide a bank's analysis filters by the square root of 2, so that the transform by an orthogonal one keeps
            the signal's energy.
        channels: that a stream has unless told otherwise; ``analysis`` takes any number.

    Shape:
        ``(batch, channels, time)`` to ``(batch, channels, levels + 1, time)``: the details ``w_1`` to ``w_J``, fine to
        coarse, and ``c_J``.

    Raises:
        ModuleNotFoundError: for a name, without the extra ``wavelets``.
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range, or a filter bank does not reconstruct.

    Example:
        >>> import torch
        >>> wavelet = AtrousWavelet1d(levels=5)
        >>> x = torch.randn(1, 1, 1000, dtype=torch.float64)
        >>> coefficients = wavelet.analysis(x)
        >>> coefficients.shape, wavelet.receptive_field
        (torch.Size([1, 1, 6, 1000]), 125)
        >>> bool((wavelet.synthesis(coefficients) - x).abs().max() < 1e-14)
        True
    """

    def __init__(
        self,
        levels: int,
        wavelet: Wavelet = "starlet",
        *,
        causal: bool = False,
        learnable: bool = False,
        boundary: Extension = "reflect",
        norm: bool = False,
        channels: int = 1,
    ) -> None:
        require_channels(channels=channels)
        super().__init__(1, levels, wavelet, causal, learnable, boundary, norm)
        self.analysis.default_shape = (channels,)
        self.synthesis.default_shape = (channels, self.bands)


class AtrousWavelet2d(_AtrousWavelet):
    """The algorithme a trous over frequency and time: :class:`AtrousWavelet1d` by separable filters.

    The starlet's details are one band a level, ``w_j = c_{j-1} - c_j`` with c smoothed along both axes. A filter bank
    gives three: "ad" (smooth over frequency, detail over time), "da" and "dd", as ``pywt.swtn`` calls them. With
    ``causal=True`` time is causal, with zeros before the start, and frequency is centred, with its ``boundary``; a
    bank's synthesis is late in time, and has margins in frequency unless that is periodic.

    Args:
        levels: J; the dilations are 1 to ``2^(J-1)``, on both axes.
        wavelet: as in :class:`AtrousWavelet1d`.
        causal: whether no coefficient reads future frames.
        learnable: whether the filters are parameters.
        boundary: of frequency, and of time if not causal.
        norm: as in :class:`AtrousWavelet1d`.

    Shape:
        ``(batch, channels, frequency, time)`` to ``(batch, channels, bands, frequency, time)``, with ``levels + 1``
        bands, or ``3 levels + 1`` of a filter bank: details fine to coarse, and ``c_J``.

    Raises:
        ModuleNotFoundError: for a name, without the extra ``wavelets``.
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range, or a filter bank does not reconstruct.
    """

    def __init__(
        self,
        levels: int,
        wavelet: Wavelet = "starlet",
        *,
        causal: bool = False,
        learnable: bool = False,
        boundary: Extension = "reflect",
        norm: bool = False,
    ) -> None:
        super().__init__(2, levels, wavelet, causal, learnable, boundary, norm)
