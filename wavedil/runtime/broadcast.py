"""Broadcast residual blocks, and the depthwise convolution behind them, on rows, trained by kernels/broadcast.cpp."""

import ctypes
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from wavedil.layers import CausalConv2d, SubSpectralNorm
from wavedil.layers.broadcast import BroadcastResidualBlock
from wavedil.runtime.entry import EntryRows, knows_convolution
from wavedil.runtime.modules import (
    describe_norm,
    fill_rows,
    has_plain_weights,
    is_known_depthwise,
    is_known_norm,
    rows_before,
    taps_of,
)
from wavedil.runtime.structures import Arguments, Broadcast, Depthwise, padded


def knows_block(block: nn.Module) -> bool:
    """Whether the kernels can train a broadcast residual block: one that drops no channels."""
    if not isinstance(block, BroadcastResidualBlock):
        return False
    change, frequency, time = (cast(Any, [*c.layers.values()]) for c in (block.change, block.frequency, block.time))
    if (change and not knows_convolution(change[0], change[1])) or time[5].module.p or not has_plain_weights(block):
        return False
    norms = is_known_norm(frequency[1]) and is_known_norm(time[2])
    return norms and is_known_depthwise(frequency[0]) and is_known_depthwise(time[1])


def knows_depthwise(conv: nn.Module) -> bool:
    """Whether the kernels can train a depthwise convolution, one that may read all bins at once."""
    if not isinstance(conv, CausalConv2d) or conv.lookahead or conv.dilation[0] != 1:
        return False
    return conv.frequency_padding == (0, 0) and is_known_depthwise(conv)


class BroadcastRows:
    """A broadcast residual block on rows, to be trained.

    Args:
        kernels: see :func:`wavedil.runtime.native.load_kernels`.
        block: that :func:`knows_block`.
    """

    def __init__(self, kernels: ctypes.CDLL, block: BroadcastResidualBlock) -> None:
        self.kernels, self.block = kernels, block
        change = [*block.change.layers.values()]
        self.change = EntryRows(kernels, [cast(Any, (change[0], change[1]))]) if change else None
        self.frequency, self.by_band = cast(
            tuple[CausalConv2d, SubSpectralNorm], tuple(block.frequency.layers.values())
        )
        _, self.time, self.by_frame, _, self.mix, _ = cast(Any, tuple(block.time.layers.values()))
        modules = (self.frequency, self.by_band, self.time, self.by_frame, self.mix)
        self.parameters = [parameter for module in modules for parameter in module.parameters()]

    def __call__(self, x: Tensor, past: Sequence[Tensor | None], sessions: int) -> Tensor:
        """The block's output, ``(rows, bins, channels)`` like its input, both filled up to whole vectors."""
        if self.change is not None:
            x = self.change(x, (), sessions)
        out = cast(Tensor, _Broadcast.apply(self, sessions, fill_rows(x), *past, *self.parameters))
        for norm in (self.by_band, self.by_frame):
            cast(Any, norm).num_batches_tracked.add_(1)
        return out


class _Broadcast(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: BroadcastRows, sessions: int, x: Tensor, past: Tensor | None, *parameters: Tensor
    ) -> Tensor:
        call = _Call(rows, sessions, x, past)
        out = call.forward()
        ctx.call = call
        ctx.save_for_backward(x, out, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, out, *_ = ctx.saved_tensors
        return (None, None, *ctx.call.backward(grads[0], x, out, ctx.needs_input_grad[3]))


class _Call:
    """The buffers of a step, from its forward to its backward."""

    def __init__(self, rows: BroadcastRows, sessions: int, x: Tensor, past: Tensor | None) -> None:
        keep = self.keep = Arguments()
        self.rows = rows
        count, bins_in, width = x.shape
        channels, stride = rows.frequency.out_channels, rows.frequency.stride[0]
        bins, bands = -(-bins_in // stride), rows.by_band.bands
        if bins % bands:
            raise ValueError(f"SubSpectralNorm: expected bins in multiples of {bands} bands, got {bins}")
        self.before = rows_before(rows.time, sessions)
        mean = x.new_empty(self.before + count, width)
        mean[: self.before] = 0
        if past is not None:
            mean[: self.before, : past.shape[1]] = past
        self.out_shape = (count, bins, width)
        self.arguments = Broadcast(
            rows=count,
            channels=channels,
            bins_in=bins_in,
            bins=bins,
            stride=stride,
            is_residual=rows.block.is_residual,
            n_taps=rows.time.kernel_size[0],
            threads=torch.get_num_threads(),
            taps=taps_of(keep, rows.time, sessions),
            frequency=keep.floats(rows.frequency.weight, channels, 3),
            time=keep.floats(rows.time.weight, channels, *rows.time.kernel_size),
            mix=keep.floats(rows.mix.weight, channels, channels),
            by_band=describe_norm(keep, rows.by_band, torch.empty(2, bands * width), bands),
            by_frame=describe_norm(keep, rows.by_frame, torch.empty(2, width)),
            x=Arguments().rows(x, count, bins_in, width),  # which autograd keeps
            f=keep.rows(x.new_empty(self.out_shape), *self.out_shape),
            mean=keep.rows(mean[self.before :], count, width),
            d=keep.rows(x.new_empty(count, width), count, width),
        )

    def forward(self) -> Tensor:
        out = torch.empty(self.out_shape, dtype=torch.bfloat16)
        self.arguments.y = out.data_ptr()
        self.rows.kernels.broadcast_forward(ctypes.byref(self.arguments))
        return out

    def backward(self, grad: Tensor, x: Tensor, out: Tensor, wants_past: bool) -> tuple[Tensor | None, ...]:
        """The gradients of the input, of what came before where wanted, and of the parameters."""
        keep, arguments, channels = Arguments(), self.arguments, self.arguments.channels
        by_weight = [torch.empty_like(parameter) for parameter in self.rows.parameters]
        by_x = torch.empty_like(x)
        by_past = x.new_empty(self.before, padded(channels)) if wants_past else None
        arguments.x, arguments.y = keep.rows(x, *x.shape), keep.rows(out, *self.out_shape)
        arguments.grad_y, arguments.grad_x = keep.rows(grad.contiguous(), *out.shape), keep.rows(by_x, *x.shape)
        arguments.grad_past = keep.rows(by_past, self.before, padded(channels))
        pointers = [keep.floats(gradient, *gradient.shape) for gradient in by_weight]
        arguments.grad_frequency, arguments.grad_time, arguments.grad_mix = pointers[0], pointers[3], pointers[6]
        arguments.by_band.grad_gamma, arguments.by_band.grad_beta = pointers[1:3]
        arguments.by_frame.grad_gamma, arguments.by_frame.grad_beta = pointers[4:6]
        self.rows.kernels.broadcast_backward(ctypes.byref(arguments))
        return (by_x, None if by_past is None else by_past[:, :channels], *by_weight)


class DepthwiseRows:
    """A depthwise convolution that reads all bins at once, on rows, to be trained.

    Args:
        kernels: see :func:`wavedil.runtime.native.load_kernels`.
        conv: that :func:`knows_depthwise`.
    """

    def __init__(self, kernels: ctypes.CDLL, conv: CausalConv2d) -> None:
        self.kernels, self.conv = kernels, conv

    def __call__(self, x: Tensor, past: Sequence[Tensor | None], sessions: int) -> Tensor:
        """``(rows, 1, channels)`` of ``(rows, bins, channels)``, both filled up to whole vectors."""
        bins = self.conv.kernel_size[0]
        if x.shape[1] != bins:
            raise ValueError(f"a depthwise convolution over all bins: expected {bins} bins, got {x.shape[1]}")
        x, given = fill_rows(x), next(iter(past), None)
        earlier = x.new_zeros(rows_before(self.conv, sessions), *x.shape[1:]) if given is None else fill_rows(given)
        out = cast(
            Tensor, _Depthwise.apply(self.kernels, self.conv, sessions, torch.cat([earlier, x]), self.conv.weight)
        )
        return out.unsqueeze(1)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: ctypes.CDLL, conv: CausalConv2d, sessions: int, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.kernels, ctx.conv, ctx.sessions = kernels, conv, sessions
        keep, before = Arguments(), rows_before(conv, sessions)
        out = x.new_empty(len(x) - before, x.shape[2])
        arguments = _depthwise(keep, conv, sessions, x)
        arguments.y = keep.rows(out, *out.shape)
        kernels.depthwise_forward(ctypes.byref(arguments))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        keep, before = Arguments(), rows_before(ctx.conv, ctx.sessions)
        arguments = _depthwise(keep, ctx.conv, ctx.sessions, x)
        by_x, by_weight = torch.empty_like(x), torch.empty_like(weight)
        arguments.grad_y = keep.rows(grads[0].contiguous(), len(x) - before, x.shape[2])
        arguments.grad_x = keep.rows(by_x[before:], len(x) - before, *x.shape[1:])
        arguments.grad_past = keep.rows(by_x[:before], before, *x.shape[1:]) if before else None
        arguments.grad_weight = keep.floats(by_weight, *weight.shape)
        ctx.kernels.depthwise_backward(ctypes.byref(arguments))
        return (None, None, None, by_x, by_weight)


def _depthwise(keep: Arguments, conv: CausalConv2d, sessions: int, x: Tensor) -> Depthwise:
    """The arguments of both directions; x begins with the rows before the first."""
    before = rows_before(conv, sessions)
    return Depthwise(
        rows=len(x) - before,
        channels=conv.out_channels,
        bins=conv.kernel_size[0],
        n_taps=conv.kernel_size[1],
        threads=torch.get_num_threads(),
        taps=taps_of(keep, conv, sessions),
        weight=keep.floats(conv.weight, conv.out_channels, *conv.kernel_size),
        x=keep.rows(x[before:], len(x) - before, conv.kernel_size[0], padded(conv.out_channels)),
    )
