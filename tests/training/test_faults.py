"""What goes wrong around a run is told in one line, and costs nothing that was saved."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tiny import (
    SAMPLE_RATE,
    SAMPLES,
    assert_same,
    before_call,
    command,
    final_state,
    permissions_hold,
    tiny_config,
    write_corpus,
)

from wavedil.config import Config
from wavedil.training.config import load_config
from wavedil.training.loop import Trainer
from wavedil.training.step import TrainingStep

Capture = pytest.CaptureFixture[str]
TWO = {"epochs": 2}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No pictures, which would take most of the time; and torch's threads put back for the other tests."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="module")
def reference(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without faults."""
    config = tiny_config(corpus, tmp_path_factory.mktemp("reference") / "run", train=TWO)
    assert command(config) == 0
    return Path(config.run_dir)


@pytest.fixture
def own(tmp_path: Path, corpus: Path) -> Config:
    """A run on a copy of the corpus, to be spoiled."""
    shutil.copytree(corpus, tmp_path / "data" / "corpus")
    return tiny_config(tmp_path / "data" / "corpus", tmp_path / "run", train=TWO)


def _finished_copy(reference: Path, folder: Path) -> Config:
    shutil.copytree(reference, folder)
    return load_config(folder / "config.toml", [f"--run_dir={folder}"])


def _error(capsys: Capture) -> str:
    """The one line that a command said, notes on the data apart."""
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("wavedil: error: ")
    return lines[0].removeprefix("wavedil: error: ")


def _assert_nothing_half_written(run: Path) -> None:
    assert not list(run.rglob(".*.tmp"))
    for path in run.rglob("*.json"):
        json.loads(path.read_text())
    for path in run.glob("checkpoints/step-*"):
        torch.load(path / "training.pt", weights_only=True)
    if (run / "config.toml").exists():
        load_config(run / "config.toml")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_cut, _flip])
def test_a_damaged_newest_checkpoint_costs_the_way_from_the_one_before(
    reference: Path, tmp_path: Path, capsys: Capture, damage: Callable[[Path], None]
) -> None:
    config = _finished_copy(reference, tmp_path / "run")
    first, newest = sorted((tmp_path / "run" / "checkpoints").iterdir())
    damage(newest / "training.pt")
    assert command(config, "--resume") == 0
    said = capsys.readouterr()
    assert f"{newest / 'training.pt'}: damaged: " in said.err
    assert f"going on from {first.name}" in said.err
    assert len([line for line in said.err.splitlines() if not line.startswith("note: ")]) == 1
    assert f"resumed at step {int(first.name[5:])} of" in said.out
    shutil.rmtree(newest.with_name(f"{newest.name}.damaged"))
    assert_same(final_state(tmp_path / "run"), final_state(reference))


def test_when_no_checkpoint_can_be_read_all_are_named(reference: Path, tmp_path: Path, capsys: Capture) -> None:
    config = _finished_copy(reference, tmp_path / "run")
    checkpoints = sorted((tmp_path / "run" / "checkpoints").iterdir())
    for path in checkpoints:
        _cut(path / "training.pt")
    assert command(config, "--resume") == 2
    error = _error(capsys)
    assert all(path.name in error for path in checkpoints)
    assert sorted((tmp_path / "run" / "checkpoints").iterdir()) == checkpoints


def _fill_disk_before(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """From the ``count``-th file or folder that is made safe on, there is no room."""
    fsync, calls = os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] >= count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)


# Two epochs and the report make as many; most are left to the full suite.
_FSYNCS = [pytest.param(n, marks=[] if n in (2, 9, 25) else pytest.mark.full) for n in range(1, 27)]


@pytest.mark.parametrize("count", _FSYNCS)
def test_a_disk_that_fills_at_any_moment_stops_the_run_with_a_line(
    corpus: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, count: int
) -> None:
    config = tiny_config(corpus, tmp_path / "run", train=TWO)
    with monkeypatch.context() as patch:
        _fill_disk_before(patch, count)
        assert command(config) == 2
    error = _error(capsys)
    assert error.startswith(str(tmp_path))
    assert "no space left on device" in error.lower()
    _assert_nothing_half_written(tmp_path / "run")
    assert command(config, "--resume") == 0
    assert_same(final_state(tmp_path / "run"), final_state(reference))


def test_a_folder_that_may_not_be_written_is_named(corpus: Path, tmp_path: Path, capsys: Capture) -> None:
    config = tiny_config(corpus, tmp_path / "closed" / "run", train=TWO)
    (tmp_path / "closed").mkdir()
    config_file = (tmp_path / "closed" / "run").with_suffix(".toml")
    config_file.touch()
    (tmp_path / "closed").chmod(0o555)
    with permissions_hold():
        assert command(config) == 2
    assert _error(capsys) == f"{tmp_path / 'closed' / 'run'}: permission denied"
    assert list((tmp_path / "closed").iterdir()) == [config_file]
    (tmp_path / "closed").chmod(0o755)


def test_a_folder_that_becomes_read_only_costs_no_checkpoint(
    corpus: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    config, checkpoints = tiny_config(corpus, tmp_path / "run", train=TWO), tmp_path / "run" / "checkpoints"
    with monkeypatch.context() as patch, permissions_hold():
        patch.setattr(Trainer, "_save", Trainer._save)  # put back at the end of the block
        before_call(Trainer, "_save", 2, lambda: checkpoints.chmod(0o555))
        assert command(config) == 2
    checkpoints.chmod(0o755)
    error = _error(capsys)
    assert "could not be written: Permission denied" in error
    assert "step-00000005 is intact" in error
    _assert_nothing_half_written(tmp_path / "run")
    assert command(config, "--resume") == 0
    assert_same(final_state(tmp_path / "run"), final_state(reference))


def _at_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], Any]) -> None:
    monkeypatch.setattr(TrainingStep, "__call__", TrainingStep.__call__)  # put back after the test
    before_call(TrainingStep, "__call__", step, action)


def test_data_that_vanish_do_not_stop_a_run_but_its_resumption(
    own: Config, reference: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    data = Path(own.data.root or "").parent
    _at_step(monkeypatch, 3, lambda: data.rename(data.with_name("moved")))
    assert command(own) == 0
    assert not data.exists()
    capsys.readouterr()
    assert command(own, "--resume") == 2
    error = _error(capsys)
    assert error.startswith(f"{own.data.root}: no such folder; expected one of <word>/<recording>")
    assert f"this path is data.root of {own.run_dir}/config.toml" in error
    assert_same(final_state(Path(own.run_dir)), final_state(reference))


def _another_clip(root: Path) -> None:
    path = root / "cat" / "training0.wav"
    soundfile.write(path, np.full(SAMPLES, 0.1), SAMPLE_RATE, subtype="PCM_16")


def _fewer_clips(root: Path) -> None:
    (root / "dog" / "training3.wav").unlink()


def _another_list(root: Path) -> None:
    """A clip goes from validation to training."""
    path = root / "validation_list.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


@pytest.mark.parametrize("change", [_another_clip, _fewer_clips, _another_list])
def test_data_that_change_are_refused_until_they_are_back(
    own: Config, reference: Path, tmp_path: Path, capsys: Capture, change: Callable[[Path], None]
) -> None:
    root = Path(own.data.root or "")
    shutil.copytree(root, tmp_path / "kept")
    assert command(own) == 0
    before = final_state(Path(own.run_dir))
    change(root)
    capsys.readouterr()
    assert command(own, "--resume") == 2
    assert _error(capsys).startswith(f"{root}: not the clips that the run in {own.run_dir} began with: put those back")
    assert_same(final_state(Path(own.run_dir)), before)
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "kept", root)
    for path in root.rglob("*.wav"):
        path.touch()  # other times, the same clips
    assert command(own, "--resume") == 0
    assert_same(final_state(Path(own.run_dir)), final_state(reference))


@pytest.mark.parametrize("file", ["clips.i16", "manifest.json"])
def test_a_cache_that_is_cut_short_is_made_anew(own: Config, reference: Path, capsys: Capture, file: str) -> None:
    assert command(own) == 0
    before = final_state(Path(own.run_dir))
    (path,) = Path(own.data.cache_dir or "").glob(f"clips/*/{file}")
    content = path.read_bytes()
    path.unlink()  # not in place: this process still has it mapped
    path.write_bytes(content[: len(content) // 2])
    assert command(own, "--resume") == 0
    assert path.read_bytes() == content
    assert_same(final_state(Path(own.run_dir)), before)
    assert_same(before, final_state(reference))


def test_a_second_run_in_a_folder_is_refused_while_the_first_goes_on(
    corpus: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    config, said = tiny_config(corpus, tmp_path / "run", train=TWO), []

    def second() -> None:
        capsys.readouterr()
        said.append((command(config, "--resume"), _error(capsys)))

    _at_step(monkeypatch, 7, second)
    assert command(config) == 0
    [(status, error)] = said
    assert status == 2
    assert error.startswith(f"{config.run_dir}: process {os.getpid()} on ")
    assert_same(final_state(tmp_path / "run"), final_state(reference))
