"""A module as a graph of operators, by ``torch.export``, and the walk that carries dependences through it."""

import contextlib
import copy
import io
import logging
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.fx.node import map_arg
from torch.nn.modules import transformer
from torch.utils import _pytree as pytree

from wavedil.receptive.trace.reach import Reach, reaches
from wavedil.receptive.trace.rules import RULES, Call
from wavedil.receptive.trace.rules.movement import everything


class UnknownOperatorError(ValueError):
    """An operator of which the dependences are not known: its name and where in the module it stands."""


@dataclass(frozen=True)
class Step:
    """An operator on the way, with what its output depends on.

    Attributes:
        path: of the module that calls it, ``encoder.0.conv``.
        name: of the operator.
        call: its arguments.
        output: what it gives, or the first thing of several.
    """

    path: str
    name: str
    call: Call
    output: Reach


@dataclass
class Walk:
    """What a walk through a program found.

    Attributes:
        outputs: of the module, reaches and constants, as its graph has them.
        steps: the operators that read the input, in order.
        unknown: name and path of operators that were taken to read everything.
    """

    outputs: list[Any]
    steps: list[Step] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class Program:
    """The graph of a module for one example input.

    Args:
        module: any module that torch.export can capture; it is not changed.
        args: its positional inputs.
        kwargs: its keyword inputs.

    Raises:
        ValueError: if it cannot be captured; the message has torch's reason.
    """

    def __init__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        self.exported = functional(capture(module, args, kwargs or {}))
        self.constants = constants_of(self.exported, pytree.tree_leaves((args, kwargs or {})))
        self._writes = any(_is_mutable(node) for node in _calls(self.exported.graph_module))

    @property
    def size(self) -> int:
        """Operators in the graph."""
        return len(self.exported.graph.nodes)

    @property
    def divides(self) -> bool:
        """Whether an operator makes so many outputs of any input: what they read is seen at two lengths alone."""
        return any(
            "adaptive" in op_name(node.target) or ("upsample" in op_name(node.target) and not any(_scales(node)))
            for node in _calls(self.exported.graph_module)
        )

    def walk(self, seed: Reach, *, position: int = 0, allow_unknown: bool = False, keep_steps: bool = True) -> Walk:
        """Carry dependences from one input to the outputs.

        Args:
            seed: dependences of that input's elements, on themselves usually.
            position: which of the tensor inputs it is.
            allow_unknown: take operators without a rule to read everything, instead of stopping.
            keep_steps: whether to keep what each operator gives.

        Raises:
            UnknownOperatorError: for an operator without a rule.
        """
        user = list(self.exported.graph_signature.user_inputs)
        names = [name for name in user if isinstance(name, str)]
        if position >= len(names):
            raise ValueError(f"expected an input number below {len(names)}, got {position}")
        found = Walk([])
        values = {**(copy.deepcopy(self.constants) if self._writes else self.constants), names[position]: seed}
        _Walker(found, allow_unknown, keep_steps).graph(self.exported.graph_module, values, found)
        wanted = {name for name in self.exported.graph_signature.user_outputs if isinstance(name, str)}
        node = next(node for node in self.exported.graph.nodes if node.op == "output")
        pairs = zip(node.args[0], found.outputs, strict=True)
        found.outputs = [value for arg, value in pairs if isinstance(arg, fx.Node) and arg.name in wanted]
        return found


def capture(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExportedProgram:
    """``torch.export`` in its own words of operators, without the fused paths that hide what attention reads."""
    if any(not p.is_cpu for p in module.parameters()) or any(not b.is_cpu for b in module.buffers()):
        module = copy.deepcopy(module).cpu()
    try:
        with quiet(), as_written(), torch.no_grad():
            return torch.export.export(module, args, kwargs, strict=False)
    except Exception as error:  # torch raises whatever the module's own code or its tracer does
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "data-dependent" in reason:
            reason = f"its code asks for the values of a tensor: {reason}"
        raise ValueError(f"{type(module).__name__} cannot be traced by torch.export: {reason}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what torch.export has to say, even where a failure is expected and dealt with."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """With one thread for torch's operators: most of a walk's tensors are so small that several only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def as_written() -> Iterator[None]:
    """Without the shortcuts of torch's transformers: fused operators, and a look at whether a mask is causal.

    The mask is applied either way, and its values are not known when a module is captured.
    """
    fast, detect = torch.backends.mha.get_fastpath_enabled(), transformer._detect_is_causal_mask
    torch.backends.mha.set_fastpath_enabled(False)
    transformer._detect_is_causal_mask = lambda mask, is_causal=None, size=None: bool(is_causal)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        transformer._detect_is_causal_mask = detect


def functional(exported: ExportedProgram) -> ExportedProgram:
    """Without operators that write into their arguments, and without those that are made of known ones."""
    with quiet():
        if any(_is_mutable(node) for node in _dependent_calls(exported)):
            exported = exported.run_decompositions({})
        unknown = {node.target for node in _dependent_calls(exported) if op_name(node.target) not in RULES}
        unknown = {op for op in unknown if op_name(op) not in _SHAPE_ONLY}
        if not unknown:
            return exported
        table = {op: rule for op, rule in torch.export.default_decompositions().items() if op in unknown}
        return exported.run_decompositions(table) if table else exported


def _calls(graph_module: fx.GraphModule) -> Iterator[fx.Node]:
    for module in graph_module.modules():
        if isinstance(module, fx.GraphModule):
            for node in module.graph.nodes:
                if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
                    yield node


def _dependent_calls(exported: ExportedProgram) -> Iterator[fx.Node]:
    """Calls that may depend on an input: all in nested graphs, and those that the main graph leads to."""
    main = exported.graph_module.graph
    inputs = set(exported.graph_signature.user_inputs)
    reached = {node for node in main.nodes if node.op == "placeholder" and node.name in inputs}
    for node in main.nodes:
        if reached.intersection(node.all_input_nodes):
            reached.add(node)
    yield from (node for node in _calls(exported.graph_module) if node in reached or node.graph is not main)


def _is_mutable(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def op_name(target: Any) -> str:
    """The name of an operator without namespace and overload."""
    return target._schema.name.split("::")[-1] if isinstance(target, torch._ops.OpOverload) else str(target)


def constants_of(exported: ExportedProgram, inputs: Sequence[Any]) -> dict[str, Any]:
    """Parameters, buffers and inputs by the names of their placeholders.

    Parameters are made positive: a weight of zero may be trained to be another, a zero in a buffer is a mask.
    """
    signature = exported.graph_signature
    values: dict[str, Any] = {
        name: value
        for name, value in zip(signature.user_inputs, inputs, strict=True)
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    for name, key in signature.inputs_to_parameters.items():
        values[name] = positive(exported.state_dict[key].detach())
    for name, key in signature.inputs_to_buffers.items():
        values[name] = exported.state_dict[key] if key in exported.state_dict else exported.constants[key]
    for name, key in signature.inputs_to_lifted_tensor_constants.items():
        values[name] = exported.constants[key]
    for name, key in signature.inputs_to_lifted_custom_objs.items():
        values[name] = exported.constants[key]
    return values


def positive(parameter: Tensor) -> Tensor:
    """A parameter's absolute values, ones for zeros."""
    if not parameter.is_floating_point():
        return parameter
    size = parameter.abs()
    return torch.where(size > 0, size, 1.0).nan_to_num(1.0)


class _Walker:
    """One walk: its findings, and what to do about unknown operators."""

    def __init__(self, found: Walk, allow_unknown: bool, keep_steps: bool) -> None:
        self.found = found
        self.allow_unknown = allow_unknown
        self.keep_steps = keep_steps

    def graph(self, graph_module: fx.GraphModule, values: dict[str, Any], into: Walk | None = None) -> Any:
        """Walk through a graph, given its placeholders by name."""
        results: dict[fx.Node, Any] = {}
        last_use = {used: node for node in graph_module.graph.nodes for used in node.all_input_nodes}

        def look_up(argument: Any) -> Any:
            return map_arg(argument, lambda node: results[node])

        for node in graph_module.graph.nodes:
            if node.op == "placeholder":
                results[node] = values[node.name] if node.name in values else node.meta.get("val")
            elif node.op == "get_attr":
                results[node] = operator.attrgetter(str(node.target))(graph_module)
            elif node.op == "call_function":
                results[node] = self._call(node, look_up(node.args), look_up(node.kwargs))
            elif node.op == "output":
                outputs = list(look_up(node.args[0]))
                if into is not None:
                    into.outputs = outputs
                return outputs
            for used in node.all_input_nodes:
                if last_use[used] is node:
                    del results[used]
        raise ValueError("a graph without an output")

    def _call(self, node: fx.Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        target: Any = node.target
        if isinstance(target, torch._ops.HigherOrderOperator):
            return self._nested(node, args)
        if not isinstance(target, torch._ops.OpOverload):
            return target(*args, **kwargs)
        bound = bind(target, args, kwargs)
        if not reaches(*bound.values()):
            with torch.no_grad():
                return target(*args, **kwargs)
        name, path = op_name(target), module_path(node)
        shapes = _shapes(node.meta.get("val"))
        if any(not isinstance(size, int) for shape in _each(shapes) for size in shape):
            place = f"operator {name} in {path or 'the module itself'}"
            raise UnknownOperatorError(f"{place}: the size of what it gives depends on the values of the input")
        call = Call(name, bound, shapes, target)
        if name in _SHAPE_ONLY:
            return _constant_like(target, bound, node.meta.get("val"))
        if shapes is None:  # an assertion: gives nothing
            return None
        result = self._ruled(call, path)
        _check_shapes(result, shapes, name, path)
        if self.keep_steps:
            first = result[0] if isinstance(result, list) else result
            self.found.steps.append(Step(path, name, call, first))
        return result

    def _ruled(self, call: Call, path: str) -> Any:
        place, failure = f"operator {call.name} in {path or 'the module itself'}", None
        if call.name in RULES:
            try:
                return RULES[call.name](call)
            except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
                failure = error  # a use of the operator that its rule does not foresee
        if not self.allow_unknown:
            reason = f" ({type(failure).__name__}: {failure})" if failure else ""
            raise UnknownOperatorError(
                f"{place}: what it reads is not known{reason}; allow_unknown takes it to read everything"
            ) from failure
        if place not in self.found.unknown:
            self.found.unknown.append(place)
        return everything(call)

    def _nested(self, node: fx.Node, args: Sequence[Any]) -> Any:
        """A part of the graph that runs in another mode, without gradients or in another precision."""
        graphs = [arg for arg in args if isinstance(arg, fx.GraphModule)]
        name = str(node.target)
        if len(graphs) != 1:
            place = f"operator {name} in {module_path(node) or 'the module itself'}"
            raise UnknownOperatorError(f"{place}: what it reads depends on the values, which a trace does not know")
        inner = graphs[0]
        inputs = list(args[list(args).index(inner) + 1 :])
        names = [n.name for n in inner.graph.nodes if n.op == "placeholder"]
        if inputs and isinstance(inputs[0], list | tuple) and len(inputs) == 1 and len(names) != 1:
            inputs = list(inputs[0])
        return self.graph(inner, dict(zip(names, inputs, strict=True)))


# Operators that take nothing but the shape, the type and the device of their argument.
_SHAPES = """
zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones new_full new_empty
new_empty_strided sym_size sym_numel sym_stride
"""
_SHAPE_ONLY = frozenset(_SHAPES.split())


def bind(target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by the names of the operator's schema, defaults filled in."""
    bound = {}
    for i, argument in enumerate(target._schema.arguments):
        if i < len(args) and not argument.kwarg_only:
            bound[argument.name] = args[i]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        else:
            bound[argument.name] = argument.default_value if argument.has_default_value() else None
    return bound


def module_path(node: fx.Node) -> str:
    """Path of the module that a node belongs to."""
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    path = path.removeprefix("L['self']").removeprefix("L__self__").lstrip(".")
    return path.replace("slice(None, None, None)", "").split("@")[0]


def _constant_like(target: Callable[..., Any], bound: dict[str, Any], example: Any) -> Any:
    if not isinstance(example, Tensor):
        return example
    plain = {
        name: torch.empty(value.shape) if isinstance(value, Reach) else value
        for name, value in bound.items()
        if name != "memory_format"
    }
    first = next(iter(plain))
    plain.update(dtype=example.dtype, device="cpu") if "dtype" in plain else None
    with torch.no_grad():
        return target(plain.pop(first), **plain)


def _shapes(example: Any) -> Any:
    if isinstance(example, Tensor):
        return example.shape
    if isinstance(example, list | tuple):
        return [item.shape if isinstance(item, Tensor) else torch.Size() for item in example]
    return None


def _scales(node: fx.Node) -> list[Any]:
    bound = bind(node.target, node.args, node.kwargs)
    return [value for name, value in bound.items() if name.startswith("scale")]


def _each(shapes: Any) -> list[torch.Size]:
    return shapes if isinstance(shapes, list) else [] if shapes is None else [shapes]


def _check_shapes(result: Any, shapes: Any, name: str, path: str) -> None:
    """A rule that gives another shape than the operator would give a wrong answer further on."""
    pairs = zip(result, shapes, strict=False) if isinstance(result, list) else [(result, shapes)]
    for reach, shape in pairs:
        if reach.shape != shape:
            raise ValueError(
                f"operator {name} in {path or 'the module itself'}: its rule gave the shape {tuple(reach.shape)}, "
                f"expected {tuple(shape)}"
            )
