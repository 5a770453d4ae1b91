from pathlib import Path

import pytest

from wavedil.cli import main
from wavedil.data.speech_commands import speech_commands_index


def test_corpus_says_what_it_made_and_how_to_use_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    dest = tmp_path / "my corpus"
    assert main(["corpus", str(dest), "--speakers", "4", "--takes", "1", "--seed", "5", "--words", "yes", "no"]) == 0
    out, err = capsys.readouterr()
    assert "8 clips of 2 words by 4 speakers: 4 training, 2 validation, 2 testing" in out
    assert f"""next: wavedil train --data.root '{dest}' --data.words '["yes", "no"]'""" in out
    assert err == ""
    assert len(speech_commands_index(dest).clips) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--speakers", "1"], "--speakers: expected an integer from 3 to 10000, got '1'; see wavedil corpus --help"),
        (["--words", "No"], "words: expected lower-case letters a to z, got 'No'"),
    ],
)
def test_mistakes_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    assert main(["corpus", str(tmp_path / "corpus"), *arguments]) == 2
    assert capsys.readouterr() == ("", f"wavedil: error: {message}\n")


def test_an_existing_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "mine.txt").touch()
    assert main(["corpus", str(tmp_path)]) == 2
    assert f"{tmp_path} exists already and is not an empty folder" in capsys.readouterr().err
