"""Convolutions over spectrograms with batch normalisation and ReLU on rows, trained by kernels/entry.cpp."""

import ctypes
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from wavedil.layers import BatchNorm2d, CausalConv2d
from wavedil.runtime.function import trained
from wavedil.runtime.modules import describe, is_known, rows_before
from wavedil.runtime.structures import Arguments, Entry, Layer, array, padded

Pair = tuple[CausalConv2d, BatchNorm2d]


def knows_convolution(conv: nn.Module, norm: nn.Module | None) -> bool:
    """Whether the kernels can train a convolution over spectrograms, its norm and a ReLU."""
    if not isinstance(conv, CausalConv2d) or type(norm) is not BatchNorm2d or conv.lookahead:
        return False
    return conv.dilation[0] == 1 and is_known(conv, norm)


class EntryRows:
    """Convolutions over spectrograms, each with its batch normalisation and ReLU, on rows, to be trained.

    Args:
        kernels: see :func:`wavedil.runtime.native.load_kernels`.
        layers: that :func:`knows_convolution`.
    """

    def __init__(self, kernels: ctypes.CDLL, layers: Sequence[Pair]) -> None:
        self.kernels, self.layers = kernels, layers
        self.reads_one = len(layers) == 1 and {*layers[0][0].kernel_size, *layers[0][0].stride} == {1}
        self.parameters = [parameter for pair in layers for module in pair for parameter in module.parameters()]

    def __call__(self, x: Tensor, past: Sequence[Tensor | None], sessions: int) -> Tensor:
        """What comes out of the last of them.

        Args:
            x: ``(rows, bins, channels)``, the frames of the sessions in turn; the last channels may be zeros.
            past: of each layer that reads any, the rows ``(before, bins, channels)`` before the first; None for zeros.
            sessions: that take turns.

        Returns:
            ``(rows, bins, channels)`` in bfloat16, filled up with channels of zeros to whole vectors.
        """
        if self.reads_one:  # so that each bin may count as a row
            shape, x = x.shape, x.flatten(0, 1).unsqueeze(1)
            return self._apply(x, [None], sessions).view(*shape[:2], -1)
        given = iter(past)
        past = [next(given) if conv.state_names else None for conv, _ in self.layers]
        return self._apply(x, past, sessions)

    def _apply(self, x: Tensor, past: Sequence[Tensor | None], sessions: int) -> Tensor:
        out = trained(partial(_Call, self, sessions), x.to(torch.bfloat16).contiguous(), past, self.parameters)
        for _, norm in self.layers:
            cast(Any, norm).num_batches_tracked.add_(1)
        return out


class _Call:
    """The buffers of a step, from its forward to its backward."""

    def __init__(self, entry: EntryRows, sessions: int, x: Tensor, past: Sequence[Tensor | None]) -> None:
        keep = self.keep = Arguments()
        self.entry, self.out_shape = entry, x.shape
        parts: list[Layer] = []
        self.places: list[_Place] = []
        for (conv, norm), given in zip(entry.layers, past, strict=True):
            place = _Place(conv, sessions, *self.out_shape)
            signal = x if not parts and place.is_plain else place.signal(x if not parts else None, given)
            out_bins, width = place.out_bins, padded(conv.out_channels)
            self.out_shape = torch.Size((len(x), out_bins, width))
            described = describe(
                keep,
                conv,
                norm,
                torch.empty(2, width),
                sessions,
                rows=len(x),
                bins=out_bins,
                input_channels=place.channels,
                step=conv.stride[0] * place.channels,
                stride=place.stride,
                x=keep.rows(signal[place.before :], len(x), place.stride),
                y=keep.rows(torch.empty(self.out_shape, dtype=torch.bfloat16), *self.out_shape),
            )
            parts.append(Layer(conv=described, lead=place.lead))
            self.places.append(place)
        self.parts = array(Layer, parts)
        self.arguments = Entry(
            layers=len(parts),
            threads=torch.get_num_threads(),
            layer=ctypes.addressof(self.parts),
        )

    def forward(self) -> Tensor:
        out = torch.empty(self.out_shape, dtype=torch.bfloat16)
        self.arguments.out = out.data_ptr()
        self.entry.kernels.entry_forward(ctypes.byref(self.arguments))
        return out

    def backward(self, grad: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        keep, arguments = Arguments(), self.arguments
        by_weight = []
        by_rows = [self.places[0].room(self.out_shape[0]) if wanted[0] else None]
        for pair, part, place, want in zip(self.entry.layers, self.parts, self.places, wanted[1:], strict=False):
            grads = [torch.empty_like(parameter) for module in pair for parameter in module.parameters()]
            if pair[0].bias is not None:
                grads[1].zero_()  # the normalisation takes it out again
            part.conv.grad_weight = keep.floats(grads[0], *pair[0].weight.shape)
            gamma, beta = (keep.floats(by_norm, pair[1].num_features) for by_norm in grads[-2:])
            part.conv.norm.grad_gamma, part.conv.norm.grad_beta = gamma, beta
            by_rows.append(place.room(place.before) if want else None)
            part.grad_past = keep.rows(by_rows[-1], place.before, place.stride)
            by_weight += grads
        arguments.grad_out = keep.rows(grad.contiguous(), *self.out_shape)
        arguments.grad_input = keep.rows(by_rows[0], self.out_shape[0], self.places[0].stride)
        self.entry.kernels.entry_backward(ctypes.byref(arguments))
        by_inputs = [
            None if rows is None else place.bins_of(rows)
            for rows, place in zip(by_rows, (self.places[0], *self.places), strict=True)
        ]
        for i, (conv, _) in enumerate(self.entry.layers, start=1):  # a state has no channels to fill vectors
            rows = by_inputs[i]
            by_inputs[i] = None if rows is None else rows[..., : conv.in_channels]
        return (*by_inputs, *by_weight)


class _Place:
    """How the rows lie that a convolution reads: zeros, the bins, and zeros again, also to fill a last window.

    Args:
        conv: the convolution.
        sessions: that take turns.
        rows: of the signal.
        bins: of it.
        channels: of it, those included that fill vectors.
    """

    def __init__(self, conv: CausalConv2d, sessions: int, rows: int, bins: int, channels: int) -> None:
        self.rows, self.bins, self.channels = rows, bins, channels
        self.before = rows_before(conv, sessions)
        low, high = conv.frequency_padding
        self.out_bins = (bins + low + high - conv.kernel_size[0]) // conv.stride[0] + 1
        self.lead = low * channels
        reach = (self.out_bins - 1) * conv.stride[0] * channels + padded(conv.kernel_size[0] * channels)
        self.stride = padded(max(reach, (bins + low + high) * channels))
        self.is_plain = not self.before and self.stride == bins * channels  # the signal already lies so

    def bins_of(self, rows: Tensor) -> Tensor:
        """The bins in rows of the stride, ``(rows, bins, channels)``, as a view."""
        return rows[:, self.lead : self.lead + self.bins * self.channels].unflatten(1, (self.bins, self.channels))

    def room(self, rows: int) -> Tensor:
        """Rows to be filled."""
        return torch.empty(rows, self.stride, dtype=torch.bfloat16)

    def signal(self, x: Tensor | None, past: Tensor | None) -> Tensor:
        """Rows with those before, where they are given; the kernels fill in the signal where it is not."""
        signal = torch.zeros(self.before + self.rows, self.stride, dtype=torch.bfloat16)
        held = self.bins_of(signal)
        if past is not None:
            held[: self.before, :, : past.shape[2]] = past
        if x is not None:
            held[self.before :] = x
        return signal
