"""Answers as a person reads them at a terminal."""

import math
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Literal

from wavedil.receptive.answer import Answer, Axis, Growth, Row

# Longer tables are shown without their middle.
_MOST_ROWS = 40
# Columns of the labels before the values.
_INDENT = 17
_NUMERIC = ("kernel", "stride", "dilation", "field", "hop", "lookahead", "parameters")
_UNBOUNDED = {"past": "the whole past", "everything": "everything"}


def text(answer: Answer, *, layers: Literal["some", "all", "none"] = "some", output: int = 0, width: int = 100) -> str:
    """The answer as aligned lines: the axes, the costs, the growth layer by layer, the notes.

    Args:
        answer: what was computed.
        layers: rows of the table of growth: "some" leaves out the middle of a long one.
        output: number of the output whose first and last input are named.
        width: columns; only numbers that cannot be shortened go beyond it.

    Example:
        >>> from wavedil.receptive.stack import stack
        >>> print(text(stack(3, [1, 2]), layers="none"))
        receptive field  7 samples
        history          6 samples
        lookahead        0 samples
        hop              1 sample
        warm-up          6 samples
        output 0 reads   -6 to 0
        holes            none, every sample is read
        effective width  sigma 1.826 samples, with uniform weights
        parameters       8
        MACs             6 per sample
        streaming state  6 values, 24 bytes
    """
    parts = []
    for name, axis in answer.axes.items():
        lines = _labelled(_axis_lines(name, axis, answer, output), width)
        parts.append(f"{name}\n{textwrap.indent(lines, '  ')}" if answer.axes.frequency else lines)
    costs = _labelled(_cost_lines(answer), width)
    parts = [*parts, costs] if answer.axes.frequency else ["\n".join([*parts, costs])]
    if layers != "none" and answer.layers:
        parts.append(table(answer.layers, width=width, most=None if layers == "all" else _MOST_ROWS))
    if answer.verification is not None:
        parts.append(_verified(answer.verification, answer.exact))
    notes = [textwrap.fill(f"note: {note}", width, subsequent_indent="  ") for note in answer.notes]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def terminal_width() -> int:
    """Columns of the terminal, 100 where there is none, and never fewer than a table needs."""
    return max(shutil.get_terminal_size((100, 24)).columns, 60)


def _verified(found: dict[str, Any], exact: bool) -> str:
    """What was measured, in a line; of an upper bound, that it is no more."""
    if not exact:
        return (
            f"measured: {_count(found['outputs'], 'output')} within the bound, on {_count(found['length'], 'sample')} "
            "of input; whether less is read is not known"
        )
    what = "input by input" if found["taps"] else "first and last input"
    return (
        f"verified: gradients of {_count(found['outputs'], 'output')} ({what}) and NaN probes of {found['probed']} "
        f"agree, on {_count(found['length'], 'sample')} of input"
    )


def table(rows: Sequence[Row], *, width: int = 100, most: int | None = None) -> str:
    """How the receptive field grows, a row a layer, sizes of two axes as frequency x time.

    Args:
        rows: of the answer.
        width: columns; long names lose their beginning.
        most: of a longer table the middle is left out; None shows all.
    """
    left_out = 0 if most is None or len(rows) <= most else len(rows) - most
    head = (len(rows) - left_out + 1) // 2
    shown = [*rows[:head], *rows[head + left_out :]]
    cells = [("layer", "kind", *_NUMERIC), *(_cells(row) for row in shown)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    widths[0] = min(widths[0], max(width - sum(widths[1:]) - 2 * len(widths[1:]), len("layer") + 7))
    lines = ["  ".join(map(_cell, row, widths, range(len(row)))) for row in cells]
    if left_out:
        lines.insert(head + 1, f"... {_count(left_out, 'more layer')} ...")
    if any(row.frequency for row in rows):
        lines.append("sizes are frequency x time, lookahead along time")
    return "\n".join(line.rstrip() for line in lines)


def _axis_lines(name: str, axis: Axis, answer: Answer, output: int) -> Iterator[tuple[str, str]]:
    """Labels and values."""
    unit = "bin" if name == "frequency" else _unit(answer)
    rate = answer.sample_rate if name == "time" else None

    def length(value: Fraction | int | None) -> tuple[str, str]:
        if value is None:
            return (_UNBOUNDED[axis.unbounded or "everything"], "")
        words = _count(value, unit)
        return words, f"{_short(float(value) * 1000 / rate)} ms" if rate else ""

    field = length(axis.receptive_field)
    if axis.receptive_field and axis.smallest_receptive_field != axis.receptive_field:
        field = (field[0], f"{field[1]} ({axis.smallest_receptive_field:,} at the least, by phase)".strip())
    lines = {"receptive field": field}
    if name == "time":
        lines |= {"history": length(axis.history), "lookahead": length(axis.lookahead)}
    lines["hop"] = length(axis.hop)
    if name == "time":
        lines["warm-up"] = length(axis.warm_up)
    yield from _aligned(lines)
    number = output if name == "time" else 0
    yield f"output {number:,} reads", _span(*axis.field.at(number))
    yield "holes", _holes(axis, unit)


def _aligned(lines: dict[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Values below each other: numbers to the right, their units and milliseconds in columns of their own."""
    split = {label: (value if value[:1].isdigit() else "").partition(" ") for label, (value, _) in lines.items()}
    numbers = max(len(number) for number, _, _ in split.values())
    units = max(len(unit) for _, _, unit in split.values())
    for label, (value, more) in lines.items():
        number, _, unit = split[label]
        yield label, (f"{number:>{numbers}} {unit:<{units}}  {more}" if number else value).rstrip()


def _cost_lines(answer: Answer) -> Iterator[tuple[str, str]]:
    if answer.sigma is not None:
        ms = f", {_short(answer.sigma * 1000 / answer.sample_rate)} ms" if answer.sample_rate else ""
        yield "effective width", f"sigma {_short(answer.sigma)} {_unit(answer)}s{ms}, with uniform weights"
    if answer.measured is not None:
        sigma, width = answer.measured["sigma"], int(answer.measured["width95"])
        yield "measured width", f"sigma {_short(sigma)} {_unit(answer)}s, 95% of the gradient within {width:,}"
    yield "parameters", f"{answer.parameters:,}"
    if answer.macs_per_sample is not None:
        second = "" if answer.macs_per_second is None else f", {answer.macs_per_second:,.0f} per second"
        yield "MACs", f"{_short(answer.macs_per_sample)} per {_unit(answer)}{second}"
    if answer.state_values is None:
        yield "streaming state", "without bound"
    elif answer.state_values:
        size = "" if answer.state_bytes is None else f", {_count(answer.state_bytes, 'byte')}"
        yield "streaming state", f"{_count(answer.state_values, 'value')}{size}"
    else:
        yield "streaming state", "none"


def _labelled(lines: Iterable[tuple[str, str]], width: int) -> str:
    indent = " " * _INDENT
    return "\n".join(
        textwrap.fill(f"{label:<{_INDENT - 1}} {value}", width, subsequent_indent=indent, break_long_words=False)
        if len(value) > width - _INDENT
        else f"{label:<{_INDENT - 1}} {value}"
        for label, value in lines
    )


def _holes(axis: Axis, unit: str) -> str:
    if axis.unbounded:
        return "not known, the field has no bound"
    if axis.density is None or axis.receptive_field is None:
        return "not known"
    if axis.dense:
        return f"none, every {unit} is read"
    share = f"{min(100 * axis.density, 99.99):.4g}%"
    if not axis.holes:
        return f"none in the widest phase, but one phase reads only {share} of its {unit}s"
    return f"{len(axis.holes):,} of {axis.receptive_field:,} {unit}s, {share} are read: {_ranges(axis.holes)}"


def _ranges(numbers: Sequence[int], most: int = 12) -> str:
    """Runs of numbers as ranges, without the middle where there are many."""
    # Only runs near either end are looked at: there may be millions.
    few = numbers if len(numbers) <= 10_000 else (*numbers[:5_000], *numbers[-5_000:])
    runs: list[tuple[int, int]] = []
    for number in few:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    words = [f"{a:,}" if a == b else f"{a:,} to {b:,}" for a, b in runs]
    if len(words) > most:
        words = [*words[: most // 2], "...", *words[-most // 2 :]]
    return ", ".join(words)


def _span(start: float, end: float) -> str:
    if start > end:
        return "nothing"
    if math.isinf(start):
        return "everything" if math.isinf(end) else f"all up to {end:,}"
    return f"{start:,} to {end:,}" if math.isfinite(end) else f"all from {start:,}"


def _cells(row: Row) -> tuple[str, ...]:
    time, band = row.time, row.frequency

    def both(name: str) -> str:
        along, across = _size(time, name), None if band is None else _size(band, name)
        return along if across is None or across == "-" else f"{across}x{along}"

    fields = ("kernel_size", "stride", "dilation", "receptive_field", "hop")
    ahead = _size(time, "lookahead")
    return row.name, row.kind, *(both(name) for name in fields), ahead, f"{row.parameters:,}"


def _size(growth: Growth, name: str) -> str:
    value = getattr(growth, name)
    if value is not None:
        return _number(value)
    if name in ("receptive_field", "lookahead") and growth.unbounded:
        return {"past": "past", "everything": "all"}[growth.unbounded]
    return "-"


def _cell(cell: str, size: int, column: int) -> str:
    if column == 0 and len(cell) > size:
        cell = f"...{cell[3 - size :]}"
    return cell.rjust(size) if column > 1 else cell.ljust(size)


def _unit(answer: Answer) -> str:
    """What time is counted in: a network over spectrograms counts frames, unless it frames samples itself."""
    frames = answer.axes.frequency is not None and not any(row.kind == "framing" for row in answer.layers)
    return "frame" if frames else "sample"


def _count(value: int | Fraction, unit: str) -> str:
    return f"{_number(value)} {unit}{'' if 0 < value <= 1 else 's'}"


def _number(value: int | Fraction) -> str:
    """With commas; a fraction as it is, 1/4."""
    numerator, denominator = value.as_integer_ratio()
    return f"{numerator:,}" if denominator == 1 else f"{numerator:,}/{denominator:,}"


def _short(value: float) -> str:
    """Four digits that say something, all of them before the point, and no zeros at the end."""
    digits = 0 if value == 0 else max(3 - math.floor(math.log10(abs(value))), 0)
    number = f"{value:,.{min(digits, 6)}f}"
    return number.rstrip("0").rstrip(".") if "." in number else number
