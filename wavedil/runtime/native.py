"""The kernels for CPUs with AVX512-BF16: built once by the C++ compiler of the system, kept in a folder, loaded."""

import ctypes
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

import torch

from wavedil.folders import file_lock, new_folder

_SOURCES = Path(__file__).parent / "kernels"
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = (
    *("-std=c++20", "-O3", "-w", "-shared", "-fPIC", "-fopenmp", "-fno-strict-aliasing", "-Wl,-Bsymbolic"),
    *("-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bf16"),
)
_LIBRARY = "kernels.so"


class KernelsUnavailableError(RuntimeError):
    """Why the kernels cannot be used here; everything works without them, only slower."""


@cache
def load_kernels(folder: Path) -> ctypes.CDLL:
    """The kernels, built into a folder by the first call that finds none of this version there.

    Args:
        folder: where they are kept.

    Raises:
        KernelsUnavailableError: if the CPU has no AVX512-BF16, or the kernels cannot be built or loaded.
    """
    if not (sys.platform.startswith("linux") and torch.cpu.get_capabilities().get("avx512_bf16")):
        raise KernelsUnavailableError("they need Linux on a CPU with AVX512-BF16")
    own = folder / _version()
    try:
        if not own.exists():
            with file_lock(folder / ".lock"):
                if not own.exists():  # another process may have built them meanwhile
                    _build(own)
        found = (own / _LIBRARY).stat()
        if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise KernelsUnavailableError(f"{own / _LIBRARY}: expected a file that only this user can write")
        return ctypes.CDLL(str(own / _LIBRARY))
    except OSError as error:
        raise KernelsUnavailableError(f"{own}: {error.strerror or error}") from error


def _version() -> str:
    """Of what a library is made from."""
    digest = hashlib.sha256(" ".join(_FLAGS).encode())
    for source in sorted(_SOURCES.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _build(folder: Path) -> None:
    chosen = os.environ.get("CXX")
    compiler = next(filter(None, map(shutil.which, [chosen] if chosen else _COMPILERS)), None)
    if compiler is None:
        raise KernelsUnavailableError(f"there is no C++ compiler ({chosen or ', '.join(_COMPILERS)})")
    with new_folder(folder) as made:
        sources = map(str, sorted(_SOURCES.glob("*.cpp")))
        command = [compiler, *_FLAGS, *sources, "-o", str(made / _LIBRARY)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise KernelsUnavailableError(f"{compiler} cannot build them: {lines[0]}")
        (made / _LIBRARY).chmod(0o755)
