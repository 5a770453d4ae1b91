"""``wavedil predict``: the top words of audio files."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavedil.cli.inputs import checked_checkpoint
from wavedil.cli.parser import integer
from wavedil.data.listing import list_recordings
from wavedil.files import in_home, to_json

if TYPE_CHECKING:
    from wavedil.audio import Waveform
    from wavedil.detect import Prediction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "A file longer than the model's clip is streamed through the model and judged at the moment at which a word "
        "scores best; that moment is shown. A file that cannot be read is named, the others are still done, and the "
        "exit status is 1."
    )
    parser.add_argument("checkpoint", help="folder with model.safetensors and config.json, or a run folder")
    parser.add_argument("audio", nargs="+", help="audio files, or folders of them; any rate and channel count")
    parser.add_argument(
        "--top", type=integer(1, 10_000), default=3, metavar="N", help="words to show for each file (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--device", default="auto", help='"auto" (CUDA where there is one), "cpu" or "cuda"')


def run(args: argparse.Namespace) -> int:
    """Predict every file; 0 if all could be read, else 1."""
    checkpoint = checked_checkpoint(args.checkpoint, args.device)
    paths, notes = _files([in_home(given) for given in args.audio])
    if not any(path.exists() for path in paths):
        raise FileNotFoundError(f"{paths[0]}: there is no such file{_more(len(paths) - 1)}")
    from wavedil.detect import load

    spotter = load(checkpoint, args.device)
    width = max((len(str(path)) for path in paths), default=0)
    entries: list[dict[str, Any]] = []
    heard: list[_Heard] = []
    for path in paths:
        try:
            if path.is_dir():
                raise ValueError(f"{path}: no audio files in this folder")
            prediction = spotter.locate(path)
        except Exception as error:  # whatever it is, the other files are still judged
            if os.environ.get("WAVEDIL_TRACEBACK") and not isinstance(error, OSError | ValueError):
                raise
            print(f"wavedil: error: {_named(error, path)}", file=sys.stderr)
            entries.append({"file": str(path), "error": _named(error, path)})
            continue
        heard.append(_Heard(prediction.waveform))
        entries.append(_entry(path, prediction, args.top))
        if not args.json:
            print(_line(entries[-1], width, prediction.longer_than_a_clip), flush=True)
    if args.json:
        print(to_json(entries))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    _note(heard, spotter.sample_rate)
    return 1 if any("error" in entry for entry in entries) else 0


def _files(given: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The files themselves, or those below the folders, in order, and what is passed over there.

    A folder without recordings stands for itself and fails.
    """
    paths, notes = [], []
    for path in given:
        try:
            listing = list_recordings(path, deep=True)
        except (OSError, ValueError):  # a file, or what the file itself raises again when it is read
            paths.append(path)
            continue
        paths += listing.files or [path]
        notes += listing.notes()
    return paths, notes


def _more(files: int) -> str:
    return f", nor {_count(files)} named after it" if files else ""


def _entry(path: Path, prediction: "Prediction", top: int) -> dict[str, Any]:
    words = [{"word": word, "score": round(score, 6)} for word, score in prediction.words[:top]]
    return {"file": str(path), "words": words, "start": round(prediction.start, 4), "end": round(prediction.end, 4)}


def _line(entry: dict[str, Any], width: int, show_moment: bool) -> str:
    words = "  ".join(f"{word['word']:>10} {word['score']:.3f}" for word in entry["words"])
    moment = f"   {entry['start']:.2f} to {entry['end']:.2f} s" if show_moment else ""
    return f"{entry['file']:<{width}}  {words}{moment}"


def _named(error: Exception, path: Path) -> str:
    """What is wrong, beginning with the file."""
    text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
    return text if text.startswith(str(path)) else f"{path}: {text}"


class _Heard:
    """How a file became one channel at the model's rate."""

    def __init__(self, waveform: "Waveform") -> None:
        self.rate = waveform.original_rate
        self.cancels = waveform.channel is not None
        self.mixed = waveform.original_channels > 1 and not self.cancels


def _note(heard: list[_Heard], sample_rate: int) -> None:
    """One line on stderr about each conversion that was made."""
    rates = Counter(file.rate for file in heard)
    mixed, cancelling = sum(file.mixed for file in heard), sum(file.cancels for file in heard)
    others = [f"{_count(count)} of {rate} Hz" for rate, count in sorted(rates.items()) if rate != sample_rate]
    if others:
        print(f"note: resampled to {sample_rate} Hz: {', '.join(others)}", file=sys.stderr)
    if mixed:
        print(f"note: {_count(mixed)} had several channels; their mean was taken", file=sys.stderr)
    if cancelling:
        what = "channels that cancel, as with one inverted; the loudest was taken"
        print(f"note: {_count(cancelling)} had {what}", file=sys.stderr)


def _count(files: int) -> str:
    return f"{files} file" + "s" * (files != 1)
