"""The pages say what is so: their commands print what stands below them, their Python gives what its comments say."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from wavedil.cli import main

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "receptive_fields.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


COMMANDS = [block.partition("\n")[::2] for block in blocks("console")]


@pytest.mark.parametrize(("command", "printed"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_a_command_prints_what_stands_below_it(command, printed, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")
    assert command.startswith("$ wavedil rf")
    arguments = shlex.split(command)[2:]
    if "--plot" not in arguments:
        assert main(arguments) == 0
        assert capsys.readouterr().out.rstrip() == printed.rstrip()
        return
    drawn = ROOT / arguments[-1]
    assert drawn.exists(), "a picture on the page that is not in the repository"
    again = tmp_path / drawn.name
    assert main([*arguments[:-1], str(again)]) == 0
    assert again.read_bytes().startswith(b"\x89PNG")


def test_the_python_on_the_page_gives_what_its_comments_say():
    space = {}
    checked = 0
    for block in blocks("python"):
        for line in block.splitlines():
            code, _, comment = line.partition("  # ")
            if not comment:
                exec(line, space)
                continue
            expected = eval(comment, {"Fraction": __import__("fractions").Fraction})
            assert eval(code, space) == expected, line
            checked += 1
    assert checked == 3


def test_the_notebook_runs(capsys):
    runpy.run_path(str(ROOT / "docs" / "examples" / "receptive_fields.py"))
    printed = capsys.readouterr().out
    assert "6139 samples, or 383.6875 ms" in printed
    assert "8 layers, 6561 samples" in printed


def test_every_picture_of_the_page_is_there():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", PAGE.read_text())
    assert pictures
    assert all((PAGE.parent / picture).is_file() for picture in pictures)
