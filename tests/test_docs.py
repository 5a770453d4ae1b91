"""The pages say what is so: their commands print what stands below them, their Python gives what its comments say."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from sweeps import sweep
from torch.distributed.run import parse_args as parse_torchrun

import wavedil.cli.train
from wavedil.cli import main

ROOT = Path(__file__).parents[1]
FIELDS, FAMILY = PAGES = [ROOT / "docs" / name for name in ("receptive_fields.md", "family.md")]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands(page: Path) -> list[tuple[str, str]]:
    parts = [block.partition("\n") for block in blocks(page, "console")]
    return [(command, printed) for command, _, printed in parts]


COMMANDS = [*commands(FIELDS), *commands(ROOT / "docs" / "models.md")]


@pytest.mark.parametrize(("command", "printed"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_a_command_prints_what_stands_below_it(command, printed, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")
    assert command.startswith(("$ wavedil rf", "$ wavedil models"))
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


EXAMPLES = commands(FAMILY)


# What context_fields.py prints is looked for on the page where it is tested.
@pytest.mark.parametrize(("command", "printed"), sweep(EXAMPLES, lambda example: "context_fields" not in example[0]))
def test_an_example_prints_what_stands_below_it(command, printed, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    python, script, *arguments = shlex.split(command.removeprefix("$ "))
    assert python == "python"
    assert Path(script).is_file()
    if arguments:  # drawing is tested where the example is
        assert Path(arguments[-1]).exists(), "a picture on the page that is not in the repository"
        return
    monkeypatch.setattr(sys, "argv", [script])
    runpy.run_path(script, run_name="__main__")
    assert capsys.readouterr().out.rstrip() == printed.rstrip()


@pytest.mark.parametrize(("page", "comments"), [(FIELDS, 3), (FAMILY, 9)], ids=["receptive_fields", "family"])
def test_the_python_on_the_page_gives_what_its_comments_say(page, comments):
    space = {}
    checked = 0
    for block in blocks(page, "python"):
        for line in block.splitlines():
            code, _, comment = line.partition("  # ")
            if not comment:
                exec(line, space)
                continue
            expected = eval(comment, {"Fraction": __import__("fractions").Fraction})
            assert eval(code, space) == expected, line
            checked += 1
    assert checked == comments


def test_the_notebook_runs(capsys):
    runpy.run_path(str(ROOT / "docs" / "examples" / "receptive_fields.py"))
    printed = capsys.readouterr().out
    assert "6139 samples, or 383.6875 ms" in printed
    assert "8 layers, 6561 samples" in printed


def test_the_commands_of_several_processes_are_ones_that_torchrun_and_training_take():
    lines = re.findall(r"^torchrun (.*)$", (ROOT / "docs" / "training.md").read_text(), flags=re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        given = parse_torchrun(shlex.split(line))
        assert (ROOT / given.training_script).is_file()
        parser = argparse.ArgumentParser()
        wavedil.cli.train.add_arguments(parser)
        assert (ROOT / parser.parse_args(given.training_script_args).config).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_picture_of_the_page_is_there(page):
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page.read_text())
    assert pictures
    assert all((page.parent / picture).is_file() for picture in pictures)


def test_the_python_about_streaming_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space, checked = {}, 0
    for block in blocks(ROOT / "docs" / "streaming.md", "python"):
        if "backends=" in block or "to_onnx" in block:  # exported in tests/layers
            continue
        exec(block, space)
        for line in block.splitlines():
            code, _, comment = line.partition("  # ")
            if comment in ("True", "(3, 3, 0.0001875)", "(2, 1, True)"):
                assert eval(code, space) == eval(comment), line
                checked += 1
    assert checked == 3
    expected = space["model"](space["signal"], global_condition=space["knob"], local_condition=space["track"])
    assert space["torch"].equal(space["output"], expected)
