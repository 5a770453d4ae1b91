"""The driver of the fuzzing finds what is planted."""

from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts" / "fuzz"

PLANTED = """
import os, signal, time
from target import Wrong
ALLOWED = (ValueError,)
def prepare(folder):
    global seed
    seed = folder / "seed"
    seed.write_text("x")
def attempt(rng):
    assert seed.read_text() == "x"
    kind = rng.randrange(24)
    if kind == 0: raise ValueError("documented")
    if kind == 1: raise KeyError("not documented")
    if kind == 2: raise Wrong("silently")
    if kind == 3: os._exit(7)
    if kind == 4: bytearray(4 << 30)
    if kind == 5: time.sleep(60)
    if kind == 6:
        signal.setitimer(signal.ITIMER_REAL, 0)
        time.sleep(60)
    return "taken"
"""

SEED = 2  # with which each kind of violation is among the first 40 inputs


@pytest.fixture
def driver(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "planted.py").write_text(PLANTED)
    import run  # pyright: ignore[reportMissingImports]

    return run


def test_what_is_planted_is_found(driver, capsys):
    limits = driver.Limits(seconds=0.2, extra_bytes=1 << 30)
    tally = driver.fuzz("planted", seed=SEED, jobs=2, count=40, limits=limits)
    assert tally.count == 40
    assert set(tally.labels) == {"taken", "refused (ValueError)"}
    kinds = {kind.partition(" at ")[0] for kind in tally.violations}
    assert kinds == {"KeyError", "Wrong", "died", "MemoryError", "overtime", "no end"}
    shown = capsys.readouterr().out
    assert "the process ended with 7" in shown
    assert "not documented" in shown


def test_an_input_depends_on_seed_and_index_alone(driver):
    drawn = [driver.seed_of("planted", seed, index).random() for seed in (0, 1) for index in (0, 1)]
    assert len(set(drawn)) == 4
    assert driver.seed_of("planted", 1, 0).random() == drawn[2]


def test_one_process_and_two_find_the_same(driver):
    limits = driver.Limits(seconds=0.2, extra_bytes=1 << 30)
    tallies = [driver.fuzz("planted", seed=16, jobs=jobs, count=12, limits=limits) for jobs in (1, 2)]
    assert tallies[0] == tallies[1]


def test_nothing_is_left_behind(driver, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(driver.tempfile, "tempdir", str(folder))
    driver.fuzz("planted", seed=0, jobs=1, count=5, limits=driver.Limits(seconds=0.2))
    assert not list(folder.iterdir())


def test_an_unknown_target_is_named(driver, capsys):
    with pytest.raises(SystemExit):
        driver.main(["no_such_target"])
    assert "no target no_such_target" in capsys.readouterr().err
