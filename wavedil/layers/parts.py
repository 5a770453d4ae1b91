"""What layers one behind the other and layers side by side have in common."""

import keyword
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from wavedil.layers.base import State, StreamingModule, split_state
from wavedil.layers.checks import check_shape
from wavedil.layers.conditions import Shapes, merged_aligned, merged_shapes
from wavedil.layers.wrap import Wrap
from wavedil.receptive import Field


class WholeHops(StreamingModule):
    """Hands on the whole hops of a signal; what does not fill one waits for the next chunk.

    Args:
        hop: samples.
    """

    def __init__(self, hop: int) -> None:
        super().__init__()
        self._hop = hop

    @property
    def field(self) -> Field:
        return Field(self._hop, self._hop, tuple(range(self._hop)), tuple(range(self._hop)))

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("pending",)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (pending,) = state
        if pending.shape[-1]:
            x = torch.cat([pending, x], dim=-1)
        whole = x.shape[-1] // self._hop * self._hop
        return x[..., :whole], (x[..., whole:].clone(),)

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        return (x if silence else torch.zeros_like(x)), (x[..., :0].clone(),)

    def extra_repr(self) -> str:
        return str(self._hop)


class Parts(StreamingModule):
    """Base of :class:`Chain` and :class:`Parallel`: named modules, which conditions reach by name.

    Each part takes by name those conditions that it has; two that take the same name get the same tensor.

    Args:
        modules: streaming modules, and plain torch ones that :class:`Wrap` takes; a pair ``(name, module)`` names its
            state and parameters, else its index does.

    Raises:
        TypeError: if a module is none, or one that Wrap refuses.
        ValueError: if two have the same name, or want different tensors by the same name.
    """

    def __init__(self, *modules: nn.Module | tuple[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        # Where signals wait: for whole hops, or for the lookahead of others. Only lines that hold something.
        self.waits = nn.ModuleDict()
        for module in modules:
            self._add(module)

    @property
    def condition_shapes(self) -> Shapes:
        return self._condition_shapes

    @property
    def aligned(self) -> tuple[str, ...]:
        return self._aligned

    @property
    def state_names(self) -> tuple[str, ...]:
        stateful = [*self.layers.items(), *self.waits.items()]
        return tuple(f"{key}.{name}" for key, part in stateful for name in cast(StreamingModule, part).state_names)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[StreamingModule]:
        return iter(self._layers())

    def _add(self, module: nn.Module | tuple[str, nn.Module]) -> None:
        is_named = isinstance(module, tuple) and len(module) == 2 and isinstance(module[0], str)
        name, part = cast(tuple[str, nn.Module], module if is_named else (str(len(self.layers)), module))
        if not name or "." in name or keyword.iskeyword(name):
            raise ValueError(f"a name must not be empty, hold a dot or be a word of Python, got {name!r}")
        if name in self.layers:
            raise ValueError(f"two parts are named {name!r}")
        self.layers[name] = part if isinstance(part, StreamingModule) else Wrap(part)

    def _layers(self) -> list[StreamingModule]:
        return cast(Any, list(self.layers.values()))

    def _named(self) -> list[tuple[str, StreamingModule]]:
        return cast(Any, list(self.layers.items()))

    def _set_waits(self, waits: dict[str, StreamingModule]) -> None:
        """The lines in which signals wait, but for delays of nothing."""
        self.waits = nn.ModuleDict({k: wait for k, wait in waits.items() if wait.state_names})
        names = self.state_names
        if len(set(names)) < len(names):
            raise ValueError(f"names of parts must not end like those of their delays, got {', '.join(self.layers)}")
        self._laid_out_for = self._as_of_now()

    def _merge_conditions(self) -> None:
        """Gather what the parts take; refuse parts that want different tensors by one name."""
        self._condition_shapes = merged_shapes(self._named())
        self._aligned = merged_aligned(self._layers())

    def _as_of_now(self) -> list[Any]:
        return [(part.preroll, part.condition_shapes) for part in self._layers()]

    def _check_part(self, key: str, part: StreamingModule, x: Any) -> None:
        """Refuse what one part gives and the next does not take, before torch does."""
        if torch.compiler.is_compiling():
            return
        try:
            check_shape(part, x)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{type(self).__name__}, part {key}: {error}") from None

    def _require_unchanged(self) -> None:
        if self._as_of_now() != self._laid_out_for:
            raise ValueError(f"{type(self).__name__}: a part was changed since it was made: make it anew")

    def _split(self, state: State) -> tuple[list[State], dict[str, State]]:
        """The state of each part, and of each line in which a signal waits."""
        parts = split_state(state, [*self.layers.values(), *self.waits.values()])
        count = len(self.layers)
        return parts[:count], dict(zip(self.waits, parts[count:], strict=True))

    def _join(self, own: list[State], waiting: dict[str, State]) -> State:
        return tuple(t for part in (*own, *(waiting[key] for key in self.waits)) for t in part)

    def _wait(self, key: str, signal: Tensor, waiting: dict[str, State]) -> Tensor:
        """A signal as it leaves the line of that name, if there is one."""
        if key not in self.waits:
            return signal
        signal, waiting[key] = cast(StreamingModule, self.waits[key]).step(signal, waiting[key])
        return signal

    def _start_wait(self, key: str, signal: Tensor, waiting: dict[str, State]) -> Tensor:
        """:meth:`_wait` for a signal that has always been periodic."""
        if key not in self.waits:
            return signal
        signal, waiting[key] = cast(StreamingModule, self.waits[key]).start(signal, True)
        return signal

    def _start_conditions(self, keys: dict[str, str], like: Tensor, waiting: dict[str, State]) -> None:
        """Begin the lines, by condition, with the zeros that a condition is before the start."""
        for name, key in keys.items():
            if key in self.waits:
                shape = self.condition_shapes[name]
                if shape is None:
                    raise ValueError(f"{name}: its channels are not known: define condition_shapes of the part")
                self._start_wait(key, like.new_zeros(like.shape[0], *shape, like.shape[-1]), waiting)

    def __repr__(self) -> str:
        lines = [f"({key}): {part!r}" for key, part in (*self.layers.items(), *self.waits.items())]
        body = "".join("\n  " + line.replace("\n", "\n  ") for line in lines)
        return f"{type(self).__name__}({body}\n)" if body else f"{type(self).__name__}()"
