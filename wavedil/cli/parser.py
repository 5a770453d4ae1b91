"""Arguments of a command, whose mistakes are told in one line with the remedy."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from wavedil.checks import bounded_integer, did_you_mean, one_of, shown

_KINDS = {int: "an integer", float: "a number"}


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations, and proposes the option that was meant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if args is not None and self._subparsers is None:
            args = self._with_values(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise ValueError with one line."""
        message = message.removeprefix("argument ").replace("expected one argument", "expected a value, got nothing")
        message = message.replace("ignored explicit argument", "expected no value, got")
        raise ValueError(f"{message}; see {self.prog} --help")

    def _with_values(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with each value that begins with a dash joined to its option; unknown options are refused."""
        known, found = self._option_string_actions, list[str]()
        for position, argument in enumerate(arguments):
            if argument == "--":
                return [*found, *arguments[position:]]
            name, _, value = argument.partition("=")
            if value == "--" and name in known:  # which argparse takes for no value at all
                self.error(f"{name}: expected a value, got '--'")
            is_option = argument.startswith("--") and " " not in name
            if is_option and name not in known:
                self.error(f"{shown(name)[1:-1]}: no such option{self._nearest(name)}")
            last = known.get(found[-1]) if found else None
            if last is not None and last.nargs is None and argument.startswith("-"):
                if name in known:
                    self.error(f"{found[-1]}: expected a value, got the option {name}")
                found[-1] += f"={argument}"
            else:
                found.append(argument)
        return found

    def _nearest(self, name: str) -> str:
        known = self._option_string_actions
        key = name.lstrip("-").replace("-", "_")
        longer = [option for option in known if option.startswith(name) or option.endswith(f".{key}")]
        return did_you_mean(longer[0] if longer else name, known)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None:
            name = "/".join(action.option_strings) or str(action.metavar or action.dest)
            try:
                one_of(name, value, tuple(action.choices))
            except ValueError as error:
                raise argparse.ArgumentError(None, str(error)) from None

    def meant(self, word: str) -> str:
        """The option that a word was probably meant for, as a message ends: dashes are changed where text is copied."""
        name = word.lstrip("-/\u2010\u2011\u2012\u2013\u2014\u2015\u2212").partition("=")[0]
        return self._nearest(f"--{name}") if name and not word.startswith(name) else ""

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        if not arg_string.strip() and action.nargs != argparse.PARSER:  # a variable of the shell without a value, say
            raise argparse.ArgumentError(action, f"expected a value, got {arg_string!r}")
        if action.type not in _KINDS:
            return super()._get_value(action, arg_string)
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            expected = _KINDS[action.type]  # pyright: ignore[reportArgumentType]
            raise argparse.ArgumentError(action, f"expected {expected}, got {shown(arg_string)}") from None


def integer(least: int, most: int) -> Callable[[str], int]:
    """A type for ``add_argument``: an integer within its range."""

    def convert(text: str) -> int:
        try:
            return bounded_integer("", int(text), least, most)
        except ValueError:
            message = f"expected an integer from {least} to {most}, got {shown(text)}"
            raise argparse.ArgumentTypeError(message) from None

    return convert
