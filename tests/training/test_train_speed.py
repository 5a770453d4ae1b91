"""The race between training loops: all train on the same examples, and what is printed is what was measured."""

import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import tiny_config, write_corpus

from wavedil.config import Config
from wavedil.data.augment import plain
from wavedil.data.clips import Splits, load_splits
from wavedil.training.config import save_toml
from wavedil.training.distributed import Process
from wavedil.training.interrupt import Interrupts
from wavedil.training.loop import Trainer
from wavedil.training.run_folder import RunFolder

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
OFF = {"shift_ms": 0.0, "gain_db": 0.0, "speed": 0.0, "noise_probability": 0.0, "mixup": 0.0, "time_masks": 0}
KEYS = {
    "device",
    "threads",
    "torch",
    "model",
    "batch_size",
    "precision",
    "compiled",
    "cuda_graph",
    "parameters",
    "macs",
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("speed")
    (folder / "corpus").mkdir()
    return tiny_config(write_corpus(folder / "corpus"), folder / "run", augment=OFF)


@pytest.fixture(scope="module")
def splits(config: Config) -> Splits:
    return load_splits(config.data)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.syspath_prepend(BENCH)
    names = ("train_speed", "contestants", "tutorial_loop", "train_step")
    return SimpleNamespace(**{name: importlib.import_module(name) for name in names})


class FakeConnection:
    """What a contestant is asked, and what it answers."""

    def __init__(self, *questions: Any) -> None:
        self.questions: Iterator[Any] = iter([*questions, None])
        self.answers: list[Any] = []

    def recv(self) -> Any:
        return next(self.questions)

    def send(self, answer: Any) -> None:
        self.answers.append(answer)


def test_the_tutorial_gives_the_clips_of_the_cache_one_by_one(
    bench: SimpleNamespace, config: Config, splits: Splits
) -> None:
    clips, training = bench.tutorial_loop.TutorialClips(config, splits), splits.training
    order = training.epoch_order(torch.Generator().manual_seed(config.seed))
    waveforms, targets = training.batch(order)
    assert len(clips) == training.epoch_length
    assert [clips[i][1] for i in range(len(clips))] == targets.tolist()
    assert torch.equal(torch.stack([clips[i][0] for i in range(len(clips))]), plain(waveforms))


def test_both_loops_train_on_as_many_examples(bench: SimpleNamespace, config: Config, splits: Splits) -> None:
    trainer = Trainer(config, RunFolder("none"), splits, Process(), Interrupts())
    steps = trainer.order.steps + 1
    ours = list(islice(bench.contestants.our_steps(trainer), steps))
    theirs = list(islice(bench.tutorial_loop.tutorial_steps(config, splits, torch.device("cpu"), 0), steps))
    assert ours == theirs == [config.train.batch_size] * steps
    assert trainer.state.step == steps


def test_the_tutorial_augments_as_the_config_says(bench: SimpleNamespace, config: Config) -> None:
    augment = tiny_config(Path("none"), Path("none"), augment={"gain_db": 6.0, "noise_probability": 1.0}).augment
    clip, noise = torch.zeros(1, 100), torch.ones(200)
    loud = bench.tutorial_loop.augment(clip, noise, augment, max_shift=0)
    assert 0 < float(loud.max()) <= augment.noise_gain
    clip[0, 50] = 1.0
    moved = bench.tutorial_loop.augment(clip, noise[:0], augment, max_shift=10)
    assert moved.shape == clip.shape
    assert abs(int(moved.argmax()) - 50) <= 10
    assert 0.5 < float(moved.max()) < 2.0


def test_its_spectrogram_has_our_frames(bench: SimpleNamespace, config: Config, splits: Splits) -> None:
    waveforms = plain(splits.training.waveforms[:2])
    model: Any = Trainer(config, RunFolder("none"), splits, Process(), Interrupts()).state.model
    ours = model.features(waveforms)
    assert bench.tutorial_loop.TutorialFeatures(config)(waveforms).shape == ours.shape


@pytest.mark.parametrize("name", ["TUTORIAL", "EAGER", "OURS"])
def test_a_contestant_counts_what_it_was_asked_for(bench: SimpleNamespace, config: Config, name: str) -> None:
    connection: Any = FakeConnection(2, 1)
    bench.contestants.contestant(connection, getattr(bench.contestants, name), config, 0)
    assert [examples for examples, *_ in connection.answers] == [2 * config.train.batch_size, config.train.batch_size]
    assert all(seconds > 0 for _, seconds, _ in connection.answers)


def test_a_contestant_that_fails_says_why(bench: SimpleNamespace, config: Config, monkeypatch: Any) -> None:
    connection: Any = FakeConnection(2)

    def broken(*_: Any) -> None:
        raise RuntimeError("no such kernel\nand more")

    monkeypatch.setattr(bench.contestants, "Trainer", broken)
    bench.contestants.contestant(connection, bench.contestants.OURS, config, 0)
    assert connection.answers == ["RuntimeError: no such kernel"]


def test_what_is_compared_is_described(bench: SimpleNamespace, config: Config, splits: Splits) -> None:
    connection: Any = FakeConnection()
    bench.contestants.inspected(connection, config, 1)
    [facts] = connection.answers
    assert facts.keys() == KEYS | {"peak_flops", "parts_ms"}
    trainer = Trainer(config, RunFolder("none"), splits, Process(), Interrupts())
    assert facts["parameters"] == sum(parameter.numel() for parameter in trainer.state.model.parameters())
    sizes, frames = config.model.features, config.data.clip_samples // config.model.features.hop_length
    entry = 3 * sizes.n_mels * config.model.channels * frames  # the first convolution alone
    assert facts["macs"] > entry
    assert list(facts["parts_ms"]) == [
        "gather and augment", "features", "forward", "backward", "optimiser and average",
    ]  # fmt: skip


class FakeRival:
    def __init__(self, *answers: Any) -> None:
        self.answers = iter(answers)

    def ask(self, question: Any) -> None:
        pass

    def answer(self) -> Any:
        answer = next(self.answers)
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer


def test_rates_are_medians_of_the_counted_turns_and_a_failure_stays_alone(bench: SimpleNamespace) -> None:
    slow = FakeRival((10, 100.0, 1.0), (10, 1.0, 1.0), (10, 2.0, 1.0), (10, 10.0, 1.0))
    fast = FakeRival((10, 100.0, 1.0), (10, 0.1, 1.0), (10, 0.5, 1.0), (10, 1.0, 1.0))
    rivals = {"a": slow, "b": fast, "c": FakeRival((10, 1.0, 1.0), "out of memory")}
    rows = bench.train_speed.take_turns(rivals, 3, 1)
    assert [row.get("examples_per_second") for row in rows] == [5.0, 20.0, None]
    assert (rows[1]["times_tutorial"], rows[0]["times_eager"], rows[1]["cpu_ms"]) == (4.0, 0.25, 100.0)
    assert rows[2] == {"name": "c", "error": "out of memory"}
    facts = dict.fromkeys(KEYS, 1) | {"workers": 0, "rows": rows, "peak_flops": 1e9, "share_of_peak": 0.5}
    page = bench.train_speed.table(facts | {"precision": "float32", "parts_ms": {"forward": 2.0}})
    assert "| (b) b | 20 (10 to 100) | 4.00 | 1.00 | 100.000 |" in page
    assert "| c | failed: out of memory | | | |" in page


def test_a_row_of_the_table_of_a_step_has_a_cell_for_each_column(bench: SimpleNamespace, config: Config) -> None:
    cells = bench.train_step.measure(config, torch.get_num_threads(), kept=False, repeats=1, compiled=False)
    assert len(cells) == len(bench.train_step.COLUMNS)
    assert all(float(cell) > 0 for cell in cells[:5])
    assert cells[5] == "-" or float(cells[5]) > 0  # the kernels need a CPU of their own
    assert cells[6:] == ["-", "-", "-"]


@pytest.mark.full
def test_the_whole_race_writes_its_figures(bench: SimpleNamespace, config: Config, tmp_path: Path) -> None:
    save_toml(replace(config, train=replace(config.train, threads=2)), tmp_path / "config.toml")
    arguments = ["--config", str(tmp_path / "config.toml"), "--workers", "1", "--repeats", "1", "--steps", "1"]
    bench.train_speed.main([*arguments, "--json", str(tmp_path / "speed.json")])
    facts = json.loads((tmp_path / "speed.json").read_text())
    assert facts.keys() == KEYS | {"peak_flops", "parts_ms", "workers", "rows", "share_of_peak"}
    assert [row["examples"] for row in facts["rows"]] == [config.train.batch_size] * 4
    assert facts["rows"][-1]["name"] == bench.contestants.PROCESSES
    assert not Path(config.run_dir).exists()
