"""An ONNX file as a graph of nodes, with all that is constant already computed."""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wavedil.receptive.trace.onnx.registry import Node

# A size along an axis: a number, a name, or nothing that the file tells.
Size = int | str | None


@dataclass(frozen=True)
class Declared:
    """What a file tells of a tensor.

    Attributes:
        name: of it.
        dtype: of its elements; single precision for what is narrower.
        sizes: of its axes; None where the file does not tell its shape.
    """

    name: str
    dtype: np.dtype[Any]
    sizes: tuple[Size, ...] | None


@dataclass(frozen=True)
class Graph:
    """A graph, or a branch of one.

    Attributes:
        inputs: that it is to be given.
        outputs: names.
        nodes: in order, without those that depend on constants alone.
        constants: by name, its weights among them.
        declared: tensors of which the file tells the type, by name.
    """

    inputs: tuple[Declared, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: dict[str, np.ndarray]
    declared: dict[str, Declared]


def load_graph(path: str | Path) -> Graph:
    """Read an ONNX file.

    Args:
        path: of the file. Weights outside it are read from its own folder alone.

    Raises:
        ModuleNotFoundError: without the extra ``onnx``.
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a valid ONNX file.
    """
    onnx = _onnx("onnx")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        _onnx("onnx.checker").check_model(str(path))
        model = onnx.load(str(path))
        if model.functions:
            model = _onnx("onnx.inliner").inline_local_functions(model)
    except Exception as error:  # protobuf, the checker and the reader of weights raise what they like
        raise ValueError(f"{path}: not a valid ONNX file: {first_line(error)}") from error
    return _Reader(model.opset_import).graph(model.graph, {})


class _Reader:
    """Makes graphs of protocol buffers.

    Args:
        opsets: versions of the domains of operators.
    """

    def __init__(self, opsets: Any) -> None:
        self.opsets = opsets
        self.versions = {entry.domain: entry.version for entry in opsets}

    def graph(self, proto: Any, outer: Mapping[str, np.ndarray]) -> Graph:
        """A graph, given the constants of the one around it."""
        to_array = _onnx("onnx.numpy_helper").to_array
        constants = {tensor.name: plain(to_array(tensor)) for tensor in proto.initializer}
        known = {**outer, **constants}
        nodes = []
        for i, item in enumerate(proto.node):
            node = self.node(item, i, known)
            if all(name in known for name in node.inputs if name) and not _has_graph(node):
                results = dict(zip(node.outputs, node.fold([known.get(name) for name in node.inputs]), strict=False))
                constants.update(results)
                known.update(results)
            else:
                nodes.append(node)
        inputs = [_declared(item) for item in proto.input if item.name not in constants]
        declared = {item.name: _declared(item) for item in (*proto.input, *proto.value_info, *proto.output)}
        return Graph(tuple(inputs), tuple(item.name for item in proto.output), tuple(nodes), constants, declared)

    def node(self, proto: Any, number: int, known: Mapping[str, np.ndarray]) -> Node:
        """A node, with its name made up where it has none."""
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        name = proto.name or f"{proto.op_type}_{number}"
        return Node(
            operator=f"{domain}.{proto.op_type}" if domain else proto.op_type,
            name=name,
            path=_path(proto, name),
            inputs=tuple(proto.input),
            outputs=tuple(proto.output),
            attributes={item.name: self.attribute(item, known) for item in proto.attribute},
            opset=self.versions.get(domain, self.versions.get("ai.onnx", 1)),
            fold=Folded(proto, self.opsets, name),
        )

    def attribute(self, proto: Any, known: Mapping[str, np.ndarray]) -> Any:
        """A number, a string, a list of them, or a graph."""
        value = _onnx("onnx.helper").get_attribute_value(proto)
        if isinstance(value, bytes):
            return value.decode()
        return self.graph(value, known) if hasattr(value, "initializer") else value


class Folded:
    """A node by itself, evaluated by ONNX's own reference implementation.

    Args:
        proto: the node.
        opsets: versions of the domains.
        name: for messages.
    """

    def __init__(self, proto: Any, opsets: Any, name: str) -> None:
        self.proto = proto
        self.opsets = opsets
        self.name = name

    @cached_property
    def evaluator(self) -> Any:
        """The implementation of the node."""
        onnx, helper = _onnx("onnx"), _onnx("onnx.helper")
        inputs, outputs = (
            [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name]
            for names in (self.proto.input, self.proto.output)
        )
        model = helper.make_model(
            helper.make_graph([self.proto], "node", inputs, outputs), opset_imports=list(self.opsets)
        )
        return _onnx("onnx.reference").ReferenceEvaluator(model)

    def __call__(self, values: Sequence[Any]) -> list[np.ndarray]:
        """Its outputs, for arrays.

        Raises:
            ValueError: if it cannot be evaluated.
        """
        try:
            given = {name: value for name, value in zip(self.proto.input, values, strict=True) if name}
            results = iter(self.evaluator.run(None, given))
        except Exception as error:  # the implementations raise whatever numpy does
            where = f"operator {self.proto.op_type} in {self.name}"
            raise ValueError(f"{where} cannot be evaluated: {first_line(error)}") from error
        return [plain(next(results)) if name else np.empty(0) for name in self.proto.output]


def plain(array: Any) -> Any:
    """An array of a type that numpy itself has; floats at least of single precision."""
    if not isinstance(array, np.ndarray | np.generic):
        return array
    array = np.asarray(array)
    narrow = array.dtype.kind == "V" or array.dtype.type.__module__ != "numpy" or array.dtype == np.float16
    return array.astype(np.float32) if narrow else array


def first_line(error: Exception) -> str:
    """What an error says, in short."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _onnx(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("onnx is missing: pip install 'wavedil[onnx]'") from error


def _has_graph(node: Node) -> bool:
    return any(isinstance(value, Graph) for value in node.attributes.values())


def _declared(item: Any) -> Declared:
    """An entry of a graph's inputs, outputs or values; of what is no tensor, the name alone."""
    kind = item.type.tensor_type
    dtype = plain(np.empty(0, _onnx("onnx.helper").tensor_dtype_to_np_dtype(kind.elem_type or 1))).dtype
    if not kind.HasField("shape"):
        return Declared(item.name, dtype, None)
    return Declared(item.name, dtype, tuple(axis.dim_param or axis.dim_value or None for axis in kind.shape.dim))


def _path(proto: Any, name: str) -> str:
    """The module that a node was exported from: by the names of its weights, its metadata, or its own name.

    The exporters of PyTorch name weights ``encoder.0.weight``; the newer one writes the path of modules into the
    metadata, and the older one names nodes ``/encoder/0/Conv``.
    """
    for parameter in proto.input[1:]:
        if re.search(r"\.(weight|bias)$", parameter):
            return parameter.rpartition(".")[0]
    scopes = {item.key: item.value for item in getattr(proto, "metadata_props", ())}.get("pkg.torch.onnx.name_scopes")
    if scopes:
        names = [part for part in re.findall(r"'([^']*)'", scopes) if part and not part.startswith("_empty")]
        return names[-2] if len(names) > 1 else names[0] if names else name
    if name.startswith("/"):
        return ".".join(name.split("/")[1:-1])
    return name
