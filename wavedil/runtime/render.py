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
        keep, out = Arguments(), torch.empty(clips.shape)
        arguments = Render(
            clips=len(clips),
            samples=clips.shape[1],
            threads=torch.get_num_threads(),
            x=keep.pointer(clips.contiguous()),
            start=keep.pointer(start.contiguous()),
            length=keep.pointer(length.contiguous()),
            gain=keep.pointer((gain / 32768).float().contiguous()),
            noise=None if windows is None else windows.data_ptr(),
            noise_start=keep.pointer(noise_start.contiguous()),
            noise_gain=keep.pointer((noise_gain / 32768).float().contiguous()),
            out=keep.pointer(out),
        )
        self.kernels.render_clips(ctypes.byref(arguments))
        return out
