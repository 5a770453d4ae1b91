"""What became of each run of the comparison: kept a JSON line a run, shown as Markdown tables."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from wavedil.training.atomic import write_file
from wavedil.training.metrics import wilson_interval


@dataclass(frozen=True)
class Network:
    """What a network is, whatever its weights.

    Attributes:
        name: of a peer, or one of ours with its size.
        parameters: number of them.
        macs: multiply-accumulates for one second of audio; a Fourier transform is not counted.
        causal: "yes", "no" or "unpadded".
    """

    name: str
    parameters: int
    macs: int
    causal: str


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        recipe: digest of all that the runs of a comparison share.
        network: its name.
        parameters: their number.
        seed: of everything random.
        correct: clips of validation and testing that were recognised.
        clips: how many there are.
        epochs: trained.
        minutes: spent on it: of all CPU threads, or of the clock on another device.
    """

    recipe: str
    network: str
    parameters: int
    seed: int
    correct: int
    clips: int
    epochs: int
    minutes: float


class ResultLog:
    """The finished runs of one recipe, kept in a file that may hold those of others too.

    Args:
        path: of the file, which is written whole after each run; None keeps nothing.
        recipe: digest of the comparison's recipe.

    Raises:
        ValueError: if a line of the file is no result.
    """

    def __init__(self, path: Path | None, recipe: str) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.results = [result for result in _read(path) if result.recipe == recipe]

    def add(self, result: Result) -> None:
        """Keep a run, behind what the file holds by now."""
        self.results.append(result)
        if self.path is not None:
            former = self.path.read_bytes() if self.path.exists() else b""
            write_file(self.path, former + (json.dumps(asdict(result)) + "\n").encode())

    def of(self, network: Network) -> dict[int, Result]:
        """The runs of a network by seed."""
        found = [run for run in self.results if (run.network, run.parameters) == (network.name, network.parameters)]
        return {run.seed: run for run in found}


def _read(path: Path | None) -> Iterable[Result]:
    if path is None or not path.exists():
        return
    names = {field.name for field in fields(Result)}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            content = json.loads(line)
            if content.keys() != names:
                raise ValueError(f"expected the keys {', '.join(sorted(names))}")
        except (AttributeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: not a result of this script: {error}") from None
        yield Result(**content)


def network_table(networks: Sequence[Network], log: ResultLog) -> str:
    """A row for each network that has run, with the 95% interval of its mean accuracy."""
    lines = [
        "| network | parameters | MACs/s | causal | epochs | accuracy, % | 95% interval, % | minutes a run |",
        "|---|---:|---:|---|---:|---:|---|---:|",
    ]
    for network in networks:
        runs = list(log.of(network).values())
        if runs:
            clips = runs[0].clips
            mean = statistics.mean(run.correct for run in runs)
            low, high = wilson_interval(round(mean), clips)
            shares = [100 * run.correct / run.clips for run in runs]
            epochs = "-".join(map(str, sorted({min(run.epochs for run in runs), max(run.epochs for run in runs)})))
            minutes = statistics.mean(run.minutes for run in runs)
            lines.append(
                f"| {network.name} | {network.parameters:,} | {network.macs / 1e6:.2f}M | {network.causal} | {epochs} "
                f"| {_spread(shares)} | {100 * low:.2f} to {100 * high:.2f} | {minutes:.1f} |"
            )
    return "\n".join(lines)


def pair_table(pairs: Sequence[tuple[Network, Network]], log: ResultLog) -> str:
    """A row for each peer and ours that both have run, with the mean difference over the seeds that both have."""
    lines = ["| peer | ours | ours - peer, points | seeds ahead |", "|---|---|---:|---:|"]
    for peer, ours in pairs:
        theirs, own = log.of(peer), log.of(ours)
        seeds = sorted(theirs.keys() & own.keys())
        if seeds:
            gains = [100 * (own[seed].correct - theirs[seed].correct) / own[seed].clips for seed in seeds]
            names = " | ".join(f"{network.name} ({network.parameters:,})" for network in (peer, ours))
            ahead = sum(gain > 0 for gain in gains)
            lines.append(f"| {names} | {_spread(gains, '+')} | {ahead} of {len(seeds)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float], sign: str = "") -> str:
    """Mean, and the standard deviation of the sample if there are several."""
    mean = f"{statistics.mean(values):{sign}.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f} ({len(values)})" if len(values) > 1 else mean
