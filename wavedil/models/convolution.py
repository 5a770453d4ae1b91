"""Convolutions that are the same in name over signals and spectrograms, centred and causal."""

from typing import Literal

from wavedil.layers import CausalConv1d, CausalConv2d
from wavedil.layers.sizes import require_dimensions, require_flags, require_sizes

Dimensions = Literal[1, 2]


def convolution(
    dimensions: Dimensions,
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    dilation: int = 1,
    *,
    causal: bool = False,
    bias: bool = True,
) -> CausalConv1d | CausalConv2d:
    """A convolution whose kernel is centred, or in time ends with the present.

    Args:
        dimensions: 1 for ``(batch, channels, time)``, 2 for ``(batch, channels, frequency, time)``.
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: taps on each axis, odd.
        dilation: inputs between taps on each axis.
        causal: whether it reads nothing after the present; else it reads as far ahead as back.
        bias: as in torch.

    Raises:
        TypeError: if a size is no integer.
        ValueError: if there are not 1 or 2 dimensions, or a size is out of its range.
    """
    require_dimensions(dimensions)
    require_sizes(kernel_size=kernel_size, dilation=dilation)
    require_flags(causal=causal)
    kind = CausalConv1d if dimensions == 1 else CausalConv2d
    ahead = 0 if causal else dilation * (kernel_size - 1) // 2
    return kind(in_channels, out_channels, kernel_size, dilation=dilation, bias=bias, lookahead=ahead)
