"""``wavedil train``: train a keyword model from a config."""

import argparse
import sys

from wavedil.cli.parser import integer
from wavedil.files import in_home
from wavedil.training.before import MOST_SEEDS, check_run, check_seeds
from wavedil.training.config import config_keys, config_meanings, describe_type, load_config
from wavedil.training.interrupt import TrainingInterruptedError
from wavedil.training.run_folder import in_its_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--config``, ``--resume`` and an option for every key of the config."""
    parser.add_argument("--config", metavar="FILE", help="TOML file; without one, the defaults")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of the run folder")
    parser.add_argument(
        "--seeds",
        type=integer(1, MOST_SEEDS),
        metavar="N",
        help="train with N seeds in folders of the run folder; prints mean and spread",
    )
    parser.usage = "%(prog)s [--config FILE] [--key value ...] [--resume] [--seeds N]"
    keys, meanings = parser.add_argument_group("keys of the config, each overriding the file's"), config_meanings()
    for key, hint in config_keys().items():
        text = f"{describe_type(hint)}: {meanings[key]}".replace("%", "%%")
        keys.add_argument(f"--{key}", metavar="VALUE", help=text, default=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Train as the arguments say; the status is 0, or 128 and the number of the signal that stopped the run."""
    given = vars(args)
    overrides = [f"--{key}={given[key]}" for key in config_keys() if key in given]
    config = load_config(args.config, overrides)
    if "run_dir" not in given and args.config is not None:
        config = in_its_folder(config, in_home(args.config))
    if args.seeds is None:
        check_run(config, args.resume)
    else:
        check_seeds(config, args.seeds, args.resume)
    # Only now, so that a mistake is told at once.
    from wavedil.training.loop import train
    from wavedil.training.repeats import train_seeds

    try:
        if args.seeds is None:
            train(config, resume=args.resume)
        else:
            train_seeds(config, args.seeds, resume=args.resume)
    except TrainingInterruptedError as interrupted:
        print(interrupted, file=sys.stderr)
        return interrupted.exit_status
    return 0
