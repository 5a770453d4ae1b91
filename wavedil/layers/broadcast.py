"""The broadcast residual block: what two dimensions know of frequency, with one dimension's memory of time."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavedil.layers.base import Pointwise, State
from wavedil.layers.chain import Chain
from wavedil.layers.conv import CausalConv1d, CausalConv2d, OverSpectrograms
from wavedil.layers.norm import BatchNorm1d, BatchNorm2d, SubSpectralNorm
from wavedil.layers.sizes import require_channels, require_probability, require_sizes
from wavedil.receptive import Field


class FrequencyMean(Pointwise):
    """The mean over frequency: ``(batch, channels, frequency, time)`` to ``(batch, channels, time)``."""

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0],)

    def apply_point(self, x: Tensor) -> Tensor:
        # Not x.mean: it divides a gradient after spreading it over the bins, in a layout that slows down what follows.
        return x.sum(dim=2) / x.shape[2]


class BroadcastResidualBlock(OverSpectrograms):
    """Depthwise over frequency; then, of the mean over frequency, dilated and causal over time, broadcast back.

    ``f = SSN(depthwise(x))``, ``y = ReLU(x + f + broadcast(W SiLU(BN(dilated(mean(f))))))``; where the channels change,
    a 1x1 convolution with norm and ReLU comes first, and x is left out of the sum. Only the mean over frequency is
    remembered, so a stream's state is that of a 1D network. Source: Kim et al. 2021, arXiv:2106.04140, there centred in
    time; sub-spectral normalisation: Chang et al. 2021, arXiv:2103.13620.

    Args:
        in_channels: channels in.
        channels: channels out.
        dilation: frames between the three taps over time.
        frequency_stride: bins between outputs; above 1 only where the channels change.
        bands: of the sub-spectral normalisation; they divide the bins.
        dropout: probability that a channel is left out behind the 1x1 convolution.

    Shape:
        ``(batch, in_channels, frequency, time)`` to ``(batch, channels, frequency / frequency_stride, time)``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range.

    Example:
        >>> block = BroadcastResidualBlock(8, 12, dilation=2, frequency_stride=2)
        >>> block(torch.zeros(1, 8, 20, 50)).shape, block.receptive_field
        (torch.Size([1, 12, 10, 50]), 5)
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dilation: int = 1,
        *,
        frequency_stride: int = 1,
        bands: int = 5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_channels(in_channels=in_channels, channels=channels, frequency_stride=frequency_stride, bands=bands)
        require_sizes(dilation=dilation)
        require_probability("dropout", dropout)
        self.in_channels, self.channels = in_channels, channels
        self.is_residual = in_channels == channels
        if self.is_residual and frequency_stride != 1:
            raise ValueError(f"frequency_stride must be 1 where the channels stay the same, got {frequency_stride}")
        change: list[nn.Module] = []
        if not self.is_residual:
            change = [CausalConv2d(in_channels, channels, 1, bias=False), BatchNorm2d(channels), nn.ReLU()]
        self.change = Chain(*change)
        stride = (frequency_stride, 1)
        self.frequency = Chain(
            CausalConv2d(channels, channels, (3, 1), stride, groups=channels, bias=False),
            SubSpectralNorm(channels, bands),
        )
        self.time = Chain(
            FrequencyMean(),
            CausalConv1d(channels, channels, 3, dilation=dilation, groups=channels, bias=False),
            BatchNorm1d(channels),
            nn.SiLU(),
            CausalConv1d(channels, channels, 1, bias=False),
            nn.Dropout1d(dropout),
        )

    @property
    def field(self) -> Field:
        return self.time.field

    @property
    def frequency_field(self) -> Field:
        return Field(1, 1, (-torch.inf,), (torch.inf,))

    @property
    def state_names(self) -> tuple[str, ...]:
        return tuple(f"time.{name}" for name in self.time.state_names)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return self.frequency.output_shape(self.change.output_shape(shape))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        by_bin = self.frequency.step(self.change.step(x, ())[0], ())[0]
        by_frame, state = self.time.step(by_bin, state)
        return self._sum(x, by_bin, by_frame), state

    def start(self, x: Tensor, silence: bool, **conditions: Any) -> tuple[Tensor, State]:
        by_bin = self.frequency.start(self.change.start(x, silence)[0], silence)[0]
        by_frame, state = self.time.start(by_bin, silence)
        y = self._sum(x, by_bin, by_frame)
        return (y if silence else torch.zeros_like(y)), state

    def _sum(self, x: Tensor, by_bin: Tensor, by_frame: Tensor) -> Tensor:
        y = by_bin + by_frame[:, :, None]
        return F.relu(x + y if self.is_residual else y)
