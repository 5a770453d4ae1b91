"""``wavedil models``: the sizes of the keyword models, or those of runs, with what they cost and what they score."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from wavedil.cli.parser import integer
from wavedil.config import SIZES, Config, DataConfig, ModelConfig, sized_model
from wavedil.files import in_home, to_json
from wavedil.training.ranges import MOST_WORDS


@dataclass(frozen=True)
class Costs:
    """A model's line.

    Attributes:
        name: of the model and its size, or of the run.
        width: factor of its channels.
        parameters: learned values.
        macs_per_second: multiply-accumulates for a second of audio, the Fourier transform left out.
        receptive_field_ms: along time.
        state_bytes: what a stream keeps, in float32.
        latency_ms: from a sample to the logits that it is the first to complete: a hop.
        accuracy: on validation and testing together, the mean over the seeds; None where nothing was trained.
        accuracy_interval: 95% confidence interval of the accuracy of one run; likewise.
    """

    name: str
    width: float
    parameters: int
    macs_per_second: float
    receptive_field_ms: float
    state_bytes: int
    latency_ms: float
    accuracy: float | None = None
    accuracy_interval: tuple[float, float] | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the runs and options."""
    parser.add_argument("runs", nargs="*", type=in_home, help="run folders; without any, the named sizes of each model")
    parser.add_argument(
        "--classes", type=integer(1, MOST_WORDS), default=35, metavar="N", help="of the named sizes (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    """Print a Markdown table."""
    rows = [costs_of_run(path) for path in args.runs] or list(named_sizes(args.classes))
    print(to_json([asdict(row) for row in rows]) if args.json else table(rows))
    return 0


def named_sizes(n_classes: int) -> Iterator[Costs]:
    """Every named size of every model, at 16 kHz."""
    for name, sizes in SIZES.items():
        for size in sizes:
            yield costs(f"{name} {size}", sized_model(name, size), n_classes, DataConfig().sample_rate)


def costs(name: str, model: ModelConfig, n_classes: int, sample_rate: int) -> Costs:
    """What a model costs, from its description."""
    from wavedil.receptive.chain import answer_for
    from wavedil.receptive.keyword import keyword_layers

    answer = answer_for(keyword_layers(model, n_classes, sample_rate), sample_rate=sample_rate)
    hop = answer.hop + (answer.lookahead or 0)
    return Costs(
        name=name,
        width=model.width,
        parameters=answer.parameters,
        macs_per_second=answer.macs_per_second or 0.0,
        receptive_field_ms=(answer.receptive_field or 0) * 1000 / sample_rate,
        state_bytes=answer.state_bytes or 0,
        latency_ms=float(hop) * 1000 / sample_rate,
    )


def costs_of_run(path: Path) -> Costs:
    """The model that a run trained, with the accuracy that it reports.

    Raises:
        FileNotFoundError: if there is no run.
        ValueError: if a file of it is damaged.
    """
    from wavedil.receptive.keyword import class_count
    from wavedil.training.config import load_config
    from wavedil.training.figures import run_accuracy

    found = next(
        (file for file in (path / "config.toml", *sorted(path.glob("seed*/config.toml"))) if file.exists()), None
    )
    if found is None:
        expected = "expected a run folder (config.toml, or several seeds in seed0, seed1, ...)"
        reason = "there is none in it" if path.is_dir() else "this is a file" if path.exists() else "no such folder"
        raise FileNotFoundError(f"{path}: {expected}; {reason}")
    config: Config = load_config(found)
    row = costs(path.name, config.model, class_count(config.data), config.data.sample_rate)
    found = run_accuracy(path)
    return replace(row, accuracy=found.mean, accuracy_interval=found.interval) if found else row


def table(rows: Sequence[Costs]) -> str:
    """The rows in Markdown; a column that is empty in all of them is left out."""
    shown = [field.name for field in fields(Costs) if any(getattr(row, field.name) is not None for row in rows)]
    lines = [[_HEADINGS[name] for name in shown], ["---"] * len(shown)]
    lines += [[_cell(name, getattr(row, name)) for name in shown] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


_HEADINGS = {
    "name": "model",
    "width": "width",
    "parameters": "parameters",
    "macs_per_second": "MACs per second",
    "receptive_field_ms": "receptive field (ms)",
    "state_bytes": "state (bytes)",
    "latency_ms": "latency (ms)",
    "accuracy": "accuracy",
    "accuracy_interval": "95% interval of a run",
}


def _cell(name: str, value: str | float | tuple[float, float] | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, tuple):
        return "{:.2%} to {:.2%}".format(*value)
    if name == "accuracy":
        return f"{value:.2%}"
    if name == "macs_per_second":
        return f"{value / 1e6:,.1f} M"
    return f"{value:g}" if name in ("width", "latency_ms") else f"{value:,.0f}"
