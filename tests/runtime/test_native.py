"""Where the kernels come from, and what is said where they cannot be had."""

import os
from pathlib import Path

import pytest
import torch

from wavedil.runtime.native import KernelsUnavailableError, has_instructions, load_kernels

needs_cpu = pytest.mark.skipif(not has_instructions(), reason="the CPU has no AVX-512")


def compiler(folder: Path, script: str) -> str:
    """A program that takes the place of the compiler."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_cpu_without_the_instructions_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with pytest.raises(KernelsUnavailableError, match="AVX-512"):
        load_kernels(tmp_path)
    assert not list(tmp_path.iterdir())


@needs_cpu
def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelsUnavailableError, match=r"no C\+\+ compiler \(c\+\+, g\+\+, clang\+\+\)"):
        load_kernels(tmp_path / "kernels")
    monkeypatch.setenv("CXX", "another")
    with pytest.raises(KernelsUnavailableError, match=r"no C\+\+ compiler \(another\)"):
        load_kernels(tmp_path / "kernels")


@needs_cpu
def test_a_compiler_that_fails_is_quoted_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'for made; do :; done; echo half > "$made"; echo "product.h: too old" >&2; exit 1'
    monkeypatch.setenv("CXX", compiler(tmp_path, script))
    with pytest.raises(KernelsUnavailableError, match=r"cannot build them: product\.h: too old"):
        load_kernels(tmp_path / "kernels")
    assert [path.name for path in (tmp_path / "kernels").iterdir()] == [".lock"]


@needs_cpu
def test_what_is_no_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", compiler(tmp_path, 'for made; do :; done; echo text > "$made"'))
    with pytest.raises(KernelsUnavailableError, match=str(tmp_path / "kernels")):
        load_kernels(tmp_path / "kernels")


@needs_cpu
def test_a_library_that_others_can_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", compiler(tmp_path, 'for made; do :; done; echo text > "$made"'))
    with pytest.raises(KernelsUnavailableError):
        load_kernels(tmp_path / "kernels")
    (library,) = (tmp_path / "kernels").glob("*/*.so")
    library.chmod(0o777)
    with pytest.raises(KernelsUnavailableError, match="only this user can write"):
        load_kernels(tmp_path / "kernels")


@needs_cpu
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(KernelsUnavailableError, match=str(tmp_path)):
        load_kernels(tmp_path / "kernels")


@needs_cpu
def test_a_place_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "kernels").write_text("")
    with pytest.raises(KernelsUnavailableError, match=str(tmp_path / "kernels")):
        load_kernels(tmp_path / "kernels")
