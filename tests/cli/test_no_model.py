"""Commands that want a model or a run, given something else: one line that says what was expected."""

import os
from pathlib import Path

import pytest

from wavedil.cli import main

COMMANDS = {
    "evaluate": (["evaluate", "{}"], "expected a model (model.safetensors and config.json) or a run folder"),
    "predict": (["predict", "{}", "a.wav"], "expected a model (model.safetensors and config.json) or a run folder"),
    "models": (["models", "{}"], "expected a run folder (config.toml, or several seeds in seed0, seed1, ...)"),
    "rf": (["rf", "{}"], "expected a "),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["nothing", "file", "empty folder", "pipe"])
def test_what_is_no_model_and_no_run_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, kind: str
) -> None:
    path = tmp_path / "given"
    {"nothing": lambda: None, "file": path.touch, "empty folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}[kind]()
    arguments, expected = COMMANDS[command]
    assert main([argument.format(path) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"wavedil: error: {path}: {expected}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["evaluate", "predict", "rf"])
def test_a_run_without_a_model_is_told_from_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "config.toml").touch()
    assert main([argument.format(tmp_path) for argument in COMMANDS[command][0]]) == 2
    assert f"{tmp_path}: this run has no model yet" in capsys.readouterr().err
    (tmp_path / "seed3").mkdir()
    (tmp_path / "seed3" / "config.toml").touch()
    assert main([argument.format(tmp_path) for argument in COMMANDS[command][0]]) == 2
    assert f"these are runs of several seeds; name one of them, {tmp_path}/seed3" in capsys.readouterr().err
