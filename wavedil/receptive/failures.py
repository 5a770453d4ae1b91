"""A failure of a user's module in one line: which class, why, in which layer and at which line of the user's code."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

# Code of torch, of this package and of Python is not where a user looks.
TORCH, _OWN = Path(torch.__file__).parent, Path(__file__).parent.parent
_STANDARD = Path(contextlib.__file__).parent


def asks_for_values(error: BaseException) -> bool:
    """Whether torch.export stopped because the code asks for a value that the input decides."""
    return any(
        word in f"{type(error).__name__} {error}" for word in ("data-dependent", "DataDependent", "data pointer")
    )


@contextlib.contextmanager
def failures_named(module: nn.Module, what: str = "traced by torch.export") -> Iterator[None]:
    """Whatever a module's code or torch's tracer raises as a ValueError in a line: class, reason, layer and place.

    Args:
        module: that is run; of a wrapper, the module inside is named.
        what: cannot be done to it.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, ValueError) and _is_our_own(error):
            raise
        inner: Any = module
        while hasattr(inner, "wraps"):
            inner = inner.inner
        asks = "its code asks for the values of a tensor that depends on the input"
        layer = _layer_of(error, inner)
        reason = f"{asks}{layer}{_line_of(error)}" if asks_for_values(error) else reason_of(error, layer)
        raise ValueError(f"{type(inner).__name__} cannot be {what}: {reason}") from error


def reason_of(error: BaseException, layer: str = "") -> str:
    """Class, first line and place of what a user's code raised; what torch says of sizes needs no class."""
    reason = (str(error).strip().splitlines() or [""])[0]
    if not isinstance(error, RuntimeError | ValueError | TypeError) or not reason or type(error) is RuntimeError:
        reason = f"{type(error).__name__}: {reason}".removesuffix(": ")
    return f"{reason}{layer}{_line_of(error)}"


def _layer_of(error: BaseException, module: nn.Module) -> str:
    """The innermost layer that ran."""
    names = {id(part): name for name, part in module.named_modules()}
    layer = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        own = frame.f_locals.get("self")
        if isinstance(own, nn.Module) and names.get(id(own)):
            layer = f" in layer {names[id(own)]}"
    return layer


def _line_of(error: BaseException) -> str:
    """File and number of the innermost line that is neither torch's nor of this package."""
    line = ""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}:{error.lineno})"
    for frame, number in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        own = any(path.is_relative_to(place) for place in (TORCH, _OWN, _STANDARD))
        if not own and path.suffix == ".py":
            line = f" ({path.name}:{number})"
    return line


def _is_our_own(error: ValueError) -> bool:
    """Whether this package said it, in its own words."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return Path(frames[-1].f_code.co_filename).is_relative_to(_OWN)
