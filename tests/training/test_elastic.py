"""A run whose processes are killed and started anew goes on by itself."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from group import Group
from tiny import assert_same, final_state, tiny_config, write_corpus
from torch.distributed import HashStore  # type: ignore[attr-defined]

from wavedil.config import Config
from wavedil.training.config import to_toml
from wavedil.training.distributed import Launch, Process, agree_on_name
from wavedil.training.run_folder import RunFolder

PLAIN = {"shift_ms": 0.0, "gain_db": 0.0, "speed": 0.0, "noise_probability": 0.0, "mixup": 0.0, "time_masks": 0}
SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def _config(corpus: Path, folder: Path, **sections: Any) -> Config:
    folder.mkdir(exist_ok=True)
    # A checkpoint at every other step, when figures are shown.
    train = {"epochs": 4, "checkpoint_minutes": 1e-9} | sections.pop("train", {})
    return tiny_config(corpus, folder / "run", **sections, train=train)


@pytest.fixture(scope="module")
def uninterrupted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes give that nobody disturbs."""
    group = Group(_config(corpus, tmp_path_factory.mktemp("reference")))
    assert group.join() == [0, 0], group.said(0) + group.said(1)
    return final_state(group.folder / "run")


def _train_through_a_kill(config: Config, rank: int, frozen: bool = False) -> dict[str, Any]:
    group = Group(config, restarts=0, kill=(rank, 10), frozen=frozen)
    codes = group.join()
    assert codes[rank] == -signal.SIGKILL
    assert codes[1 - rank] in (1, 2), group.said(1 - rank)  # it did not wait for ever
    group = Group(config, restarts=1, frozen=frozen)
    assert group.join() == [0, 0], group.said(0) + group.said(1)
    assert "resumed at step 8 of 20" in group.said(0)
    return final_state(group.folder / "run")


def test_workers_that_take_the_place_of_a_killed_one_end_the_same(
    corpus: Path, tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    assert_same(_train_through_a_kill(_config(corpus, tmp_path), rank=0), uninterrupted)


def test_two_processes_of_which_one_is_killed_give_what_one_does(corpus: Path, tmp_path: Path) -> None:
    # SGD, since AdamW makes whole steps of gradients that are only rounding.
    sections: dict[str, Any] = {"augment": PLAIN, "train": {"optimizer": "sgd", "precision": "float32"}}
    two = _train_through_a_kill(_config(corpus, tmp_path / "two", **sections), rank=1, frozen=True)
    group = Group(_config(corpus, tmp_path / "one", **sections), world_size=1, frozen=True)
    assert group.join() == [0], group.said(0)
    one = final_state(group.folder / "run")
    assert one["step"] == two["step"] == 20
    for part in ("model", "ema"):
        for name, tensor in one[part].items():
            assert torch.allclose(tensor, two[part][name], rtol=1e-4, atol=1e-6), name


def test_an_error_of_one_stops_all_with_a_line_each(corpus: Path, tmp_path: Path) -> None:
    config = _config(corpus, tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text(to_toml(config))
    (tmp_path / "run" / "metrics.csv").touch()  # without which it would not have begun
    group = Group(config)
    assert group.join() == [2, 2]
    assert "already holds a run: continue it with --resume" in group.said(0)
    assert group.said(1) == "wavedil: error: process 1 stops, since another one failed: see its message\n"


def test_other_data_on_another_machine_are_refused(corpus: Path, tmp_path: Path) -> None:
    other = shutil.copytree(corpus, tmp_path / "other")
    (other / "cat" / "training0.wav").rename(other / "cat" / "training00.wav")
    group = Group(_config(corpus, tmp_path), options=("--data.root", str(other), "--data.cache_dir", str(tmp_path)))
    assert group.join() == [2, 2]
    for rank in (0, 1):
        assert "not the same clips in all processes: give each machine the same data" in group.said(rank)


@pytest.mark.parametrize(("rank", "local_rank", "first"), [(0, 0, True), (1, 1, False), (2, 0, True), (3, 1, False)])
def test_one_process_of_each_machine_fills_its_cache(
    monkeypatch: pytest.MonkeyPatch, rank: int, local_rank: int, first: bool
) -> None:
    events: list[str] = []
    monkeypatch.setattr(Process, "any", lambda self, flag: events.append("met") or False)
    with Process(rank, 4, backend="gloo", local_rank=local_rank).node_first():
        events.append("filled")
    assert events == (["filled", "met"] if first else ["met", "filled"])


def test_a_launch_resumes_the_run_that_it_began_and_no_other(tmp_path: Path) -> None:
    config = Config(run_dir=str(tmp_path / "run"))
    run = RunFolder(config.run_dir)
    with run.begun(config, resume=False, launch="a"):
        run.metrics.touch()  # without which it would not have begun
    with run.begun(config, resume=False, launch="a", restarted=True):
        pass
    for launch, restarted in (("a", False), ("b", True), (None, False), ("b", True)):
        with (
            pytest.raises(ValueError, match="already holds a run: continue it with --resume"),
            run.begun(config, resume=False, launch=launch, restarted=restarted),
        ):
            pass
    with run.begun(config, resume=True, launch="b"):
        pass
    with run.begun(config, resume=False, launch="b", restarted=True):
        pass


def test_the_launch_is_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    assert Launch.from_environment() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert Launch.from_environment() == Launch("job", restarted=False)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert Launch.from_environment() == Launch("job", restarted=True)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    launch = Launch.from_environment()
    assert launch is not None
    assert launch.name.endswith(f":{os.getppid()}")


def test_names_are_new_whatever_is_left_in_the_store() -> None:
    store, names = HashStore(), []
    for world_size in (2, 3, 3, 2):
        agreed: list[str] = []

        def join(rank: int, world_size: int = world_size, agreed: list[str] = agreed) -> None:
            time.sleep(0.05 * rank)  # the first reads what the others' predecessors left
            agreed.append(agree_on_name(store, rank, world_size))

        threads = [threading.Thread(target=join, args=(rank,), daemon=True) for rank in range(world_size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(agreed) == world_size
        assert len(set(agreed)) == 1
        names.append(agreed[0])
    assert len(set(names)) == len(names)


def _workers(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the workers in /proc")
@pytest.mark.full
@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_restarts_a_killed_worker_and_the_run_goes_on_by_itself(
    corpus: Path, tmp_path: Path, uninterrupted: dict[str, Any], rank: int
) -> None:
    config, log = _config(corpus, tmp_path), tmp_path / "log"
    (tmp_path / "run.toml").write_text(to_toml(config))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "3"]
    command = [*torchrun, str(SCRIPT), "--config", str(tmp_path / "run.toml")]
    here = {"PYTHONPATH": str(SCRIPT.parents[1]), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | here) as agent:
        deadline = time.monotonic() + 300
        while not list((tmp_path / "run").glob("checkpoints/step-*[0-9]")) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(_workers(agent.pid)[rank], signal.SIGKILL)
        try:
            assert agent.wait(300) == 0, log.read_text()
        finally:
            agent.terminate()
    said = log.read_text()
    assert "exitcode: -9" in said
    assert said.count("resumed at step") == 1, said
    assert_same(final_state(tmp_path / "run"), uninterrupted)
