"""Killed at random moments of the clock and resumed, every run ends with the weights of one that was not."""

import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from group import Group
from tiny import assert_same, final_state, tiny_config, write_corpus

from wavedil.config import Config

Reference = tuple[float, dict[str, Any]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def _config(corpus: Path, folder: Path) -> Config:
    """A checkpoint after every step of one process, and after every other one of two."""
    folder.mkdir(exist_ok=True, parents=True)
    return tiny_config(corpus, folder / "run", train={"epochs": 8, "checkpoint_minutes": 1e-9})


def _undisturbed(corpus: Path, folder: Path, world_size: int) -> Reference:
    """Seconds that a run takes once its processes are there, and what it ends with."""
    Group(_config(corpus, folder / "first"), world_size).join()  # imports, and fills the cache
    start, group = time.monotonic(), Group(_config(corpus, folder), world_size)
    assert group.join() == [0] * world_size, group.said(0)
    return time.monotonic() - start, final_state(folder / "run")


def _kill_and_resume(config: Config, world_size: int, victim: int, seconds: float) -> bool:
    """Kill a process of a new run after so long and resume it; returns whether it had begun and was not at its end."""
    group = Group(config, world_size)
    group.processes[victim].join(seconds)
    group.processes[victim].kill()
    codes = group.join()
    assert codes[victim] in (0, -signal.SIGKILL)
    begun = any((group.folder / "run").glob("checkpoints/step-*[0-9]"))
    group = Group(config, world_size, resume=True)
    assert group.join() == [0] * world_size, group.said(0)
    return begun and codes[victim] != 0


@pytest.mark.full
@pytest.mark.parametrize(("world_size", "kills"), [(1, 20), (2, 6)])
def test_every_killed_run_ends_with_the_same_weights(corpus: Path, tmp_path: Path, world_size: int, kills: int) -> None:
    chance = random.Random(kills)
    duration, expected = _undisturbed(corpus, tmp_path, world_size)
    same = in_the_middle = 0
    for number in range(kills):
        folder = tmp_path / str(number)
        moment = duration * (number + chance.random()) / kills  # one in each part of the run
        in_the_middle += _kill_and_resume(_config(corpus, folder), world_size, chance.randrange(world_size), moment)
        assert_same(final_state(folder / "run"), expected)
        same += 1
    print(f"{same} of {kills} killed runs ended the same; {in_the_middle} were killed after a checkpoint")
    assert in_the_middle >= kills // 3
