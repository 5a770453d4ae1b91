"""Layers one behind the other, as one streaming module."""

import math
from collections.abc import Sequence
from typing import Any, overload

from torch import nn

from wavedil.config import Boundary
from wavedil.layers.base import Delay, State, StreamingModule
from wavedil.layers.conditions import conditions_of
from wavedil.layers.parts import Parts, WholeHops
from wavedil.layers.wrap import Wrap
from wavedil.receptive import Field


class Chain(Parts):
    """Streaming modules applied one after the other.

    It has a length, an index, slices (which are chains of the same modules) and ``append``, as ``nn.Sequential`` does.
    Conditions that run along are in step with the chain's input, so no layer before one that takes them may change the
    rate; they wait for the lookahead of the layers before.

    Args:
        modules: streaming modules, and plain torch ones that :class:`Wrap` takes; a pair ``(name, module)`` names its
            state and parameters, else its index does.
        boundary: what all of them see before the first sample; see :class:`StreamingModule`.

    Raises:
        TypeError: if a module is none, or one that Wrap refuses.
        ValueError: if two modules have the same name, or want different conditions of one name; if lookahead comes
            before a stride that does not divide it: the outputs would fall between its steps; if a condition that runs
            along is taken behind another rate.
    """

    def __init__(self, *modules: nn.Module | tuple[str, nn.Module], boundary: Boundary = "zeros") -> None:
        super().__init__(*modules)
        self.boundary = boundary
        self._lay_out()

    def _lay_out(self) -> None:
        """Find out what has to wait where."""
        self._merge_conditions()
        waits: dict[str, StreamingModule] = {}
        field, preroll, hop = Field.identity(), 0, 1
        for key, layer in self._named():
            following = layer.field
            if layer.aligned and field.stride != 1:
                raise ValueError(
                    f"layer {key} takes {', '.join(layer.aligned)}, which runs along with the input of the chain: "
                    f"expected the rate of that input, got 1/{field.stride} of it"
                )
            if layer.aligned:
                hop = math.lcm(hop, field.inputs)
            waits |= {f"{key}_{name}": Delay(preroll) for name in layer.aligned}
            if preroll * following.outputs % following.inputs:
                raise ValueError(
                    f"layer {key} ({type(layer).__name__}, hop {following.inputs}) comes after a lookahead of "
                    f"{preroll}: expected a multiple of {following.inputs}"
                )
            preroll = preroll * following.outputs // following.inputs + layer.preroll
            field = field.then(following)
        # The lookahead counts in whole periods, or the signal's end would not bring out its last outputs.
        rest = -preroll % field.outputs
        lines = {key: WholeHops(hop) for key in ("hops", *(f"hops_{name}" for name in self.aligned)) if hop > 1}
        self._preroll = preroll + rest
        self._set_waits({**lines, **waits, "end": Delay(rest)})

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
    def input_axes(self) -> tuple[Any, ...]:
        for layer in self._layers():
            if layer.input_axes != (...,) or not isinstance(layer, Wrap):
                return layer.input_axes
        return (...,)

    def input_shape(self) -> tuple[int, ...]:
        for layer in self._layers():
            if layer.input_axes != (...,) or not isinstance(layer, Wrap):
                return layer.input_shape()
        return super().input_shape()

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        for layer in self._layers():
            shape = layer.output_shape(shape)
        return tuple(shape)

    @overload
    def __getitem__(self, index: int | str) -> StreamingModule: ...
    @overload
    def __getitem__(self, index: slice) -> "Chain": ...
    def __getitem__(self, index: int | str | slice) -> StreamingModule:
        """A layer by index or name (a plain module comes as :class:`Wrap`), or a chain of the layers of a slice."""
        if isinstance(index, slice):
            return Chain(*self._named()[index], boundary=self.boundary)
        return dict(self._named())[index] if isinstance(index, str) else self._layers()[index]

    def append(self, module: nn.Module | tuple[str, nn.Module]) -> "Chain":
        """Add a layer at the end, in place; what already holds the chain, a Stream too, has to be made anew.

        Returns:
            The chain.
        """
        self._add(module)
        try:
            self._lay_out()
        except ValueError:
            del self.layers[list(self.layers)[-1]]
            self._lay_out()
            raise
        return self

    def forward(self, x: Any, **conditions: Any) -> Any:
        # A layer that reads the whole signal must see it without the zeros that lookahead puts behind it; as there is
        # no stream to agree with, each layer takes the whole output of the one before.
        if self.lookahead < math.inf:
            return super().forward(x, **conditions)
        for layer in self._layers():
            x = layer(x, **conditions_of(layer, conditions))
        return x

    def step(self, x: Any, state: State, **conditions: Any) -> tuple[Any, State]:
        own, waiting = self._split(state)
        x = self._wait("hops", x, waiting)
        conditions = {name: self._wait(f"hops_{name}", value, waiting) for name, value in conditions.items()}
        for i, (key, layer) in enumerate(self._named()):
            given = conditions_of(layer, conditions)
            given = {name: self._wait(f"{key}_{name}", value, waiting) for name, value in given.items()}
            x, own[i] = layer.step(x, own[i], **given)
        x = self._wait("end", x, waiting)
        return x, self._join(own, waiting)

    def start(self, x: Any, silence: bool, **conditions: Any) -> tuple[Any, State]:
        self._require_unchanged()
        own: list[State] = []
        waiting: dict[str, State] = {}
        self._start_wait("hops", x, waiting)
        self._start_conditions({name: f"hops_{name}" for name in self.aligned}, x, waiting)
        for key, layer in self._named():
            self._start_conditions({name: f"{key}_{name}" for name in layer.aligned}, x, waiting)
            self._check_part(key, layer, x)
            x, state = layer.start(x, silence, **conditions_of(layer, conditions))
            own.append(state)
        x = self._start_wait("end", x, waiting)
        return x, self._join(own, waiting)
