"""The streaming contract: what every layer and model of the package is.

A module defines ``step`` alone. Offline, ``forward`` is one step over the whole signal from the initial state, so the
two cannot part. With lookahead, the first outputs of a stream belong to times before the signal: ``forward`` drops them
and makes up for them by zeros behind the end, which is what :class:`wavedil.Stream` does when it is flushed.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavedil.checks import bounded_integer
from wavedil.config import Boundary
from wavedil.functional import LONGEST
from wavedil.layers.checks import ShortChunkError, check_conditions, check_signal, checked, written
from wavedil.layers.conditions import Shapes, default_aligned, default_shapes, named_by, split_conditions
from wavedil.layers.sizes import require_boundary, require_placement, require_sizes
from wavedil.receptive import Field

State = tuple[Tensor, ...]

_MOST = 1 << 24  # sessions, or sizes of an axis


class StreamingModule(nn.Module):
    """Base of all layers and models: the same offline, chunk by chunk, exported and compiled.

    A subclass gives ``field``, ``step``, ``start`` and, where it has them, ``state_names``, ``preroll`` and
    ``output_shape``. Time is the last axis; the state is a flat tuple of tensors, batch first, never changed in place.

    Attributes:
        boundary: what the layers see before the first sample: "zeros", or "silence", the response of the layers before
            to an input that has been zero for ever.
        sample_rate: of the input, in Hz, where the module knows it.
    """

    sample_rate: int | None = None
    _boundary: Boundary = "zeros"
    # The conditions that ``step`` names, and whether it takes others.
    step_conditions: ClassVar[tuple[tuple[str, ...], bool]] = ((), True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Have the arguments of ``step`` and ``forward`` checked, whoever writes them."""
        super().__init_subclass__(**kwargs)
        for name in ("step", "forward"):
            if name in cls.__dict__:
                setattr(cls, name, checked(cls.__dict__[name]))
        cls.step_conditions = named_by(cls.step)

    @property
    def condition_shapes(self) -> Shapes:
        """The conditions that the module takes: by name, the axes behind the batch, without time; None if not known.

        As a default, those that ``step`` names, and those of the modules inside if it takes ``**conditions``.
        """
        return default_shapes(self)

    @property
    def aligned(self) -> tuple[str, ...]:
        """Names of the conditions that run along with the input, one value a sample; a class attribute will do."""
        return default_aligned(self)

    @property
    def boundary(self) -> Boundary:
        """What the layers see before the first sample; one that is not known is refused when it is set."""
        return self._boundary

    @boundary.setter
    def boundary(self, value: Boundary) -> None:
        self._boundary = require_boundary(value)

    @property
    def field(self) -> Field:
        """Which inputs an output of ``forward`` reads, exactly."""
        raise NotImplementedError

    @property
    def preroll(self) -> int:
        """Outputs that a stream gives before the first of ``forward``: its lookahead, in outputs."""
        return 0

    @property
    def state_names(self) -> tuple[str, ...]:
        """A name for each tensor of the state."""
        return ()

    def step(self, x: Tensor, state: State, **conditions: Any) -> tuple[Any, State]:
        """Process one chunk.

        Args:
            x: ``(batch, ..., time)``, at least ``hop`` samples.
            state: from :meth:`initial_state` or the step before.
            conditions: keyword inputs of the module, if it has any.

        Returns:
            The outputs that the chunk completes, and the next state.
        """
        raise NotImplementedError

    def start(self, x: Tensor, silence: bool, **conditions: Any) -> tuple[Any, State]:
        """The state in which the periodic signal x has always been playing, and the period that then comes out.

        Args:
            x: one period, ``(batch, ..., time)``, of a multiple of ``hop`` samples.
            silence: whether the period that comes out is the module's response; else it is zeros.
            conditions: keyword inputs of the module, if it has any.
        """
        raise NotImplementedError

    def input_shape(self) -> tuple[int, ...]:
        """The axes between batch and time, where the module knows them by itself."""
        raise ValueError(
            f"{type(self).__name__} takes any shape: give the axes between batch and time to initial_state"
        )

    @property
    def input_axes(self) -> tuple[Any, ...]:
        """What the axes between batch and time must be: sizes, None for any, at the end ``...`` for any more.

        As a default, :meth:`input_shape` where it is known.
        """
        try:
            return self.input_shape()
        except ValueError:
            return (...,)

    def complete_shape(self, *shape: int) -> tuple[int, ...]:
        """The axes between batch and time, of which the user has given those that the module does not know."""
        return shape or self.input_shape()

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The axes between batch and time of the output, for those of the input."""
        return tuple(shape)

    def initial_state(
        self,
        batch_size: int = 1,
        *shape: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **conditions: Any,
    ) -> State:
        """The state before the first sample, as the module's ``boundary`` has it.

        Args:
            batch_size: number of sessions.
            shape: the axes between batch and time, for modules that do not know them.
            dtype: None takes the parameters'.
            device: None takes the parameters'.
            conditions: keyword inputs that matter before the start (a global condition, with boundary "silence").

        Returns:
            A flat tuple of tensors, batch first, named by ``state_names``.

        Raises:
            TypeError: if a size is no integer, or the type not the module's.
            ValueError: if an output reads the whole signal, so that there is no stream of it; if the module does not
                take such sizes or conditions.
        """
        if self.lookahead == math.inf:
            raise ValueError(f"{type(self).__name__} reads the whole signal, past and future: it cannot stream")
        for name, size in {"batch_size": batch_size, **{f"shape[{i}]": size for i, size in enumerate(shape)}}.items():
            bounded_integer(name, size, 1, _MOST)
        require_placement(device, dtype)
        like = next(self.parameters(), None)
        dtype = dtype or (like.dtype if like is not None else torch.get_default_dtype())
        device = device or (like.device if like is not None else "cpu")
        axes = self.complete_shape(*shape)
        x = torch.zeros(batch_size, *axes, self.hop, dtype=dtype, device=device)
        if not torch.compiler.is_compiling():
            check_signal(self, x)
            check_conditions(self, conditions, x, complete=False)
        steady, running = split_conditions(self, conditions)
        if running:
            raise ValueError(f"{', '.join(running)}: runs along with the samples, and is zero before the start")
        return self.start(x, self.boundary == "silence", **steady)[1]

    @checked
    def forward(self, x: Tensor, **conditions: Any) -> Any:
        """The whole signal at once: what a stream of it gives, aligned with it.

        Args:
            x: ``(batch, ..., time)``.
            conditions: keyword inputs of the module, if it has any.

        Returns:
            ``time * outputs // inputs`` of the field's period in time, rounded down to whole periods.

        Raises:
            ValueError: if x is shorter than ``hop``.
        """
        if x.shape[-1] < self.hop:
            raise ValueError(f"{type(self).__name__}: expected at least {self.hop} samples, got {x.shape[-1]}")
        period = x.new_zeros(*x.shape[:-1], self.hop)
        steady, _ = split_conditions(self, conditions)
        _, state = self.start(period, self.boundary == "silence", **steady)
        x, conditions = with_tail(self, x, conditions)
        y, _ = self.step(x, state, **conditions)
        return drop_first(y, self.preroll)

    @property
    def hop(self) -> int:
        """Inputs in a period of the field: the shortest chunk that a stream can process."""
        return self.field.inputs

    @property
    def tail(self) -> int:
        """Zeros behind the end of a signal that bring out its last outputs."""
        return self.preroll * self.field.inputs // self.field.outputs

    @property
    def receptive_field(self) -> int | float:
        """Inputs from the first that an output reads to the last, the current one included."""
        return self.field.receptive_field

    @property
    def lookahead(self) -> int | float:
        """Inputs read beyond the newest of the output's own hop; 0 for a causal module."""
        return self.field.lookahead

    @property
    def latency(self) -> int | float:
        """Inputs that arrive after an output's own first one, before a stream can give it: lookahead and buffering."""
        return math.inf if self.lookahead == math.inf else self.tail + self.hop - 1

    def receptive_field_seconds(self, sample_rate: float | None = None) -> float:
        """``receptive_field`` in seconds, at the module's own sample rate unless one is given."""
        return self.receptive_field / self._rate(sample_rate)

    def lookahead_seconds(self, sample_rate: float | None = None) -> float:
        """``lookahead`` in seconds, at the module's own sample rate unless one is given."""
        return self.lookahead / self._rate(sample_rate)

    def latency_seconds(self, sample_rate: float | None = None) -> float:
        """``latency`` in seconds, at the module's own sample rate unless one is given."""
        return self.latency / self._rate(sample_rate)

    def _rate(self, sample_rate: float | None) -> float:
        rate = sample_rate if sample_rate is not None else self.sample_rate
        if rate is None:
            raise ValueError(f"{type(self).__name__} does not know its sample rate: give sample_rate in Hz")
        return rate


class Window(StreamingModule):
    """Base of layers whose output reads a sliding window over time: convolutions, pooling, framing.

    Args:
        span: inputs from the first that an output reads to the last.
        step_size: inputs between outputs.
        lookahead: how many inputs of the window lie beyond the newest of the output's own step.
        kwargs: of the next class in line, torch's own layer where there is one.

    Raises:
        ValueError: if the lookahead is negative or reaches beyond the window.
    """

    def __init__(self, span: int, step_size: int, lookahead: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_sizes(span=span, stride=step_size)
        bounded_integer("lookahead", lookahead, 0, span - 1)
        self.span = span
        self.step_size = step_size
        self._lookahead = lookahead
        self._block = max(span, step_size)
        # What is buffered before the first sample, so that output -preroll completes with the first whole step.
        self._buffered = self._block - step_size + self.preroll * step_size - lookahead

    @property
    def preroll(self) -> int:
        return -(-self._lookahead // self.step_size)

    @property
    def field(self) -> Field:
        return Field.convolution(self.span, self.step_size, padding=self.span - self.step_size - self._lookahead)

    @property
    def state_names(self) -> tuple[str, ...]:
        # A 1x1 layer has nothing to remember; a strided one may be given chunks that end between its outputs.
        return ("buffer",) if self._buffered or self.step_size > 1 else ()

    def apply_window(self, x: Tensor) -> Tensor:
        """Outputs of all windows that lie inside x, the first of which starts with it."""
        raise NotImplementedError

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not self.state_names:
            return self.apply_window(x), ()
        buffer = take_buffer(self, state, x.shape[:-1], self._block - self.step_size, self._block - 1)
        chunk = x.shape[-1]
        if buffer.shape[-1]:  # joining nothing would make torch.export rule out chunks of a single hop
            x = torch.cat([buffer.to(x.dtype), x], dim=-1)
        outputs = (x.shape[-1] - self._block) // self.step_size + 1
        if not torch.compiler.is_compiling() and outputs < 1:
            raise ShortChunkError(f"{type(self).__name__}: expected a chunk of at least {self.step_size}, got {chunk}")
        # A stride beyond the span leaves a gap of inputs that no window reads: the span is the newest part of a block.
        y = self.apply_window(x[..., self._block - self.span :])
        # A copy, so that the state neither aliases what the caller may reuse nor keeps the chunk alive.
        return y, (x[..., outputs * self.step_size :].clone(),)

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        state = (repeat_back(x, self._buffered),) if self.state_names else ()
        return respond(self, x, state, silence), state


class Pointwise(StreamingModule):
    """Base of layers that read no time but the present."""

    @property
    def field(self) -> Field:
        return Field.identity()

    def apply_point(self, x: Tensor) -> Tensor:
        """The output for x, one time at a time."""
        raise NotImplementedError

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.apply_point(x), ()

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        if silence:
            return self.apply_point(x), ()
        return x.new_zeros(x.shape[0], *self.output_shape(x.shape[1:-1]), x.shape[-1]), ()


class Delay(Window):
    """Output n is input ``n - samples``: holds a branch back until one with lookahead has caught up.

    Args:
        samples: of delay, at least 0.
    """

    def __init__(self, samples: int) -> None:
        bounded_integer("samples", samples, 0, LONGEST - 1)
        super().__init__(span=samples + 1, step_size=1, lookahead=0)
        self.samples = samples

    @property
    def field(self) -> Field:
        return Field.delay(self.samples)

    def apply_window(self, x: Tensor) -> Tensor:
        return x[..., : x.shape[-1] - self.samples]

    def extra_repr(self) -> str:
        return str(self.samples)

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        return super().start(x, silence) if self.samples else (x if silence else torch.zeros_like(x), ())


def split_state(state: State, modules: Sequence[Any]) -> list[State]:
    """The part of a flat state that belongs to each module.

    Raises:
        ValueError: if there are more or fewer tensors than the modules have.
    """
    counts = [len(module.state_names) for module in modules]
    if len(state) != sum(counts):
        raise ValueError(f"expected a state of {sum(counts)} tensors, got {len(state)}: use initial_state")
    parts, first = [], 0
    for count in counts:
        parts.append(tuple(state[first : first + count]))
        first += count
    return parts


def take_buffer(module: StreamingModule, state: State, like: Sequence[int], shortest: int, longest: int) -> Tensor:
    """The one tensor of a state, the samples that a module has kept; a state of another module is refused.

    Args:
        module: whose state it is.
        state: the state.
        like: the axes before time that it must have.
        shortest: the fewest samples that it can hold.
        longest: the most.

    Raises:
        ValueError: if it does not fit.
    """
    if len(state) != 1:
        raise ValueError(f"{type(module).__name__}: expected a state of 1 tensor, got {len(state)}: use initial_state")
    (buffer,) = state
    if torch.compiler.is_compiling():
        return buffer
    if buffer.shape[:-1] != torch.Size(like) or not shortest <= buffer.shape[-1] <= longest:
        span = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
        raise ValueError(
            f"{type(module).__name__}: expected a state of {written(like[1:], like[0], span)}, "
            f"got {tuple(buffer.shape)}: use initial_state of the same module"
        )
    return buffer


def with_tail(module: StreamingModule, x: Tensor, conditions: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """The whole hops of a signal, and of the conditions along with it, and the zeros behind that lookahead calls for.

    What does not fill a hop has no output of its own, and must not become part of one through the zeros.
    """
    whole = x.shape[-1] // module.hop * module.hop

    def fit(signal: Tensor) -> Tensor:
        return F.pad(signal[..., :whole], (0, module.tail)) if module.tail else signal[..., :whole]

    return fit(x), {k: fit(v) if k in module.aligned and v is not None else v for k, v in conditions.items()}


def respond(module: StreamingModule, x: Tensor, state: State, silence: bool, **conditions: Any) -> Tensor:
    """The period that comes out while x repeats: the module's steady response, or zeros of its shape."""
    field = module.field
    repeats = math.lcm(x.shape[-1], field.inputs) // x.shape[-1]
    if silence:
        return module.step(x.repeat(*[1] * (x.ndim - 1), repeats), state, **conditions)[0]
    length = x.shape[-1] * repeats * field.outputs // field.inputs
    return x.new_zeros(x.shape[0], *module.output_shape(x.shape[1:-1]), length)


def repeat_back(x: Tensor, length: int) -> Tensor:
    """The last ``length`` samples of x repeated for ever."""
    if length == 0:
        return x[..., :0].clone()
    repeats = -(-length // x.shape[-1])
    return x.repeat(*[1] * (x.ndim - 1), repeats)[..., repeats * x.shape[-1] - length :].clone()


def drop_first(y: Any, count: int) -> Any:
    """Outputs, a tensor or a tuple of them, without the first ``count`` in time."""
    if count == 0:
        return y
    return y[..., count:] if isinstance(y, Tensor) else tuple(part[..., count:] for part in y)
