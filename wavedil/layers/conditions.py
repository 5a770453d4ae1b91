"""Conditions: what steers a module besides its input, and how it reaches the parts that take it.

A condition is steady, such as ``global_condition`` ``(batch, channels)``, or runs along with the input, such as
``local_condition`` ``(batch, channels, time)``. Each part takes by name those that it has, and two parts that take the
same name get the same tensor.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from wavedil.layers.base import StreamingModule

# By name, the axes between batch and time (behind the batch, of a steady condition); None where they are not known.
Shapes = dict[str, tuple[int, ...] | None]


def default_shapes(module: "StreamingModule") -> Shapes:
    """The conditions that ``step`` names, and those of the modules inside if it takes ``**conditions``."""
    names, passes_on = module.step_conditions
    return dict.fromkeys(names) | (merged_shapes(_inside(module)) if passes_on else {})


def default_aligned(module: "StreamingModule") -> tuple[str, ...]:
    """Those of the modules inside, if ``step`` takes ``**conditions``."""
    return merged_aligned(part for _, part in _inside(module)) if module.step_conditions[1] else ()


def merged_shapes(parts: Iterable[tuple[str, "StreamingModule"]]) -> Shapes:
    """The conditions of all parts.

    Raises:
        ValueError: if two parts take the same name, but not the same tensor.
    """
    shapes: Shapes = {}
    first: dict[str, tuple[str, StreamingModule]] = {}
    for key, part in parts:
        for name, shape in part.condition_shapes.items():
            other, owner = first.setdefault(name, (key, part))
            if (name in part.aligned) != (name in owner.aligned):
                raise ValueError(f"{name}: runs along with the input in one of {other} and {key}, and not in the other")
            known = shapes.get(name)
            if known is not None and shape is not None and known != shape:
                raise ValueError(
                    f"{name}: {other} takes {_numbers(known)} channels, {key} takes {_numbers(shape)} channels"
                )
            shapes[name] = shape if known is None else known
    return shapes


def merged_aligned(parts: Iterable["StreamingModule"]) -> tuple[str, ...]:
    """The names that run along with the input in any part."""
    return tuple(dict.fromkeys(name for part in parts for name in part.aligned))


def conditions_of(part: "StreamingModule", conditions: dict[str, Any]) -> dict[str, Any]:
    """The conditions that a part takes, of all that there are."""
    if not conditions:
        return {}
    return {name: conditions[name] for name in part.condition_shapes if conditions.get(name) is not None}


def split_conditions(module: "StreamingModule", conditions: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those that are steady, and those that run along with the input."""
    given = {name: value for name, value in conditions.items() if value is not None}
    running = {name: value for name, value in given.items() if name in module.aligned}
    return {name: value for name, value in given.items() if name not in running}, running


def cut(conditions: dict[str, Tensor], first: int, last: int) -> dict[str, Tensor]:
    """A moment of the conditions that run along."""
    return {name: value[..., first:last] for name, value in conditions.items()}


def named_by(step: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """The conditions that a ``step`` names, and whether it takes any others."""
    _, _, _, *parameters = inspect.signature(step).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = tuple(parameter.name for parameter in parameters if parameter.kind in kinds)
    return names, any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _inside(module: nn.Module) -> Iterator[tuple[str, "StreamingModule"]]:
    """The outermost modules inside that take conditions, whatever holds them."""
    for name, child in module.named_children():
        if hasattr(child, "condition_shapes"):
            yield name, child  # pyright: ignore[reportReturnType]
        else:
            yield from ((f"{name}.{key}", part) for key, part in _inside(child))


def _numbers(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
