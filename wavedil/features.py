"""Log-mel front end: causal, streamed frame by frame, exported inside the model."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wavedil.checks import bounded_integer, bounded_number, shown
from wavedil.config import Boundary, FeatureConfig
from wavedil.layers.base import Window
from wavedil.layers.sizes import require_room

# Energy added to each band, 90 dB below full scale: it keeps the logarithm of digital silence near that of a quiet
# room. Much of real speech lies far below full scale, where a higher floor would hide it.
FLOOR = 1e-9
_TOGETHER = 16  # signals of a second whose spectra stay in the cache of a CPU


class LogMel(Window):
    """Logarithm of mel band energies of Hann-windowed frames, without centre padding.

    Frame n covers the ``win_length`` samples that end with sample ``(n + 1) hop_length - 1``: it is complete when its
    newest hop has arrived. The periodic window's first sample is zero, so a frame reads one sample fewer. Before the
    start there is silence. Mel scale ``2595 log10(1 + f / 700)`` (HTK), triangular bands of unit height, energies
    scaled so that a full-scale sine gives about 1.

    Args:
        sample_rate: in Hz.
        config: window, hop and bands.
        boundary: zeros before the start, which here is silence.

    In half precision (``module.bfloat16()``, ``module.half()``) the inside stays float32, and the output is rounded.

    Shape:
        ``(batch, 1, time)`` in [-1, 1] to ``(batch, n_mels, time // hop_length)``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if the sizes do not fit each other, or a band lies beyond half the sample rate or holds no bin.

    Example:
        >>> LogMel(16_000, FeatureConfig(win_length=480, hop_length=160, n_mels=40))(torch.zeros(2, 1, 16_000)).shape
        torch.Size([2, 40, 100])
    """

    def __init__(self, sample_rate: int, config: FeatureConfig | None = None, *, boundary: Boundary = "zeros") -> None:
        config = FeatureConfig() if config is None else config
        check_features(sample_rate, config)
        if not config.hop_length <= config.win_length <= config.n_fft:
            sizes = f"{config.hop_length}, {config.win_length}, {config.n_fft}"
            raise ValueError(f"expected hop_length <= win_length <= n_fft, got {sizes}")
        require_room((config.n_fft // 2 + 1) * config.n_mels)
        window = torch.hann_window(config.win_length, dtype=torch.float64, device="cpu")
        window = window[window.count_nonzero().neg() :] * 2 / window.sum()
        super().__init__(len(window), config.hop_length, lookahead=0)
        self.config = config
        self.sample_rate = sample_rate
        self.boundary = boundary
        self.window: Tensor
        self.filters: Tensor
        self.like: Tensor
        device = torch.get_default_device()  # what is computed is computed on the CPU: a shape alone has no values
        self.register_buffer("window", window.float().to(device), persistent=False)
        filters = mel_filters(sample_rate, config).float()
        self.register_buffer("filters", filters.to(device), persistent=False)
        self.register_buffer("like", torch.empty(0), persistent=False)  # of the output's type

    def _apply(self, fn: Any, recurse: bool = True) -> "LogMel":
        exact = {"window": self.window, "filters": self.filters}
        super()._apply(fn, recurse)
        for name, before in exact.items():
            after = getattr(self, name)
            if torch.finfo(after.dtype).bits < 32:  # what half precision rounds off would not come back
                setattr(self, name, before.to(after.device))
        return self

    def input_shape(self) -> tuple[int, ...]:
        return (1,)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (self.config.n_mels,)

    def apply_window(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and not len(x):  # torch's Fourier transform takes no empty batch
            return x.new_empty(0, self.config.n_mels, (x.shape[-1] - self.span) // self.step_size + 1)
        if torch.compiler.is_compiling() or x.device.type != "cpu" or len(x) <= _TOGETHER:  # a graph is of any batch
            return self._log_energies(x)
        return torch.cat([self._log_energies(signals) for signals in x.split(_TOGETHER)])

    def _log_energies(self, x: Tensor) -> Tensor:
        # Energies of quiet frames vanish in half precision, which torch's Fourier transform does not take either.
        with torch.autocast(x.device.type, enabled=False):
            frames = x.to(self.window.dtype).squeeze(1).unfold(-1, self.span, self.step_size) * self.window
            real, imaginary = torch.view_as_real(torch.fft.rfft(frames, n=self.config.n_fft)).unbind(-1)
            # Not a sum over an axis of two, which a CPU takes four times as long for.
            energies = (real.square() + imaginary.square()) @ self.filters
            return torch.log(energies + FLOOR).transpose(1, 2).to(self.like.dtype)

    def extra_repr(self) -> str:
        return f"sample_rate={self.sample_rate}, {self.config}"


def check_features(sample_rate: int, config: FeatureConfig) -> None:
    """Refuse a front end whose numbers are out of range, each by itself.

    Raises:
        TypeError: if one is of another type.
        ValueError: if one is out of its range.
    """
    if not isinstance(config, FeatureConfig):
        raise TypeError(f"config: expected a FeatureConfig, got {shown(config)}")
    bounded_integer("sample_rate", sample_rate, 1, 10_000_000)
    for name in ("n_fft", "win_length", "hop_length", "n_mels"):
        bounded_integer(name, getattr(config, name), 1, 2**20)
    bounded_number("f_min", config.f_min, 0, sample_rate / 2, below=True)
    if config.f_max is not None:
        bounded_number("f_max", config.f_max, 0, sample_rate / 2, above=True)


def mel_edges(sample_rate: int, config: FeatureConfig) -> Tensor:
    """Frequencies at equal distances on the mel scale: where band n begins, has its centre and ends are n to n + 2.

    Args:
        sample_rate: in Hz.
        config: ``n_mels``, ``f_min`` and ``f_max`` are used.

    Returns:
        ``(n_mels + 2,)`` in Hz, float64.

    Raises:
        ValueError: if the frequencies are out of their range.
    """
    check_features(sample_rate, config)
    f_max = sample_rate / 2 if config.f_max is None else config.f_max
    if not 0 <= config.f_min < f_max <= sample_rate / 2:
        raise ValueError(f"expected 0 <= f_min < f_max <= {sample_rate / 2} Hz, got {config.f_min} and {f_max}")
    low, high = (2595 * math.log10(1 + f / 700) for f in (config.f_min, f_max))
    mels = torch.linspace(low, high, config.n_mels + 2, dtype=torch.float64, device="cpu")
    return 700 * (10 ** (mels / 2595) - 1)


def mel_filters(sample_rate: int, config: FeatureConfig) -> Tensor:
    """Triangular mel bands over the bins of the Fourier transform.

    Args:
        sample_rate: in Hz.
        config: ``n_fft``, ``n_mels``, ``f_min`` and ``f_max`` are used.

    Returns:
        ``(n_fft // 2 + 1, n_mels)`` in float64; neighbouring bands meet at each other's centres.

    Raises:
        ValueError: if a band lies beyond half the sample rate or holds no bin.
    """
    edges = mel_edges(sample_rate, config)
    bins = torch.linspace(0, sample_rate / 2, config.n_fft // 2 + 1, dtype=torch.float64, device="cpu")
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rise, fall).clamp_min(0)
    empty = (filters.sum(0) == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"mel bands {shown(empty)} hold no Fourier bin: n_mels {config.n_mels} is too many "
            f"for n_fft {config.n_fft} at {sample_rate} Hz"
        )
    return filters
