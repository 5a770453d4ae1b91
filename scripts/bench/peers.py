"""Published keyword networks and ours of at most their size, on the same data, with the same recipe and budget.

Every network is trained with the config's augmentation, optimiser, schedule and moving average; those of spectrograms
get the same log-mel features and SpecAugment. The averaged weights of the last epoch are evaluated on validation and
testing together: no choice was made on either. Finished runs are kept in the file of --json, and not run again.

Usage: python scripts/bench/peers.py --config configs/mel.toml [--networks tcn res8] [--epochs 12 | --budget-minutes 10]
    [--seeds 3] [--json FILE] [--key value ...]
"""

import argparse
import bisect
import copy
import hashlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

import torch
from peers_networks import PEERS, Family, build_peer
from peers_results import Network, Result, ResultLog, network_table, pair_table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from wavedil.config import Config, ModelConfig
from wavedil.data.augment import Augment
from wavedil.data.clips import Splits, load_splits
from wavedil.data.labels import SILENCE
from wavedil.models import build_model
from wavedil.training.batches import BatchOrder
from wavedil.training.config import load_config, to_dict
from wavedil.training.distributed import Process, choose_device
from wavedil.training.memory import keep_freed_memory
from wavedil.training.progress import Progress
from wavedil.training.run_folder import FREE_KEYS
from wavedil.training.seeds import derive_seed
from wavedil.training.state import TrainingState
from wavedil.training.step import TrainingStep, validate

LARGEST = 256  # size of ours that is tried
TIMED_STEPS = 4  # that a budget is turned into epochs by


# Ours by one size: the shares between the widths are those of the default model and of configs/raw.toml.
FAMILIES: dict[Family, Callable[[ModelConfig, int], ModelConfig]] = {
    "mel": lambda base, size: replace(base, name="mel", channels=size, skip_channels=_share(size, 5, 4)),
    "raw": lambda base, size: replace(
        base,
        name="raw",
        channels=size,
        skip_channels=_share(size, 8, 5),
        stem_channels=[_share(size, 4, 5)] + [_share(size, 8, 5)] * (len(base.stem_strides) - 1),
    ),
    "broadcast": lambda base, size: replace(base, name="broadcast", channels=16, skip_channels=32, width=size / 8),
}


def _share(size: int, numerator: int, denominator: int) -> int:
    return max(1, size * numerator // denominator)


@dataclass(frozen=True)
class Contender:
    """A network of the comparison and how to make it, with weights from torch's generator."""

    network: Network
    build: Callable[[], nn.Module]


def peer_contender(name: str, config: Config, n_classes: int) -> Contender:
    """A published network by its name in :data:`PEERS`."""
    rate = config.data.sample_rate
    build = partial(build_peer, name, n_classes, rate, config.model.features)
    return Contender(describe(name, PEERS[name].causal, build(), rate), build)


def our_contender(family: Family, limit: int, config: Config, n_classes: int) -> Contender:
    """The largest model of a family that has at most ``limit`` parameters.

    Raises:
        ValueError: if even the smallest has more.
    """
    rate = config.data.sample_rate

    def model(size: int) -> nn.Module:
        return build_model(FAMILIES[family](config.model, size), n_classes, rate)

    size = bisect.bisect_right(range(1, LARGEST + 1), limit, key=lambda size: count_parameters(model(size)))
    if size < 1:
        raise ValueError(
            f"no '{family}' model has at most {limit} parameters: the least is {count_parameters(model(1))}"
        )
    build = partial(model, size)
    return Contender(describe(f"{family}-{size}", "yes", build(), rate), build)


def count_parameters(model: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def describe(name: str, causal: str, model: nn.Module, sample_rate: int) -> Network:
    """Parameters, and multiply-accumulates of one decision about one second, front end included but for the FFT."""
    model.eval()
    with FlopCounterMode(display=False) as counter:
        model.clip_logits(torch.zeros(1, 1, sample_rate))  # type: ignore[operator]
    return Network(name, count_parameters(model), counter.get_total_flops() // 2, causal)


class Run:
    """One network on one seed, from its first weights.

    Args:
        contender: the network.
        config: of the run, its seed included.
        splits: the clips.
        process: a single one, on its device.
    """

    def __init__(self, contender: Contender, config: Config, splits: Splits, process: Process) -> None:
        self.name, self.config, self.process = contender.network.name, config, process
        self.training = splits.training.to(process.device)
        self.held_out = [clips.to(process.device) for clips in (splits.validation, splits.testing) if len(clips)]
        self.order = BatchOrder(self.training, config.train.batch_size, config.seed, process)
        torch.manual_seed(derive_seed(config.seed, "weights"))
        self.model = contender.build().to(process.device)
        n_classes, silence = len(splits.labels), splits.labels.index(SILENCE)
        self.augment = Augment(config.augment, config.data.sample_rate, splits.noise, n_classes, silence)

    def begin(self) -> TrainingState:
        """A copy of the first weights, to be trained."""
        return TrainingState(copy.deepcopy(self.model).train(), self.config.train)

    def steps(self, state: TrainingState, epochs: int) -> Iterator[None]:
        """Train, stopping after each step for what the caller does between.

        Raises:
            ValueError: if the loss or its gradient is not finite.
        """
        config = replace(self.config, train=replace(self.config.train, epochs=epochs))
        step = TrainingStep(config, state, self.augment, self.order.steps, self.process)
        for epoch in range(epochs):
            for batch in self.order.share(self.order.epoch(epoch)):
                step(*self.training.batch(batch))
                yield
            bad = state.first_bad_step(self.process)
            if bad is not None:
                raise ValueError(f"{self.name}: the loss or its gradient is NaN or infinite at step {bad + 1}")

    def epochs_within(self, minutes: float) -> int:
        """How many epochs fit in a budget, at least one, judged by a few steps after the first."""
        steps = self.steps(self.begin(), self.config.train.epochs)
        next(steps)
        start = self.clock()
        count = sum(1 for _ in itertools.islice(steps, TIMED_STEPS))
        seconds = (self.clock() - start) / max(count, 1)
        return max(1, int(60 * minutes / max(seconds * self.order.steps, 1e-9)))

    def result(self, recipe: str, budget_minutes: float | None = None) -> Result:
        """Train, and evaluate the averaged weights on the clips not trained on."""
        train = self.config.train
        epochs = train.epochs if budget_minutes is None else self.epochs_within(budget_minutes)
        progress = Progress(epochs * self.order.steps * self.order.batch_size)
        state, start = self.begin(), self.clock()
        for _ in self.steps(state, epochs):
            progress.advance(self.order.batch_size)
        minutes = (self.clock() - start) / 60
        progress.close()
        shares = [validate(state.ema.model, clips, train.batch_size, self.process)[1] for clips in self.held_out]
        correct = sum(round(share * len(clips)) for share, clips in zip(shares, self.held_out, strict=True))
        clips = sum(map(len, self.held_out))
        return Result(
            recipe, self.name, count_parameters(self.model), self.config.seed, correct, clips, epochs, minutes
        )

    def clock(self) -> float:
        """Seconds: of all this process's threads on a CPU, of the wall when a GPU is done."""
        if self.process.device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


def recipe_of(config: Config, budget_minutes: float | None) -> str:
    """Digest of what the runs of a comparison share."""
    content = to_dict(config) | {"seed": None, "budget_minutes": budget_minutes}
    for key in FREE_KEYS:
        table, _, name = key.rpartition(".")
        (content[table] if table else content).pop(name)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def compare(config: Config, args: argparse.Namespace, process: Process) -> str:
    """Run what the log has not yet, a seed after the other; returns the tables."""
    splits = load_splits(config.data)
    pairs = []
    for name in args.networks:
        peer = peer_contender(name, config, len(splits.labels))
        pairs.append((peer, our_contender(args.ours, peer.network.parameters, config, len(splits.labels))))
    contenders = {contender.network.name: contender for pair in pairs for contender in pair}
    recipe = recipe_of(config, args.budget_minutes)
    log = ResultLog(args.json, recipe)
    for seed in range(config.seed, config.seed + args.seeds):
        for contender in contenders.values():
            if seed not in log.of(contender.network):
                log.add(Run(contender, replace(config, seed=seed), splits, process).result(recipe, args.budget_minutes))
                print(describe_result(log.results[-1]), file=sys.stderr, flush=True)
    held_out = len(splits.validation) + len(splits.testing)
    title = (
        f"{splits.training.epoch_length:,} clips an epoch, {held_out:,} evaluated; {process.device}, recipe {recipe}"
    )
    networks = network_table([contender.network for contender in contenders.values()], log)
    return "\n\n".join([title, networks, pair_table([(peer.network, ours.network) for peer, ours in pairs], log)])


def describe_result(result: Result) -> str:
    """A finished run as a line to print."""
    share = result.correct / result.clips
    return (
        f"{result.network}, seed {result.seed}: {share:.2%} after {result.epochs} epochs, {result.minutes:.2f} minutes"
    )


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, Config]:
    """The options of the script, and the config with the other options as its keys."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", help="a TOML file; without it the defaults")
    parser.add_argument("--networks", nargs="+", choices=list(PEERS), default=list(PEERS), help="the peers")
    parser.add_argument(
        "--ours", choices=get_args(Family), default="broadcast", help="of ours, against every peer (%(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=1, help="how many, from the config's seed up")
    parser.add_argument("--json", type=Path, help="where finished runs are kept, a JSON line each")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=int, help="instead of the config's")
    budget.add_argument(
        "--budget-minutes", type=float, help="of the CPU a run (of the clock on a GPU), instead of epochs"
    )
    args, overrides = parser.parse_known_args(arguments)
    if args.seeds < 1 or (args.budget_minutes is not None and args.budget_minutes <= 0):
        parser.error("expected --seeds of at least 1 and --budget-minutes of more than 0")
    if args.epochs is not None:
        overrides += ["--train.epochs", str(args.epochs)]
    return args, load_config(args.config, overrides)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing and print the tables."""
    try:
        args, config = parse(sys.argv[1:] if arguments is None else arguments)
        keep_freed_memory()
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        process = Process(device=choose_device(config.train.device))
        if process.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # as in the training loop
        print(compare(config, args, process))
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"peers: error: {error}")


if __name__ == "__main__":
    main()
