"""Weights of an ONNX file as parameters of modules, which stand where the operators were exported from."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from wavedil.receptive.trace.onnx.file import Graph
from wavedil.receptive.trace.onnx.registry import Node, Operation, as_tensor
from wavedil.receptive.trace.reach import MASKED

# Which inputs of an operator are weights, where they are constants.
_WEIGHTS = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2), "GroupNormalization": (1, 2),
    "RMSNormalization": (1,), "PRelu": (1,), "LSTM": (1, 2, 3), "GRU": (1, 2, 3), "RNN": (1, 2, 3), "Gather": (0,),
}  # fmt: skip
# Which are, if no mask, window or filterbank: if none of them is zero, or all are.
_FACTORS = {"MatMul": (0, 1), "Add": (0, 1), "Mul": (0, 1)}


class Scope(nn.Module):
    """A module of the exported network: its operators are called from within it."""

    def forward(self, function: Callable[[Operation], Any], operation: Operation) -> Any:
        """Call an operator."""
        return function(operation)


class Weights:
    """The weights of a graph, given to modules within another by the paths of the nodes.

    A trace takes parameters for any numbers. If some of a weight are zero, a mask has made them so, and they stay zero;
    if all are, the weight is not trained yet.

    Args:
        root: the module that is given them.
        graph: its nodes.
    """

    def __init__(self, root: nn.Module, graph: Graph) -> None:
        self.root = root
        self.scopes: dict[str, nn.Module] = {}
        self.places: dict[str, tuple[nn.Module, str]] = {}
        self._enter(graph, graph.constants)

    def operands(self, node: Node, values: Sequence[Any]) -> list[Any]:
        """The inputs of an operator, with weights in the place of constants."""
        slots = _WEIGHTS.get(node.operator) or _FACTORS.get(node.operator, ())
        return [
            self._weight(*self.places[name]) if i in slots and name in self.places else value
            for i, (name, value) in enumerate(zip(node.inputs, values, strict=True))
        ]

    def call(self, node: Node, function: Callable[[Operation], Any], operation: Operation) -> Any:
        """The operator, as a part of the module that it was exported from."""
        return self.scopes[node.path](function, operation)

    def _enter(self, graph: Graph, constants: Mapping[str, np.ndarray]) -> None:
        for node in graph.nodes:
            scope = self.scopes.setdefault(node.path, self._scope(node.path))
            for slots, certain in ((_WEIGHTS, True), (_FACTORS, False)):
                for name in (node.inputs[i] for i in slots.get(node.operator, ()) if i < len(node.inputs)):
                    if name not in self.places and _is_weight(constants.get(name), certain):
                        self.places[name] = scope, _added(scope, name, as_tensor(constants[name]))
            for branch in node.attributes.values():
                if isinstance(branch, Graph):
                    self._enter(branch, {**constants, **branch.constants})

    def _scope(self, path: str) -> nn.Module:
        """The module of a path, made with those around it."""
        scope = self.root
        for part in path.split("."):
            name = _free(scope, part, scope._modules)
            if name not in scope._modules:
                scope.add_module(name, Scope())
            scope = scope.get_submodule(name)
        return scope

    def _weight(self, scope: nn.Module, name: str) -> Tensor:
        weight, used = getattr(scope, name), getattr(scope, f"{name}_used", None)
        return weight if used is None else weight * used


def _added(scope: nn.Module, name: str, weight: Tensor) -> str:
    """Give a module a weight; returns the name under which it has it."""
    name = _free(scope, name.rpartition(".")[2])
    scope.register_parameter(name, nn.Parameter(weight))
    used = weight != 0
    if bool(used.any()) and not bool(used.all()):
        scope.register_buffer(f"{name}_used", used.to(weight.dtype))
    return name


def _is_weight(constant: np.ndarray | None, certain: bool) -> bool:
    """Numbers in one dimension at least, none of them that of a mask."""
    if constant is None or constant.dtype.kind != "f" or not constant.ndim or not constant.size:
        return False
    used = constant != 0
    return certain or bool(constant.size > 1 and constant.min() > MASKED and (used.all() or not used.any()))


def _free(scope: nn.Module, name: str, taken: Collection[str] = ()) -> str:
    """A name that a part of a module can be given, or has been given already."""
    name = re.sub(r"\W", "_", name) or "_"
    while hasattr(scope, name) and name not in taken:
        name += "_"
    return name
