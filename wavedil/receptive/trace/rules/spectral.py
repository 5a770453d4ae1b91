"""Fourier transforms: every bin reads the whole frame."""

import torch
from torch import Tensor

from wavedil.receptive.trace.reach import Reach, fill, reduce, slide, spread
from wavedil.receptive.trace.rules.convolution import stuffed_with_edges
from wavedil.receptive.trace.rules.elementwise import product
from wavedil.receptive.trace.rules.movement import padded
from wavedil.receptive.trace.rules.registry import Call, rule


@rule("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft", "fft_ihfft")
def transform(call: Call) -> Reach:
    """A transform along one dimension, of its first n elements where n is given."""
    x, n, dim = call["self"], call.get("n"), call["dim"] % call["self"].ndim
    size = x.shape[dim]
    if call.name == "fft_irfft" and n is not None:
        n = n // 2 + 1
    planes = x.planes.narrow(1 + dim, 0, n) if n is not None and n < size else x.planes
    whole = reduce(x.like(planes), [dim], keepdim=True)
    return whole.like(spread(whole.planes, call.shape))


@rule("_fft_r2c", "_fft_c2c", "_fft_c2r", "fft_fft2", "fft_ifft2", "fft_rfft2", "fft_irfft2", "fft_fftn",
      "fft_ifftn", "fft_rfftn", "fft_irfftn")  # fmt: skip
def transforms(call: Call) -> Reach:
    """A transform along several dimensions."""
    x, dims = call["self"], call["dim"]
    dims = [dims] if isinstance(dims, int) else dims
    whole = reduce(x, dims, keepdim=True)
    return whole.like(spread(whole.planes, call.shape))


@rule("fft_fftshift", "fft_ifftshift")
def shift(call: Call) -> Reach:
    """Halves swapped."""
    from wavedil.receptive.trace.rules.movement import move

    return move(call)


@rule("stft")
def stft(call: Call) -> Reach:
    """Frames of ``n_fft`` samples, as many of them read as the window has that are not zero."""
    x, n_fft = call["self"], call["n_fft"]
    hop = call["hop_length"] or n_fft // 4
    length = call["win_length"] or n_fft
    if call.get("center", default=False):
        x = padded(x, [n_fft // 2, n_fft // 2], call.get("pad_mode", default="reflect"), 0.0)
    frames = x.like(x.planes.unfold(-1, n_fft, hop))  # (..., frames, n_fft)
    window = call["window"] if call["window"] is not None else torch.ones(length)
    left = (n_fft - length) // 2
    window = torch.nn.functional.pad(window.float(), (left, n_fft - length - left))
    read = product([frames, window], frames.shape)
    whole = reduce(read, [-1])
    planes = whole.planes[..., None, :]
    if len(call.shape) > x.ndim + 1:  # real and imaginary parts apart
        planes = planes[..., None]
    return whole.like(spread(planes, call.shape))


@rule("istft")
def istft(call: Call) -> Reach:
    """Overlapping frames added up, each sample divided by what the windows add up to."""
    x, n_fft = call["self"], call["n_fft"]
    hop = call["hop_length"] or n_fft // 4
    length = call["win_length"] or n_fft
    window = call["window"] if call["window"] is not None else torch.ones(length)
    left = (n_fft - length) // 2
    used = torch.nn.functional.pad(window.float(), (left, n_fft - length - left)) != 0
    whole = reduce(x, [-2]).planes  # (planes, ..., frames)
    rows = whole.reshape(whole.shape[0], -1, 1, whole.shape[-1])
    wide = stuffed_with_edges(rows, [hop], [(n_fft - 1, n_fft - 1)], x.endless)
    total = _taps(wide, used.flip(0))
    start = n_fft // 2 if call["center"] else 0
    total = total[..., start : start + call.shape[-1]]
    total = fill(total, 3, 0, max(call.shape[-1] - total.shape[-1], 0))
    return x.like(total.reshape(whole.shape[0], *call.shape))


def _taps(planes: Tensor, used: Tensor) -> Tensor:
    """Windows of which only some taps are used, and those are one run."""
    places = used.nonzero().flatten()
    first, last = int(places[0]), int(places[-1])
    result = slide(planes, 3, last - first + 1, 1, 1)
    length = planes.shape[-1] - len(used) + 1
    return result[..., first : first + length]
