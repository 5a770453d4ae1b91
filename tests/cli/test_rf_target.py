"""``wavedil rf`` before and while a user's module runs: what fails is one line, and known before torch is imported."""

import json
import subprocess
import sys

import pytest

from wavedil.cli import main

OWN = """
import sys
import torch

print("imported")


class Key(torch.nn.Module):
    def __init__(self):
        super().__init__()
        {}["x"]


class Boom(torch.nn.Module):
    def __init__(self):
        super().__init__()
        raise RuntimeError("boom\\nand more")


class Quit(torch.nn.Module):
    def __init__(self):
        raise SystemExit(0)


class Runs(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Conv1d(1, 1, 3))

    def forward(self, x):
        raise LookupError("no such row")


class Trains(torch.nn.Conv1d):
    def train(self, mode=True):
        if hasattr(self, "weight"):
            raise OSError("cannot train")
        return self


class Stop(torch.nn.Module):
    def __init__(self):
        raise KeyboardInterrupt


class Loud(torch.nn.Sequential):
    def __init__(self):
        print("made")
        super().__init__(*[torch.nn.Conv1d(1, 1, 3) for _ in range(3)])
"""

TRACED = "{} cannot be traced by torch.export"


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("own_code", "own_typo"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "own_code.py").write_text(OWN)
    (tmp_path / "own_typo.py").write_text("def broken(:\n")


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("own_code:Key", "own_code:Key: KeyError: 'x' (own_code.py:11)"),
        ("own_code:Boom", "own_code:Boom: RuntimeError: boom (own_code.py:17)"),
        ("own_code:Quit", "own_code:Quit: SystemExit: 0 (own_code.py:22)"),
        ("own_code:Runs", f"own_code:Runs: {TRACED.format('Runs')}: LookupError: no such row (own_code.py:30)"),
        ("own_code:Trains(1, 1, 3)", "own_code:Trains(1, 1, 3): OSError: cannot train (own_code.py:36)"),
        ("own_typo:X", "own_typo:X: SyntaxError: invalid syntax (own_typo.py, line 1) (own_typo.py:1)"),
    ],
)  # fmt: skip
def test_what_the_users_code_raises_is_one_line(own, capsys, target, line):
    assert main(["rf", target]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"wavedil: error: {line}"


def test_an_interrupt_is_none_of_it(own):
    assert main(["rf", "own_code:Stop"]) == 130


def test_what_a_module_prints_stays_out_of_the_answer(own, capsys):
    assert main(["rf", "own_code:Loud", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["axes"]["time"]["receptive_field"] == 7
    assert printed.err.splitlines() == ["imported", "made"]


def test_no_paths_are_counted_through_a_module(own, capsys, tmp_path):
    assert main(["rf", "own_code:Loud", "--taps"]) == 0
    shown = capsys.readouterr().out
    assert "paths" not in shown
    assert "samples that are read" in shown
    assert "one output reads 7 of 7 samples" in shown
    assert main(["rf", "--kernel", "3", "--cycles", "3", "--taps"]) == 0
    assert "paths to each sample\n7 ┤" in capsys.readouterr().out


def test_mistakes_are_told_before_torch_is_imported():
    script = """
import sys
from wavedil.cli import main
for arguments in (["missing.toml"], ["no_such_module:X"], ["torch.nn:Conv1d(1,"], ["nowhere"], ["missing.onnx"],
                  ["torch.nn:ReLU", "--kernel", "3"], ["torch.nn:ReLU", "--input", "1,1,99999999999"],
                  ["--kernel", "3", "--cycles", "1000000000"], ["../x:Y"]):
    assert main(["rf", *arguments]) == 2, arguments
    assert "torch" not in sys.modules, arguments
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 9
    assert all(line.startswith("wavedil: error: ") for line in lines)
    assert lines[1].endswith(
        "no_such_module:X: ModuleNotFoundError: no module named 'no_such_module', here or installed"
    )
