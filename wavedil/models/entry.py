"""From the bands of a spectrogram to the channels of a stack over time."""

from collections.abc import Sequence

from torch import Tensor, nn

from wavedil.config import ModelConfig
from wavedil.layers import BatchNorm1d, BatchNorm2d, CausalConv1d, CausalConv2d, Pointwise


class AsSpectrogram(Pointwise):
    """Bands as one channel of a spectrogram: ``(batch, bands, time)`` to ``(batch, 1, bands, time)``."""

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (1, *shape)

    def apply_point(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1)


class AsBands(Pointwise):
    """Channels and bins side by side: ``(batch, channels, bins, time)`` to ``(batch, channels * bins, time)``."""

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0] * shape[1],)

    def apply_point(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2)


def spectrogram_entry(config: ModelConfig) -> list[nn.Module]:
    """From ``(batch, n_mels, frames)`` to ``(batch, channels, frames)``: straight, or by convolutions over both axes.

    The latter see a pattern wherever it lies in frequency, and each halves the bins.

    Args:
        config: ``entry_channels``, ``channels`` and ``features.n_mels`` are used; its width is multiplied in already.
    """
    bands = config.features.n_mels
    if not config.entry_channels:
        return [BatchNorm1d(bands), CausalConv1d(bands, config.channels, 3)]
    layers: list[nn.Module] = [BatchNorm1d(bands), AsSpectrogram()]
    shape: tuple[int, ...] = (1, bands)
    for number, channels in enumerate(config.entry_channels):
        conv = CausalConv2d(shape[0], channels, (3 if number else 5, 3), (2, 1), bias=False)
        layers += [conv, BatchNorm2d(channels), nn.ReLU()]
        shape = conv.output_shape(shape)
    return [*layers, AsBands(), CausalConv1d(shape[0] * shape[1], config.channels, 1)]
