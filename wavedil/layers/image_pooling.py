"""Image-level features, the mean over the whole spectrogram, and what becomes of them where time goes on."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wavedil.layers.base import Pointwise, State, StreamingModule, repeat_back
from wavedil.layers.sizes import require_sizes
from wavedil.receptive import Field


class ImagePool(Pointwise):
    """The mean over all of time, and of frequency where there is any, given to every time.

    It reads the whole signal, so that it has a ``forward`` but no stream: see :class:`CausalImagePool` for that.
    Source: Liu, Rabinovich and Berg 2016, "ParseNet", arXiv:1506.04579.

    Shape:
        ``(batch, channels, time)`` to the same, ``(batch, channels, frequency, time)`` to ``(batch, channels, 1,
        time)``.
    """

    @property
    def field(self) -> Field:
        return Field(1, 1, (-math.inf,), (math.inf,))

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return _one_bin(shape)

    def apply_point(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)
        return mean.expand(*mean.shape[:-1], x.shape[-1])


class CausalImagePool(StreamingModule):
    """The mean over all frames so far, or over the last ``window`` of them, and of all of frequency.

    What is not there yet does not count: the first frame's mean is that frame, whatever the ``boundary``. (Behind a
    layer with lookahead, its outputs from before the signal count too.) All past frames are held as their mean and
    number, in float32 at least, whatever the signal's type. Once the number is too large for that, after 16.8 million
    frames in float32, the mean goes on with exponentially falling weights.

    Args:
        window: frames; None takes all so far.

    Shape:
        ``(batch, channels, time)`` to the same, ``(batch, channels, frequency, time)`` to ``(batch, channels, 1,
        time)``.

    Raises:
        TypeError: if the window is no integer.
        ValueError: if the window is out of its range.

    Example:
        >>> CausalImagePool()(torch.tensor([[[2.0, 4.0, 9.0]]]))
        tensor([[[2., 3., 5.]]])
        >>> CausalImagePool(window=2)(torch.tensor([[[2.0, 4.0, 9.0]]]))
        tensor([[[2.0000, 3.0000, 6.5000]]])
    """

    def __init__(self, window: int | None = None) -> None:
        super().__init__()
        if window is not None:
            require_sizes(window=window)
        self.window = window

    @property
    def field(self) -> Field:
        return Field(1, 1, (-math.inf if self.window is None else 1 - self.window,), (0,))

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("mean" if self.window is None else "buffer", "count")

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return _one_bin(shape)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        past, count = state
        frames = _mean_over_bins(x)
        counts = count + torch.arange(1, x.shape[-1] + 1, dtype=count.dtype, device=x.device)
        if self.window is None:
            y = past + (frames - past).cumsum(-1) / counts
            past = y[..., -1:]
        else:
            joined = torch.cat([past, frames], dim=-1) if self.window > 1 else frames
            counts = counts.clamp(max=self.window)
            y = F.avg_pool1d(joined, self.window, 1) * (self.window / counts)
            past = joined[..., joined.shape[-1] - self.window + 1 :]
        y = y.to(x.dtype)
        return (y[:, :, None] if x.ndim > 3 else y), (past.clone(), counts[..., -1:].clone())

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        frames = _mean_over_bins(x)
        always = frames.mean(-1, keepdim=True) if self.window is None else repeat_back(frames, self.window - 1)
        none = frames.new_zeros(frames.shape[0], 1, 1)
        y, _ = self.step(x, (always, none + math.inf))
        return (y if silence else torch.zeros_like(y)), (torch.zeros_like(always), none)

    def extra_repr(self) -> str:
        return f"window={self.window}"


def _mean_over_bins(x: Tensor) -> Tensor:
    if not x.is_floating_point():
        raise TypeError(f"CausalImagePool: expected a floating-point signal, got {x.dtype}")
    if x.ndim not in (3, 4) or 0 in x.shape[1:-1]:
        raise ValueError(f"CausalImagePool: expected (batch, channels, [frequency,] time), got {tuple(x.shape)}")
    # Half precision counts no further than 256 or 2048 frames.
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x.mean(dim=-2) if x.ndim > 3 else x


def _one_bin(shape: Sequence[int]) -> tuple[int, ...]:
    if not shape:
        raise ValueError("image pooling: expected (batch, channels, [frequency,] time), got no channels")
    return (shape[0], *[1] * (len(shape) - 1))
