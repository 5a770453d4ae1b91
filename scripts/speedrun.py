"""Seconds from cached clips to a target accuracy, by the package's own training step.

    python scripts/speedrun.py --target 0.97 --config configs/mel.toml --data.root DIR [--key value ...] [--json FILE]

The clock starts when the clip cache is open, and stops at the first reading at which the averaged weights are right on
the target's share of the clips of validation and testing taken together; readings count. docs/speedrun.md has the rule.
Nothing is written but the JSON file.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PROCESS_START = time.perf_counter()  # before torch is imported

import torch  # noqa: E402

from wavedil.config import Config  # noqa: E402
from wavedil.data.clips import Splits, load_splits  # noqa: E402
from wavedil.training.checkpoint import git_revision  # noqa: E402
from wavedil.training.config import load_config  # noqa: E402
from wavedil.training.cuda_graph import choose_cuda_graph  # noqa: E402
from wavedil.training.distributed import Process, join  # noqa: E402
from wavedil.training.interrupt import Interrupts  # noqa: E402
from wavedil.training.loop import Trainer  # noqa: E402
from wavedil.training.memory import keep_freed_memory  # noqa: E402
from wavedil.training.run_folder import RunFolder  # noqa: E402
from wavedil.training.step import validate  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """Train until the target is reached; the status is 1 if the last epoch ends before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="a TOML file; without it the defaults")
    parser.add_argument("--target", type=float, required=True, help="accuracy, of 1")
    parser.add_argument("--every", type=float, default=1.0, help="epochs between two readings")
    parser.add_argument("--first", type=float, default=0.0, help="epochs before the first reading")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args, overrides = parser.parse_known_args(arguments)
    if not 0 <= args.target <= 1 or args.every <= 0:
        parser.error(f"expected --target between 0 and 1 and --every above 0, got {args.target} and {args.every}")
    config = load_config(args.config, overrides)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    keep_freed_memory()
    splits = load_splits(config.data)
    with join(config.train.device) as process:
        result = race(config, splits, process, args.target, args.every, args.first)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    print(verdict(result))
    return 0 if result["reached"] else 1


def race(
    config: Config, splits: Splits, process: Process, target: float, every: float = 1.0, first: float = 0.0
) -> dict[str, Any]:
    """Train until a reading reaches the target, or to the last epoch.

    Args:
        config: of the run; its folder is not written.
        splits: the clips, in their cache.
        process: a single one.
        target: accuracy on validation and testing together.
        every: epochs between two readings; the last step has one too.
        first: epochs before the first one.

    Returns:
        The figures that are written to JSON.

    Raises:
        ValueError: if there is nothing to read on, there are several processes, or the loss is no longer finite.
    """
    if process.world_size > 1 or not len(splits.validation) + len(splits.testing):
        raise ValueError("a speedrun takes one process and clips for validation or testing")
    start = time.perf_counter()
    trainer = Trainer(config, RunFolder(config.run_dir), splits, process, Interrupts())
    sets = {"validation": trainer.validation, "testing": splits.testing.to(process.device)}
    stride, begin = max(1, round(every * trainer.order.steps)), first * trainer.order.steps
    startup, readings = 0.0, []
    for step in steps(trainer):
        if step == 1:
            trainer.state.figures(process)  # waits for the device: the first step is done, and compiling over
            startup = time.perf_counter() - start
        if (step % stride == 0 and step >= begin) or step == trainer.total_steps:
            row = reading(trainer, sets) | {"seconds": time.perf_counter() - start}
            readings.append(row)
            print(f"epoch {row['epoch']:.2f}, {row['seconds']:.1f} s: {_shown(row)}", flush=True)
            if row["together"] >= target:
                break
    times = {"startup_seconds": startup, "process_seconds": start - PROCESS_START}
    outcome = {"reached": readings[-1]["together"] >= target, "target": target, "seconds": readings[-1]["seconds"]}
    clips = {"training": len(splits.training), **{name: len(clips) for name, clips in sets.items()}}
    return outcome | times | {"readings": readings, "clips": clips} | conditions(trainer)


def steps(trainer: Trainer) -> Iterator[int]:
    """Take the steps of a run one by one; gives the number of those done."""
    state, order = trainer.state, trainer.order
    state.model.train()
    for epoch in range(trainer.config.train.epochs):
        for indices in order.share(order.epoch(epoch)):
            trainer.train_step(*trainer.training.batch(indices))
            yield state.step


def conditions(trainer: Trainer) -> dict[str, Any]:
    """What a time means nothing without."""
    config, device = trainer.config, trainer.process.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": git_revision(),
        "model": config.model.name,
        "parameters": sum(parameter.numel() for parameter in trainer.state.model.parameters()),
        "words": len(trainer.labels),
        "epochs": config.train.epochs,
        "batch_size": trainer.order.batch_size,
        "compiled": trainer.train_step.compiled,
        "cuda_graph": choose_cuda_graph(config.train, trainer.process),
        "seed": config.seed,
    }


def reading(trainer: Trainer, sets: dict[str, Any]) -> dict[str, float]:
    """Accuracies of the averaged weights as they are: of each set and of all their clips together.

    Raises:
        ValueError: if the loss was not finite at some step.
    """
    state, process = trainer.state, trainer.process
    bad = state.first_bad_step(process)
    if bad is not None:
        raise ValueError(f"the loss or its gradient is NaN or infinite at step {bad + 1}: lower train.lr")
    batch = max(trainer.order.batch_size, 512)
    accuracies = {
        name: validate(state.ema.model, clips, batch, process)[1] for name, clips in sets.items() if len(clips)
    }
    clips = sum(len(sets[name]) for name in accuracies)
    together = sum(accuracy * len(sets[name]) for name, accuracy in accuracies.items()) / clips
    return {"step": state.step, "epoch": state.step / trainer.order.steps, "together": together, **accuracies}


def verdict(result: dict[str, Any]) -> str:
    """What the run came to, in one line."""
    last = result["readings"][-1]
    if not result["reached"]:
        best = max(result["readings"], key=lambda row: row["together"])
        return (
            f"target {result['target']:.2%} not reached in {result['epochs']} epochs, {result['seconds']:.1f} s: "
            f"the best was {_shown(best)} after epoch {best['epoch']:.2f}"
        )
    return (
        f"{result['seconds']:.1f} s from cached clips to {result['target']:.2%}: {_shown(last)}; "
        f"epoch {last['epoch']:.2f}, {result['startup_seconds']:.1f} s of it until the first step was done; "
        f"{result['process_seconds']:.1f} s before the clock started"
    )


def _shown(row: dict[str, float]) -> str:
    parts = ", ".join(f"{name} {row[name]:.2%}" for name in ("validation", "testing") if name in row)
    return f"{row['together']:.2%} ({parts})"


if __name__ == "__main__":
    sys.exit(main())
