"""The field of one output over a mel spectrogram, with axes in milliseconds and Hz.

Frame n stands for the time from ``n * hop_seconds`` to ``(n + 1) * hop_seconds``. A field may reach beyond the
spectrogram, minus infinity being the whole past; what lies outside is not drawn, and its box stays open there.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wavedil.receptive.draw.figure import BLUE, ORANGE, SKY, new_figure, picture_path, save_figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

Range = tuple[float, float]

_SHADES = " ░▒▓█"

# Frequencies that are labelled where the bands hold them.
_ROUND_HZ = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)


@dataclass(frozen=True)
class _Scene:
    """What the picture and the text show."""

    energies: "np.ndarray"  # (n_mels, frames), 0 for the quietest twentieth, 1 for the loudest
    time: Range
    frequency: Range
    output: tuple[int, int]
    hop_ms: float
    centres: Sequence[float]

    @classmethod
    def of(
        cls,
        spectrogram: "np.ndarray",
        field_time: Range,
        field_frequency: Range,
        output: tuple[int, int],
        hop_seconds: float,
        band_edges_hz: Sequence[float],
    ) -> "_Scene":
        energies = _scaled(spectrogram)
        n_mels, frames = energies.shape
        bands = [float(hz) for hz in band_edges_hz]
        if len(bands) not in (n_mels, n_mels + 2) or bands != sorted(set(bands)):
            expected = f"{n_mels + 2} ascending edges or {n_mels} ascending centres"
            raise ValueError(f"band_edges_hz must be {expected}, got {len(bands)} values")
        for name, (first, last) in (("field_time", field_time), ("field_frequency", field_frequency)):
            if not first <= last:
                raise ValueError(f"{name} must not end before it begins, got {first} to {last}")
        if not (0 <= output[0] < n_mels and 0 <= output[1] < frames):
            raise ValueError(f"output must be a band below {n_mels} and a frame below {frames}, got {tuple(output)}")
        if not hop_seconds > 0:
            raise ValueError(f"hop_seconds must be above 0, got {hop_seconds}")
        centres = bands if len(bands) == n_mels else bands[1:-1]
        return cls(energies, field_time, field_frequency, output, hop_seconds * 1000, centres)

    @property
    def title(self) -> str:
        band, frame = self.output
        return f"the output at {frame * self.hop_ms:,.0f} ms, {self.centres[band]:,.0f} Hz reads {self._extent}"

    @property
    def _extent(self) -> str:
        first, last = self.time
        start = "the whole past" if first == -math.inf else f"{first * self.hop_ms:,.0f}"
        end = "the whole future" if last == math.inf else f"{(last + 1) * self.hop_ms:,.0f} ms"
        low, high = (self.centres[int(min(max(band, 0), len(self.centres) - 1))] for band in self.frequency)
        return f"{start} to {end}, {low:,.0f} to {high:,.0f} Hz"

    def labelled(self) -> list[tuple[float, int]]:
        """Round frequencies with their places among the bands; a place may lie between two bands."""
        import numpy as np

        round_hz = [hz for hz in _ROUND_HZ if self.centres[0] <= hz <= self.centres[-1]]
        places = np.interp(round_hz, self.centres, np.arange(len(self.centres)))
        labels: list[tuple[float, int]] = []
        for place, hz in zip(places.tolist(), round_hz, strict=True):
            if not labels or place - labels[-1][0] > 0.045 * len(self.centres):  # others would touch
                labels.append((place, hz))
        return labels


def _scaled(spectrogram: "np.ndarray") -> "np.ndarray":
    """Energies from 0, for the quietest twentieth and digital silence, to 1, for the loudest."""
    import numpy as np

    energies = np.asarray(spectrogram, dtype=np.float64)
    if energies.ndim != 2 or energies.size == 0:
        raise ValueError(f"spectrogram must be (n_mels, frames), neither of them 0, got {energies.shape}")
    finite = energies[np.isfinite(energies)]
    # The logarithm of silence is minus infinity: that alone may stand beside finite energies.
    if finite.size + np.isneginf(energies).sum() < energies.size:
        raise ValueError("spectrogram must hold finite energies, got NaN or infinity")
    low, high = (np.percentile(finite, 5), finite.max()) if finite.size else (0.0, 0.0)
    return np.clip((np.maximum(energies, low) - low) / max(high - low, 1e-9), 0, 1)


def save_field(
    spectrogram: "np.ndarray",
    path: str | Path,
    *,
    field_time: Range,
    field_frequency: Range,
    output: tuple[int, int],
    hop_seconds: float,
    band_edges_hz: Sequence[float],
    taps: Iterable[tuple[int, int]] | None = None,
) -> None:
    """Draw the box of a field, its output and, where given, the very taps over a mel spectrogram.

    Args:
        spectrogram: log energies, ``(n_mels, frames)``.
        path: of a PNG or SVG.
        field_time: first and last frame that the output reads.
        field_frequency: first and last band that it reads.
        output: its band and frame.
        hop_seconds: from one frame to the next.
        band_edges_hz: the ``n_mels + 2`` corners of overlapping bands, or their ``n_mels`` centres.
        taps: pairs of a band and a frame that are read, where the box has holes.

    Raises:
        ValueError: if the sizes do not fit each other, an energy is not a number, or the path ends otherwise.
        FileNotFoundError: if the folder does not exist.
        ModuleNotFoundError: if matplotlib is not installed; the message says how to install it.
    """
    path = picture_path(path)
    scene = _Scene.of(spectrogram, field_time, field_frequency, output, hop_seconds, band_edges_hz)
    figure = new_figure(9, 4.5)
    axes = figure.add_subplot()
    n_mels, frames = scene.energies.shape
    extent = (0, frames * scene.hop_ms, -0.5, n_mels - 0.5)
    axes.imshow(scene.energies, origin="lower", aspect="auto", extent=extent, cmap="gray_r", vmax=1.15)
    _draw_box(axes, scene)
    if taps is not None:
        bands, tap_frames = zip(*sorted(taps), strict=True) if (taps := set(taps)) else ((), ())
        x = [(frame + 0.5) * scene.hop_ms for frame in tap_frames]
        axes.plot(x, bands, "o", color=SKY, markeredgecolor="black", markeredgewidth=0.5, markersize=4, label="taps")
    band, frame = scene.output
    style = {"markersize": 11, "markeredgecolor": "black", "color": ORANGE, "label": "output"}
    axes.plot((frame + 0.5) * scene.hop_ms, band, "o", **style)
    # A margin keeps the box visible where it ends with the spectrogram.
    axes.set_xlim(-0.01 * extent[1], 1.01 * extent[1])
    axes.set_ylim(-0.5 - 0.02 * n_mels, n_mels - 0.5 + 0.02 * n_mels)
    places = scene.labelled()
    axes.set_yticks([place for place, _ in places], [f"{hz:,}" for _, hz in places])
    axes.set_xlabel("ms")
    axes.set_ylabel("Hz")
    axes.set_title(scene.title, fontsize="medium")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, path)


def _draw_box(axes: "Axes", scene: _Scene) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    n_mels, frames = scene.energies.shape
    # Ends outside, infinite ones too, are put where they are not seen.
    left, right = (min(max(end, -frames), 2 * frames) * scene.hop_ms for end in (scene.time[0], scene.time[1] + 1))
    low, high = (min(max(end, -n_mels), 2 * n_mels) - 0.5 for end in (scene.frequency[0], scene.frequency[1] + 1))
    box = Rectangle((left, low), right - left, high - low, fill=False, edgecolor=BLUE, linewidth=2.5, label="field")
    box.set_path_effects([withStroke(linewidth=4.5, foreground="white")])
    axes.add_patch(box)


def field_text(
    spectrogram: "np.ndarray",
    *,
    field_time: Range,
    field_frequency: Range,
    output: tuple[int, int],
    hop_seconds: float,
    band_edges_hz: Sequence[float],
    width: int = 80,
    height: int = 24,
) -> str:
    """The field over the spectrogram as terminal text: shades for energies, a box for the field, "●" for the output.

    Args:
        spectrogram: log energies, ``(n_mels, frames)``.
        field_time: first and last frame that the output reads.
        field_frequency: first and last band that it reads.
        output: its band and frame.
        hop_seconds: from one frame to the next.
        band_edges_hz: the ``n_mels + 2`` corners of overlapping bands, or their ``n_mels`` centres.
        width: columns; of a longer spectrogram a column shows the mean of several frames.
        height: rows of the spectrogram; of more bands a row shows the mean of several.

    Raises:
        ValueError: if the sizes do not fit each other, an energy is not a number, or there is no room.
    """
    import numpy as np

    scene = _Scene.of(spectrogram, field_time, field_frequency, output, hop_seconds, band_edges_hz)
    n_mels, frames = scene.energies.shape
    labels = scene.labelled()
    indent = max((len(f"{hz:,}") for _, hz in labels), default=0) + len(" Hz ")
    room = width - indent - 2  # the box's sides take a column each
    if room < 10 or height < 1:
        raise ValueError(f"width must be at least {indent + 12} and height 1, got {width} and {height}")
    bands, columns = -(-n_mels // height), -(-frames // room)
    shades = _pooled(_pooled(scene.energies, bands, 0), columns, 1)
    grid = [[_SHADES[int(level)] for level in row] for row in np.minimum(shades * len(_SHADES), len(_SHADES) - 1)]
    output = scene.output[0] // bands, scene.output[1] // columns
    names = [""] * len(grid)
    for place, hz in reversed(labels):
        names[round(place) // bands] = f"{hz:,} Hz"
    lines = _boxed(grid, output, names, _cells(scene.frequency, n_mels, bands), _cells(scene.time, frames, columns))
    end = f" {frames * scene.hop_ms:,.0f} ms"
    return "\n".join(
        [f"{name:>{indent - 1}} {line}".rstrip() for name, line in lines]
        + [" " * indent + "0" + end.rjust(len(lines[0][1]) - 1), scene.title]
        + ([f"frames a column: {columns:,}, bands a row: {bands:,}"] if bands * columns > 1 else [])
    )


def _pooled(energies: "np.ndarray", size: int, axis: int) -> "np.ndarray":
    """Means of ``size`` neighbours along an axis, of fewer at its end."""
    import numpy as np

    starts = np.arange(0, energies.shape[axis], size)
    counts = np.diff(np.append(starts, energies.shape[axis]))
    return np.add.reduceat(energies, starts, axis) / (counts[:, None] if axis == 0 else counts)


def _cells(ends: Range, size: int, pooled: int) -> tuple[range, bool, bool]:
    """The cells that a field covers along an axis, and whether it begins and ends inside."""
    first, last = max(ends[0], 0), min(ends[1], size - 1)
    cells = range(int(first) // pooled, int(last) // pooled + 1) if first <= last else range(0)
    return cells, ends[0] >= 0, ends[1] < size


def _boxed(
    shades: list[list[str]],
    output: tuple[int, int],
    names: list[str],
    vertical: tuple[range, bool, bool],
    horizontal: tuple[range, bool, bool],
) -> list[tuple[str, str]]:
    """Rows from the highest band down, each with its name, with lines inserted around the cells of the field."""
    cells = [row.copy() for row in shades]
    cells[output[0]][output[1]] = "●"
    (rows, bottom, top), (columns, left, right) = vertical, horizontal
    if not rows or not columns:
        return [(name, "".join(row)) for name, row in zip(names, cells, strict=True)][::-1]

    def line(row: list[str], first: str, inside: str, last: str) -> str:
        before, after = "".join(row[: columns.start]), "".join(row[columns.stop :])
        return before + first * left + inside + last * right + after

    lines = []
    for number in reversed(range(len(cells))):
        # Above, below and beside the box, what is inserted goes on with the shades of its neighbours.
        row, shade = cells[number], shades[number]
        sides = ("│", "│") if number in rows else (shade[columns.start], shade[columns.stop - 1])
        if top and number == rows.stop - 1:
            lines.append(("", line(shade, "┌", "─" * len(columns), "┐")))
        lines.append((names[number], line(row, sides[0], "".join(row[columns.start : columns.stop]), sides[1])))
        if bottom and number == rows.start:
            lines.append(("", line(shade, "└", "─" * len(columns), "┘")))
    return lines
