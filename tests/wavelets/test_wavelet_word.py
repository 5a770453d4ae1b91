"""The example that takes a word apart runs, draws, and says what is so."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "wavelet_word.py"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["wavelet_word.py", *arguments])
    runpy.run_path(str(EXAMPLE), run_name="__main__")


@pytest.mark.parametrize(("wavelet", "late", "bar"), [("starlet", 0, 1e-15), ("db4", 7 * 7, 1e-14)])
def test_a_recording_comes_back(tmp_path, capsys, monkeypatch, wavelet, late, bar):
    pytest.importorskip("matplotlib")
    tone = 0.5 * np.sin(2 * np.pi * 2500 * np.arange(8001) / 16_000)
    soundfile.write(tmp_path / "tone.wav", tone, 16_000)
    picture = tmp_path / "bands.png"
    arguments = ["--audio", str(tmp_path / "tone.wav"), "--levels", "3", "--wavelet", wavelet, "--plot", str(picture)]
    run(monkeypatch, *arguments)
    printed = capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    loudness = [float(value) for value in re.findall(r"root mean square ([\d.]+)", printed)]
    assert loudness.index(max(loudness[:3])) == 1  # the octave from 2 to 4 kHz
    errors = re.search(r"error (\S+)\n.* (\d+) samples late: (\S+)", printed)
    assert errors is not None
    assert int(errors[2]) == late
    assert max(float(errors[1]), float(errors[3])) <= bar


def test_without_espeak_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SystemExit, match=r"pip install \"wavedil\[demo\]\""):
        run(monkeypatch)
