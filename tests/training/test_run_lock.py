"""One run writes a folder at a time."""

import errno
import fcntl
import json
import multiprocessing
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from wavedil.training.run_lock import Holder, RunLock


def _hold_and_die(path: Path) -> None:
    lock = RunLock(path)
    lock.__enter__()
    lock.sign("launch")
    os.kill(os.getpid(), 9)


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with RunLock(path) as lock:
        lock.sign(None)
        message = f"{tmp_path}: process {os.getpid()} on {platform.node()} is writing this run: .* another --run_dir"
        with pytest.raises(RuntimeError, match=message), RunLock(path):
            pass
    with RunLock(path) as again:
        assert again.former == Holder(os.getpid(), platform.node())


def test_a_holder_that_did_not_sign_is_another_process(tmp_path: Path) -> None:
    with (
        RunLock(tmp_path / "lock"),
        pytest.raises(RuntimeError, match="another process is writing"),
        RunLock(tmp_path / "lock"),
    ):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    child = multiprocessing.get_context("forkserver").Process(target=_hold_and_die, args=(path,))
    child.start()
    child.join(60)
    assert child.exitcode == -9
    with RunLock(path) as lock:
        assert lock.former == Holder(child.pid or 0, platform.node(), "launch")
        lock.sign("other")
    assert json.loads(path.read_text()) == {"pid": os.getpid(), "host": platform.node(), "launch": "other"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "7"])
def test_a_signature_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with RunLock(tmp_path / "lock") as lock:
        assert lock.former is None


def _flock_fails(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)


def test_without_locks_in_the_file_system_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _flock_fails(monkeypatch, errno.ENOTSUP)
    with RunLock(tmp_path / "lock"):
        said = capsys.readouterr().err
    assert said == f"{tmp_path / 'lock'}: no locks on this file system: do not start a second run here\n"


def test_another_error_of_the_system_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _flock_fails(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output"), RunLock(tmp_path / "lock"):
        pass
