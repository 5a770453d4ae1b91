"""The receptive field of any module, from its graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from wavedil.receptive.answer import Answer, Axes, Axis
from wavedil.receptive.arithmetic import Field
from wavedil.receptive.prepared import unregistered_notes
from wavedil.receptive.taps import Taps
from wavedil.receptive.trace.bounds import bound_notes
from wavedil.receptive.trace.capture import one_thread
from wavedil.receptive.trace.conclusions import Conclusion, concluded
from wavedil.receptive.trace.costs import cost_rows
from wavedil.receptive.trace.fields import renumbered, renumbered_taps
from wavedil.receptive.trace.lengths import Attempt, settled
from wavedil.receptive.trace.program import Walk
from wavedil.receptive.trace.reach import Reach
from wavedil.receptive.trace.subject import Subject, subject_of


def receptive_field(
    module: nn.Module,
    example_input: Tensor | tuple[Any, ...] | Mapping[str, Any],
    *,
    time_axis: int = -1,
    frequency_axis: int | None = None,
    output: int = 0,
    sample_rate: float | None = None,
    allow_unknown: bool = False,
    taps: bool = True,
) -> Answer:
    """Which inputs an output of a module reads, computed from its graph, operator by operator.

    The module is captured by ``torch.export`` as it is, in training or in evaluation mode: batch normalisation in
    training reads everything, and is said to. Where the example is too short to show the whole field, longer ones are
    traced, so any length that the module accepts will do.

    Args:
        module: any module; it is not changed.
        example_input: a tensor, or a tuple of the positional inputs, or a dict of inputs by name, of which the first
            tensor is traced. Layout
            ``(batch, channels, time)`` or ``(batch, channels, frequency, time)``, unless the axes are given.
        time_axis: of the input.
        frequency_axis: of the input; None takes the axis before time, if there are four.
        output: which of the module's tensors, where it gives several.
        sample_rate: of the input, in Hz.
        allow_unknown: take operators that are not known to read everything, and say so in the notes.
        taps: whether to find the exact taps too, which tell holes.

    Returns:
        The field along each axis, its growth, parameters, multiply-accumulates and state.

    Raises:
        ValueError: if the module cannot be captured, has an operator that is not known, or its output does not depend
            on the input.

    Example:
        >>> import torch
        >>> conv = nn.Sequential(nn.Conv1d(1, 8, 3, padding=1), nn.Conv1d(8, 8, 3, padding=2, dilation=2))
        >>> answer = receptive_field(conv, torch.zeros(1, 1, 100))
        >>> answer.receptive_field, answer.lookahead
        (7, 3)
    """
    traced = trace(
        module,
        example_input,
        time_axis=time_axis,
        frequency_axis=frequency_axis,
        output=output,
        allow_unknown=allow_unknown,
        taps=taps,
    )
    return answer_of(traced, sample_rate)


@dataclass(frozen=True)
class Trace:
    """A walk through a module, with the fields that came out of it.

    Attributes:
        found: the walk, at the length at which it was read.
        axes: what was concluded along each axis.
        notes: what a reader must know.
        exact: whether the fields are what is read, and not only an upper bound.
    """

    found: Attempt
    axes: tuple[Conclusion, ...]
    notes: tuple[str, ...]
    exact: bool

    @property
    def fields(self) -> tuple[Field, ...]:
        """Of each axis, for the outputs as the module gives them at this length."""
        return tuple(axis.field for axis in self.axes)

    @property
    def taps(self) -> tuple[Taps | None, ...]:
        """Of each axis, likewise, where they are known."""
        return tuple(axis.taps for axis in self.axes)

    @property
    def subject(self) -> Subject:
        """What was traced."""
        return self.found.subject

    @property
    def walk(self) -> Walk:
        """What its operators read."""
        return self.found.walk

    @property
    def reach(self) -> Reach:
        """What its output reads."""
        return self.found.reach

    @property
    def lengths(self) -> list[int]:
        """Of the input along each axis."""
        return self.found.lengths


@one_thread()
def trace(
    module: nn.Module,
    example_input: Tensor | tuple[Any, ...] | Mapping[str, Any],
    *,
    time_axis: int = -1,
    frequency_axis: int | None = None,
    output: int = 0,
    allow_unknown: bool = False,
    taps: bool = True,
) -> Trace:
    """:func:`receptive_field` with everything that it was computed from."""
    subject = subject_of(module, example_input, time_axis, frequency_axis, output, allow_unknown)
    found = settled(subject)
    notes = [*unregistered_notes(module), *_training_notes(subject.module.inner)]
    notes += [f"unknown {name}: taken to read everything" for name in found.walk.unknown]
    axes = [concluded(found, axis, taps=taps) for axis in range(len(subject.axes))]
    bounds = bound_notes(found.walk.steps)
    notes += [note for axis in axes for note in axis.notes] + bounds
    return Trace(found, tuple(axes), tuple(notes), exact=not bounds and not found.walk.unknown)


@one_thread()
def answer_of(traced: Trace, sample_rate: float | None) -> Answer:
    """The answer of a trace."""
    module = traced.subject.module.inner
    axes = [_axis(found) for found in traced.axes]
    rows = cost_rows(traced.walk.steps, traced.lengths, module)
    states = [row.state_values for row in rows]
    state = None if any(value is None for value in states) else sum(value or 0 for value in states)
    size = next((p.element_size() for p in module.parameters()), 4)
    return Answer(
        axes=Axes(axes[0], axes[1] if len(axes) > 1 else None),
        layers=tuple(rows),
        parameters=sum(p.numel() for p in module.parameters()),
        state_values=state,
        state_bytes=None if state is None else state * size,
        macs_per_sample=sum(row.macs_per_sample or 0.0 for row in rows),
        sample_rate=sample_rate,
        notes=traced.notes,
        exact=traced.exact,
    )


def _axis(found: Conclusion) -> Axis:
    """What is answered along an axis, its outputs counted as the answer counts them."""
    taps = None if found.taps is None else renumbered_taps(found.taps, found.number)
    return Axis.of(renumbered(found.field, found.number), taps)


def _training_notes(module: nn.Module) -> list[str]:
    """Layers that read the whole batch as they are."""
    norms = (nn.modules.batchnorm._BatchNorm, nn.SyncBatchNorm)
    return [
        f"{name or type(layer).__name__}: {type(layer).__name__} in training mode reads the whole batch and signal; "
        "call eval() for the field of the trained model"
        for name, layer in module.named_modules()
        if isinstance(layer, norms) and layer.training
    ]
