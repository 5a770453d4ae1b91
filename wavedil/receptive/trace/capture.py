"""A module captured as a graph of operators, by ``torch.export``, with the constants in it."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.nn.modules import transformer

from wavedil.receptive.failures import asks_for_values, failures_named
from wavedil.receptive.trace.known import KnownValues
from wavedil.receptive.trace.rules import RULES

# Operators that take nothing but the shape, the type and the device of their argument.
_SHAPES = """
zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones new_full new_empty
new_empty_strided sym_size sym_numel sym_stride
"""
SHAPE_ONLY = frozenset(_SHAPES.split())
# Arguments of which others take nothing else.
SHAPE_OF = {"type_as": "other", "expand_as": "other", "view_as": "other", "reshape_as": "other"}
SHAPE_OF |= {"fill": "self", "copy": "self", "zero": "self"}


def capture(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExportedProgram:
    """``torch.export`` in its own words of operators, without the fused paths that hide what attention reads."""
    random = torch.random.fork_rng(devices=[])
    with failures_named(module), attributes_kept(module), quiet(), as_written(), torch.no_grad(), random:
        try:
            return torch.export.export(module, args, kwargs, strict=False)
        except Exception as error:
            if not asks_for_values(error):
                raise
        # Most modules ask for no value, and are captured faster without any.
        with KnownValues(module):
            torch.manual_seed(0)
            return torch.export.export(module, args, kwargs, strict=False)


@contextlib.contextmanager
def attributes_kept(module: nn.Module) -> Iterator[None]:
    """What a module writes into its attributes while it is captured, tensors without values, is taken back."""
    before = [(part, dict(vars(part))) for part in module.modules()]
    try:
        yield
    finally:
        for part, attributes in before:
            vars(part).clear()
            vars(part).update(attributes)


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
        if any(is_mutable(node) for node in _dependent_calls(exported)):
            exported = exported.run_decompositions({})
        unknown = {node.target for node in _dependent_calls(exported) if op_name(node.target) not in RULES}
        unknown = {op for op in unknown if op_name(op) not in SHAPE_ONLY}
        if not unknown:
            return exported
        table = {op: rule for op, rule in torch.export.default_decompositions().items() if op in unknown}
        return exported.run_decompositions(table) if table else exported


def calls(graph_module: fx.GraphModule) -> Iterator[fx.Node]:
    """All calls of operators, those of nested graphs among them."""
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
    yield from (node for node in calls(exported.graph_module) if node in reached or node.graph is not main)


def is_mutable(node: fx.Node) -> bool:
    """Whether an operator writes into its arguments."""
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
    if not (parameter.is_floating_point() or parameter.is_complex()):
        return parameter
    size = parameter.abs()
    return torch.where(size > 0, size, 1.0).nan_to_num(1.0).to(parameter.dtype)


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
