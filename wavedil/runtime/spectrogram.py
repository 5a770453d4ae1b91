"""Augmentation of log spectrograms, with its gradient, by kernels/spectrogram.cpp."""

import ctypes
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from wavedil.data.spectrogram_augment import LEAST_DEVIATION, SpectrogramDraws
from wavedil.runtime.function import trained
from wavedil.runtime.structures import Arguments, Spectrogram


class SpectrogramKernel:
    """What follows the draws of :func:`wavedil.data.spectrogram_augment.augment_spectrogram`, on a CPU.

    Args:
        kernels: see :func:`wavedil.runtime.native.load_kernels`.
    """

    def __init__(self, kernels: ctypes.CDLL) -> None:
        self.kernels = kernels

    def __call__(self, log_energies: Tensor, draws: SpectrogramDraws) -> Tensor:
        """The augmented energies.

        Args:
            log_energies: ``(batch, bands, frames)`` float32.
            draws: what chance decided.
        """
        return trained(partial(_Call, self.kernels, draws), log_energies, [], [])


class _Call:
    """The buffers of a step, from its forward to its backward."""

    def __init__(self, kernels: ctypes.CDLL, draws: SpectrogramDraws, x: Tensor, _: Sequence[Tensor | None]) -> None:
        self.kernels, self.keep = kernels, Arguments()
        clips, bands, frames = x.shape
        self.arguments = Spectrogram(
            clips=clips,
            bands=bands,
            frames=frames,
            threads=torch.get_num_threads(),
            x=self.keep.pointer(x.contiguous()),
            least=LEAST_DEVIATION**2,
        )
        if draws.warp is not None:
            self._keep(above=draws.warp.above, share=draws.warp.share.float())
        if draws.style is not None:
            self._keep(style=draws.style.share.float(), other=draws.style.other)
            self._keep(mean=torch.empty(clips, bands), deviation=torch.empty(clips, bands))
        if draws.response is not None:
            self._keep(response=draws.response.float())
        if draws.masks is not None:
            self._keep(frame_masked=draws.masks.frames, band_masked=draws.masks.bands)
        self.shape = x.shape

    def _keep(self, **tensors: Tensor) -> None:
        for name, tensor in tensors.items():
            setattr(self.arguments, name, self.keep.pointer(tensor.contiguous()))

    def forward(self) -> Tensor:
        y = torch.empty(self.shape)
        self.arguments.y = y.data_ptr()
        self.kernels.spectrogram_forward(ctypes.byref(self.arguments))
        return y

    def backward(self, grad: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        keep, by_input = Arguments(), torch.empty(self.shape)
        self.arguments.grad_y = keep.pointer(grad.contiguous())
        self.arguments.grad_x = keep.pointer(by_input)
        self.kernels.spectrogram_backward(ctypes.byref(self.arguments))
        return (by_input,)
