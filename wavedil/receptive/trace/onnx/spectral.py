"""Fourier transforms: complex numbers are pairs along a last axis."""

import torch
from torch import Tensor

from wavedil.receptive.trace.onnx.registry import Operation, operator


@operator("DFT")
def transform(call: Operation) -> Tensor:
    """A transform along one axis."""
    x, length = call.tensor(0), call.integer(1) or None
    axis = call.integer(2, "axis", default=1 if call.node.opset < 20 else -2) % x.ndim
    if call.get("inverse"):
        if call.get("onesided"):
            half = torch.view_as_complex(x.contiguous())
            return torch.fft.irfft(half, length, axis)[..., None]
        return torch.view_as_real(torch.fft.ifft(_numbers(x), length, axis))
    function = torch.fft.rfft if call.get("onesided") else torch.fft.fft
    return torch.view_as_real(function(_numbers(x), length, axis))


@operator("STFT")
def short_time_transform(call: Operation) -> Tensor:
    """Transforms of windowed frames, ``(batch, frames, bins, 2)``."""
    x, step, window = call.tensor(0), call.integer(1), call.optional(2)
    x = _numbers(x) if x.ndim == 3 else x
    length = call.integer(3) or (len(window) if window is not None else x.shape[-1])
    window = torch.ones(length, dtype=x.real.dtype) if window is None else window
    onesided = bool(call.get("onesided", 1)) and not x.is_complex()
    bins = torch.stft(x, length, step, window=window, center=False, onesided=onesided, return_complex=True)
    return torch.view_as_real(bins.transpose(1, 2))


def _numbers(x: Tensor) -> Tensor:
    """Real or complex numbers, of one or two along the last axis."""
    return x[..., 0] if x.shape[-1] == 1 else torch.view_as_complex(x.contiguous())
