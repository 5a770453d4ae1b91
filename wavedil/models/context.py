"""The context module of Yu and Koltun: what each place is, seen in the light of what is around it."""

import torch
from torch import nn

from wavedil.checks import bounded_number
from wavedil.config import Boundary
from wavedil.layers import CausalConv1d, CausalConv2d, Chain
from wavedil.layers.sizes import require_boundary, require_channels, require_dimensions, require_flags, require_room
from wavedil.models.convolution import Dimensions, convolution

DILATIONS = (1, 1, 2, 4, 8, 16, 1)
# Feature maps after each of the eight layers, in multiples of the input's.
BASIC = (1, 1, 1, 1, 1, 1, 1, 1)
LARGE = (2, 2, 4, 8, 16, 32, 32, 1)


class ContextModule(Chain):
    """Seven dilated convolutions of kernel size 3 with rectifiers, and a 1x1 convolution: a field of 67 at every place.

    It takes feature maps to as many feature maps and begins as the identity, so that it can be put behind any network.
    The receptive fields after its layers are 3, 5, 9, 17, 33, 65, 67 and 67, on each axis, without holes.
    Source: Yu and Koltun 2016, sections 3 and 4, arXiv:1511.07122.

    The centred form looks ahead 33 frames and streams with that latency. As in the source, what is zero beyond the
    signal's ends is the module's input: with ``boundary="silence"`` all layers respond to it. In frequency each layer
    pads its own input with zeros.

    Args:
        channels: of input and output.
        large: whether the layers have 2, 2, 4, 8, 16, 32, 32 times as many channels; else all have the same.
        dimensions: 1 for signals, 2 for spectrograms.
        causal: whether each layer reads the present and the past alone; the taps that are first the identity are then
            the newest. In frequency the kernels stay centred.
        identity: whether the module begins as the identity for non-negative input: exactly, or, if it is large, up to
            noise; else with torch's own initialisation.
        sigma: standard deviation of the noise with which the large module begins, well below ``1 / 32``.
        boundary: see :class:`wavedil.layers.StreamingModule`.

    Shape:
        ``(batch, channels, time)`` or ``(batch, channels, frequency, time)`` to the same.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range.

    Example:
        >>> module = ContextModule(4)
        >>> spectrogram = torch.rand(1, 4, 40, 100)
        >>> torch.equal(module(spectrogram), spectrogram), module.receptive_field, module.lookahead
        (True, 67, 33)
    """

    def __init__(
        self,
        channels: int,
        *,
        large: bool = False,
        dimensions: Dimensions = 2,
        causal: bool = False,
        identity: bool = True,
        sigma: float = 1e-3,
        boundary: Boundary = "silence",
    ) -> None:
        require_channels(channels=channels)
        bounded_number("sigma", sigma, 0, 1)
        require_flags(large=large, causal=causal, identity=identity)
        require_dimensions(dimensions)
        require_boundary(boundary)
        widths = [channels * factor for factor in (LARGE if large else BASIC)]
        kernels = [(3, dilation) for dilation in DILATIONS] + [(1, 1)]
        sizes = zip([channels, *widths], widths, kernels, strict=False)
        require_room(sum(before * after * size**dimensions for before, after, (size, _) in sizes))
        layers: list[tuple[str, nn.Module]] = []
        for i, (before, after, kernel) in enumerate(zip([channels, *widths], widths, kernels, strict=False), 1):
            conv = convolution(dimensions, before, after, *kernel, causal=causal)
            if identity:
                set_identity(conv, channels, sigma if large else 0.0)
            layers += [(f"conv{i}", conv), (f"relu{i}", nn.ReLU())]
        # The last layer's outputs are not truncated.
        super().__init__(*layers[:-1], boundary=boundary)
        self.channels = channels
        self.large = large
        self.causal = causal


@torch.no_grad()
def set_identity(conv: CausalConv1d | CausalConv2d, channels: int, sigma: float = 0.0) -> None:
    """Set a layer's weights such that it hands each of the module's channels on; equations 4 and 5 of the source.

    Of ``c_i`` maps in and ``c_{i+1}`` out, those with the same ``floor(a channels / c_i)`` and ``floor(b channels /
    c_{i+1})`` are joined by ``channels / c_{i+1}`` at the present tap.

    Args:
        conv: the layer; its numbers of channels are multiples of ``channels``.
        channels: of the module's input.
        sigma: standard deviation of all other weights.
    """
    inputs, outputs = (
        torch.arange(count, device=conv.weight.device) * channels // count
        for count in (conv.in_channels, conv.out_channels)
    )
    present = conv.kernel_size[-1] - 1 - int(conv.lookahead) // conv.dilation[-1]
    taps = [size // 2 for size in conv.kernel_size[:-1]] + [present]
    nn.init.normal_(conv.weight, std=sigma)
    conv.weight[(outputs[:, None] == inputs, *taps)] = channels / conv.out_channels
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
