"""Streaming modules side by side, as one."""

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from wavedil.layers.base import Delay, State, StreamingModule
from wavedil.layers.chain import Wrap, split_state
from wavedil.receptive import Field

Join = Literal["concatenate", "sum"]


class Parallel(StreamingModule):
    """Streaming modules of stride 1 that read the same input; branches with less lookahead wait for that with most.

    Args:
        modules: the branches: streaming modules, and plain torch ones that :class:`Wrap` takes; a pair ``(name,
            module)`` names its state and parameters, else its index does.
        join: "concatenate" (over channels, in the order given) or "sum". A branch of one frequency bin counts for all.

    Shape:
        ``(batch, channels, ..., time)`` to ``(batch, channels', ..., time)``.

    Raises:
        ValueError: if there is no branch, one has a stride, or the join is another.
    """

    def __init__(self, *modules: nn.Module | tuple[str, nn.Module], join: Join = "concatenate") -> None:
        super().__init__()
        if join not in ("concatenate", "sum"):
            raise ValueError(f"join must be 'concatenate' or 'sum', got {join!r}")
        if not modules:
            raise ValueError("expected at least one branch, got none")
        named = [m if isinstance(m, tuple) else (str(i), m) for i, m in enumerate(modules)]
        self.layers = nn.ModuleDict({name: m if isinstance(m, StreamingModule) else Wrap(m) for name, m in named})
        for name, branch in zip(self.layers, self._branches(), strict=True):
            if (branch.field.inputs, branch.field.outputs) != (1, 1):
                raise ValueError(f"branch {name} must have stride 1, got {branch.field.stride}")
        self.join: Join = join
        waits = [self.preroll - branch.preroll for branch in self._branches()]
        self.delays = nn.ModuleDict({name: Delay(wait) for name, wait in zip(self.layers, waits, strict=True)})

    @property
    def field(self) -> Field:
        field, *others = [branch.field for branch in self._branches()]
        for other in others:
            field = field.union(other)
        return field

    @property
    def preroll(self) -> int:
        return max(branch.preroll for branch in self._branches())

    @property
    def state_names(self) -> tuple[str, ...]:
        keys = [*self.layers, *(f"{name}_delay" for name in self.layers)]
        layers = [*self._branches(), *self._delays()]
        return tuple(f"{key}.{name}" for key, layer in zip(keys, layers, strict=True) for name in layer.state_names)

    def input_shape(self) -> tuple[int, ...]:
        for branch in self._branches():
            if not isinstance(branch, Wrap):
                return branch.input_shape()
        return super().input_shape()

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        shapes = [branch.output_shape(shape) for branch in self._branches()]
        channels = [own[0] for own in shapes]
        bins = [max(sizes) for sizes in zip(*(own[1:] for own in shapes), strict=True)]
        return (sum(channels) if self.join == "concatenate" else channels[0], *bins)

    def forward(self, x: Tensor, **conditions: Any) -> Any:
        # A branch that reads the whole signal must see it without the zeros that others' lookahead puts behind it.
        if self.lookahead == math.inf:
            return self._joined([branch(x) for branch in self._branches()])
        return super().forward(x, **conditions)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        count = len(self.layers)
        parts = split_state(state, (*self._branches(), *self._delays()))
        outputs: list[Tensor] = []
        for i, (branch, delay) in enumerate(zip(self._branches(), self._delays(), strict=True)):
            y, parts[i] = branch.step(x, parts[i])
            y, parts[count + i] = delay.step(y, parts[count + i])
            outputs.append(y)
        return self._joined(outputs), tuple(t for part in parts for t in part)

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        began = [branch.start(x, silence) for branch in self._branches()]
        waiting = [delay.start(y, silence=True) for delay, (y, _) in zip(self._delays(), began, strict=True)]
        state = tuple(t for _, part in (*began, *waiting) for t in part)
        return self._joined([y for y, _ in waiting]), state

    def _joined(self, outputs: list[Tensor]) -> Tensor:
        if self.join == "sum":
            return cast(Tensor, sum(outputs[1:], outputs[0]))
        if outputs[0].ndim > 3:
            bins = max(y.shape[-2] for y in outputs)
            outputs = [y.expand(-1, -1, bins, -1) for y in outputs]
        return torch.cat(outputs, dim=1)

    def _branches(self) -> list[StreamingModule]:
        return cast(Any, list(self.layers.values()))

    def _delays(self) -> list[Delay]:
        return cast(Any, list(self.delays.values()))
