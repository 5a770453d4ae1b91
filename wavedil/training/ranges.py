"""The range that each number of a config must lie in."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

Range = tuple[str, Callable[[Any], bool]]

POSITIVE: Range = ("more than 0", lambda value: value > 0)
NOT_NEGATIVE: Range = ("at least 0", lambda value: value >= 0)
AT_LEAST_ONE: Range = ("at least 1", lambda value: value >= 1)
PROBABILITY: Range = ("between 0 and 1", lambda value: 0 <= value <= 1)
BELOW_ONE: Range = ("at least 0 and below 1", lambda value: 0 <= value < 1)
SOME_POSITIVE: Range = ("one or more integers, each at least 1", lambda v: bool(v) and all(item >= 1 for item in v))
ALL_POSITIVE: Range = ("a list of integers, each at least 1", lambda value: all(item >= 1 for item in value))
SOME_WORDS: Range = ('"35", "12" or a list of one or more different words', lambda v: _are_words(v))

RANGES: dict[str, Range] = {
    "seed": NOT_NEGATIVE,
    "data.words": SOME_WORDS,
    "data.unknown_share": BELOW_ONE,
    "data.silence_share": BELOW_ONE,
    "data.speakers": AT_LEAST_ONE,
    "data.sample_rate": AT_LEAST_ONE,
    "data.clip_samples": AT_LEAST_ONE,
    "augment.shift_ms": NOT_NEGATIVE,
    "augment.cut_probability": PROBABILITY,
    "augment.cut_ms": NOT_NEGATIVE,
    "augment.gain_db": NOT_NEGATIVE,
    "augment.speed": BELOW_ONE,
    "augment.noise_probability": PROBABILITY,
    "augment.noise_gain": NOT_NEGATIVE,
    "augment.frequency_warp": BELOW_ONE,
    "augment.style_probability": PROBABILITY,
    "augment.filter_db": NOT_NEGATIVE,
    "augment.time_masks": NOT_NEGATIVE,
    "augment.time_mask_frames": NOT_NEGATIVE,
    "augment.frequency_masks": NOT_NEGATIVE,
    "augment.frequency_mask_bins": NOT_NEGATIVE,
    "augment.mixup": NOT_NEGATIVE,
    "model.width": POSITIVE,
    "model.channels": AT_LEAST_ONE,
    "model.skip_channels": AT_LEAST_ONE,
    "model.entry_channels": ALL_POSITIVE,
    "model.kernel_size": AT_LEAST_ONE,
    "model.cycles": AT_LEAST_ONE,
    "model.depth": AT_LEAST_ONE,
    "model.dilations": ALL_POSITIVE,
    "model.dropout": BELOW_ONE,
    "model.window_ms": POSITIVE,
    "model.stem_channels": SOME_POSITIVE,
    "model.stem_strides": SOME_POSITIVE,
    "model.stage_channels": SOME_POSITIVE,
    "model.stage_blocks": SOME_POSITIVE,
    "model.stage_dilations": SOME_POSITIVE,
    "model.stage_strides": SOME_POSITIVE,
    "model.bands": AT_LEAST_ONE,
    "model.features.n_fft": AT_LEAST_ONE,
    "model.features.win_length": AT_LEAST_ONE,
    "model.features.hop_length": AT_LEAST_ONE,
    "model.features.n_mels": AT_LEAST_ONE,
    "model.features.f_min": NOT_NEGATIVE,
    "model.features.f_max": ("none or more than 0", lambda value: value is None or value > 0),
    "train.epochs": AT_LEAST_ONE,
    "train.batch_size": AT_LEAST_ONE,
    "train.lr": POSITIVE,
    "train.weight_decay": NOT_NEGATIVE,
    "train.warmup_epochs": NOT_NEGATIVE,
    "train.label_smoothing": BELOW_ONE,
    "train.teacher_weight": PROBABILITY,
    "train.teacher_temperature": POSITIVE,
    "train.ema_decay": BELOW_ONE,
    "train.grad_clip": NOT_NEGATIVE,
    "train.threads": NOT_NEGATIVE,
    "train.checkpoint_minutes": POSITIVE,
    "train.log_every": AT_LEAST_ONE,
}


def check_ranges(config: Any, origin: str, prefix: str = "") -> None:
    """Check every number of a config dataclass against :data:`RANGES`.

    Args:
        config: the dataclass, its types already right.
        origin: names the source in error messages.
        prefix: of its keys, such as ``"model."``.

    Raises:
        ValueError: naming the source, the key, the range and the value found.
    """
    for field in fields(config):
        key, value = f"{prefix}{field.name}", getattr(config, field.name)
        if is_dataclass(value):
            check_ranges(value, origin, f"{key}.")
        elif key in RANGES and not RANGES[key][1](value):
            raise ValueError(f"{origin}: key '{key}': expected {RANGES[key][0]}, got {value!r}")


def _are_words(value: str | list[str]) -> bool:
    return isinstance(value, str) or (0 < len(value) == len(set(value)) and all(value))
