"""gpu.sh, dry: its arguments, its table, and on request all of it on the CPU."""

import importlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import tiny_config, write_corpus

from wavedil.training.config import save_toml

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
SCRIPT = BENCH / "gpu.sh"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable}
    return subprocess.run(["bash", str(SCRIPT), *arguments], capture_output=True, text=True, env=environment)


def test_the_shell_can_read_it() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)], capture_output=True).stderr == b""
    assert os.access(SCRIPT, os.X_OK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "--clips and --out are needed"),
        (["--clips", "nowhere", "--out", "x"], "--clips: there is no nowhere"),
        (["--clips"], "--clips wants a value"),
        (["--what"], "unknown option --what"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(arguments: list[str], message: str) -> None:
    done = _run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"gpu.sh: {message}\n")


def test_the_table_shows_what_is_there_and_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH)
    gpu_table = importlib.import_module("gpu_table")
    (tmp_path / "parts.tsv").write_text(
        "part\tstatus\tseconds\ntrain_speed-a-c\t0\t5\nspeedrun-a-c-0\t0\t9\ntrain-b\t1\t2\n"
    )
    row = {"name": "x", "examples_per_second": 1234.0, "times_tutorial": 3.0, "times_eager": 2.0}
    speed = {"rows": [row, row, row, {"name": "graph", "error": "no"}], "share_of_peak": 0.25, "batch_size": 512}
    (tmp_path / "train_speed-a-c.json").write_text(json.dumps(speed))
    races = [{"seconds": seconds, "target": 0.97, "reached": seconds < 15} for seconds in (16.0, 12.0, 14.0)]
    for seed, race in enumerate(races):
        (tmp_path / f"speedrun-a-c-{seed}.json").write_text(json.dumps(race))
    gpu_table.main(tmp_path)
    page = (tmp_path / "gpu.md").read_text().splitlines()
    times = "14.0 s to 97.00% (short of it, 12.0, 14.0)"
    assert f"| a-c | 512 | 1,234 | 3.0 | 2.0 | 25.00% | {times} | - |" in page
    assert "| b | - | - | - | - | - | - | - |" in page
    assert "| train-b | 1 | 2 |" in page
    assert json.loads((tmp_path / "gpu.json").read_text())["configs"]["a-c"]["speedruns"] == races


def test_recordings_become_wav_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH)
    (tmp_path / "go").mkdir()
    samples = np.arange(-400, 400, dtype=np.int16)
    for name in ("a.flac", "b.wav"):
        soundfile.write(tmp_path / "go" / name, samples, 8_000)
    importlib.import_module("as_wav").main(tmp_path)
    assert sorted(path.name for path in (tmp_path / "go").iterdir()) == ["a.wav", "b.wav"]
    found, rate = soundfile.read(tmp_path / "go" / "a.wav", dtype="int16")
    assert (found.tolist(), rate) == (samples.tolist(), 8_000)


@pytest.mark.full
def test_all_of_it_runs_on_a_cpu(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    corpus = write_corpus(tmp_path / "corpus")
    save_toml(tiny_config(corpus, tmp_path / "run"), tmp_path / "tiny.toml")
    with tarfile.open(tmp_path / "clips.tar.gz", "w:gz") as archive:
        archive.add(corpus, arcname="clips")
    arguments = ["--configs", str(tmp_path / "tiny.toml"), "--device", "cpu", "--quick", "--", "--train.threads", "1"]
    done = _run("--clips", str(tmp_path / "clips.tar.gz"), "--out", str(tmp_path / "out"), *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert [row["part"] for row in results["parts"]] == [
        "unpack", "as_wav", "gpu_tests", "train_speed-tiny", "speedrun-tiny-0", "train-tiny",
    ]  # fmt: skip
    assert all(results["configs"]["tiny"].values())
    assert (tmp_path / "out" / "gpu.md").read_text().count("\n| tiny |") == 1
