"""Layers as a receptive field sees them: numbers, no weights and no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from wavedil.checks import shown
from wavedil.receptive.arithmetic import Field, _require_positive, dilated_span
from wavedil.receptive.taps import Taps

# Sets of taps are kept in a bit for each input of a field and each phase, here in at most 8 MiB, of fields of
# which the holes may be listed; the work of all layers is so many bits that are shifted. To list a tap takes as long as
# to shift _LISTED.
MOST_TAP_BITS, MOST_TAP_SPAN, MOST_TAP_WORK, _LISTED = 2**26, 2**20, 2**35, 2**12
MOST_PADDING = 10**107
MOST_LAYERS = 10_000


@dataclass(frozen=True)
class Geometry:
    """What a layer does along one axis.

    Attributes:
        kernel_size: taps.
        stride: inputs between outputs; of a transposed layer, outputs between inputs.
        dilation: inputs between taps.
        padding: inputs imagined before the first one; of a transposed layer, outputs cut off at the start.
        transposed: whether it is a transposed convolution.
        residual: whether the layer's input is added to its output.

    Example:
        >>> Geometry.causal(kernel_size=3, dilation=4).field.at(0)
        (-8, 0)
    """

    kernel_size: int = 1
    stride: int = 1
    dilation: int = 1
    padding: int = 0
    transposed: bool = False
    residual: bool = False

    def __post_init__(self) -> None:
        _require_positive(kernel_size=self.kernel_size, stride=self.stride, dilation=self.dilation)
        if abs(self.padding) > MOST_PADDING:
            raise ValueError(f"padding must have at most 107 digits, got {shown(self.padding)}")
        if self.residual and (self.stride > 1 or self.transposed):
            raise ValueError(f"a residual layer must have stride 1, got {self.stride}")

    @classmethod
    def causal(cls, kernel_size: int, stride: int = 1, dilation: int = 1, lookahead: int = 0) -> "Geometry":
        """Reads nothing after the newest input of its own stride, or ``lookahead`` inputs further."""
        span = dilated_span(kernel_size, dilation)
        if not 0 <= lookahead < span:
            raise ValueError(f"lookahead must be from 0 to {span - 1} (the layer spans {span}), got {lookahead}")
        return cls(kernel_size, stride, dilation, span - stride - lookahead)

    @classmethod
    def centred(cls, kernel_size: int, stride: int = 1, dilation: int = 1) -> "Geometry":
        """Padded by half its reach, as "same" padding is; the odd sample of an even kernel comes from the right."""
        return cls(kernel_size, stride, dilation, (dilated_span(kernel_size, dilation) - 1) // 2)

    @property
    def span(self) -> int:
        """Inputs (of a transposed layer, outputs) from the first tap to the last."""
        return dilated_span(self.kernel_size, self.dilation)

    @property
    def field(self) -> Field:
        """Which inputs an output reads, as an interval."""
        make = Field.transposed if self.transposed else Field.convolution
        field = make(self.kernel_size, self.stride, self.dilation, self.padding)
        return field.union(Field.identity()) if self.residual else field

    def taps(self, width: int = 1) -> Taps:
        """Which inputs an output reads, one by one; with ``width`` bits for each number of paths."""
        steps = range(0, self.span, self.dilation)
        if self.transposed:
            phases = [[o + self.padding - step for step in steps] for o in range(self.stride)]
            sets = [[i // self.stride for i in phase if i % self.stride == 0] for phase in phases]
            return Taps.of(self.stride, 1, sets, width)
        own = [0] if self.residual else []
        return Taps.of(1, self.stride, [[step - self.padding for step in steps] + own], width)

    @property
    def reads_own(self) -> bool:
        """Whether one of the kernel's own taps is the input at the output's own place, which a residual branch adds."""
        return self.stride == 1 and self.padding % self.dilation == 0 and 0 <= self.padding < self.span

    @property
    def paths(self) -> int:
        """The most paths from one output back to this layer's inputs."""
        return self.kernel_size + self.residual

    @property
    def remembered(self) -> int:
        """Inputs that a stream must keep from one chunk to the next."""
        if self.transposed:
            return max(-(-(self.span - self.stride) // self.stride), 0)
        ahead = max(self.span - self.stride - self.padding, 0)
        # A lookahead that is no multiple of the stride comes out with the stride's last input. A residual branch waits
        # as long as the convolution looks ahead.
        waiting = -ahead % self.stride + (ahead if self.residual else 0)
        return max(self.span - self.stride, self.padding, 0) + waiting


@dataclass(frozen=True)
class Layer:
    """A layer of a description.

    Attributes:
        name: shown in tables and errors.
        kind: what it is, in a word: "conv", "transposed", "pool", "framing", "gated".
        time: its geometry along time.
        frequency: its geometry along frequency; None in one dimension.
        in_channels: channels of its input.
        parameters: learned values.
        macs: multiply-accumulates for each of its outputs in time (over all channels and bins).
        in_bins: frequency bins of its input; 1 in one dimension.
        remembered: values a stream keeps for each channel and bin; None takes the geometry's.
    """

    name: str
    kind: str
    time: Geometry
    frequency: Geometry | None = None
    in_channels: int = 1
    parameters: int = 0
    macs: int | Fraction = 0
    in_bins: int = 1
    remembered: int | None = None

    @property
    def state_values(self) -> int:
        """Values that a stream keeps from one chunk to the next."""
        remembered = self.time.remembered if self.remembered is None else self.remembered
        return remembered * self.in_channels * self.in_bins


def convolution(
    name: str,
    time: Geometry,
    frequency: Geometry | None = None,
    *,
    in_channels: int = 1,
    out_channels: int = 1,
    groups: int = 1,
    bias: bool = True,
    bins: int = 1,
) -> Layer:
    """A convolution with its parameters and multiply-accumulates, "same" in the number of frequency bins.

    Args:
        name: of the layer.
        time: geometry along time.
        frequency: geometry along frequency; None in one dimension.
        in_channels: channels in.
        out_channels: channels out.
        groups: as in torch.
        bias: whether it has one.
        bins: frequency bins of its input.

    Raises:
        ValueError: if the channels cannot be divided into the groups.
    """
    _require_positive(in_channels=in_channels, out_channels=out_channels, bins=bins)
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ValueError(f"groups must divide the channels {in_channels} and {out_channels}, got {groups}")
    taps = time.kernel_size * (frequency.kernel_size if frequency else 1)
    weights = in_channels // groups * out_channels * taps
    out_bins = bins_after(frequency, bins)
    # A transposed layer spreads each input over kernel_size outputs: an output has its share of the taps.
    macs = Fraction(weights * bins, time.stride) if time.transposed else weights * out_bins
    return Layer(
        name=name,
        kind="transposed" if time.transposed else "conv",
        time=time,
        frequency=frequency,
        in_channels=in_channels,
        parameters=weights + out_channels * bias,
        macs=macs,
        in_bins=bins,
    )


def bins_after(frequency: Geometry | None, bins: int) -> int:
    """Frequency bins that come out of a "same" layer."""
    return bins if frequency is None else -(-bins // frequency.stride)


def gated_block(
    name: str,
    channels: int,
    time: Geometry,
    frequency: Geometry | None = None,
    *,
    groups: int = 1,
    bias: bool = True,
    bins: int = 1,
) -> Layer:
    """A gated residual block: the convolution to twice the channels and the 1x1 convolution onto the residual.

    Raises:
        ValueError: if the channels cannot be divided into the groups, or a stride is not 1.
    """
    options = {"in_channels": channels, "out_channels": 2 * channels, "groups": groups, "bins": bins}
    gate = convolution(name, time, frequency, bias=False, **options)
    return Layer(
        name=name,
        kind="gated",
        time=replace(time, residual=True),
        frequency=None if frequency is None else replace(frequency, residual=True),
        in_channels=channels,
        parameters=gate.parameters + channels * channels + 3 * channels * bias,
        macs=gate.macs + channels * channels * bins,
        in_bins=bins,
    )


def chained_fields(geometries: Sequence[Geometry]) -> tuple[list[Field], Taps | None]:
    """The field after each layer, in terms of the input of the first, and the exact taps of the whole chain.

    The fields are the hulls of the taps. Taps beyond ``MOST_TAP_BITS``, or too costly, are None; the fields from there
    on are composed as intervals, and may be wider where a layer reads only some of an interval of unequal phases.
    """
    if len(geometries) > MOST_LAYERS:
        raise ValueError(f"expected at most {MOST_LAYERS:,} layers, got {len(geometries):,}")
    fields: list[Field] = []
    field, taps, work = Field.identity(), Taps.identity(), 0
    for geometry in geometries:
        field = field.then(geometry.field)
        bits = field.outputs * field.receptive_field
        work += geometry.paths * (bits + (geometry.stride * _LISTED if geometry.transposed else 0))
        if taps is not None:
            few = bits <= MOST_TAP_BITS and work <= MOST_TAP_WORK and field.receptive_field <= MOST_TAP_SPAN
            taps = taps.then(geometry.taps()) if few else None
            field = field if taps is None else taps.hull
        fields.append(field)
    return fields, taps


def chained_taps(geometries: Sequence[Geometry], *, counted: bool = False) -> Taps:
    """The exact taps of a chain of layers, with the number of paths to each if ``counted``."""
    paths = math.prod(geometry.paths for geometry in geometries)
    width = max(paths.bit_length(), 2) if counted else 1
    total = Taps.identity(width)
    for geometry in geometries:
        total = total.then(geometry.taps(width))
    return total
