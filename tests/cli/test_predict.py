"""``wavedil predict``: tables and JSON, any audio, and no file spoils another."""

import json
import os

import numpy as np
import pytest
import soundfile

from wavedil.cli import main
from wavedil.detect import Spotter, load


def write(path, seconds=1.0, rate=8_000, channels=1, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(seed).standard_normal((int(seconds * rate), channels))
    soundfile.write(path, samples, rate)
    return path


def predict(*arguments) -> int:
    return main(["predict", "--device", "cpu", *map(str, arguments)])


def test_table_has_a_line_for_each_file_with_its_top_words(checkpoint, tmp_path, capsys):
    paths = [write(tmp_path / "a.wav"), write(tmp_path / "bcd.flac", seed=1)]
    assert predict(checkpoint, *paths, "--top", 2) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    spotter = load(checkpoint)
    for line, path in zip(lines, paths, strict=True):
        (first, score), (second, other) = spotter.predict(path, top=2)
        assert line.split() == [str(path), first, f"{score:.3f}", second, f"{other:.3f}"]
    assert len(lines[0]) == len(lines[1])


def test_json_has_all_of_it(checkpoint, tmp_path, capsys):
    path = write(tmp_path / "a.wav")
    assert predict(checkpoint.parent, path, "--json", "--top", 99) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["file"] == str(path)
    scores = [(word["word"], word["score"]) for word in entry["words"]]
    assert scores == [(word, pytest.approx(score, abs=1e-6)) for word, score in load(checkpoint).predict(path, top=99)]
    assert (entry["start"], entry["end"]) == (0, 1)


def test_folders_are_searched_for_audio_in_order(checkpoint, tmp_path, capsys):
    expected = [write(tmp_path / name) for name in ("clips/a.wav", "clips/deep/B.WAV", "clips/deep/c.flac")]
    (tmp_path / "clips" / "notes.txt").write_text("no audio")
    assert predict(checkpoint, tmp_path / "clips", "--json") == 0
    assert [entry["file"] for entry in json.loads(capsys.readouterr().out)] == [str(path) for path in expected]


def test_other_rates_and_channels_are_said_once_on_stderr(checkpoint, tmp_path, capsys):
    write(tmp_path / "a.wav", rate=16_000)
    write(tmp_path / "b.wav", rate=16_000, channels=2)
    write(tmp_path / "c.wav", rate=44_100)
    write(tmp_path / "d.wav")
    assert predict(checkpoint, tmp_path) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "note: resampled to 8000 Hz: 2 files of 16000 Hz, 1 file of 44100 Hz",
        "note: 1 file had several channels; their mean was taken",
    ]
    assert len(captured.out.splitlines()) == 4


def test_long_files_show_their_moment(checkpoint, tmp_path, capsys):
    path = write(tmp_path / "long.wav", seconds=3.3)
    prediction = load(checkpoint).locate(path)
    predict(checkpoint, path)
    assert capsys.readouterr().out.rstrip().endswith(f"{prediction.start:.2f} to {prediction.end:.2f} s")
    predict(checkpoint, write(tmp_path / "short.wav"))
    assert " to " not in capsys.readouterr().out


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_done(checkpoint, tmp_path, capsys):
    bad, empty = tmp_path / "bad.wav", tmp_path / "empty"
    bad.write_text("not audio")
    empty.mkdir()
    good = write(tmp_path / "good.wav")
    assert predict(checkpoint, bad, tmp_path / "none.wav", empty, good) == 1
    captured = capsys.readouterr()
    assert [line.partition(" (")[0] for line in captured.err.splitlines()] == [
        f"wavedil: error: {bad}: not an audio file that can be read",
        f"wavedil: error: {tmp_path / 'none.wav'}: no such file",
        f"wavedil: error: {empty}: no audio files in this folder",
    ]
    assert captured.out.split()[0] == str(good)
    assert len(captured.out.splitlines()) == 1


def test_no_error_of_one_file_stops_the_others(checkpoint, tmp_path, capsys, monkeypatch):
    files = [write(tmp_path / f"{letter}.wav") for letter in "abcd"]
    errors: dict[str, Exception] = {
        "a.wav": MemoryError(),
        "b.wav": RuntimeError("one line\nand another"),
        "c.wav": PermissionError(13, "Permission denied", str(files[2])),
    }
    locate = Spotter.locate

    def failing(spotter, path):
        if path.name in errors:
            raise errors[path.name]
        return locate(spotter, path)

    monkeypatch.setattr(Spotter, "locate", failing)
    os.mkfifo(tmp_path / "pipe.wav")
    assert predict(checkpoint, *files[:3], tmp_path / "pipe.wav", "x" * 300, files[3]) == 1
    captured = capsys.readouterr()
    said = captured.err.splitlines()
    expected = [
        f"{files[0]}: MemoryError",
        f"{files[1]}: one line",
        f"{files[2]}: Permission denied",
        f"{tmp_path}/pipe.wav: this is a pipe",
    ]
    for line, beginning in zip(said, [*expected, f"{'x' * 300}: File name too long"], strict=True):
        assert line.startswith(f"wavedil: error: {beginning}")
    assert [line.split()[0] for line in captured.out.splitlines()] == [str(files[3])]


def test_channels_that_cancel_are_said(checkpoint, tmp_path, capsys):
    left = 0.1 * np.random.default_rng(0).standard_normal(8_000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, -left], axis=1), 8_000)
    assert predict(checkpoint, tmp_path / "a.wav") == 0
    assert (
        capsys.readouterr().err
        == "note: 1 file had channels that cancel, as with one inverted; the loudest was taken\n"
    )


def test_json_names_what_failed(checkpoint, tmp_path, capsys):
    assert predict(checkpoint, tmp_path / "none.wav", write(tmp_path / "good.wav"), "--json") == 1
    failed, good = json.loads(capsys.readouterr().out)
    assert failed == {"file": str(tmp_path / "none.wav"), "error": f"{tmp_path / 'none.wav'}: no such file"}
    assert len(good["words"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "a.wav"], "nowhere: expected a model"),
        (["CHECKPOINT", "a.wav", "--top", "0"], "--top: expected an integer from 1 to 10000, got '0'"),
        (["CHECKPOINT", "a.wav", "--device", "abacus"], "--device: expected one of auto, cpu, cuda"),
    ],
)
def test_mistakes_are_one_line(checkpoint, arguments, message, capsys):
    assert predict(*(checkpoint if word == "CHECKPOINT" else word for word in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"wavedil: error: {message}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
