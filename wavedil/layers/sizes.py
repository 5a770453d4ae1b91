"""The ranges of what layers are made with: wide enough for any use, and refused by name before memory is asked for."""

from collections.abc import Sequence
from typing import Any, get_args

import torch

from wavedil.checks import bounded_integer, bounded_number, one_of, shown
from wavedil.config import Boundary
from wavedil.functional import LONGEST

MOST_CHANNELS = 2**16
MOST_LAYERS = 1024
MOST_WEIGHTS = 2**28  # of a module: a gibibyte in float32
MOST_KEPT = 2**26  # values that a stream keeps for a session
TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def require_sizes(**sizes: Any) -> list[int]:
    """Lengths in samples as plain integers; refused, by name, if they are none from 1 to :data:`LONGEST`."""
    return [bounded_integer(name, value, 1, LONGEST) for name, value in sizes.items()]


def require_channels(least: int = 1, **channels: Any) -> list[int]:
    """Numbers of channels as plain integers; refused, by name, if they are none of ``least`` to ``MOST_CHANNELS``."""
    return [bounded_integer(name, value, least, MOST_CHANNELS) for name, value in channels.items()]


def require_groups(groups: Any, **channels: int) -> None:
    """Refuse groups that do not divide the channels."""
    bounded_integer("groups", groups, 1, MOST_CHANNELS)
    for name, value in channels.items():
        if value % groups:
            raise ValueError(f"groups: expected a divisor of {name} {value}, got {groups}")


def require_probability(name: str, value: Any) -> None:
    """Refuse what is no number from 0 to 1."""
    bounded_number(name, value, 0, 1)


def require_epsilon(value: Any) -> None:
    """Refuse an ``eps`` that would not keep a norm from dividing by 0 in float32."""
    bounded_number("eps", value, 1e-30, 1)


def require_flags(**flags: Any) -> None:
    """Refuse, by name, what is neither True nor False."""
    for name, value in flags.items():
        one_of(name, value, (True, False))


def require_dimensions(value: Any) -> None:
    """Refuse a number of dimensions other than 1 and 2."""
    one_of("dimensions", value, (1, 2))


def require_boundary(value: Any) -> Boundary:
    """A boundary, or ValueError."""
    return one_of("boundary", value, get_args(Boundary))


def require_room(weights: int, kept: int = 0) -> None:
    """Refuse a module before its weights are made.

    Args:
        weights: of the module.
        kept: values that a stream keeps for a session.

    Raises:
        ValueError: naming the number and the limit.
    """
    for count, most, what in ((weights, MOST_WEIGHTS, "weights"), (kept, MOST_KEPT, "values of state for a session")):
        if count > most:
            raise ValueError(f"expected at most {most:,} {what}, got {shown(count)}: fewer channels or shorter kernels")


def require_placement(device: Any, dtype: Any) -> None:
    """Refuse a device that cannot be had, and a type that is none of torch's floating-point types.

    Raises:
        TypeError: for a dtype of another class.
        ValueError: for another device or type.
    """
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype: expected a torch.dtype, as torch.float32, got {shown(dtype)}")
    if dtype is not None:
        one_of("dtype", dtype, TYPES)
    try:
        torch.empty(0, device=device)
    except Exception as error:  # torch has a class of its own for each reason
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: expected one of this machine, as 'cpu', got {shown(device)}: {reason}") from None


def each_of(name: str, value: Any, most: int = MOST_LAYERS) -> Sequence[Any]:
    """A list, tuple or array of one item a layer, at least one and not too many.

    Raises:
        TypeError: if it is none of them.
        ValueError: if it is empty or too long.
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError(f"{name}: expected a list of 1 to {most:,} items, got {shown(value)}")
    if not 1 <= len(value) <= most:
        raise ValueError(f"{name}: expected 1 to {most:,} items, got {len(value):,}")
    return value


def pair(name: str, value: Any) -> tuple[int, int]:
    """A (frequency, time) pair of sizes, of one number for both or of a pair.

    Raises:
        TypeError: if it is neither.
        ValueError: if a size is out of its range.
    """
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2:
        raise ValueError(f"{name}: expected one number, or a pair (frequency, time), got {shown(value)}")
    return (
        bounded_integer(f"{name} in frequency", both[0], 1, LONGEST),
        bounded_integer(f"{name} in time", both[1], 1, LONGEST),
    )
