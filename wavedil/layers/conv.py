"""Convolutions that are causal in time, over waveforms and spectrograms."""

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavedil.checks import bounded_integer, one_of
from wavedil.config import Boundary
from wavedil.layers.base import State, StreamingModule, Window, repeat_back, respond, take_buffer
from wavedil.layers.sizes import (
    MOST_CHANNELS,
    MOST_KEPT,
    pair,
    require_channels,
    require_flags,
    require_groups,
    require_placement,
    require_room,
    require_sizes,
)
from wavedil.receptive import Field
from wavedil.receptive.arithmetic import dilated_span

FrequencyPadding = Literal["same", "valid"]


class CausalConv1d(Window, nn.Conv1d):
    """A dilated convolution that reads no input after the newest of its own stride.

    Output n reads the ``kernel_size`` inputs ``dilation`` apart that end with input ``(n + 1) stride - 1 + lookahead``:
    the total padding is ``dilation (kernel_size - 1) + 1 - stride``, so the newest samples are never thrown away.
    Parameters and their initialisation are those of ``torch.nn.Conv1d``, of which this is a subclass.
    Source: van den Oord 2016, section 2.1, arXiv:1609.03499.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: taps, odd or even, at least 1.
        stride: inputs between outputs.
        dilation: inputs between taps. From here on by keyword, for torch's next argument is the padding.
        groups: as in torch.
        bias: as in torch.
        lookahead: inputs read beyond the newest of the output's own stride; at most ``dilation (kernel_size - 1)``.
        boundary: zeros before the start, which for one layer is also silence.
        device: as in torch.
        dtype: as in torch.

    Shape:
        ``(batch, in_channels, time)`` to ``(batch, out_channels, time // stride)``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range.

    Example:
        >>> conv = CausalConv1d(1, 8, kernel_size=3, dilation=4)
        >>> conv(torch.zeros(2, 1, 100)).shape, conv.receptive_field
        (torch.Size([2, 8, 100]), 9)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        lookahead: int = 0,
        boundary: Boundary = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        kernel_size, stride, dilation = require_sizes(kernel_size=kernel_size, stride=stride, dilation=dilation)
        span = dilated_span(kernel_size, dilation)
        _require_convolution(in_channels, out_channels, kernel_size, span, groups, bias, device, dtype)
        bounded_integer("lookahead", lookahead, 0, span - 1)
        super().__init__(
            span,
            stride,
            lookahead,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.boundary = boundary

    def input_shape(self) -> tuple[int, ...]:
        return (self.in_channels,)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (self.out_channels,)

    def apply_window(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def extra_repr(self) -> str:
        return super().extra_repr() + (f", lookahead={self._lookahead}" if self._lookahead else "")


class CausalConvTranspose1d(StreamingModule, nn.ConvTranspose1d):
    """A transposed convolution of which output o reads no input after ``o // stride``.

    Each input gives ``stride`` outputs at once; what a kernel longer than the stride adds to later outputs is computed
    when they are due, from the last inputs, which are the state. Parameters are those of ``torch.nn.ConvTranspose1d``.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: taps, at least 1.
        stride: outputs for each input.
        groups: as in torch; by keyword from here on, for torch's next argument is the padding.
        bias: as in torch.
        dilation: outputs between taps.
        lookahead: inputs read beyond input ``o // stride``; the outputs come that much later.
        boundary: zeros before the start, which for one layer is also silence.
        device: as in torch.
        dtype: as in torch.

    Shape:
        ``(batch, in_channels, time)`` to ``(batch, out_channels, time * stride)``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        groups: int = 1,
        bias: bool = True,
        dilation: int = 1,
        lookahead: int = 0,
        boundary: Boundary = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        kernel_size, stride, dilation = require_sizes(kernel_size=kernel_size, stride=stride, dilation=dilation)
        span = dilated_span(kernel_size, dilation)
        _require_convolution(in_channels, out_channels, kernel_size, max(span, stride), groups, bias, device, dtype)
        bounded_integer("stride", stride, 1, MOST_CHANNELS)  # a stream computes as many outputs at once
        if kernel_size * (span // stride) > MOST_KEPT:
            raise ValueError(
                f"kernel_size: expected at most {MOST_KEPT:,} products for each channel of a chunk, "
                f"got kernel_size {kernel_size}, stride {stride}, dilation {dilation}"
            )
        bounded_integer("lookahead", lookahead, 0, (span - 1) // stride)
        # A kernel shorter than the stride leaves outputs that read nothing: they hold the bias alone.
        gap = max(stride - span, 0)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            output_padding=gap,
            groups=groups,
            bias=bias,
            dilation=dilation,
            device=device,
            dtype=dtype,
        )
        self.span = span
        self.boundary = boundary
        self._lookahead = lookahead
        self._buffered = max(-(-(span - stride) // stride), 0)

    @property
    def field(self) -> Field:
        factor = self.stride[0]
        return Field.transposed(self.kernel_size[0], factor, self.dilation[0], padding=self._lookahead * factor)

    @property
    def preroll(self) -> int:
        return self._lookahead * self.stride[0]

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("buffer",) if self._buffered else ()

    def input_shape(self) -> tuple[int, ...]:
        return (self.in_channels,)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (self.out_channels,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        time = x.shape[-1]
        if self._buffered:
            buffer = take_buffer(self, state, x.shape[:-1], self._buffered, self._buffered)
            x = torch.cat([buffer.to(x.dtype), x], dim=-1)
        y = F.conv_transpose1d(
            x, self.weight, self.bias, self.stride, 0, self.output_padding, self.groups, self.dilation
        )
        first = self._buffered * self.stride[0]
        y = y[..., first : first + time * self.stride[0]]
        return y, (x[..., time:].clone(),) if self._buffered else ()

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        state = (repeat_back(x, self._buffered),) if self._buffered else ()
        return respond(self, x, state, silence), state


class OverSpectrograms(StreamingModule):
    """Base of layers over ``(batch, channels, frequency, time)`` that take any number of frequency bins.

    Attributes:
        in_channels: channels in.
    """

    in_channels: int

    @property
    def frequency_field(self) -> Field:
        """Which input bins an output bin reads; ``field`` says the same of the frames."""
        raise NotImplementedError

    @property
    def input_axes(self) -> tuple[Any, ...]:
        return (self.in_channels, None)

    def complete_shape(self, *shape: int) -> tuple[int, ...]:
        """The number of frequency bins, with or without the channels before it, with them."""
        return (self.in_channels, *shape) if len(shape) == 1 else super().complete_shape(*shape)


class CausalConv2d(OverSpectrograms, Window, nn.Conv2d):
    """A dilated convolution over a spectrogram: causal in time, "same" or "valid" in frequency.

    Parameters are those of ``torch.nn.Conv2d``. Pairs are (frequency, time), as the axes are.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: taps on each axis, one number for both or a pair.
        stride: likewise.
        dilation: likewise; by keyword from here on, for torch's next argument is the padding.
        groups: as in torch.
        bias: as in torch.
        frequency_padding: "same" (zeros on both sides, so that stride 1 keeps the number of bins) or "valid".
        lookahead: frames read beyond the newest of the output's own stride.
        boundary: zeros before the start, which for one layer is also silence.
        device: as in torch.
        dtype: as in torch.

    Shape:
        ``(batch, in_channels, frequency, time)`` to ``(batch, out_channels, frequency', time // stride)``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        *,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        frequency_padding: FrequencyPadding = "same",
        lookahead: int = 0,
        boundary: Boundary = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        kernels, strides = pair("kernel_size", kernel_size), pair("stride", stride)
        dilations = pair("dilation", dilation)
        one_of("frequency_padding", frequency_padding, get_args(FrequencyPadding))
        height, span = (dilated_span(kernels[axis], dilations[axis]) for axis in (0, 1))
        _require_convolution(in_channels, out_channels, math.prod(kernels), height * span, groups, bias, device, dtype)
        bounded_integer("lookahead", lookahead, 0, span - 1)
        super().__init__(
            span,
            strides[1],
            lookahead,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernels,
            stride=strides,
            dilation=dilations,
            groups=groups,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.boundary = boundary
        self._height = height
        reach = height - 1
        self.frequency_padding = (reach // 2, reach - reach // 2) if frequency_padding == "same" else (0, 0)

    @property
    def frequency_field(self) -> Field:
        return Field.convolution(self.kernel_size[0], self.stride[0], self.dilation[0], self.frequency_padding[0])

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        bins = shape[-1] + sum(self.frequency_padding) - dilated_span(self.kernel_size[0], self.dilation[0])
        return (self.out_channels, bins // self.stride[0] + 1)

    def apply_window(self, x: Tensor) -> Tensor:
        lacking = self._height - sum(self.frequency_padding) - x.shape[2]
        if not torch.compiler.is_compiling() and lacking > 0:
            bins = x.shape[2] + lacking
            raise ValueError(f"{type(self).__name__}: expected at least {bins} frequency bins, got {x.shape[2]}")
        if any(self.frequency_padding):
            x = F.pad(x, (0, 0, *self.frequency_padding))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _require_convolution(
    in_channels: Any, out_channels: Any, taps: int, span: int, groups: Any, bias: Any, device: Any, dtype: Any
) -> None:
    """Refuse what no convolution can be made of, before torch tries."""
    require_channels(in_channels=in_channels, out_channels=out_channels)
    require_groups(groups, in_channels=in_channels, out_channels=out_channels)
    require_flags(bias=bias)
    require_room(in_channels * out_channels // groups * taps, in_channels * span)
    require_placement(device, dtype)
