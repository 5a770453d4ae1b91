"""Where the kernels come from, and what is said where they cannot be had."""

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from wavedil.folders import file_lock
from wavedil.runtime import compiler, library, native
from wavedil.runtime.native import KernelsUnavailableError, load_kernels

# A library of one function, which stands for the kernels where only the way to them is tested.
SMALL = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where kernels are kept, on any CPU, built from sources that take no time."""
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "small.cpp").write_text(SMALL)
    monkeypatch.setattr(native, "_SOURCES", sources)
    monkeypatch.setattr(native, "_FLAGS", ("-shared", "-fPIC"))
    monkeypatch.setattr(native, "cpu_capabilities", lambda: dict.fromkeys(native._NEEDED, True))
    monkeypatch.setattr(native, "declare", lambda _: None)
    monkeypatch.delenv("CXX", raising=False)
    (tmp_path / "cache").mkdir(mode=0o755)
    return tmp_path / "cache" / "kernels"


def load(folder: Path) -> ctypes.CDLL:
    """As a process does that has loaded none yet."""
    return load_kernels.__wrapped__(folder)


def stored(folder: Path) -> Path:
    (path,) = folder.glob("*.so")
    return path


@pytest.fixture
def write_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in the place of the compiler; "$made" is where the library goes."""

    def write(script: str) -> None:
        path = tmp_path / "a compiler"
        path.write_text(f"#!/bin/sh\nfor made; do :; done\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))

    return write


def test_a_cpu_without_the_instructions_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "cpu_capabilities", dict)
    with pytest.raises(KernelsUnavailableError, match="AVX-512"):
        load(folder)
    assert not folder.exists()


def test_torchs_own_switch_hides_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": True, "avx512_f": True, "amx_bf16": True})
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    assert native.cpu_capabilities() == {"avx2": True, "avx512_f": False, "amx_bf16": False}
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    assert all(native.cpu_capabilities().values())


def test_they_are_built_once_and_found_again(folder: Path, write_compiler: Callable[[str], None]) -> None:
    assert load(folder).answer() == 42
    write_compiler("exit 1")
    assert load(folder).answer() == 42
    assert {path.name for path in folder.iterdir()} == {".lock", stored(folder).name}


def test_each_library_that_is_loaded_is_its_own(folder: Path) -> None:
    first = load(folder)
    (native._SOURCES / "small.cpp").write_text(SMALL.replace("42", "43"))
    assert (load(folder).answer(), first.answer()) == (43, 42)


# What users choose as their compiler, with a reason to refuse it, or None.
CHOICES = {
    "": None,
    "  ": None,
    "env LANG=C c++": None,
    "another": r"no C\+\+ compiler \(another\)",
    "another -m64": r"no C\+\+ compiler \(another -m64\)",
    'c++ "': r"CXX='c\+\+ \"': No closing quotation",
}


@pytest.mark.parametrize("chosen", CHOICES)
def test_the_compiler_may_be_a_command_of_several_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setenv("CXX", chosen)
    expected = CHOICES[chosen]
    if expected is None:
        assert load(folder).answer() == 42
    else:
        with pytest.raises(KernelsUnavailableError, match=expected):
            load(folder)


def test_without_a_compiler_it_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder.parent))
    with pytest.raises(KernelsUnavailableError, match=r"no C\+\+ compiler \(c\+\+, g\+\+, clang\+\+\)"):
        load(folder)


# Compilers that fail, and what is quoted of them.
FAILURES = {
    'echo half > "$made"; echo "product.h: too old" >&2; exit 1': r"cannot build them: product\.h: too old$",
    r'printf "a warning\nerror: caf\351 \033[1m\377\n" >&2; exit 1': "cannot build them: error: caf",
    "exit 3": "cannot build them: exit status 3$",
    "kill -9 $$": "cannot build them: exit status -9$",
    "exit 0": "built nothing, although it reported no error$",
    'echo text > "$made"': r"kernels/\w+\.so: file too short$",
    "head -c 100000 /dev/zero >&2; exit 1": "cannot build them: .{1,400}$",
}


@pytest.mark.parametrize("script", FAILURES)
def test_a_compiler_that_fails_is_quoted_in_a_line_and_leaves_nothing(
    folder: Path, write_compiler: Callable[[str], None], script: str
) -> None:
    write_compiler(script)
    with pytest.raises(KernelsUnavailableError, match=FAILURES[script]) as caught:
        load(folder)
    assert str(caught.value).isprintable()
    if "text" not in script:
        assert [path.name for path in folder.iterdir()] == [".lock"]


def test_a_file_that_is_no_program_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder.parent / "program"
    program.write_bytes(b"\x7fELF" + bytes(100))
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    with pytest.raises(KernelsUnavailableError, match=f"^{program}: Exec format error"):
        load(folder)


def test_a_compiler_that_hangs_is_ended_with_all_that_it_started(
    folder: Path, write_compiler: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, written = os.pipe()  # held by whatever is left of the compiler
    os.set_inheritable(written, True)
    monkeypatch.setattr(compiler, "_LIMIT", 0.2)
    monkeypatch.setattr(
        compiler.subprocess, "Popen", lambda *a, _popen=compiler.subprocess.Popen, **k: _popen(*a, close_fds=False, **k)
    )
    write_compiler("sleep 1000 & sleep 1000")
    with pytest.raises(KernelsUnavailableError, match="took longer than"):
        load(folder)
    os.close(written)
    assert os.read(read, 1) == b""
    os.close(read)


@pytest.mark.parametrize("damage", ["cut short", "a byte changed", "empty", "a pipe"])
def test_a_library_that_is_damaged_is_built_again(folder: Path, damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    load(folder)
    path = stored(folder)
    content = path.read_bytes()
    path.unlink()
    if damage == "a pipe":
        os.mkfifo(path, 0o600)
    else:
        changed = {"cut short": content[:-40], "a byte changed": b"\0" + content[1:], "empty": b""}[damage]
        path.write_bytes(changed)
        path.chmod(0o600)
    capfd.readouterr()
    assert load(folder).answer() == 42
    assert capfd.readouterr().err == f"{path} is damaged or cut short; building it again\n"
    assert path.read_bytes() == content


@pytest.mark.parametrize("what", ["cache", "kernels", "library"])
def test_what_others_can_write_is_refused(folder: Path, what: str) -> None:
    load(folder)
    path = {"cache": folder.parent, "kernels": folder, "library": stored(folder)}[what]
    path.chmod(0o1777)
    with pytest.raises(KernelsUnavailableError, match=f"^other users can write {path}.* WAVEDIL_CACHE.* chmod go-w"):
        load(folder)
    path.chmod(0o755)
    assert load(folder).answer() == 42


@pytest.mark.parametrize(("group", "refused"), [(12345, True), (None, False)])
def test_a_group_is_others_unless_it_is_the_users_own(group: int | None, refused: bool) -> None:
    own = os.getuid()
    found = os.stat_result((0o40775, 0, 0, 0, own, own if group is None else group, 0, 0, 0, 0))
    if refused:
        with pytest.raises(PermissionError, match="other users can write"):
            library._require_own(Path("x"), found)
    else:
        library._require_own(Path("x"), found)


@pytest.mark.parametrize("what", ["cache", "kernels", "library"])
def test_what_belongs_to_another_user_is_refused(folder: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder)
    path = {"cache": folder.parent, "kernels": folder, "library": stored(folder)}[what]
    real, foreign = os.fstat, path.stat().st_ino

    def fstat(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        return os.stat_result((*found[:4], found.st_uid + 1, *found[5:10])) if found.st_ino == foreign else found

    monkeypatch.setattr(library.os, "fstat", fstat)
    with pytest.raises(KernelsUnavailableError, match=f"^{path} belongs to another user .*WAVEDIL_CACHE"):
        load(folder)


@pytest.mark.parametrize("what", ["kernels", "library"])
def test_links_are_not_followed(folder: Path, what: str) -> None:
    load(folder)
    path = {"kernels": folder, "library": stored(folder)}[what]
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")
    with pytest.raises(KernelsUnavailableError, match=f"^{folder}: (Not a dir|Too many levels of sym)"):
        load(folder)


def test_what_takes_the_place_of_a_checked_folder_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchanged at the worst moment, between the look and the load."""
    load(folder)
    real = native._find

    def exchanged(own: Path, path: Path) -> ctypes.CDLL | None:
        folder.rename(folder.parent / "checked")
        folder.mkdir()
        (folder / stored(folder.parent / "checked").name).write_bytes(b"another library")
        return real(own, path)

    monkeypatch.setattr(native, "_find", exchanged)
    assert load(folder).answer() == 42


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    folder.parent.chmod(0o500)
    with pytest.raises(KernelsUnavailableError, match=f"^{folder}: Permission denied"):
        load(folder)


def test_a_place_that_is_no_folder_is_named(folder: Path) -> None:
    folder.write_text("")
    with pytest.raises(KernelsUnavailableError, match=f"^{folder}: "):
        load(folder)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_a_full_disk_is_told_and_nothing_is_left(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(library.os, "fsync", full)
    with pytest.raises(KernelsUnavailableError, match=f"^{folder}: {os.strerror(code)}$"):
        load(folder)
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_a_lock_that_another_holds_is_waited_for_and_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wavedil.folders._SILENT", 0.0)
    monkeypatch.setattr(native, "_LIMIT", 0.1)
    with file_lock(folder / ".lock"):
        folder.chmod(0o700)
        with pytest.raises(KernelsUnavailableError, match=rf"{folder}/\.lock: another process has held this lock"):
            load(folder)
    assert capfd.readouterr().err == f"{folder}/.lock: waiting for another process that holds this lock\n"
    assert load(folder).answer() == 42


def test_a_link_in_the_place_of_the_lock_is_named(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / ".lock").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(KernelsUnavailableError, match=rf"^{folder}/\.lock: "):
        load(folder)
    assert not (folder.parent / "elsewhere").exists()


def test_another_process_that_built_them_meanwhile_is_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, write_compiler: Callable[[str], None]
) -> None:
    load(folder)
    real, looks = native._find, []

    def late(own: Path, path: Path) -> ctypes.CDLL | None:
        looks.append(path)
        return real(own, path) if len(looks) > 1 else None

    write_compiler("exit 1")
    monkeypatch.setattr(native, "_find", late)
    assert load(folder).answer() == 42
