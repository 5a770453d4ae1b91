"""Configs read from TOML and the command line, every key, type and range checked; written back as TOML.

The dataclasses themselves are in :mod:`wavedil.config`; their type annotations are what is checked here.
"""

import dataclasses
import datetime
import inspect
import json
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from wavedil.checks import did_you_mean, shown
from wavedil.config import Config
from wavedil.files import in_home
from wavedil.training.atomic import write_file
from wavedil.training.ranges import PATHS, check_ranges
from wavedil.training.sizes import check_sizes
from wavedil.training.toml import TomlFile, parse_toml, value_remedy

T = TypeVar("T")


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read a config file and apply ``--key value`` overrides to it.

    Args:
        path: TOML file; None starts from the defaults.
        overrides: ``["--train.epochs", "3", "--seed=1"]``; a value is text where the key takes text, else TOML
            (``3``, ``1e-3``, ``true``, ``["yes", "no"]``), and ``none`` where the key may be None. A ``~`` at the
            beginning of a path, here and in the file, is the home folder.

    Returns:
        The checked config.

    Raises:
        FileNotFoundError: if the file does not exist.
        OSError: if it cannot be read.
        ValueError: if it is not TOML, a key is unknown, of the wrong type or out of range, or the sizes do not fit each
            other or would take more memory than any machine has; the message names the file and line or the option, and
            the key, what was expected and what was found.

    Example:
        >>> load_config(None, ["--train.epochs", "3", "--data.words", '["yes", "no"]']).data.words
        ['yes', 'no']
    """
    file = TomlFile.read(in_home(path)) if path is not None else None
    config = from_dict(file.data, origin=file.named) if file else Config()
    given = dict(_parse_overrides(overrides))
    if not given:
        return config

    def named(key: str) -> str:
        if key in given:
            return f"command line: --{key}"
        return file.named(key) if file else f"defaults: key {shown(key)}"

    return from_dict(_merge(to_dict(config), given), origin=named)


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as nested dictionaries of plain values."""
    return dataclasses.asdict(config)


def from_dict(
    data: Mapping[str, Any], cls: type[T] = Config, origin: str | Callable[[str], str] = "config", prefix: str = ""
) -> T:
    """Build a config dataclass from nested dictionaries; keys left out take their defaults.

    Args:
        data: as :func:`to_dict` gives it.
        cls: the dataclass.
        origin: names the source in error messages, or makes the beginning of the message for a dotted key.
        prefix: of the keys in error messages, such as ``"model."``.

    Raises:
        ValueError: if a key is unknown, of the wrong type or out of range, or the sizes of a whole config do not fit
            each other.
    """
    named = origin if callable(origin) else lambda key: f"{origin}: key {shown(key)}"
    config = _build(data, cls, named, prefix)
    check_ranges(config, named, prefix)
    if isinstance(config, Config):
        check_sizes(config, named)
    return config


def save_toml(config: Any, path: str | Path) -> None:
    """Write a config dataclass as TOML, atomically; keys that are None are left out, None being their default."""
    write_file(Path(path), to_toml(config).encode())


def to_toml(config: Any) -> str:
    """A config dataclass as TOML text; see :func:`save_toml`."""
    return "\n".join(_toml_lines(to_dict(config), "")).strip() + "\n"


def config_keys(cls: Any = Config, prefix: str = "") -> dict[str, Any]:
    """The dotted keys of a config dataclass with the type that each takes, such as ``{"train.epochs": int}``."""
    keys = {}
    for name, hint in _fields(cls).items():
        keys |= config_keys(hint, f"{prefix}{name}.") if dataclasses.is_dataclass(hint) else {f"{prefix}{name}": hint}
    return keys


def config_meanings(cls: Any = Config, prefix: str = "") -> dict[str, str]:
    """What each dotted key means, from the "Attributes" of the dataclasses' docstrings."""
    text = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
    documented = dict(re.findall(r"^    (\w+): (.*(?:\n     .*)*)", text, flags=re.MULTILINE))
    meanings = {}
    for name, hint in _fields(cls).items():
        if dataclasses.is_dataclass(hint):
            meanings |= config_meanings(hint, f"{prefix}{name}.")
        else:
            meanings[f"{prefix}{name}"] = " ".join(documented.get(name, "").replace("`", "").split())
    return meanings


def describe_type(hint: Any) -> str:
    """A type annotation in words, such as ``an integer`` or ``"mel" or "raw"``."""
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):
        return " or ".join(describe_type(arg) for arg in get_args(hint))
    if origin is Literal:
        return " or ".join(json.dumps(arg) for arg in get_args(hint))
    if origin is list:
        return f"a list, each {describe_type(get_args(hint)[0])}"
    words = {int: "an integer", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))


def _fields(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _build(data: Any, cls: type[T], named: Callable[[str], str], prefix: str) -> T:
    if not isinstance(data, Mapping):
        raise ValueError(f"{named(prefix[:-1])}: expected a table of keys, got {_shown(data)}")
    fields = _fields(cls)
    for name in data:
        if name not in fields:
            key = f"{prefix}{name}"
            raise ValueError(f"{named(key)}: no such key{_nearest(key)}")
    values = {}
    for name, value in data.items():
        hint, key = fields[name], f"{prefix}{name}"
        if dataclasses.is_dataclass(hint):
            values[name] = _build(value, hint, named, f"{key}.")  # type: ignore[arg-type]
        elif not _matches(value, hint):
            raise ValueError(f"{named(key)}: expected {describe_type(hint)}, got {_shown(value)}{_remedy(value, hint)}")
        else:
            takes_float = hint is float or float in get_args(hint)  # TOML's 1 is then 1.0
            value = float(value) if takes_float and isinstance(value, int) else value
            if key in PATHS and isinstance(value, str) and value.startswith("~"):
                value = str(in_home(value))
            values[name] = value
    return cls(**values)


def _shown(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, datetime.date | datetime.time) else shown(value)


def _remedy(value: Any, hint: Any) -> str:
    if not isinstance(value, str):
        is_plain = isinstance(value, int | float | datetime.date | datetime.time) and not isinstance(value, bool)
        return "; write it in quotes" if is_plain and _matches(_shown(value), hint) else ""
    if _matches(_parsed(value), hint):
        return "; write it without quotes"
    if example := _list_example(hint):
        return f"; write a list as {example}"
    return did_you_mean(value, get_args(hint)) if get_origin(hint) is Literal else ""


def _list_example(hint: Any) -> str:
    """A list as a key takes it; empty if it takes none."""
    kinds = (hint, *get_args(hint))
    return '["yes", "no"]' if list[str] in kinds else "[4, 5]" if list[int] in kinds else ""


def _parsed(text: str) -> Any:
    """What a text is as a TOML value; itself if it is none."""
    try:
        found = parse_toml(f"value = {text}")
    except ValueError:
        return text
    return found["value"] if len(found) == 1 else text  # else a further line had a key of its own


def _matches(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):
        return any(_matches(value, arg) for arg in get_args(hint))
    if origin is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(_matches(item, get_args(hint)[0]) for item in value)
    if hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and abs(value) <= sys.float_info.max  # neither NaN nor an integer that no float can hold
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _nearest(key: str, option: str = "") -> str:
    """The key that was probably meant, as a message ends."""
    keys = config_keys().keys() - {key}  # a quoted "train.epochs" is no key of the table [train]
    name = key.rpartition(".")[2].replace("-", "_")
    same = sorted(known for known in keys if known.rpartition(".")[2] == name)  # in another table, or in none
    tables = [] if option else sorted({known.rpartition(".")[0] for known in keys} - {""})
    return did_you_mean(option + (same[0] if same else key), [*tables, *(option + known for known in keys)])


def _parse_overrides(arguments: Sequence[str]) -> Iterator[tuple[str, Any]]:
    keys = config_keys()
    remaining = iter(arguments)
    for argument in remaining:
        if not argument.startswith("--"):
            raise ValueError(f"command line: expected --key value, got {shown(argument)}")
        key, equals, text = argument[2:].partition("=")
        if key not in keys:
            raise ValueError(f"command line: --{key}: no such key{_nearest(key, '--')}")
        value = text if equals else next(remaining, None)
        if value is None:
            raise ValueError(f"command line: --{key}: expected {describe_type(keys[key])}, got nothing")
        yield key, _parse_value(key, value, keys[key])


def _parse_value(key: str, text: str, hint: Any) -> Any:
    if text.lower() in ("none", "null") and _matches(None, hint):
        return None
    if _matches(text, hint):  # before TOML, so that the text "35" is not read as a number
        return text
    value = _parsed(text)
    if not _matches(value, hint):
        remedy = did_you_mean(text, get_args(hint)) if get_origin(hint) is Literal else ""
        if example := _list_example(hint):
            remedy = f"; write a list as '{example}'"
        elif hint in (int, float, bool) and (known := value_remedy(text)):
            remedy = f"; {known}"
        raise ValueError(f"command line: --{key}: expected {describe_type(hint)}, got {shown(text)}{remedy}")
    return value


def _merge(data: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in given.items():
        *tables, name = key.split(".")
        table = data
        for part in tables:
            table = table[part]
        table[name] = value
    return data


def _toml_lines(data: Mapping[str, Any], table: str) -> Iterator[str]:
    if table:
        yield f"\n[{table}]"
    tables = {key: value for key, value in data.items() if isinstance(value, Mapping)}
    for key, value in data.items():
        if key not in tables and value is not None:
            yield f"{key} = {_toml_value(value)}"
    for key, value in tables.items():
        yield from _toml_lines(value, f"{table}.{key}" if table else key)


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, str):  # JSON's escapes are TOML's, but for DEL, which TOML wants escaped too
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
