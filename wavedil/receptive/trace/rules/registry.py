"""The table of operators whose dependences are known, by their ATen name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Call:
    """A call of an operator of which at least one argument depends on the input.

    Attributes:
        name: of the operator, ``conv1d``.
        args: by the names of its schema, defaults filled in.
        shapes: of what it gives: one shape, or a list of them.
        function: the operator itself.
    """

    name: str
    args: dict[str, Any]
    shapes: Any
    function: Callable[..., Any]

    def __getitem__(self, name: str) -> Any:
        return self.args[name]

    def get(self, *names: str, default: Any = None) -> Any:
        """The first of these arguments that the operator has."""
        return next((self.args[name] for name in names if name in self.args), default)

    @property
    def shape(self) -> torch.Size:
        """Of its output, or of the first of them."""
        return self.shapes[0] if isinstance(self.shapes, list) else self.shapes

    def again(self, /, **others: Any) -> Any:
        """The operator itself, with some arguments replaced."""
        values = {**self.args, **others}
        first = next(iter(values))
        return self.function(values.pop(first), **values)

    @property
    def values(self) -> list[Any]:
        """The arguments in order."""
        return list(self.args.values())


Rule = Callable[[Call], Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter a rule for these operators: what each of their outputs depends on, given a :class:`Call`."""

    def enter(function: Rule) -> Rule:
        for name in names:
            if name in RULES:
                raise ValueError(f"operator {name} has two rules")
            RULES[name] = function
        return function

    return enter


def as_list(value: Any) -> list[Any]:
    """One value or several, as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def as_pair(value: Any, count: int) -> list[Any]:
    """One value for each of ``count`` dimensions, of one for all or of a list."""
    values = as_list(value)
    return values * count if len(values) == 1 else values
