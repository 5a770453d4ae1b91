"""``wavedil corpus``: make a synthetic corpus of spoken words, at any size."""

import argparse
import json
import shlex

from wavedil.cli.parser import integer
from wavedil.files import in_home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("dest", metavar="DEST", help="folder to make; it must be empty or not exist")
    parser.add_argument("--speakers", type=integer(3, 10_000), default=120, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--takes", type=integer(1, 1000), default=2, metavar="N", help="of each word by each speaker (%(default)s)"
    )
    parser.add_argument("--seed", type=integer(0, 2**63 - 1), default=0, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--words", nargs="+", metavar="WORD", help="behind DEST; default: the 35 words of Speech Commands"
    )


def run(args: argparse.Namespace) -> int:
    """Make the corpus and say what is in it."""
    from wavedil.data.labels import WORDS_35
    from wavedil.data.synthetic import make_corpus

    words = args.words or WORDS_35
    made = make_corpus(in_home(args.dest), args.speakers, args.takes, args.seed, words, progress=True)
    total = sum(made.clips.values())
    splits = ", ".join(f"{count:,} {split}" for split, count in made.clips.items())
    print(f"{total:,} clips of {len(made.words)} words by {made.speakers:,} speakers: {splits}")
    print(f"{made.size / 1e6:,.0f} MB in {made.seconds:.1f} s: {made.root}")
    chosen = f" --data.words {shlex.quote(json.dumps(made.words))}" if args.words else ""
    print(f"next: wavedil train --data.root {shlex.quote(str(made.root))}{chosen}")
    return 0
