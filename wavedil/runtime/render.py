"""Augmentation of clips in one pass, by kernels/render.cpp."""

import ctypes

import torch
from torch import Tensor

from wavedil.runtime.structures import Arguments, Render


class ClipRenderer:
    """Stretches, moves and scales clips of int16, and adds noise, for :class:`wavedil.data.augment.Augment`.

    Args:
        kernels: see :func:`wavedil.runtime.native.load_kernels`.
    """

    def __init__(self, kernels: ctypes.CDLL) -> None:
        self.kernels = kernels

    def __call__(
        self,
        clips: Tensor,
        start: Tensor,
        length: Tensor,
        gain: Tensor,
        windows: Tensor | None,
        noise_start: Tensor,
        noise_gain: Tensor,
    ) -> Tensor:
        """The clips as they are heard.

        Args:
            clips: ``(batch, samples)`` int16.
            start: ``(batch,)`` int64, where in its clip the first sample lies.
            length: ``(batch,)`` int64, of the stretch that is spread over all samples.
            gain: ``(batch,)``, of clips whose full scale is 1.
            windows: ``(starts, samples)`` int16, the noise from each of its samples on; None for none.
            noise_start: ``(batch,)`` int64, which of the windows.
            noise_gain: ``(batch,)``.

        Returns:
            ``(batch, samples)`` float32; linear between the samples, and zeros beyond the ends of a clip.
        """
        keep, out, batch = Arguments(), torch.empty(clips.shape), len(clips)
        if windows is not None and (windows.dtype != torch.int16 or windows.stride() != (1, 1)):
            raise ValueError(f"expected all int16 windows of a signal, got {windows.dtype}, strides {windows.stride()}")
        arguments = Render(
            clips=batch,
            samples=clips.shape[1],
            threads=torch.get_num_threads(),
            x=keep.pointer(clips.contiguous(), torch.int16, *clips.shape),
            start=keep.pointer(start.contiguous(), torch.int64, batch),
            length=keep.pointer(length.contiguous(), torch.int64, batch),
            gain=keep.floats((gain / 32768).float().contiguous(), batch),
            noise=None if windows is None else windows.data_ptr(),
            noise_start=keep.pointer(noise_start.contiguous(), torch.int64, batch),
            noise_gain=keep.floats((noise_gain / 32768).float().contiguous(), batch),
            out=keep.floats(out, *clips.shape),
        )
        self.kernels.render_clips(ctypes.byref(arguments))
        return out
