"""The report: complete, readable by others, atomic, and without matplotlib still there."""

import json
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from wavedil.training import report
from wavedil.training.metrics import Evaluation

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def evaluation(n_classes: int = 35, n: int = 300, absent: tuple[int, ...] = ()) -> Evaluation:
    rng = np.random.default_rng(0)
    targets = rng.choice([index for index in range(n_classes) if index not in absent], n)
    logits = rng.normal(size=(n, n_classes))
    logits[:, list(absent)] = -100
    logits[np.arange(n), targets] += 4
    return Evaluation(logits, targets, tuple(f"word{i}" for i in range(n_classes)), [f"{i}.wav" for i in range(n)])


def write_metrics(path, text="epoch,train_loss,validation_accuracy,lr\n1,2.5,,0.001\n2,1.5,0.75,0.0005\n"):
    path.write_text(text)
    return path


def without_matplotlib(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, beside being saved."""
    figures = []
    save = report._save
    monkeypatch.setattr(report, "_save", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


def test_report_has_the_promised_keys(tmp_path):
    write_metrics(tmp_path / "metrics.csv")
    test, validation = evaluation(n=200), evaluation(n=100)
    path = report.write_report(tmp_path, {"test": test, "validation": validation}, extra={"seconds": 12.5})
    assert path == tmp_path / "report.json"
    content = json.loads(path.read_text())
    assert set(content) == {"test", "validation", "seconds"}
    assert content["test"]["accuracy"] == test.accuracy
    assert content["test"]["n"] == 200
    assert content["test"]["interval"] == list(test.interval)
    assert content["validation"]["accuracy"] == validation.accuracy
    assert set(content["test"]["per_word"]) == set(test.labels)
    assert set(content["test"]["per_word"]["word0"]) == {"n", "predicted", "precision", "recall"}
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "confusion.png", "curves.png", "metrics.csv", "report.json",
    ]  # fmt: skip


def test_without_metrics_there_are_no_curves(tmp_path):
    report.write_report(tmp_path, {"test": evaluation()})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["confusion.png", "report.json"]


def test_without_matplotlib_the_report_is_written_and_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    without_matplotlib(monkeypatch)
    report.write_report(tmp_path, {"test": evaluation()})
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert capsys.readouterr().out == "plots need matplotlib: pip install 'wavedil[plot]'\n"


def test_a_failed_write_leaves_the_old_report(tmp_path):
    path = tmp_path / "report.json"
    report.write_json(path, {"accuracy": 1.0})
    with pytest.raises(TypeError, match="not JSON serializable"):
        report.write_json(path, {"accuracy": 0.5, "words": {"yes"}})
    assert json.loads(path.read_text()) == {"accuracy": 1.0}
    assert list(tmp_path.iterdir()) == [path]


def test_confusion_shows_words_and_counts(tmp_path, drawn):
    result = evaluation(absent=(3,))
    report.save_confusion(result, tmp_path / "confusion.png")
    axes = drawn[0].axes[0]
    words = [word for word in result.labels if word != "word3"]
    assert [label.get_text() for label in axes.get_yticklabels()] == words
    assert [label.get_text() for label in axes.get_xticklabels()] == words
    shown = np.zeros((34, 34), dtype=int)
    for text in axes.texts:
        column, row = text.get_position()
        shown[int(row), int(column)] = int(text.get_text())
    kept = [index for index in range(35) if index != 3]
    np.testing.assert_array_equal(shown, result.confusion[np.ix_(kept, kept)])
    np.testing.assert_allclose((axes.images[0].get_array() ** 2).sum(axis=1), 1)  # rows are shares
    assert f"{result.accuracy:.2%}" in axes.get_title()
    assert (tmp_path / "confusion.png").read_bytes().startswith(PNG_SIGNATURE)


def test_confusion_of_35_words_does_not_overlap(tmp_path, drawn):
    report.save_confusion(evaluation(n=11_005), tmp_path / "confusion.png")
    figure: Figure = drawn[0]
    axes = figure.axes[0]
    figure.draw_without_rendering()
    cell = axes.get_window_extent().width / 35
    assert max(text.get_window_extent().width for text in axes.texts) < cell
    assert max(label.get_window_extent().height for label in axes.get_yticklabels()) < cell
    height, width = imread(tmp_path / "confusion.png").shape[:2]
    assert min(height, width) >= 1500


def test_curves_have_a_panel_for_each_kind_and_gaps_where_cells_are_empty(tmp_path, drawn):
    report.save_curves(write_metrics(tmp_path / "metrics.csv"), tmp_path / "curves.png")
    panels = {axes.get_title(): axes for axes in drawn[0].axes}
    assert list(panels) == ["loss", "accuracy", "learning rate"]
    assert panels["loss"].lines[0].get_xydata().tolist() == [[1, 2.5], [2, 1.5]]
    assert panels["accuracy"].lines[0].get_xydata().tolist() == [[2, 0.75]]
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG_SIGNATURE)


def test_curves_ignore_columns_of_text(tmp_path, drawn):
    text = "step,train_loss,note\n1,2.5,first\n2,2.0,\n"
    report.save_curves(write_metrics(tmp_path / "metrics.csv", text), tmp_path / "curves.png")
    assert [axes.get_title() for axes in drawn[0].axes] == ["loss"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch,train_loss\n", "at least one row"),
        ("time,train_loss\n1,2\n", 'column "epoch" or "step", got time, train_loss'),
        ("epoch,speed\n1,2\n", "losses or accuracies, got epoch, speed"),
    ],
)
def test_curves_name_what_the_table_lacks(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"metrics\.csv: expected .*{message}"):
        report.save_curves(write_metrics(tmp_path / "metrics.csv", text), tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_no_picture_is_no_reason_to_lose_the_report(tmp_path, capsys):
    write_metrics(tmp_path / "metrics.csv", "epoch,train_loss\n")
    assert report.write_report(tmp_path, {"validation": evaluation()}).exists()
    assert "expected at least one row" in capsys.readouterr().out


def test_plots_leave_pyplot_alone(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    report.save_confusion(evaluation(3, 9), tmp_path / "confusion.png")
    assert "matplotlib.pyplot" not in sys.modules


def test_words_in_any_letters_are_drawn(tmp_path):
    logits, words = np.eye(3), ("$x_{", "\u65e5\u672c", "no")  # no formula, and letters that the font lacks
    report.save_confusion(Evaluation(logits, np.arange(3), words, list("abc")), tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(PNG_SIGNATURE)
