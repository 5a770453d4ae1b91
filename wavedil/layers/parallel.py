"""Streaming modules side by side, as one."""

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from wavedil.layers.base import Delay, State, StreamingModule
from wavedil.layers.conditions import conditions_of
from wavedil.layers.parts import Parts, WholeHops
from wavedil.layers.wrap import Wrap
from wavedil.receptive import Field

Join = Literal["concatenate", "sum"]


class Parallel(Parts):
    """Streaming modules of one rate that read the same input; branches with less lookahead wait for that with most.

    A branch may go to another rate and come back. Branches of any hop take whole hops of their common one; what does
    not fill it waits.

    Args:
        modules: the branches: streaming modules, and plain torch ones that :class:`Wrap` takes; a pair ``(name,
            module)`` names its state and parameters, else its index does.
        join: "concatenate" (over channels, in the order given) or "sum". A branch of one frequency bin counts for all.

    Shape:
        ``(batch, channels, ..., time)`` to ``(batch, channels', ..., time')``.

    Raises:
        TypeError: if a module is none, or one that Wrap refuses.
        ValueError: if there is no branch, two have the same name, they have different rates or want different
            conditions of one name, or the join is another.
    """

    def __init__(self, *modules: nn.Module | tuple[str, nn.Module], join: Join = "concatenate") -> None:
        super().__init__(*modules)
        if join not in ("concatenate", "sum"):
            raise ValueError(f"join must be 'concatenate' or 'sum', got {join!r}")
        if not modules:
            raise ValueError("expected at least one branch, got none")
        (first, one), *others = self._named()
        for name, branch in others:
            if branch.field.stride != one.field.stride:
                strides = f"{one.field.stride} and {branch.field.stride}"
                raise ValueError(f"branches {first} and {name} must have the same stride, got {strides}")
        self.join: Join = join
        self._lay_out()

    def _lay_out(self) -> None:
        """Find out what has to wait where."""
        self._merge_conditions()
        field, most = self.field, max(branch.preroll for branch in self._layers())
        # The lookahead counts in whole periods, or the signal's end would not bring out its last outputs.
        self._preroll = -(-most // field.outputs) * field.outputs
        lines = ("hops", *(f"hops_{name}" for name in self.aligned)) if field.inputs > 1 else ()
        waits = {f"{name}_delay": Delay(self._preroll - branch.preroll) for name, branch in self._named()}
        self._set_waits({**{key: WholeHops(field.inputs) for key in lines}, **waits})

    @property
    def field(self) -> Field:
        field, *others = [branch.field for branch in self._layers()]
        for other in others:
            field = field.union(other)
        return field

    @property
    def preroll(self) -> int:
        return self._preroll

    @property
    def input_axes(self) -> tuple[Any, ...]:
        known = [branch.input_axes for branch in self._layers()]
        return next((axes for axes in known if axes != (...,)), (...,))

    def input_shape(self) -> tuple[int, ...]:
        for branch in self._layers():
            if branch.input_axes != (...,) or not isinstance(branch, Wrap):
                return branch.input_shape()
        return super().input_shape()

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        shapes = [branch.output_shape(shape) for branch in self._layers()]
        channels = [own[0] for own in shapes]
        bins = [max(sizes) for sizes in zip(*(own[1:] for own in shapes), strict=True)]
        return (sum(channels) if self.join == "concatenate" else channels[0], *bins)

    def __getitem__(self, index: int | str) -> StreamingModule:
        """A branch by index or name (a plain module comes as :class:`Wrap`)."""
        return dict(self._named())[index] if isinstance(index, str) else self._layers()[index]

    def forward(self, x: Tensor, **conditions: Any) -> Any:
        # A branch that reads the whole signal must see it without the zeros that others' lookahead puts behind it.
        if self.lookahead == math.inf:
            return self._joined([branch(x, **conditions_of(branch, conditions)) for branch in self._layers()])
        return super().forward(x, **conditions)

    def step(self, x: Tensor, state: State, **conditions: Any) -> tuple[Tensor, State]:
        own, waiting = self._split(state)
        x = self._wait("hops", x, waiting)
        conditions = {name: self._wait(f"hops_{name}", value, waiting) for name, value in conditions.items()}
        outputs: list[Tensor] = []
        for i, (name, branch) in enumerate(self._named()):
            y, own[i] = branch.step(x, own[i], **conditions_of(branch, conditions))
            outputs.append(self._wait(f"{name}_delay", y, waiting))
        return self._joined(outputs), self._join(own, waiting)

    def start(self, x: Tensor, silence: bool, **conditions: Any) -> tuple[Tensor, State]:
        self._require_unchanged()
        own: list[State] = []
        waiting: dict[str, State] = {}
        outputs: list[Tensor] = []
        self._start_wait("hops", x, waiting)
        self._start_conditions({name: f"hops_{name}" for name in self.aligned}, x, waiting)
        for name, branch in self._named():
            self._check_part(name, branch, x)
            y, state = branch.start(x, silence, **conditions_of(branch, conditions))
            own.append(state)
            outputs.append(self._start_wait(f"{name}_delay", y, waiting))
        return self._joined(outputs), self._join(own, waiting)

    def _joined(self, outputs: list[Tensor]) -> Tensor:
        self._require_alike(outputs)
        if self.join == "sum":
            return cast(Tensor, sum(outputs[1:], outputs[0]))
        if outputs[0].ndim > 3:
            bins = max(y.shape[-2] for y in outputs)
            outputs = [y.expand(-1, -1, bins, -1) for y in outputs]
        return torch.cat(outputs, dim=1)

    def _require_alike(self, outputs: list[Tensor]) -> None:
        """Refuse branches whose outputs would be broadcast over each other's channels, or do not fit at all."""
        if not all(isinstance(y, Tensor) for y in outputs):
            raise ValueError("Parallel: expected one output of each branch, got several")
        first = 1 if self.join == "sum" else 2
        channels = {y.shape[1:2] if self.join == "sum" else y.ndim for y in outputs}
        bins = {size for y in outputs for size in y.shape[2:-1] if size != 1}
        if len(channels) > 1 or len(bins) > 1 or len({y.ndim for y in outputs}) > 1:
            shapes = ", ".join(str(tuple(y.shape[1:-1])) for y in outputs)
            what = "channels and bins" if first == 1 else "bins"
            raise ValueError(f"Parallel: expected branches of the same {what}, got outputs of {shapes}")
