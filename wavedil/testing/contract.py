"""The streaming contract, checked: for the layers of this package and for anybody's own.

Each check is public and stands alone; :func:`verify_streaming_contract` runs them all and reports the errors it
measured.
"""

import copy
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wavedil.export import export_step
from wavedil.layers.base import StreamingModule, drop_first, with_tail
from wavedil.layers.checks import check_conditions, require_settled
from wavedil.layers.conditions import cut, split_conditions
from wavedil.streaming import Stream
from wavedil.testing.backends import check_backend
from wavedil.testing.compare import parts_of, relative_error, require

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


@dataclass(frozen=True)
class Report:
    """Largest differences found, relative to the largest value compared (at least 1).

    Attributes:
        float64: between streamed and offline outputs in float64.
        float32: likewise in float32.
        gradients: between streamed and offline gradients of input and parameters, in float64.
        backends: between eager and each of the other ways of running that were asked for, in float32.
    """

    float64: float
    float32: float
    gradients: float
    backends: dict[str, float]


def verify_streaming_contract(
    module: StreamingModule,
    *,
    shape: Sequence[int] = (),
    time: int | None = None,
    batch_size: int = 2,
    conditions: dict[str, Tensor] | None = None,
    chunkings: int = 3,
    backends: Sequence[str] = (),
    seed: int = 0,
    **named: Tensor,
) -> Report:
    """Check that a module streams: outputs, gradients, state, reach, and the ways of running it.

    Args:
        module: a layer or model; a copy in evaluation mode is checked.
        shape: the axes between batch and time, for modules that do not know them.
        time: samples in the signal; None takes up to two receptive fields, and must be given where those have no end.
        batch_size: sessions.
        conditions: keyword inputs of ``step``, for ``batch_size`` sessions; those in ``module.aligned`` as long as
            the signal, which is ``time`` where one is given.
        chunkings: how many random ragged chunkings are tried, besides the shortest chunks.
        backends: also run by "compile" (``torch.compile(fullgraph=True)``), "export" (``torch.export``), "onnx" (ONNX
            Runtime).
        seed: of signal and chunkings.
        named: conditions too, such as ``global_condition=...``.

    Returns:
        The errors measured.

    Raises:
        AssertionError: naming what does not hold, expected and actual.
        TypeError: if a condition is no tensor.
        ValueError: if the receptive field is unbounded and no time is given, or the module takes other conditions.
    """
    signal = random_signal(module, shape, time, batch_size, seed)
    conditions = {name: value.to(signal.dtype) for name, value in {**(conditions or {}), **named}.items()}
    check_conditions(module, conditions, signal)
    rng = random.Random(seed)
    chunkings_of_time = [shortest_chunks(module.hop, signal.shape[-1])]
    chunkings_of_time += [ragged_chunks(module.hop, signal.shape[-1], rng) for _ in range(chunkings)]
    errors: dict[torch.dtype, float] = {}
    for dtype in (torch.float64, torch.float32):
        twin, x, given = _cast(module, signal, conditions, dtype)
        errors[dtype] = max(check_outputs(twin, x, chunks, given) for chunks in chunkings_of_time)
    twin, x, given = _cast(module, signal, conditions, torch.float64)
    gradients = check_gradients(twin, x, chunkings_of_time[-1], given)
    check_state(twin, x, given)
    check_reach(twin, x, given)
    check_stream(twin, x, given, rng)
    check_modes(twin, x, given)
    twin, x, given = _cast(module, signal, conditions, torch.float32)
    twice = {"export", "onnx"} <= set(backends)
    program = export_step(twin, *x.shape[1:-1], conditions=given) if twice else None
    found = {name: check_backend(name, twin, x, given, program) for name in backends}
    for name, error in found.items():
        require(error <= TOLERANCE[torch.float32], f"{name} differs from eager by {error:.2e}, expected at most 1e-5")
    return Report(errors[torch.float64], errors[torch.float32], gradients, found)


def check_outputs(module: StreamingModule, x: Tensor, chunks: Sequence[int], conditions: dict[str, Tensor]) -> float:
    """Concatenated steps equal forward; the relative difference."""
    with torch.no_grad():
        offline = parts_of(module(x, **conditions))
        streamed = parts_of(stream_by_steps(module, x, chunks, conditions))
    error = max(relative_error(a, b) for a, b in zip(streamed, offline, strict=True))
    limit = TOLERANCE[x.dtype]
    require(
        error <= limit,
        f"chunks {list(chunks[:8])}...: streamed differs by {error:.2e} ({x.dtype}), expected {limit:.0e}",
    )
    return error


def check_gradients(module: StreamingModule, x: Tensor, chunks: Sequence[int], conditions: dict[str, Tensor]) -> float:
    """Gradients of input and parameters are the same streamed and offline; the relative difference."""
    inputs = [p for p in module.parameters() if p.requires_grad]

    def gradients(streamed: bool) -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        y = stream_by_steps(module, leaf, chunks, conditions) if streamed else module(leaf, **conditions)
        # Different weights for each output, so that no two errors can cancel.
        flat = torch.cat([part.flatten() for part in parts_of(y)])
        loss = flat @ torch.linspace(-1, 2, flat.numel()).to(flat)
        return list(torch.autograd.grad(loss, [leaf, *inputs], allow_unused=True, materialize_grads=True))

    error = max(relative_error(a, b) for a, b in zip(gradients(True), gradients(False), strict=True))
    require(error <= 1e-10, f"streamed gradients differ by {error:.2e}, expected at most 1e-10")
    return error


def check_state(module: StreamingModule, x: Tensor, conditions: dict[str, Tensor]) -> None:
    """The state is a flat tuple, batch first, of the signal's type, never changed, never aliased, never saved."""
    steady, running = split_conditions(module, conditions)
    running = cut(running, 0, module.hop)
    names = module.state_names
    with torch.no_grad():
        state = module.initial_state(x.shape[0], *x.shape[1:-1], dtype=x.dtype, device=x.device, **steady)
        require(isinstance(state, tuple), f"the state is a {type(state).__name__}, expected a flat tuple of tensors")
        require(len(names) == len(state), f"{len(names)} state_names for {len(state)} tensors")
        require(len(set(names)) == len(names), f"state_names are not distinct: {names}")
        for _ in range(2):
            before, chunk = [t.clone() for t in state], x[..., : module.hop].clone()
            kept = {name: value.clone() for name, value in {**steady, **running}.items()}
            outputs, following = module.step(chunk, state, **steady, **running)
            require(torch.equal(chunk, x[..., : module.hop]), "the chunk was changed in place")
            for name, value in {**steady, **running}.items():
                require(torch.equal(value, kept[name]), f"{name} was changed in place")
            for i, y in enumerate(parts_of(outputs)):
                require(y.dtype == x.dtype, f"output {i} is {y.dtype}, expected {x.dtype}")
            others = {"the chunk": chunk, **{f"output {i}": y for i, y in enumerate(parts_of(outputs))}}
            for name, old, copy_of_old, new in zip(names, state, before, following, strict=True):
                require(torch.equal(old, copy_of_old), f"state {name} was changed in place")
                require(old.shape[0] == x.shape[0], f"state {name} is {tuple(old.shape)}, expected batch first")
                require(new.dtype == x.dtype, f"state {name} is {new.dtype}, expected {x.dtype}")
                require(new.shape == old.shape, f"state {name} went from {tuple(old.shape)} to {tuple(new.shape)}")
                for what, other in {**others, "the state before": old}.items():
                    require(not _share_memory(new, other), f"state {name} shares memory with {what}")
            state = following
    saved = set(module.state_dict()) & set(names)
    require(not saved, f"state {sorted(saved)} is in the state_dict")


def _share_memory(a: Tensor, b: Tensor) -> bool:
    return a.numel() > 0 and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def check_reach(module: StreamingModule, x: Tensor, conditions: dict[str, Tensor]) -> None:
    """An output reads the inputs that ``field`` says, no fewer and no more, by probing with NaN.

    NaN survives every multiplication, even by a weight of zero, so what reaches an output is seen exactly. For an
    output of each phase: NaN in the first input of its interval, or in the last, must make it NaN; NaN in all others
    must not. Of the whole past, the first input is the signal's.
    """
    field, time = module.field, x.shape[-1] // module.hop * module.hop
    x = x[..., :time]
    steady, running = split_conditions(module, conditions)
    conditions = {**steady, **cut(running, 0, time)}
    with torch.no_grad():
        count = parts_of(module(x, **conditions))[0].shape[-1]
        # The newest outputs whose intervals lie inside the signal, one of each phase; an empty one lies anywhere.
        fields = [(n, *field.at(n)) for n in range(count)]
        intervals = [(n, 0 if start == -math.inf else start, end) for n, start, end in fields]
        inside = [(n, start, end) for n, start, end in intervals if start > end or 0 <= start <= end < time]
        need = f"a receptive field of {field.receptive_field}"
        require(bool(inside), f"{time} samples do not hold {need}: give a longer time")
        rows, expected = [], []
        for n, start, end in inside[-field.outputs :]:
            edges = {int(start), int(end)} if start <= end else set()
            within = torch.zeros(time, dtype=torch.bool)
            within[min(edges, default=0) : max(edges, default=-1) + 1] = True
            rows.append(x[:1].masked_fill(~within.to(x.device), float("nan")))
            expected.append((n, False, f"an input outside {start} to {end}"))
            for edge in edges:
                rows.append(x[:1].clone())
                rows[-1][..., edge] = float("nan")
                expected.append((n, True, f"input {edge}"))
        same = {name: value[:1].expand(len(rows), *value.shape[1:]) for name, value in conditions.items()}
        outputs = parts_of(module(torch.cat(rows), **same))
    for row, (n, reached, what) in enumerate(expected):
        actual = any(bool(y[row, ..., n].isnan().any()) for y in outputs)
        require(
            actual == reached, f"{what} {'does not reach' if reached else 'reaches'} output {n}, unlike the field says"
        )


def check_stream(module: StreamingModule, x: Tensor, conditions: dict[str, Tensor], rng: random.Random) -> None:
    """:class:`Stream`, fed by ragged chunks from single samples up, and flushed, equals forward."""
    steady, running = split_conditions(module, conditions)
    stream = Stream(module, x.shape[0], *x.shape[1:-1], dtype=x.dtype, device=x.device, **steady)
    outputs, position = [], 0
    while position < x.shape[-1]:
        size = min(rng.choice((1, 2, 3, module.hop, 7 * module.hop + 1, 1000)), x.shape[-1] - position)
        moment = position, position + size
        outputs.append(parts_of(stream.push(x[..., slice(*moment)], **cut(running, *moment))))
        position += size
    outputs.append(parts_of(stream.flush()))
    with torch.no_grad():
        offline = parts_of(module(x, **conditions))
    streamed = [torch.cat(parts, dim=-1) for parts in zip(*outputs, strict=True)]
    for got, expected in zip(streamed, offline, strict=True):
        require(got.shape == expected.shape, f"Stream gave {tuple(got.shape)}, forward {tuple(expected.shape)}")
        error = relative_error(got, expected)
        require(error <= TOLERANCE[x.dtype], f"Stream differs from forward by {error:.2e}")


def check_modes(module: StreamingModule, x: Tensor, conditions: dict[str, Tensor]) -> None:
    """A :class:`Stream` whose module goes back to training refuses to go on, if training makes a difference."""
    steady, running = split_conditions(module, conditions)
    stream = Stream(module, x.shape[0], *x.shape[1:-1], dtype=x.dtype, device=x.device, **steady)
    module.train()
    try:
        require_settled(module, "streaming")
    except ValueError:
        try:
            stream.push(x[..., : module.hop], **cut(running, 0, module.hop))
        except ValueError:
            return
        require(False, "a Stream goes on although its module went back to training")
    finally:
        module.eval()


def stream_by_steps(module: StreamingModule, x: Tensor, chunks: Sequence[int], conditions: dict[str, Tensor]) -> Any:
    """What the steps over these chunks give, concatenated and aligned with ``forward``."""
    x, conditions = with_tail(module, x, conditions)
    steady, running = split_conditions(module, conditions)
    state = module.initial_state(x.shape[0], *x.shape[1:-1], dtype=x.dtype, device=x.device, **steady)
    outputs, position = [], 0
    for size in [*chunks[:-1], x.shape[-1] - sum(chunks[:-1])]:
        moment = position, position + size
        y, state = module.step(x[..., slice(*moment)], state, **steady, **cut(running, *moment))
        outputs.append(parts_of(y))
        position += size
    joined = tuple(torch.cat(parts, dim=-1) for parts in zip(*outputs, strict=True))
    return drop_first(joined, module.preroll)


def random_signal(
    module: StreamingModule, shape: Sequence[int], time: int | None, batch_size: int, seed: int
) -> Tensor:
    """Noise for the module, ``(batch_size, ..., time)`` in float64, by default beyond one receptive field long."""
    if time is None and math.isinf(module.receptive_field):
        raise ValueError(f"{type(module).__name__} has an unbounded receptive field: give the time")
    if time is None:
        reach = int(module.receptive_field)
        time = reach + max(min(reach, 10_000), 12 * module.hop) + module.hop // 2
    generator = torch.Generator().manual_seed(seed)
    axes = module.complete_shape(*shape)
    return torch.randn(batch_size, *axes, time, generator=generator, dtype=torch.float64)


def shortest_chunks(hop: int, time: int) -> list[int]:
    """Chunks of one hop; the last takes what is left."""
    sizes = [hop] * (time // hop)
    sizes[-1] += time % hop
    return sizes


def ragged_chunks(hop: int, time: int, rng: random.Random) -> list[int]:
    """Chunks of random sizes of at least one hop, multiples of it or not."""
    sizes, left = [], time
    while left >= 2 * hop:
        sizes.append(rng.randint(hop, min(max(4 * hop, 1 + left // 3), left - hop)))
        left -= sizes[-1]
    return [*sizes, left]


def _cast(
    module: StreamingModule, x: Tensor, conditions: dict[str, Tensor], dtype: torch.dtype
) -> tuple[StreamingModule, Tensor, dict[str, Tensor]]:
    twin = copy.deepcopy(module).eval().to(dtype)
    return twin, x.to(dtype), {name: value.to(dtype) for name, value in conditions.items()}
