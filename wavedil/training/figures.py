"""Figures of runs, read from report.json, seeds.json and metrics.csv, which may be anybody's; no torch is needed."""

import csv
from contextlib import suppress
from pathlib import Path
from typing import Any

from wavedil.checks import shown
from wavedil.files import read_json
from wavedil.text import read_text


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
            expected = "clips counted by correct and n, at least one clip"
            raise ValueError(f"{path}: key '{split}': expected {expected}, got {shown(report[split])}")
    return report


def mean_accuracy(path: Path) -> float | None:
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
        return _mean_of(seeds)
    if not report.exists():
        return None
    content = read_report(report)
    splits = [content[split] for split in ("validation", "test") if split in content]
    return sum(split["correct"] for split in splits) / sum(split["n"] for split in splits)


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


def _mean_of(path: Path) -> float:
    content = read_json(path)
    together = content.get("together") if isinstance(content, dict) else None
    mean = together.get("mean") if isinstance(together, dict) else None
    if not isinstance(mean, int | float) or isinstance(mean, bool) or not 0 <= mean <= 1:
        raise ValueError(f"{path}: key 'together.mean': expected an accuracy from 0 to 1, got {shown(mean)}")
    return float(mean)


def _are_counts(split: Any) -> bool:
    if not isinstance(split, dict):
        return False
    correct, n = split.get("correct"), split.get("n")
    return type(correct) is int and type(n) is int and 0 <= correct <= n and n > 0
