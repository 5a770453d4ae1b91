"""Sizes of a config that must fit each other, and what they cost: found out before anything is allocated."""

import math
from collections.abc import Callable
from typing import NoReturn

from wavedil.config import Config, ModelConfig
from wavedil.receptive.description import Layer
from wavedil.receptive.keyword import config_layers
from wavedil.training.ranges import MOST_CHANNELS, MOST_LAYERS, MOST_SAMPLES

MOST_PARAMETERS = 2**28  # 1 GiB in float32, of which training keeps several
MOST_STATE_BYTES = 2**28  # of a stream
MOST_FILTERS = 2**24  # bands by bins of a mel front end
MOST_OVERLAP = 1024  # hops in a Fourier transform
MOST_BATCH_BYTES = 2**38  # 256 GiB, more than any GPU has

Named = Callable[[str], str]
"""Makes the beginning of the message of a dotted key: source and key."""


def check_sizes(config: Config, named: Named) -> None:
    """Refuse sizes that do not fit each other, and models and batches beyond what any machine has memory for.

    Args:
        config: each key is in its own range already.
        named: makes the beginning of the message of a dotted key.

    Raises:
        ValueError: naming the key at fault, the figure and the limit.
    """
    model, rate, samples = config.model, config.data.sample_rate, config.data.clip_samples
    _check_layers(model, named)
    if model.name == "raw" and model.stem == "strided":
        hop, key = _checked_stem(model, named), "model.stem_strides"
    else:
        hop, key = _checked_features(model, rate, named), "model.features.hop_length"
    if hop > samples:
        _refuse(named, key, f"a hop of at most data.clip_samples, {samples}", str(hop))
    if model.name == "broadcast":
        _check_stages(model, named)
    layers = config_layers(config)
    parameters = sum(layer.parameters for layer in layers)
    if parameters > MOST_PARAMETERS:
        key = "model.width" if model.width > 1 else "model.channels"
        _refuse(named, key, f"a model of at most {MOST_PARAMETERS:,} parameters", f"{parameters:,}; lower it")
    state = 4 * sum(layer.state_values for layer in layers)
    if state > MOST_STATE_BYTES:
        key = "model.dilations" if model.dilations else "model.depth"
        found = f"{state:,}; lower it, model.kernel_size or model.window_ms"
        _refuse(named, key, f"a stream that keeps at most {MOST_STATE_BYTES:,} bytes", found)
    needed = batch_bytes(config, layers)
    if needed > MOST_BATCH_BYTES:
        found = f"{needed:,}; lower it, data.clip_samples or the sizes of the model"
        _refuse(named, "train.batch_size", f"a batch of at most {MOST_BATCH_BYTES:,} bytes", found)


def batch_bytes(config: Config, layers: list[Layer]) -> int:
    """The memory that a training batch takes at the least: a float32 for each input of each layer.

    Args:
        config: of the run.
        layers: of its model.
    """
    frames = config.data.clip_samples
    values = math.ceil(2 * (config.augment.shift_ms + config.augment.cut_ms) * config.data.sample_rate / 1000)
    for layer in layers:
        values += layer.in_channels * layer.in_bins * (frames + layer.time.span)
        frames //= layer.time.stride
    return 4 * config.train.batch_size * values


def _check_layers(model: ModelConfig, named: Named) -> None:
    """How many layers there are, how wide they are, and how far they read back."""
    if not model.dilations and model.cycles * model.depth > MOST_LAYERS:
        found = f"{model.cycles} x {model.depth}"
        _refuse(named, "model.cycles", f"at most {MOST_LAYERS} layers in all cycles of model.depth", found)
    if sum(model.stage_blocks) > MOST_LAYERS:
        _refuse(named, "model.stage_blocks", f"at most {MOST_LAYERS} blocks", str(sum(model.stage_blocks)))
    wide = model.widened()
    widest = max(wide.channels, wide.skip_channels, *wide.entry_channels, *wide.stem_channels, *wide.stage_channels)
    if widest > MOST_CHANNELS:
        _refuse(named, "model.width", f"at most {MOST_CHANNELS} channels", f"{widest:,}")
    key, dilation = "dilations" if model.dilations else "depth", max(model.dilations or [2 ** (model.depth - 1)])
    reach = (model.kernel_size - 1) * dilation
    if reach > MOST_SAMPLES:
        found = f"{reach:,}; lower it or model.kernel_size"
        _refuse(named, f"model.{key}", f"layers that read back at most {MOST_SAMPLES:,} frames", found)


def _checked_stem(model: ModelConfig, named: Named) -> int:
    """The hop of the strided stages."""
    channels, strides = len(model.stem_channels), len(model.stem_strides)
    if channels != strides:
        _refuse(named, "model.stem_strides", f"as many as model.stem_channels, {channels}", str(strides))
    return math.prod(model.stem_strides)


def _checked_features(model: ModelConfig, rate: int, named: Named) -> int:
    """The hop of the mel front end or of the filters."""
    features, key = model.features, "model.features."
    hop, win, n_fft = features.hop_length, features.win_length, features.n_fft
    if hop > win:
        _refuse(named, f"{key}hop_length", f"at most win_length, {win}", str(hop))
    if model.name != "raw" and win > n_fft:
        _refuse(named, f"{key}win_length", f"at most n_fft, {n_fft}", str(win))
    if model.name != "raw" and n_fft > MOST_OVERLAP * hop:
        _refuse(named, f"{key}n_fft", f"at most {MOST_OVERLAP} times hop_length, {hop}", str(n_fft))
    if model.name != "raw" and (n_fft // 2 + 1) * features.n_mels > MOST_FILTERS:
        found = f"{features.n_mels} bands of {n_fft // 2 + 1} bins; lower it or n_fft"
        _refuse(named, f"{key}n_mels", f"at most {MOST_FILTERS:,} weights of mel bands", found)
    f_max = rate / 2 if features.f_max is None else features.f_max
    if f_max > rate / 2:
        _refuse(named, f"{key}f_max", f"at most half of data.sample_rate, {rate / 2:g} Hz", f"{f_max:g}")
    if features.f_min >= f_max:
        _refuse(named, f"{key}f_min", f"less than f_max, {f_max:g} Hz", f"{features.f_min:g}")
    if model.name != "raw":
        empty = _empty_bands(features.n_mels, n_fft, rate, features.f_min, f_max)
        if empty:
            found = f"{features.n_mels}, of which {empty} hold none; lower it, or raise n_fft"
            _refuse(named, f"{key}n_mels", "mel bands that each hold a bin of the Fourier transform", found)
    return hop


def _empty_bands(n_mels: int, n_fft: int, rate: int, f_min: float, f_max: float) -> int:
    """How many mel bands lie between two bins of the Fourier transform."""
    low, high = (math.log10(1 + f / 700) for f in (f_min, f_max))
    edges = [700 * (10 ** (low + (high - low) * i / (n_mels + 1)) - 1) * n_fft / rate for i in range(n_mels + 2)]
    return sum(math.floor(edges[i]) + 1 >= edges[i + 2] for i in range(n_mels))


def _check_stages(model: ModelConfig, named: Named) -> None:
    stages = len(model.stage_channels)
    for key in ("stage_blocks", "stage_dilations", "stage_strides"):
        found = len(getattr(model, key))
        if found != stages:
            _refuse(named, f"model.{key}", f"as many as model.stage_channels, {stages}", str(found))
    wide, bins = model.widened(), -(-model.features.n_mels // 2)
    before = [wide.channels, *wide.stage_channels]
    for stage, stride in enumerate(model.stage_strides):
        if stride > 1 and before[stage] == before[stage + 1]:
            expected = f"1 in stage {stage}, which keeps its {before[stage]} channels"
            _refuse(named, "model.stage_strides", expected, str(stride))
        bins = -(-bins // stride)
        if bins % model.bands:
            found = f"{model.bands}, and {bins} bins in stage {stage} (from n_mels and stage_strides)"
            _refuse(named, "model.bands", "a divisor of the bins of every stage", found)


def _refuse(named: Named, key: str, expected: str, found: str) -> NoReturn:
    raise ValueError(f"{named(key)}: expected {expected}, got {found}")
