"""From wavelet coefficients back to the signal."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wavedil.layers import State
from wavedil.layers.base import repeat_back
from wavedil.receptive import Field
from wavedil.wavelets.base import WaveletModule, make_taps
from wavedil.wavelets.dilated import Extension, convolve, window
from wavedil.wavelets.filters import Filters

# Of a level, its smooth part and its details, to the same with what comes before them in time.
Join = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]


class AtrousSynthesis(WaveletModule):
    """Coefficients to signal: part of :class:`AtrousWavelet1d` and :class:`AtrousWavelet2d`, which say more.

    The starlet's scheme adds up all bands. A filter bank goes back level by level; if causal, the finer levels wait for
    the coarser ones in delay lines, and the signal comes out ``delay`` samples late.

    Args:
        filters: of one level.
        levels: how many there are.
        axes: 1 for signals over time, 2 for those over frequency and time.
        causal: whether time is filtered causally; if so, the module streams.
        boundary: how a centred axis goes on beyond its ends.
        learnable: whether the filters, where there are any, are parameters.

    Shape:
        ``(batch, channels, bands, [frequency,] time)`` to ``(batch, channels, [frequency,] time)``; shorter by
        ``margin`` on centred axes.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self, filters: Filters, levels: int, axes: int, *, causal: bool, boundary: Extension, learnable: bool
    ) -> None:
        super().__init__(filters, levels, axes, causal=causal, boundary=boundary)
        self.low = make_taps(filters.inverse_low, learnable and filters.is_bank)
        self.high = make_taps(filters.inverse_high, learnable and filters.is_bank)

    @property
    def delay(self) -> int:
        """Samples by which the signal comes out late."""
        return self.filters.delay * (2**self.levels - 1) if self.causal else 0

    @property
    def field(self) -> Field:
        if not self.filters.is_bank:
            return Field.identity()
        if not self.causal:
            before, _ = self._both_sides(self.filters.inverse_ahead)
            return Field.convolution(self.span + 1, padding=before)
        field = Field.identity()
        for level in reversed(range(self.levels)):
            field = field.union(Field.delay(self._left_over(level, self.filters.delay)))
            reach = self.filters.reach * 2**level
            field = field.then(Field.convolution(reach + 1, padding=reach))
        return field

    @property
    def state_names(self) -> tuple[str, ...]:
        if not (self.causal and self.filters.is_bank):
            return ()
        return tuple(f"{part}_{level}" for level in reversed(range(self.levels)) for part in ("smooth", "detail"))

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        lead = len(shape) - len(self.axes) + 1
        return (*shape[: lead - 1], *(bins - sum(self.margin) for bins in shape[lead:]))

    def forward(self, x: Tensor) -> Tensor:
        self._require_coefficients(x)
        if self.causal:
            return super().forward(x)
        return self._signal(self._continue(x), lambda _, c, detail: (c, detail), self.axes)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        self._require_causal()
        self._require_coefficients(x)
        left, following = list(state), []

        def join(level: int, c: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
            joined = [torch.cat([left.pop(0).to(c.dtype), part], dim=-1) for part in (c, detail)]
            following.extend(part[..., c.shape[-1] :].clone() for part in joined)
            return joined[0], joined[1][..., : joined[0].shape[-1]]

        return self._signal(self._continue(x), join, self.centred_axes), tuple(following)

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        self._require_causal()
        state = []

        def join(level: int, c: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
            reach = self.filters.reach * 2**level
            state.append(repeat_back(c, reach))
            state.append(repeat_back(detail, reach + self._left_over(level, self.filters.delay)))
            joined = [torch.cat([buffer, part], dim=-1) for buffer, part in zip(state[-2:], (c, detail), strict=True)]
            return joined[0], joined[1][..., : joined[0].shape[-1]]

        y = self._signal(self._continue(x), join, self.centred_axes)
        return (y if silence else torch.zeros_like(y)), tuple(state)

    def _continue(self, x: Tensor) -> Tensor:
        """The coefficients, and on the centred axes, unless their margins have it, what is read beyond them."""
        if not self.filters.is_bank or self.extension != "periodic":
            return x
        before, after = self._both_sides(self.filters.inverse_ahead)
        for axis in self.centred_axes:
            x = window(x, -before, x.shape[axis] + after, "periodic", axis)
        return x

    def _signal(self, x: Tensor, join: Join, shrinking: Sequence[int]) -> Tensor:
        """What the coefficients x add up to.

        Args:
            x: the coefficients.
            join: adds to a level's smooth part and details what comes before them in time.
            shrinking: axes that get shorter with each level.
        """
        if not self.filters.is_bank:
            return x.sum(self.band_axis)
        c = x.select(self.band_axis, self.bands - 1)
        for level in reversed(range(self.levels)):
            detail = x.narrow(self.band_axis, level * self.details, self.details)
            for axis in shrinking:
                first = self._left_over(level, self.filters.reach - self.filters.inverse_ahead)
                detail = detail.narrow(axis, first, c.shape[axis])
            c, detail = join(level, c, detail)
            c = self._merge([c, *detail.unbind(self.band_axis)], 2**level)
        return c

    def _merge(self, parts: list[Tensor], dilation: int) -> Tensor:
        """The smooth part that one level had split."""
        for axis in reversed(self.axes):
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [
                convolve(smooth, self.low, dilation, axis) + convolve(detail, self.high, dilation, axis)
                for smooth, detail in pairs
            ]
        return parts[0]

    def _require_coefficients(self, x: Tensor) -> None:
        self._require_axes(x, 2 + len(self.axes))
        if x.shape[self.band_axis] != self.bands:
            raise ValueError(f"expected {self.bands} bands on axis {self.band_axis}, got {tuple(x.shape)}")
        for axis in self.centred_axes:
            if x.shape[axis] <= sum(self.margin):
                raise ValueError(
                    f"expected more than {sum(self.margin)} coefficients on axis {axis}, the margins of the signal; "
                    f"got {tuple(x.shape)}"
                )
