"""The dilation tree: which nodes of every layer one output reads, van den Oord 2016, figure 3, arXiv:1609.03499.

A layer is ``(kernel_size, dilation, stride, first)``: its output n reads ``n * stride + first + dilation * t`` for the
taps t below ``kernel_size``. It is causal where the last of them is ``(n + 1) * stride - 1``.

Positions count samples from the newest one of the output's own hop: 0 is the output, the past is negative. Every node
stands at the newest sample of its own hop, so that connections of causal layers never lean to the right.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING

from wavedil.receptive.draw.figure import BLUE, ORANGE, SKY, axis_of_samples, new_figure, picture_path, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Layer = tuple[int, int, int, int]

# What a picture holds: beyond so many columns, and so many nodes in all, it shows only what is read, column by column.
_COLUMNS, _NODES = 600, 36_000

# Beyond this many layers the text has no lines between its rows.
_CONNECTED_LAYERS = 12

# Box-drawing characters by the sides they touch: 1 above, 2 below, 4 left, 8 right.
_BOXES = {0: " ", 3: "│", 5: "╯", 6: "╮", 7: "┤", 9: "╰", 10: "╭", 11: "├", 12: "─", 13: "┴", 14: "┬", 15: "┼"}


def reached_nodes(layers: Sequence[Layer]) -> list[list[int]]:
    """The nodes that output 0 reads on each level, ascending; level 0 is the input, the last level the output itself.

    Raises:
        ValueError: if there is no layer, or a size is below 1.

    Example:
        >>> reached_nodes([(2, 1, 1, -1), (2, 2, 1, -2)])
        [[-3, -2, -1, 0], [-2, 0], [0]]
    """
    if not layers:
        raise ValueError("expected at least one layer, got none")
    levels = [[0]]
    for number in range(len(layers), 0, -1):
        kernel_size, dilation, stride, first = layers[number - 1]
        for name, value in (("kernel_size", kernel_size), ("dilation", dilation), ("stride", stride)):
            if value < 1:
                raise ValueError(f"layer {number}: {name} must be at least 1, got {value}")
        offsets = range(first, first + dilation * kernel_size, dilation)
        levels.append(sorted({n * stride + offset for n in levels[-1] for offset in offsets}))
    return levels[::-1]


def tree_edges(layers: Sequence[Layer]) -> list[list[tuple[int, int]]]:
    """The connections over which output 0 reads, layer by layer.

    Returns:
        For each layer, pairs of a node of the level below and the node of the layer that reads it.

    Raises:
        ValueError: if there is no layer, or a size is below 1.

    Example:
        >>> tree_edges([(2, 1, 1, -1), (2, 2, 1, -2)])
        [[(-3, -2), (-2, -2), (-1, 0), (0, 0)], [(-2, 0), (0, 0)]]
    """
    return [_edges(layer, nodes) for layer, nodes in zip(layers, reached_nodes(layers)[1:], strict=True)]


def _edges(layer: Layer, nodes: Iterable[int]) -> list[tuple[int, int]]:
    kernel_size, dilation, stride, first = layer
    return [(n * stride + first + dilation * t, n) for n in nodes for t in range(kernel_size)]


@dataclass(frozen=True)
class _Tree:
    """What is read and where it stands."""

    layers: Sequence[Layer]
    levels: list[list[int]]
    hops: list[int]  # input samples between the nodes of each level

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> "_Tree":
        strides = [stride for _, _, stride, _ in layers]
        return cls(layers, reached_nodes(layers), list(accumulate(strides, mul, initial=1)))

    def position(self, level: int, node: int) -> int:
        return (node + 1) * self.hops[level] - self.hops[-1]

    def nodes(self, level: int, first: int, last: int) -> range:
        """Nodes of a level, read or not, that stand between two positions, both included."""
        hop, total = self.hops[level], self.hops[-1]
        return range(-(-(first + total) // hop) - 1, (last + total) // hop)

    @property
    def ends(self) -> tuple[int, int]:
        """First and last position of a node of any level."""
        ends = [self.position(level, nodes[end]) for level, nodes in enumerate(self.levels) for end in (0, -1)]
        return min(ends), max(ends)

    def label(self, level: int) -> str:
        """The row's name: "layer 4  dilation 8", with the stride where any layer has one."""
        if level == 0:
            return "input"
        strided = any(stride > 1 for _, _, stride, _ in self.layers)
        width = len(str(len(self.layers)))
        widest = len(str(max(dilation for _, dilation, _, _ in self.layers)))
        _, dilation, stride, _ = self.layers[level - 1]
        return f"layer {level:>{width}}  dilation {dilation:>{widest}}" + (f"  stride {stride}" if strided else "")

    @property
    def summary(self) -> str:
        read, span = len(self.levels[0]), self.levels[0][-1] - self.levels[0][0] + 1
        return f"one output reads {read:,} of {span:,} samples"


def tree_text(layers: Sequence[Layer], width: int = 80) -> str:
    """The tree as terminal text: a row a layer, "●" for the nodes that one output reads, "·" for the others.

    Args:
        layers: from the input to the output.
        width: columns; a wider field is cut to its newest part, which the last line says.

    Raises:
        ValueError: if there is no layer, a size is below 1, or the width leaves no room.
    """
    tree = _Tree.of(layers)
    first, last = tree.ends
    samples = last - first + 1
    indent = max(len(tree.label(level)) for level in range(len(layers) + 1)) + 2
    room = width - indent
    if room < 10:
        raise ValueError(f"width must be at least {indent + 10} for these layers, got {width}")
    step = max(1, min(4, room // samples))
    if samples > room:  # the output stays in view, whatever the lookahead
        last = min(last, room // 2)
        first = last - room + 1
    rows = []
    for level in range(len(layers), -1, -1):
        rows.append(f"{tree.label(level):<{indent}}" + _node_row(tree, level, first, last, step))
        if level and len(layers) <= _CONNECTED_LAYERS:
            rows.append(" " * indent + _edge_row(tree, level, first, last, step))
    rows.append(" " * indent + _axis_row(first, last, step))
    rows += [tree.summary, _cut(tree, first, last)]
    return "\n".join(row.rstrip() for row in rows if row)


def _cut(tree: _Tree, first: int, last: int) -> str:
    oldest, newest = tree.ends
    if (first, last) == (oldest, newest):
        return ""
    part = "newest" if last == newest else "nearest"
    return f"shown: the {part} {last - first + 1:,} of {newest - oldest + 1:,} samples"


def _node_row(tree: _Tree, level: int, first: int, last: int, step: int) -> str:
    row = [" "] * ((last - first) * step + 1)
    reached = set(tree.levels[level])
    for node in tree.nodes(level, first, last):
        row[(tree.position(level, node) - first) * step] = "●" if node in reached else "·"
    return "".join(row)


def _edge_row(tree: _Tree, level: int, first: int, last: int, step: int) -> str:
    """The lines from the nodes of a level down to what they read; where several cross, they join."""
    end = (last - first) * step
    touched = [0] * (end + 1)

    def touch(column: int, sides: int) -> None:
        if 0 <= column <= end:
            touched[column] |= sides

    for node in tree.levels[level]:
        children = [child for child, _ in _edges(tree.layers[level - 1], [node])]
        above = (tree.position(level, node) - first) * step
        below = [(tree.position(level - 1, child) - first) * step for child in children]
        left, right = min(above, *below), max(above, *below)
        touch(above, 1)
        for column in below:
            touch(column, 2)
        for column in range(max(left, 0), min(right, end) + 1):
            touch(column, (4 if column > left else 0) | (8 if column < right else 0))
    return "".join(_BOXES[sides] for sides in touched)


def _axis_row(first: int, last: int, step: int) -> str:
    """The positions of the first sample, of the output and of the last sample."""
    row = ""
    for position in sorted({first, 0, last}):
        label, column = str(position), (position - first) * step
        # A label ends below its sample, but the first may stand to its right.
        start = max(column - len(label) + 1, 0)
        if start >= len(row) + (position > first):
            row = row.ljust(start) + label
    return row


def save_tree(layers: Sequence[Layer], path: str | Path) -> None:
    """Draw the tree: every connection faint, those over which one output reads in strong colour.

    Beyond 600 samples, or fewer where there are more than 60 layers, the faint ones are left out, and nodes and
    connections that fall on the same of so many columns are drawn once.

    Args:
        layers: from the input to the output.
        path: of a PNG or SVG.

    Raises:
        ValueError: if there is no layer, a size is below 1, or the path ends otherwise.
        FileNotFoundError: if the folder does not exist.
        ModuleNotFoundError: if matplotlib is not installed; the message says how to install it.
    """
    path = picture_path(path)
    tree = _Tree.of(layers)
    first, last = tree.ends
    samples = last - first + 1
    width = min(max(3 + 0.45 * samples, 7), 14)
    height = min(max(1.2 + 0.75 * len(layers), 2.7), 14)
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    columns = min(samples, _COLUMNS, max(_NODES // len(layers), 60))
    spacing = 72 * min((width - 2.5) / columns, (height - 1) / len(layers))  # points from a node to the next
    _draw_tree(axes, tree, columns, min(max(0.65 * spacing, 1.2), 13))
    axes.set_title(tree.summary)
    axis_of_samples(axes, first, last)
    _label_axes(axes, tree)
    save_figure(figure, path)


def _draw_tree(axes: "Axes", tree: _Tree, columns: int, size: float) -> None:
    """Draw the connections first, the nodes over them; size is the diameter of a node in points."""
    first, last = tree.ends
    column = (last - first + 1) / columns

    def lines(level: int, edges: Iterable[tuple[int, int]], colour: str, width: float, order: float) -> None:
        ends = {
            (round(tree.position(level - 1, below) / column), round(tree.position(level, above) / column))
            for below, above in edges
        }
        points = [(x * column, y) for a, b in sorted(ends) for x, y in ((a, level - 1), (b, level), (math.nan, level))]
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=width, zorder=order)

    def dots(level: int, nodes: Iterable[int], face: str, edge: str, size: float, order: float) -> None:
        x = sorted({round(tree.position(level, node) / column) for node in nodes})
        style = {"marker": "o", "linestyle": "none", "markersize": size, "zorder": order}
        axes.plot([c * column for c in x], [level] * len(x), markerfacecolor=face, markeredgecolor=edge, **style)

    for level, reached in enumerate(tree.levels):
        every = tree.nodes(level, first, last) if column == 1 else ()
        dots(level, set(every) - set(reached), "white", "0.7", size, 2.5)
        if level and every:
            lines(level, _edges(tree.layers[level - 1], every), "0.85", 0.8, 1)
        if level:
            lines(level, _edges(tree.layers[level - 1], reached), BLUE, min(1.8, 0.15 + 0.15 * size), 2)
        face = SKY if level else BLUE
        dots(level, reached, face, "black" if size > 4 else face, size, 3)
    dots(len(tree.layers), [0], ORANGE, "black", max(size, 7), 4)


def _label_axes(axes: "Axes", tree: _Tree) -> None:
    every = -(-(len(tree.layers) + 1) // 40)  # forty labels fit above each other
    levels = range(0, len(tree.layers) + 1, every)
    axes.yaxis.tick_right()
    axes.set_yticks(levels, [tree.label(level) for level in levels])
    axes.tick_params(axis="y", length=0)
    margin = max(0.35, 0.015 * len(tree.layers))
    axes.set_ylim(-margin, len(tree.layers) + margin)
    axes.spines[["left", "right", "top"]].set_visible(False)
