"""What is measured: the inputs and outputs of a module."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

Index = Any  # what indexes a tensor: an int, a slice, an ellipsis, or a tuple of them


def inputs_of(example_input: Tensor | tuple[Any, ...]) -> tuple[list[Any], int]:
    """The inputs on the CPU as a list, and which of them is measured: the first of floating point, or complex.

    Raises:
        ValueError: if there is none.
    """
    given = (example_input,) if isinstance(example_input, Tensor) else example_input
    inputs = [value.detach().cpu() if isinstance(value, Tensor) else value for value in given]
    for position, value in enumerate(inputs):
        if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
            return inputs, position
    kinds = ", ".join(str(value.dtype) if isinstance(value, Tensor) else type(value).__name__ for value in inputs)
    raise ValueError(f"expected an input of floating point to measure, got {kinds or 'none'}")


def in_double(value: Any) -> Any:
    """A floating-point or complex tensor in double precision; anything else as it is."""
    if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
        return value.to(torch.promote_types(value.dtype, torch.float64))
    return value


@contextlib.contextmanager
def double_by_default() -> Iterator[None]:
    """What a module makes of its own is double too, and its random numbers come from seed 0; then all is as before."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            yield
    finally:
        torch.set_default_dtype(dtype)


def tensor_of(result: Any, output: int | str | None) -> Tensor:
    """The tensor chosen of what a module returned.

    Args:
        result: a tensor, or a tuple, list or dict of them, nested or not.
        output: position or key; None takes the first tensor.

    Raises:
        ValueError: if there is no such tensor.
    """
    if output is not None and not isinstance(result, Tensor):
        try:
            result = result[output]
        except (LookupError, TypeError) as error:
            raise ValueError(
                f"the module returned a {type(result).__name__}, which has no output {output!r}"
            ) from error
    elif output not in (None, 0):
        raise ValueError(f"the module returned one tensor, which has no output {output!r}")
    for leaf in pytree.tree_leaves(result):
        if isinstance(leaf, Tensor):
            return leaf
    raise ValueError(f"expected the module to return a tensor, got {type(result).__name__}")


def element_of(result: Tensor, index: Index) -> Tensor:
    """What the index addresses in the first row of the batch.

    Raises:
        ValueError: if it lies outside.
    """
    try:
        return result[0][index]
    except IndexError as error:
        shape = tuple(result.shape[1:])
        raise ValueError(f"output index {index!r} is outside the output's shape {shape} (without batch)") from error
