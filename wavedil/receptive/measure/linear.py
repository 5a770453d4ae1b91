"""A copy of a module whose gradients are nonzero exactly where its outputs read."""

from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from wavedil.receptive.failures import failures_named
from wavedil.receptive.measure.dependences import Dependences
from wavedil.receptive.measure.subject import double_by_default, in_double
from wavedil.receptive.prepared import copy_of


class Linearised:
    """A copy of a module, in float64 on the CPU, whose gradients are nonzero exactly where its outputs read.

    Parameters become their absolute values, and zeros among them 1: a layer initialised to zero reads its input all
    the same. Buffers stay: a zero in a mask is not read. Training or evaluation mode stays as well, so that batch
    normalisation in training reads the whole batch; dropout drops nothing in either. What autograd sees as one piece,
    a ``torch.autograd.Function`` or a scripted function, counts by its own gradient.

    Args:
        module: any module that runs in Python; it is not changed.

    Attributes:
        module: the copy.

    Raises:
        ValueError: for a scripted module.

    Example:
        >>> x = torch.ones(1, 1, 5, requires_grad=True)
        >>> y = Linearised(nn.Conv1d(1, 1, 2, dilation=2))(x)
        >>> torch.autograd.grad(y[0, 0, 0], x)[0][0, 0] != 0
        tensor([ True, False,  True, False, False])
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = copy_of(module).double()
        self._mode = Dependences()
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.requires_grad_(False).copy_(parameter.abs())
                parameter.masked_fill_((parameter == 0) | ~parameter.isfinite(), 1)

    def __call__(self, *inputs: Any) -> Any:
        """What the module returns; its values mean nothing, its gradients only whether they are zero.

        Args:
            *inputs: of the module, on the CPU; those that require a gradient are watched, whatever their values.

        Raises:
            ValueError: where the module takes numbers out of torch, or computes an index from the input.
        """
        # Fresh tensors, as the module may write into its input.
        fresh = [pytree.tree_map(lambda value: self._mode.refreshed(in_double(value)), value) for value in inputs]
        with failures_named(self.module, "measured in double precision"), double_by_default(), self._mode:
            return self.module(*fresh)
