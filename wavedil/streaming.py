"""Stream: the one class that keeps a state for its user."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wavedil.layers.base import State, StreamingModule, drop_first, require_settled


@dataclass(frozen=True)
class Snapshot:
    """A moment of a :class:`Stream`, sharing no memory with it."""

    state: State
    pending: tuple[Tensor, ...]
    early: tuple[int, ...]


class Stream:
    """One session, or a batch of them in step, of a streaming module.

    Chunks may have any size, a single sample too: what does not fill the module's hop waits for the next chunk. All
    outputs together, with those of :meth:`flush`, are those of ``module(signal)``.

    Args:
        module: a layer or model, in evaluation mode if it has batch norm or dropout.
        batch_size: number of sessions.
        shape: the axes between batch and time, for modules that do not know them (see ``initial_state``).
        dtype: of the signal; None takes the parameters'.
        device: of the signal; None takes the parameters'.
        conditions: conditions that hold for the whole session, such as ``global_condition``.

    Example:
        >>> from wavedil.layers import CausalConv1d
        >>> conv = CausalConv1d(1, 4, kernel_size=3, stride=2)
        >>> stream = Stream(conv)
        >>> [stream.push(torch.zeros(1, 1, size)).shape[-1] for size in (1, 1, 5)]
        [0, 1, 2]
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
        require_settled(module, "streaming")
        self.module = module
        self.batch_size = batch_size
        self._conditions = conditions
        with torch.no_grad():
            self._initial = module.initial_state(batch_size, *shape, dtype=dtype, device=device, **conditions)
        self._axes = module.complete_shape(*shape)
        self._like = next(module.parameters(), torch.empty(0)).detach().to(device=device, dtype=dtype)
        self._no_outputs: Any = None
        self.reset()

    def reset(self, session: int | None = None) -> None:
        """Start afresh: all sessions, or one of the batch while the others go on.

        A module with lookahead then owes that one session outputs from before its start: they are NaN.

        Args:
            session: index in the batch; None for all.

        Raises:
            ValueError: if there is no such session.
        """
        if session is None:
            self._state = self._initial
            self._pending = [self._empty() for _ in range(self.batch_size)]
            self._early = [self.module.preroll] * self.batch_size
            return
        self._check_session(session)
        mixed = []
        for current, initial in zip(self._state, self._initial, strict=True):
            updated = current.clone()
            updated[session] = initial[session]
            mixed.append(updated)
        self._state = tuple(mixed)
        self._pending[session] = self._empty()
        self._early[session] = self.module.preroll

    @torch.no_grad()
    def push(self, chunk: Tensor, **aligned: Tensor) -> Any:
        """Feed the next samples of every session.

        Args:
            chunk: ``(batch, ..., time)``, any time from 0 on.
            aligned: conditions that run along with the samples, such as ``local_condition``; only where the hop is 1.

        Returns:
            The outputs that the chunk completes, ``(batch, ..., n)`` with n >= 0, or a tuple of such.

        Raises:
            ValueError: if the chunk's shape is not the module's.
        """
        expected = (self.batch_size, *self._axes)
        if tuple(chunk.shape[:-1]) != expected:
            raise ValueError(f"expected a chunk of {(*expected, 'time')}, got {tuple(chunk.shape)}")
        hop = self.module.hop
        if hop == 1:
            return self._run(chunk, aligned)
        if aligned:
            raise ValueError(f"{', '.join(aligned)}: conditions in step with the samples need a hop of 1, got {hop}")
        self._pending = [torch.cat([old, new], dim=-1) for old, new in zip(self._pending, chunk, strict=True)]
        ready = min(part.shape[-1] for part in self._pending) // hop * hop
        chunk = torch.stack([part[..., :ready] for part in self._pending])
        self._pending = [part[..., ready:].clone() for part in self._pending]
        return self._run(chunk, {})

    def flush(self, session: int | None = None) -> Any:
        """End the signal: give the outputs that waited for lookahead, and start afresh.

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
        due = {
            (part.shape[-1] // self.module.hop, early) for part, early in zip(self._pending, self._early, strict=True)
        }
        if len(due) > 1:
            raise ValueError("the sessions are out of step: flush them one by one, with flush(session)")
        # What does not fill a hop has no output of its own, and must not become part of one through the zeros.
        self._pending = [part[..., : part.shape[-1] // self.module.hop * self.module.hop] for part in self._pending]
        outputs = self.push(self._zeros(self.module.tail))
        self.reset()
        return outputs

    def snapshot(self) -> Snapshot:
        """This moment, to be restored any number of times."""
        return Snapshot(
            tuple(t.clone() for t in self._state), tuple(t.clone() for t in self._pending), tuple(self._early)
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this stream or of one of the same module and batch size.

        Raises:
            ValueError: if the snapshot is of another shape.
        """
        expected, actual = [tuple(t.shape) for t in self._initial], [tuple(t.shape) for t in snapshot.state]
        if expected != actual or len(snapshot.pending) != self.batch_size:
            raise ValueError(f"expected a snapshot of {expected}, got {actual}")
        self._state = tuple(t.clone() for t in snapshot.state)
        self._pending = [t.clone() for t in snapshot.pending]
        self._early = list(snapshot.early)

    def _run(self, chunk: Tensor, aligned: dict[str, Tensor]) -> Any:
        """Outputs of whole hops, without those of before the start."""
        if chunk.shape[-1] == 0:
            return self._nothing(aligned)
        outputs, self._state = self.module.step(chunk, self._state, **self._conditions, **aligned)
        dropped = min(min(self._early), _length(outputs))
        outputs = drop_first(outputs, dropped)
        self._early = [early - dropped for early in self._early]
        count = _length(outputs)
        for session, early in enumerate(self._early):
            if early and count:
                outputs = _map(outputs, lambda y, i=session, n=early: _blank(y, i, n))
                self._early[session] = max(early - count, 0)
        return outputs

    def _nothing(self, aligned: dict[str, Tensor]) -> Any:
        """No outputs, in the shape that outputs have: those of one hop, cut to length 0 and kept for the next time."""
        if self._no_outputs is None:
            hop = self.module.hop
            blank = {name: value.new_zeros(*value.shape[:-1], hop) for name, value in aligned.items()}
            outputs, _ = self.module.step(self._zeros(hop), self._initial, **self._conditions, **blank)
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
        alone._conditions = {name: value[part] for name, value in self._conditions.items()}
        alone._no_outputs = None
        return alone

    def _check_session(self, session: int) -> None:
        if not 0 <= session < self.batch_size:
            raise ValueError(f"session must be from 0 to {self.batch_size - 1}, got {session}")

    def _zeros(self, time: int) -> Tensor:
        return self._like.new_zeros(self.batch_size, *self._axes, time)

    def _empty(self) -> Tensor:
        return self._like.new_zeros(*self._axes, 0)


def _map(outputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return change(outputs) if isinstance(outputs, Tensor) else tuple(change(part) for part in outputs)


def _length(outputs: Any) -> int:
    return (outputs if isinstance(outputs, Tensor) else outputs[0]).shape[-1]


def _blank(y: Tensor, session: int, count: int) -> Tensor:
    y = y.clone()
    y[session, ..., :count] = float("nan")
    return y
