"""The C++ compiler of the system: found, run with a limit of time, and quoted in one line where it fails."""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_COMPILERS = ("c++", "g++", "clang++")
_LIMIT = 180.0  # seconds
_MOST, _LONGEST = 1 << 20, 300  # bytes that are searched for a line, and characters of it


class CompilerError(RuntimeError):
    """Why a library cannot be built, in one line."""


def compile_library(flags: Sequence[str], sources: Sequence[Path]) -> bytes:
    """A shared library as the compiler writes it.

    Args:
        flags: of the compiler.
        sources: C++ files.

    Raises:
        CompilerError: if there is no compiler, or it fails, or takes longer than three minutes.
    """
    compiler = _find_compiler()
    with tempfile.TemporaryDirectory(prefix="wavedil") as folder:
        made = Path(folder) / "library.so"
        _run([*compiler, *flags, *map(str, sources), "-o", str(made)], Path(folder) / "errors")
        if not made.is_file():
            raise CompilerError(f"{shlex.join(compiler)} built nothing, although it reported no error")
        return made.read_bytes()


def _find_compiler() -> list[str]:
    """The command, of a path or of several words: ``CXX="ccache g++"``."""
    chosen = os.environ.get("CXX", "").strip()
    if chosen and not shutil.which(chosen):
        try:
            command = shlex.split(chosen)
        except ValueError as error:
            raise CompilerError(f"CXX={chosen!r}: {error}") from error
    else:
        command = [chosen or next(filter(shutil.which, _COMPILERS), "")]
    if not shutil.which(command[0]):
        raise CompilerError(f"there is no C++ compiler ({chosen or ', '.join(_COMPILERS)})")
    return command


def _run(command: Sequence[str], errors: Path) -> None:
    """Run a command, in a group of processes of its own, so that none of them is left when the time is over."""
    with errors.open("wb") as log:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        except OSError as error:
            raise CompilerError(f"{command[0]}: {error.strerror}") from error
        try:
            status = process.wait(_LIMIT)
        except subprocess.TimeoutExpired as error:
            raise CompilerError(f"{command[0]} took longer than {_LIMIT:.0f} s") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if status:
        with errors.open("rb") as log:
            raise CompilerError(f"{command[0]} cannot build them: {_reason(log.read(_MOST), status)}")


def _reason(said: bytes, status: int) -> str:
    """The first line that speaks of an error, or the first of all; compilers may write bytes that are not UTF-8."""
    text = said.decode(errors="replace")
    lines = ["".join(c if c.isprintable() else " " for c in line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line] or [f"exit status {status}"]
    return next((line for line in lines if "error" in line.lower()), lines[0])[:_LONGEST]
