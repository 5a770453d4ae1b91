"""``wavedil evaluate``: accuracy of a checkpoint on a set of clips."""

import argparse
import sys
from typing import TYPE_CHECKING

from wavedil.cli.inputs import checked_checkpoint
from wavedil.cli.outputs import PICTURES, output_file, require_matplotlib
from wavedil.cli.parser import integer
from wavedil.data.sources import require_folder
from wavedil.files import in_home
from wavedil.training.config import load_config
from wavedil.training.run_paths import require_run_config

if TYPE_CHECKING:
    from wavedil.training.evaluation_data import EvaluationData
    from wavedil.training.metrics import Evaluation

CONFUSIONS_SHOWN = 5
MOST = 1_000_000_000  # of samples and of clips


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", help="folder with model.safetensors and config.json, or a run folder")
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="root of Speech Commands, or any folder of <word>/*.wav; default: the data that the run was trained on",
    )
    parser.add_argument(
        "--split",
        choices=["testing", "validation", "training", "all"],
        help="default: testing, or all for a plain folder of words",
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the confusion matrix")
    parser.add_argument(
        "--worst", type=integer(0, MOST), default=10, metavar="N", help="clips of the largest loss to list (10)"
    )
    parser.add_argument("--streaming", action="store_true", help="push every clip chunk by chunk, as in live use")
    parser.add_argument(
        "--chunk", type=integer(1, MOST), metavar="SAMPLES", help="size of those chunks; default: ragged sizes"
    )
    parser.add_argument("--batch-size", type=integer(1, 2**20), default=256, metavar="N", help="clips at a time (256)")
    parser.add_argument("--device", default="auto", help='"auto" (CUDA where there is one), "cpu" or "cuda"')
    parser.add_argument(
        "--on-corrupt",
        choices=["raise", "skip"],
        help="what a clip that cannot be read does: stop, or be named and left out; default: raise, or as the run did",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the figures."""
    _check(args)
    from wavedil.detect import pick_device
    from wavedil.training.checkpoint import load_model
    from wavedil.training.evaluation import evaluate
    from wavedil.training.evaluation_data import folder_data, overlap_notes, run_data
    from wavedil.training.report import save_confusion, write_json

    device = pick_device(args.device)
    model, meta = load_model(args.checkpoint, device)
    if args.data is None:
        data = run_data(args.checkpoint, meta, args.split, args.on_corrupt)
    else:
        data = folder_data(args.data, meta, args.split, args.on_corrupt or "raise")
        data.notes.extend(overlap_notes(data, args.checkpoint))
    for note in data.notes:
        print(f"note: {note}", file=sys.stderr)
    result = evaluate(model, data.clips, data.labels, device, args.batch_size, args.streaming, args.chunk)
    _print(result, data, args)
    if args.json:
        about = {"checkpoint": str(args.checkpoint), "data": data.source, "split": data.split, "notes": data.notes}
        write_json(args.json, about | {"streaming": args.streaming} | result.to_json(args.worst))
    if args.plot:
        save_confusion(result, args.plot)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done before torch is imported and minutes are spent."""
    if args.chunk is not None and not args.streaming:
        raise ValueError("--chunk goes with --streaming")
    args.json, args.plot = output_file("--json", args.json), output_file("--plot", args.plot, PICTURES)
    if args.plot:
        require_matplotlib()
        if args.json and args.json.resolve() == args.plot.resolve():
            raise ValueError(f"--plot {args.plot}: expected another file than that of --json")
    args.checkpoint = checked_checkpoint(args.checkpoint, args.device)
    if args.data is not None:
        args.data = in_home(args.data)
        require_folder(args.data)
    else:
        load_config(require_run_config(args.checkpoint))


def _print(result: "Evaluation", data: "EvaluationData", args: argparse.Namespace) -> None:
    width = max(map(len, result.labels))
    print(f"{'word':<{width}}  {'clips':>6}  precision  recall")
    for word, score in result.per_word.items():
        print(f"{word:<{width}}  {score.n:>6,}  {_percent(score.precision):>9}  {_percent(score.recall):>6}")
    confused = [f"{word} as {heard} ({n})" for word, heard, n in result.confused(CONFUSIONS_SHOWN)]
    if confused:
        print(f"\nmost often confused: {', '.join(confused)}")
    worst = result.worst(args.worst)
    if worst:
        print("\nclips of the largest loss:")
    for clip in worst:
        heard = "right" if clip.predicted == clip.word else f"heard as {clip.predicted}"
        print(f"  {clip.loss:6.2f}  {clip.name}  ({heard}, {clip.score:.2f})")
    if result.stream_difference is not None:
        chunks = f"chunks of {args.chunk} samples" if args.chunk else "ragged chunks"
        print(
            f"\nstreamed in {chunks}: logits within {result.stream_difference:.1e} of offline, "
            f"{_clips(result.stream_mismatches or 0)} predicted otherwise"
        )
    print(f"\naccuracy {result.describe()}, loss {result.loss:.4f}: {data.source}, {data.split}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _clips(count: int) -> str:
    return f"{count:,} clip" + "s" * (count != 1)
