"""What is traced: a module with its inputs, at one length or another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from wavedil.receptive.failures import failures_named
from wavedil.receptive.prepared import Flat, copy_of, made
from wavedil.receptive.trace.reach import NOTHING, Reach, spread


@dataclass(frozen=True)
class Subject:
    """What is traced: a module, its inputs and which axes of the first are followed.

    Attributes:
        module: a copy of the module, which gives its tensors one by one.
        args: its inputs.
        position: which of them is followed.
        axes: time and, for spectrograms, frequency.
        output: which of the module's tensors.
        allow_unknown: take unknown operators to read everything.
    """

    module: Flat
    args: tuple[Any, ...]
    position: int
    axes: tuple[int, ...]
    output: int
    allow_unknown: bool

    @property
    def example(self) -> Tensor:
        """The input that is followed."""
        return self.args[self.position]

    @property
    def number(self) -> int:
        """Which of all tensors among the inputs is followed, those in lists and dicts counted one by one."""
        return sum(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(self.args[: self.position]))

    def lengthened(self, factors: Sequence[int], others: bool = False) -> "Subject":
        """The same with each axis so many times as long.

        Args:
            factors: for each axis.
            others: lengthen inputs of any other length along with it too, as those of a lower rate.
        """
        args = []
        for arg in self.args:
            for axis, factor in zip(self.axes, factors, strict=True):
                length = self.example.shape[axis]
                if not isinstance(arg, Tensor) or arg.ndim < -axis:
                    continue
                other = others and arg.ndim == self.example.ndim and arg.shape[axis] > 1
                arg = torch.cat([arg] * factor, axis) if arg.shape[axis] == length or other else arg
            args.append(arg)
        return replace(self, args=tuple(args))

    def of_one_row(self) -> "Subject":
        """The same with a batch of 1."""
        batch = self.example.shape[0]
        cut = (arg[:1] if isinstance(arg, Tensor) and arg.ndim and arg.shape[0] == batch else arg for arg in self.args)
        return replace(self, args=tuple(cut))

    def shortened(self, length: int) -> "Subject":
        """The same with the first so many inputs in time."""
        axis, whole = self.axes[0], self.example.shape[self.axes[0]]
        has_time = [isinstance(arg, Tensor) and arg.ndim >= -axis and arg.shape[axis] == whole for arg in self.args]
        pairs = zip(self.args, has_time, strict=True)
        return replace(self, args=tuple(arg.narrow(axis, 0, length) if cut else arg for arg, cut in pairs))


def subject_of(
    module: nn.Module,
    example_input: Tensor | tuple[Any, ...] | Mapping[str, Any],
    time_axis: int,
    frequency_axis: int | None,
    output: int,
    allow_unknown: bool,
) -> Subject:
    """A subject, its axes checked and counted from the end.

    Raises:
        ValueError: if there is no tensor among the inputs, or it has not got the axes.
    """
    names = tuple(example_input) if isinstance(example_input, Mapping) else None
    given = tuple(example_input.values()) if isinstance(example_input, Mapping) else example_input
    args = given if isinstance(given, tuple) else (given,)
    position = next((i for i, arg in enumerate(args) if isinstance(arg, Tensor)), None)
    if position is None:
        raise ValueError(f"example_input: expected a tensor among the inputs, got {[type(a).__name__ for a in args]}")
    example = args[position].detach().cpu()
    others = pytree.tree_map_only(Tensor, _without_zeros, args)
    args = (*others[:position], example, *others[position + 1 :])
    if frequency_axis is None and example.ndim == 4:
        frequency_axis = -2 if time_axis % 4 == 3 else -1
    axes = [time_axis] if frequency_axis is None else [time_axis, frequency_axis]
    for axis in axes:
        if not -example.ndim <= axis < example.ndim:
            raise ValueError(f"example_input: expected an axis {axis}, got the shape {tuple(example.shape)}")
        if example.shape[axis] < 1:
            raise ValueError(f"example_input: expected a length of at least 1, got the shape {tuple(example.shape)}")
    numbers = tuple(axis - example.ndim if axis >= 0 else axis for axis in axes)
    twin = Flat(copy_of(module, or_itself=True), names)
    with failures_named(twin):
        made(twin, args)
    return Subject(twin, args, position, numbers, output, allow_unknown)


def _without_zeros(other: Tensor) -> Tensor:
    """A condition of which the numbers are not known: only whole numbers and truth values mask or point anywhere."""
    other = other.detach().cpu()
    return other.masked_fill(other == 0, 1) if other.is_floating_point() else other


def interval_seed(subject: Subject, *, endless: bool = False) -> Reach:
    """Each input reads itself, along each of the axes."""
    shape = subject.example.shape
    planes = []
    for axis in subject.axes:
        position = torch.arange(shape[axis], dtype=torch.float32).reshape(-1, *[1] * (-axis - 1))
        planes += [-position, position]
    common = torch.broadcast_shapes(*(plane.shape for plane in planes))
    stacked = spread(torch.stack([plane.expand(common) for plane in planes]), shape)
    return Reach(stacked, None, endless)


def set_seed(subject: Subject, axis: int, positions: Sequence[int]) -> Reach:
    """A plane for each of some inputs along an axis."""
    shape = subject.example.shape
    number = subject.axes[axis]
    planes = torch.full((len(positions), shape[number]), NOTHING)
    planes[torch.arange(len(positions)), torch.tensor(positions)] = 0.0
    narrow = [shape[number] if i - len(shape) == number else 1 for i in range(len(shape))]
    return Reach(planes.reshape(len(positions), *narrow).expand(len(positions), *shape))
