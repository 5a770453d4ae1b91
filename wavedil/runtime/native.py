"""The kernels for CPUs with AVX-512: built once by the C++ compiler of the system, kept in a folder, loaded."""

import ctypes
import hashlib
import sys
from functools import cache
from pathlib import Path

import torch

from wavedil.folders import file_lock
from wavedil.runtime.compiler import CompilerError, compile_library
from wavedil.runtime.library import load_library, own_folder, save_library
from wavedil.runtime.structures import declare

_SOURCES = Path(__file__).parent / "kernels"
_FLAGS = ("-std=c++20", "-O3", "-w", "-shared", "-fPIC", "-fopenmp", "-fno-strict-aliasing", "-Wl,-Bsymbolic", "-mfma")
_NEEDED = ("avx512_f", "avx512_bw", "avx512_dq", "avx512_vl")
_LIMIT = 200.0  # seconds to wait for another process, somewhat more than a compiler is given


class KernelsUnavailableError(RuntimeError):
    """Why the kernels cannot be used here; everything works without them, only slower."""


@cache
def load_kernels(folder: Path) -> ctypes.CDLL:
    """The kernels, built into a folder by the first call that finds none of this version there.

    Args:
        folder: where they are kept; one that only this user can write, as its parent.

    Raises:
        KernelsUnavailableError: if the CPU has no AVX-512, or the kernels cannot be built or loaded.
    """
    if not has_instructions():
        raise KernelsUnavailableError("they need Linux on a CPU with AVX-512")
    try:
        with own_folder(folder) as own:
            library = _find(own, folder) or _build(own, folder)
        declare(library)
    except OSError as error:  # the system's have a text apart; the others name the file themselves
        raise KernelsUnavailableError(f"{folder}: {error.strerror}" if error.strerror else str(error)) from error
    except (CompilerError, TypeError, ValueError) as error:
        raise KernelsUnavailableError(str(error)) from error
    return library


def cpu_capabilities() -> dict[str, bool]:
    """What the CPU can do, as far as torch may use it: ``ATEN_CPU_CAPABILITY=avx2`` hides AVX-512 and AMX."""
    found = torch.cpu.get_capabilities()
    narrow = not torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return {name: bool(value) and not (narrow and name.startswith(("avx512", "amx"))) for name, value in found.items()}


def has_instructions() -> bool:
    """Whether kernels for this system and CPU can be built; where it multiplies no bfloat16, they do so in float32."""
    capabilities = cpu_capabilities()
    return sys.platform.startswith("linux") and all(capabilities.get(name) for name in _NEEDED)


def _find(own: Path, folder: Path) -> ctypes.CDLL | None:
    """The library that an earlier process built, if there is one and it is whole."""
    name = _name()
    try:
        return load_library(own / name, folder / name)
    except FileNotFoundError:
        return None


def _build(own: Path, folder: Path) -> ctypes.CDLL:
    """Build the library, unless another process does so meanwhile."""
    name = _name()
    with file_lock(folder / ".lock", _LIMIT):
        library = _find(own, folder)
        if library is None:
            if (own / name).exists():
                print(f"{folder / name} is damaged or cut short; building it again", file=sys.stderr, flush=True)
            save_library(own / name, compile_library(_flags(), sorted(_SOURCES.glob("*.cpp"))))
            library = load_library(own / name, folder / name)
    if library is None:
        raise OSError(f"{folder / name} was damaged while it was written")
    return library


def _flags() -> list[str]:
    """For this CPU."""
    faster = ["avx512_bf16"] if cpu_capabilities().get("avx512_bf16") else []
    return [*_FLAGS, *("-m" + name.replace("_", "") for name in [*_NEEDED, *faster])]


def _name() -> str:
    """Of the library, by what it is made from."""
    digest = hashlib.sha256(" ".join(_flags()).encode())
    for source in sorted(_SOURCES.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    return f"{digest.hexdigest()[:16]}.so"
