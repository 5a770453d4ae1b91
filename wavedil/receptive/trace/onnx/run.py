"""One run of an ONNX graph on tensors of PyTorch, what is constant computed apart."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wavedil.receptive.trace.onnx.file import Declared, Graph, Size, first_line
from wavedil.receptive.trace.onnx.registry import BY_VALUES, OPERATORS, Node, Operation, as_tensor
from wavedil.receptive.trace.onnx.weights import Weights
from wavedil.receptive.trace.program import UnknownOperatorError

# What PyTorch and Python raise for arguments that do not fit.
_FAILURES = (RuntimeError, IndexError, KeyError, TypeError, ValueError)


class Run:
    """A run of a graph.

    Args:
        weights: of its operators.
        sizes: by their names in the file.
        allow_unknown: let operators that are not known give something that reads all there is.
    """

    def __init__(self, weights: Weights, sizes: Mapping[str, int], allow_unknown: bool) -> None:
        self.weights = weights
        self.sizes = sizes
        self.allow_unknown = allow_unknown
        self.unknown: list[str] = []

    def graph(self, graph: Graph, outer: Mapping[str, Any]) -> list[Any]:
        """Its outputs: tensors where they depend on a tensor, else arrays.

        Args:
            graph: a graph, or a branch of one.
            outer: its inputs, and what stands around it, by name.

        Raises:
            UnknownOperatorError: for an operator that is not known.
            ValueError: if an operator fails.
        """
        values = {**outer, **graph.constants}
        for node in graph.nodes:
            given = [values[name] if name else None for name in node.inputs]
            values.update(zip(node.outputs, self._node(graph, node, given, values), strict=False))
        return [values[name] for name in graph.outputs]

    def _node(self, graph: Graph, node: Node, given: Sequence[Any], values: Mapping[str, Any]) -> Sequence[Any]:
        dependent = any(isinstance(value, Tensor) for value in given)
        if node.operator == "If" and not dependent:
            return self.graph(node.attributes["then_branch" if bool(given[0]) else "else_branch"], values)
        if not dependent and node.operator not in ("Loop", "Scan"):
            return node.fold(given)
        operation = Operation(node, self.weights.operands(node, given))
        results = self.weights.call(node, functools.partial(self._results, graph), operation)
        return results if isinstance(results, Sequence) else [results]

    def _results(self, graph: Graph, operation: Operation) -> Any:
        node = operation.node
        if any(isinstance(value, Graph) for value in node.attributes.values()):
            raise operation.unknown(BY_VALUES)
        try:
            if node.operator not in OPERATORS:
                raise operation.unknown()
            return OPERATORS[node.operator](operation)
        except UnknownOperatorError as error:
            if not self.allow_unknown:
                raise
            return self._everything(graph, operation, error)
        except _FAILURES as error:
            raise ValueError(f"{node}: {first_line(error)}") from error

    def _everything(self, graph: Graph, operation: Operation, error: UnknownOperatorError) -> list[Tensor]:
        """Something that reads all there is, of the shapes that the file tells, or that ONNX finds."""
        node = operation.node
        tensors = [value for value in operation.values if isinstance(value, Tensor)]
        examples = self._declared([graph.declared.get(name) for name in node.outputs])
        if examples is None:
            ones = [np.ones(v.shape, _dtype(v)) if isinstance(v, Tensor) else v for v in operation.values]
            try:
                examples = node.fold(ones)
            except ValueError:
                raise error from None
        if str(node) not in self.unknown:
            self.unknown.append(str(node))
        total = torch.stack([tensor.abs().sum().float() for tensor in tensors]).sum()
        return [total.to(as_tensor(example).dtype).expand(example.shape) for example in examples]

    def _declared(self, outputs: Sequence[Declared | None]) -> list[np.ndarray] | None:
        """Ones of the shapes that the file tells; None where it does not tell all of them."""
        found = []
        for output in outputs:
            if output is None or output.sizes is None:
                return None
            sizes = [resolved(size, self.sizes) for size in output.sizes]
            known = [size for size in sizes if size is not None]
            if len(known) < len(sizes):
                return None
            found.append(np.ones(known, output.dtype))
        return found


def _dtype(tensor: Tensor) -> np.dtype[Any]:
    return np.dtype(str(tensor.dtype).removeprefix("torch."))


def factor(size: Size) -> tuple[int, str]:
    """A size such as ``160*frames`` as a number and a name; the number is 1 for other terms."""
    name = str(size)
    match = re.fullmatch(r"(?:(\d+)\s*\*\s*)?([A-Za-z_]\w*)(?:\s*\*\s*(\d+))?", name)
    if match is None or (match[1] and match[3]):
        return 1, name
    return int(match[1] or match[3] or 1), match[2]


def resolved(size: Size, known: Mapping[str, int]) -> int | None:
    """A size as a number, if what it is named after is known."""
    if isinstance(size, int):
        return size
    number, name = factor(size)
    return number * known[name] if name in known else None
