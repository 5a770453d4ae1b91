"""The ``wavedil`` command: one small module a subcommand, imported only when it is the one that runs."""

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from wavedil._version import __version__
from wavedil.checks import shown
from wavedil.cli.parser import Parser

COMMANDS = {
    "train": "train a keyword model from a config",
    "evaluate": "accuracy of a checkpoint on a set of clips",
    "predict": "top words for audio files",
    "models": "sizes and costs of the keyword models",
    "rf": "receptive field of a stack, a config or a module",
    "corpus": "make a synthetic corpus of spoken words",
}


_EPILOG = "Options of a command: wavedil COMMAND --help"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Each subcommand's module has ``add_arguments(parser)`` and ``run(args)``; only the chosen one is imported, so that
    ``wavedil --help`` answers at once. Errors that a user can mend are one line on stderr and status 2; set
    ``WAVEDIL_TRACEBACK=1`` to see where they come from.
    """
    _print_anything()
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError, MemoryError) as error:
        if os.environ.get("WAVEDIL_TRACEBACK"):
            raise
        print(f"wavedil: error: {_in_words(error)}", file=sys.stderr)
        return 2


def _run(argv: list[str]) -> int:
    parser = Parser(prog="wavedil", description="Dilated causal convolutions for audio.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"wavedil {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="command")
    chosen = next((word for word in argv if word in COMMANDS), None)
    commands: dict[str, tuple[Any, Parser]] = {}
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary.capitalize() + ".")
        if name == chosen:
            commands[name] = importlib.import_module(f"wavedil.cli.{name}"), subparser
            commands[name][0].add_arguments(subparser)
    args, rest = parser.parse_known_args(argv)
    if args.command is None:
        if rest:
            parser.error(f"{shown(rest[0])}: expected a command: {', '.join(COMMANDS)}")
        parser.print_help()
        return 0
    module, own = commands[args.command]
    if rest:
        hint = "; a config is given by --config" if rest[0].endswith(".toml") else own.meant(rest[0])
        own.error(f"{shown(rest[0])}: expected no such argument{hint}")
    return module.run(args)


def _print_anything() -> None:
    """Let consoles that are not UTF-8 show what they cannot as escapes, and file names that are no text too."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _in_words(error: Exception) -> str:
    """The message of an error on one line; of the system's own, "the file: what is wrong" without the number."""
    if isinstance(error, OSError) and error.strerror:  # of what is printed, the file has no name
        text = f"{error.filename or 'printed output'}: {error.strerror[0].lower()}{error.strerror[1:]}"
    else:
        text = str(error) or ("not enough memory" if isinstance(error, MemoryError) else type(error).__name__)
    return " ".join(text.splitlines())
