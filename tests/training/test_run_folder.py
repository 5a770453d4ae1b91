"""A run folder: what lies in it, whose it is, and how a run there is begun and taken up."""

import os
from pathlib import Path

import pytest
from tiny import tiny_config

from wavedil.config import Config
from wavedil.training.run_folder import RunFolder


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return tiny_config(tmp_path / "corpus", tmp_path / "run")


def _begin(config: Config, resume: bool = False) -> None:
    with RunFolder(config.run_dir).begun(config, resume):
        pass


WRITTEN = ["lock", "metrics.csv", "report.json", "nan_batch.txt", "confusion.png", "curves.png", "config.toml"]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", [*WRITTEN, "checkpoints", "model", "tensorboard"])
def test_no_link_or_pipe_stands_where_a_run_writes(config: Config, tmp_path: Path, name: str, resume: bool) -> None:
    others, run = tmp_path / "others", Path(config.run_dir)
    others.mkdir()
    (others / "thesis.txt").write_text("years of work")
    target = others / "thesis.txt" if "." in name or name == "lock" else others
    if resume:
        _begin(config)
    for kind in ("link", "pipe"):
        run.mkdir(exist_ok=True)
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(target) if kind == "link" else os.mkfifo(run / name)
        with pytest.raises(ValueError, match=f"{run / name}: expected a .*, found a {kind}; .*remove it"):
            _begin(config, resume)
    assert {path.name: path.read_text() for path in others.iterdir()} == {"thesis.txt": "years of work"}


def test_the_run_folder_itself_may_be_a_link(config: Config, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    _begin(config)
    assert (tmp_path / "disk" / "config.toml").is_file()


def test_a_file_is_no_run_folder(config: Config, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ValueError, match="run: expected a folder for the run, found a file"):
        _begin(config)
