"""The graph of a module, and the walk that carries dependences through it."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from wavedil.receptive.failures import TORCH
from wavedil.receptive.trace.capture import (
    SHAPE_OF,
    SHAPE_ONLY,
    bind,
    calls,
    capture,
    constants_of,
    functional,
    is_mutable,
    op_name,
)
from wavedil.receptive.trace.reach import Reach, reaches
from wavedil.receptive.trace.rules import RULES, Call
from wavedil.receptive.trace.rules.movement import everything

# Where functions of a graph come from that compute sizes, or take one of several.
_OF_NUMBERS = ("_operator", "builtins", "math", "torch", "torch.fx.experimental.symbolic_shapes")


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
        writes = any(is_mutable(node) for node in calls(self.exported.graph_module))
        self._written = set(self.exported.graph_signature.inputs_to_buffers if writes else ())

    @property
    def size(self) -> int:
        """Operators in the graph."""
        return len(self.exported.graph.nodes)

    @property
    def divides(self) -> bool:
        """Whether an operator makes so many outputs of any input: what they read is seen at two lengths alone."""
        return any(_divides(node) for node in calls(self.exported.graph_module))

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
        values = {k: v.clone() if k in self._written else v for k, v in self.constants.items()}
        values[names[position]] = seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _Walker(found, allow_unknown, keep_steps).graph(self.exported.graph_module, values, found)
        wanted = {name for name in self.exported.graph_signature.user_outputs if isinstance(name, str)}
        node = next(node for node in self.exported.graph.nodes if node.op == "output")
        pairs = zip(node.args[0], found.outputs, strict=True)
        found.outputs = [value for arg, value in pairs if isinstance(arg, fx.Node) and arg.name in wanted]
        return found


def _divides(node: fx.Node) -> bool:
    name, bound = op_name(node.target), bind(node.target, node.args, node.kwargs)
    scaled = any(value for argument, value in bound.items() if argument.startswith("scale"))
    return "adaptive" in name or ("upsample" in name and not scaled)


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
            if getattr(target, "__module__", "") not in _OF_NUMBERS:
                place = f"{getattr(target, '__name__', target)} in {module_path(node) or 'the module itself'}"
                raise UnknownOperatorError(f"operator {place}: what it reads is not known{line_of(node)}")
            return target(*args, **kwargs)
        bound = _without_values(node, bind(target, args, kwargs))
        if not reaches(*bound.values()):
            with torch.no_grad():
                return target(*bound.values()) if op_name(target) in SHAPE_OF else target(*args, **kwargs)
        name, path = op_name(target), module_path(node)
        shapes = _shapes(node.meta.get("val"))
        if any(not isinstance(size, int) for shape in _each(shapes) for size in shape):
            shapes = _shapes_without_values(node, args, kwargs)
        if shapes is None and isinstance(node.meta.get("val"), Tensor):
            place = f"operator {name} in {path or 'the module itself'}"
            said = "the size of what it gives depends on the values of the input"
            raise UnknownOperatorError(f"{place}: {said}{line_of(node)}")
        call = Call(name, bound, shapes, target)
        if name in SHAPE_ONLY:
            return _constant_like(target, bound, node.meta.get("val"))
        if shapes is None:  # an assertion: gives nothing
            return None
        result = self._ruled(call, path, line_of(node))
        _check_shapes(result, shapes, name, path)
        if self.keep_steps:
            first = result[0] if isinstance(result, list) else result
            self.found.steps.append(Step(path, name, call, first))
        return result

    def _ruled(self, call: Call, path: str, line: str) -> Any:
        place, failure = f"operator {call.name} in {path or 'the module itself'}", None
        if call.name in RULES:
            try:
                return RULES[call.name](call)
            except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
                failure = error  # a use of the operator that its rule does not foresee
        if not self.allow_unknown:
            reason = f" ({type(failure).__name__}: {failure})" if failure else ""
            raise UnknownOperatorError(
                f"{place}: what it reads is not known{reason}; allow_unknown takes it to read everything{line}"
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
            said = "what it reads depends on the values, which a trace does not know"
            raise UnknownOperatorError(f"{place}: {said}{line_of(node)}")
        inner = graphs[0]
        inputs = list(args[list(args).index(inner) + 1 :])
        names = [n.name for n in inner.graph.nodes if n.op == "placeholder"]
        if inputs and isinstance(inputs[0], list | tuple) and len(inputs) == 1 and len(names) != 1:
            inputs = list(inputs[0])
        return self.graph(inner, dict(zip(names, inputs, strict=True)))


def module_path(node: fx.Node) -> str:
    """Path of the module that a node belongs to."""
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    path = path.removeprefix("L['self']").removeprefix("L__self__").lstrip(".")
    path = path.removeprefix("inner").lstrip(".")  # of Flat
    return path.replace("slice(None, None, None)", "").split("@")[0]


def line_of(node: fx.Node) -> str:
    """File and line of the user's code that a node comes from, in brackets; nothing where they are not known."""
    places = re.findall(r'File "(.+?)", line (\d+)', node.meta.get("stack_trace") or "")
    own = [(Path(file), line) for file, line in places if not Path(file).is_relative_to(TORCH)]
    return f" ({own[-1][0].name}:{own[-1][1]})" if own else ""


def _shapes_without_values(node: fx.Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The shapes that an operator gives whatever the values of the input are; None where they depend on these."""
    found = []
    for fill in (torch.zeros, torch.ones):
        pairs = zip(node.args, args, strict=True)
        plain = [_stand_in(argument, value, fill) for argument, value in pairs]
        named = {name: _stand_in(node.kwargs[name], value, fill) for name, value in kwargs.items()}
        try:
            with torch.no_grad():
                found.append(_shapes(cast(Callable[..., Any], node.target)(*plain, **named)))
        except (RuntimeError, IndexError, TypeError, ValueError):
            return None
    return found[0] if found[0] == found[1] else None


def _without_values(node: fx.Node, bound: dict[str, Any]) -> dict[str, Any]:
    """Arguments that give an operator their shape and type alone, as tensors that depend on nothing."""
    name = SHAPE_OF.get(op_name(node.target))
    if name is None or not isinstance(bound.get(name), Reach):
        return bound
    example = bind(node.target, node.args, node.kwargs)[name].meta["val"]
    return {**bound, name: torch.empty(bound[name].shape, dtype=example.dtype)}


def _stand_in(argument: Any, value: Any, fill: Callable[..., Tensor]) -> Any:
    if isinstance(value, Reach):
        return fill(value.shape, dtype=argument.meta["val"].dtype)
    if isinstance(value, list | tuple):
        return [_stand_in(a, v, fill) for a, v in zip(argument, value, strict=True)]
    return value


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
