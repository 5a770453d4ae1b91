"""A step compiled, exported and in ONNX Runtime, against the same step eager."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from wavedil.export import ExportedStep, OnnxStep, export_step, quiet, to_onnx
from wavedil.layers.base import StreamingModule, drop_first, with_tail
from wavedil.layers.conditions import cut, split_conditions
from wavedil.testing.compare import parts_of, relative_error


def check_backend(
    name: str,
    module: StreamingModule,
    x: Tensor,
    conditions: dict[str, Tensor],
    program: ExportedProgram | None = None,
) -> float:
    """Stream a signal, the same at a millionth of its level, and silence, through the compiled or exported step.

    Args:
        name: "compile" (``torch.compile`` by inductor), "capture" (``torch.compile`` of the graph alone, no compiler
            needed), "export" or "onnx".
        module: a layer or model in evaluation mode, float32.
        x: ``(batch, ..., time)``.
        conditions: keyword inputs of ``step``.
        program: the exported step, for "export" and "onnx", if there is one already.

    Returns:
        The largest difference of the outputs from ``module(x)``, relative to the largest output (at least 1).

    Raises:
        ValueError: for another name.
    """
    x = x[..., : x.shape[-1] // module.hop * module.hop]
    steady, running = split_conditions(module, conditions)
    conditions = {**steady, **cut(running, 0, x.shape[-1])}
    # A constant that was lost in the export, the floor of a logarithm say, is heard where there is next to nothing.
    x = torch.cat([x, 1e-6 * x, 0 * x])
    conditions = {k: v.repeat(3, *[1] * (v.ndim - 1)) for k, v in conditions.items()}
    with torch.no_grad():
        offline = parts_of(module(x, **conditions))
        padded, running = with_tail(module, x, conditions)
        with _backend(name, module, x, conditions, program) as step:
            streamed = _run_chunks(step, module, padded, running)
    return max(relative_error(a, b) for a, b in zip(streamed, offline, strict=True))


@contextlib.contextmanager
def _backend(
    name: str, module: StreamingModule, x: Tensor, conditions: dict[str, Tensor], program: ExportedProgram | None
) -> Iterator[Any]:
    """The module's ``step``, run in another way."""
    shape = tuple(x.shape[1:-1])
    if name in ("compile", "capture"):
        torch.compiler.reset()
        backend = "inductor" if name == "compile" else "eager"
        with quiet():
            yield torch.compile(module.step, fullgraph=True, dynamic=True, backend=backend)
        torch.compiler.reset()
    elif name == "export":
        yield ExportedStep(program or export_step(module, *shape, conditions=conditions)).step
    elif name == "onnx":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "step.onnx"
            to_onnx(module, path, *shape, conditions=conditions, program=program)
            yield OnnxStep(path).step
    else:
        raise ValueError(f"backend must be 'compile', 'capture', 'export' or 'onnx', got {name!r}")


def _run_chunks(step: Any, module: StreamingModule, x: Tensor, conditions: dict[str, Tensor]) -> list[Tensor]:
    """Outputs of chunks of 1, 2, 5, 1, ... hops, concatenated and aligned with ``forward``."""
    steady, along = split_conditions(module, conditions)
    state = module.initial_state(x.shape[0], *x.shape[1:-1], dtype=x.dtype, device=x.device, **steady)
    outputs, position, turn = [], 0, 0
    while position < x.shape[-1]:
        size = min((1, 2, 5)[turn % 3] * module.hop, x.shape[-1] - position)
        running = {name: value.contiguous() for name, value in cut(along, position, position + size).items()}
        y, state = step(x[..., position : position + size].contiguous(), state, **steady, **running)
        outputs.append(parts_of(y))
        position, turn = position + size, turn + 1
    return [drop_first(torch.cat(parts, dim=-1), module.preroll) for parts in zip(*outputs, strict=True)]
