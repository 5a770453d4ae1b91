"""The ``wavedil`` command: one small module a subcommand, imported only when it is the one that runs."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from wavedil._version import __version__

COMMANDS = {
    "train": "train a keyword model from a config",
    "evaluate": "accuracy of a checkpoint on a set of clips",
    "predict": "top words for audio files",
    "models": "sizes and costs of the keyword models",
    "rf": "receptive field of a stack, a config or a module",
    "corpus": "make a synthetic corpus of spoken words",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Each subcommand's module has ``add_arguments(parser)`` and ``run(args)``; only the chosen one is imported, so that
    ``wavedil --help`` answers at once. Errors that a user can mend are one line on stderr and status 2; set
    ``WAVEDIL_TRACEBACK=1`` to see where they come from.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="wavedil", description="Dilated causal convolutions for audio.")
    parser.add_argument("--version", action="version", version=f"wavedil {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="command", required=True)
    chosen = next((word for word in argv if word in COMMANDS), None)
    modules = {}
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary.capitalize() + ".")
        if name == chosen:
            modules[name] = importlib.import_module(f"wavedil.cli.{name}")
            modules[name].add_arguments(subparser)
    args = parser.parse_args(argv)
    try:
        return modules[args.command].run(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        if os.environ.get("WAVEDIL_TRACEBACK"):
            raise
        print(f"wavedil: error: {_in_words(error)}", file=sys.stderr)
        return 2


def _in_words(error: Exception) -> str:
    """The message of an error; of the system's own, "the file: what is wrong" without the number."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error) or type(error).__name__
