"""The lock of a run folder: one run writes it at a time, and a killed run leaves nothing locked."""

import contextlib
import errno
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from wavedil.files import open_lock, parse_json

try:
    import fcntl
except ImportError:  # Windows: nothing then keeps a second run out
    fcntl = None

# What file systems without locks answer; some network and parallel ones are mounted so.
_NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL}

_LONGEST = 4096  # bytes of a signature


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, or held it last.

    Attributes:
        pid: the process.
        host: its machine.
        launch: the torchrun that started it; None without one.
    """

    pid: int
    host: str
    launch: str | None = None


class RunLock:
    """Context in which no other process holds the same lock.

    It is the system's lock on an open file (flock), which ends with the process however that ends. The file itself
    stays, since removing it would let two holders in, and tells who signed it last.

    Args:
        path: of the lock's file; its folder exists.

    Attributes:
        former: who signed it last, this process apart; None if nobody did.

    Raises:
        RuntimeError: on entering, if another process holds it; the message names the folder and the process.
        ValueError: likewise, if the file is a link, a pipe or the like.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.former: Holder | None = None

    def __enter__(self) -> "RunLock":
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(open_lock(self.path))
            self.former = self._signature()
            self._lock()
            self.former = self._signature()  # by one that has ended meanwhile
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()

    def sign(self, launch: str | None) -> None:
        """Write into the file who holds it."""
        self._file.truncate(0)
        self._file.write((json.dumps(asdict(Holder(os.getpid(), platform.node(), launch))) + "\n").encode())

    def _lock(self) -> None:
        try:
            if fcntl is None:
                raise OSError(errno.ENOSYS, "no flock")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = f"process {self.former.pid} on {self.former.host}" if self.former else "another process"
            raise RuntimeError(
                f"{self.path.parent}: {holder} is writing this run: stop it first, or choose another --run_dir"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            print(f"{self.path}: no locks on this file system: do not start a second run here", file=sys.stderr)

    def _signature(self) -> Holder | None:
        self._file.seek(0)
        return _holder(self._file.read(_LONGEST))


def _holder(signature: bytes) -> Holder | None:
    """Who signed; None if nobody did, it was cut short by a full disk, or somebody else wrote the file."""
    try:
        holder = Holder(**parse_json(signature, "lock"))
    except (ValueError, TypeError):
        return None
    texts = (holder.host, "" if holder.launch is None else holder.launch)
    return holder if type(holder.pid) is int and all(isinstance(text, str) for text in texts) else None
