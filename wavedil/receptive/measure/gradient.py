"""Exactly which inputs an output reads, by autograd."""

from typing import Any

import torch
from torch import Tensor, nn

from wavedil.receptive.measure.linear import Linearised
from wavedil.receptive.measure.subject import Index, element_of, in_double, inputs_of, tensor_of


def gradient_reach(
    module: nn.Module,
    example_input: Tensor | tuple[Any, ...],
    output_index: Index | list[Index],
    *,
    output: int | str | None = None,
) -> Tensor:
    """The inputs that an output depends on, by its gradient in a linearised copy of the module.

    Source of the idea: Luo, Li, Urtasun and Zemel 2016, section 3, arXiv:1701.04128, without its weights.

    Args:
        module: any module; it is not changed. Training or evaluation mode stays as it is.
        example_input: ``(batch, ...)``, or the tuple of the module's inputs; the first of floating point is measured,
            and only its shape matters. The others keep their values: a mask among them masks.
        output_index: what indexes the output without its batch, as ``(channel, time)`` or ``(..., time)``; several
            elements count together. A list of such indices measures each of them, from one forward pass.
        output: which one, where the module returns several: position or key; None takes the first.

    Returns:
        Truth values in the input's shape without its batch; with a list, ``(len(output_index), ...)``.

    Raises:
        ValueError: if there is no such input, output or element, or if what the module reads depends on the numbers
            that it reads (an embedding looked up by what was computed), which no gradient shows.

    Example:
        >>> gradient_reach(nn.Conv1d(1, 1, 3, dilation=2), torch.zeros(1, 1, 7), (0, 1))
        tensor([[False,  True, False,  True, False,  True, False]])
    """
    inputs, position = inputs_of(example_input)
    with torch.inference_mode(False), torch.enable_grad():
        leaf = in_double(torch.ones_like(inputs[position])).requires_grad_()
        inputs[position] = leaf
        result = tensor_of(Linearised(module)(*inputs), output)
        if not (result.is_floating_point() or result.is_complex()):
            raise ValueError(f"the output is {result.dtype}, expected floating point: nothing else has a gradient")
        several = output_index if isinstance(output_index, list) else [output_index]
        masks = [_reached(element_of(result, index), leaf) for index in several]
    return torch.stack(masks) if isinstance(output_index, list) else masks[0]


def _reached(element: Tensor, leaf: Tensor) -> Tensor:
    """Where the element's gradient is not zero, in any row of the batch."""
    total = (torch.view_as_real(element.resolve_conj()) if element.is_complex() else element).sum()
    if not total.requires_grad:
        return torch.zeros(leaf.shape[1:], dtype=torch.bool)
    (gradient,) = torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True, materialize_grads=True)
    return gradient.ne(0).any(dim=0)


def reach_hull(mask: Tensor, axis: int = -1) -> tuple[int, int] | None:
    """First and last index along an axis that hold any of what was reached.

    Args:
        mask: of :func:`gradient_reach` for one index.
        axis: of the mask, which has no batch.

    Returns:
        Both included; None where nothing was reached.

    Example:
        >>> reach_hull(torch.tensor([[False, True, False, True, False]]))
        (1, 3)
    """
    found = mask.movedim(axis, 0).reshape(mask.shape[axis], -1).any(dim=1).nonzero()
    return (int(found[0]), int(found[-1])) if len(found) else None
