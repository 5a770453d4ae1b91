"""The answer for a chain of described layers."""

import math
from collections.abc import Iterable, Sequence

from wavedil.receptive.answer import Answer, Axes, Axis, Growth, Row
from wavedil.receptive.arithmetic import Field
from wavedil.receptive.description import Geometry, Layer, chained_fields

_TOO_WIDE = "the field is too wide to list its taps one by one: dense and holes are not known"

_BOUND = "behind a transposed layer whose kernel leaves gaps the field is an upper bound"


def answer_for(
    layers: Sequence[Layer],
    *,
    sample_rate: float | None = None,
    value_bytes: int = 4,
    notes: Sequence[str] = (),
) -> Answer:
    """The answer for a chain of described layers.

    Args:
        layers: from the input to the output.
        sample_rate: of the input, in Hz.
        value_bytes: bytes of a value of the state.
        notes: carried into the answer.

    Raises:
        ValueError: if there is no layer.
    """
    if not layers:
        raise ValueError("expected at least one layer, got none")
    fields, taps = chained_fields([layer.time for layer in layers])
    bands = [layer.frequency for layer in layers if layer.frequency is not None]
    all_band_fields, band_taps = chained_fields(bands)
    band_fields = iter(all_band_fields)
    rows, band_field = [], Field.identity()
    for layer, field in zip(layers, fields, strict=True):
        if layer.frequency is not None:
            band_field = next(band_fields)
        rows.append(_row(layer, field, band_field if bands else None))
    state = sum(layer.state_values for layer in layers)
    # Of transposed layers with gaps, an interval that is composed may hold outputs that read nothing.
    bound = (taps is None and _has_gaps(layer.time for layer in layers)) or (band_taps is None and _has_gaps(bands))
    return Answer(
        axes=Axes(
            Axis.of(fields[-1], taps),
            Axis.of(band_field, band_taps) if bands else None,
        ),
        layers=tuple(rows),
        parameters=sum(layer.parameters for layer in layers),
        state_values=state,
        state_bytes=state * value_bytes,
        macs_per_sample=sum(row.macs_per_sample or 0.0 for row in rows),
        sample_rate=sample_rate,
        sigma=effective_sigma(layers),
        notes=(*notes, *([_TOO_WIDE] if taps is None else []), *([_BOUND] if bound else [])),
        exact=not bound,
    )


def _has_gaps(geometries: Iterable[Geometry]) -> bool:
    return any(g.transposed and (g.kernel_size < g.stride or g.dilation > 1) for g in geometries)


def effective_sigma(layers: Sequence[Layer]) -> float | None:
    """Standard deviation of the effective field of a chain with uniform weights, in inputs, along time.

    Each layer adds the variance of its taps, ``(dilation * hop)^2 (kernel_size^2 - 1) / 12``. Source: Luo, Li, Urtasun
    and Zemel 2016, arXiv:1701.04128. Residual branches are left out: they draw the field in further. None with a
    transposed layer, whose outputs differ in the number of their taps.
    """
    if any(layer.time.transposed for layer in layers):
        return None
    variance, hop = 0, 1
    for time in (layer.time for layer in layers):
        variance += (time.dilation * hop) ** 2 * (time.kernel_size**2 - 1)
        hop *= time.stride
    return math.sqrt(variance / 12)


def _row(layer: Layer, field: Field, band_field: Field | None) -> Row:
    time, band = layer.time, layer.frequency
    frequency = None
    if band_field is not None:
        frequency = Growth.of(band_field, *((band.kernel_size, band.stride, band.dilation) if band else (None,) * 3))
    return Row(
        name=layer.name,
        kind=layer.kind,
        time=Growth.of(field, time.kernel_size, time.stride, time.dilation),
        frequency=frequency,
        parameters=layer.parameters,
        state_values=layer.state_values,
        macs_per_sample=float(layer.macs / field.stride),
    )
