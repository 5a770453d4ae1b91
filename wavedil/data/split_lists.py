"""``validation_list.txt`` and ``testing_list.txt``: which recordings are kept out of training."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wavedil.data.listing import LISTS, Split, examples, name_key
from wavedil.text import read_text


@dataclass(frozen=True)
class ListLine:
    """A line of a list that names a recording.

    Attributes:
        split: whose list it is in.
        number: of the line, from 1.
        name: what it says, ``<word>/<file>``.
    """

    split: Split
    number: int
    name: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.name!r}"


@dataclass(frozen=True)
class SplitLists:
    """The lists of a folder.

    Attributes:
        root: the folder.
        lines: of both, blank ones left out.
        found: the splits that have a list.
    """

    root: Path
    lines: tuple[ListLine, ...]
    found: tuple[Split, ...]

    def by_name(self) -> dict[str, Split]:
        """The split of each listed recording, by :func:`wavedil.data.listing.name_key`.

        Raises:
            ValueError: if a recording is in both lists.
        """
        first: dict[str, ListLine] = {}
        for line in self.lines:
            former = first.setdefault(name_key(line.name), line)
            if former.split != line.split:
                raise ValueError(
                    f"{self.root / LISTS[line.split]}: {line} is in {LISTS[former.split]} too (line {former.number}); "
                    "expected each recording in one list, remove it from the other"
                )
        return {key: line.split for key, line in first.items()}

    def lost(self, names: Iterable[str]) -> list[ListLine]:
        """The lines that name none of the recordings."""
        there = {name_key(name) for name in names}
        return [line for line in self.lines if name_key(line.name) not in there]

    def notes(self, names: Iterable[str]) -> list[str]:
        """A note for each list of which some lines name no recording.

        Raises:
            ValueError: if none of a list's lines does: it is of other data, or written in another way.
        """
        names = list(names)
        lost, notes = self.lost(names), []
        for split in self.found:
            total = sum(line.split == split for line in self.lines)
            bad = [line for line in lost if line.split == split]
            path = self.root / LISTS[split]
            if bad and len(bad) == total:
                raise ValueError(
                    f"{path}: expected names of recordings, such as {examples(names[:1])}, got {bad[0]}, which is not "
                    "there"
                )
            if bad:
                notes.append(f"{path}: {len(bad):,} of {total:,} lines name no recording ({examples(map(str, bad))})")
        return notes


def read_lists(root: Path) -> SplitLists:
    """Read the lists that a folder has.

    Raises:
        ValueError: if one is no text file; the message begins with its path.
    """
    lines, found = [], []
    for split, file in LISTS.items():
        path = root / file
        if not (path.exists() or path.is_symlink()):
            continue
        found.append(split)
        for number, line in enumerate(read_text(path, errors="surrogateescape").split("\n"), 1):
            if line.strip():
                lines.append(ListLine(split, number, line.strip()))
    return SplitLists(root, tuple(lines), tuple(found))
