"""Figures of runs, read from report.json, seeds.json and metrics.csv, which may be anybody's; no torch is needed."""

import csv
import math
import statistics
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from wavedil.checks import shown
from wavedil.files import read_json
from wavedil.text import read_text
from wavedil.training.metrics import wilson_interval

_MOST_CLIPS = 1_000_000_000


@dataclass(frozen=True)
class Accuracy:
    """What a run scores, or several seeds on average.

    Attributes:
        mean: share of the clips that are recognised, the mean over the seeds.
        n: clips that one run was evaluated on.
    """

    mean: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """95% confidence interval of the accuracy of one run on its clips."""
        return wilson_interval(round(self.mean * self.n), self.n)


def read_report(path: Path) -> dict[str, Any]:
    """The content of a report.json.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, or has no figures of a split.
    """
    report = read_json(path)
    splits = [split for split in ("test", "validation") if isinstance(report, dict) and split in report]
    if not splits:
        raise ValueError(f'{path}: expected figures of "test" or "validation", got {shown(report)}')
    for split in splits:
        if not _are_counts(report[split]):
            expected = f"clips counted by correct and n, from 1 to {_MOST_CLIPS:,} clips"
            raise ValueError(f"{path}: key '{split}': expected {expected}, got {shown(report[split])}")
    return report


def run_accuracy(path: Path) -> Accuracy | None:
    """Accuracy that a run folder tells, on validation and testing together: of several seeds the mean.

    Args:
        path: of the run folder.

    Returns:
        None if no run in it has ended.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if one is damaged.
    """
    seeds, report = path / "seeds.json", path / "report.json"
    if seeds.exists():
        return _of_seeds(seeds)
    if not report.exists():
        return None
    content = read_report(report)
    splits = [content[split] for split in ("validation", "test") if split in content]
    n = sum(split["n"] for split in splits)
    return Accuracy(sum(split["correct"] for split in splits) / n, n)


def read_columns(path: Path) -> dict[str, list[float]]:
    """The columns of a CSV file that hold numbers; empty cells are NaN.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no table with a row of figures.
    """
    try:
        header, *rows = [row for row in csv.reader(read_text(path).split("\n")) if row] or [[]]
    except csv.Error as error:
        raise ValueError(f"{path}: not a table in CSV: {error}") from None
    if not rows:
        raise ValueError(f"{path}: expected at least one row of figures, got none")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"{path}: row {number}: expected {len(header)} cells, got {len(row)}")
    columns: dict[str, list[float]] = {}
    for name, *cells in zip(header, *rows, strict=True):
        with suppress(ValueError):  # a column of text
            columns[name] = [float(cell or "nan") for cell in cells]
    return columns


def _of_seeds(path: Path) -> Accuracy:
    content = read_json(path)
    together = content.get("together") if isinstance(content, dict) else None
    figures: Mapping[str, Any] = together if isinstance(together, dict) else {}
    seeds, mean, n = (figures.get(key) for key in ("accuracy", "mean", "n"))
    if not isinstance(seeds, dict) or not seeds or not all(map(_is_share, seeds.values())):
        expected = "the accuracy of each seed, from 0 to 1"
        raise ValueError(f"{path}: key 'together.accuracy': expected {expected}, got {shown(seeds)}")
    if type(n) is not int or not 1 <= n <= _MOST_CLIPS:
        expected = f"a number of clips from 1 to {_MOST_CLIPS:,}"
        raise ValueError(f"{path}: key 'together.n': expected {expected}, got {shown(n)}")
    computed = statistics.fmean(seeds.values())
    if not _is_share(mean) or not math.isclose(mean, computed, abs_tol=1e-9):
        expected = f"{computed:.6g}, the mean of 'together.accuracy'"
        raise ValueError(f"{path}: key 'together.mean': expected {expected}, got {shown(mean)}")
    return Accuracy(computed, n)


def _is_share(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and 0 <= value <= 1


def _are_counts(split: Any) -> bool:
    if not isinstance(split, dict):
        return False
    correct, n = split.get("correct"), split.get("n")
    return type(correct) is int and type(n) is int and 0 <= correct <= n and 1 <= n <= _MOST_CLIPS
