"""Atrous spatial pyramid pooling: the same input at several dilations at once, as DeepLab has it."""

from collections.abc import Sequence
from typing import Literal, get_args

from torch import nn

from wavedil.checks import one_of, shown
from wavedil.layers import Chain, StreamingModule
from wavedil.layers.image_pooling import CausalImagePool, ImagePool
from wavedil.layers.norm import NormName, make_norm
from wavedil.layers.parallel import Parallel
from wavedil.layers.sizes import each_of, require_channels
from wavedil.models.convolution import Dimensions, convolution

ImagePooling = Literal["auto", "whole", "past", "none"] | int
MOST_RATES = 64


class ASPPv2(Parallel):
    """Dilated convolutions side by side, of kernel size 3, summed.

    With rates 6, 12, 18 and 24 the receptive field is 49 on each axis, of which 9 inputs are read (in two dimensions 33
    of 2401). Source: Chen et al. 2017, section 3.2, arXiv:1606.00915.

    Args:
        in_channels: channels in.
        out_channels: channels out, in the source the scores of the classes.
        rates: the dilations, one for each branch.
        hidden_channels: of two layers in each branch, the dilated convolution and a 1x1, both with rectifiers, before a
            1x1 to the output, as the source has it on VGG-16; None has the dilated convolution alone, as on ResNet-101.
        dimensions: 1 for signals, 2 for spectrograms.
        causal: whether it reads nothing after the present; else it is centred, and streams with latency.

    Shape:
        ``(batch, in_channels, time)`` or ``(batch, in_channels, frequency, time)`` to the same with ``out_channels``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if there is no rate, or an argument is out of its range.

    Example:
        >>> import torch
        >>> aspp = ASPPv2(8, 2)
        >>> aspp(torch.zeros(1, 8, 40, 100)).shape, aspp.receptive_field, aspp.lookahead
        (torch.Size([1, 2, 40, 100]), 49, 24)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        rates: Sequence[int] = (6, 12, 18, 24),
        *,
        hidden_channels: int | None = None,
        dimensions: Dimensions = 2,
        causal: bool = False,
    ) -> None:
        if hidden_channels is not None:
            require_channels(hidden_channels=hidden_channels)
        branches = []
        for rate in each_of("rates", rates, MOST_RATES):
            width = hidden_channels or out_channels
            layers: list[nn.Module] = [convolution(dimensions, in_channels, width, 3, rate, causal=causal)]
            if hidden_channels:
                layers += [nn.ReLU(), convolution(dimensions, width, width, 1)]
                layers += [nn.ReLU(), convolution(dimensions, width, out_channels, 1)]
            branches.append(Chain(*layers))
        super().__init__(*branches, join="sum")
        self.rates = tuple(rates)


class ASPPv3(Chain):
    """A 1x1 convolution, dilated ones of kernel size 3 and image-level features, concatenated and projected by a 1x1.

    All of them have ``out_channels`` channels, a norm and a rectifier. With rates 6, 12 and 18 the local receptive
    field is 37 on each axis, of which 7 inputs are read (in two dimensions 25 of 1369); with 12, 24 and 36, for
    features of twice the resolution, it is 73. The image-level features read all of the signal, or all of its past.
    Source: Chen et al. 2017, section 3.3, arXiv:1706.05587.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        rates: the dilations, one for each dilated branch.
        dimensions: 1 for signals, 2 for spectrograms.
        causal: whether it reads nothing after the present; else it is centred, and streams with latency where the
            image pooling streams.
        image_pooling: the mean over all of frequency and over "whole" (all of time, which cannot stream), "past" (all
            up to the present), a number of frames up to the present, or "none" for no such branch; "auto" takes "past"
            if causal, else "whole".
        norm: "batch", "layer", "rms" or "none"; with a norm the convolutions have no bias.

    Shape:
        ``(batch, in_channels, time)`` or ``(batch, in_channels, frequency, time)`` to the same with ``out_channels``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range.

    Example:
        >>> import torch
        >>> aspp = ASPPv3(8, 16, causal=True, image_pooling=100)
        >>> aspp(torch.zeros(1, 8, 40, 200)).shape, aspp.receptive_field, aspp.lookahead
        (torch.Size([1, 16, 40, 200]), 100, 0)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        rates: Sequence[int] = (6, 12, 18),
        *,
        dimensions: Dimensions = 2,
        causal: bool = False,
        image_pooling: ImagePooling = "auto",
        norm: NormName = "batch",
    ) -> None:
        each_of("rates", rates, MOST_RATES)
        require_channels(in_channels=in_channels, out_channels=out_channels)
        one_of("norm", norm, get_args(NormName))

        def block(channels: int, kernel_size: int = 1, rate: int = 1) -> list[tuple[str, nn.Module]]:
            bias = norm == "none"
            conv = convolution(dimensions, channels, out_channels, kernel_size, rate, causal=causal, bias=bias)
            scaled = make_norm(norm, out_channels, dimensions)
            return [("conv", conv), *([] if scaled is None else [("norm", scaled)]), ("relu", nn.ReLU())]

        pool = _image_pool(image_pooling, causal)
        branches = [("point", Chain(*block(in_channels)))]
        branches += [(f"dilated{i}", Chain(*block(in_channels, 3, rate))) for i, rate in enumerate(rates, 1)]
        if pool is not None:
            branches.append(("image", Chain(("pool", pool), *block(in_channels))))
        projection = Chain(*block(len(branches) * out_channels))
        super().__init__(("branches", Parallel(*branches)), ("projection", projection))
        self.rates = tuple(rates)
        self.causal = causal


def _image_pool(image_pooling: ImagePooling, causal: bool) -> StreamingModule | None:
    if image_pooling == "auto":
        image_pooling = "past" if causal else "whole"
    if image_pooling == "none":
        return None
    if image_pooling == "past":
        return CausalImagePool()
    if image_pooling == "whole" and not causal:
        return ImagePool()
    if image_pooling is not None and not isinstance(image_pooling, str):
        return CausalImagePool(image_pooling)
    whole = "" if causal else "'whole', "
    raise ValueError(f"image_pooling: expected 'auto', {whole}'past', 'none' or frames, got {shown(image_pooling)}")
