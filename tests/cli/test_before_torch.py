"""Mistakes are answered before torch is imported, and outputs are tried before the work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wavedil.cli.outputs import output_file
from wavedil.files import to_json

# (arguments, part of the message): {m} is a model, {d} a folder with a config, {r} a run that has begun, {f} a file.
MISTAKES = [
    ("train --config nowhere.toml", "nowhere.toml: there is no such config file"),
    ("train --train.epoch 3", "did you mean '--train.epochs'?"),
    ("train --train.epochs 0", "--train.epochs: expected an integer from 1"),
    ("train --model.depth 99", "--model.depth: expected an integer from 1 to 24, got 99"),
    ("train --run_dir {r} --data.source folder --data.root {d}", "already holds a run: continue it with --resume"),
    ("train --run_dir {f} --data.source folder --data.root {d}", "expected a folder for the run, found a file"),
    ("train --run_dir {f}/x --data.source folder --data.root {d}", "expected a folder for the run, found a file"),
    ("train --run_dir {d}/x --data.source folder --data.root nowhere", "nowhere: no such folder"),
    ("train --run_dir {d}/x --data.test_root nowhere", "nowhere: no such folder"),
    ("train --run_dir {d}/x --data.source folder --data.root {d} --train.teacher nowhere", "nowhere: expected a model"),
    ("train --run_dir {d}/x --data.source folder", "data.root: "),
    ("train --run_dir {d}/x --data.source speech_commands", "speech_commands_v0.02: no such folder"),
    ("train --run_dir {d}/x", "the synthetic corpus needs espeak-ng, which is not installed: pip install"),
    ("train --run_dir {d}/x --data.speaker (", "data.speaker: goes with source"),
    (
        "train --run_dir {d}/x --data.source folder --data.root {d} --data.speaker (",
        "a regular expression with one group",
    ),
    ("train --run_dir {d}/x --data.source folder --data.root {d} --data.speaker no.csv", "no.csv: no such table"),
    ("train \u2014train.epochs 3", "did you mean '--train.epochs'?"),
    ("train -config x.toml", "did you mean '--config'?"),
    ("train /resume", "did you mean '--resume'?"),
    ("train --config=", "--config: expected a value, got ''"),
    ("train --run_dir {r} --seeds 2", "holds a run of one seed"),
    ("evaluate nowhere", "nowhere: expected a model"),
    ("evaluate {d}", "expected a model"),
    ("evaluate {m}", "the data it was trained on are not recorded here; name a folder with --data"),
    ("evaluate {m} --data=", "--data: expected a value, got ''"),
    ("evaluate {m} --data nowhere", "nowhere: no such folder"),
    ("evaluate {m} --json nowhere/a.json", "--json nowhere/a.json: there is no folder nowhere"),
    ("evaluate {m} --json {d}", "expected a file, found a folder"),
    ("evaluate {m} --json /dev/null", "/dev/null: expected a file, found a device"),
    ("evaluate {m} --plot {d}/a.jpg", "expected a name that ends in .png"),
    ("evaluate {m} --json a.png --plot ./a.png", "--plot a.png: expected another file than that of --json"),
    ("rf {d}", "expected a model"),
    ("rf NOWHERE.TOML", "NOWHERE.TOML: there is no such config file"),
    ("rf NOWHERE.ONNX", "NOWHERE.ONNX: no such file"),
    ("rf desing --samples 3", "or the word design"),
    ("evaluate {m} --device gpu", "--device: expected one of auto, cpu, cuda"),
    ("predict nowhere a.wav", "nowhere: expected a model"),
    ("predict {m} nowhere.wav also_nowhere.wav", "nowhere.wav: there is no such file, nor 1 file named after it"),
    ("predict {m} {f} --top 0", "--top: expected an integer from 1"),
    ("models nowhere", "nowhere: expected a run folder"),
    ("corpus {f} --takes 0", "--takes: expected an integer from 1"),
    ("corpus {f}", "exists already"),
]


def test_no_mistake_waits_for_torch(checkpoint, tmp_path: Path):
    run, file, data = tmp_path / "run", tmp_path / "file.wav", tmp_path / "data"
    for folder in (run / "model", data):
        folder.mkdir(parents=True)
    (run / "config.toml").touch()
    file.touch()
    names = {"m": checkpoint, "r": run, "f": file, "d": data}
    lines = [[part.format(**names) for part in arguments.split()] for arguments, _ in MISTAKES]
    code = f"""
import contextlib, io, json, sys
sys.modules['espeakng_loader'] = None
from wavedil.cli import main
answers = []
for arguments in {lines!r}:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        status = main(arguments)
    answers.append((status, said.getvalue(), 'torch' in sys.modules))
print(json.dumps(answers))
"""
    environment = {**os.environ, "WAVEDIL_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
    for (arguments, message), (status, said, has_torch) in zip(MISTAKES, json.loads(done.stdout), strict=True):
        assert status == 2, arguments
        assert said.startswith("wavedil: error: "), arguments
        assert said.count("\n") == 1, arguments
        assert message in said, arguments
        assert not has_torch, arguments


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
def test_an_output_takes_the_place_of_a_file_only(tmp_path: Path, kind: str):
    path, other = tmp_path / "a.json", tmp_path / "other.json"
    other.write_text("kept")
    {
        "link": lambda: path.symlink_to(other),
        "dangling": lambda: path.symlink_to(tmp_path / "new"),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
    }[kind]()
    with pytest.raises(ValueError, match=rf"^--json {path}: expected a file, found a .*; name another"):
        output_file("--json", str(path))
    assert output_file("--json", str(other)) == other
    assert other.read_text() == "kept"


def test_an_output_is_tried_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert output_file("--json", "~/a.json") == tmp_path / "a.json"
    assert output_file("--json", None) is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match=r"^--json .*: cannot be written: File name too long"):
        output_file("--json", str(tmp_path / ("x" * 252)))


def test_json_has_null_for_what_is_no_number():
    content = {"a": [float("nan"), (1.5, float("-inf"))], "b": "ä"}
    assert json.loads(to_json(content)) == {"a": [None, [1.5, None]], "b": "ä"}
