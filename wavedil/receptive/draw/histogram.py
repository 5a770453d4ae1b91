"""The tap histogram: over how many paths an output reads each sample, and which samples in between it does not read.

Offsets count samples from the output: 0 is its own newest sample, the past is negative. Numbers of paths are whole
numbers of any size: a thousand layers have more of them than a float can hold.
"""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wavedil.receptive.draw.figure import (
    BLUE,
    ORANGE,
    VERMILION,
    axis_of_samples,
    new_figure,
    picture_path,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Taps = Mapping[int, int] | Sequence[tuple[int, int]] | Set[int]

# The scale is logarithmic where half of the bars would otherwise be lower than this part of the highest, or a number
# comes near the largest float.
_VISIBLE, _LARGEST = 100, 10**200

# Beyond this many samples a bar of a picture stands for several.
_BARS = 10_000

_BLOCKS = " ▁▂▃▄▅▆▇█"


class _Column(NamedTuple):
    """Neighbouring samples that share a bar."""

    start: int
    samples: int
    read: int
    largest: int


@dataclass(frozen=True)
class _Histogram:
    """Paths by offset, ascending; every number is positive. Where they are not counted, it is 1 and not shown."""

    paths: dict[int, int]
    counted: bool

    @classmethod
    def of(cls, taps: Taps) -> "_Histogram":
        counted = not isinstance(taps, Set)
        paths = dict(sorted((dict.fromkeys(taps, 1) if isinstance(taps, Set) else dict(taps)).items()))
        for offset, count in paths.items():
            if count < 0:
                raise ValueError(f"tap {offset}: the number of paths must be at least 0, got {count}")
        paths = {offset: count for offset, count in paths.items() if count}
        if not paths:
            raise ValueError("expected at least one sample that is read, got none")
        return cls(paths, counted)

    @property
    def ends(self) -> tuple[int, int]:
        return min(self.paths), max(self.paths)

    @property
    def largest(self) -> int:
        return max(self.paths.values())

    @property
    def logarithmic(self) -> bool:
        counts = sorted(self.paths.values())
        return counts[-1] > min(_VISIBLE * counts[len(counts) // 2], _LARGEST)

    def columns(self, most: int) -> list[_Column]:
        """Bars for all samples, at most so many."""
        first, last = self.ends
        size = -(-(last - first + 1) // most)
        columns = []
        for start in range(first, last + 1, size):
            counts = [self.paths.get(x, 0) for x in range(start, min(start + size, last + 1))]
            columns.append(_Column(start, len(counts), len(counts) - counts.count(0), max(counts)))
        return columns

    @property
    def summary(self) -> str:
        first, last = self.ends
        read, span = len(self.paths), last - first + 1
        return f"one output reads {read:,} of {span:,} samples, holes: {span - read:,} of {span:,}"

    @property
    def centre(self) -> list[str]:
        """Where the paths lead when at most a fortieth of them is left out on either side; nothing if not counted."""
        if not self.counted:
            return []
        total = sum(self.paths.values())
        ends = []
        for offsets in (self.paths, reversed(self.paths)):
            left_out = 0
            for offset in offsets:
                left_out += self.paths[offset]
                if left_out * 40 > total:
                    ends.append(offset)
                    break
        first, last = ends
        return [f"95 % of the paths lead to the {last - first + 1:,} samples from {first:,} to {last:,}"]


def histogram_text(taps: Taps, width: int = 80, height: int = 8) -> str:
    """The histogram as terminal text; "x" below the axis marks a hole.

    Args:
        taps: number of paths by offset, or pairs of both, or a set of offsets, of which no paths are counted; offsets
            without a path are holes.
        width: columns; of a wider field a column shows the largest of several samples.
        height: rows of the bars.

    Raises:
        ValueError: if no sample is read, a number of paths is negative, or there is no room.

    Example:
        >>> print(histogram_text({-4: 1, -2: 2, 0: 1}, width=24, height=2))
        paths to each sample
        2 ┤        ███
          │███     ███     ███
        0 └───────────────────
                x       x
           -4                0
        one output reads 3 of 5 samples, holes: 2 of 5
        95 % of the paths lead to the 5 samples from -4 to 0
        x: a hole
    """
    histogram = _Histogram.of(taps)
    top, bottom = _number(histogram.largest), "1" if histogram.logarithmic else "0"
    room = width - len(top) - 2
    if room < 10 or height < 1:
        raise ValueError(f"width must be at least {len(top) + 12} and height 1, got {width} and {height}")
    columns = histogram.columns(room)
    step = min(4, max(1, room // len(columns)))
    bar = max(step - 1, 1)  # a gap to the next one where there is room
    levels = [_level(column.largest, histogram, 8 * height) for column in columns]
    rows = [
        "".join((_BLOCKS[min(max(level - 8 * row, 0), 8)] * bar).ljust(step) for level in levels)
        for row in reversed(range(height))
    ]
    marks = "".join(_mark(column).center(bar).ljust(step) for column in columns)
    used = len(columns) * step - (step - bar)
    first, last = histogram.ends
    margin = " " * len(top)
    lines = [
        _heading(histogram, columns),
        f"{top} ┤{rows[0]}",
        *(f"{margin} │{row}" for row in rows[1:]),
        f"{bottom:>{len(top)}} └{'─' * used}",
        *([f"{margin}  {marks}"] if marks.strip() else []),
        f"{margin}  {first}" + (f" {last}".rjust(used - len(str(first))) if last > first else ""),
        histogram.summary,
        *histogram.centre,
        *(["x: a hole"] if "x" in marks else []),
        *(["·: holes among the samples of a column"] if "·" in marks else []),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _heading(histogram: _Histogram, columns: Sequence[_Column]) -> str:
    scale = " (log scale)" if histogram.logarithmic else ""
    samples = columns[0].samples
    if not histogram.counted:
        return "samples that are read" + (f", {samples:,} in a column" if samples > 1 else "")
    return f"paths to each sample{scale}" + (f", the largest of {samples:,} samples" if samples > 1 else "")


def _level(count: int, histogram: _Histogram, eighths: int) -> int:
    """Height of a bar in eighths of a row: 0 only for a hole."""
    if count == 0:
        return 0
    if histogram.logarithmic:
        return 1 + round((eighths - 1) * math.log(count) / math.log(histogram.largest))
    return max(1, round(eighths * (count / histogram.largest)))


def _mark(column: _Column) -> str:
    return "x" if column.read == 0 else " " if column.read == column.samples else "·"


def _number(count: int) -> str:
    return f"{count:,}" if count < 10**7 else f"{Decimal(count):.1e}"


def save_histogram(
    taps: Taps,
    path: str | Path,
    sample_rate: int | None = None,
    *,
    mean: float | None = None,
    sigma: float | None = None,
) -> None:
    """Draw the histogram: a bar for each sample that is read, holes tinted, the effective field as a Gaussian over it.

    The Gaussian has as many paths as the bars: Luo et al. 2016, arXiv:1701.04128. Beyond 10,000 samples a bar is the
    largest of several, and tinted where there is a hole among them.

    Args:
        taps: number of paths by offset, or pairs of both, or a set of offsets, of which no paths are counted; offsets
            without a path are holes.
        path: of a PNG or SVG.
        sample_rate: in Hz, for a second axis in milliseconds.
        mean: centre of the effective field, an offset; given with ``sigma``.
        sigma: its standard deviation in samples; 0 draws nothing.

    Raises:
        ValueError: if no sample is read, a number of paths or sigma is negative, the sample rate is not positive, only
            one of ``mean`` and ``sigma`` is given, or the path ends otherwise.
        FileNotFoundError: if the folder does not exist.
        ModuleNotFoundError: if matplotlib is not installed; the message says how to install it.
    """
    path = picture_path(path)
    histogram = _Histogram.of(taps)
    if (mean is None) != (sigma is None):
        raise ValueError(f"expected both mean and sigma or neither, got {mean} and {sigma}")
    if sigma is not None and sigma < 0:
        raise ValueError(f"sigma must be at least 0, got {sigma}")
    if sample_rate is not None and sample_rate <= 0:
        raise ValueError(f"sample_rate must be above 0, got {sample_rate}")
    figure = new_figure(9, 4)
    axes = figure.add_subplot()
    _draw_bars(axes, histogram)
    if mean is not None and sigma:
        _draw_gaussian(axes, histogram, mean, sigma)
    axes.set_title("\n".join([histogram.summary, *histogram.centre]), fontsize="medium")
    axes.spines[["right", "top"]].set_visible(False)
    if sample_rate:
        import numpy as np

        milliseconds = (lambda x: np.multiply(x, 1000 / sample_rate), lambda x: np.multiply(x, sample_rate / 1000))
        axes.secondary_xaxis("top", functions=milliseconds).set_xlabel(f"ms at {sample_rate:,} Hz")
    if len(axes.get_legend_handles_labels()[0]) > 1:
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, path)


def _draw_bars(axes: "Axes", histogram: _Histogram) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    columns = histogram.columns(_BARS)
    gap = 0.1 if len(columns) < 200 else 0  # thinner bars touch
    # Logarithms are drawn, on a linear axis: there are more paths than a float, and so a log axis, can hold.
    floor, height = (-0.3, math.log10) if histogram.logarithmic else (0.0, float)
    edges, heights = [], []
    for start, samples, _, largest in columns:
        edges += [start - 0.5 + gap, start - 0.5 + samples - gap]
        heights += [height(largest) if largest else floor, floor]
    axes.stairs(
        heights[:-1],
        edges,
        baseline=floor,
        fill=True,
        color=BLUE,
        label="paths" if histogram.counted else "read",
        zorder=2,
    )
    if holes := [(start - 0.5, samples) for start, samples, read, _ in columns if read < samples]:
        whole = axes.get_xaxis_transform()  # from the bottom of the picture to its top
        # Snapped to pixels, holes that are thinner would make stripes that are not there.
        style = {"facecolor": ORANGE, "alpha": 0.3, "linewidth": 0, "snap": False, "label": "holes"}
        axes.broken_barh(holes, (0, 1), transform=whole, **style)
    axis_of_samples(axes, *histogram.ends)
    axes.margins(y=0.05)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True) if histogram.counted else NullLocator())
    axes.set_ylabel(_heading(histogram, columns).replace(", ", ",\n"))
    if histogram.logarithmic:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"$10^{{{round(y)}}}$"))


def _draw_gaussian(axes: "Axes", histogram: _Histogram, mean: float, sigma: float) -> None:
    first, last = histogram.ends
    peak = math.log10(sum(histogram.paths.values())) - math.log10(sigma * math.sqrt(2 * math.pi))
    x = [first + (last - first) * step / 500 for step in range(501)]
    y = [peak - ((offset - mean) / sigma) ** 2 / 2 * math.log10(math.e) for offset in x]
    label = f"effective field: mean {mean:,.1f}, sigma {sigma:,.1f} samples"
    axes.plot(
        x, y if histogram.logarithmic else [10**b for b in y], color=VERMILION, linewidth=2, label=label, zorder=3
    )
