import dataclasses
import json
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import (
    PER_SPLIT,
    WORDS,
    assert_same,
    before_call,
    final_state,
    read_rows,
    tiny_config,
    with_file_limit,
    write_corpus,
)

from wavedil.config import Config
from wavedil.data.clips import ClipSet
from wavedil.training.checkpoint import load_model
from wavedil.training.config import load_config
from wavedil.training.interrupt import TrainingInterruptedError
from wavedil.training.loop import Trainer, train
from wavedil.training.step import TrainingStep

STEPS = len(WORDS) * PER_SPLIT["training"] // 8


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """A run sets torch's number of threads; put it back for the other tests."""
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="module")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = tiny_config(corpus, tmp_path_factory.mktemp("finished") / "run")
    train(config)
    return config


@pytest.fixture
def one_epoch(corpus: Path, tmp_path: Path) -> Config:
    return tiny_config(corpus, tmp_path / "run", train={"epochs": 1})


def _at_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Any) -> None:
    monkeypatch.setattr(TrainingStep, "__call__", TrainingStep.__call__)  # put back after the test
    before_call(TrainingStep, "__call__", step, action)


def test_the_run_folder_holds_all_there_is_to_know(finished: Config) -> None:
    run = Path(finished.run_dir)
    assert load_config(run / "config.toml") == finished
    rows = read_rows(run)
    assert [(row["epoch"], row["step"]) for row in rows] == [(str(n), str(n * STEPS)) for n in (1, 2, 3)]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())
    checkpoints = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert checkpoints == [f"step-{2 * STEPS:08d}", f"step-{3 * STEPS:08d}"]
    assert not list(run.rglob(".*"))
    report = json.loads((run / "report.json").read_text())
    for split, name in (("test", "testing"), ("validation", "validation")):
        assert report[split]["n"] == len(WORDS) * PER_SPLIT[name]
        assert set(report[split]["per_word"]) == set(WORDS)


def test_the_model_is_that_of_the_best_epoch(finished: Config) -> None:
    run = Path(finished.run_dir)
    best = max(read_rows(run), key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    meta = load_model(run)[1]
    assert meta.metrics["epoch"] == float(best["epoch"])
    assert meta.metrics["val_accuracy"] == pytest.approx(float(best["val_accuracy"]))
    report = json.loads((run / "report.json").read_text())
    assert report["validation"]["accuracy"] == pytest.approx(float(best["val_accuracy"]))
    assert report["validation"]["loss"] == pytest.approx(float(best["val_loss"]), rel=1e-5)


def test_training_learns(corpus: Path, tmp_path: Path) -> None:
    off = {"mixup": 0.0, "time_masks": 0, "speed": 0.0}
    model = {"features": {"n_fft": 128, "win_length": 128, "hop_length": 40, "n_mels": 20}}
    config = tiny_config(corpus, tmp_path / "run", train={"epochs": 12, "ema_decay": 0.8}, augment=off, model=model)
    report = json.loads(train(config).read_text())
    assert report["test"]["accuracy"] > 0.9


def test_tensorboard_has_each_epoch_once_after_a_resumption(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, tmp_path / "run")
    train(config)
    train(config, resume=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/validation")] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert [event.value for event in events.Scalars("accuracy/train")] == pytest.approx(
        [float(row["train_accuracy"]) for row in read_rows(tmp_path / "run")]
    )


def test_the_last_line_names_the_report_and_the_accuracy(one_epoch: Config, capsys: pytest.CaptureFixture[str]) -> None:
    path = train(one_epoch)
    report = json.loads(path.read_text())["test"]
    last, (low, high) = capsys.readouterr().out.splitlines()[-1], report["interval"]
    interval = f"95% interval {low:.2%} to {high:.2%}"
    assert last == f"{path}: test accuracy {report['accuracy']:.2%} ({interval}), {report['correct']} of 12 clips"


def test_a_run_is_not_overwritten(finished: Config) -> None:
    before = final_state(Path(finished.run_dir))
    with pytest.raises(ValueError, match="already holds a run: continue it with --resume"):
        train(finished)
    assert_same(final_state(Path(finished.run_dir)), before)


@pytest.mark.parametrize("override", ["--train.lr=0.5", "--train.epochs=4", "--model.features.n_mels=8", "--seed=1"])
def test_a_run_is_not_resumed_with_another_config(finished: Config, override: str) -> None:
    other = load_config(Path(finished.run_dir) / "config.toml", [override])
    key, value = override[2:].split("=")
    with pytest.raises(ValueError, match=rf"config\.toml: .* resumed with another '{key}': expected .*, got '?{value}"):
        train(other, resume=True)


def test_where_and_how_fast_a_run_is_may_change(finished: Config, tmp_path: Path) -> None:
    moved = Path(finished.run_dir).rename(tmp_path / "moved")
    before = final_state(moved)
    other = dataclasses.replace(finished, run_dir=str(moved), train=dataclasses.replace(finished.train, log_every=1))
    train(other, resume=True)
    assert_same(final_state(moved), before)
    moved.rename(finished.run_dir)


@pytest.mark.parametrize(
    ("signum", "step"), [(signal.SIGINT, 2), (signal.SIGTERM, STEPS), (signal.SIGTERM, 2 * STEPS - 1)]
)
def test_an_interrupted_run_saves_and_goes_on_the_same(
    corpus: Path, tmp_path: Path, finished: Config, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals, step: int
) -> None:
    config = tiny_config(corpus, tmp_path / "run")
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    _at_step(monkeypatch, step, lambda: signal.raise_signal(signum))
    with pytest.raises(TrainingInterruptedError, match=rf"stopped at step {step} of .*--resume") as caught:
        train(config)
    assert caught.value.exit_status == 128 + signum
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:08d}").is_dir()
    train(config, resume=True)
    assert_same(final_state(tmp_path / "run"), final_state(Path(finished.run_dir)))


def test_a_checkpoint_is_made_when_it_is_time(one_epoch: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(Trainer, "_save", lambda self, save=Trainer._save: (saved.append(self.state.step), save(self)))
    train(dataclasses.replace(one_epoch, train=dataclasses.replace(one_epoch.train, checkpoint_minutes=1e-9)))
    assert saved == list(range(1, STEPS + 1))


def test_nan_stops_the_run_with_the_clips_of_the_batch(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(corpus, tmp_path / "run", train={"log_every": 4})
    step, batch, seen = TrainingStep.__call__, ClipSet.batch, []

    def poisoned(self: TrainingStep, waveforms: torch.Tensor, targets: torch.Tensor) -> None:
        if self.state.step == STEPS + 1:
            with torch.no_grad():
                next(self.state.model.parameters()).fill_(math.nan)
        step(self, waveforms, targets)

    def noted(self: ClipSet, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        names = self.names_of(indices.tolist())
        if names[0].partition("/")[2].startswith("training"):
            seen.append(names)
        return batch(self, indices)

    monkeypatch.setattr(TrainingStep, "__call__", poisoned)
    monkeypatch.setattr(ClipSet, "batch", noted)
    with pytest.raises(ValueError, match=f"NaN or infinite at step {STEPS + 2}, on the batch of ") as caught:
        train(config)
    assert (tmp_path / "run" / "nan_batch.txt").read_text().split() == seen[STEPS + 1]
    assert all(name in str(caught.value) for name in seen[STEPS + 1])
    state = final_state(tmp_path / "run")  # what is on disk is from before
    assert state["step"] == STEPS
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())


def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint(
    corpus: Path, tmp_path: Path, finished: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, save = tiny_config(corpus, tmp_path / "run"), Trainer._save

    def refused(self: Trainer) -> None:
        with_file_limit(10_000 if self.state.step > STEPS else 10**9, lambda: save(self))

    monkeypatch.setattr(Trainer, "_save", refused)
    with pytest.raises(RuntimeError, match=f"could not be written.*step-{STEPS:08d} is intact"):
        train(config)
    monkeypatch.undo()
    train(config, resume=True)
    assert_same(final_state(tmp_path / "run"), final_state(Path(finished.run_dir)))


def test_the_seed_is_what_a_run_varies_by(corpus: Path, tmp_path: Path) -> None:
    states = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = tiny_config(corpus, tmp_path / name, train={"epochs": 1}, seed=seed)
        train(config)
        states.append(final_state(tmp_path / name))
    assert_same(states[0], states[1])
    assert states[0]["best"]["weights"].keys() == states[2]["best"]["weights"].keys()
    assert any(not torch.equal(states[0]["model"][name], states[2]["model"][name]) for name in states[0]["model"])
