"""Files and folders written whole or not at all: a temporary name, fsync, rename, fsync of the parent."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from wavedil.files import require_replaceable

TEMPORARY = ".tmp"  # suffix of what is not finished; such names begin with a dot
REPLACED = ".old"  # suffix of a folder that is being replaced


def write_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash at any moment, sees the old content or the new, never a part.

    A link in its place, or in that of the temporary file, is replaced, and not followed.

    Raises:
        OSError: if it cannot be written; what was there before is intact.
        ValueError: if it would take the place of a folder, a device or a pipe.
    """
    require_replaceable(path)
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        remove(temporary)
        _write_synced(temporary, data)
        temporary.replace(path)
    except BaseException:
        remove(temporary)
        raise
    _sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files whole, replacing the one that may be there.

    A folder cannot be renamed over another, so a crash between the two renames leaves the former content beside it
    under a hidden name; :func:`recover_folder` puts that back.

    Args:
        path: of the folder; its parent exists.
        files: content by file name.

    Raises:
        OSError: if it cannot be written; what was there before is intact.
    """
    temporary, replaced = (path.with_name(f".{path.name}{suffix}") for suffix in (TEMPORARY, REPLACED))
    try:
        remove(temporary)
        temporary.mkdir()
        for name, data in files.items():
            _write_synced(temporary / name, data)
        _sync_folder(temporary)
        recover_folder(path)
        if os.path.lexists(path):
            path.rename(replaced)
        temporary.rename(path)
    except BaseException:
        remove(temporary)
        recover_folder(path)
        raise
    _sync_folder(path.parent)
    remove(replaced)


def recover_folder(path: Path) -> None:
    """Undo or finish what a crash left half done when :func:`write_folder` was replacing ``path``."""
    replaced = path.with_name(f".{path.name}{REPLACED}")
    if os.path.lexists(path):
        remove(replaced)
    elif os.path.lexists(replaced):
        replaced.rename(path)


def remove_folder(path: Path) -> None:
    """Remove a folder so that no part of it is ever seen under its name."""
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    remove(temporary)
    path.rename(temporary)
    remove(temporary)


def remove_temporaries(folder: Path, names: str) -> None:
    """Remove what crashes left unfinished in a folder that no other process is writing to.

    Args:
        folder: need not be there.
        names: pattern of the names of what is written there; what others have put there stays.
    """
    for path in folder.glob(f".*{TEMPORARY}"):
        if re.fullmatch(names, path.name[1 : -len(TEMPORARY)]):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a link but not what it leads to, as far as it can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _write_synced(path: Path, data: bytes) -> None:
    """Write a file that is not there yet: nothing is followed or overwritten."""
    with _named(path), path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Give the system's errors the name of the file, which those of writing lack."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _sync_folder(path: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there, and its entries need no fsync
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with _named(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
