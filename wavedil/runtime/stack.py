"""A stack of gated blocks on rows, trained by kernels/stack.cpp."""

import ctypes
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from wavedil.layers import DilatedStack, GatedResidualBlock
from wavedil.runtime.function import trained
from wavedil.runtime.modules import describe, fill_rows, has_plain_weights, is_known, rows_before
from wavedil.runtime.structures import LANES, POINTER, Arguments, Convolution, Pointwise, Stack, array, padded


def knows_stack(stack: nn.Module) -> bool:
    """Whether the kernels can train a stack: gated blocks with batch normalisation and skips, without conditions."""
    if not isinstance(stack, DilatedStack) or not stack.skip_channels:
        return False
    first = _blocks(stack)[0]
    plain = not (first.global_projection or first.local_projection or first.dropout.p or first.conv.lookahead)
    return plain and all(is_known(block.conv, block.norm) and has_plain_weights(block) for block in _blocks(stack))


class StackRows:
    """A stack on rows, to be trained: called with rows, their past, and the number of sessions that take turns in them.

    Args:
        kernels: see :func:`wavedil.runtime.native.load_kernels`.
        stack: that :func:`knows_stack`.
    """

    def __init__(self, kernels: ctypes.CDLL, stack: DilatedStack) -> None:
        self.kernels, self.stack, self.blocks = kernels, stack, _blocks(stack)
        self.named = [dict(block.named_parameters()) for block in self.blocks]
        self.parameters = [parameter for named in self.named for parameter in named.values()]

    def __call__(self, x: Tensor, past: Sequence[Tensor | None], sessions: int) -> Tensor:
        """The skip sum.

        Args:
            x: ``(rows, channels)``, the frames of the sessions in turn.
            past: of each block, the rows ``(before, channels)`` before the first; None for zeros.
            sessions: that take turns.

        Returns:
            ``(rows, skip_channels)`` in bfloat16.
        """
        past = [None if rows is None else fill_rows(rows) for rows in past or [None] * len(self.blocks)]
        out = trained(partial(_Call, self, sessions), fill_rows(x), past, self.parameters)
        for block in self.blocks:
            cast(Any, block.norm).num_batches_tracked.add_(1)
        return out[:, : self.stack.skip_channels]


class _Call:
    """The buffers of a step, from its forward to its backward."""

    def __init__(self, stack: StackRows, sessions: int, x: Tensor, past: Sequence[Tensor | None]) -> None:
        blocks, keep = stack.blocks, Arguments()
        self.stack, self.keep = stack, keep
        rows, channels = x.shape
        self.before = [rows_before(block.conv, sessions) for block in blocks]
        signals = x.new_empty(sum(self.before) + len(blocks) * rows, channels)
        inputs = signals.split([before + rows for before in self.before])
        for own, before, given in zip(inputs, self.before, past, strict=True):
            own[:before] = 0 if given is None else given
        inputs[0][self.before[0] :] = x
        width = padded(2 * stack.stack.channels)
        # A last vector may be read beyond the end.
        hidden = x.new_empty(len(blocks) * rows * width + LANES)[:-LANES].view(len(blocks), rows, width)
        moments = torch.empty(len(blocks), 2, width)
        z = x.new_empty(rows, len(blocks) * channels)
        convs = [
            describe(
                keep,
                block.conv,
                cast(Any, block.norm),
                moments[i],
                sessions,
                rows=rows,
                bins=1,
                input_channels=channels,
                step=0,
                stride=channels,
                x=keep.rows(inputs[i][self.before[i] :], rows, channels),
                y=keep.rows(hidden[i], rows, width),
            )
            for i, block in enumerate(blocks)
        ]
        own, skips = stack.stack.channels, cast(int, stack.stack.skip_channels)
        pointwise = [
            Pointwise(
                residual=keep.floats(named.get("residual.weight"), own, own),
                residual_bias=keep.floats(named.get("residual.bias"), own),
                skip=keep.floats(named["skip.weight"], skips, own),
                skip_bias=keep.floats(named.get("skip.bias"), skips),
            )
            for named in stack.named
        ]
        self.convs, self.pointwise = array(Convolution, convs), array(Pointwise, pointwise)
        self.arguments = Stack(
            blocks=len(blocks),
            channels=own,
            skip_channels=skips,
            rows=rows,
            threads=torch.get_num_threads(),
            is_glu=blocks[0].gate == "glu",
            convs=ctypes.addressof(self.convs),
            pointwise=ctypes.addressof(self.pointwise),
            z=keep.rows(z, rows, len(blocks), channels),
        )

    def forward(self) -> Tensor:
        rows, width = self.arguments.rows, padded(self.arguments.skip_channels)
        out = torch.empty(rows, width, dtype=torch.bfloat16)
        self.arguments.out = out.data_ptr()
        self.stack.kernels.stack_forward(ctypes.byref(self.arguments))
        return out

    def backward(self, grad: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        keep, arguments, channels = Arguments(), self.arguments, padded(self.arguments.channels)
        by_weight = []
        for named, conv, pointwise in zip(self.stack.named, self.convs, self.pointwise, strict=True):
            grads = {name: torch.empty_like(parameter) for name, parameter in named.items()}
            if "conv.bias" in grads:
                grads["conv.bias"].zero_()  # the normalisation takes it out again
            places = {name: keep.floats(grads[name], *parameter.shape) for name, parameter in named.items()}
            conv.grad_weight = places["conv.weight"]
            conv.norm.grad_gamma, conv.norm.grad_beta = places["norm.weight"], places["norm.bias"]
            for name in ("residual", "skip"):
                setattr(pointwise, f"grad_{name}", places.get(f"{name}.weight"))
                setattr(pointwise, f"grad_{name}_bias", places.get(f"{name}.bias"))
            by_weight += grads.values()
        by_past = [
            torch.empty(before, channels, dtype=torch.bfloat16) if want else None
            for before, want in zip(self.before, wanted[1:], strict=False)
        ]
        by_input = torch.empty(arguments.rows, channels, dtype=torch.bfloat16)
        arguments.grad_out = keep.rows(grad.contiguous(), arguments.rows, padded(arguments.skip_channels))
        arguments.grad_input = keep.rows(by_input, arguments.rows, channels)
        places = [keep.rows(rows, before, channels) for rows, before in zip(by_past, self.before, strict=True)]
        arguments.grad_past = keep.array(POINTER, places)
        self.stack.kernels.stack_backward(ctypes.byref(arguments))
        return (by_input, *by_past, *by_weight)


def _blocks(stack: DilatedStack) -> list[GatedResidualBlock]:
    return cast(Any, list(stack.blocks))
