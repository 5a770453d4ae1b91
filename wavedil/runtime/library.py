"""A shared library in a folder of one's own: stored with its hash, checked and loaded through one descriptor.

Code is run from there, so neither the folders nor the file may be somebody else's, or be writable by others. A file is
opened once, without following links, and loaded from its descriptor: between look and load nothing can be exchanged.
"""

import ctypes
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HASH = hashlib.sha256
_REMEDY = "code is run from there: name a folder of your own by WAVEDIL_CACHE"


@contextmanager
def own_folder(path: Path) -> Iterator[Path]:
    """Open a folder that only this user can write; one that is missing is made, in a parent of the same kind.

    Args:
        path: of the folder.

    Yields:
        The opened folder, as a path that stays the same folder whatever is renamed meanwhile.

    Raises:
        PermissionError: if the folder or its parent is somebody else's, or others can write it.
        OSError: if it cannot be made or opened.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _opened(path.parent, path.parent, os.O_DIRECTORY) as parent:
        inside = _by_descriptor(parent) / path.name
        inside.mkdir(mode=0o700, exist_ok=True)
        with _opened(inside, path, os.O_DIRECTORY | os.O_NOFOLLOW) as folder:
            yield _by_descriptor(folder)


def save_library(path: Path, library: bytes) -> None:
    """Write a library and its hash behind it, so that what a crash or a full disk cuts short is noticed.

    Args:
        path: in a folder that is locked.
        library: its content.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(library + _HASH(library).digest())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_library(path: Path, name: Path) -> ctypes.CDLL | None:
    """Load a library that :func:`save_library` wrote.

    Args:
        path: of the file.
        name: of the file, for messages.

    Returns:
        The library; None if the file is not what was written.

    Raises:
        FileNotFoundError: if there is none.
        PermissionError: if it is somebody else's, or others can write it.
        OSError: if the system cannot load it.
    """
    with _opened(path, name, os.O_NOFOLLOW | os.O_NONBLOCK) as descriptor:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(os.fstat(descriptor).st_size)  # a pipe has no size
        size = _HASH().digest_size
        if _HASH(content[:-size]).digest() != content[-size:]:
            return None
        kept = os.dup(descriptor)  # for good: the system knows a library that is loaded by its path
    try:
        return ctypes.CDLL(str(_by_descriptor(kept)))
    except OSError as error:
        os.close(kept)
        raise OSError(f"{name}: {str(error).removeprefix(f'{_by_descriptor(kept)}: ')}") from error


@contextmanager
def _opened(path: Path, name: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        _require_own(name, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _require_own(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user (uid {found.st_uid}); {_REMEDY}")
    # Where each user has a group of the same number, as most distributions have it, that group is no other.
    others = stat.S_IWOTH | (0 if found.st_gid == found.st_uid else stat.S_IWGRP)
    if found.st_mode & others:
        raise PermissionError(f"other users can write {path}; {_REMEDY}, or run: chmod go-w {path}")


def _by_descriptor(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}")
