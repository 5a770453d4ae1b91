"""The range that each key of a config must lie in; each has an upper end, beyond which nobody has a use for it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

from wavedil.checks import bounded_integer, bounded_number, did_you_mean, shown

Check = Callable[[str, Any], object]
"""Takes the beginning of the message and the value, whose type is right already; raises ValueError."""

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
MOST_SECONDS = 600  # of a window, a shift or a clip
MOST_LAYERS = 1000
MOST_CHANNELS = 2**16
MOST_SAMPLES = 2**24  # of a clip, or from the first tap of a layer to the last
MOST_WORDS = 10_000


def _integer(least: int, most: int) -> Check:
    return partial(bounded_integer, least=least, most=most)


def _number(least: float, most: float, **ends: bool) -> Check:
    return partial(bounded_number, least=least, most=most, **ends)


def _integers(most: int, fewest: int = 1, longest: int = 32) -> Check:
    def check(name: str, values: list[int]) -> None:
        if not fewest <= len(values) <= longest:
            raise ValueError(f"{name}: expected a list of {fewest} to {longest} integers, got {len(values)}")
        for value in values:
            bounded_integer(f"{name}, each item", value, 1, most)

    return check


def _text(name: str, value: str) -> None:
    if "\0" in value or _has_surrogates(value):
        raise ValueError(f"{name}: expected text that UTF-8 can hold, without NUL, got {shown(value)}; rename it")


def _path(name: str, value: str | None) -> None:
    if value is None:
        return
    _text(name, value)
    if not value.strip():
        raise ValueError(f"{name}: expected a path, got {value!r}")
    if re.search(r"[\x00-\x1f\x7f]", value):
        remedy = "in double quotes a backslash begins an escape: use single quotes, or /"
        raise ValueError(f"{name}: expected a path without tabs and line ends, got {shown(value)}; {remedy}")
    if variable := re.match(r"\$(\w+|\{\w+\})|%\w+%", value):
        raise ValueError(f"{name}: {variable[0]} is not replaced by its value, got {value!r}; write the path, or ~")


def _device(name: str, value: str) -> None:
    kind, colon, index = value.partition(":")
    if kind not in DEVICES or (colon and (kind == "auto" or not re.fullmatch("[0-9]{1,3}", index))):
        meant = "cuda" if kind.lower() == "gpu" else kind
        expected = f"one of {', '.join(DEVICES)}, or one with its number such as cuda:1"
        raise ValueError(f"{name}: expected {expected}; got {shown(value)}{did_you_mean(meant, DEVICES)}")


def _words(name: str, words: str | list[str]) -> None:
    if not isinstance(words, list):
        return
    if not 0 < len(words) <= MOST_WORDS:
        raise ValueError(f"{name}: expected 1 to {MOST_WORDS:,} words, got {len(words):,}")
    for word in words:
        _text(name, word)
        if not 0 < len(word) <= 255:
            raise ValueError(f"{name}: expected words of 1 to 255 letters, got {shown(word)}")
    word, count = Counter(unicodedata.normalize("NFC", word) for word in words).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{name}: expected different words, got {shown(word)} more than once")


_PROBABILITY = _number(0, 1)
_BELOW_ONE = _number(0, 1, below=True)
_MS = _number(0, 1000 * MOST_SECONDS)
_DECIBELS = _number(0, 120)

RANGES: dict[str, Check] = {
    "run_dir": _path,
    "seed": _integer(0, 2**63 - 1),
    "data.root": _path,
    "data.words": _words,
    "data.speaker": lambda name, value: value is None or _text(name, value),
    "data.unknown_share": _BELOW_ONE,
    "data.silence_share": _BELOW_ONE,
    "data.test_root": _path,
    "data.speakers": _integer(3, 10_000),
    "data.sample_rate": _integer(100, 768_000),
    "data.clip_samples": _integer(1, MOST_SAMPLES),
    "data.cache_dir": _path,
    "augment.shift_ms": _MS,
    "augment.cut_probability": _PROBABILITY,
    "augment.cut_ms": _MS,
    "augment.gain_db": _DECIBELS,
    "augment.speed": _BELOW_ONE,
    "augment.noise_probability": _PROBABILITY,
    "augment.noise_gain": _number(0, 1000),
    "augment.frequency_warp": _BELOW_ONE,
    "augment.style_probability": _PROBABILITY,
    "augment.filter_db": _DECIBELS,
    "augment.time_masks": _integer(0, 1000),
    "augment.time_mask_frames": _integer(0, MOST_SAMPLES),
    "augment.frequency_masks": _integer(0, 1000),
    "augment.frequency_mask_bins": _integer(0, MOST_SAMPLES),
    "augment.mixup": _number(0, 100),
    "model.width": _number(0, 1000, above=True),
    "model.channels": _integer(1, MOST_CHANNELS),
    "model.skip_channels": _integer(1, MOST_CHANNELS),
    "model.entry_channels": _integers(MOST_CHANNELS, fewest=0),
    "model.kernel_size": _integer(1, 10_000),
    "model.cycles": _integer(1, MOST_LAYERS),
    "model.depth": _integer(1, 24),
    "model.dilations": _integers(MOST_SAMPLES, fewest=0, longest=MOST_LAYERS),
    "model.dropout": _BELOW_ONE,
    "model.window_ms": _number(0, 1000 * MOST_SECONDS, above=True),
    "model.stem_channels": _integers(MOST_CHANNELS),
    "model.stem_strides": _integers(10_000),
    "model.stage_channels": _integers(MOST_CHANNELS),
    "model.stage_blocks": _integers(MOST_LAYERS),
    "model.stage_dilations": _integers(MOST_SAMPLES),
    "model.stage_strides": _integers(1000),
    "model.bands": _integer(1, 1000),
    "model.features.n_fft": _integer(1, 2**20),
    "model.features.win_length": _integer(1, 2**20),
    "model.features.hop_length": _integer(1, 2**20),
    "model.features.n_mels": _integer(1, 1000),
    "model.features.f_min": _number(0, 384_000),
    "model.features.f_max": lambda name, value: value is None or bounded_number(name, value, 0, 384_000, above=True),
    "train.epochs": _integer(1, 1_000_000),
    "train.batch_size": _integer(1, 2**20),
    "train.lr": _number(0, 1000, above=True),
    "train.weight_decay": _number(0, 1000),
    "train.warmup_epochs": _number(0, 1_000_000),
    "train.label_smoothing": _BELOW_ONE,
    "train.teacher": _path,
    "train.teacher_weight": _PROBABILITY,
    "train.teacher_temperature": _number(0.01, 1000),
    "train.ema_decay": _BELOW_ONE,
    "train.grad_clip": _number(0, 1_000_000),
    "train.device": _device,
    "train.threads": _integer(0, 1024),
    "train.checkpoint_minutes": _number(0, 1_000_000, above=True),
    "train.log_every": _integer(1, 1_000_000_000),
}

PATHS = tuple(key for key, check in RANGES.items() if check is _path)
"""The keys that name a file or folder."""


def check_ranges(config: Any, named: Callable[[str], str], prefix: str = "") -> None:
    """Check every key of a config dataclass against :data:`RANGES`.

    Args:
        config: the dataclass, its types already right.
        named: makes the beginning of the message of a dotted key: source and key.
        prefix: of its keys, such as ``"model."``.

    Raises:
        ValueError: naming the source, the key, the range and the value found.
    """
    for field in fields(config):
        key, value = f"{prefix}{field.name}", getattr(config, field.name)
        if is_dataclass(value):
            check_ranges(value, named, f"{key}.")
        elif key in RANGES:
            try:
                RANGES[key]("", value)
            except ValueError as error:
                raise ValueError(f"{named(key)}{error}") from None


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
