"""The description of a model, ``config.json``: it may come from anybody, so every key is checked before it is used."""

import math
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wavedil.checks import did_you_mean, shown
from wavedil.config import Config, DataConfig, ModelConfig, TrainConfig
from wavedil.files import read_json
from wavedil.training.config import from_dict
from wavedil.training.ranges import RANGES
from wavedil.training.sizes import check_sizes

FORMAT_VERSION = 1
WEIGHTS, META = "model.safetensors", "config.json"
_MOST_LABELS = 10_000


def model_folder(path: Path) -> Path:
    """The folder of the model that a path stands for: itself, or ``model`` of a run folder.

    Raises:
        FileNotFoundError: if it stands for none; the message says what was expected.
    """
    expected = f"expected a model ({WEIGHTS} and {META}) or a run folder"
    for folder in (path, path / "model"):
        if (folder / META).exists() or (folder / WEIGHTS).exists():
            for name in (META, WEIGHTS):
                if not (folder / name).exists():
                    raise FileNotFoundError(f"{folder}: {expected}, {name} is missing")
            return folder
    seeds = sorted(folder.name for folder in path.glob("seed*") if (folder / "config.toml").exists())
    if seeds:
        raise FileNotFoundError(f"{path}: these are runs of several seeds; name one of them, {path / seeds[0]}")
    if path.is_dir() and (path / "config.toml").exists():
        raise FileNotFoundError(f"{path}: this run has no model yet; it is written after the first epoch")
    reason = "there is none in it" if path.is_dir() else "this is a file" if path.exists() else "no such folder"
    raise FileNotFoundError(f"{path}: {expected}; {reason}")


def read_description(path: Path) -> dict[str, Any]:
    """The keys of a description, without its format version; ``labels`` is a tuple and ``model`` a config.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no JSON, of another format version, or a key is missing, unknown or wrong; the message
            begins with the file.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected the description of a model, got {shown(content)}")
    version = content.pop("format_version", None)
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise ValueError(f"{path}: expected format_version {FORMAT_VERSION}, got {shown(version)}")
    for key in content.keys() - _KEYS.keys():
        raise ValueError(f"{path}: unknown key {shown(key)}{did_you_mean(key, _KEYS)}")
    for key, (expected, accepts) in _KEYS.items():
        if key not in content and key in _REQUIRED:
            raise ValueError(f"{path}: key '{key}' is missing: expected {expected}")
        if key in content and not accepts(content[key]):
            raise ValueError(f"{path}: key '{key}': expected {expected}, got {shown(content[key])}")
    for key in ("sample_rate", "clip_samples"):
        RANGES[f"data.{key}"](f"{path}: key '{key}'", content[key])
    model = from_dict(content.pop("model"), ModelConfig, origin=str(path), prefix="model.")
    data = DataConfig(words=content["labels"], sample_rate=content["sample_rate"], clip_samples=content["clip_samples"])
    whole = Config(data=data, model=model, train=TrainConfig(batch_size=1))
    check_sizes(whole, lambda key: f"{path}: key '{key.removeprefix('data.')}'")
    return content | {"labels": tuple(content["labels"]), "model": model}


def _are_labels(value: Any) -> bool:
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_LABELS:
        return False
    return all(isinstance(label, str) and _can_be_shown(label) for label in value) and len(set(value)) == len(value)


def _can_be_shown(label: str) -> bool:
    return bool(label.strip()) and not any(unicodedata.category(character) == "Cc" for character in label)


def _are_figures(value: Any) -> bool:
    return isinstance(value, dict) and all(
        type(figure) in (int, float) and _is_finite(figure) for figure in value.values()
    )


def _is_finite(figure: float) -> bool:
    try:
        return math.isfinite(figure)
    except OverflowError:  # an integer that is no float
        return False


# What each key must be, in words and as a check.
_KEYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "labels": (f"a list of 1 to {_MOST_LABELS:,} different words, one a class", _are_labels),
    "sample_rate": ("an integer", lambda value: type(value) is int),
    "clip_samples": ("an integer", lambda value: type(value) is int),
    "model": ("the keys of the architecture", lambda value: isinstance(value, dict)),
    "git_revision": ("text or null", lambda value: value is None or isinstance(value, str)),
    "wavedil_version": ("text", lambda value: isinstance(value, str)),
    "metrics": ("figures by name", _are_figures),
}
_REQUIRED = ("labels", "sample_rate", "clip_samples", "model")
