"""A run killed at any moment and resumed ends as one that was never stopped."""

import multiprocessing
import random
import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from tiny import assert_same, final_state, tiny_config, train_in_child, write_corpus

from wavedil.config import Config

# Calls of each in a whole run: counted generously, a leg that is not killed is simply the last.
EVENTS = {"step": 16, "fsync": 40, "rename": 8, "replace": 6}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def children() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    slow_to_import = ["torch._dynamo", "torch.utils.tensorboard.writer", "matplotlib.figure"]
    context.set_forkserver_preload(["wavedil.training.loop", *slow_to_import])
    return context


@pytest.fixture(scope="module")
def uninterrupted(
    corpus: Path, tmp_path_factory: pytest.TempPathFactory, children: ForkServerContext
) -> dict[str, Any]:
    config = tiny_config(corpus, tmp_path_factory.mktemp("reference") / "run")
    assert _run(children, config) == 0
    return final_state(Path(config.run_dir))


def _run(children: ForkServerContext, config: Config, event: str | None = None, count: int = 0) -> int | None:
    log = Path(config.run_dir).parent / "log.txt"
    child = children.Process(target=train_in_child, args=(config, log, event, count))
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL), log.read_text()
    return child.exitcode


def test_a_run_killed_again_and_again_ends_the_same(
    corpus: Path, tmp_path: Path, children: ForkServerContext, uninterrupted: dict[str, Any]
) -> None:
    chance, config = random.Random(0), tiny_config(corpus, tmp_path / "run")
    killed = 0
    for _ in range(4):
        event = chance.choice(list(EVENTS))
        killed += _run(children, config, event, chance.randint(1, EVENTS[event] // 2)) == -signal.SIGKILL
    assert killed > 1
    assert _run(children, config) == 0
    assert_same(final_state(tmp_path / "run"), uninterrupted)


@pytest.mark.full
def test_a_run_killed_at_a_moment_of_the_clock_ends_the_same(
    corpus: Path, tmp_path: Path, children: ForkServerContext, uninterrupted: dict[str, Any]
) -> None:
    chance, config = random.Random(1), tiny_config(corpus, tmp_path / "run")
    for _ in range(4):
        child = children.Process(target=train_in_child, args=(config, tmp_path / "log.txt"))
        child.start()
        child.join(chance.uniform(0.05, 0.6))
        child.kill()
        child.join()
    assert _run(children, config) == 0
    assert_same(final_state(tmp_path / "run"), uninterrupted)


@pytest.mark.full
@pytest.mark.parametrize(("event", "count"), [(event, count) for event in EVENTS for count in range(1, EVENTS[event])])
def test_a_run_killed_at_each_moment_ends_the_same(
    corpus: Path,
    tmp_path: Path,
    children: ForkServerContext,
    uninterrupted: dict[str, Any],
    event: str,
    count: int,
) -> None:
    config = tiny_config(corpus, tmp_path / "run")
    _run(children, config, event, count)
    assert _run(children, config) == 0
    assert_same(final_state(tmp_path / "run"), uninterrupted)
