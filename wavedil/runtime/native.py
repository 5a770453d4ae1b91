"""The kernels for CPUs with AVX-512: built once by the C++ compiler of the system, kept in a folder, loaded."""

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
_FLAGS = ("-std=c++20", "-O3", "-w", "-shared", "-fPIC", "-fopenmp", "-fno-strict-aliasing", "-Wl,-Bsymbolic", "-mfma")
_NEEDED = ("avx512_f", "avx512_bw", "avx512_dq", "avx512_vl")
_LIBRARY = "kernels.so"


class KernelsUnavailableError(RuntimeError):
    """Why the kernels cannot be used here; everything works without them, only slower."""


@cache
def load_kernels(folder: Path) -> ctypes.CDLL:
    """The kernels, built into a folder by the first call that finds none of this version there.

    Args:
        folder: where they are kept.

    Raises:
        KernelsUnavailableError: if the CPU has no AVX-512, or the kernels cannot be built or loaded.
    """
    if not has_instructions():
        raise KernelsUnavailableError("they need Linux on a CPU with AVX-512")
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


def has_instructions() -> bool:
    """Whether kernels for this system and CPU can be built; where it multiplies no bfloat16, they do so in float32."""
    capabilities = torch.cpu.get_capabilities()
    return sys.platform.startswith("linux") and all(capabilities.get(name) for name in _NEEDED)


def _flags() -> list[str]:
    """For this CPU."""
    faster = ["avx512_bf16"] if torch.cpu.get_capabilities().get("avx512_bf16") else []
    return [*_FLAGS, *("-m" + name.replace("_", "") for name in [*_NEEDED, *faster])]


def _version() -> str:
    """Of what a library is made from."""
    digest = hashlib.sha256(" ".join(_flags()).encode())
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
        command = [compiler, *_flags(), *sources, "-o", str(made / _LIBRARY)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise KernelsUnavailableError(f"{compiler} cannot build them: {lines[0]}")
        (made / _LIBRARY).chmod(0o755)
