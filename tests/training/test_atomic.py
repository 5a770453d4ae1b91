import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import before_call, with_file_limit

from wavedil.training.atomic import recover_folder, remove_folder, remove_temporaries, write_file, write_folder

OLD, NEW = {"a": b"old", "b": b"old"}, {"a": b"new", "c": b"new"}


class _Crash(BaseException):
    """Ends the process in the middle, as far as the disk can tell."""


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _crash() -> None:
    raise _Crash


def _calls_made_by(action: Callable[[], None], monkeypatch: pytest.MonkeyPatch, name: str) -> int:
    function, calls = getattr(os, name), []
    with monkeypatch.context() as patch:
        patch.setattr(os, name, lambda *args: (calls.append(1), function(*args))[1])
        action()
    return len(calls)


def test_a_folder_is_the_old_or_the_new_one_wherever_the_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    write_folder(folder, OLD)
    seen = set()
    for name in ("fsync", "rename"):
        for count in range(1, 1 + _calls_made_by(lambda: write_folder(folder, OLD), monkeypatch, name)):
            write_folder(folder, OLD)
            with monkeypatch.context() as patch:
                patch.setattr(os, name, getattr(os, name))  # put back at the end of the block
                before_call(os, name, count, _crash)
                with pytest.raises(_Crash):
                    write_folder(folder, NEW)
            recover_folder(folder)
            remove_temporaries(tmp_path, "folder")
            assert _content(folder) in (OLD, NEW)
            assert [path.name for path in tmp_path.iterdir()] == ["folder"]
            seen.add(_content(folder) == NEW)
    assert seen == {False, True}  # the last fsync comes after the renames


@pytest.mark.parametrize("left", ["old only", "both"])
def test_a_replacement_cut_between_its_renames_is_repaired(tmp_path: Path, left: str) -> None:
    folder, replaced = tmp_path / "folder", tmp_path / ".folder.old"
    write_folder(folder, OLD)
    folder.rename(replaced)
    if left == "both":
        write_folder(tmp_path / "new", NEW)
        (tmp_path / "new").rename(folder)
    recover_folder(folder)
    assert _content(folder) == (NEW if left == "both" else OLD)
    assert not replaced.exists()
    write_folder(folder, NEW)
    assert _content(folder) == NEW


def test_a_write_that_the_system_refuses_leaves_the_old_content(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    write_file(file, b"old")
    write_folder(folder, OLD)
    too_much = bytes(10_000)
    with pytest.raises(OSError, match="large"):
        with_file_limit(1000, lambda: write_file(file, too_much))
    with pytest.raises(OSError, match="large"):
        with_file_limit(1000, lambda: write_folder(folder, {"a": b"new", "b": too_much}))
    assert file.read_bytes() == b"old"
    assert _content(folder) == OLD
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


def test_removing_a_folder_leaves_nothing(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", OLD)
    remove_folder(tmp_path / "folder")
    assert not list(tmp_path.iterdir())


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    others = tmp_path / "others"
    write_folder(others, OLD)
    run = tmp_path / "run"
    run.mkdir()
    for name in ("file", ".file.tmp"):
        (run / name).symlink_to(others / "a")
    for name in ("folder", ".folder.tmp", ".folder.old", ".gone.tmp"):
        (run / name).symlink_to(others)
    write_file(run / "file", b"new")
    write_folder(run / "folder", NEW)
    (run / ".folder.tmp").symlink_to(others)
    remove_folder(run / "folder")
    remove_temporaries(run, "gone")
    assert _content(run) == {"file": b"new"}
    assert not (run / "file").is_symlink()
    assert _content(others) == OLD


def test_a_file_takes_the_place_of_no_folder_device_or_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link", "."):
        with pytest.raises(ValueError, match="expected a file, found a "):
            write_file(tmp_path / name, b"")
    assert (tmp_path / "pipe").is_fifo()


def test_temporaries_of_others_stay(tmp_path: Path) -> None:
    for name in (".mine.tmp", ".theirs.tmp"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path, "mine")
    assert [path.name for path in tmp_path.iterdir()] == [".theirs.tmp"]
