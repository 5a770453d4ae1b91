"""A batch as one signal: the samples of all sessions in turn, through the same modules with wider dilations.

Sessions interleaved sample by sample are one signal, whose convolution with dilation ``N d`` is the interleaving of
theirs with dilation ``d``: what the algorithme a trous does to the phases of one signal, done to N signals. On a CPU
this is how a small model trains fastest in bfloat16: each convolution is one matrix product, a tap is a slice, and
normalisation passes over long rows (docs/results/training_speed.md).
"""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

from wavedil.layers.base import Delay, Pointwise, State, StreamingModule, Window
from wavedil.layers.broadcast import BroadcastResidualBlock
from wavedil.layers.chain import Chain
from wavedil.layers.conv import CausalConv1d, CausalConv2d
from wavedil.layers.gated import _GatedBlock
from wavedil.layers.one_signal import convolve
from wavedil.layers.parallel import Parallel
from wavedil.layers.stack import _Stack
from wavedil.receptive.arithmetic import dilated_span

Module = TypeVar("Module", bound=nn.Module)
# What computes a module's outputs for sessions ``(sessions, ..., time)`` that all begin in the state of a single one.
BatchRunner = Callable[[StreamingModule, Tensor, State], Tensor]


def interleave(x: Tensor) -> Tensor:
    """``(sessions, ..., time)`` to ``(1, ..., time * sessions)``, the sessions in turn."""
    return x.movedim(0, -1).flatten(-2).unsqueeze(0)


def separate(x: Tensor, sessions: int) -> Tensor:
    """The inverse of :func:`interleave`, as a view."""
    return x.squeeze(0).unflatten(-1, (-1, sessions)).movedim(-1, 0)


def interleaved(module: Module, sessions: int) -> Module:
    """A module that does to interleaved sessions what the given one does to each, with the same weights and statistics.

    It takes states whose tensors are interleaved as well. Nothing is copied but the structure.

    Args:
        module: convolutions of stride 1 in time without lookahead, and the package's layers that hold nothing else that
            reads other times.
        sessions: that are interleaved.

    Raises:
        TypeError: if the module holds a layer that cannot be interleaved, or is not known to: one with a stride or
            lookahead, pooling, conditions, dropout of whole channels, a streaming module of somebody else.
    """
    if isinstance(module, CausalConv1d | CausalConv2d) and module.stride[-1] == 1 and not module.preroll:
        return _Convolution(module, sessions)  # pyright: ignore[reportReturnType]
    if isinstance(module, nn.Conv1d | nn.Conv2d) and not isinstance(module, StreamingModule) and _has_one_tap(module):
        return _Pointwise(module)  # pyright: ignore[reportReturnType]
    if not _is_known(module):
        raise TypeError(f"cannot be interleaved: {module}")
    if not module._modules:
        return module
    twin = copy.copy(module)
    twin._modules = {name: child and interleaved(child, sessions) for name, child in module._modules.items()}
    return twin


def run_each(module: StreamingModule, x: Tensor, state: State) -> Tensor:
    """A :data:`BatchRunner`: the sessions side by side, as torch has batches."""
    return module.step(x, tuple(tensor.expand(len(x), *tensor.shape[1:]) for tensor in state))[0]


def run_interleaved(module: StreamingModule, x: Tensor, state: State) -> Tensor:
    """A :data:`BatchRunner`: the sessions as one interleaved signal, of a module that :func:`can_interleave`."""
    return InterleavedRunner(module, len(x))(module, x, state)


class InterleavedRunner:
    """:func:`run_interleaved` for one module and number of sessions, with what torch.compile cannot follow done before.

    Args:
        module: that :func:`can_interleave`.
        sessions: in each batch.
    """

    def __init__(self, module: StreamingModule, sessions: int) -> None:
        self.module, self.sessions = module, sessions
        self._twin = interleaved(module, sessions)

    def __call__(self, module: StreamingModule, x: Tensor, state: State) -> Tensor:
        """The outputs of the module for sessions ``(sessions, ..., time)`` that begin in the state of one.

        Raises:
            ValueError: for another module or number of sessions.
        """
        if module is not self.module or len(x) != self.sessions:
            raise ValueError(f"expected the module that this runs and {self.sessions} sessions, got {len(x)}")
        before = tuple(interleave(tensor.expand(self.sessions, *tensor.shape[1:])) for tensor in state)
        return separate(self._twin.step(interleave(x), before)[0], self.sessions)


def can_interleave(module: nn.Module) -> bool:
    """Whether :func:`interleaved` takes a module."""
    try:
        interleaved(module, 1)
    except TypeError:
        return False
    return True


def _is_known(module: nn.Module) -> bool:
    """Whether a module reads no time by itself, or only through the modules that it holds."""
    if isinstance(module, _GatedBlock) and (module.global_projection or module.local_projection):
        return False  # whose conditions would have to be interleaved as well
    if isinstance(module, StreamingModule):
        idle = isinstance(module, Delay) and module.samples == 0
        return idle or isinstance(module, Pointwise | Chain | Parallel | _Stack | _GatedBlock | BroadcastResidualBlock)
    if isinstance(module, nn.Dropout1d | nn.Dropout2d):  # of a channel in all of a session
        return not module.p
    return not isinstance(module, nn.Conv1d | nn.Conv2d)


def _has_one_tap(conv: nn.Conv1d | nn.Conv2d) -> bool:
    return {*conv.kernel_size, *conv.stride} == {1} and conv.padding in ((0,), (0, 0))


class _Convolution(Window):
    """A convolution of interleaved sessions, by matrix products in bfloat16."""

    def __init__(self, conv: CausalConv1d | CausalConv2d, sessions: int) -> None:
        dilation = conv.dilation[-1] * sessions
        super().__init__(dilated_span(conv.kernel_size[-1], dilation), 1, lookahead=0)
        self.conv = conv
        self.rates = (1, 1, *conv.dilation)[-2], dilation
        self.padding = getattr(conv, "frequency_padding", (0, 0))

    def output_shape(self, shape: Any) -> tuple[int, ...]:
        return self.conv.output_shape(shape)

    def apply_window(self, x: Tensor) -> Tensor:
        conv = self.conv
        if x.ndim == 4:
            return convolve(x, conv.weight, conv.bias, conv.stride[0], self.rates, conv.groups, self.padding)
        y = convolve(x.unsqueeze(2), conv.weight.unsqueeze(2), conv.bias, 1, self.rates, conv.groups)
        return y.squeeze(2)


class _Pointwise(nn.Module):
    """A convolution of one tap as a matrix product."""

    def __init__(self, conv: nn.Conv1d | nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        weight = self.conv.weight.flatten(2).unsqueeze(2)
        y = convolve(flat.unsqueeze(2), weight, self.conv.bias, 1, (1, 1), self.conv.groups)
        return y.reshape(1, -1, *x.shape[2:])
