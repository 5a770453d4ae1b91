"""Which inputs an output reads, by putting NaN into them: independent of gradients."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wavedil.receptive.failures import failures_named
from wavedil.receptive.measure.subject import (
    Index,
    double_by_default,
    element_of,
    in_double,
    inputs_of,
    tensor_of,
)
from wavedil.receptive.prepared import copy_of


@dataclass(frozen=True)
class NanResult:
    """What NaN in an output's inputs does to it.

    Attributes:
        outside: NaN everywhere outside the interval reaches the output.
        at_start: NaN in the interval's first input alone reaches it.
        at_end: NaN in its last input alone reaches it.
        outside_changes: other finite numbers outside the interval change the output's bits. NaN survives a weight of
            zero, so where a module multiplies what it masked by zero, as attention does, NaN reaches what no number
            does: ``outside`` without ``outside_changes``. Three such replacements are tried, so False is no proof.
    """

    outside: bool
    at_start: bool
    at_end: bool
    outside_changes: bool


def nan_reach(
    module: nn.Module,
    example_input: Tensor | tuple[Any, ...],
    output_index: Index,
    start: int,
    end: int,
    axis: int = -1,
    *,
    output: int | str | None = None,
) -> NanResult:
    """Probe with NaN whether an output reads the inputs ``start`` to ``end``, both ends of them, and no others.

    Each probe runs alone on a fresh copy of the module in evaluation mode and float64, its weights and activations as
    they are. (In float32 a fast algorithm of convolution may spread NaN further than the kernel.)

    Args:
        module: any module; it is not changed.
        example_input: ``(batch, ...)``, or the tuple of the module's inputs; the first of floating point is probed.
        output_index: what indexes the output without its batch, as ``(..., time)``; NaN in any element counts.
        start: first input of the interval.
        end: its last; an interval that ends before it starts is empty, and then its ends are not reached.
        axis: of the probed input, with its batch.
        output: which one, where the module returns several: position or key; None takes the first.

    Raises:
        ValueError: if the interval leaves the input, or there is no such input, axis, output or element, or if the
            output is NaN although no input is.

    Example:
        >>> nan_reach(nn.Conv1d(1, 1, 3, padding=1), torch.zeros(1, 1, 9), (..., 4), start=3, end=5)
        NanResult(outside=False, at_start=True, at_end=True, outside_changes=False)
    """
    inputs, position = inputs_of(example_input)
    inputs = [in_double(value) for value in inputs]
    x = inputs[position]
    size = _size_along(x, axis)
    if start <= end and not 0 <= start <= end < size:
        raise ValueError(f"the interval {start} to {end} leaves the input, which has 0 to {size - 1} along axis {axis}")
    places = torch.arange(size).reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])
    outside = (places < start) | (places > end)

    def run(x: Tensor) -> Tensor:
        twin = copy_of(module).double().eval()
        with failures_named(module, "measured in double precision"), double_by_default(), torch.no_grad():
            result = twin(*inputs[:position], x.clone(), *inputs[position + 1 :])
        return element_of(tensor_of(result, output), output_index)

    def reaches(where: Tensor) -> bool:
        return bool(run(x.masked_fill(where, torch.nan)).isnan().any())

    before = run(x)
    if before.isnan().any():
        raise ValueError(f"output {output_index!r} is NaN although no input is: expected finite weights and inputs")
    generator = torch.Generator().manual_seed(0)
    # Several, and large, as an activation may be off or a maximum elsewhere.
    others = (torch.randn(x.shape, generator=generator, dtype=x.dtype) * 10 for _ in range(3))
    return NanResult(
        outside=reaches(outside),
        at_start=start <= end and reaches(places == start),
        at_end=start <= end and reaches(places == end),
        outside_changes=any(not torch.equal(before, run(torch.where(outside, other, x))) for other in others),
    )


def _size_along(x: Tensor, axis: int) -> int:
    if not -x.ndim <= axis < x.ndim or axis % x.ndim == 0:
        raise ValueError(f"axis must be one of the input's {x.ndim} and not its batch, got {axis}")
    return x.shape[axis]
