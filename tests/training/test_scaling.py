"""The table of scripts/bench/scaling.py follows its formula."""

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "bench" / "scaling.py"))


def test_one_process_is_as_measured() -> None:
    machine = SCRIPT["Machine"](1e9, 1e9, 1e-6, 1e-6)
    assert SCRIPT["row"](1, 0.01, 128, 10_000, machine) == pytest.approx((0.0, 10.0, 12_800, 1.0))


def test_the_slowest_link_is_what_counts() -> None:
    machine = SCRIPT["Machine"](bandwidth=100e9, network=10e9, latency=1e-6, network_latency=10e-6, size=8)
    assert machine.all_reduce_seconds(8, 8e6) == pytest.approx(14 * (1e6 / 100e9 + 1e-6))
    assert machine.all_reduce_seconds(16, 16e6) == pytest.approx(30 * (1e6 / 10e9 + 10e-6))


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--step-ms 10 --batch 100 --parameters 250000 --bandwidth 1 --network 1 --latency-us 0 --processes 1 2"
    SCRIPT["main"](arguments.split())
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [
        "| 1 | 100 | 0.000 | 10.000 | 10,000 | 100.0% |",
        "| 2 | 200 | 1.000 | 11.000 | 18,182 | 90.9% |",
    ]
