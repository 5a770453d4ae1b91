"""The same run with several seeds, and what they score together."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wavedil.config import Config
from wavedil.data.clips import resolve_data
from wavedil.training.before import check_seeds
from wavedil.training.figures import read_report
from wavedil.training.interrupt import TrainingInterruptedError
from wavedil.training.loop import train
from wavedil.training.metrics import wilson_interval
from wavedil.training.report import write_json
from wavedil.training.run_folder import RunFolder
from wavedil.training.run_paths import absolute_path, paths_explained, resume_command, with_absolute_paths

SPLITS = ("test", "validation", "together")


def train_seeds(config: Config, count: int, resume: bool = False) -> Path:
    """Train with ``count`` seeds, from the config's on, each in a folder ``seed0``, ... of the run folder.

    Args:
        config: of all the runs.
        count: how many.
        resume: take up what a former call left: finished runs are kept, the one that was stopped goes on.

    Returns:
        The path of seeds.json, which has the accuracy of each and their mean and standard deviation.

    Raises:
        OSError: if a report cannot be read.
        ValueError: if the count is below 1, a run is there and ``resume`` is False, one that is finished had another
            config, a report is damaged, or torchrun started several processes.
        TrainingInterruptedError: after Ctrl-C or SIGTERM, with the command that continues all of them.
    """
    check_seeds(config, count, resume)
    together = RunFolder(config.run_dir)
    together.path.mkdir(parents=True, exist_ok=True)
    with paths_explained(config, together.config):
        resolved = with_absolute_paths(replace(config, data=resolve_data(config.data)))  # of one set of words for all
    if not together.seeds():
        together.write_config(resolved)
    reports = {}
    for seed in range(config.seed, config.seed + count):
        run = together.seed(seed)
        own = replace(config, seed=seed, run_dir=str(run.path))
        if resume and run.report.exists():
            run.check_same(replace(resolved, seed=seed, run_dir=str(absolute_path(run.path))))
        else:
            _train_one(own, resume, resume_command(together.config, "--seeds", str(count)))
        reports[seed] = read_report(run.report)
    if together.config.exists():  # which runs of an older version lack
        together.update_paths(resolved)
    path = together.path / "seeds.json"
    summary = summarise(reports)
    write_json(path, summary)
    print(f"{path}: {describe(summary)}", flush=True)
    return path


def _train_one(config: Config, resume: bool, command: str) -> None:
    """Train with one of the seeds; if it is stopped, the command that continues is that of them all."""
    try:
        train(config, resume=resume)
    except TrainingInterruptedError as stopped:
        raise TrainingInterruptedError(f"{config.run_dir}: {stopped.progress}", command, stopped.signum) from None


def summarise(reports: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The accuracies of several runs by seed, with mean and sample standard deviation.

    Args:
        reports: report.json of each seed.

    Returns:
        By split ("test", "validation" and the clips of both "together", where there are any): ``accuracy`` by seed,
        ``mean``, ``std`` (None of one seed) and ``n``, the number of clips.
    """
    summary: dict[str, Any] = {}
    for split in SPLITS:
        names = SPLITS[:2] if split == "together" else (split,)
        counts = {seed: _counts(report, names) for seed, report in reports.items()}
        n = next(iter(counts.values()))[1]
        if n:
            accuracies = {str(seed): correct / total for seed, (correct, total) in counts.items()}
            summary[split] = {"accuracy": accuracies, **_spread(list(accuracies.values())), "n": n}
    return summary


def describe(summary: Mapping[str, Any]) -> str:
    """The summary in a line."""
    parts = []
    for split, figures in summary.items():
        spread = "" if figures["std"] is None else f" +- {figures['std']:.2%}"
        low, high = wilson_interval(round(figures["mean"] * figures["n"]), figures["n"])
        interval = f"95% interval of a run {low:.2%} to {high:.2%}"
        parts.append(f"{split} {figures['mean']:.2%}{spread} ({interval}) of {figures['n']} clips")
    seeds = len(next(iter(summary.values()))["accuracy"])
    return f"{', '.join(parts)}; {seeds} seed{'s' if seeds > 1 else ''}"


def _counts(report: Mapping[str, Any], splits: Sequence[str]) -> tuple[int, int]:
    found = [report[split] for split in splits if split in report]
    return sum(split["correct"] for split in found), sum(split["n"] for split in found)


def _spread(values: list[float]) -> dict[str, float | None]:
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else None}
