"""The report of a run: report.json, the confusion matrix and the training curves as PNG."""

import math
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wavedil.files import to_json
from wavedil.training.atomic import write_file
from wavedil.training.figures import read_columns
from wavedil.training.metrics import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def write_report(
    run_dir: str | Path, evaluations: Mapping[str, Evaluation], extra: Mapping[str, Any] | None = None
) -> Path:
    """Write report.json and, where matplotlib is installed, confusion.png and curves.png into the run folder.

    The confusion matrix is that of ``"test"``, else of the first evaluation; the curves need the run's metrics.csv.

    Args:
        run_dir: the run folder.
        evaluations: by the name of the split: ``"test"``, ``"validation"``.
        extra: further keys of report.json.

    Returns:
        The path of report.json.
    """
    run_dir = Path(run_dir)
    report = {split: evaluation.to_json() for split, evaluation in evaluations.items()} | dict(extra or {})
    write_json(run_dir / "report.json", report)
    shown = evaluations.get("test") or next(iter(evaluations.values()))
    try:
        save_confusion(shown, run_dir / "confusion.png")
        if (run_dir / "metrics.csv").exists():
            save_curves(run_dir / "metrics.csv", run_dir / "curves.png")
    except (ModuleNotFoundError, ValueError) as error:
        print(error)  # a run is not lost for want of a picture
    return run_dir / "report.json"


def write_json(path: str | Path, content: Mapping[str, Any] | list[Any]) -> None:
    """Write JSON to a temporary name and rename it, so that a reader never finds half a file.

    NaN and infinity, which JSON lacks, become null.
    """
    write_file(Path(path), (to_json(content) + "\n").encode())


def save_confusion(evaluation: Evaluation, path: str | Path) -> None:
    """Draw the confusion matrix: colours are shares of the row (the word), numbers are clips.

    Words that have neither a clip nor a prediction are left out.

    Args:
        evaluation: what to draw.
        path: of the PNG.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed; the message says how to install it.
    """
    counts = evaluation.confusion
    shown = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    counts, words = counts[np.ix_(shown, shown)], [evaluation.labels[index] for index in shown]
    size = max(5.0, 2.5 + 0.42 * len(words))
    figure = _figure(size, size)
    axes = figure.add_subplot()
    _draw_matrix(axes, counts, words)
    low, high = evaluation.interval
    axes.set_title(f"accuracy {evaluation.accuracy:.2%} ({low:.2%} to {high:.2%}), {evaluation.n:,} clips")
    _save(figure, path)


def _draw_matrix(axes: "Axes", counts: np.ndarray, words: list[str]) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The square root keeps confusions of one or two per cent visible beside a diagonal near one.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(words))
    axes.set_xticks(ticks, words, rotation=90, fontsize=11, parse_math=False)
    axes.set_yticks(ticks, words, fontsize=11, parse_math=False)
    axes.set_xticks([tick - 0.5 for tick in ticks], minor=True)
    axes.set_yticks([tick - 0.5 for tick in ticks], minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("spoken")
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.35 else "black"
        count = int(counts[row, column])
        # Four digits are as wide as a cell; more are shrunk to stay inside.
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9 if count < 1000 else 7)


def save_curves(metrics_csv: str | Path, path: str | Path) -> None:
    """Draw the curves of a run: a panel for the losses, the accuracies and the learning rate, as far as there are any.

    Args:
        metrics_csv: a table with a column "epoch" or "step" and columns named ``*loss``, ``*accuracy`` and ``lr``;
            empty cells are gaps.
        path: of the PNG.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no table, has no row, or neither an "epoch" nor a "step".
        ModuleNotFoundError: if matplotlib is not installed; the message says how to install it.
    """
    columns = read_columns(Path(metrics_csv))
    x_name = next((name for name in ("epoch", "step") if name in columns), None)
    if x_name is None:
        raise ValueError(f'{metrics_csv}: expected a column "epoch" or "step", got {", ".join(columns) or "none"}')
    panels = {
        kind: names
        for kind, ending in (("loss", "loss"), ("accuracy", "accuracy"), ("learning rate", "lr"))
        if (names := [name for name in columns if name.endswith(ending)])
    }
    if not panels:
        raise ValueError(f"{metrics_csv}: expected columns of losses or accuracies, got {', '.join(columns)}")
    figure = _figure(4.5 * len(panels), 3.6)
    from matplotlib.ticker import MaxNLocator

    for position, (kind, names) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), position)
        for name in names:
            points = [(x, y) for x, y in zip(columns[x_name], columns[name], strict=True) if math.isfinite(y)]
            axes.plot(*zip(*points, strict=True) if points else ([], []), marker=".", label=name.replace("_", " "))
        axes.set_xlabel(x_name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(kind)
        axes.grid(color="0.9")
        if len(names) > 1:
            axes.legend(frameon=False)
    _save(figure, path)


def _figure(width: float, height: float) -> "Figure":
    """A figure of its own, without pyplot's global state or a window system."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("plots need matplotlib: pip install 'wavedil[plot]'", name=error.name) from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: "Figure", path: str | Path) -> None:
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a word in letters that the font lacks
        figure.savefig(buffer, format="png", dpi=110)
    write_file(Path(path), buffer.getvalue())
