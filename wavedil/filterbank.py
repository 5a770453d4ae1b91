"""A learned front end: log energies of filters on the waveform, which begin as a mel filter bank of windowed waves."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavedil.config import Boundary, FeatureConfig
from wavedil.features import FLOOR, check_features, mel_edges
from wavedil.layers.base import Window
from wavedil.layers.sizes import require_room


class FilterEnergies(Window):
    """Logarithm of the energies of learned filters, two for each band, which begin in quadrature.

    ``y = log((a * x)^2 + (b * x)^2 + floor)``: of a wave, the sum of the squares does not depend on its phase. The
    filters begin as Hann-windowed cosines and sines at the centres of mel bands, shorter where bands are wider, scaled
    so that a full-scale sine gives about 1. The weights are theirs times a quarter of the length: of order one. After
    Zeghidour et al. 2018, "Learning filterbanks from raw speech for phone recognition", arXiv:1711.01161, with one
    window a frame.

    Args:
        sample_rate: in Hz.
        config: ``win_length``, ``hop_length``, ``n_mels``, ``f_min`` and ``f_max`` are used.
        boundary: zeros before the start, which here is silence.

    Shape:
        ``(batch, 1, time)`` in [-1, 1] to ``(batch, n_mels, time // hop_length)``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if the window is shorter than the hop, or the frequencies are out of their range.
    """

    def __init__(self, sample_rate: int, config: FeatureConfig | None = None, *, boundary: Boundary = "zeros") -> None:
        config = FeatureConfig() if config is None else config
        check_features(sample_rate, config)
        require_room(2 * config.n_mels * config.win_length)
        if not 1 <= config.hop_length <= config.win_length:
            raise ValueError(f"expected 1 <= hop_length <= win_length, got {config.hop_length}, {config.win_length}")
        super().__init__(config.win_length, config.hop_length, lookahead=0)
        self.config = config
        self.sample_rate = sample_rate
        self.boundary = boundary
        begun = waves(sample_rate, config).to(torch.get_default_dtype())
        self.weight = nn.Parameter(begun.to(torch.get_default_device()))

    @property
    def scale(self) -> float:
        """What the weights, of order one, are multiplied by."""
        return 4 / self.span

    def input_shape(self) -> tuple[int, ...]:
        return (1,)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (self.config.n_mels,)

    def apply_window(self, x: Tensor) -> Tensor:
        # Energies of quiet frames vanish in half precision.
        with torch.autocast(x.device.type, enabled=False):
            weight = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32)) * self.scale
            filtered = F.conv1d(x.to(weight.dtype), weight.unsqueeze(1), stride=self.step_size)
            in_phase, quadrature = filtered.chunk(2, dim=1)
            return torch.log(in_phase * in_phase + quadrature * quadrature + FLOOR).to(self.weight.dtype)

    def extra_repr(self) -> str:
        return f"sample_rate={self.sample_rate}, {self.config}"


def waves(sample_rate: int, config: FeatureConfig) -> Tensor:
    """Hann-windowed cosines and sines at the centres of mel bands.

    Returns:
        ``(2 n_mels, win_length)`` in float64: the cosines, then the sines; a window spans four periods of its band's
        width, or ``win_length``, and is scaled to the sum that one of ``win_length`` has.

    Raises:
        ValueError: if the frequencies are out of their range.
    """
    edges = mel_edges(sample_rate, config)
    centres, widths = edges[1:-1, None], (edges[2:] - edges[:-2])[:, None] / 2
    time = torch.arange(config.win_length, dtype=torch.float64, device="cpu") - (config.win_length - 1) / 2
    lengths = (4 * sample_rate / widths).clamp(max=config.win_length)
    windows = torch.where(time.abs() < lengths / 2, 0.5 + 0.5 * torch.cos(2 * math.pi * time / lengths), 0.0)
    windows *= config.win_length / 2 / windows.sum(1, keepdim=True)
    phase = 2 * math.pi * centres * time / sample_rate
    return torch.cat([windows * torch.cos(phase), windows * torch.sin(phase)])
