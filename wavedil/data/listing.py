"""The recordings in a folder, and what is passed over there: one listing for every source of clips."""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, get_args

AUDIO_SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64"}
    | {".rf64", ".bwf", ".sph", ".nist", ".voc"}
)
# Recordings in formats that soundfile does not read.
_UNREAD_SUFFIXES = frozenset(
    {".m4a", ".aac", ".mp4", ".m4b", ".mov", ".wma", ".webm", ".mkv", ".mka", ".amr", ".3gp", ".ac3", ".ape", ".wv"}
    | {".tta", ".dsf", ".ra", ".spx", ".qta"}
)
# What systems and archives leave behind, and what describes a data set: not worth a word.
_SILENT = frozenset(
    {".ds_store", "thumbs.db", "desktop.ini", "lost+found", "readme", "readme.md", "readme.txt"}
    | {"license", "license.md", "license.txt", "licence", "licence.txt"}
)

Split = Literal["training", "validation", "testing"]
SPLITS: tuple[Split, ...] = get_args(Split)
LISTS: dict[Split, str] = {"validation": "validation_list.txt", "testing": "testing_list.txt"}
"""The files that name the recordings of a split."""

NESTED = "in subfolders"
LINKED = "in linked subfolders"
HIDDEN = "hidden"
UNREAD = "in formats that are not read (convert them to WAV or FLAC)"
OTHER = "with suffixes of no audio format"
BESIDE = "beside the folders of the words"
CLOSED = "folders that cannot be listed"
EMPTY = "empty folders"
BACK = "links to a folder around them"
_MOST_EXAMPLES = 3
_MOST_FOLDERS = 10_000  # that are looked into for what a folder that is passed over holds; whole disks have more


@dataclass(frozen=True)
class Listing:
    """What lies in a folder.

    Attributes:
        root: the folder.
        files: what has the suffix of a recording, sorted; some may turn out to be links to nothing, pipes or folders.
        passed_over: the name below the root of everything else that may have been meant, with the reason.
    """

    root: Path
    files: tuple[Path, ...]
    passed_over: tuple[tuple[str, str], ...]

    def notes(self) -> tuple[str, ...]:
        """What was passed over, with counts and examples, in one line; none for nothing."""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.passed_over:
            reasons.setdefault(reason, []).append(name)
        parts = [f"{len(names):,} {reason} ({examples(names)})" for reason, names in reasons.items()]
        return (f"{self.root}: passed over {', '.join(parts)}",) if parts else ()


def examples(names: Iterable[str], most: int = _MOST_EXAMPLES) -> str:
    """The first of some names, for a message."""
    names = [name if name.isprintable() else repr(name)[1:-1] for name in names]  # one line, on any console
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def list_recordings(folder: Path, deep: bool = False) -> Listing:
    """List the recordings of a folder. No file is opened, and links to folders are not followed.

    Args:
        folder: may be a link itself.
        deep: whether to take those of its subfolders too.

    Raises:
        OSError: if the folder cannot be listed.
    """
    taken, passed_over, waiting = [], [], [_entries(folder)]
    while waiting:  # no recursion: folders may be nested deeper than Python's stack
        for entry in waiting.pop():
            reason = _why_passed_over(entry)
            if reason is None:
                taken.append(Path(entry.path))
            elif not deep or reason != NESTED:
                passed_over += [(_below(folder, path), reason) for path in _meant(entry, reason)]
            elif (inside := _try_entries(entry.path)) is not None:
                waiting.append(inside)
            else:
                passed_over.append((_below(folder, entry.path), CLOSED))
    return Listing(folder, tuple(sorted(taken)), tuple(sorted(passed_over)))


def list_words(root: Path) -> Listing:
    """List the recordings of a folder of ``<word>/<recording>``. Links to the folders of words are followed.

    Raises:
        OSError: if the root or the folder of a word cannot be listed.
    """
    files, passed_over = [], []
    for entry in _entries(root):
        if _is_hidden(entry.name):
            passed_over += [(_below(root, path), HIDDEN) for path in _meant(entry, HIDDEN)]
        elif entry.is_symlink() and _holds(entry.path, root):
            passed_over.append((entry.name, BACK))
        elif _is_folder(entry):
            word = list_recordings(Path(entry.path))
            files += word.files
            passed_over += [(f"{entry.name}/{name}", reason) for name, reason in word.passed_over]
            if not word.files and not word.passed_over:
                passed_over.append((entry.name, EMPTY))
        elif _suffix(entry.name) in AUDIO_SUFFIXES | _UNREAD_SUFFIXES or _is_like_a_list(entry.name):
            passed_over.append((entry.name, BESIDE))
    return Listing(root, tuple(sorted(files)), tuple(sorted(passed_over)))


def name_key(name: str) -> str:
    """A name below the root as lists and tables are compared with it.

    Slashes may be either way, Unicode composed or not, and the suffix of an audio format does not count, since
    recordings are transcoded. A part that is not UTF-8 is read as Latin-1, as :func:`utf8_or_latin1` does.
    """
    name = "/".join(map(utf8_or_latin1, name.split("/")))
    name = os.path.normpath(unicodedata.normalize("NFC", name.strip()).replace("\\", "/")).replace("\\", "/")
    suffix = PurePath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in AUDIO_SUFFIXES else name


def utf8_or_latin1(name: str) -> str:
    """A name as text: one that the system gives in bytes that are not UTF-8 is read as Latin-1."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("latin-1")
    return name


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted((entry for entry in found if entry.name.lower() not in _SILENT), key=lambda entry: entry.name)


def _try_entries(folder: str) -> "list[os.DirEntry[str]] | None":
    try:
        return _entries(folder)
    except OSError:
        return None


def _why_passed_over(entry: "os.DirEntry[str]") -> str | None:
    """Why an entry is no recording; None if it is one, by its name."""
    suffix = _suffix(entry.name)
    if _is_hidden(entry.name):
        return HIDDEN
    if suffix in AUDIO_SUFFIXES:
        return None
    if _is_folder(entry):
        return LINKED if entry.is_symlink() else NESTED
    return UNREAD if suffix in _UNREAD_SUFFIXES else OTHER


def _meant(entry: "os.DirEntry[str]", reason: str) -> Iterator[str]:
    """What may have been meant of an entry that is passed over: itself, or the recordings in it if it is a folder."""
    if not _is_folder(entry):
        if reason != HIDDEN or _suffix(entry.name) in AUDIO_SUFFIXES:
            yield entry.path
        return
    if entry.is_symlink():
        yield entry.path
        return
    waiting, looked_into = [entry.path], 0
    while waiting:
        if looked_into == _MOST_FOLDERS:
            yield f"{entry.path}{os.sep}..."
            return
        looked_into += 1
        inside = _try_entries(waiting.pop())
        for found in inside or ():
            if _suffix(found.name) in AUDIO_SUFFIXES | _UNREAD_SUFFIXES:
                yield found.path
            elif found.is_dir(follow_symlinks=False):
                waiting.append(found.path)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle
        return False


def _holds(link: str, root: Path) -> bool:
    """Whether a link leads to a folder or one around it."""
    try:
        return Path(os.path.realpath(link)) in (here := Path(os.path.realpath(root)), *here.parents)
    except OSError:
        return False


def _is_like_a_list(name: str) -> bool:
    """Whether a file may have been meant for a list of a split, but has another name."""
    path = PurePath(name.lower())
    is_table = path.suffix in ("", ".txt", ".csv", ".tsv", ".lst")
    is_of_split = "list" in path.stem or path.stem.startswith(("train", "val", "test", "dev"))
    return is_table and is_of_split and name not in LISTS.values()


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lower()


def _below(root: Path, path: str) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")
