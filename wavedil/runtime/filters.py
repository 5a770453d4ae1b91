"""Learned filters in quadrature, trained by kernels/filters.cpp."""

import ctypes
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from wavedil.features import FLOOR
from wavedil.filterbank import FilterEnergies
from wavedil.layers import StreamingModule
from wavedil.layers.base import State
from wavedil.layers.interleave import run_each
from wavedil.runtime.function import trained
from wavedil.runtime.modules import has_plain_weights
from wavedil.runtime.structures import LANES, Arguments, Filters, padded


class FilterRunner:
    """A :data:`wavedil.layers.interleave.BatchRunner` for :class:`FilterEnergies`; it leaves other modules to torch.

    Args:
        kernels: see :func:`wavedil.runtime.native.load_kernels`.
    """

    def __init__(self, kernels: ctypes.CDLL) -> None:
        self.kernels = kernels

    def __call__(self, module: StreamingModule, x: Tensor, state: State) -> Tensor:
        """The outputs of the module for waveforms ``(sessions, 1, time)`` that begin in the state of one."""
        plain = all(tensor.dtype == torch.float32 and not tensor.requires_grad for tensor in (x, *state))
        if not isinstance(module, FilterEnergies) or not has_plain_weights(module) or not plain:
            return run_each(module, x, state)
        if x.shape[-1] < module.step_size:  # is refused there
            return run_each(module, x, state)
        return trained(partial(_Call, self.kernels, module, state[0]), x, [], [module.weight])


class _Call:
    """The buffers of a step, from its forward to its backward."""

    def __init__(
        self, kernels: ctypes.CDLL, module: FilterEnergies, past: Tensor, x: Tensor, _: Sequence[Tensor | None]
    ) -> None:
        self.kernels, self.module, self.keep = kernels, module, Arguments()
        clips, samples = x.shape[0], x.shape[-1]
        span, hop, bands, before = module.span, module.step_size, module.config.n_mels, past.shape[-1]
        frames = (before + samples - span) // hop + 1
        self.shape = clips, bands, frames
        filtered = torch.empty(clips, padded(bands) // LANES, frames, 2, LANES)
        self.arguments = Filters(
            clips=clips,
            samples=samples,
            before=before,
            frames=frames,
            bands=bands,
            span=span,
            hop=hop,
            threads=torch.get_num_threads(),
            x=self.keep.floats(x.contiguous(), clips, samples),
            past=self.keep.floats(past.contiguous(), before),
            weight=self.keep.floats(module.weight, 2, bands, span),
            scale=module.scale,
            floor=FLOOR,
            filtered=self.keep.floats(filtered, *filtered.shape),
        )

    def forward(self) -> Tensor:
        y = torch.empty(self.shape)
        self.arguments.y = y.data_ptr()
        self.kernels.filters_forward(ctypes.byref(self.arguments))
        return y

    def backward(self, grad: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        keep, by_weight = Arguments(), torch.empty_like(self.module.weight)
        self.arguments.grad_y = keep.floats(grad.contiguous(), *self.shape)
        self.arguments.grad_weight = keep.floats(by_weight, *self.module.weight.shape)
        self.kernels.filters_backward(ctypes.byref(self.arguments))
        return None, by_weight
