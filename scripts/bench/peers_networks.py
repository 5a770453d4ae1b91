"""Published keyword networks, written from their papers, in the form that our training takes.

A network of a spectrogram takes normalised log-mel ``(batch, bands, frames)``; one of the waveform takes ``(batch, 1,
samples)`` at its own rate. All give logits ``(batch, n_classes)`` of a whole clip.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavedil.config import FeatureConfig
from wavedil.data.torchaudio_compat import torchaudio
from wavedil.features import LogMel

Family = Literal["mel", "raw", "broadcast"]


class KeywordPeer(nn.Module):
    """A foreign network with a front end, as training and evaluation want a model.

    Args:
        network: from the front end's output to logits.
        front: from waveforms ``(batch, 1, time)``, without parameters.
        bands: of the front end, normalised as in our own models; 0 for a waveform, which is taken as it is.

    Attributes:
        has_spectrogram: whether SpecAugment is for it.
    """

    def __init__(self, network: nn.Module, front: nn.Module, bands: int) -> None:
        super().__init__()
        self.front, self.network = front, network
        self.norm = nn.BatchNorm1d(bands, affine=False) if bands else nn.Identity()
        self.has_spectrogram = bands > 0

    def features(self, waveform: Tensor) -> Tensor:
        """What the front end makes of waveforms, in float32 whatever the network computes in."""
        with torch.autocast(waveform.device.type, enabled=False):
            return self.front(waveform.float())

    def classify(self, features: Tensor) -> Tensor:
        """Logits ``(batch, n_classes)``."""
        return self.network(self.norm(features))

    def clip_logits(self, waveform: Tensor) -> Tensor:
        """Logits ``(batch, n_classes)`` of whole clips ``(batch, 1, time)``."""
        return self.classify(self.features(waveform))


@dataclass(frozen=True)
class Peer:
    """A published network.

    Attributes:
        build: makes it for a number of bands and a number of classes.
        causal: "yes", "no", or "unpadded", which reads nothing ahead but cannot stream as it is.
        sample_rate: of its waveform in Hz; None for a network of our log-mel features.
    """

    build: Callable[[int, int], nn.Module]
    causal: Literal["yes", "no", "unpadded"] = "no"
    sample_rate: int | None = None


def build_peer(name: str, n_classes: int, sample_rate: int, features: FeatureConfig) -> KeywordPeer:
    """A published network by name, behind our features or a resampler.

    Args:
        name: a key of :data:`PEERS`.
        n_classes: number of labels.
        sample_rate: of the clips, in Hz.
        features: settings of the log-mel front end.

    Raises:
        ModuleNotFoundError: if the network is of a package that is not installed.
        ValueError: if the features do not fit the network.
    """
    peer = PEERS[name]
    if peer.sample_rate is None:
        return KeywordPeer(peer.build(features.n_mels, n_classes), LogMel(sample_rate, features), features.n_mels)
    resample = torchaudio().transforms.Resample(sample_rate, peer.sample_rate)
    return KeywordPeer(peer.build(1, n_classes), resample, 0)


class CausalTCN(nn.Module):
    """pytorch-tcn's residual network, made causal, and a linear classifier of its mean over time.

    Five blocks of two convolutions, kernel size 4, dilations 1 to 16, the package's dropout of 0.1. Batch norm, because
    its default, weight norm, undoes the package's own initialisation. Source: Bai et al. 2018, arXiv:1803.01271.
    """

    def __init__(self, bands: int, n_classes: int, channels: int = 48, depth: int = 5) -> None:
        try:
            from pytorch_tcn import TCN
        except ModuleNotFoundError:
            raise ModuleNotFoundError("the network 'tcn' needs pytorch-tcn: pip install pytorch-tcn") from None
        super().__init__()
        self.body = TCN(bands, [channels] * depth, causal=True, use_norm="batch_norm")
        self.classifier = nn.Linear(channels, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x).mean(-1))


class M5(nn.Sequential):
    """Four unpadded convolutions over a waveform at 8 kHz, each with a norm, a rectifier and a pool by 4.

    Source: Dai et al. 2016, arXiv:1610.00087, with the sizes of torchaudio's speech command tutorial.
    """

    def __init__(self, channels_in: int, n_classes: int, channels: int = 32) -> None:
        layers: list[nn.Module] = []
        widths = (channels_in, channels, channels, 2 * channels, 2 * channels)
        for before, after in pairwise(widths):
            first = not layers
            conv = nn.Conv1d(before, after, 80 if first else 3, stride=16 if first else 1)
            layers += [conv, nn.BatchNorm1d(after), nn.ReLU(), nn.MaxPool1d(4)]
        super().__init__(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(widths[-1], n_classes))


class SameConv2d(nn.Conv2d):
    """Convolution without bias whose output has ``ceil(size / stride)`` elements, padded as TensorFlow does."""

    def __init__(self, before: int, after: int, kernel: tuple[int, int], stride: tuple[int, int], groups: int) -> None:
        super().__init__(before, after, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        padding: list[int] = []
        for size, kernel, stride in zip(input.shape[-2:], self.kernel_size, self.stride, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding = [total // 2, total - total // 2, *padding]
        return super().forward(F.pad(input, padding))


class DSCNN(nn.Sequential):
    """A convolution, four depthwise separable ones, a mean over time and frequency, a linear classifier.

    As published it reads 10 cepstral coefficients of 49 frames; its weights are as many for any spectrogram. With its
    norms folded into the biases it has the published number of them. Source: Zhang et al. 2017, arXiv:1711.07128.

    Args:
        bands: any number.
        n_classes: number of labels.
        channels: of all layers.
        strides: of each layer, in (frequency, time).
    """

    def __init__(self, bands: int, n_classes: int, channels: int, strides: tuple[tuple[int, int], ...]) -> None:
        super().__init__(nn.Unflatten(1, (1, bands)))
        self._add(1, channels, (4, 10), strides[0])
        for stride in strides[1:]:
            self._add(channels, channels, (3, 3), stride, groups=channels)
            self._add(channels, channels, (1, 1), (1, 1))
        self.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, n_classes)])

    def _add(self, before: int, after: int, kernel: tuple[int, int], stride: tuple[int, int], groups: int = 1) -> None:
        self.extend([SameConv2d(before, after, kernel, stride, groups), nn.BatchNorm2d(after), nn.ReLU()])


class Res8(nn.Module):
    """A convolution, a mean over 3 bands and 4 frames, three residual blocks of two convolutions, a linear classifier.

    45 maps throughout, norms without gains, rectifiers before the norms, each sum before the norm of its block's second
    convolution. Source: Tang and Lin 2018, arXiv:1710.10361, and their code at github.com/castorini/honk.
    """

    def __init__(self, bands: int, n_classes: int, channels: int = 45) -> None:
        super().__init__()
        self.entry = nn.Sequential(
            nn.Unflatten(1, (1, bands)),
            nn.Conv2d(1, channels, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.AvgPool2d((3, 4)),
        )
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(6))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for _ in range(6))
        self.classifier = nn.Linear(channels, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = past = self.entry(x)
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(conv(x))
            if number % 2:
                x = past = x + past
            x = norm(x)
        return self.classifier(x.mean((2, 3)))


class SubSpectralNorm(nn.BatchNorm2d):
    """Batch norm with statistics and gains for each of five ranges of frequency. Source: Chang 2021, ICASSP."""

    RANGES = 5

    def __init__(self, channels: int) -> None:
        super().__init__(channels * self.RANGES)

    def forward(self, input: Tensor) -> Tensor:
        batch, channels, frequency, time = input.shape
        split = input.reshape(batch, channels * self.RANGES, frequency // self.RANGES, time)
        return super().forward(split).view_as(input)


class BroadcastBlock(nn.Module):
    """BC-ResNet's block: a depthwise convolution over frequency, and a temporal one of its mean, added to all bands.

    Where the number of channels changes, a 1x1 convolution comes first and the input is not added.
    """

    def __init__(self, before: int, after: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.residual = before == after
        point = [nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.spectral = nn.Sequential(
            *([] if self.residual else point),
            nn.Conv2d(after, after, (3, 1), (stride, 1), (1, 0), groups=after, bias=False),
            SubSpectralNorm(after),
        )
        self.temporal = nn.Sequential(
            nn.Conv2d(after, after, (1, 3), padding=(0, dilation), dilation=(1, dilation), groups=after, bias=False),
            nn.BatchNorm2d(after),
            nn.SiLU(),
            nn.Conv2d(after, after, 1, bias=False),
            nn.Dropout2d(0.1),
        )

    def forward(self, x: Tensor) -> Tensor:
        bands = self.spectral(x)
        y = bands + self.temporal(bands.mean(2, keepdim=True))
        return F.relu(y + x if self.residual else y)


class BCResNet(nn.Sequential):
    """Broadcasted residual network over 40 bands, not causal. Source: Kim et al. 2021, arXiv:2106.04140, table 1.

    Args:
        bands: 40; it halves them three times and normalises in five ranges.
        n_classes: number of labels.
        width: 1 for BC-ResNet-1, 3 for BC-ResNet-3.

    Raises:
        ValueError: if there are not 40 bands.
    """

    def __init__(self, bands: int, n_classes: int, width: int) -> None:
        if bands != 40:
            raise ValueError(f"model.features.n_mels: expected 40 for BC-ResNet, got {bands}")
        widths = [width * channels for channels in (16, 8, 12, 16, 20, 32)]
        layers: list[nn.Module] = [
            nn.Unflatten(1, (1, bands)),
            nn.Conv2d(1, widths[0], 5, (2, 1), 2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for stage, (blocks, stride) in enumerate(((2, 1), (2, 2), (4, 2), (4, 1))):
            before, after = widths[stage : stage + 2]
            layers.append(BroadcastBlock(before, after, stride, 2**stage))
            layers += [BroadcastBlock(after, after, 1, 2**stage) for _ in range(blocks - 1)]
        *_, before, after = widths
        super().__init__(
            *layers,
            nn.Conv2d(before, before, 5, padding=(0, 2), groups=before, bias=False),
            nn.Conv2d(before, after, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(after, n_classes),
        )


def _ds_cnn_s(bands: int, n_classes: int) -> DSCNN:
    return DSCNN(bands, n_classes, 64, ((2, 2), *[(1, 1)] * 4))


def _ds_cnn_m(bands: int, n_classes: int) -> DSCNN:
    return DSCNN(bands, n_classes, 172, ((1, 2), (2, 2), *[(1, 1)] * 3))


PEERS: dict[str, Peer] = {
    "tcn": Peer(CausalTCN, causal="yes"),
    "m5": Peer(M5, causal="unpadded", sample_rate=8000),
    "ds-cnn-s": Peer(_ds_cnn_s),
    "ds-cnn-m": Peer(_ds_cnn_m),
    "res8": Peer(Res8),
    "bc-resnet-1": Peer(lambda bands, n_classes: BCResNet(bands, n_classes, 1)),
    "bc-resnet-3": Peer(lambda bands, n_classes: BCResNet(bands, n_classes, 3)),
}
