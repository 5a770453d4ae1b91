"""The effective receptive field: how much each input in the field moves the output."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wavedil.receptive.measure.gradient import gradient_reach, reach_hull
from wavedil.receptive.measure.subject import double_by_default, in_double, inputs_of, tensor_of
from wavedil.receptive.prepared import copy_of


@dataclass(frozen=True)
class EffectiveField:
    """The distribution of an output's gradient over its receptive field along one axis.

    Attributes:
        output: index of the output measured, the centre one.
        start: the first input of its receptive field.
        weights: the share of the gradient at each input of the field, from ``start`` on; they sum to 1.
        mean: where the gradient has its centre of mass, as an input index.
        sigma: its standard deviation in inputs.
        width95: length of the shortest interval around the input nearest to the mean, as long to either side, that
            holds 95 % of the gradient; what it would have beyond the field is left out.
    """

    output: int
    start: int
    weights: tuple[float, ...]
    mean: float
    sigma: float
    width95: int

    @property
    def receptive_field(self) -> int:
        """Inputs from the field's first to its last."""
        return len(self.weights)


def effective_field(
    module: nn.Module,
    example_input: Tensor | tuple[Any, ...],
    axis: int = -1,
    samples: int = 8,
    seed: int = 0,
    *,
    output: int | str | None = None,
) -> EffectiveField:
    """Measure the mean absolute gradient of the centre output over random inputs, the module as it is.

    Source: Luo, Li, Urtasun and Zemel 2016, section 3, arXiv:1701.04128. Its weights and activations are the module's
    own; a copy in evaluation mode and float64 is measured. All elements of the output at its centre count, each with a
    random sign, so that channels do not cancel.

    Args:
        module: any module; it is not changed.
        example_input: ``(batch, ...)``, or the tuple of the module's inputs; the first of floating point gets standard
            normal noise in its shape, with a batch of 1, which should hold the whole field of the centre output.
        axis: of the input and of the output, counted from the end: -1 is time.
        samples: random inputs, at least 1.
        seed: of inputs and signs.
        output: which one, where the module returns several: position or key; None takes the first.

    Raises:
        ValueError: if an argument is out of range, if there is no such input or output, or if the gradient is zero at
            every sample.

    Example:
        >>> measured = effective_field(nn.Conv1d(1, 1, 5, padding=2), torch.zeros(1, 1, 21))
        >>> measured.output, measured.start, measured.receptive_field
        (10, 8, 5)
    """
    if samples < 1 or axis >= 0:
        raise ValueError(f"samples must be at least 1 and axis below 0, got {samples} and {axis}")
    inputs, position = inputs_of(example_input)
    shape = inputs[position].shape
    inputs = [in_double(value) for value in inputs]
    twin = copy_of(module).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    total, centre = torch.zeros(shape[axis], dtype=torch.float64), 0
    for _ in range(samples):
        noise = torch.randn(shape, generator=generator, dtype=inputs[position].dtype).requires_grad_()
        inputs[position] = noise
        with double_by_default(), torch.inference_mode(False), torch.enable_grad():
            # Cloned, as the module may write into its input.
            result = tensor_of(twin(*(v.clone() if v is noise else v for v in inputs)), output)
            centre = result.shape[axis] // 2
            element = result.select(axis, centre)
            signs = torch.randint(0, 2, element.shape, generator=generator) * 2.0 - 1
            (gradient,) = torch.autograd.grad(element, noise, signs.to(element))
        total += gradient.abs().movedim(axis, 0).reshape(len(total), -1).sum(dim=1)
    hull = reach_hull(gradient_reach(twin, tuple(inputs), _index_at(centre, axis), output=output), axis)
    if hull is None or not total.sum() > 0:
        raise ValueError(f"the gradient of output {centre} is zero at all {samples} samples: nothing to measure")
    return _distribution(total, centre, *hull)


def _index_at(place: int, axis: int) -> tuple[Any, ...]:
    """The index that selects a place along an axis counted from the end."""
    return (..., place, *[slice(None)] * (-axis - 1))


def _distribution(gradient: Tensor, output: int, start: int, end: int) -> EffectiveField:
    weights = gradient / gradient.sum()
    places = torch.arange(len(weights), dtype=torch.float64)
    mean = float(weights @ places)
    sigma = float((weights @ (places - mean).square()).sqrt())
    # Sorted by the distance to the middle, the interval grows until it holds enough.
    distances = (places - round(mean)).abs()
    order = distances.argsort(stable=True)
    enough = int((weights[order].cumsum(0) < 0.95).sum())
    radius = int(distances[order[min(enough, len(order) - 1)]])
    width = min(round(mean) + radius, end) - max(round(mean) - radius, start) + 1
    return EffectiveField(output, start, tuple(weights[start : end + 1].tolist()), mean, sigma, width)
