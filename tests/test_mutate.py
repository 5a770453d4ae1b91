"""The script of the mutation testing plants its faults, and chooses the tests that can find them."""

import importlib
import runpy
import sys
from pathlib import Path

import wavedil
import wavedil._version

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "mutate.py"))
FILE = "wavedil/_version.py"


def test_a_fault_is_planted_in_the_module_alone(monkeypatch):
    monkeypatch.setattr(wavedil, "_version", wavedil._version)  # which the import replaces
    monkeypatch.delitem(sys.modules, "wavedil._version")
    monkeypatch.setattr(sys, "meta_path", [SCRIPT["_Planter"](FILE, "__version__ = 'planted'\n"), *sys.meta_path])
    assert importlib.import_module("wavedil._version").__version__ == "planted"
    assert "planted" not in str(vars(importlib.import_module("wavedil.config")))


def test_the_tests_of_a_mutant_are_those_of_its_line_the_quickest_first():
    reach = SCRIPT["Reach"]({FILE: {3: {"", "a", "b", "slow"}, 5: {"c"}}}, {"a": 0.2, "b": 0.1, "c": 0.3})

    def tests_of(line):
        return reach.tests_of(SCRIPT["Mutant"](FILE, line, "NumberReplacer", 0, ""))

    assert tests_of(3) == ["b", "a"]
    assert tests_of(5) == ["c"]
    assert tests_of(4) == ["b", "a", "c"]  # runs on import: every test of the file
    assert reach.tests_of(SCRIPT["Mutant"]("other.py", 3, "NumberReplacer", 0, "")) == []
