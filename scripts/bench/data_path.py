"""Augmented clips a second that the data path delivers, beside what the training step consumes.

Usage: python scripts/bench/data_path.py --config configs/NAME.toml [--key value ...] [--threads N]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from wavedil.config import Config
from wavedil.data.augment import Augment
from wavedil.data.clips import Splits, load_splits
from wavedil.training.config import load_config
from wavedil.training.memory import keep_freed_memory


def main() -> None:
    """Measure on the training split of a config, and print one line for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="a TOML file; without it the defaults")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 leaves torch's choice")
    parser.add_argument("--repeats", type=int, default=7, help="of each measurement, of which the median is printed")
    parser.add_argument("--device", default="cpu")
    args, overrides = parser.parse_known_args()
    keep_freed_memory()  # as training does
    if args.threads:
        torch.set_num_threads(args.threads)
    config = load_config(args.config, overrides)
    splits = load_splits(config.data, ("training",))
    batch, device = config.train.batch_size, torch.device(args.device)
    where = f"{device}, {torch.get_num_threads()} threads"
    print(f"{splits.training.epoch_length:,} examples an epoch, batches of {batch}, {where}")
    next_batch = data_path(config, splits, device)
    delivered = report("gather + augment", batch, args.repeats, next_batch, calls=20)
    step = training_step(config, splits, device, *next_batch())
    consumed = report("training step", batch, args.repeats, step, calls=3)
    print(f"the data path delivers {delivered / consumed:.1f} times what the step consumes")


def data_path(config: Config, splits: Splits, device: torch.device) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
    """A function that gives the next augmented batch, one epoch after another."""
    clips = splits.training.to(device)
    augment = Augment(
        config.augment, config.data.sample_rate, splits.noise, len(splits.labels), splits.training.silence_index
    )
    generator = torch.Generator().manual_seed(config.seed)
    batches: list[torch.Tensor] = []

    def next_batch() -> tuple[torch.Tensor, torch.Tensor]:
        if not batches:
            batches.extend(clips.epoch_order(generator).split(config.train.batch_size)[:-1])
        return augment(*clips.batch(batches.pop()), generator)

    return next_batch


def training_step(
    config: Config, splits: Splits, device: torch.device, waveforms: torch.Tensor, targets: torch.Tensor
) -> Callable[[], object]:
    """A function that takes one optimiser step on a batch that is there already."""
    from wavedil.models import build_model

    model = build_model(config.model, len(splits.labels), config.data.sample_rate).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), config.train.lr)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model.clip_logits(waveforms), targets).backward()
        optimizer.step()

    return step


def report(name: str, batch: int, repeats: int, function: Callable[[], object], calls: int) -> float:
    """Print and return the median rate, in clips a second, of a function that handles a batch."""
    function()
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        rates.append(batch * calls / (time.perf_counter() - start))
    median, low, high = statistics.median(rates), min(rates), max(rates)
    print(f"{name:>17}: {median:>9,.0f} clips/s (median of {repeats}; {low:,.0f} to {high:,.0f})")
    return median


if __name__ == "__main__":
    main()
