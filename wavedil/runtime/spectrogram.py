"""Augmentation of log spectrograms, with its gradient, by kernels/spectrogram.cpp."""

import ctypes
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from wavedil.runtime.function import trained
from wavedil.runtime.structures import Arguments, Spectrogram

_DTYPES = {"above": torch.int64, "other": torch.int64, "frame_masked": torch.bool, "band_masked": torch.bool}


class SpectrogramKernel:
    """What follows the draws of :func:`wavedil.data.spectrogram_augment.augment_spectrogram`, on a CPU.

    Args:
        kernels: see :func:`wavedil.runtime.native.load_kernels`.
        least_deviation: of a band over time, whose square is added to the variances.
    """

    def __init__(self, kernels: ctypes.CDLL, least_deviation: float) -> None:
        self.kernels, self.least_deviation = kernels, least_deviation

    def __call__(
        self,
        log_energies: Tensor,
        above: Tensor | None,
        share: Tensor | None,
        style: Tensor | None,
        other: Tensor | None,
        response: Tensor | None,
        frame_masked: Tensor | None,
        band_masked: Tensor | None,
    ) -> Tensor:
        """The augmented energies.

        Args:
            log_energies: ``(batch, bands, frames)`` float32.
            above: ``(batch, bands)`` int64, the upper of the two bands that each is read from; None for no warp.
            share: ``(batch, bands)``, of the upper one.
            style: ``(batch,)``, the share of another clip's style; None for none.
            other: ``(batch,)`` int64, whose; a permutation.
            response: ``(batch, bands)``, added; None for none.
            frame_masked: ``(batch, frames)`` bool; None for no masks.
            band_masked: ``(batch, bands)`` bool.
        """
        draws = {
            "above": above,
            "share": share,
            "style": style,
            "other": other,
            "response": response,
            "frame_masked": frame_masked,
            "band_masked": band_masked,
        }
        given = {name: tensor for name, tensor in draws.items() if tensor is not None}
        return trained(partial(_Call, self, given), log_energies, [], [])


class _Call:
    """The buffers of a step, from its forward to its backward."""

    def __init__(
        self, owner: SpectrogramKernel, draws: dict[str, Tensor], x: Tensor, _: Sequence[Tensor | None]
    ) -> None:
        self.kernels, self.keep, self.shape = owner.kernels, Arguments(), x.shape
        clips, bands, frames = x.shape
        self.arguments = Spectrogram(
            clips=clips,
            bands=bands,
            frames=frames,
            threads=torch.get_num_threads(),
            x=self.keep.floats(x.contiguous(), *x.shape),
            least=owner.least_deviation**2,
        )
        if "style" in draws:
            draws = {**draws, "mean": torch.empty(clips, bands), "deviation": torch.empty(clips, bands)}
        for name, tensor in draws.items():
            dtype = _DTYPES.get(name, torch.float32)
            numbers = tensor.float() if dtype == torch.float32 else tensor
            shape = {"style": (clips,), "other": (clips,), "frame_masked": (clips, frames)}.get(name, (clips, bands))
            setattr(self.arguments, name, self.keep.pointer(numbers.contiguous(), dtype, *shape))

    def forward(self) -> Tensor:
        y = torch.empty(self.shape)
        self.arguments.y = y.data_ptr()
        self.kernels.spectrogram_forward(ctypes.byref(self.arguments))
        return y

    def backward(self, grad: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        keep, by_input = Arguments(), torch.empty(self.shape)
        self.arguments.grad_y = keep.floats(grad.contiguous(), *self.shape)
        self.arguments.grad_x = keep.floats(by_input, *self.shape)
        self.kernels.spectrogram_backward(ctypes.byref(self.arguments))
        return (by_input,)
