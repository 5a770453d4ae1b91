"""Calls of layers, models, wavelets and functions, with arguments and inputs of every kind.

What is refused must be refused by the package itself, in one line; what is taken must give the numbers of the same
module in float64, and in a stream those of the whole signal.
"""

import copy
import math
import random
import traceback
from pathlib import Path
from typing import Any

import torch
from arguments import FUNCTIONS, MAKERS, SPOILED, WRONG
from target import Wrong

import wavedil
from wavedil import Stream

ALLOWED = (ValueError, TypeError)
HERE = str(Path(wavedil.__file__).parent)


def prepare(folder: Path) -> None:
    """One thread: the processes are the parallel part."""
    torch.set_num_threads(1)


def attempt(rng: random.Random) -> str:
    """Make something, and use it."""
    torch.manual_seed(rng.getrandbits(31))
    name = rng.choice([*MAKERS, *FUNCTIONS])
    make, needed, optional = (MAKERS | FUNCTIONS)[name]
    arguments = {key: draw(rng) for key, draw in needed.items()}
    arguments |= {key: draw(rng) for key, draw in optional.items() if rng.random() < 0.4}
    if rng.random() < 0.35:
        arguments[rng.choice(list(arguments or {"x": 0}))] = rng.choice(WRONG)
    try:
        made = make(**arguments)
        return f"{name} used" if name in FUNCTIONS else use(name, made, rng)
    except ALLOWED as error:
        require_own_words(error)
        raise
    except RecursionError as error:
        raise Wrong("recursion") from error


def require_own_words(error: BaseException) -> None:
    """The error was raised in the package, with one line for its message."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    if not frame.filename.startswith(HERE) and "unexpected keyword" not in str(error):
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        raise Wrong(f"somebody else's words, at {place}: {type(error).__name__}: {error}") from error
    if "\n" in str(error) or not str(error) or len(str(error)) > 600:
        raise Wrong(f"not one line: {error}") from error


def use(name: str, module: Any, rng: random.Random) -> str:
    """Run a module on a signal, whole and in chunks."""
    module.eval()
    if module.hop > 2**18:
        return "made"
    x, conditions = signal(module, rng)
    if rng.random() < 0.3:
        module(rng.choice(SPOILED)(x), **conditions)
        return "odd input taken"
    with torch.no_grad():
        whole = parts(module(x, **conditions))
    if module.receptive_field < 1e5:
        with torch.no_grad():
            wide = {key: value.double() for key, value in conditions.items()}
            exact = parts(copy.deepcopy(module).double()(x.double(), **wide))
        compare(whole, exact, f"{name} in float64")
    if math.isinf(module.lookahead) or conditions or x.shape[-1] == 0:
        return f"{name} whole"
    stream, pieces, position = Stream(module, x.shape[0], *x.shape[1:-1], dtype=x.dtype), [], 0
    while position < x.shape[-1]:
        length = rng.choice((1, 2)) if len(pieces) < 4 else rng.choice((module.hop, 3 * module.hop + 1))
        pieces.append(parts(stream.push(x[..., position : position + length])))
        position += length
    pieces.append(parts(stream.flush()))
    compare([torch.cat(piece, -1) for piece in zip(*pieces, strict=True)], whole, f"{name} streamed")
    return f"{name} streamed"


def signal(module: Any, rng: random.Random) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Noise, faint noise or silence that the module takes, and the conditions that it needs."""
    try:
        shape = module.input_shape()
    except ValueError:
        width = getattr(module, "in_channels", getattr(module, "channels", None))
        width = getattr(module, "num_features", rng.randint(1, 4)) if width is None else width
        shape = (width, rng.randint(1, 9)) if rng.random() < 0.7 else (width,)
    kind = next(module.parameters(), torch.empty(0)).dtype
    hops = rng.randint(1, 12) if module.hop < 10_000 else 1
    time = module.hop * hops + rng.randint(0, min(module.hop, 10_000) - 1)
    x = rng.choice((1.0, 1e-6, 0.0)) * torch.randn(rng.randint(1, 2), *shape, time).to(kind)
    conditions = {}
    parts = module.modules()
    block = next((part for part in parts if hasattr(part, "global_projection")), None)
    if block is not None and block.global_projection is not None:
        conditions["global_condition"] = torch.randn(len(x), block.global_projection.in_features, dtype=kind)
    if block is not None and block.local_projection is not None:
        conditions["local_condition"] = torch.randn(len(x), block.local_projection.in_channels, time, dtype=kind)
    return x, conditions


def parts(outputs: Any) -> list[torch.Tensor]:
    """Outputs as a list."""
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


def compare(found: list[torch.Tensor], expected: list[torch.Tensor], what: str) -> None:
    """Refuse numbers that differ by more than float32 explains."""
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            raise Wrong(f"{what}: {tuple(one.shape)}, expected {tuple(other.shape)}")
        limit = 2e-3 * max(float(other.abs().max()) if other.numel() else 0.0, 1.0)
        if not torch.allclose(one.double(), other.double(), rtol=0, atol=limit):
            raise Wrong(
                f"{what}: differs by {float((one.double() - other.double()).abs().max()):.3g}, limit {limit:.3g}"
            )
