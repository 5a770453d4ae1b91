"""Keyword models: a front end, a dilated gated stack, and a classifier over an exact average of time."""

import torch
from torch import Tensor, nn

from wavedil.checks import bounded_integer
from wavedil.config import ModelConfig
from wavedil.features import LogMel
from wavedil.filterbank import FilterEnergies
from wavedil.layers import BatchNorm1d, CausalAvgPool1d, CausalConv1d, Chain, DilatedStack, StreamingModule
from wavedil.layers.interleave import BatchRunner, run_each
from wavedil.layers.sizes import require_channels
from wavedil.models.broadcast import broadcast_body
from wavedil.models.config import check_config
from wavedil.models.entry import spectrogram_entry
from wavedil.receptive import exponential_dilations


class KeywordModel(Chain):
    """Waveform in, logits for each frame out; the last frame's are those of the clip.

    ``front`` turns samples into frames (log-mel, or strided convolutions), ``body`` into features for each frame,
    ``pool`` averages them over the window and ``classifier`` is linear. All of it is causal and streams.

    Args:
        config: which front end and which sizes.
        n_classes: number of labels.
        sample_rate: of the waveform, in Hz.

    Shape:
        ``(batch, 1, time)`` to logits ``(batch, n_classes, time // hop)``.

    Raises:
        TypeError: if an argument, or a value of the config, is of another type.
        ValueError: if a value is out of its range, or the sizes do not fit each other.
    """

    def __init__(self, config: ModelConfig, n_classes: int, sample_rate: int = 16_000) -> None:
        check_config(config)
        require_channels(n_classes=n_classes)
        bounded_integer("sample_rate", sample_rate, 1, 10_000_000)
        has_spectrogram = config.name != "raw" or config.stem == "filters"
        sizes = config.widened()
        front = make_front(sizes, sample_rate)
        window = max(round(config.window_ms / 1000 * sample_rate / front.hop), 1)
        super().__init__(
            ("front", front),
            ("body", broadcast_body(sizes) if config.name == "broadcast" else keyword_body(sizes)),
            ("pool", CausalAvgPool1d(window, stride=1)),
            ("head", Chain(nn.Dropout(config.dropout), nn.Conv1d(sizes.skip_channels, n_classes, 1))),
            boundary=config.boundary,
        )
        self.config = config
        self.n_classes = n_classes
        self.sample_rate = sample_rate
        self.has_spectrogram = has_spectrogram
        self.window = window

    def input_shape(self) -> tuple[int, ...]:
        return (1,)

    def __repr__(self) -> str:
        weights = sum(weight.numel() for weight in self.parameters())
        field = f"{self.receptive_field} ({self.receptive_field_seconds():.2f} s)"
        own = f"{self.config.name}, n_classes={self.n_classes}, sample_rate={self.sample_rate}, parameters={weights}"
        lines = [f"{type(self).__name__}({own}, receptive_field={field}, hop={self.hop},"]
        for name, layer in self.layers.items():
            lines += f"({name}): {layer!r}".splitlines()
        return "\n  ".join(lines) + "\n)"

    def features(self, waveform: Tensor, run: BatchRunner = run_each) -> Tensor:
        """What the front end makes of a waveform ``(batch, 1, time)``: ``(batch, channels, frames)``.

        Args:
            waveform: in [-1, 1].
            run: how the front end computes a batch; the result is the same.
        """
        before = waveform.new_zeros(1, 1, self.hop)  # the same for all of them
        return run(self.front, waveform, self.front.start(before, self.boundary == "silence")[1])

    def classify(self, features: Tensor, run: BatchRunner = run_each) -> Tensor:
        """Logits ``(batch, n_classes)`` of the last frame, from the front end's features of a whole clip.

        Only the average that the last frame needs is computed, as training wants it.

        Args:
            features: ``(batch, channels, frames)``.
            run: how the body computes a batch; the result is the same.
        """
        front, body, pool, head = self._layers()
        silence = self.boundary == "silence"
        before = features.new_zeros(1, 1, self.hop)  # the same for all of them
        past, state = body.start(front.start(before, silence)[0].to(features.dtype), silence)
        frames = run(body, features, state)
        if frames.shape[-1] < self.window:
            past = past.expand(len(frames), *past.shape[1:])
            frames = torch.cat([*pool.start(past, silence)[1], frames], dim=-1)
        average = frames[..., -self.window :].mean(-1, keepdim=True)
        return head(average).squeeze(-1)

    def clip_logits(self, waveform: Tensor, run: BatchRunner = run_each) -> Tensor:
        """Logits ``(batch, n_classes)`` of a whole clip ``(batch, 1, time)``: those of its last frame."""
        return self.classify(self.features(waveform), run)

    @property
    def front(self) -> StreamingModule:
        """From the waveform to frames."""
        return self._layers()[0]

    @property
    def body(self) -> StreamingModule:
        """Everything between the front end and the average over time."""
        return self._layers()[1]


def make_front(config: ModelConfig, sample_rate: int) -> StreamingModule:
    """From the waveform to frames, ``(batch, channels, time // hop)``."""
    if config.name != "raw":
        return LogMel(sample_rate, config.features)
    return FilterEnergies(sample_rate, config.features) if config.stem == "filters" else raw_front(config)


def raw_front(config: ModelConfig) -> Chain:
    """Strided causal convolutions from the waveform to frames; each kernel is twice its stride, so that frames overlap.

    Raises:
        ValueError: if the stages' channels and strides are not equally many.
    """
    channels, strides = config.stem_channels, config.stem_strides
    if not channels or len(channels) != len(strides):
        raise ValueError(f"expected as many stem_channels as stem_strides, got {channels} and {strides}")
    layers: list[nn.Module] = []
    for before, after, stride in zip([1, *channels[:-1]], channels, strides, strict=True):
        layers += [CausalConv1d(before, after, 2 * stride, stride, bias=False), BatchNorm1d(after), nn.ReLU()]
    return Chain(*layers)


def keyword_body(config: ModelConfig) -> Chain:
    """From the front end's frames to features for the classifier, ``(batch, skip_channels, frames)``."""
    stack = DilatedStack(
        config.channels,
        config.kernel_size,
        config.dilations or exponential_dilations(config.cycles, config.depth),
        skip_channels=config.skip_channels,
        gate=config.gate,
        norm=config.norm,
        dropout=config.dropout,
    )
    if config.name == "mel" or config.stem == "filters":
        entry = spectrogram_entry(config)
    else:
        entry = [CausalConv1d(config.stem_channels[-1], config.channels, 1)]
    width = config.skip_channels
    return Chain(*entry, stack, BatchNorm1d(width), nn.ReLU(), CausalConv1d(width, width, 1), nn.ReLU())


def build_model(config: ModelConfig, n_classes: int, sample_rate: int = 16_000) -> KeywordModel:
    """The keyword model that a config describes.

    Args:
        config: front end and sizes.
        n_classes: number of labels.
        sample_rate: of the waveform, in Hz.

    Raises:
        TypeError: if an argument, or a value of the config, is of another type.
        ValueError: if a value is out of its range, or the sizes do not fit each other.
    """
    return KeywordModel(config, n_classes, sample_rate)
