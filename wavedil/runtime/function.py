"""The autograd function of layers that kernels train, from calls that know both directions."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Past = Sequence[Tensor | None]


class Call(Protocol):
    """The buffers of a step, from its forward to its backward."""

    def forward(self) -> Tensor:
        """The output, to which nothing here may refer: it refers to this by its gradient."""
        ...

    def backward(self, grad: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        """The gradients of the input, of each past, where they are wanted, and of each weight."""
        ...


def trained(start: Callable[[Tensor, Past], Call], x: Tensor, past: Past, weights: Sequence[Tensor]) -> Tensor:
    """The output of a call, with its gradients.

    Args:
        start: makes the call, of an input and its past.
        x: the input.
        past: rows before the first of each layer; None for zeros.
        weights: that the call reads.
    """
    return cast(Tensor, _Trained.apply(start, len(past), x, *past, *weights))


class _Trained(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, start: Callable[[Tensor, Past], Call], layers: int, x: Tensor, *tensors: Tensor | None
    ) -> Tensor:
        ctx.call = start(x, tensors[:layers])
        ctx.save_for_backward(*tensors[layers:])  # so that a change before the gradient is noticed
        return ctx.call.forward()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors
        return (None, None, *ctx.call.backward(grads[0], ctx.needs_input_grad[2:]))
