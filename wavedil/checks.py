"""Checks of single arguments, with one wording for configs, command lines and constructors; imports nothing.

Each message is one line that begins with the name of the argument, then says what was expected and what was found.
"""

import difflib
import math
import operator
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, TypeVar

T = TypeVar("T")

MOST_SHOWN = 80  # characters of a value in a message


def bounded_integer(name: str, value: Any, least: int, most: int) -> int:
    """An integer within its range.

    Args:
        name: of the argument, which begins the message: a key, an option or a parameter.
        value: an integer of any type but bool.
        least: smallest value allowed.
        most: largest value allowed.

    Returns:
        The value as an int.

    Raises:
        TypeError: if it is no integer.
        ValueError: if it is out of range.

    Example:
        >>> bounded_integer("depth", 40, 1, 24)
        Traceback (most recent call last):
        ValueError: depth: expected an integer from 1 to 24, got 40
    """
    expected = f"{name}: expected an integer from {_end(least)} to {_end(most)}"
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None:
        raise TypeError(f"{expected}, got {shown(value)}")
    if not least <= found <= most:
        raise ValueError(f"{expected}, got {shown(found)}")
    return found


def bounded_number(
    name: str, value: Any, least: float, most: float, *, above: bool = False, below: bool = False
) -> float:
    """A finite number within its range.

    Args:
        name: of the argument, as for :func:`bounded_integer`.
        value: a real number of any type but bool.
        least: lower end.
        most: upper end.
        above: whether ``least`` itself is out of range.
        below: whether ``most`` itself is out of range.

    Returns:
        The value as a float.

    Raises:
        TypeError: if it is no real number.
        ValueError: if it is out of range, NaN or infinite.

    Example:
        >>> bounded_number("dropout", 1.0, 0, 1, below=True)
        Traceback (most recent call last):
        ValueError: dropout: expected a number of at least 0 and below 1, got 1.0
    """
    low, high = f"above {least:g}" if above else f"of at least {least:g}", "below" if below else "at most"
    expected = f"{name}: expected a number {low} and {high} {most:g}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{expected}, got {shown(value)}")
    inside = least <= value <= most  # pyright: ignore[reportOperatorIssue]
    if not inside or (above and value == least) or (below and value == most):
        raise ValueError(f"{expected}, got {shown(value)}")
    return float(value)


def one_of(name: str, value: T, choices: Sequence[T]) -> T:
    """A value that is one of some choices.

    Args:
        name: of the argument, as for :func:`bounded_integer`.
        value: of any type.
        choices: what is allowed.

    Returns:
        The value.

    Raises:
        ValueError: if it is none of them; the message proposes the nearest.

    Example:
        >>> one_of("boundary", "slience", ["zeros", "silence"])
        Traceback (most recent call last):
        ValueError: boundary: expected one of zeros, silence; got 'slience'; did you mean 'silence'?
    """
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return value
    listed = ", ".join(str(choice) for choice in choices)
    raise ValueError(f"{name}: expected one of {listed}; got {shown(value)}{did_you_mean(value, choices)}")


def did_you_mean(word: Any, words: Iterable[Any]) -> str:
    """``; did you mean 'silence'?``, or nothing if no word is near."""
    by_letters = {w.lower(): w for w in words if isinstance(w, str)}
    close = difflib.get_close_matches(word.lower(), by_letters, n=1) if _is_short(word) else []
    return f"; did you mean '{by_letters[close[0]]}'?" if close else ""


def shown(value: Any) -> str:
    """A value for a message: its repr on one line, cut to :data:`MOST_SHOWN` characters."""
    if isinstance(value, int) and abs(value) >= 10**MOST_SHOWN:  # Python writes no integer of more than 4,300 digits
        return f"an integer of about {round(value.bit_length() * math.log10(2)):,} digits"
    if isinstance(value, str | bytes):
        value = value[: 2 * MOST_SHOWN]  # a repr is at least as long
    try:
        text = " ".join(repr(value).split())
    except Exception:  # the repr of a class of the caller may do anything
        text = f"a {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def _end(value: int) -> str:
    """An end of a range: long powers of ten as such."""
    text = shown(value)
    zeros = round(math.log10(value)) if value > 0 else 0
    return f"10^{zeros}" if len(text) > 24 and value == 10**zeros else text


def _is_short(word: Any) -> bool:
    return isinstance(word, str) and len(word) <= MOST_SHOWN  # the comparison takes quadratic time
