"""The table of ONNX operators as functions of PyTorch, and what such a function is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wavedil.receptive.trace.program import UnknownOperatorError

# Why an operator cannot be told.
NOT_KNOWN = "what it reads is not known; allow_unknown takes it to read everything"
BY_VALUES = "what it reads depends on the values, which a trace does not know"


@dataclass(frozen=True)
class Node:
    """A node of an ONNX graph.

    Attributes:
        operator: its type, ``Conv``; with its domain where that is not ONNX's own, ``com.microsoft.FusedConv``.
        name: for messages.
        path: of the module that it was exported from, as far as the file tells.
        inputs: names of its inputs, empty where an optional one is left out.
        outputs: names of its outputs, likewise.
        attributes: those that are given.
        opset: version of the operator's domain.
        fold: evaluates it on arrays.
    """

    operator: str
    name: str
    path: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    fold: Callable[[Sequence[Any]], list[np.ndarray]]

    def __str__(self) -> str:
        return f"operator {self.operator} in {self.name}"


@dataclass(frozen=True)
class Operation:
    """A node with the values of its inputs: tensors, which depend on the input or are weights, and constant arrays.

    Attributes:
        node: the node.
        values: of its inputs, None where an optional one is left out.
    """

    node: Node
    values: Sequence[Any]

    def __len__(self) -> int:
        return len(self.values)

    def get(self, attribute: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attributes.get(attribute, default)

    def value(self, i: int) -> Any:
        """An input as it is; None where it is left out."""
        return self.values[i] if i < len(self.values) else None

    def tensor(self, i: int) -> Tensor:
        """An input as a tensor, constants in the precision of what they meet."""
        value = self.value(i)
        if value is None:
            raise ValueError(f"{self.node}: expected an input {i}, got {len(self.values)} inputs")
        if isinstance(value, Tensor):
            return value
        tensor = as_tensor(value)
        floating = (v.dtype for v in self.values if isinstance(v, Tensor) and v.dtype.is_floating_point)
        return tensor.to(next(floating, tensor.dtype)) if tensor.dtype.is_floating_point else tensor

    def optional(self, i: int) -> Tensor | None:
        """An input as a tensor; None where it is left out."""
        return None if self.value(i) is None else self.tensor(i)

    @property
    def tensors(self) -> list[Tensor]:
        """All inputs as tensors."""
        return [self.tensor(i) for i in range(len(self.values))]

    def constant(self, i: int, attribute: str = "") -> Any:
        """An input that says what to do, or the attribute that said so in earlier versions; None without either.

        Raises:
            UnknownOperatorError: if it depends on the input of the network.
        """
        value = self.value(i)
        if isinstance(value, Tensor):
            raise self.unknown(BY_VALUES)
        return self.get(attribute) if value is None else value

    def ints(self, i: int, attribute: str = "") -> list[int] | None:
        """:meth:`constant` as a list of integers."""
        value = self.constant(i, attribute)
        return None if value is None else [int(v) for v in np.asarray(value).reshape(-1)]

    def integer(self, i: int, attribute: str = "", default: int = 0) -> int:
        """:meth:`constant` as one integer."""
        found = self.ints(i, attribute)
        return found[0] if found else default

    def unknown(self, reason: str = NOT_KNOWN) -> UnknownOperatorError:
        """The error of an operator that cannot be told."""
        return UnknownOperatorError(f"{self.node}: {reason}")


def as_tensor(array: Any) -> Tensor:
    """A copy of an array."""
    return torch.from_numpy(np.array(array))


Operator = Callable[[Operation], Any]
OPERATORS: dict[str, Operator] = {}


def operator(*names: str) -> Callable[[Operator], Operator]:
    """Enter the function that computes these operators."""

    def enter(function: Operator) -> Operator:
        for name in names:
            if name in OPERATORS:
                raise ValueError(f"operator {name} is entered twice")
            OPERATORS[name] = function
        return function

    return enter
