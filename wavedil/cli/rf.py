"""``wavedil rf``: receptive fields of a description, a config, a module, a checkpoint or an ONNX file; and backwards.

Descriptions and configs are answered without importing torch.
"""

import argparse
import json
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from wavedil.checks import bounded_integer, bounded_number, shown
from wavedil.cli.outputs import output_file
from wavedil.cli.rf_target import check_target, is_config
from wavedil.files import in_home
from wavedil.receptive.answer import HIGHEST_RATE

if TYPE_CHECKING:
    from wavedil.receptive.answer import Answer
    from wavedil.receptive.description import Layer

Kind = Literal["description", "config", "design", "module"]

_EPILOG = """\
examples:
  wavedil rf --kernel 3 --dilations 1,2,4,...,512 --cycles 3 --sample-rate 16000
  wavedil rf --kernel 2 --dilations 1,2,4,8 --tree
  wavedil rf --layer conv:kernel=8,stride=4 --cycles 5
  wavedil rf --kernel 3x3 --dilations 1,2,4 --bins 40 --framing 480:160 --sample-rate 16000 --field --plot field.png
  wavedil rf configs/mel.toml --json
  wavedil rf design --ms 400 --sample-rate 16000 --kernel 3 --channels 64 --dense
  wavedil rf 'torch.nn:Conv1d(1, 8, 3, dilation=4)' --input 1,1,16000 --verify
"""
_STACK = ("kernel", "dilations", "strides", "lookahead", "block", "bins")
_LAYERS = ("layer", "cycles", "padding", "channels", "groups", "no_bias", "framing")
_DESIGN = ("ms", "samples", "max_params", "max_state", "max_macs", "dense", "pick")
_MODULE = ("input", "time_axis", "frequency_axis", "allow_unknown", "train_mode", "verify", "effective")
_SHOWN = ("output", "layers", "taps", "field", "plot", "audio")
# The options that each kind of target takes; the rest are refused by name.
_TAKES: dict[Kind, tuple[str, ...]] = {
    "description": (*_STACK, *_LAYERS, *_SHOWN, "tree", "verify", "sample_rate", "bytes"),
    "config": (*_SHOWN, "tree", "verify", "effective", "sample_rate", "bytes"),
    "design": (*_DESIGN, "kernel", "channels", "sample_rate", "bytes"),
    "module": (*_MODULE, *_SHOWN, "sample_rate", "bytes"),
}
_RANGES = {"cycles": (1, 10_000), "channels": (1, 10**6), "groups": (1, 10**6), "bins": (1, 10**6)}
_RANGES |= {"samples": (1, 2**24), "output": (0, 10**12), "pick": (1, 10_000), "time_axis": (-16, 16)}
_RANGES |= {"max_params": (1, 10**18), "max_state": (1, 10**18), "max_macs": (1, 10**18), "frequency_axis": (-16, 16)}
_MOST_INPUT = 2**25  # values
_PICTURES = ("tree", "taps", "field")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "wavedil rf [TARGET] [options]"
    parser.epilog = _EPILOG
    parser.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help="a config (.toml), package.module:Class(arguments), a checkpoint folder, an ONNX file, or the word "
        "design; without it, the options describe a stack",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--sample-rate", type=float, metavar="HZ", help="of the input, for ms and costs a second")
    parser.add_argument("--bytes", type=int, choices=[4, 2, 1], help="of a value of the streaming state (4)")
    parser.add_argument("--output", type=int, metavar="N", help="name the first and last input of output N (0)")
    parser.add_argument("--layers", action="store_true", help="show the whole table of growth, however long")
    _add_description(parser.add_argument_group("a stack by its numbers"))
    _add_design(parser.add_argument_group("design: stacks for a wanted receptive field"))
    _add_module(parser.add_argument_group("modules, checkpoints and ONNX files"))
    pictures = parser.add_argument_group("pictures, in the terminal or to a file")
    pictures.add_argument("--tree", action="store_true", help="the dilation tree of one output")
    pictures.add_argument("--taps", action="store_true", help="the inputs that are read; of layers, by how many paths")
    pictures.add_argument("--field", action="store_true", help="the field over a mel spectrogram")
    pictures.add_argument("--audio", metavar="FILE", help="sound of that spectrogram (default: a rising tone)")
    pictures.add_argument("--plot", metavar="FILE", help="draw the one picture asked for as .png or .svg")


def _add_description(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--kernel", metavar="K", help="taps: 3, or one for each layer 3,3,5, or frequency x time 3x3")
    group.add_argument(
        "--dilations", metavar="D,D,...", help="inputs between taps; 1,2,4,...,512 and 1,3,5,...,11 continue (1)"
    )
    group.add_argument("--strides", metavar="S", help="inputs between outputs, as --kernel (1)")
    group.add_argument("--lookahead", metavar="N", help="inputs that causal layers read beyond their present (0)")
    group.add_argument("--padding", choices=["causal", "centred", "valid"], help="along time (causal)")
    group.add_argument("--cycles", type=int, metavar="N", help="how often the layers are repeated (1)")
    group.add_argument(
        "--channels", type=int, metavar="N", help="of all layers (1; design: 64); with --layer, of the input"
    )
    group.add_argument("--groups", type=int, metavar="N", help="of the convolutions (1)")
    group.add_argument("--no-bias", action="store_true", help="convolutions without bias")
    group.add_argument("--block", choices=["conv", "gated"], help="plain convolutions or gated residual blocks (conv)")
    group.add_argument("--bins", type=int, metavar="N", help="frequency bins of the input")
    group.add_argument("--framing", metavar="WIN:HOP", help="a Fourier or mel front end as layer 0, in samples")
    group.add_argument(
        "--layer",
        action="append",
        metavar="KIND:KEY=N,...",
        help="in the place of --kernel, once for each layer: conv, transposed, gated or pool with the keys kernel, "
        "stride, dilation, padding (a number, causal, centred or valid), channels, groups and the word residual",
    )


def _add_design(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--ms", metavar="MS", help="the receptive field wanted, with --sample-rate")
    group.add_argument("--samples", type=int, metavar="N", help="the same in samples")
    group.add_argument("--max-params", type=int, metavar="N", help="most parameters")
    group.add_argument("--max-state", type=int, metavar="BYTES", help="largest streaming state")
    group.add_argument("--max-macs", type=int, metavar="N", help="most multiply-accumulates a second")
    group.add_argument("--dense", action="store_true", help="only stacks without holes")
    group.add_argument("--pick", type=int, metavar="ROW", help="row whose code is printed (shallowest without holes)")


def _add_module(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--input", metavar="1,1,16000", help="shape of an example input")
    group.add_argument("--time-axis", type=int, metavar="N", help="axis of the input that is time (-1)")
    group.add_argument("--frequency-axis", type=int, metavar="N", help="axis of the input that is frequency")
    group.add_argument("--allow-unknown", action="store_true", help="report unknown operators instead of stopping")
    group.add_argument("--train-mode", action="store_true", help="trace the module as it is in training")
    group.add_argument("--verify", action="store_true", help="measure the field on the module as well")
    group.add_argument("--effective", action="store_true", help="measure how the gradient is spread over the field")


def run(args: argparse.Namespace) -> int:
    """Answer and print."""
    for name in ("target", "audio"):
        path = getattr(args, name)
        if path is not None and path.startswith("~"):
            setattr(args, name, str(in_home(path)))
    kind = kind_of(args.target)
    if kind == "module":
        check_target(args.target)
    _check(args, kind)
    args.plot = output_file("--plot", args.plot, (".png", ".svg"))
    if kind == "design":
        from wavedil.cli.rf_design import run_design

        return run_design(args)
    answer, layers = _answered(args, kind)
    if args.json:
        answered = json.dumps(_content(args, kind, answer, layers), indent=2)
    else:
        answered = "\n\n".join(_paragraphs(args, answer, layers))
    if args.plot:
        from wavedil.cli.rf_pictures import save_picture

        save_picture(args, answer, layers)
    print(answered)
    return 0


def kind_of(target: str | None) -> Kind:
    """What the target is."""
    if target is None:
        return "description"
    if target == "design":
        return "design"
    return "config" if is_config(target) else "module"


def _answered(args: argparse.Namespace, kind: Kind) -> "tuple[Answer, Sequence[Layer] | None]":
    """The answer, and the layers where the target is described by such."""
    from wavedil.receptive.chain import answer_for

    if kind == "module":
        from wavedil.cli.rf_module import answer_of

        return answer_of(args), None
    notes = []
    if kind == "config":
        from wavedil.receptive.keyword import config_layers
        from wavedil.training.config import load_config

        config = load_config(args.target)
        layers, rate = config_layers(config), config.data.sample_rate
        if args.sample_rate not in (None, rate):
            raise ValueError(f"--sample-rate: {args.target} has {rate}, got {args.sample_rate}")
        if config.model.name != "raw":
            notes.append("the Fourier transform of the front end is not among the multiply-accumulates")
    else:
        from wavedil.cli.rf_description import described_layers

        layers, rate = described_layers(args), args.sample_rate
    answer = answer_for(layers, sample_rate=rate, value_bytes=args.bytes or 4, notes=notes)
    if args.verify or args.effective:
        from wavedil.cli.rf_module import examined_description

        answer = examined_description(args, answer, layers)
    return answer, layers


def _paragraphs(args: argparse.Namespace, answer: "Answer", layers: "Sequence[Layer] | None") -> Iterator[str]:
    """The answer as text, the advice and the pictures."""
    from wavedil.receptive.text import terminal_width, text

    width = terminal_width()
    pictures = [name for name in _PICTURES if getattr(args, name)]
    rows = "all" if args.layers else "none" if pictures else "some"
    yield text(answer, layers=rows, output=args.output or 0, width=width)
    criterion = _criterion(layers)
    if criterion is not None:
        yield textwrap.fill(f"advice: {criterion['advice']}", width, subsequent_indent="  ")
    if pictures and not args.plot:
        from wavedil.cli.rf_pictures import picture_text

        for name in pictures:
            yield picture_text(name, args, answer, layers, width)


def _content(
    args: argparse.Namespace, kind: Kind, answer: "Answer", layers: "Sequence[Layer] | None"
) -> dict[str, Any]:
    content = answer.to_json()
    content["source"] = {"kind": kind, "target": args.target}
    criterion = _criterion(layers)
    if criterion is not None:
        content["criterion"] = criterion
    if args.output is not None:
        ends = [int(end) if math.isfinite(end) else None for end in answer.axes.time.field.at(args.output)]
        content["output"] = {"number": args.output, "start": ends[0], "end": ends[1]}
    return content


def _criterion(layers: "Sequence[Layer] | None") -> dict[str, Any] | None:
    """The hybrid criterion along time, where it is defined: convolutions of one kernel size and stride 1."""
    if layers is None or len(layers) < 2 or any(layer.kind == "framing" for layer in layers):
        return None
    times = [layer.time for layer in layers]
    kernel_size = times[0].kernel_size
    if any(time.stride > 1 or time.transposed or time.kernel_size != kernel_size for time in times):
        return None
    # A residual branch that is no tap of its kernel fills holes that the criterion knows nothing of.
    if any(time.residual and not time.reads_own for time in times):
        return None
    from dataclasses import asdict

    from wavedil.receptive.gridding import hybrid_criterion

    criterion = hybrid_criterion(kernel_size, [time.dilation for time in times])
    return asdict(criterion) | {"advice": criterion.advice}


def _check(args: argparse.Namespace, kind: Kind) -> None:
    """Refuse options that mean nothing for the target, or not together, and numbers out of range."""
    given = {name for name, value in vars(args).items() if value is not None and value is not False}
    for name in sorted(given - {"target", "json", "command", *_TAKES[kind]}):
        homes = [_in_words(other) for other, names in _TAKES.items() if name in names]
        raise ValueError(f"{option(name)} goes with {' or '.join(homes)}, not with {_in_words(kind)}")
    for name in _STACK:
        if args.layer and name in given:
            raise ValueError(f"{option(name)} does not go with --layer")
    for name, (least, most) in _RANGES.items():
        if getattr(args, name) is not None:
            bounded_integer(option(name), getattr(args, name), least, most)
    if args.input is not None:
        args.input = _shape(args.input)
    if args.sample_rate is not None:
        bounded_number("--sample-rate", args.sample_rate, 0, HIGHEST_RATE, above=True)
        args.sample_rate = int(args.sample_rate) if args.sample_rate.is_integer() else args.sample_rate
    pictures = [option(name) for name in _PICTURES if getattr(args, name)]
    if args.plot and len(pictures) != 1:
        raise ValueError(f"--plot: expected one of --tree, --taps and --field, got {' and '.join(pictures) or 'none'}")
    if args.json and pictures and not args.plot:
        raise ValueError(f"{pictures[0]} goes with --json only as a file: give --plot")
    if args.audio and not args.field:
        raise ValueError("--audio goes with --field")


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d{0,9}(,[1-9]\d{0,9}){0,7}", text):
        raise ValueError(f"--input: expected a shape such as 1,1,16000, sizes of at most 10 digits, got {shown(text)}")
    shape = tuple(map(int, text.split(",")))
    if math.prod(shape) > _MOST_INPUT:
        raise ValueError(f"--input: expected at most {_MOST_INPUT:,} values, got {math.prod(shape):,}")
    return shape


def _in_words(kind: Kind) -> str:
    return {"description": "a description", "config": "a config", "design": "design", "module": "a module"}[kind]


def option(name: str) -> str:
    """The option of an attribute."""
    return f"--{name.replace('_', '-')}"
