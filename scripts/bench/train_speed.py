"""Training examples a second: this package, its own loop eager in float32, and the loop of the torchaudio tutorials.

    python scripts/bench/train_speed.py --config configs/mel.toml --data.root DIR [--key value ...] [--json FILE]

Each contestant trains in a process of its own, as a user's would, and they take turns, so that a busy machine is busy
for all. What a turn begins with is not counted: the tutorial's workers fetch ahead while the others run. On CUDA the
tutorial's loop with more workers takes part too, and ours without its parts; on a CPU, a process of one thread for each
thread, as torchrun starts them. A training step is counted as 6 operations for each multiply-add of the forward pass,
Fourier transforms left out; the peak is that of a large product of matrices in the same precision, measured here.
"""

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from contestants import (
    AS_BATCH,
    EAGER,
    MORE_WORKERS,
    NO_GRAPH,
    NOT_COMPILED,
    OURS,
    PROCESSES,
    TUTORIAL,
    WORKERS,
    Rival,
    Team,
    contestant,
    inspected,
)
from tutorial_loop import tutorial_workers

from wavedil.config import Config
from wavedil.data.clips import load_splits
from wavedil.training.config import load_config
from wavedil.training.distributed import choose_device

Turn = tuple[int, float, float]  # examples, seconds, seconds of CPU of the process itself


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="a TOML file; without it the defaults")
    parser.add_argument("--workers", type=int, help="of the tutorial's DataLoader; by default as it says")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each, of which the median is printed")
    parser.add_argument("--steps", type=int, default=10, help="training steps in a turn")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args, overrides = parser.parse_known_args(arguments)
    config = load_config(args.config, overrides)
    results = measure(config, args.workers, args.repeats, args.steps)
    print(table(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(config: Config, workers: int | None, repeats: int, steps: int) -> dict[str, Any]:
    """All figures, as they are written to JSON."""
    load_splits(config.data, ("training",))  # makes the clip cache once, before the processes want it
    device = choose_device(config.train.device)
    if workers is None:
        workers = tutorial_workers(device)
    names = [TUTORIAL, EAGER, OURS]
    context = multiprocessing.get_context("spawn")
    facts = inspect(Rival(context, inspected, config, repeats))
    rivals: dict[str, Rival | Team] = {name: Rival(context, contestant, name, config, workers) for name in names}
    if device.type == "cuda":
        rivals[MORE_WORKERS] = Rival(context, contestant, MORE_WORKERS, config, WORKERS)
        parts = [NO_GRAPH, NOT_COMPILED]
        if config.model.name == "broadcast":  # the others' batches are left as they are
            parts.append(AS_BATCH)
        rivals |= {name: Rival(context, contestant, name, config, workers) for name in parts}
    threads = config.train.threads or torch.get_num_threads()
    if device.type == "cpu" and threads > 1:
        alone = replace(config, train=replace(config.train, threads=1))
        rivals[PROCESSES] = Team(threads, context, contestant, PROCESSES, alone, workers)
    try:
        facts |= {"workers": workers, "rows": take_turns(rivals, repeats, steps)}
    finally:
        for rival in rivals.values():
            rival.stop()
    rate = next(row["examples_per_second"] for row in facts["rows"] if row["name"] == OURS)
    facts["share_of_peak"] = 6 * facts["macs"] * rate / facts["peak_flops"]
    return facts


def inspect(inspector: Rival) -> dict[str, Any]:
    """What is compared, measured before the contestants start, whose start would take the time of it."""
    try:
        return inspector.answer()
    finally:
        inspector.stop()


def take_turns(rivals: "dict[str, Rival | Team]", repeats: int, steps: int) -> list[dict[str, Any]]:
    """A row for each contestant; one that fails has its error in it, and the others go on."""
    turns: dict[str, list[Turn]] = {name: [] for name in rivals}
    errors: dict[str, str] = {}
    for _ in range(repeats + 1):  # the first is not counted: it compiles and captures
        for name, rival in rivals.items():
            if name in errors:
                continue
            try:
                rival.ask(steps)
                turns[name].append(rival.answer())
            except RuntimeError as error:
                errors[name] = str(error)
    rows = []
    for name in rivals:
        if name in errors:
            rows.append({"name": name, "error": errors[name]})
            continue
        counted = turns[name][1:]
        rates = [examples / seconds for examples, seconds, _ in counted]
        examples = sum(turn[0] for turn in counted)
        row = {"name": name, "examples_per_second": statistics.median(rates), "low": min(rates), "high": max(rates)}
        rows.append(row | {"examples": examples, "cpu_ms": 1e3 * sum(turn[2] for turn in counted) / examples})
    for row in rows:
        for key, other in (("times_tutorial", rows[0]), ("times_eager", rows[1])):
            if "error" not in row and "error" not in other:
                row[key] = row["examples_per_second"] / other["examples_per_second"]
    return rows


def table(results: dict[str, Any]) -> str:
    """The figures as Markdown."""
    kind = ", ".join([results["precision"], *(name for name in ("compiled", "cuda_graph") if results[name])])
    lines = [
        f"`{results['model']}`, {results['parameters']:,} parameters, {results['macs'] / 1e6:.1f}M multiply-adds a "
        f"clip, batches of {results['batch_size']}; {results['device']}, {results['threads']} threads, "
        f"torch {results['torch']}; {results['workers']} workers; ours in {kind}",
        "",
        "| training loop | examples/s (median, range) | times (a) | times (b) | CPU ms an example, workers left out |",
        "|---|---|---|---|---|",
    ]
    for row, mark in zip(results["rows"], ("(a) ", "(b) ", *[""] * len(results["rows"])), strict=False):
        if "error" in row:
            lines.append(f"| {mark}{row['name']} | failed: {row['error']} | | | |")
            continue
        spread = f"{row['low']:,.0f} to {row['high']:,.0f}"
        ratios = " | ".join(f"{row[key]:.2f}" if key in row else "" for key in ("times_tutorial", "times_eager"))
        lines.append(
            f"| {mark}{row['name']} | {row['examples_per_second']:,.0f} ({spread}) | {ratios} | {row['cpu_ms']:.3f} |"
        )
    peak = f"{results['peak_flops'] / 1e9:,.0f} GFLOP/s"
    lines += ["", f"Share of the peak of {peak} ({results['precision']} product): {results['share_of_peak']:.2%}", ""]
    lines += ["| part of a step | ms |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {ms:.2f} |" for name, ms in results["parts_ms"].items())])


if __name__ == "__main__":
    main()
