"""A computed receptive field held against two measurements of the very module: gradients and NaN."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from wavedil.receptive.arithmetic import Field
from wavedil.receptive.measure import gradient_reach, nan_reach, reach_hull
from wavedil.receptive.trace.conclusions import AXES
from wavedil.receptive.trace.fields import Intervals, intervals
from wavedil.receptive.trace.module import Trace, trace
from wavedil.receptive.trace.program import Step

# Phases of which each is measured by its gradient; of more, so many are taken evenly.
_PHASES = 256
# Phases that are probed with NaN, each by several runs of the module.
_PROBED = 4


class DisagreementError(ValueError):
    """What was computed is not what was measured: both, and the layer where they part."""


@dataclass(frozen=True)
class Verification:
    """What was measured, and agreed.

    Attributes:
        length: of the input in time on which it was measured.
        outputs: neighbouring outputs of which the exact set of inputs was measured by gradients.
        probed: outputs that were probed with NaN.
        taps: whether the sets were compared input by input, and not by their first and last alone.
        notes: what a reader must know.
    """

    length: int
    outputs: int
    probed: int
    taps: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "notes": list(self.notes)}


def verify_receptive_field(
    module: nn.Module,
    example_input: Tensor | tuple[Any, ...] | Mapping[str, Any],
    *,
    time_axis: int = -1,
    frequency_axis: int | None = None,
    output: int = 0,
    traced: Trace | None = None,
) -> Verification:
    """Compute the receptive field of a module, measure it twice, and compare.

    The first measurement is the gradient in float64 of a copy with positive weights and linear activations, in which
    nothing can cancel or vanish; the second puts NaN into the inputs of an untouched copy. The input is at least twice
    as long as the field, and every phase of the outputs is measured. A field that is said to be unbounded must reach
    the first input, and the last if it is everything.

    Args:
        module: any module; it is not changed.
        example_input: see :func:`wavedil.receptive.receptive_field`.
        time_axis: likewise.
        frequency_axis: likewise.
        output: likewise.
        traced: what was computed, if it was computed before.

    Raises:
        DisagreementError: if computed and measured differ; with both numbers and the layer where they part.
        ValueError: if the module cannot be traced, or not measured.

    Example:
        >>> verify_receptive_field(nn.Conv1d(1, 1, 3, dilation=2), torch.zeros(1, 1, 20)).outputs
        1
    """
    if traced is None:
        traced = trace(module, example_input, time_axis=time_axis, frequency_axis=frequency_axis, output=output)
    outputs = probed = 0
    notes: list[str] = []
    for check in [_Check.of(traced, axis) for axis in range(len(traced.fields))]:
        outputs += check.gradients()
        for place in check.middle[:_PROBED] if math.isfinite(check.field.receptive_field) else []:
            notes += check.probe(place)
            probed += 1
    exact = all(taps is not None for taps in traced.taps)
    return Verification(traced.lengths[0], outputs, probed, exact, tuple(dict.fromkeys(notes)))


def _inputs(traced: Trace) -> tuple[Any, ...]:
    """The inputs of the trace, of which the one that is followed holds noise, so that nothing is zero by chance."""
    args, position = list(traced.subject.args), traced.subject.position
    example = args[position]
    if example.is_floating_point() or example.is_complex():
        generator = torch.Generator().manual_seed(0)
        args[position] = torch.randn(example.shape, generator=generator, dtype=example.dtype)
    return tuple(args)


@dataclass(frozen=True)
class _Check:
    """One axis of a module, held against what was concluded of it.

    Attributes:
        module: gives the one tensor that was traced, with a batch.
        args: its inputs.
        traced: what was computed.
        axis: 0 for time, 1 for frequency.
    """

    module: nn.Module
    args: tuple[Any, ...]
    traced: Trace
    axis: int

    @classmethod
    def of(cls, traced: Trace, axis: int) -> "_Check":
        where = traced.found.where(axis)
        chosen = _Chosen(traced.subject.module, traced.subject.output, where is not None and where.dim == 0)
        return cls(chosen, _inputs(traced), traced, axis)

    @property
    def field(self) -> Field:
        return self.traced.fields[self.axis]

    @property
    def number(self) -> int:
        """The axis of the input."""
        return self.traced.subject.axes[self.axis]

    @property
    def length(self) -> int:
        return self.traced.lengths[self.axis]

    @cached_property
    def where(self) -> Intervals | None:
        return self.traced.found.where(self.axis)

    @cached_property
    def middle(self) -> list[int]:
        """Outputs of every phase, from the middle."""
        if self.where is None:
            return []
        holding, outputs = self.traced.axes[self.axis].outputs, self.field.outputs
        first = max(len(holding) // 2 - outputs // 2, 0)
        return list(holding[first : first + outputs : max(-(-outputs // _PHASES), 1)])

    def index(self, place: int) -> tuple[Any, ...]:
        """An index of one place of the output without its batch."""
        dim = 1 if self.where is None or self.where.dim == 0 else self.where.dim
        return (*[slice(None)] * (dim - 1), place)

    def gradients(self) -> int:
        """Hold outputs from the middle, the first and the last against their gradients; how many from the middle."""
        if self.where is None:
            self._elements()
            return 1
        ends = sorted({0, len(self.where.starts) - 1} - set(self.middle))
        places = [*self.middle, *ends]
        masks = gradient_reach(self.module, self.args, [self.index(place) for place in places])
        for place, mask in zip(places, masks, strict=True):
            if place in ends:
                self._compare_end(place, mask)
            else:
                self._compare(place, mask)
        return len(self.middle)

    def _elements(self) -> None:
        """An output without such an axis: the whole, and single elements of it by what the walk says of them."""
        planes = self.traced.reach.planes[2 * self.axis : 2 * self.axis + 2]
        shape = self.traced.reach.shape[1:]
        flat = {0, math.prod(shape) // 2, math.prod(shape) - 1} if math.prod(shape) > 1 else set()
        indices = [tuple(int(i) for i in torch.unravel_index(torch.tensor(n), shape)) for n in sorted(flat)]
        whole, *masks = gradient_reach(self.module, self.args, [(...,), *indices])
        self._expect("the output", _hull(planes.flatten(1).amax(1)), whole)
        for index, mask in zip(indices, masks, strict=True):
            self._expect(f"element {list(index)} of the output", _hull(planes[(slice(None), 0, *index)]), mask)

    def _expect(self, name: str, expected: tuple[int, int] | None, mask: Tensor) -> None:
        hull = reach_hull(mask, self.number)
        if hull != expected:
            parting = _where_they_part(self.traced, self.axis, self.args)
            raise DisagreementError(
                f"{AXES[self.axis]}: {name} reads inputs {_span(expected)} as computed, {_span(hull)} as measured; "
                f"{parting}"
            )

    def _compare_end(self, place: int, mask: Tensor) -> None:
        """An output at an end may read padding: what the walk says of it counts."""
        if self.where is not None:
            pair = torch.stack([-self.where.starts[place], self.where.ends[place]])
            self._expect(f"output {place}", _hull(pair), mask)

    def _compare(self, place: int, mask: Tensor) -> None:
        self._expect(f"output {place}", self.expected(place), mask)
        taps = self.traced.taps[self.axis]
        if taps is None:
            return
        along = mask.movedim(self.number, 0).reshape(self.length, -1).any(1)
        measured = set(along.nonzero().flatten().tolist())
        computed = {i for i in taps.positions(place) if 0 <= i < self.length}
        if measured != computed:
            raise DisagreementError(
                f"{AXES[self.axis]}: output {place} reads {len(computed)} inputs as computed, {len(measured)} as "
                f"measured; they part at input {min(measured ^ computed)}"
            )

    def expected(self, place: int) -> tuple[int, int] | None:
        """First and last input that an output is computed to read within the traced length."""
        start, end = self.field.at(place)
        return (int(max(start, 0)), int(min(end, self.length - 1))) if start <= end else None

    def probe(self, place: int) -> list[str]:
        """Hold NaN in the inputs of one output against what was computed."""
        hull = self.expected(place)
        start, end = (0, -1) if hull is None else hull
        found = nan_reach(self.module, self.args, self.index(place), start, end, self.number)
        name = f"{AXES[self.axis]}: output {place} reads inputs {_span(hull)} as computed"
        if found.outside and found.outside_changes:
            raise DisagreementError(f"{name}, but NaN and other numbers outside of these reach it")
        if hull is not None and not (found.at_start and found.at_end):
            missed = start if not found.at_start else end
            raise DisagreementError(f"{name}, but NaN in input {missed} does not reach it")
        return [f"{AXES[self.axis]}: NaN passes where it is multiplied by zero, numbers do not"] * found.outside


class _Chosen(nn.Module):
    """A module that gives the one tensor that was traced, with a batch of 1 before it if time lies along its batch."""

    wraps = True

    def __init__(self, module: nn.Module, output: int, along_batch: bool) -> None:
        super().__init__()
        self.inner = module
        self.output = output
        self.along_batch = along_batch
        self.train(module.training)

    def forward(self, *args: Any) -> Tensor:
        tensors = [leaf for leaf in pytree.tree_leaves(self.inner(*args)) if isinstance(leaf, Tensor)]
        return tensors[self.output][None] if self.along_batch else tensors[self.output]


def _hull(pair: Tensor) -> tuple[int, int] | None:
    """First and last input, of minus the first and the last as planes have them."""
    return (int(-pair[0]), int(pair[1])) if float(-pair[0]) <= float(pair[1]) else None


def _span(hull: tuple[int, int] | None) -> str:
    return "none" if hull is None else f"{hull[0]} to {hull[1]} ({hull[1] - hull[0] + 1} inputs)"


def _where_they_part(traced: Trace, axis: int, args: tuple[Any, ...]) -> str:
    """The first layer of which the computed field is not the measured one."""
    for path, step in _last_steps(traced.walk.steps).items():
        where = intervals(step.output, axis, traced.lengths[axis])
        if where is None or where.dim == 0:
            continue
        place = len(where.starts) // 2
        index = (*[slice(None)] * (where.dim - 1), place)
        try:
            mask = gradient_reach(_Inner(traced.subject.module, f"inner.{path}"), args, index)
        except (ValueError, LookupError):
            continue
        measured = reach_hull(mask, traced.subject.axes[axis])
        computed = _hull(torch.stack([-where.starts[place], where.ends[place]]))
        if measured != computed:
            return f"they part at layer {path} ({step.name}): {_span(computed)} computed, {_span(measured)} measured"
    return "no single layer shows it"


def _last_steps(steps: Sequence[Step]) -> dict[str, Step]:
    """The last operator of each module, in order."""
    last: dict[str, Step] = {}
    for step in steps:
        last.pop(step.path, None)
        last[step.path] = step
    return {path: step for path, step in last.items() if path}


class _Inner(nn.Module):
    """What one of a module's layers gives, in the place of its output."""

    wraps = True

    def __init__(self, module: nn.Module, path: str) -> None:
        super().__init__()
        self.inner = module
        self.path = path

    def forward(self, *args: Any) -> Any:
        caught: list[Any] = []
        handle = self.inner.get_submodule(self.path).register_forward_hook(lambda *call: caught.append(call[2]))
        try:
            self.inner(*args)
        finally:
            handle.remove()
        return caught[-1]
