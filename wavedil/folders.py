"""Folders that several processes share: made whole or not at all, by one process at a time."""

import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from wavedil.files import in_home, open_lock

try:
    import fcntl
except ImportError:  # Windows: without the lock two processes may do the same work, the renames stay atomic
    fcntl = None

_SILENT = 5.0  # seconds of waiting without a word


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """The folder for caches: the one given, else ``$WAVEDIL_CACHE``, else ``~/.cache/wavedil``."""
    return in_home(cache_dir or os.environ.get("WAVEDIL_CACHE") or "~/.cache/wavedil")


@contextmanager
def file_lock(path: Path, limit: float = math.inf) -> Iterator[None]:
    """Hold a lock that the processes of a machine share; the system frees it if the holder is killed.

    Args:
        path: the lock's file; it is left behind, since removing it would let two holders in.
        limit: seconds to wait for another holder.

    Raises:
        OSError: if it cannot be opened.
        TimeoutError: if another process holds it for longer.
        ValueError: if it is a link, a pipe or the like.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_lock(path) as file:
        _take_lock(file, path, limit)
        yield


def _take_lock(file: BinaryIO, path: Path, limit: float) -> None:
    began, silent = time.monotonic(), True
    while fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waited = time.monotonic() - began
        if waited >= limit:
            raise TimeoutError(f"{path}: another process has held this lock for {limit:.0f} s")
        if silent and waited >= _SILENT:
            print(f"{path}: waiting for another process that holds this lock", file=sys.stderr, flush=True)
            silent = False
        time.sleep(0.05)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``path`` when the block ends, and is removed if it fails.

    Args:
        path: a folder that is not there yet; what a killed process left unfinished of it is removed, so hold a lock.

    Yields:
        The temporary folder, beside ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.tmp*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.tmp", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())  # mkdtemp makes folders that only their owner can read
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
