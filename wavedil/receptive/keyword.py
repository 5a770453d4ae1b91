"""The package's keyword models as described layers: their receptive field, costs and state without torch."""

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from wavedil.config import Config, DataConfig, ModelConfig
from wavedil.receptive.description import Geometry, Layer, convolution
from wavedil.receptive.dilations import exponential_dilations

# Learned values a channel.
_NORM_PARAMETERS = {"batch": 2, "layer": 2, "rms": 1, "none": 0}


def config_layers(config: Config) -> list[Layer]:
    """The model that a config trains, for as many classes as its words make.

    Raises:
        ValueError: if the sizes do not fit each other.
    """
    return keyword_layers(config.model, class_count(config.data), config.data.sample_rate)


def class_count(config: DataConfig) -> int:
    """How many classes the config's words are, with those for unknown words and silence."""
    if config.words == "12":  # 10 words; the other two classes belong to it
        return 12
    words = 35 if isinstance(config.words, str) else len(config.words)
    return words + config.unknown + config.silence


def keyword_layers(config: ModelConfig, n_classes: int, sample_rate: int) -> list[Layer]:
    """The layers of :func:`wavedil.models.build_model`, norms counted with the convolution that they belong to.

    Of the log-mel front end the matrix product with the mel bands is counted, the Fourier transform is not. The skip
    sum reads what the last block reads: every block before it is on the way to the last one.

    Args:
        config: front end and sizes.
        n_classes: number of labels.
        sample_rate: of the waveform, in Hz.

    Raises:
        ValueError: if the sizes do not fit each other.

    Example:
        >>> [layer.name for layer in keyword_layers(ModelConfig(cycles=1, depth=2), 12, 16_000)]
        ['log-mel', 'entry', 'block 0', 'block 1', 'output', 'average', 'classifier']
    """
    sizes = config.widened()
    parts = {
        "mel": (_log_mel, _mel_body),
        "raw": (_filters, _mel_body) if config.stem == "filters" else (_raw_front, _raw_body),
        "broadcast": (_log_mel, _broadcast_body),
    }
    front, body = (list(part(sizes)) for part in parts[config.name])
    hop = prod(layer.time.stride for layer in front)
    window = max(round(config.window_ms / 1000 * sample_rate / hop), 1)
    width = sizes.skip_channels
    return [
        *front,
        *body,
        Layer("average", "pool", Geometry.causal(window), in_channels=width),
        _pointwise("classifier", width, n_classes),
    ]


def _log_mel(config: ModelConfig) -> Iterator[Layer]:
    features = config.features
    win, hop, bands = features.win_length, features.hop_length, features.n_mels
    if not hop <= win <= features.n_fft:
        raise ValueError(f"expected hop_length <= win_length <= n_fft, got {hop}, {win}, {features.n_fft}")
    # The first sample of a periodic Hann window is zero, and is not read.
    time = Geometry(max(win - 1, 1), hop, padding=max(win - 1, 1) - hop)
    yield Layer("log-mel", "framing", time, macs=(features.n_fft // 2 + 1) * bands)


def _filters(config: ModelConfig) -> Iterator[Layer]:
    win, hop, bands = config.features.win_length, config.features.hop_length, config.features.n_mels
    if not 1 <= hop <= win:
        raise ValueError(f"expected 1 <= hop_length <= win_length, got {hop}, {win}")
    yield Layer("filters", "conv", Geometry.causal(win, hop), parameters=2 * bands * win, macs=2 * bands * win)


def _mel_body(config: ModelConfig) -> Iterator[Layer]:
    bands = config.features.n_mels
    if config.entry_channels:
        yield from _spectrogram_entry(config)
    else:
        entry = convolution("entry", Geometry.causal(3), in_channels=bands, out_channels=config.channels)
        yield _with_norm(entry, "batch", bands)
    yield from _blocks(config)


def _spectrogram_entry(config: ModelConfig) -> Iterator[Layer]:
    """Along time alone; each convolution halves the bins."""
    before, bins = 1, config.features.n_mels
    for number, channels in enumerate(config.entry_channels):
        weights = 3 * (3 if number else 5) * before * channels
        macs = weights * -(-bins // 2)
        layer = Layer(
            f"entry {number}",
            "conv",
            Geometry.causal(3),
            in_channels=before,
            parameters=weights,
            macs=macs,
            in_bins=bins,
        )
        layer = _with_norm(layer, "batch", channels)
        yield layer if number else _with_norm(layer, "batch", bins)
        before, bins = channels, -(-bins // 2)
    yield _pointwise(f"entry {len(config.entry_channels)}", before * bins, config.channels)


def _raw_front(config: ModelConfig) -> Iterator[Layer]:
    channels, strides = config.stem_channels, config.stem_strides
    if not channels or len(channels) != len(strides):
        raise ValueError(f"expected as many stem_channels as stem_strides, got {channels} and {strides}")
    for i, (before, after, stride) in enumerate(zip([1, *channels[:-1]], channels, strides, strict=True)):
        sizes = {"in_channels": before, "out_channels": after, "bias": False}
        yield _with_norm(convolution(f"stem {i}", Geometry.causal(2 * stride, stride), **sizes), "batch", after)


def _raw_body(config: ModelConfig) -> Iterator[Layer]:
    yield _pointwise("entry", config.stem_channels[-1], config.channels)
    yield from _blocks(config)


def _broadcast_body(config: ModelConfig) -> Iterator[Layer]:
    """Along time alone: after the first block each output reads all of frequency."""
    bands, before = config.features.n_mels, config.channels
    bins = -(-bands // 2)
    entry = Layer("entry", "conv", Geometry.causal(5), parameters=25 * before, macs=25 * before * bins, in_bins=bands)
    yield _with_norm(_with_norm(entry, "batch", bands), "batch", before)
    stages = zip(config.stage_channels, config.stage_blocks, config.stage_dilations, config.stage_strides, strict=True)
    blocks = [(c, dilation, stride if i == 0 else 1) for c, n, dilation, stride in stages for i in range(n)]
    for number, (channels, dilation, stride) in enumerate(blocks):
        change = 0 if channels == before else before * channels
        over_time = 3 * channels + channels * channels
        out_bins = -(-bins // stride)
        block = Layer(
            f"block {number}",
            "broadcast",
            replace(Geometry.causal(3, dilation=dilation), residual=True),
            in_channels=channels,
            parameters=change + 3 * channels + over_time,
            macs=change * bins + 3 * channels * out_bins + over_time,
        )
        norms = channels * (config.bands + 1 + (change > 0))
        yield _with_norm(block, "batch", norms)
        before, bins = channels, out_bins
    weights = 5 * bins * before
    yield Layer("merge", "conv", Geometry.causal(5), in_channels=before, parameters=weights, macs=weights, in_bins=bins)
    out = config.skip_channels
    output = convolution("output", Geometry(), in_channels=before, out_channels=out, bias=False)
    yield _with_norm(output, "batch", out)


def _blocks(config: ModelConfig) -> Iterator[Layer]:
    """Gated residual blocks with a skip projection, and the 1x1 convolution behind their sum.

    Nothing reads the residual of the last block, so it projects none.
    """
    channels, kernel_size = config.channels, config.kernel_size
    dilations = config.dilations or exponential_dilations(config.cycles, config.depth)
    for i, dilation in enumerate(dilations):
        projected = config.skip_channels + (channels if i + 1 < len(dilations) else 0)
        weights = 2 * channels * channels * kernel_size + channels * projected
        block = Layer(
            f"block {i}",
            "gated",
            replace(Geometry.causal(kernel_size, dilation=dilation), residual=True),
            in_channels=channels,
            parameters=weights + 2 * channels + projected,
            macs=weights,
        )
        yield _with_norm(block, config.norm, 2 * channels)
    width = config.skip_channels
    yield _with_norm(_pointwise("output", width, width), "batch", width)


def _pointwise(name: str, in_channels: int, out_channels: int) -> Layer:
    return convolution(name, Geometry(), in_channels=in_channels, out_channels=out_channels)


def _with_norm(layer: Layer, norm: str, channels: int) -> Layer:
    return replace(layer, parameters=layer.parameters + _NORM_PARAMETERS[norm] * channels)
