"""Milliseconds of a training step on the CPU: threads, freed memory kept or not, precision, layout, compiling.

Usage: python scripts/bench/train_step.py [--config configs/NAME.toml] [--key value ...] [--threads 1 2] [--compile]

Each row is measured in a process of its own. A layout is tried where the model has convolutions over two dimensions.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from wavedil.config import Config
from wavedil.folders import cache_root
from wavedil.layers.interleave import run_interleaved
from wavedil.models import KeywordModel, build_model
from wavedil.training.config import load_config
from wavedil.training.memory import keep_freed_memory
from wavedil.training.network import find_kernels

CLASSES = 12
COLUMNS = (
    "features",
    "float32",
    "bfloat16",
    "float32, interleaved",
    "bfloat16, interleaved",
    "bfloat16, kernels",
    "bfloat16, channels last",
    "bfloat16, compiled",
    "seconds to compile",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a Markdown table of medians: features, then forward and backward in each form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="a TOML file; without it the defaults")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too; needs a C++ compiler")
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    args, overrides = parser.parse_known_args(arguments)
    config = load_config(args.config, overrides)
    if args.row:
        print(" | ".join(measure(config, args.row, args.kept, args.repeats, args.compile)))
        return
    print(f"| threads | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    given = [*([f"--config={args.config}"] if args.config else []), f"--repeats={args.repeats}", *overrides]
    for threads in args.threads:
        for kept in ((), ("--kept",)):
            compiled = ("--compile",) if args.compile and kept else ()
            command = [sys.executable, __file__, "--row", str(threads), *given, *kept, *compiled]
            row = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
            print(f"| {threads}{', kept' if kept else ''} | {row} |", flush=True)


def measure(config: Config, threads: int, kept: bool, repeats: int, compiled: bool) -> list[str]:
    """The cells of a row: milliseconds, and "-" for what was not tried."""
    if kept:
        keep_freed_memory()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build_model(config.model, CLASSES, config.data.sample_rate).train()
    inputs = torch.randn(config.train.batch_size, 1, config.data.clip_samples)
    if model.has_spectrogram:
        inputs, waveforms = model.features(inputs).detach(), inputs
        cells = [_shown(median_seconds(lambda: model.features(waveforms), repeats))]
    else:
        cells = ["-"]
    function = model.classify if model.has_spectrogram else model.clip_logits
    for way in (function, partial(function, run=run_interleaved)):
        cells += [_shown(median_seconds(partial(step, way, inputs, on), repeats)) for on in (False, True)]
    runner = find_kernels(model, config.train, torch.device("cpu"), cache_root() / "kernels")
    way = partial(function, run=runner)
    cells.append(_shown(median_seconds(partial(step, way, inputs, True), repeats)) if runner else "-")
    cells.append(_shown(channels_last(model, inputs, repeats)) if _is_2d(model) else "-")
    if not compiled:
        return [*cells, "-", "-"]
    started, faster = time.perf_counter(), torch.compile(function)
    step(faster, inputs, True)
    seconds = time.perf_counter() - started
    return [*cells, _shown(median_seconds(lambda: step(faster, inputs, True), repeats)), f"{seconds:.0f}"]


def step(function: Callable[[Tensor], Tensor], inputs: Tensor, bfloat16: bool) -> None:
    """Forward and backward of a batch."""
    with torch.autocast("cpu", torch.bfloat16) if bfloat16 else contextlib.nullcontext():
        logits = function(inputs)
    logits.float().sum().backward()


def channels_last(model: KeywordModel, inputs: Tensor, repeats: int) -> float:
    """Median seconds of a step in bfloat16 with the weights, and so all that follows, in NHWC order."""
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    function = model.classify if model.has_spectrogram else model.clip_logits
    seconds = median_seconds(lambda: step(function, inputs, True), repeats)
    model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    return seconds


def _is_2d(model: KeywordModel) -> bool:
    return any(parameter.ndim == 4 for parameter in model.parameters())


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median time of a call, after two that are not counted."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def _shown(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"


if __name__ == "__main__":
    main()
