"""Layers one behind the other, as one streaming module."""

import math
from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from wavedil.config import Boundary
from wavedil.layers.base import Pointwise, State, StreamingModule
from wavedil.receptive import Field

# torch's own modules that read no time but the present, whatever their arguments.
_POINTWISE = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh,
    nn.Sigmoid, nn.Hardswish, nn.Softplus, nn.Softsign, nn.ReLU6,
)  # fmt: skip


class Wrap(Pointwise):
    """A plain torch module that reads no time but the present: an activation, dropout, a 1x1 convolution.

    Args:
        module: the module.

    Raises:
        TypeError: if the module is not known to be of that kind.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        one_by_one = isinstance(module, nn.Conv1d) and (module.kernel_size, module.stride, module.padding) == (
            (1,),
            (1,),
            (0,),
        )
        if not (isinstance(module, _POINTWISE) or one_by_one):
            raise TypeError(
                f"{module} may read more than the present: "
                "expected a streaming layer, an activation, dropout or a 1x1 Conv1d"
            )
        self.module = module

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (self.module.out_channels,) if isinstance(self.module, nn.Conv1d) else tuple(shape)

    def apply_point(self, x: Tensor) -> Tensor:
        return self.module(x)


class Chain(StreamingModule):
    """Streaming modules applied one after the other.

    Args:
        modules: streaming modules, and plain torch ones that :class:`Wrap` takes; a pair ``(name, module)`` names its
            state and parameters, else its index does.
        boundary: what all of them see before the first sample; see :class:`StreamingModule`.

    Raises:
        ValueError: if lookahead comes before a stride that does not divide it: the outputs would fall between its
            steps.
    """

    def __init__(self, *modules: nn.Module | tuple[str, nn.Module], boundary: Boundary = "zeros") -> None:
        super().__init__()
        named = [m if isinstance(m, tuple) else (str(i), m) for i, m in enumerate(modules)]
        self.layers = nn.ModuleDict({name: m if isinstance(m, StreamingModule) else Wrap(m) for name, m in named})
        self.boundary = boundary
        self._preroll = chained_preroll(self._layers())

    def _layers(self) -> list[StreamingModule]:
        return cast(Any, list(self.layers.values()))

    @property
    def field(self) -> Field:
        field = Field.identity()
        for layer in self._layers():
            field = field.then(layer.field)
        return field

    @property
    def preroll(self) -> int:
        return self._preroll

    @property
    def state_names(self) -> tuple[str, ...]:
        return tuple(
            f"{key}.{name}"
            for key, layer in zip(self.layers, self._layers(), strict=True)
            for name in layer.state_names
        )

    def input_shape(self) -> tuple[int, ...]:
        for layer in self._layers():
            if not isinstance(layer, Wrap):
                return layer.input_shape()
        return super().input_shape()

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        for layer in self._layers():
            shape = layer.output_shape(shape)
        return tuple(shape)

    def forward(self, x: Any, **conditions: Any) -> Any:
        # A layer that reads the whole signal must see it without the zeros that lookahead puts behind it; as there is
        # no stream to agree with, each layer takes the whole output of the one before.
        if self.lookahead < math.inf:
            return super().forward(x, **conditions)
        for layer in self._layers():
            x = layer(x)
        return x

    def step(self, x: Any, state: State) -> tuple[Any, State]:
        following: list[Tensor] = []
        for layer, own in zip(self._layers(), split_state(state, self._layers()), strict=True):
            x, new = layer.step(x, own)
            following.extend(new)
        return x, tuple(following)

    def start(self, x: Any, silence: bool) -> tuple[Any, State]:
        state: list[Tensor] = []
        for layer in self._layers():
            x, own = layer.start(x, silence)
            state.extend(own)
        return x, tuple(state)


def chained_preroll(layers: Sequence[StreamingModule]) -> int:
    """Outputs of the last layer that a stream through all of them gives too early."""
    preroll = 0
    for i, layer in enumerate(layers):
        field = layer.field
        if preroll * field.outputs % field.inputs:
            raise ValueError(
                f"layer {i} ({type(layer).__name__}, hop {field.inputs}) comes after a lookahead of {preroll}: "
                f"expected a multiple of {field.inputs}"
            )
        preroll = preroll * field.outputs // field.inputs + layer.preroll
    return preroll


def split_state(state: State, layers: Any) -> list[State]:
    """The part of a flat state that belongs to each layer.

    Raises:
        ValueError: if there are more or fewer tensors than the layers have.
    """
    counts = [len(layer.state_names) for layer in layers]
    if len(state) != sum(counts):
        raise ValueError(f"expected a state of {sum(counts)} tensors, got {len(state)}: use initial_state")
    parts, first = [], 0
    for count in counts:
        parts.append(tuple(state[first : first + count]))
        first += count
    return parts
