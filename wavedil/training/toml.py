"""TOML as people write it: what is wrong is said by file and line, with the remedy."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavedil.checks import MOST_SHOWN, shown
from wavedil.text import read_text

LARGEST = 2**18  # bytes; the standard library's parser takes quadratic time for some texts

# Keys of more parts than any config has take that parser minutes.
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_MANY_PARTS = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*\.[ \t]*{_PART}){{50}}")
_MANY_DIGITS = re.compile(r"(?<!\d)\d{1001}")  # no float and no integer; Python converts at most 4,300
# What is found in the line of an error, and what to do about it; the first that fits is said.
_VALUES = (
    (r"^[^=]*=\s*(?i:true|false|yes|no|on|off)\b", "write true or false, in small letters and without quotes"),
    (r"^[^=]*=\s*[+-]?(\.\d|\d+\.(\D|$))", "write a digit on both sides of the decimal point"),
    (r"^[^=]*=\s*[+-]?\d+,\d", "write a point for a decimal comma"),
    (r"^[^=]*=\s*[+-]?0\d", "write the number without zeros before it"),
    ("=\\s*[\u2010-\u2015\u2212]", "use the minus of the keyboard: -"),
)
_REMEDIES = (
    (r'"[^"]*\\', "in double quotes a backslash begins an escape: use single quotes, or / in paths"),
    ("[\u2018-\u201f\u00ab\u00bb]", 'use straight quotes: "'),
    (r"^\s*[\w.-]+\s*=\s*(#|$)", "a value is missing behind ="),
    (r"^[^=]*=\s*(?i:none|null|nil)\b", "leave the key out: none is then its value"),
    *_VALUES,
    (r"^[^=]*=[^,\"'\[]*,\s*(#|$)", "remove the comma at the end"),
    ("[\u00a0\u200b-\u200f\u2060\ufeff]", "a character that cannot be seen stands here; type the line anew"),
    (r"^[^=]*=[\s\[]*[\w./~$]*[a-zA-Z~/$]", 'text stands in quotes, such as key = "text"'),
    (r"(//|;|--)", "a comment begins with #"),
    (r"^\s*[\w.-]+\s*:", "write key = value, not key: value"),
    (r"""^[^"']*(["'])(?:(?!\1).)*$""", "a quote is missing"),
)


@dataclass(frozen=True)
class TomlFile:
    """The content of a TOML file, with its text to find the line of a key.

    Attributes:
        path: of the file.
        text: of it.
        data: what it says.
    """

    path: Path
    text: str
    data: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "TomlFile":
        """Read a file.

        Raises:
            FileNotFoundError: if the file does not exist.
            OSError: if it cannot be read.
            ValueError: if it is no file, too large, or not TOML in UTF-8 or UTF-16.
        """
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: there is no such config file") from None
        if size > LARGEST:
            raise ValueError(f"{path}: expected a config of at most {LARGEST:,} bytes, got {size:,}")
        text = read_text(path)
        try:
            return cls(path, text, parse_toml(text))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: {_explained(text.splitlines() or [''], str(error))}") from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def named(self, key: str) -> str:
        """File, line and key, as a message begins."""
        number = _line_of(self.text, key)
        return f"{self.path}: {f'line {number}: ' if number else ''}key {shown(key)}"


def value_remedy(text: str) -> str:
    """What to do about a text that is no number and no truth value in TOML; empty if it is not known."""
    return next((remedy for pattern, remedy in _VALUES if re.search(pattern, f"= {text}"[:1000])), "")


def parse_toml(text: str) -> dict[str, Any]:
    """The content of a TOML text, in time that is bounded.

    Raises:
        ValueError: if it is not TOML, or no config could be so: the parser takes minutes for some texts.
    """
    if _MANY_PARTS.search(text):
        raise ValueError("not valid TOML for a config: a key has more than 50 parts")
    if _MANY_DIGITS.search(text):
        raise ValueError("not valid TOML for a config: a number has more than 1,000 digits")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("not valid TOML for a config: its lists or tables are nested too deeply") from None


def _explained(lines: list[str], message: str) -> str:
    """The parser's message with the line that it is about and the remedy."""
    reason, _, place = message.partition(" (at ")
    match = re.match(r"line (\d+)", place)
    written = [number for number, line in enumerate(lines, 1) if line.strip()]
    number = int(match[1]) if match else max(written, default=1)  # else at the end of the document
    line = lines[number - 1].strip()
    text = line if line.isprintable() and len(line) <= MOST_SHOWN else shown(line)
    return f"line {number}: not valid TOML: {_remedy(reason, line)}: {text}"


def _remedy(reason: str, line: str) -> str:
    if reason.startswith("Cannot"):
        return "this key or table is there twice; keep one"
    own = f"{reason[:1].lower()}{reason[1:]}; each line has one key = value, text in quotes"
    return next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, line[:1000])), own)


def _line_of(text: str, wanted: str) -> int | None:
    """The line that a dotted key stands in, or else the table above it."""
    table, nearest = "", None
    for number, line in enumerate(text.split("\n"), 1):
        if match := re.match(r"\s*\[+\s*([^\[\]]+?)\s*\]", line):
            found = table = _dotted(match[1])
        elif match := re.match(r"""\s*([\w\-."' \t]+?)\s*=""", line):
            found = f"{table}.{_dotted(match[1])}" if table else _dotted(match[1])
        else:
            continue
        if found == wanted:
            return number
        if wanted.startswith(f"{found}."):
            nearest = number
    return nearest


def _dotted(key: str) -> str:
    return ".".join(part.strip(" \t\"'") for part in key.split("."))
