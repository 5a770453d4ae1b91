"""The same step elsewhere: torch.export and ONNX, with named state inputs and outputs.

What is exported is ``step``, which is also what ``forward`` runs: chunk and state in, outputs and next state out. The
chunk's length and the batch size stay dynamic; lengths are multiples of the module's hop, so that the state's shapes
never change.
"""

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from wavedil.checks import shown
from wavedil.layers.base import State, StreamingModule
from wavedil.layers.checks import check_conditions, require_settled
from wavedil.layers.conditions import split_conditions

# The longest chunk, in hops, that an exported step may be given: a minute of audio even at a hop of one sample.
_MOST_HOPS = 1 << 20


class Step(nn.Module):
    """A module's ``step`` as a plain forward: ``(chunk, state, conditions) -> (*outputs, *next_state)``.

    Args:
        module: the streaming module.
    """

    def __init__(self, module: StreamingModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, chunk: Tensor, state: State, conditions: dict[str, Tensor]) -> tuple[Tensor, ...]:
        outputs, following = self.module.step(chunk, state, **conditions)
        return (*_parts(outputs), *following)


def export_step(module: StreamingModule, *shape: int, conditions: dict[str, Tensor] | None = None) -> ExportedProgram:
    """``torch.export`` of one step, with dynamic batch size and chunk length.

    Args:
        module: a layer or model in evaluation mode.
        shape: the axes between batch and time, for modules that do not know them.
        conditions: an example of each condition that the module takes, of any batch size; neither its values nor the
            length of what runs along with the samples matter. None makes them, where the module knows their shapes.

    Returns:
        A program of ``(chunk, state, conditions)``, see :class:`Step`.

    Raises:
        TypeError: if a condition is no tensor.
        ValueError: if the module is in training mode, or does not take such conditions.
    """
    chunk, state, conditions = _example(module, shape, conditions)
    batch, hops = Dim("batch", min=1, max=4096), Dim("hops", min=1, max=_MOST_HOPS)
    time = hops * module.hop if module.hop > 1 else hops
    axes: dict[str, Any] = {
        "chunk": {0: batch, chunk.ndim - 1: time},
        "state": tuple({0: batch} for _ in state),
        "conditions": {
            name: {0: batch, value.ndim - 1: time} if name in module.aligned else {0: batch}
            for name, value in conditions.items()
        },
    }
    with torch.no_grad():
        return torch.export.export(Step(module), (chunk, state, conditions), dynamic_shapes=axes, strict=False)


def to_onnx(
    module: StreamingModule,
    path: str | Path,
    *shape: int,
    conditions: dict[str, Tensor] | None = None,
    program: ExportedProgram | None = None,
) -> None:
    """Write one step as an ONNX file.

    Inputs are ``chunk``, ``state_<name>`` for each of ``module.state_names`` and the conditions by their names; outputs
    are ``output`` (``output_0``, ``output_1`` where there are several) and ``next_state_<name>``. Start from
    ``module.initial_state(batch_size)``. The file's metadata hold the hop, the latency and the lookahead in samples.

    Args:
        module: a layer or model in evaluation mode.
        path: of the file, written whole or not at all.
        shape: as in :func:`export_step`.
        conditions: as in :func:`export_step`.
        program: what :func:`export_step` gave for the same, if it was called before.

    Raises:
        ModuleNotFoundError: without the extra ``onnx``.
        RuntimeError: if ONNX Runtime computes other values than the module, of noise, faint noise or digital silence.
        TypeError: as in :func:`export_step`.
        ValueError: as in :func:`export_step`.
    """
    _require_onnx("onnx", "onnxscript")
    import onnx

    path = Path(path)
    names = [name.replace(".", "_") for name in module.state_names]
    if len(set(names)) < len(names):
        raise ValueError(
            f"the names of the state are not distinct with _ for each dot: {', '.join(module.state_names)}"
        )
    program = program or export_step(module, *shape, conditions=conditions)
    outputs = len(program.graph_signature.user_outputs) - len(names)
    with quiet():
        exported = torch.onnx.export(
            program,
            (),
            input_names=[
                "chunk",
                *(f"state_{name}" for name in names),
                *sorted(conditions or _zeros(module, torch.empty(0))),
            ],
            output_names=[
                *(["output"] if outputs == 1 else [f"output_{i}" for i in range(outputs)]),
                *(f"next_state_{name}" for name in names),
            ],
            dynamo=True,
            verbose=False,
            optimize=False,
        )
        if exported is None:
            raise RuntimeError("the ONNX exporter returned no model")
        _simplify(exported.model)
    model = exported.model_proto
    latency = {"hop": module.hop, "latency": module.latency, "lookahead": module.lookahead}
    onnx.helper.set_model_props(model, {"wavedil": json.dumps(latency)})
    temporary = path.with_name(path.name + ".partial")
    try:
        onnx.save(model, str(temporary))
        _check_values(temporary, module, shape, conditions or {})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _simplify(model: Any) -> None:
    """Inline functions and fold constants, in place.

    The exporter's own optimiser takes a constant of up to 1e-8 for 0. It drops the floor of a logarithm and the epsilon
    of a norm, and digital silence becomes minus infinity.
    """
    from onnxscript import optimizer

    optimizer.inline(model)
    optimizer.fold_constants_ir(model, onnx_shape_inference=True)
    optimizer.remove_unused_nodes(model)


def _check_values(path: Path, module: StreamingModule, shape: tuple[int, ...], conditions: dict[str, Tensor]) -> None:
    """Run the file on noise, faint noise and digital silence, two chunks of each, and compare it with the module.

    Nothing is compared without ONNX Runtime, or in another type than float32, of which it knows few operators.
    """
    chunk, _, conditions = _example(module, shape, conditions)
    if chunk.dtype != torch.float32 or importlib.util.find_spec("onnxruntime") is None:
        return
    noise = torch.randn(chunk[:1].shape, generator=torch.Generator().manual_seed(0)).to(chunk)
    chunks = torch.cat([noise, 1e-6 * noise, 0 * noise])
    given = {name: value[:1].repeat(3, *[1] * (value.ndim - 1)) for name, value in conditions.items()}
    steady: dict[str, Any] = {name: value for name, value in given.items() if name not in module.aligned}
    step = OnnxStep(path)
    with torch.no_grad():
        ours = theirs = module.initial_state(3, *shape, **steady)
        for _ in range(2):
            expected, ours = module.step(chunks, ours, **given)
            found, theirs = step.step(chunks, theirs, **given)
            for one, other in zip(_parts(found), _parts(expected), strict=True):
                _require_close(path, one, other)


def _require_close(path: Path, found: Tensor, expected: Tensor) -> None:
    for signal, one, other in zip(("noise", "faint noise", "silence"), found, expected.cpu(), strict=True):
        limit = 1e-4 * max(float(other.nan_to_num(0, 0, 0).abs().max()), 1.0)
        if not torch.allclose(one, other, rtol=0, atol=limit, equal_nan=True):
            by = float((one - other).abs().max())
            raise RuntimeError(
                f"{path.with_suffix('')}: ONNX Runtime differs from the module by {by:.2g} on {signal}, "
                f"expected at most {limit:.2g}: the file was not kept"
            )


class ExportedStep:
    """A program of :func:`export_step`, run with the signature of ``step``.

    Args:
        program: the program.
    """

    def __init__(self, program: ExportedProgram) -> None:
        # The exporter guards against sizes of 1 wherever its example had more, for the sake of memory layout alone:
        # what it computes holds for a single hop too, which verify_streaming_contract proves.
        self.program = program.module(check_guards=False)

    def step(self, chunk: Tensor, state: State, **conditions: Tensor) -> tuple[Any, State]:
        """One step; see :meth:`wavedil.layers.StreamingModule.step`."""
        return _outputs_and_state(self.program(chunk, state, dict(sorted(conditions.items()))), len(state))


class OnnxStep:
    """An ONNX file of :func:`to_onnx`, run by ONNX Runtime with the signature of ``step``.

    Args:
        path: of the file.

    Raises:
        ModuleNotFoundError: without the extra ``onnx``.
    """

    def __init__(self, path: str | Path) -> None:
        _require_onnx("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [item.name for item in self.session.get_inputs()]
        self.states = [name for name in self.inputs if name.startswith("state_")]

    def step(self, chunk: Tensor, state: State, **conditions: Tensor) -> tuple[Any, State]:
        """One step; see :meth:`wavedil.layers.StreamingModule.step`."""
        given = {"chunk": chunk, **dict(zip(self.states, state, strict=False)), **conditions}
        if given.keys() != set(self.inputs) or len(state) != len(self.states):
            found = ", ".join([*(f"{len(state)} tensors of state",), "chunk", *conditions])
            raise ValueError(f"expected the inputs {', '.join(self.inputs)}, got {found}")
        for name, value in given.items():
            if not isinstance(value, Tensor):
                raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
        results = self.session.run(None, {name: value.detach().cpu().numpy() for name, value in given.items()})
        return _outputs_and_state(tuple(torch.from_numpy(value) for value in results), len(state))


def _parts(outputs: Any) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _outputs_and_state(results: tuple[Tensor, ...], states: int) -> tuple[Any, State]:
    outputs = results[: len(results) - states]
    return (outputs[0] if len(outputs) == 1 else outputs), results[len(results) - states :]


def _example(
    module: StreamingModule, shape: tuple[int, ...], conditions: dict[str, Tensor] | None
) -> tuple[Tensor, State, dict[str, Tensor]]:
    """A chunk of a few hops for a batch of 2, the state before it and the conditions along with it."""
    if not isinstance(module, StreamingModule):
        raise TypeError(f"module: expected a layer or model of the package, got {shown(module)}")
    require_settled(module, "exporting")
    like = next(module.parameters(), torch.empty(0)).detach()
    chunk = like.new_zeros(2, *module.complete_shape(*shape), 3 * module.hop)
    given = {name: _of_two(value) for name, value in (conditions or _zeros(module, like)).items()}
    check_conditions(module, given, chunk, complete=False)
    steady, running = split_conditions(module, given)
    running = {name: value.new_zeros(*value.shape[:-1], chunk.shape[-1]) for name, value in running.items()}
    check_conditions(module, {**steady, **running}, chunk)
    with torch.no_grad():
        state = module.initial_state(2, *shape, **steady)
    # By name, since a program takes a dictionary in the order of its example alone.
    return chunk, state, dict(sorted({**steady, **running}.items()))


def _zeros(module: StreamingModule, like: Tensor) -> dict[str, Tensor]:
    """An example of each condition whose shape is known."""
    known = {name: axes for name, axes in module.condition_shapes.items() if axes is not None}
    return {name: like.new_zeros(1, *axes, *[1] * (name in module.aligned)) for name, axes in known.items()}


def _of_two(value: Any) -> Any:
    """A tensor's first row for both sessions of a batch."""
    return value[:1].repeat(2, *[1] * (value.ndim - 1)) if isinstance(value, Tensor) and value.ndim else value


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the compilers' and exporters' progress lines and the deprecation warnings of their own dependencies."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _require_onnx(*packages: str) -> None:
    for package in packages:
        try:
            __import__(package)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f'{package} is missing: pip install "wavedil[onnx]"') from error
