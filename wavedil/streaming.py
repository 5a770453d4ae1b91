"""Stream: the one class that keeps a state for its user."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wavedil.layers.base import State, StreamingModule, drop_first
from wavedil.layers.checks import check_conditions, check_kind, may_turn, require_evaluation, require_settled, written
from wavedil.layers.conditions import cut, split_conditions


@dataclass(frozen=True)
class Snapshot:
    """A moment of a :class:`Stream`, sharing no memory with it."""

    state: State
    pending: tuple[dict[str, Tensor], ...]
    early: tuple[int, ...]
    conditions: dict[str, Tensor]
    position: int


class Stream:
    """One session, or a batch of them in step, of a streaming module.

    Chunks may have any size, a single sample too: what does not fill the module's hop waits for the next chunk. All
    outputs together, with those of :meth:`flush`, are those of ``module(signal)``. No gradients are computed.

    Args:
        module: a layer or model, in evaluation mode if it has batch norm or dropout, and to stay there.
        batch_size: number of sessions.
        shape: the axes between batch and time, for modules that do not know them (see ``initial_state``).
        dtype: of the signal; None takes the parameters'.
        device: of the signal; None takes the parameters'.
        conditions: steady conditions, such as ``global_condition``, until :meth:`push` is given others.

    Raises:
        TypeError: if a condition is no tensor, or of another type than the signal.
        ValueError: if the module cannot stream, or does not take such sizes or conditions.

    Example:
        >>> from wavedil.layers import CausalConv1d
        >>> conv = CausalConv1d(1, 4, kernel_size=3, stride=2)
        >>> stream = Stream(conv)
        >>> [stream.push(torch.zeros(1, 1, size)).shape[-1] for size in (1, 1, 5)]
        [0, 1, 2]
        >>> stream
        Stream(CausalConv1d, batch_size=1, shape=(1,), hop=2, latency=1, position=7)
    """

    def __init__(
        self,
        module: StreamingModule,
        batch_size: int = 1,
        *shape: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **conditions: Any,
    ) -> None:
        if not isinstance(module, StreamingModule):
            raise TypeError(f"expected a streaming module, got {type(module).__name__}")
        require_settled(module, "streaming")
        conditions = {name: value for name, value in conditions.items() if value is not None}
        with torch.no_grad():
            self._initial = module.initial_state(batch_size, *shape, dtype=dtype, device=device, **conditions)
        self.module = module
        self.batch_size = batch_size
        self.hop = module.hop
        self._axes = module.complete_shape(*shape)
        self._kind = _kind_of(module)
        self._like = next(module.parameters(), torch.empty(0)).detach().to(device=device, dtype=dtype)
        self._first_conditions = {name: value.detach().clone() for name, value in conditions.items()}
        self._conditions: dict[str, Tensor] = {}
        self._running_shapes = {name: module.condition_shapes[name] for name in module.aligned}
        self._may_turn = may_turn(module)
        self._no_outputs: Any = None
        self.reset()

    def reset(self, session: int | None = None) -> None:
        """Start afresh: all sessions, or one of the batch while the others go on.

        Conditions are again those that the stream was made with; those that it was made without stay as they are. A
        module with lookahead then owes that one session outputs from before its start: they are NaN.

        Args:
            session: index in the batch; None for all.

        Raises:
            ValueError: if there is no such session.
        """
        if session is None:
            self._state = self._initial
            self._conditions.update(self._first_conditions)
            self._pending = [self._empty() for _ in range(self.batch_size)]
            self._early = [self.module.preroll] * self.batch_size
            self._position = 0
            return
        self._check_session(session)
        self._state = tuple(
            _with_row(current, initial, session) for current, initial in zip(self._state, self._initial, strict=True)
        )
        for name, value in self._first_conditions.items():
            self._conditions[name] = _with_row(self._conditions[name], value, session)
        self._pending[session] = self._empty()
        self._early[session] = self.module.preroll

    @torch.no_grad()
    def push(self, chunk: Tensor, **conditions: Tensor) -> Any:
        """Feed the next samples of every session.

        Args:
            chunk: ``(batch, ..., time)``, any time from 0 on.
            conditions: those that run along with the samples, such as ``local_condition``, as long as the chunk; and
                steady ones, such as ``global_condition``, to hold from here on, for samples too that still wait to
                fill a hop.

        Returns:
            The outputs that the chunk completes, ``(batch, ..., n)`` with n >= 0, or a tuple of such. They share no
            memory with the chunk.

        Raises:
            TypeError: if the chunk or a condition is no tensor, or of another type than the stream.
            ValueError: if one is of another shape or device, or is missing; if the module, since the stream was made,
                has gone to training mode, or to another type or device.
        """
        self._check(chunk)
        given = {name: value for name, value in conditions.items() if value is not None}
        steady, running = split_conditions(self.module, {**self._conditions, **given})
        check_conditions(self.module, {**steady, **running}, chunk)
        self._conditions = steady | {name: given[name].detach().clone() for name in steady.keys() & given.keys()}
        self._running_shapes = {name: tuple(value.shape[1:-1]) for name, value in running.items()}
        self._position += chunk.shape[-1]
        return self._feed({"": chunk, **running})

    def _feed(self, signals: dict[str, Tensor]) -> Any:
        """Outputs of the whole hops of what waits and of what comes now; the signal is named by nothing."""
        if self.hop > 1:
            rows = [
                {name: torch.cat([old.get(name, new[i, ..., :0]), new[i]], dim=-1) for name, new in signals.items()}
                for i, old in enumerate(self._pending)
            ]
            ready = min(row[""].shape[-1] for row in rows) // self.hop * self.hop
            signals = {name: torch.stack([row[name][..., :ready] for row in rows]) for name in signals}
            self._pending = [{name: part[..., ready:].clone() for name, part in row.items()} for row in rows]
        chunk = signals.pop("")
        return self._run(chunk, signals) if chunk.shape[-1] else self._nothing(signals)

    def flush(self, session: int | None = None) -> Any:
        """End the signal: give the outputs that waited for lookahead, and start afresh.

        Conditions that run along are zero behind the end, as in ``forward``.

        Args:
            session: index in the batch, for sessions that were reset at different times; None for all together.

        Returns:
            The last outputs, ``(batch, ..., n)``; n is 0 for a causal module.

        Raises:
            ValueError: if the sessions are due different numbers of outputs, so that they cannot be flushed together.
        """
        if session is not None:
            outputs = self._only(session).flush()
            self.reset(session)
            return outputs
        waiting = [part[""].shape[-1] // self.hop * self.hop for part in self._pending]
        if len(set(zip(waiting, self._early, strict=True))) > 1:
            raise ValueError("the sessions are out of step: flush them one by one, with flush(session)")
        # What does not fill a hop has no output of its own, and must not become part of one through the zeros.
        self._pending = [cut(part, 0, whole) for part, whole in zip(self._pending, waiting, strict=True)]
        outputs = self.push(self._zeros(self.module.tail), **self._running_zeros(self.module.tail))
        self.reset()
        return outputs

    def snapshot(self) -> Snapshot:
        """This moment, conditions too, to be restored any number of times."""
        return Snapshot(
            tuple(t.clone() for t in self._state),
            tuple(_clones(part) for part in self._pending),
            tuple(self._early),
            _clones(self._conditions),
            self._position,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this stream or of one of the same module and batch size.

        Raises:
            TypeError: if it is no snapshot.
            ValueError: if the snapshot is of another shape, type or device.
        """
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"expected a snapshot, got {type(snapshot).__name__}")
        expected, actual = _described(self._initial), _described(snapshot.state)
        if expected != actual or len(snapshot.pending) != self.batch_size:
            raise ValueError(f"expected a snapshot of {expected}, got {actual}")
        self._state = tuple(t.clone() for t in snapshot.state)
        self._pending = [_clones(part) for part in snapshot.pending]
        self._early = list(snapshot.early)
        self._conditions = _clones(snapshot.conditions)
        self._position = snapshot.position

    def __repr__(self) -> str:
        sizes = f"batch_size={self.batch_size}, shape={self._axes}, hop={self.hop}, latency={self.module.latency}"
        steady = "".join(f", {name}={tuple(value.shape)}" for name, value in self._conditions.items())
        return f"Stream({type(self.module).__name__}, {sizes}{steady}, position={self._position})"

    def _run(self, chunk: Tensor, running: dict[str, Tensor]) -> Any:
        """Outputs of whole hops, without those of before the start."""
        outputs, self._state = self.module.step(chunk, self._state, **self._conditions, **running)
        # A caller may reuse the chunk's memory while it still holds the outputs.
        outputs = _map(outputs, lambda y: _apart(y, chunk))
        dropped = min(min(self._early), _length(outputs))
        outputs = drop_first(outputs, dropped)
        self._early = [early - dropped for early in self._early]
        count = _length(outputs)
        for session, early in enumerate(self._early):
            if early and count:
                outputs = _map(outputs, lambda y, i=session, n=early: _blank(y, i, n))
                self._early[session] = max(early - count, 0)
        return outputs

    def _nothing(self, running: dict[str, Tensor]) -> Any:
        """No outputs, in the shape that outputs have: those of one hop, cut to length 0 and kept for the next time."""
        if self._no_outputs is None:
            blank = {name: value.new_zeros(*value.shape[:-1], self.hop) for name, value in running.items()}
            outputs, _ = self.module.step(self._zeros(self.hop), self._initial, **self._conditions, **blank)
            self._no_outputs = _map(outputs, lambda y: y[..., :0].clone())
        return self._no_outputs

    def _only(self, session: int) -> "Stream":
        """This stream with that session alone."""
        self._check_session(session)
        part = slice(session, session + 1)
        alone = copy.copy(self)
        alone.batch_size = 1
        alone._initial = tuple(t[part] for t in self._initial)
        alone._state = tuple(t[part] for t in self._state)
        alone._pending = self._pending[part]
        alone._early = self._early[part]
        alone._first_conditions = {name: value[part] for name, value in self._first_conditions.items()}
        alone._conditions = {name: value[part] for name, value in self._conditions.items()}
        alone._no_outputs = None
        return alone

    def _check(self, chunk: Tensor) -> None:
        """Refuse a chunk that is not the stream's, and a module that is not what it was."""
        require_evaluation(self._may_turn, "streaming")
        kind = _kind_of(self.module)
        if kind != self._kind:
            raise ValueError(
                f"the module went from {_written(self._kind)} to {_written(kind)}: make a new Stream of it"
            )
        expected = (self.batch_size, *self._axes)
        if not isinstance(chunk, Tensor):
            remedy = ": convert it by torch.from_numpy" if type(chunk).__module__ == "numpy" else ""
            found = f"{type(chunk).__name__}{remedy}"
            raise TypeError(f"expected a chunk, a tensor of {written(self._axes, self.batch_size)}, got {found}")
        if chunk.ndim < 2 or tuple(chunk.shape[:-1]) != expected:
            raise ValueError(f"expected a chunk of {written(self._axes, self.batch_size)}, got {tuple(chunk.shape)}")
        check_kind("the chunk", chunk, self._like, "the stream's")

    def _check_session(self, session: int) -> None:
        if isinstance(session, bool) or not isinstance(session, int) or not 0 <= session < self.batch_size:
            raise ValueError(f"session must be from 0 to {self.batch_size - 1}, got {session!r}")

    def _zeros(self, time: int) -> Tensor:
        return self._like.new_zeros(self.batch_size, *self._axes, time)

    def _running_zeros(self, time: int) -> dict[str, Tensor]:
        """Of the conditions that run along, where their channels are known by the module or from a push."""
        return {
            name: self._like.new_zeros(self.batch_size, *shape, time)
            for name, shape in self._running_shapes.items()
            if shape is not None
        }

    def _empty(self) -> dict[str, Tensor]:
        return {"": self._like.new_zeros(*self._axes, 0)}


def _map(outputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return change(outputs) if isinstance(outputs, Tensor) else tuple(change(part) for part in outputs)


def _length(outputs: Any) -> int:
    return (outputs if isinstance(outputs, Tensor) else outputs[0]).shape[-1]


def _apart(y: Tensor, chunk: Tensor) -> Tensor:
    return y.clone() if y.untyped_storage().data_ptr() == chunk.untyped_storage().data_ptr() else y


def _blank(y: Tensor, session: int, count: int) -> Tensor:
    y = y.clone()
    y[session, ..., :count] = float("nan")
    return y


def _with_row(current: Tensor, initial: Tensor, session: int) -> Tensor:
    """A copy in which one session is as at first."""
    updated = current.clone()
    updated[session] = initial[session]
    return updated


def _clones(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}


def _described(state: Sequence[Tensor]) -> list[Any]:
    return [(tuple(t.shape), t.dtype, str(t.device)) for t in state]


def _kind_of(module: StreamingModule) -> tuple[torch.dtype, torch.device] | None:
    """Type and device of a module's first parameter, or buffer."""
    first = next(module.parameters(), None)
    first = next(module.buffers(), None) if first is None else first
    return None if first is None else (first.dtype, first.device)


def _written(kind: tuple[torch.dtype, torch.device] | None) -> str:
    return "nothing" if kind is None else f"{kind[0]} on {kind[1]}"
