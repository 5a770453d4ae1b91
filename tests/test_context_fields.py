"""The example that shows what the dense modules read runs, and says what is so."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLE, PAGE = DOCS / "examples" / "context_fields.py", DOCS / "family.md"


@pytest.mark.full
def test_the_example_prints_and_draws_the_fields(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    monkeypatch.setattr(sys, "argv", ["x", "--audio", str(tmp_path / "noise.wav"), "--plot", str(tmp_path)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed in PAGE.read_text(), "the page shows something else"
    rows = [line.split() for line in printed.splitlines()[1:]]
    found = {row[0]: (row[1], row[3], row[4], row[6], row[7], row[9]) for row in rows}
    assert found == {
        "context": ("67", "67", "4489", "4489", "-330", "330"),
        "context_causal": ("67", "67", "4489", "4489", "-660", "0"),
        "aspp_v2": ("49", "49", "33", "2401", "-240", "240"),
        "aspp_v3": ("37", "37", "25", "1369", "-180", "180"),
        "aspp_v3_causal": ("37", "37", "24", "1369", "-360", "0"),
    }
    for name in found:
        assert (tmp_path / f"field_{name}.png").read_bytes().startswith(b"\x89PNG")
