"""What analysis and synthesis have in common."""

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from wavedil.checks import bounded_integer, one_of
from wavedil.layers import StreamingModule
from wavedil.layers.sizes import LONGEST, require_flags
from wavedil.wavelets.dilated import Extension
from wavedil.wavelets.filters import Filters


class WaveletModule(StreamingModule):
    """Base of :class:`AtrousAnalysis` and :class:`AtrousSynthesis`: a level's filters, dilated by 1, 2, 4, ...

    Args:
        filters: of one level.
        levels: how many there are.
        axes: 1 for signals ``(batch, channels, time)``, 2 for ``(batch, channels, frequency, time)``.
        causal: whether time is filtered causally; if so, the module streams.
        boundary: how a centred axis goes on beyond its ends.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range.
    """

    # The axes between batch and time of a stream that is told nothing else.
    default_shape: tuple[int, ...] = ()

    def __init__(self, filters: Filters, levels: int, axes: int, *, causal: bool, boundary: Extension) -> None:
        super().__init__()
        bounded_integer("levels", levels, 1, LONGEST.bit_length() - 1)
        if filters.reach * (2**levels - 1) >= LONGEST:
            raise ValueError(f"levels: expected filters that span at most {LONGEST} inputs, got {levels} levels")
        one_of("axes", axes, (1, 2))
        one_of("boundary", boundary, get_args(Extension))
        require_flags(causal=causal)
        self.filters = filters
        self.levels = levels
        self.axes = tuple(range(-axes, 0))
        self.causal = causal
        self.extension: Extension = boundary
        self.centred_axes = self.axes[:-1] if causal else self.axes
        self.details = 2**axes - 1 if filters.is_bank else 1
        self.bands = self.details * levels + 1
        self.band_axis = -1 - axes

    @property
    def span(self) -> int:
        """Inputs, besides one, that all levels together read."""
        return self.filters.reach * (2**self.levels - 1)

    @property
    def margin(self) -> tuple[int, int]:
        """Coefficients before and behind the signal, on every centred axis, that the synthesis reads."""
        if not self.filters.is_bank or not self.centred_axes or self.extension == "periodic":
            return 0, 0
        return self._both_sides(self.filters.inverse_ahead)

    @property
    def preroll(self) -> int:
        # What makes a centred module wait: its lookahead.
        return int(self.lookahead)

    def input_shape(self) -> tuple[int, ...]:
        return self.default_shape or super().input_shape()

    @property
    def input_axes(self) -> tuple[Any, ...]:
        return (...,)

    def _both_sides(self, ahead: int) -> tuple[int, int]:
        """Inputs before and behind the present that all levels read, if one undilated filter reads ``ahead``."""
        after = ahead * (2**self.levels - 1)
        return self.span - after, after

    def _left_over(self, level: int, before: int) -> int:
        """What the levels with larger dilations read before the present, if one undilated filter reads ``before``."""
        return before * (2**self.levels - 2 ** (level + 1))

    def _require_causal(self) -> None:
        if not self.causal:
            raise ValueError(f"{type(self).__name__}: a centred transform does not stream: make it with causal=True")

    def _require_axes(self, x: Tensor, count: int) -> None:
        if x.ndim < count or 0 in x.shape:
            raise ValueError(f"{type(self).__name__}: expected at least {count} axes and no empty one, got {x.shape}")

    def extra_repr(self) -> str:
        return f"levels={self.levels}, taps={len(self.filters.low)}, causal={self.causal}, boundary={self.extension!r}"


def make_taps(taps: tuple[float, ...], learnable: bool) -> Sequence[float] | Tensor:
    """Plain numbers, exact in every type; or, to be learned, a parameter."""
    return nn.Parameter(torch.tensor(taps)) if learnable else taps
