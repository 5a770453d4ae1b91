"""Who speaks in a recording: told by its name, by a pattern on the name, or by a table."""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from wavedil.data.listing import examples, name_key
from wavedil.files import in_home
from wavedil.text import read_text

HASH_DIVIDER = "_nohash_"  # in Speech Commands, between the speaker and the number of the utterance

_FILE_COLUMNS = ("file", "path", "filename", "file_name", "clip", "recording", "audio", "name")
_SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id", "speakerid", "spk", "spk_id")
_KEY = "data.speaker"


def known_speakers(names: Iterable[str], rule: str | None = None) -> tuple[dict[str, str], list[str]]:
    """The speaker of each recording of which one is known.

    Args:
        names: of the recordings, ``<word>/<file>``.
        rule: a regular expression with one group, searched for in the names; or the path of a table, ``file,speaker``
            a line; None looks for ``<speaker>_nohash_<number>`` only. What the rule does not tell, ``_nohash_`` may.

    Returns:
        Speakers by name, and notes on what of a table is not used.

    Raises:
        FileNotFoundError: if there is no such table.
        ValueError: if the rule is no pattern with one group and no table, or tells the speaker of no recording.
    """
    names = list(names)
    speakers = {name: speaker for name in names if (speaker := named_speaker(name)) is not None}
    if rule is None:
        return speakers, []
    told, notes = _by_table(names, in_home(rule)) if is_table(rule) else (_by_pattern(names, rule), [])
    if names and not told:
        raise ValueError(f"{_KEY}: {rule!r} names the speaker of no recording; they are named like {examples(names)}")
    return speakers | told, notes


def named_speaker(name: str) -> str | None:
    """The speaker that a name of Speech Commands tells, else None."""
    file = name.rpartition("/")[2]
    return unicodedata.normalize("NFC", file.split(HASH_DIVIDER)[0]) if HASH_DIVIDER in file else None


def is_table(rule: str) -> bool:
    """Whether a rule for speakers is the path of a table, not a pattern."""
    try:
        return rule.lower().endswith((".csv", ".tsv")) or in_home(rule).is_file()
    except OSError:  # too long for a path
        return False


def check_rule(rule: str) -> None:
    """Refuse a rule for speakers that is neither a pattern with one group nor a table that is there.

    Raises:
        FileNotFoundError: if there is no such table.
        ValueError: if it is no such pattern.
    """
    if is_table(rule):
        _require_table(in_home(rule))
    else:
        _compiled(rule)


def _compiled(rule: str) -> re.Pattern[str]:
    remedy = "expected a regular expression with one group for the speaker, such as '([^/_]+)_[0-9]+', or a .csv"
    try:
        pattern = re.compile(rule)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{_KEY}: {remedy}, got {rule!r} ({error})") from None
    if pattern.groups != 1:
        raise ValueError(f"{_KEY}: {remedy}, got {pattern.groups} groups in {rule!r}")
    return pattern


def _by_pattern(names: Iterable[str], rule: str) -> dict[str, str]:
    pattern = _compiled(rule)
    found = {name: pattern.search(unicodedata.normalize("NFC", name)) for name in names}
    return {name: match[1] for name, match in found.items() if match and match[1]}


def _by_table(names: list[str], path: Path) -> tuple[dict[str, str], list[str]]:
    table = read_table(path)
    by_file = {name: name_key(name) for name in names}
    told, used = {}, set()
    for name, key in by_file.items():
        for candidate in (key, key.rpartition("/")[2]):  # or by the file's name alone
            if candidate in table:
                told[name] = table[candidate]
                used.add(candidate)
                break
    unused = [key for key in table if key not in used]
    note = f"{path}: {len(unused):,} of {len(table):,} lines name no recording ({examples(unused)})"
    return told, [note] if unused else []


def read_table(path: Path) -> Mapping[str, str]:
    """The speakers of a table, by :func:`wavedil.data.listing.name_key` of the file.

    The cells are separated by commas, semicolons or tabs; a header may name the columns of the file and the speaker,
    which are else the first and the second.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such table; the message begins with the path and the line.
    """
    _require_table(path)
    rows = list(_rows(path))
    if not rows:
        raise ValueError(f"{path}: expected lines of file,speaker, got none")
    file, speaker = _columns(rows[0][1])
    speakers: dict[str, tuple[int, str]] = {}
    for number, row in rows[1:] if _is_header(rows[0][1]) else rows:
        if len(row) <= max(file, speaker) or not row[file].strip() or not row[speaker].strip():
            raise ValueError(f"{path}: line {number}: expected a file and its speaker, got {','.join(row)!r}")
        said = unicodedata.normalize("NFC", row[speaker].strip())
        former = speakers.setdefault(name_key(row[file]), (number, said))
        if former[1] != said:
            other = f"line {former[0]} says {former[1]!r}"
            raise ValueError(f"{path}: line {number}: expected one speaker for {row[file]!r}, got {said!r}; {other}")
    return {key: said for key, (_, said) in speakers.items()}


def _require_table(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{_KEY}: {path}: no such table of file,speaker")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table that are not blank, each with the number of its line."""
    lines = read_text(path, errors="surrogateescape").split("\n")
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num}: expected file{delimiter}speaker ({error})") from None


def _columns(header: list[str]) -> tuple[int, int]:
    """Where the file and the speaker stand."""
    file, speaker = _find(header, _FILE_COLUMNS), _find(header, _SPEAKER_COLUMNS)
    if file is None or speaker is None:
        return (0, 1) if speaker is None else (1 - min(speaker, 1), speaker)
    return file, speaker


def _is_header(row: list[str]) -> bool:
    return _find(row, _SPEAKER_COLUMNS) is not None


def _find(row: list[str], names: Iterable[str]) -> int | None:
    cells = [cell.strip().casefold() for cell in row]
    return next((cells.index(name) for name in names if name in cells), None)
