"""Files opened with care: what lies under a name may be a link, a pipe or a device, without end, or no JSON at all."""

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

JSON_LIMIT = 1 << 22  # bytes; what this package writes is far below

# What Windows lacks is none of its concern: it has no such pipes, and links are for administrators there.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
    stat.S_IFREG: "a file",
}


def in_home(path: str | Path) -> Path:
    """The path, with a ``~`` at its beginning replaced by the home folder where there is one."""
    path = Path(path)
    try:
        return path.expanduser()
    except RuntimeError:  # ~name of nobody, which may be the name of a file
        return path


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read it; links are followed, and a pipe or a device is never waited for.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is no file.
    """
    _require_file(path, path.stat())  # before opening, which some devices take for an order
    descriptor = os.open(path, os.O_RDONLY | _NO_WAIT | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        _require_file(path, os.fstat(descriptor))
        yield file


def read_file(path: Path, limit: int) -> bytes:
    """The content of a file.

    Args:
        path: of the file.
        limit: most bytes that it may have.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no file, or longer.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > limit else file.read(limit + 1)
    if max(size, len(content)) > limit:
        raise ValueError(f"{path}: expected at most {limit:,} bytes, got {size:,}")
    return content


def read_json(path: Path, limit: int = JSON_LIMIT) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no file, too long or not JSON.
    """
    return parse_json(read_file(path, limit), str(path))


def parse_json(content: bytes, source: str) -> Any:
    """JSON in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Args:
        content: the bytes.
        source: what messages call it.

    Raises:
        ValueError: if it is not JSON; NaN and Infinity are not.
    """
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(f"{source}: not JSON that can be read: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{source}: not JSON that can be read: {error}") from None


def to_json(content: Any) -> str:
    """Plain values as JSON text; NaN and infinity, which JSON lacks, become null."""
    return json.dumps(_finite(content), indent=2, allow_nan=False)


def require_no_other(path: Path, kind: str, remedy: str) -> None:
    """Refuse what must not be written to or deleted: a link, or anything that is not of a kind.

    Args:
        path: need not be there.
        kind: "a file" or "a folder".
        remedy: what to do, the end of the message.

    Raises:
        ValueError: if there is something else.
    """
    try:
        found = _kind(path.lstat())
    except FileNotFoundError:
        return
    if found != kind:
        raise ValueError(f"{path}: expected {kind}, found {found}; {remedy}")


def require_replaceable(path: Path) -> None:
    """Refuse to put a file in the place of a folder, a device, a pipe or a socket, or of a link to one.

    Raises:
        ValueError: if there is such a thing.
    """
    try:
        _require_file(path, path.stat())
    except FileNotFoundError:
        return


@contextmanager
def open_lock(path: Path) -> Iterator[BinaryIO]:
    """Open a file that processes lock, and make it if it is not there: a file of its own, under one name.

    Args:
        path: its folder exists.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is a link, has a second name, or is no file.
    """
    remedy = "remove it and run again"
    require_no_other(path, "a file", remedy)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _NO_WAIT | _NO_LINK, 0o666)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        status = os.fstat(descriptor)
        _require_file(path, status)
        if status.st_nlink > 1:
            raise ValueError(f"{path}: this file has a second name (a hard link), and is not written to; {remedy}")
        yield file


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _require_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: expected a file, found {_kind(status)}")


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "something else")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
