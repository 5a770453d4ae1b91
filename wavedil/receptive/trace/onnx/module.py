"""An ONNX file as a module of PyTorch, so that it is traced, measured and verified as any other module is."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wavedil.receptive.trace.onnx.file import Declared, Size, load_graph
from wavedil.receptive.trace.onnx.registry import as_tensor
from wavedil.receptive.trace.onnx.run import Run, factor, resolved
from wavedil.receptive.trace.onnx.weights import Weights

# The shortest input that is traced, where the file leaves the length open.
_SHORTEST = 256


class OnnxModule(nn.Module):
    """An ONNX file that is called with one of its inputs, and gives its outputs; its other inputs are held at ones.

    Its values are those of the file, save for what PyTorch's recurrent layers have not got, and what does not change
    which inputs are read: the lengths of sequences, peepholes, other gates and activations.

    Args:
        path: of the file.
        input: the input; None takes the first of floating point that is not a state.
        allow_unknown: let operators that are not known give something that reads all there is, instead of stopping.

    Raises:
        ModuleNotFoundError: without the extra ``onnx``.
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a valid ONNX file, or has no such input.
    """

    def __init__(self, path: str | Path, *, input: str | None = None, allow_unknown: bool = False) -> None:
        super().__init__()
        self.graph = load_graph(path)
        self.allow_unknown = allow_unknown
        self.unknown: list[str] = []
        self.states = [item.name for item in self.graph.inputs if _is_state(item.name, self.graph.outputs)]
        self.input = self._chosen(input, path)
        self.recurrent = any(node.operator in ("LSTM", "GRU", "RNN") for node in self.graph.nodes)
        self.weights = Weights(self, self.graph)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of a receptive field must know of the other inputs."""
        others = [item.name for item in self.graph.inputs if item.name != self.input.name]
        states, steady = ([n for n in others if (n in self.states) == kept] for kept in (True, False))
        kinds = {"state inputs": states, "inputs": steady}
        return tuple(f"{kind} {', '.join(names)} are held constant" for kind, names in kinds.items() if names)

    def example(self, length: int | None = None, time_axis: int = -1, frequency_axis: int | None = None) -> Tensor:
        """Zeros of the input's shape, the batch and whatever else is left open of size 1.

        Args:
            length: in time, where the file leaves it open; None takes one that the file allows.
            time_axis: of the input.
            frequency_axis: of the input; None takes the axis before time, if there are four.

        Raises:
            ValueError: if the input has no such axis, or takes no such length.
        """
        sizes = self.input.sizes or ()
        if frequency_axis is None and len(sizes) == 4:
            frequency_axis = -2 if time_axis % 4 == 3 else -1
        shape = [size if isinstance(size, int) else 1 for size in sizes]
        for axis, wanted in ((time_axis, length), (frequency_axis, None)):
            if axis is None:
                continue
            if not -len(sizes) <= axis < len(sizes):
                raise ValueError(f"input {self.input.name}: expected an axis {axis}, got the shape {_shown(sizes)}")
            shape[axis] = self._length(sizes[axis], wanted)
        return torch.zeros(shape, dtype=as_tensor(np.empty(0, self.input.dtype)).dtype)

    def output_number(self, output: int | str) -> int:
        """The number of an output by its name.

        Raises:
            ValueError: if there is none.
        """
        names = list(self.graph.outputs)
        if output in names:
            return names.index(str(output))
        if isinstance(output, int) and 0 <= output < len(names):
            return output
        raise ValueError(f"output: expected one of {', '.join(names)}, or its number, got {output!r}")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the graph, in order.

        Raises:
            UnknownOperatorError: for an operator that is not known.
            ValueError: if x has not the shape that the file tells, or an operator fails.
        """
        sizes = self.input.sizes or ()
        if len(sizes) != x.ndim or any(isinstance(s, int) and s != n for s, n in zip(sizes, x.shape, strict=True)):
            raise ValueError(f"input {self.input.name}: expected the shape {_shown(sizes)}, got {_shown(x.shape)}")
        known = {factor(size)[1]: n // factor(size)[0] for size, n in zip(sizes, x.shape, strict=True)}
        run = Run(self.weights, known, self.allow_unknown)
        given: dict[str, Any] = {item.name: _ones(item, known) for item in self.graph.inputs}
        results = run.graph(self.graph, {**given, self.input.name: x})
        self.unknown = run.unknown
        return tuple(value if isinstance(value, Tensor) else as_tensor(value) for value in results)

    def _chosen(self, name: str | None, path: str | Path) -> Declared:
        inputs = [item for item in self.graph.inputs if item.name not in self.states]
        floating = [item for item in inputs if item.dtype.kind == "f"]
        found = [item for item in self.graph.inputs if item.name == name] if name else floating or inputs
        if not found:
            names = ", ".join(item.name for item in self.graph.inputs) or "none"
            raise ValueError(f"{path}: expected an input {name or 'that is not a state'}, got {names}")
        if found[0].sizes is None:
            raise ValueError(f"{path}: expected the shape of the input {found[0].name} in the file, got none")
        return found[0]

    def _length(self, size: Size, wanted: int | None) -> int:
        """A length that the file allows."""
        name = self.input.name
        if isinstance(size, int):
            if wanted not in (None, size):
                raise ValueError(f"input {name}: expected a length of {size}, got {wanted}")
            return size
        step, _ = factor(size)
        if wanted is None:
            return -(-_SHORTEST // step) * step
        if wanted < 1 or wanted % step:
            raise ValueError(f"input {name}: expected a length that is a multiple of {step}, got {wanted}")
        return wanted


def _is_state(name: str, outputs: Sequence[str]) -> bool:
    """Whether an output gives the next value of an input, by the names that are usual."""
    names = {f"next_{name}", f"new_{name}", f"{name}_next", f"{name}_out", f"{name}n", f"{name}N", f"{name}_n"}
    return not (names | {re.sub(r"(^|_)in(_|$)", r"\1out\2", name)} - {name}).isdisjoint(outputs)


def _ones(declared: Declared, known: dict[str, int]) -> np.ndarray:
    """Ones of an input's shape, sizes of 1 where nothing tells them."""
    return np.ones([resolved(size, known) or 1 for size in declared.sizes or ()], declared.dtype)


def _shown(sizes: Sequence[Size]) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in sizes)})"
