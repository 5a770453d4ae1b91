"""Runs with several seeds: each in its folder, together in one figure, resumed where they stopped."""

import dataclasses
import json
import statistics
from pathlib import Path

import pytest
from tiny import tiny_config, write_corpus

import wavedil.training.repeats as repeats
from wavedil.cli import main
from wavedil.training.config import load_config, save_toml
from wavedil.training.figures import read_report, run_accuracy
from wavedil.training.interrupt import TrainingInterruptedError
from wavedil.training.run_folder import RunFolder


def report(correct: int, n: int) -> dict:
    return {"correct": correct, "n": n}


def test_the_summary_counts_the_clips_of_both_splits():
    reports = {
        4: {"test": report(8, 10), "validation": report(20, 30)},
        5: {"test": report(9, 10), "validation": report(24, 30)},
    }
    summary = repeats.summarise(reports)
    assert summary["test"]["accuracy"] == {"4": 0.8, "5": 0.9}
    assert summary["together"]["accuracy"] == {"4": 28 / 40, "5": 33 / 40}
    assert summary["together"]["mean"] == pytest.approx(61 / 80)
    assert summary["together"]["std"] == pytest.approx(statistics.stdev([28 / 40, 33 / 40]))
    assert summary["together"]["n"] == 40
    interval = "95% interval of a run 59.81% to 85.81%"
    assert repeats.describe(summary).endswith(f"together 76.25% +- 8.84% ({interval}) of 40 clips; 2 seeds")


def test_one_seed_has_no_spread_and_an_empty_split_no_figure():
    summary = repeats.summarise({0: {"validation": report(1, 2)}})
    assert set(summary) == {"validation", "together"}
    assert summary["validation"]["std"] is None
    half = "50.00% (95% interval of a run 9.45% to 90.55%) of 2 clips"
    assert repeats.describe(summary) == f"validation {half}, together {half}; 1 seed"


def test_seeds_train_apart_and_go_on_where_they_stopped(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "corpus").mkdir()
    config = tiny_config(write_corpus(tmp_path / "corpus"), tmp_path / "runs")
    save_toml(config, tmp_path / "config.toml")
    arguments = ["train", "--config", str(tmp_path / "config.toml"), "--seeds", "2"]
    trained = []
    train = repeats.train

    def stopped_before_the_second(config, resume):
        if config.seed == 1:
            raise ValueError("stopped")
        return train(config, resume)

    monkeypatch.setattr(repeats, "train", stopped_before_the_second)
    assert main(arguments) != 0
    monkeypatch.setattr(
        repeats, "train", lambda config, resume: (trained.append(config.seed), train(config, resume))[1]
    )
    assert main([*arguments, "--resume"]) == 0
    assert trained == [1]
    assert "2 seeds" in capsys.readouterr().out
    summary = json.loads((tmp_path / "runs" / "seeds.json").read_text())
    for seed in (0, 1):
        folder = tmp_path / "runs" / f"seed{seed}"
        assert load_config(folder / "config.toml").seed == seed
        counted = json.loads((folder / "report.json").read_text())
        assert summary["test"]["accuracy"][str(seed)] == counted["test"]["accuracy"]
    weights = [(tmp_path / "runs" / f"seed{seed}" / "model" / "model.safetensors").read_bytes() for seed in (0, 1)]
    assert weights[0] != weights[1]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"test": 1}',
        '{"test": {"n": 2}}',
        '{"test": {"correct": 3, "n": 2}}',
        '{"test": {"correct": 0, "n": 0}}',
        '{"test": {"correct": 0, "n": 1%s}}' % ("0" * 400),
    ],
)
def test_a_report_of_any_content_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "report.json").write_text(content)
    for read in (lambda: read_report(tmp_path / "report.json"), lambda: run_accuracy(tmp_path)):
        with pytest.raises(ValueError, match=r"report\.json: "):
            read()


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("[1]", "accuracy"),
        ("{}", "accuracy"),
        ('{"together": {"mean": 0.5, "n": 9}}', "accuracy"),
        ('{"together": {"accuracy": {}, "mean": 0.5, "n": 9}}', "accuracy"),
        ('{"together": {"accuracy": {"0": 1e999}, "mean": 0.5, "n": 9}}', "accuracy"),
        ('{"together": {"accuracy": {"0": true}, "mean": 1, "n": 9}}', "accuracy"),
        ('{"together": {"accuracy": {"0": 0.5}, "mean": 0.5, "n": 0}}', "n"),
        ('{"together": {"accuracy": {"0": 0.5}, "mean": "0.5", "n": 9}}', "mean"),
        ('{"together": {"accuracy": {"0": 0.5, "1": 0.7}, "mean": 0.9, "n": 9}}', "mean"),
    ],
)
def test_a_summary_of_any_content_is_named(tmp_path: Path, content: str, key: str) -> None:
    (tmp_path / "seeds.json").write_text(content)
    with pytest.raises(ValueError, match=rf"seeds\.json: key 'together\.{key}'"):
        run_accuracy(tmp_path)


def test_several_seeds_move_together_and_are_continued_by_one_command(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "corpus").mkdir()
    config = tiny_config(write_corpus(tmp_path / "corpus"), tmp_path / "runs", train={"epochs": 1})
    trained = []

    def stopped(config, resume):
        run = RunFolder(config.run_dir)
        with run.begun(config, resume):
            trained.append((config.run_dir, resume))
            run.metrics.touch()
        raise TrainingInterruptedError("stopped at step 1 of 5, all saved", "", 15)

    monkeypatch.setattr(repeats, "train", stopped)
    with pytest.raises(TrainingInterruptedError) as caught:
        repeats.train_seeds(config, 2)
    assert caught.value.command == f"wavedil train --config {tmp_path}/runs/config.toml --seeds 2 --resume"
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert main(["train", "--config", str(tmp_path / "moved" / "config.toml"), "--seeds", "2", "--resume"]) == 143
    assert "note: the run has moved" in capsys.readouterr().err
    assert trained[-1] == (f"{tmp_path}/moved/seed0", True)
    assert not (tmp_path / "runs").exists()
    monkeypatch.undo()
    assert main(["train", "--config", str(tmp_path / "moved" / "config.toml"), "--resume"]) == 2
    assert "moved holds runs of several seeds: continue them with --seeds" in capsys.readouterr().err


def test_seeds_of_the_words_of_a_folder_are_continued_where_data_and_runs_have_moved(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    (tmp_path / "corpus").mkdir()
    config = tiny_config(write_corpus(tmp_path / "corpus"), tmp_path / "runs", train={"epochs": 1})
    words = config.data.words
    assert isinstance(words, list)

    def trained(config, resume):
        run = RunFolder(config.run_dir)
        with run.begun(dataclasses.replace(config, data=dataclasses.replace(config.data, words=sorted(words))), resume):
            run.report.write_text(json.dumps({"test": report(1, 2)}))

    monkeypatch.setattr(repeats, "train", trained)
    repeats.train_seeds(dataclasses.replace(config, data=dataclasses.replace(config.data, words="auto")), 1)
    for old, new in (("runs", "moved"), ("corpus", "words")):
        (tmp_path / old).rename(tmp_path / new)
    command = ["train", "--config", str(tmp_path / "moved" / "config.toml"), "--seeds", "2", "--resume"]
    assert main(command) == 2
    assert "if it has moved, name another with --data.root" in capsys.readouterr().err
    assert main([*command, "--data.root", str(tmp_path / "words")]) == 0, capsys.readouterr().err
    assert load_config(tmp_path / "moved" / "config.toml").data.words == sorted(words)
    assert main(command) == 0, capsys.readouterr().err


def test_a_finished_seed_is_kept_only_if_its_config_is_the_same(tmp_path: Path, monkeypatch) -> None:
    config = tiny_config(tmp_path, tmp_path / "runs")
    for seed in (0, 1):
        run = RunFolder(tmp_path / "runs" / f"seed{seed}")
        with run.begun(dataclasses.replace(config, seed=seed, run_dir=str(run.path)), resume=False):
            run.report.write_text(json.dumps({"test": report(1, 2)}))
    monkeypatch.setattr(repeats, "train", lambda *_, **__: pytest.fail("nothing is left to train"))
    repeats.train_seeds(config, 2, resume=True)
    longer = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=9))
    with pytest.raises(ValueError, match=r"another 'train\.epochs'"):
        repeats.train_seeds(longer, 2, resume=True)


def test_the_folder_of_a_seed_is_no_link(tmp_path: Path) -> None:
    for name in ("others", "runs"):
        (tmp_path / name).mkdir()
    (tmp_path / "runs" / "seed0").symlink_to(tmp_path / "others")
    with pytest.raises(ValueError, match="seed0: expected a folder, found a link"):
        repeats.train_seeds(tiny_config(tmp_path, tmp_path / "runs"), 1)
    assert not list((tmp_path / "others").iterdir())


def test_a_run_of_one_seed_is_not_mixed_with_several(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.json").touch()
    with pytest.raises(ValueError, match="run holds a run of one seed: choose another --run_dir"):
        repeats.train_seeds(tiny_config(tmp_path, tmp_path / "run"), 2)


def test_several_processes_are_refused(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "--seeds", "2", "--run_dir", str(tmp_path)]) != 0
    assert "--seeds: expected one process, got torchrun" in capsys.readouterr().err


def test_no_seeds_are_refused(tmp_path: Path, capsys) -> None:
    assert main(["train", "--seeds", "0", "--run_dir", str(tmp_path)]) != 0
    assert "--seeds: expected an integer from 1 to 1000, got '0'" in capsys.readouterr().err
