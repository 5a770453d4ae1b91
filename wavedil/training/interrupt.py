"""Ctrl-C and SIGTERM, noted for the training loop to act upon between two steps."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterruptedError(Exception):
    """The run was asked to stop, and has saved what it needs to go on.

    Args:
        progress: how far it came.
        command: that continues it.
        signum: the signal that asked.
    """

    def __init__(self, progress: str, command: str, signum: int) -> None:
        super().__init__(progress, command, signum)
        self.progress, self.command, self.signum = progress, command, signum

    def __str__(self) -> str:
        return f"{self.progress}; continue with: {self.command}"

    @property
    def exit_status(self) -> int:
        """What a shell reports for the signal: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signum


class Interrupts:
    """Context in which the first SIGINT or SIGTERM is only noted; a second one takes its usual effect.

    Off the main thread, where Python hands out no signals, it notes nothing.

    Attributes:
        received: the signal, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._former = {signum: signal.signal(signum, self._note) for signum in SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._restore()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.received = signum
        self._restore()

    def _restore(self) -> None:
        for signum, handler in self._former.items():
            signal.signal(signum, handler)
        self._former = {}
