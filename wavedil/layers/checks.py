"""Checks of what a user hands to a module, before torch finds other words for it.

They are made once, at the outermost call of ``forward`` and ``step``: what a module hands to the modules inside is its
own affair. A graph that is compiled or exported holds none of them.
"""

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from wavedil.layers.base import StreamingModule

Method = TypeVar("Method", bound=Callable[..., Any])


_UNSETTLED = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm, nn.RReLU)


class ShortChunkError(ValueError):
    """A chunk that completes no output of a layer; whoever was called first says how long it must be."""


class _Call(threading.local):
    is_inside = False


_call = _Call()


def checked(method: Method) -> Method:
    """``step`` or ``forward`` of a module, its arguments checked where it is the outermost call."""
    names = tuple(inspect.signature(method).parameters)[1:]
    takes_state = method.__name__ == "step"
    takes_more = inspect.Parameter.VAR_KEYWORD in (part.kind for part in inspect.signature(method).parameters.values())

    @functools.wraps(method)
    def outermost(self: "StreamingModule", *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or _call.is_inside or torch._C._get_tracing_state():
            return method(self, *args, **kwargs)
        _call.is_inside = True
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        x = given.pop(names[0], None)
        try:
            if args or names[0] in kwargs:
                check_signal(self, x)
                if takes_state and names[1] in given:
                    check_state(self, given.pop(names[1]), x)
                known = self.condition_shapes
                if takes_more and len(args) >= len(names) and known:
                    raise TypeError(f"{type(self).__name__}: give conditions by name, as {next(iter(known))}=...")
                # What else a forward of the user's own takes is not for us to judge.
                check_conditions(self, {k: v for k, v in given.items() if k in known or k not in names}, x)
            return method(self, *args, **kwargs)
        except ShortChunkError:
            raise ValueError(
                f"{type(self).__name__}: expected a chunk of at least {self.hop}, got {x.shape[-1]}"
            ) from None
        finally:
            _call.is_inside = False

    return cast(Method, outermost)


def check_signal(module: "StreamingModule", x: Any) -> None:
    """Refuse an input that is no tensor, or of another shape, type or device than the module takes.

    Raises:
        TypeError: for another class or type.
        ValueError: for another shape or device.
    """
    check_shape(module, x)
    check_kind(type(module).__name__, x, next(module.parameters(), None), "the parameters'")


def check_shape(module: "StreamingModule", x: Any) -> None:
    """:func:`check_signal` for class and shape alone."""
    axes = module.input_axes
    _require_tensor(type(module).__name__, x, axes)
    if not _fits(x.shape[1:-1], axes) or x.ndim < 2:
        hint = ": add the batch's axis, x.unsqueeze(0)" if x.ndim == len(axes) + 1 and ... not in axes else ""
        raise ValueError(f"{type(module).__name__}: expected a signal of {written(axes)}, got {tuple(x.shape)}{hint}")


def check_kind(owner: str, x: Tensor, like: Tensor | None, whose: str) -> None:
    """Refuse a tensor of another type or device than the one that it meets; under autocast any floating type will do.

    Args:
        owner: what the message begins with.
        x: the tensor.
        like: what it meets; None takes any floating type on any device.
        whose: says what that is.
    """
    is_number = x.dtype.is_floating_point or x.dtype.is_complex
    if like is not None and x.device != like.device:
        raise ValueError(f"{owner}: expected a tensor on {like.device}, {whose} device, got one on {x.device}")
    if not is_number and (like is None or _casts(x.device.type)):
        raise TypeError(f"{owner}: expected a floating-point signal, got {x.dtype}: convert it, as by x.float()")
    if like is not None and x.dtype != like.dtype and not _casts(x.device.type):
        raise TypeError(f"{owner}: expected {like.dtype}, {whose} type, got {x.dtype}: convert it by .to({like.dtype})")


def _casts(device: str) -> bool:
    """Whether autocast is on."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def check_state(module: "StreamingModule", state: Any, x: Tensor) -> None:
    """Refuse a state that cannot be the module's, as far as can be said without knowing its shapes.

    Raises:
        TypeError: if it is no tuple of tensors of the signal's type.
        ValueError: if it is of another batch size or device.
    """
    owner = type(module).__name__
    if not isinstance(state, tuple | list) or not all(isinstance(part, Tensor) for part in state):
        raise TypeError(f"{owner}: expected a state, a tuple of tensors from initial_state, got {_kind(state)}")
    for i, part in enumerate(state):
        if part.ndim == 0 or part.shape[0] != x.shape[0]:
            shape = tuple(part.shape)
            raise ValueError(f"{owner}: expected a state of batch size {x.shape[0]}, the signal's, got {shape}")
        # What adds up over time is kept in float32 by a module of half precision.
        is_wider = x.dtype != part.dtype == torch.promote_types(x.dtype, torch.float32)
        if not is_wider or part.device != x.device:
            check_kind(f"{owner}, tensor {i} of the state", part, x, "the signal's")


def check_conditions(module: "StreamingModule", conditions: dict[str, Any], x: Tensor, complete: bool = True) -> None:
    """Refuse conditions that the module does not take, lacks, or takes in another shape or type.

    Args:
        module: that takes them.
        conditions: by name; None is none.
        x: the signal.
        complete: whether those that the module needs must be there, and those that run along be as long as the signal.

    Raises:
        TypeError: for another class or type.
        ValueError: for another name or shape.
    """
    owner, shapes = type(module).__name__, module.condition_shapes
    conditions = {name: value for name, value in conditions.items() if value is not None}
    for name in conditions:
        if name not in shapes:
            known = ", ".join(shapes) or "none"
            raise ValueError(f"{owner}: takes no condition {name}; the conditions that it takes: {known}")
    for name, shape in shapes.items():
        runs = name in module.aligned
        if shape is None:
            axes: tuple[Any, ...] = (...,)
        else:
            axes = (*shape, x.shape[-1] if complete else None) if runs else shape
        expected = written(axes, x.shape[0], last="" if not runs or (complete and shape is not None) else "time")
        if name not in conditions:
            if complete and shape is not None:
                raise ValueError(f"{owner}: expected {name} of {expected}, got none")
            continue
        value = conditions[name]
        if not isinstance(value, Tensor):
            raise TypeError(f"{owner}: expected {name} to be a tensor of {expected}, got {_kind(value)}")
        if value.ndim == 0 or value.shape[0] != x.shape[0] or not _fits(value.shape[1:], axes):
            raise ValueError(f"{owner}: expected {name} of {expected}, got {tuple(value.shape)}")
        check_kind(f"{owner}, {name}", value, x, "the signal's")


def written(axes: Sequence[Any], batch: int | str = "batch", last: str = "time") -> str:
    """Axes as a message has them: ``(batch, 4, any, time)``."""
    words = {None: "any", ...: "..."}
    parts = [str(batch), *(str(words.get(size, size)) for size in axes), *([last] if last else [])]
    return f"({', '.join(parts)})" if len(parts) > 1 else f"({parts[0]},)"


def require_settled(module: nn.Module, purpose: str) -> None:
    """Refuse a module with layers that behave differently in training, as long as they are in training mode.

    Args:
        module: to be streamed or exported.
        purpose: completes "call eval() before ...".

    Raises:
        ValueError: naming the layer.
    """
    require_evaluation(unsettled(module), purpose)


def require_evaluation(layers: Sequence[tuple[str, Any]], purpose: str) -> None:
    """:func:`require_settled` for layers that were found before."""
    for name, layer in layers:
        if not getattr(layer, "track_running_stats", True):
            raise ValueError(f"{name} keeps no running statistics and reads the whole batch: it cannot stream")
        if layer.training and getattr(layer, "p", 1) > 0:
            raise ValueError(f"{name} is in training mode: call eval() before {purpose}")


def unsettled(module: nn.Module) -> list[tuple[str, Any]]:
    """The layers inside that behave differently in training, by name."""
    return [(name, part) for name, part in _named(module) if isinstance(part, _UNSETTLED)]


def may_turn(module: nn.Module) -> list[tuple[str, Any]]:
    """:func:`unsettled`, and the modules of others that are in evaluation mode now: to be watched."""
    ours = ("torch.", "wavedil.")
    known = unsettled(module)
    return known + [
        (name, part)
        for name, part in _named(module)
        if not (part.training or isinstance(part, _UNSETTLED) or type(part).__module__.startswith(ours))
    ]


def _named(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name or type(part).__name__, part) for name, part in module.named_modules()]


def _require_tensor(owner: str, x: Any, axes: Sequence[Any]) -> None:
    if not isinstance(x, Tensor):
        remedy = ": convert it by torch.from_numpy" if type(x).__module__ == "numpy" else ""
        raise TypeError(f"{owner}: expected a tensor of {written(axes)}, got {_kind(x)}{remedy}")


def _fits(sizes: Sequence[int], axes: Sequence[Any]) -> bool:
    if axes and axes[-1] is ...:
        axes, sizes = axes[:-1], sizes[: len(axes) - 1]
    return len(sizes) == len(axes) and all(axis in (None, size) for axis, size in zip(axes, sizes, strict=True))


def _kind(value: Any) -> str:
    return f"{value} ({type(value).__name__})" if isinstance(value, bool | int | float) else type(value).__name__
