"""The speedrun stops its clock where its rule says, on the package's own steps."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tiny import PER_SPLIT, WORDS, read_rows, tiny_config, write_corpus

from wavedil.config import Config
from wavedil.data.clips import Splits, load_splits
from wavedil.training.config import save_toml
from wavedil.training.distributed import Process
from wavedil.training.loop import train

SCRIPTS = Path(__file__).parents[2] / "scripts"
STEPS = len(WORDS) * PER_SPLIT["training"] // 8


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("speedrun")
    (folder / "corpus").mkdir()
    return tiny_config(write_corpus(folder / "corpus"), folder / "run")


@pytest.fixture(scope="module")
def splits(config: Config) -> Splits:
    return load_splits(config.data)


@pytest.fixture
def speedrun(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("speedrun")


def test_the_clock_stops_at_the_first_reading_that_reaches_the_target(
    speedrun: ModuleType, config: Config, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming = iter([0.2, 0.6, 0.9, 0.95])

    def told(trainer: Any, sets: Any) -> dict[str, float]:
        return {"step": trainer.state.step, "epoch": trainer.state.step / STEPS, "together": next(coming)}

    monkeypatch.setattr(speedrun, "reading", told)
    result = speedrun.race(config, splits, Process(), target=0.7, every=2 / STEPS, first=0.5)
    assert result["reached"]
    assert [row["step"] for row in result["readings"]] == [4, 6, 8]  # every 2 steps, from half an epoch on
    assert result["seconds"] == result["readings"][-1]["seconds"] > result["startup_seconds"] > 0
    assert next(coming) == 0.95


def test_its_readings_are_those_of_a_training_run(speedrun: ModuleType, config: Config, splits: Splits) -> None:
    train(config)
    rows = read_rows(Path(config.run_dir))
    result = speedrun.race(config, splits, Process(), target=1.01)
    assert [row["validation"] for row in result["readings"]] == pytest.approx([float(r["val_accuracy"]) for r in rows])
    last = result["readings"][-1]
    assert last["together"] == pytest.approx((last["validation"] + last["testing"]) / 2)  # sets of the same size
    assert not result["reached"]


@pytest.mark.parametrize(("target", "status"), [("0", 0), ("1", 1)])
def test_the_command_prints_seconds_or_that_it_fell_short(
    speedrun: ModuleType, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, status: int
) -> None:
    save_toml(config, tmp_path / "config.toml")
    overrides = ["--train.lr", "1e-9", "--train.epochs", "1", "--run_dir", str(tmp_path / "run")]
    arguments = ["--config", str(tmp_path / "config.toml"), "--target", target, "--json", str(tmp_path / "out.json")]
    threads = torch.get_num_threads()
    assert speedrun.main([*arguments, *overrides]) == status
    torch.set_num_threads(threads)
    last = capsys.readouterr().out.splitlines()[-1]
    assert ("s from cached clips to 0.00%" in last) is (status == 0)
    assert last.startswith("target 100.00% not reached in 1 epochs, ") is (status == 1)
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["reached"] is (status == 0)
    assert result["clips"] == {name: len(WORDS) * count for name, count in PER_SPLIT.items()}
    assert {"seconds", "startup_seconds", "process_seconds", "commit", "device", "words", "target"} <= result.keys()
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_ends_it(
    speedrun: ModuleType, config: Config, splits: Splits, tmp_path: Path
) -> None:
    quiet = tiny_config(Path(config.data.root or ""), tmp_path / "run", train={"grad_clip": 0.0, "epochs": 1})
    wild = replace(quiet, train=replace(quiet.train, lr=1e30))  # beyond what a file may say
    with pytest.raises(ValueError, match=r"NaN or infinite at step \d+: lower train\.lr"):
        speedrun.race(wild, splits, Process(), target=1.0)


def test_several_processes_are_refused(speedrun: ModuleType, config: Config, splits: Splits) -> None:
    with pytest.raises(ValueError, match="a speedrun takes one process"):
        speedrun.race(config, splits, Process(0, 2), target=1.0)
