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

EPOCHS, STEPS = 8, 40


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def _config(corpus: Path, folder: Path) -> Config:
    """A checkpoint after every step of one process, and after every other one of two."""
    folder.mkdir()
    return tiny_config(corpus, folder / "run", train={"epochs": EPOCHS, "checkpoint_minutes": 1e-9})


def _undisturbed(config: Config, world_size: int) -> dict[str, Any]:
    group = Group(config, world_size)
    assert group.join() == [0] * world_size, group.said(0)
    state = final_state(group.folder / "run")
    assert state["step"] == STEPS
    return state


def _newest(run: Path) -> int:
    return max((int(path.name[5:]) for path in run.glob("checkpoints/step-*[0-9]")), default=0)


def _kill_and_resume(config: Config, world_size: int, victim: int, step: int, seconds: float) -> bool:
    """Kill a process of a new run so long after a step and resume the run; returns whether it was not at its end."""
    group, run = Group(config, world_size), Path(config.run_dir)
    while _newest(run) < step and group.processes[victim].is_alive():
        time.sleep(0.005)
    group.processes[victim].join(seconds)
    group.processes[victim].kill()
    codes = group.join()
    assert codes[victim] in (0, -signal.SIGKILL)
    unfinished = _newest(run) < STEPS
    group = Group(config, world_size, resume=True)
    assert group.join() == [0] * world_size, group.said(0)
    return unfinished


@pytest.mark.full
@pytest.mark.parametrize(("world_size", "kills"), [(1, 20), (2, 6)])
def test_every_killed_run_ends_with_the_same_weights(corpus: Path, tmp_path: Path, world_size: int, kills: int) -> None:
    chance, same, in_the_middle = random.Random(kills), 0, 0
    expected = _undisturbed(_config(corpus, tmp_path / "undisturbed"), world_size)
    for number in range(kills):
        config = _config(corpus, tmp_path / str(number))
        step = int(STEPS * (number + chance.random()) / kills)  # one in each part of the run
        victim, seconds = chance.randrange(world_size), chance.uniform(0, 0.05)  # as long as a step or two
        in_the_middle += _kill_and_resume(config, world_size, victim, step, seconds)
        assert_same(final_state(Path(config.run_dir)), expected)
        same += 1
    print(f"{same} of {kills} killed runs ended the same; {in_the_middle} were killed before their last step")
    assert in_the_middle >= kills // 2
