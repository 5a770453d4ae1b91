"""Fuzzing of configs: mutated TOML files and soups of keys and values, read, checked and counted."""

import random
from pathlib import Path

from target import Wrong

from wavedil.config import Config
from wavedil.receptive.keyword import config_layers
from wavedil.training.config import config_keys, load_config, to_toml
from wavedil.training.sizes import MOST_PARAMETERS

ALLOWED = (ValueError, OSError)
CONFIGS = Path(__file__).parents[2] / "configs"
KEYS = [*config_keys(), "train", "model.features", "epochs", "data-root", "", '"a b"', "ä"]
VALUES = [
    *("0", "1", "-1", "3", "1e-3", "0.5", "1.5", "nan", "inf", "-inf", "1e308", "9" * 30, "9" * 400, "0x10", "1_0"),
    *("true", "false", "True", "None", '"none"', '""', '"auto"', '"mel"', '"raw"', '"broadcast"', '"35"', "'C:\\x'"),
    *('"C:\\Users"', '"~/x"', '"$HOME/x"', "[]", "[1]", "[1, 2]", '["a", "b"]', '["a", "a"]', "[[1]]", "[1, 'x']"),
    *("[1000000000]", "{}", "{a = 1}", "1979-05-27", "07:32:00", '"""a\nb"""', "[" * 2000, "", "yes", "“x”", "\\"),
]
BYTES = [
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\r",
    b"\\",
    b'"',
    b"'",
    b"[",
    b"]",
    b"{",
    b".",
    b"=",
    b"\n",
    b"9",
]
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252")

_file = Path()


def prepare(folder: Path) -> None:
    """Choose the file that every attempt writes."""
    global _file
    _file = folder / "config.toml"


def attempt(rng: random.Random) -> str:
    """Write a config, read it with overrides, and count what is taken."""
    content = _soup(rng) if rng.random() < 0.5 else rng.choice(sorted(CONFIGS.glob("*.toml"))).read_text("utf-8")
    data = content.encode(rng.choice(ENCODINGS), "replace")
    for _ in range(rng.choice([0, 0, 1, 1, 2, 5, 50])):
        data = _mutated(rng, data)
    _file.write_bytes(data)
    try:
        config = load_config(_file, _overrides(rng))
    except (ValueError, OSError) as error:
        _check_message(str(error))
        return "refused"
    if sum(layer.parameters for layer in config_layers(config)) > MOST_PARAMETERS:
        raise Wrong("more parameters than the limit")
    _file.write_text(to_toml(config), "utf-8")
    if load_config(_file) != config:
        raise Wrong("written and read again, the config is another")
    return "taken" if config != Config() else "defaults"


def _soup(rng: random.Random) -> str:
    lines = []
    for _ in range(rng.randint(0, 6)):
        table, _, name = rng.choice(KEYS).rpartition(".")
        lines += [f"[{table}]"] if table and rng.random() < 0.9 else []
        lines.append(f"{name}{rng.choice([' = ', '=', ' ', ': '] + [' = '] * 9)}{rng.choice(VALUES)}")
    return rng.choice(["\n", "\r\n"]).join(lines)


def _overrides(rng: random.Random) -> list[str]:
    count = rng.choice([0, 0, 1, 3])
    return [f"--{rng.choice(KEYS)}={rng.choice(VALUES).strip(chr(34))}" for _ in range(count)]


def _mutated(rng: random.Random, data: bytes) -> bytes:
    start = rng.randint(0, len(data))
    end = min(len(data), start + rng.choice([0, 1, 1, 8, 64]))
    kind = rng.randrange(4)
    if kind == 0:
        return data[:start] + data[end:]
    if kind == 1:
        return data[:start] + data[start:end] * rng.choice([2, 3, 100]) + data[end:]
    if kind == 2:
        return data[:start] + rng.choice(BYTES) * rng.choice([1, 1, 2, 1000]) + data[start:]
    return data[:start] + rng.choice(VALUES).encode() + data[end:]


def _check_message(message: str) -> None:
    """One line, not too long, that begins with the file or the command line."""
    named = message.startswith((str(_file), "command line: ", "defaults: "))
    if not named or "\n" in message or len(message) > 400 + len(str(_file)):
        raise Wrong(f"a message that is not one line with its source: {message[:300]}")
