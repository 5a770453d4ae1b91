"""A stack of convolutions by its numbers: the calculator without a model."""

from collections.abc import Sequence
from typing import Literal, cast

from wavedil.checks import bounded_integer, one_of
from wavedil.receptive.answer import Answer
from wavedil.receptive.arithmetic import MOST
from wavedil.receptive.chain import answer_for
from wavedil.receptive.description import MOST_LAYERS, Geometry, Layer, bins_after, convolution, gated_block

Padding = Literal["causal", "centred", "valid"]
# One number for both axes, or (frequency, time), in the order of the axes.
Size = int | tuple[int, int]


def stack(
    kernel_size: Size | Sequence[Size],
    dilations: Sequence[Size] = (1,),
    *,
    strides: Size | Sequence[Size] = 1,
    cycles: int = 1,
    padding: Padding = "causal",
    lookahead: int | Sequence[int] = 0,
    channels: int = 1,
    groups: int = 1,
    bias: bool = True,
    block: Literal["conv", "gated"] = "conv",
    bins: int | None = None,
    framing: tuple[int, int] | None = None,
    sample_rate: float | None = None,
    value_bytes: int = 4,
) -> Answer:
    """The receptive field of a stack of dilated convolutions, one for each dilation.

    A pair (frequency, time) anywhere among the sizes, or ``bins``, makes it a stack over spectrograms. A tuple of two
    numbers is such a pair; sizes for each layer come as a list.

    Args:
        kernel_size: taps: one number for all layers, or one for each.
        dilations: inputs between taps, one for each layer.
        strides: inputs between outputs: one number for all layers, or one for each.
        cycles: how often the layers are repeated.
        padding: along time: "causal" (nothing after the newest input of the own stride), "centred" or "valid". Along
            frequency it is centred.
        lookahead: inputs that a causal layer reads beyond its present: one number for all layers, or one for each.
        channels: of every layer, in and out, for parameters, multiply-accumulates and state.
        groups: of the convolutions.
        bias: whether they have one.
        block: "conv", plain convolutions, or "gated", the residual blocks of
            :class:`wavedil.layers.DilatedStack` and :class:`wavedil.layers.DilatedStack2d`.
        bins: frequency bins of the input.
        framing: ``(win_length, hop_length)`` of a Fourier or mel front end, which then is layer 0.
        sample_rate: of the input, in Hz.
        value_bytes: bytes of a value of the state.

    Raises:
        ValueError: if a size is below 1, or lists have different lengths; the message names the layer.

    Example:
        >>> answer = stack(3, [1, 2, 4, 8], cycles=2)
        >>> answer.receptive_field, answer.lookahead, answer.axes.time.dense
        (61, 0, True)
    """
    layers = stack_layers(
        kernel_size,
        dilations,
        strides=strides,
        cycles=cycles,
        padding=padding,
        lookahead=lookahead,
        channels=channels,
        groups=groups,
        bias=bias,
        block=block,
        bins=bins,
        framing=framing,
    )
    return answer_for(layers, sample_rate=sample_rate, value_bytes=value_bytes)


def stack_layers(
    kernel_size: Size | Sequence[Size],
    dilations: Sequence[Size] = (1,),
    *,
    strides: Size | Sequence[Size] = 1,
    cycles: int = 1,
    padding: Padding = "causal",
    lookahead: int | Sequence[int] = 0,
    channels: int = 1,
    groups: int = 1,
    bias: bool = True,
    block: Literal["conv", "gated"] = "conv",
    bins: int | None = None,
    framing: tuple[int, int] | None = None,
) -> list[Layer]:
    """The layers of :func:`stack`, for whoever wants to add to them."""
    _check(dilations, cycles=cycles, channels=channels, bins=bins, padding=padding, block=block)
    kernels = _each("kernel_size", kernel_size, len(dilations))
    steps = _each("strides", strides, len(dilations))
    aheads = _each("lookahead", lookahead, len(dilations))
    sizes = list(zip(kernels, steps, dilations, aheads, strict=True)) * cycles
    spectrogram = bins is not None or any(isinstance(size, tuple) for row in sizes for size in row)
    height = 1 if bins is None else bins
    layers = [] if framing is None else [framing_layer(*framing)]
    for i, (kernel, stride, dilation, ahead) in enumerate(sizes):
        try:
            time = _along_time(_part(kernel, 1), _part(stride, 1), _part(dilation, 1), padding, _part(ahead, 1))
            band = Geometry.centred(_part(kernel, 0), _part(stride, 0), _part(dilation, 0)) if spectrogram else None
            if block == "gated":
                layers.append(gated_block(f"layer {i}", channels, time, band, groups=groups, bias=bias, bins=height))
            else:
                options = {"in_channels": channels, "out_channels": channels, "groups": groups, "bias": bias}
                layers.append(convolution(f"layer {i}", time, band, bins=height, **options))
        except ValueError as error:
            raise ValueError(f"layer {i}: {error}") from None
        height = bins_after(band, height)
    return layers


def framing_layer(win_length: int, hop_length: int) -> Layer:
    """Frames that are complete when their newest hop has arrived."""
    if hop_length > win_length or hop_length < 1:
        raise ValueError(f"framing: expected 1 <= hop_length <= win_length, got {hop_length} and {win_length}")
    return Layer("framing", "framing", Geometry.causal(win_length, hop_length))


def _along_time(kernel_size: int, stride: int, dilation: int, padding: Padding, lookahead: int) -> Geometry:
    if padding == "causal":
        # The kernel is checked first, or a dilation of 0 would be called a lookahead too large.
        Geometry(kernel_size, stride, dilation)
        return Geometry.causal(kernel_size, stride, dilation, lookahead)
    if lookahead:
        raise ValueError(f"lookahead {lookahead} goes with causal padding, got {padding!r}")
    if padding == "centred":
        return Geometry.centred(kernel_size, stride, dilation)
    return Geometry(kernel_size, stride, dilation)


def _check(
    dilations: Sequence[Size], *, cycles: int, channels: int, bins: int | None, padding: str, block: str
) -> None:
    if not dilations:
        raise ValueError("expected at least one dilation, got none")
    bounded_integer("cycles", cycles, 1, MOST_LAYERS)
    for name, value in (("channels", channels), ("bins", 1 if bins is None else bins)):
        bounded_integer(name, value, 1, MOST[name])
    if len(dilations) * cycles > MOST_LAYERS:
        raise ValueError(f"cycles: expected at most {MOST_LAYERS:,} layers in all, got {len(dilations) * cycles:,}")
    one_of("padding", padding, ("causal", "centred", "valid"))
    one_of("block", block, ("conv", "gated"))


def _each(name: str, value: Size | Sequence[Size], count: int) -> list[Size]:
    """One value for each layer; a tuple of two numbers is a pair, as in torch, and not a list for two layers."""
    if isinstance(value, int):
        return [value] * count
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(size, int) for size in value):
        return [cast(Size, value)] * count
    values = list(cast(Sequence[Size], value))
    if len(values) != count:
        raise ValueError(f"{name}: expected one value, or one for each of {count} dilations, got {len(values)}")
    return values


def _part(size: Size, axis: int) -> int:
    """The frequency (0) or time (1) part of a size."""
    return size[axis] if isinstance(size, tuple | list) and len(size) == 2 else cast(int, size)
