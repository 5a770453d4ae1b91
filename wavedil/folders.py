"""Folders that several processes share: made whole or not at all, by one process at a time."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wavedil.files import open_lock

try:
    import fcntl
except ImportError:  # Windows: without the lock two processes may do the same work, the renames stay atomic
    fcntl = None


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """The folder for caches: the one given, else ``$WAVEDIL_CACHE``, else ``~/.cache/wavedil``."""
    return Path(cache_dir or os.environ.get("WAVEDIL_CACHE") or "~/.cache/wavedil").expanduser()


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock that the processes of a machine share; the system frees it if the holder is killed.

    Args:
        path: the lock's file; it is left behind, since removing it would let two holders in.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is a link, a pipe or the like.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_lock(path) as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
