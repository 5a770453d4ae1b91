import runpy
import signal
import sys
from pathlib import Path

import pytest

from wavedil.cli import main
from wavedil.config import Config
from wavedil.training.config import config_keys
from wavedil.training.interrupt import TrainingInterruptedError


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, bool]]:
    """What the training loop is called with, in place of training."""
    calls: list[tuple[Config, bool]] = []
    monkeypatch.setattr("wavedil.training.loop.train", lambda config, resume: calls.append((config, resume)))
    return calls


def test_file_and_overrides_reach_the_loop(tmp_path: Path, trained: list[tuple[Config, bool]]) -> None:
    path = tmp_path / "c.toml"
    path.write_text("seed = 3\n[train]\nepochs = 5\n")
    assert main(["train", "--config", str(path), "--train.epochs", "7", "--data.words", '["a", "b"]', "--resume"]) == 0
    [(config, resume)] = trained
    assert (config.seed, config.train.epochs, config.data.words, resume) == (3, 7, ["a", "b"], True)


def test_the_script_is_the_command(trained: list[tuple[Config, bool]], monkeypatch: pytest.MonkeyPatch) -> None:
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--seed=4"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0
    assert trained == [(Config(seed=4), False)]


def test_a_mistake_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--train.epochs", "many"]) == 2
    assert capsys.readouterr().err == (
        "wavedil: error: command line: --train.epochs: expected an integer, got 'many'\n"
    )


def test_a_misspelt_or_shortened_key_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--train.epoch", "3"]) == 2
    assert capsys.readouterr().err == (
        "wavedil: error: --train.epoch: no such option; did you mean '--train.epochs'?; see wavedil train --help\n"
    )


def test_an_interruption_is_one_line_and_the_status_of_its_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(config: Config, resume: bool) -> None:
        raise TrainingInterruptedError("stopped", "wavedil train --resume", signal.SIGTERM)

    monkeypatch.setattr("wavedil.training.loop.train", interrupted)
    assert main(["train"]) == 143
    assert capsys.readouterr().err == "stopped; continue with: wavedil train --resume\n"


def test_help_lists_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    assert all(f"--{key}" in text for key in config_keys())
    assert "peak learning rate" in text
