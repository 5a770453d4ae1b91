"""Figures of finished runs, read from report.json and seeds.json, which may be anybody's; no torch is needed."""

from pathlib import Path
from typing import Any

from wavedil.checks import shown
from wavedil.files import read_json


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
