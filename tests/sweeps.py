"""Sweeps, of which a few members are tried each time, and all by ``make test-full``."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings


def sweep(values: Iterable[Any], each_time: Callable[[Any], bool]) -> list[Any]:
    """Parameters of a test; those that are not for each time are marked ``full``.

    Args:
        values: a tuple is the values of several arguments.
        each_time: whether a value is.
    """
    marked = ((value, () if each_time(value) else pytest.mark.full) for value in values)
    return [pytest.param(*(value if isinstance(value, tuple) else [value]), marks=marks) for value, marks in marked]


def examples(count: int) -> int:
    """So many examples in ``make test-full``, a quarter of them each time, but at least five."""
    return max(min(count, 5), count * settings().max_examples // 100)
