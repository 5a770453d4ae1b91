"""Milliseconds of a training step on the CPU: features and network, float32 and bfloat16, freed memory kept or not.

Usage: python scripts/bench/train_step.py [--threads 1 2] [--repeats 9]
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from wavedil.config import ModelConfig
from wavedil.models import build_model
from wavedil.training.memory import keep_freed_memory

BATCH, SAMPLES, CLASSES = 128, 16_000, 12


def main() -> None:
    """Print a Markdown table, each row measured in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print(" | ".join(f"{1e3 * seconds:.1f}" for seconds in measure(args.row, args.kept, args.repeats)))
        return
    print("| threads | features | forward and backward, float32 | the same, bfloat16 |\n|---|---|---|---|")
    for threads in args.threads:
        for kept in ((), ("--kept",)):
            command = [sys.executable, __file__, "--row", str(threads), "--repeats", str(args.repeats), *kept]
            row = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(f"| {threads}{', kept' if kept else ''} | {row} |")


def measure(threads: int, kept: bool, repeats: int) -> list[float]:
    """Median seconds of the features, of the network's step in float32 and of that in bfloat16."""
    if kept:
        keep_freed_memory()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build_model(ModelConfig(), CLASSES)
    waveforms = torch.randn(BATCH, 1, SAMPLES)
    features = model.features(waveforms).detach()

    def step(enabled: bool) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = model.classify(features)
        logits.float().sum().backward()

    parts = (lambda: model.features(waveforms), lambda: step(False), lambda: step(True))
    return [median_seconds(part, repeats) for part in parts]


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median time of a call, after two that are not counted."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


if __name__ == "__main__":
    main()
