"""What the calculator answers: dataclasses that hold it, and their JSON."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from wavedil.checks import bounded_number
from wavedil.receptive.arithmetic import Field
from wavedil.receptive.taps import Taps

# Changes only when a key of the JSON is renamed, removed or given another meaning.
SCHEMA = 1
Unbounded = Literal["past", "everything"]
# Of samples in Hz; beyond it, a slip of the pen.
HIGHEST_RATE = 1e9


@dataclass(frozen=True, repr=False)
class Axis:
    """The receptive field along one axis, in inputs (samples, frames or bins).

    Attributes:
        receptive_field: inputs from the first that an output reads to the last, the largest over the phases; None
            where it is unbounded.
        smallest_receptive_field: the smallest over the phases.
        history: how far back of the newest input of its own hop an output reads; None where it is unbounded.
        lookahead: how far beyond that input; None where it is unbounded.
        hop: inputs between outputs, the effective stride; below 1 where there are more outputs than inputs.
        unbounded: "past" (all that came before) or "everything"; None where the field is finite.
        start: first input that output 0 reads, negative where it lies in the padding; None where it is unbounded.
        end: last input that output 0 reads.
        warm_up: inputs at the start of which the outputs still read padding.
        dense: whether every input inside the field is read; None where the taps are not known one by one.
        density: share of the inputs inside the field that are read.
        holes: those that are not, for the widest phase, relative to the newest input of the output's own hop.
        field: the exact periodic map from outputs to inputs.
        taps: the exact tap sets, where they are known.
    """

    receptive_field: int | None
    smallest_receptive_field: int | None
    history: int | None
    lookahead: int | None
    hop: Fraction
    unbounded: Unbounded | None
    start: int | None
    end: int | None
    warm_up: int | None
    dense: bool | None
    density: float | None
    holes: tuple[int, ...]
    field: Field
    taps: Taps | None = None

    def __repr__(self) -> str:
        shown = ("receptive_field", "history", "lookahead", "hop", "unbounded", "dense")
        return f"Axis({', '.join(f'{name}={getattr(self, name)}' for name in shown)})"

    @classmethod
    def of(cls, field: Field, taps: Taps | None = None) -> "Axis":
        """The answer for a field and, where it is finite, its taps."""
        kind = _unbounded(field)
        start, end = field.at(0)
        phases = range(field.outputs)
        holes: tuple[int, ...] = ()
        dense = density = None
        if taps is not None and kind is None:
            widest = max(phases, key=lambda p: field.at(p)[1] - field.at(p)[0])
            holes = tuple(i - (field.inputs - 1) for i in taps.holes(widest))
            shares = [Fraction(taps.reached(p), int(b - a + 1)) for p in phases for a, b in [field.at(p)] if a <= b]
            density = float(min(shares, default=Fraction(1)))
            dense = density == 1.0
        return cls(
            receptive_field=_finite(field.receptive_field),
            smallest_receptive_field=_finite(field.smallest_receptive_field),
            history=_finite(field.history),
            lookahead=_finite(field.lookahead),
            hop=field.stride,
            unbounded=kind,
            start=_finite(start),
            end=_finite(end),
            warm_up=_warm_up(field),
            dense=dense,
            density=density,
            holes=holes,
            field=field,
            taps=taps,
        )

    def to_json(self, sample_rate: float | None = None) -> dict[str, Any]:
        """Plain values; with a sample rate (of this axis's inputs), the lengths in milliseconds too."""
        lengths = ("receptive_field", "smallest_receptive_field", "history", "lookahead", "warm_up")
        content: dict[str, Any] = {name: getattr(self, name) for name in lengths}
        content |= {
            "hop": number(self.hop),
            "unbounded": self.unbounded,
            "start": self.start,
            "end": self.end,
            "dense": self.dense,
            "density": self.density,
            "holes": list(self.holes),
            "period": {"outputs": self.field.outputs, "inputs": self.field.inputs},
            "phases": [
                {"output": p, "start": _finite(a), "end": _finite(b), "receptive_field": _finite(max(b - a + 1, 0))}
                for p in range(self.field.outputs)
                for a, b in [self.field.at(p)]
            ],
        }
        if sample_rate:
            values = {name: content[name] for name in lengths} | {"hop": float(self.hop)}
            content["ms"] = {k: None if v is None else v * 1000 / sample_rate for k, v in values.items()}
        return content


@dataclass(frozen=True)
class Axes:
    """The axes of the input that an answer is about; also by name, ``axes["time"]``."""

    time: Axis
    frequency: Axis | None = None

    def items(self) -> Iterator[tuple[str, Axis]]:
        """Names and axes, as far as there are any."""
        yield "time", self.time
        if self.frequency is not None:
            yield "frequency", self.frequency

    def __getitem__(self, name: str) -> Axis:
        return dict(self.items())[name]


@dataclass(frozen=True)
class Growth:
    """What one axis of a layer is, and how far the network reads along it from here, in inputs of the network.

    Attributes:
        kernel_size: of the layer; None where it has none.
        stride: of the layer.
        dilation: of the layer.
        receptive_field: after the layer; None where it is unbounded.
        history: likewise.
        lookahead: likewise.
        hop: inputs of the network between outputs of the layer.
        unbounded: as in :class:`Axis`.
    """

    kernel_size: int | None
    stride: int | None
    dilation: int | None
    receptive_field: int | None
    history: int | None
    lookahead: int | None
    hop: Fraction | None
    unbounded: Unbounded | None = None

    @classmethod
    def of(cls, field: Field, kernel_size: int | None, stride: int | None, dilation: int | None) -> "Growth":
        """The growth after a layer of these sizes, from the field up to it."""
        span, history, lookahead = _finite(field.receptive_field), _finite(field.history), _finite(field.lookahead)
        return cls(kernel_size, stride, dilation, span, history, lookahead, field.stride, _unbounded(field))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.__dict__, "hop": None if self.hop is None else number(self.hop)}


@dataclass(frozen=True)
class Row:
    """A row of the table of growth.

    Attributes:
        name: of the layer: its path in the module, where there is one.
        kind: what it is, in a word.
        time: growth along time.
        frequency: growth along frequency.
        parameters: learned values of the layer.
        state_values: values that a stream keeps for it.
        macs_per_sample: multiply-accumulates for each input sample of the network.
    """

    name: str
    kind: str
    time: Growth
    frequency: Growth | None = None
    parameters: int = 0
    state_values: int | None = 0
    macs_per_sample: float | None = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values, those of the time axis on the top level."""
        content = {"name": self.name, "kind": self.kind, **self.time.to_json(), "parameters": self.parameters}
        content |= {"state_values": self.state_values, "macs_per_sample": self.macs_per_sample}
        if self.frequency is not None:
            content["frequency"] = self.frequency.to_json()
        return content


@dataclass(frozen=True, repr=False)
class Answer:
    """A receptive field with all that belongs to it.

    Attributes:
        axes: the field along time and, for spectrograms, frequency.
        layers: how it grows, layer by layer.
        parameters: learned values.
        state_values: values that a stream keeps from one chunk to the next; None where they are without bound.
        state_bytes: the same in bytes.
        macs_per_sample: multiply-accumulates for each input sample; None where they are not known.
        sample_rate: of the input in Hz, where it was given.
        sigma: standard deviation, in inputs, of the effective field along time with uniform weights (Luo et al. 2016,
            arXiv:1701.04128); None where there is no such formula.
        measured: standard deviation and width of the effective field along time that was measured on the module with
            its own weights; None where it was not.
        notes: what a reader must know.
        verification: what was measured on the module, and agreed; None where nothing was.
        exact: whether the field is what is read; False where it is an upper bound, as the notes say.
    """

    axes: Axes
    layers: tuple[Row, ...] = ()
    parameters: int = 0
    state_values: int | None = 0
    state_bytes: int | None = 0
    macs_per_sample: float | None = None
    sample_rate: float | None = None
    sigma: float | None = None
    measured: dict[str, float] | None = None
    notes: tuple[str, ...] = ()
    verification: dict[str, Any] | None = None
    exact: bool = True

    def __post_init__(self) -> None:
        if self.sample_rate is not None:
            bounded_number("sample_rate", self.sample_rate, 0, HIGHEST_RATE, above=True)

    def __str__(self) -> str:
        """The table that ``wavedil rf`` prints."""
        from wavedil.receptive.text import terminal_width, text

        return text(self, width=terminal_width())

    def __repr__(self) -> str:
        axes = ", ".join(f"{name}={axis!r}" for name, axis in self.axes.items())
        return f"Answer({axes}, layers={len(self.layers)}, parameters={self.parameters}, exact={self.exact})"

    @property
    def receptive_field(self) -> int | None:
        """Along time; see :class:`Axis`."""
        return self.axes.time.receptive_field

    @property
    def history(self) -> int | None:
        """Along time; see :class:`Axis`."""
        return self.axes.time.history

    @property
    def lookahead(self) -> int | None:
        """Along time; see :class:`Axis`."""
        return self.axes.time.lookahead

    @property
    def hop(self) -> Fraction:
        """Along time; see :class:`Axis`."""
        return self.axes.time.hop

    @property
    def unbounded(self) -> Unbounded | None:
        """Along time; see :class:`Axis`."""
        return self.axes.time.unbounded

    @property
    def macs_per_second(self) -> float | None:
        """Multiply-accumulates for each second of input; None without a sample rate."""
        if self.macs_per_sample is None or self.sample_rate is None:
            return None
        return self.macs_per_sample * self.sample_rate

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``wavedil rf --json`` prints them; docs/receptive_fields.md describes the keys."""
        rates = {"time": self.sample_rate}
        return {
            "schema": SCHEMA,
            "sample_rate": self.sample_rate,
            "axes": {name: axis.to_json(rates.get(name)) for name, axis in self.axes.items()},
            "parameters": self.parameters,
            "state_values": self.state_values,
            "state_bytes": self.state_bytes,
            "macs_per_sample": self.macs_per_sample,
            "macs_per_second": self.macs_per_second,
            "effective": {"sigma": self.sigma, "measured": self.measured},
            "exact": self.exact,
            "layers": [row.to_json() for row in self.layers],
            "notes": list(self.notes),
            "verification": self.verification,
        }


def number(value: Fraction) -> int | float:
    """A fraction as JSON has it."""
    return value.numerator if value.denominator == 1 else float(value)


def _unbounded(field: Field) -> Unbounded | None:
    if math.inf in field.ends:
        return "everything"
    return "past" if -math.inf in field.starts else None


def _warm_up(field: Field) -> int | None:
    """Inputs that belong to the first outputs, up to the last one that reads something before the start."""
    if -math.inf in field.starts:
        return None
    reading = [
        field.outputs * -int(start // field.inputs) - field.outputs + p + 1
        for p, start in enumerate(field.starts)
        if start < 0
    ]
    return math.ceil(max(reading, default=0) * field.stride)


def _finite(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None
