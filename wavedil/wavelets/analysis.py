"""From a signal to its wavelet coefficients."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from wavedil.layers import State
from wavedil.layers.base import repeat_back
from wavedil.receptive import Field
from wavedil.wavelets.base import WaveletModule, make_taps
from wavedil.wavelets.dilated import Band, Extension, block_length, convolve, stack_bands, stack_blocks, window
from wavedil.wavelets.filters import Filters

# Of a level, its input to the same with what comes before it in time.
Join = Callable[[int, Tensor], Tensor]


def whole(level: int, c: Tensor) -> Tensor:
    """The join of a signal that begins early enough for all levels."""
    return c


class AtrousAnalysis(WaveletModule):
    """Signal to coefficients: part of :class:`AtrousWavelet1d` and :class:`AtrousWavelet2d`, which say more.

    Args:
        filters: of one level.
        levels: how many there are.
        axes: 1 for signals over time, 2 for those over frequency and time.
        causal: whether time is filtered causally; if so, the module streams.
        boundary: how a centred axis goes on beyond its ends.
        learnable: whether the filters are parameters.

    Shape:
        ``(batch, channels, [frequency,] time)`` to ``(batch, channels, bands, [frequency,] time)``; longer by
        ``margin`` on centred axes.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self, filters: Filters, levels: int, axes: int, *, causal: bool, boundary: Extension, learnable: bool
    ) -> None:
        super().__init__(filters, levels, axes, causal=causal, boundary=boundary)
        self.learnable = learnable
        self.low = make_taps(filters.low, learnable)
        self.high = None if filters.high is None else make_taps(filters.high, learnable)

    @property
    def field(self) -> Field:
        before = self.span if self.causal else self._both_sides(self.filters.ahead)[0]
        return Field.convolution(self.span + 1, padding=before)

    @property
    def state_names(self) -> tuple[str, ...]:
        return tuple(f"smooth_{level}" for level in range(self.levels)) if self.causal else ()

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        lead = len(shape) - len(self.axes) + 1
        return (*shape[:lead], self.bands, *(bins + sum(self.margin) for bins in shape[lead:]))

    def forward(self, x: Tensor) -> Tensor:
        self._require_axes(x, 1 + len(self.axes))
        # What a step from the initial state gives, but with nothing before the signal copied from level to level.
        before, after = self._beyond(self.axes[-1])
        extension: Extension = "zeros" if self.causal else self.extension
        length = x.shape[-1] + before + after - self.span

        def bands_of(first: int, last: int) -> Iterator[Band]:
            read = window(x, first - before, last - before + self.span, extension)
            return self._bands(self._continue(read), whole, self.axes)

        needs_gradient = torch.is_grad_enabled() and (self.learnable or x.requires_grad)
        block = length if needs_gradient else block_length(x, self.span)
        return stack_blocks(bands_of, length, block, self.band_axis)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        self._require_causal()
        following = []

        def join(level: int, c: Tensor) -> Tensor:
            joined = torch.cat([state[level].to(c.dtype), c], dim=-1)
            following.append(joined[..., c.shape[-1] :].clone())
            return joined

        y = stack_bands(self._bands(self._continue(x), join, self.axes[:-1]), self.band_axis)
        return y, tuple(following)

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        self._require_causal()
        state = []

        def join(level: int, c: Tensor) -> Tensor:
            state.append(repeat_back(c, self.filters.reach * 2**level))
            return torch.cat([state[-1], c], dim=-1)

        y = stack_bands(self._bands(self._continue(x), join, self.axes[:-1]), self.band_axis)
        return (y if silence else torch.zeros_like(y)), tuple(state)

    def _beyond(self, axis: int) -> tuple[int, int]:
        """What analysis, and synthesis of the coefficients there, read before the signal and behind it."""
        if axis not in self.centred_axes:
            return self.span, 0
        before, after = self._both_sides(self.filters.ahead)
        return before + self.margin[0], after + self.margin[1]

    def _continue(self, x: Tensor) -> Tensor:
        """The signal, and beyond it in frequency what is read there."""
        for axis in self.axes[:-1]:
            before, after = self._beyond(axis)
            x = window(x, -before, x.shape[axis] + after, self.extension, axis)
        return x

    def _bands(self, c: Tensor, join: Join, shrinking: Sequence[int]) -> Iterator[Band]:
        """The coefficients band by band: the details of each level, fine to coarse, and the last smooth part.

        Args:
            c: the signal.
            join: adds to a level's input what comes before it in time.
            shrinking: axes that get shorter with each level: details are cut to what will be left in the end.
        """
        for level in range(self.levels):
            c, *details = self._split(join(level, c), 2**level)

            def cut(part: Tensor, level: int = level) -> Tensor:
                for axis in shrinking:
                    first = self._left_over(level, self._before(axis))
                    length = part.shape[axis] - self._left_over(level, self.filters.reach)
                    part = part.narrow(axis, first, length)
                return part

            for detail in details:
                yield cut(detail), None if self.filters.is_bank else cut(c)
        yield c, None

    def _split(self, c: Tensor, dilation: int) -> list[Tensor]:
        """The smooth part of one level, and its details; in the starlet's scheme the smooth part and what it was."""
        if self.high is not None:
            parts = [c]
            for axis in self.axes:
                parts = [convolve(part, taps, dilation, axis) for part in parts for taps in (self.low, self.high)]
            return parts
        smooth = c
        for axis in self.axes:
            smooth = convolve(smooth, self.low, dilation, axis)
            c = c.narrow(axis, dilation * self._before(axis), smooth.shape[axis])
        return [smooth, c]

    def _before(self, axis: int) -> int:
        """Inputs that one undilated filter reads before the present."""
        return self.filters.reach - (self.filters.ahead if axis in self.centred_axes else 0)
