"""``wavedil evaluate``: what it prints, what it writes, what it refuses."""

import json
import sys

import numpy as np
import pytest
import soundfile

from wavedil.cli import main

WORDS = {"yes": 4, "no": 3, "bird": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate") / "data"
    for word, count in WORDS.items():
        (root / word).mkdir(parents=True)
        for index in range(count):
            samples = np.random.default_rng(index).uniform(-0.5, 0.5, 8_000)
            soundfile.write(root / word / f"{word}{index}.wav", samples, 8_000)
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WAVEDIL_CACHE", str(tmp_path / "cache"))


def evaluate(*arguments) -> int:
    return main(["evaluate", "--device", "cpu", *map(str, arguments)])


def test_prints_words_worst_clips_and_accuracy(checkpoint, data, capsys):
    assert evaluate(checkpoint, "--data", data, "--worst", 2) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].split() == ["word", "clips", "precision", "recall"]
    table = {line.split()[0]: line.split()[1:] for line in lines[1:4]}
    assert table["yes"][0] == "4"
    assert table["no"][0] == "3"
    assert table["stop"][0] == "0"
    assert table["stop"][2] == "-"
    worst = lines[lines.index("clips of the largest loss:") + 1 :][:2]
    assert all(line.split()[1].split("/")[0] in WORDS for line in worst)
    assert lines[-1].startswith("accuracy ")
    assert " of 7 clips, " in lines[-1]
    assert lines[-1].endswith(f"{data}, all")
    assert captured.err.splitlines() == [
        "note: all clips of the folder; --split chooses others",
        "note: left out 2 clips of bird (2), which the model does not know",
        "note: the data have no clips of the model's stop",
    ]


def test_json_has_the_figures(checkpoint, data, tmp_path, capsys):
    assert evaluate(checkpoint, "--data", data, "--json", tmp_path / "figures.json", "--worst", 3) == 0
    report = json.loads((tmp_path / "figures.json").read_text())
    assert report["n"] == 7
    assert report["accuracy"] == report["correct"] / 7
    assert {word: score["n"] for word, score in report["per_word"].items()} == {"yes": 4, "no": 3, "stop": 0}
    assert report["checkpoint"] == str(checkpoint)
    assert (report["data"], report["split"]) == (str(data), "all")
    assert len(report["worst"]) == 3
    assert report["streaming"] is False
    assert f"accuracy {report['accuracy']:.2%}" in capsys.readouterr().out


@pytest.mark.parametrize("chunk", [[], ["--chunk", "700"]])
def test_streaming_gives_the_same_figures_and_says_how_near(checkpoint, data, tmp_path, capsys, chunk):
    evaluate(checkpoint, "--data", data, "--json", tmp_path / "offline.json")
    offline = capsys.readouterr().out.splitlines()
    evaluate(checkpoint, "--data", data, "--json", tmp_path / "streamed.json", "--streaming", *chunk)
    streamed = capsys.readouterr().out.splitlines()
    said = [line for line in streamed if line.startswith("streamed in ")]
    assert len(said) == 1
    assert ("chunks of 700 samples" if chunk else "ragged chunks") in said[0]
    assert "of offline, 0 clips predicted otherwise" in said[0]
    assert streamed[-1] == offline[-1]
    one, other = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("offline", "streamed"))
    assert other["stream_difference"] < 1e-5
    assert other["stream_mismatches"] == 0
    assert other["confusion"] == one["confusion"]
    assert other["loss"] == pytest.approx(one["loss"], abs=1e-5)


def test_plot_draws_the_confusion_matrix(checkpoint, data, tmp_path):
    assert evaluate(checkpoint, "--data", data, "--plot", tmp_path / "confusion.png") == 0
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_one_line_says_what_to_install(checkpoint, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert evaluate(checkpoint, "--data", data, "--plot", tmp_path / "confusion.png") == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == "wavedil: error: plots need matplotlib: pip install 'wavedil[plot]'"
    assert "accuracy" in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "{checkpoint}: the data it was trained on are not recorded here; name a folder with --data"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--data", "{data}", "--chunk", "100"], "--chunk goes with --streaming"),
        (
            ["--data", "{data}", "--streaming", "--chunk", "0"],
            "--chunk: expected an integer from 1 to 1000000000, got '0'",
        ),
        (["--data", "{data}", "--batch-size", "0"], "--batch-size: expected an integer from 1 to 1048576, got '0'"),
        (["--data", "{data}", "--worst", "-1"], "--worst: expected an integer from 0 to 1000000000, got '-1'"),
        (["--data", "{data}", "--json", "no/such/a.json"], "--json no/such/a.json: there is no folder no/such"),
    ],
)
def test_mistakes_are_one_line(checkpoint, data, arguments, message, capsys):
    arguments = [argument.format(data=data) for argument in arguments]
    assert evaluate(checkpoint, *arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("wavedil: error: " + message.format(checkpoint=checkpoint, data=data))
