"""The pictures: what they show is what the layers read, as text and as files."""

import math
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sweeps import examples

from wavedil.receptive.draw import (
    field_text,
    figure,
    histogram,
    histogram_text,
    reached_nodes,
    save_field,
    save_histogram,
    save_tree,
    spectrogram,
    tree,
    tree_edges,
    tree_text,
)


def causal(kernel_size, dilations, strides=()):
    strides = strides or [1] * len(dilations)
    return [(kernel_size, d, s, s - 1 - d * (kernel_size - 1)) for d, s in zip(dilations, strides, strict=True)]


def paths(kernel_size, dilations) -> dict[int, int]:
    """Paths to each offset of a causal stack, by walking all of them."""
    return Counter(-sum(path) for path in product(*([d * t for t in range(kernel_size)] for d in dilations)))


@pytest.fixture
def drawn(monkeypatch):
    """The figures that the functions draw, in place of the files."""
    figures: list[Figure] = []
    for module in (tree, histogram, spectrogram):
        monkeypatch.setattr(module, "save_figure", lambda drawing, path: figures.append(drawing))
    return figures


def labelled(axes, label):
    return next(artist for artist in axes.get_children() if artist.get_label() == label)


def test_text_needs_neither_torch_nor_numpy_nor_matplotlib():
    code = (
        "import sys; from wavedil.receptive.draw import histogram_text, tree_text, save_tree;"
        "tree_text([(2, 1, 1, -1)]); histogram_text({0: 1});"
        "print(*{'torch', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# The tree.

layers = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(-8, 3)), min_size=1, max_size=4
)


@given(layers)
def test_nodes_and_edges_are_those_of_every_single_path(stack):
    nodes, edges = [set() for _ in range(len(stack) + 1)], [set() for _ in stack]
    for taps in product(*(range(kernel_size) for kernel_size, *_ in stack)):
        node = 0
        nodes[-1].add(node)
        for level in reversed(range(len(stack))):
            _, dilation, stride, first = stack[level]
            below = node * stride + first + dilation * taps[level]
            edges[level].add((below, node))
            nodes[level].add(below)
            node = below
    assert reached_nodes(stack) == [sorted(level) for level in nodes]
    assert [sorted(level) for level in tree_edges(stack)] == [sorted(level) for level in edges]
    assert sum(map(len, tree_edges(stack))) == sum(map(len, edges))


def test_tree_text():
    assert tree_text(causal(2, (1, 2, 4)), width=40).splitlines() == [
        "layer 3  dilation 4  · · · · · · · ●",
        "                           ╭───────┤",
        "layer 2  dilation 2  · · · ● · · · ●",
        "                       ╭───┤   ╭───┤",
        "layer 1  dilation 1  · ● · ● · ● · ●",
        "                     ╭─┤ ╭─┤ ╭─┤ ╭─┤",
        "input                ● ● ● ● ● ● ● ●",
        "                     -7            0",
        "one output reads 8 of 8 samples",
    ]


def test_tree_text_shows_the_newest_part_of_a_wide_field():
    text = tree_text(causal(2, [2**i for i in range(10)]), width=80)
    assert "one output reads 1,024 of 1,024 samples\nshown: the newest 56 of 1,024 samples" in text
    assert max(map(len, text.splitlines())) == 80
    assert "\n                        -55" in text


def test_tree_text_keeps_the_output_in_view_whatever_the_lookahead():
    lines = tree_text([(2, 500, 1, 0)], width=60).splitlines()
    assert lines[0].count("●") == 1
    assert lines[-1] == "shown: the nearest 37 of 501 samples"


def test_tree_text_names_strides_only_where_there_are_some():
    assert "stride" not in tree_text(causal(3, (1, 2)))
    assert "layer 2  dilation 1  stride 2" in tree_text(causal(3, (1, 1), (1, 2)))


@given(layers)
def test_tree_text_marks_what_is_read_and_joins_it(stack):
    rows = tree_text(stack, width=2000).splitlines()[: 2 * len(stack) + 1]
    counts = [row.count("●") for row in rows[::2]]
    assert counts == [len(level) for level in reversed(reached_nodes(stack))]
    for above, between, below in zip(rows[::2], rows[1::2], rows[2::2], strict=False):
        ups = {column for column, sign in enumerate(above) if sign == "●"}
        downs = {column for column, sign in enumerate(below) if sign == "●"}
        assert {column for column, sign in enumerate(between) if sign in "│╯┤╰├┴┼"} == ups
        assert {column for column, sign in enumerate(between) if sign in "│╮┤╭├┬┼"} == downs


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ([], "expected at least one layer, got none"),
        ([(2, 1, 1, 0), (0, 1, 1, 0)], "layer 2: kernel_size must be at least 1, got 0"),
        ([(2, 0, 1, 0)], "layer 1: dilation must be at least 1, got 0"),
        ([(2, 1, -1, 0)], "layer 1: stride must be at least 1, got -1"),
    ],
)
def test_tree_errors(stack, message):
    with pytest.raises(ValueError, match=message):
        tree_text(stack)


def test_tree_text_without_room():
    with pytest.raises(ValueError, match="width must be at least 31 for these layers, got 30"):
        tree_text(causal(2, (1,)), width=30)


def points(axes) -> int:
    return sum(len(line.get_xdata()) for line in axes.lines)


def test_tree_picture_shows_every_node_once(drawn):
    save_tree(causal(2, (1, 2, 4, 8)), "tree.png")
    (axes,) = drawn[0].axes
    nodes = [line for line in axes.lines if line.get_linestyle() == "None"]
    shown = [(x, y, line.get_markerfacecolor()) for line in nodes for x, y in line.get_xydata().tolist()]
    assert {(x, y) for x, y, _ in shown} == set(product(range(-15, 1), range(5)))
    unread = {(x, y) for x, y, face in shown if face == "white"}
    read = {(x, y) for y, level in enumerate(reached_nodes(causal(2, (1, 2, 4, 8)))) for x in level}
    assert unread == set(product(range(-15, 1), range(5))) - read
    assert [label.get_text() for label in axes.get_yticklabels()][::4] == ["input", "layer 4  dilation 8"]


@pytest.mark.full
def test_tree_picture_of_a_large_field_stays_small(drawn):
    save_tree(causal(3, [2**i for i in range(9)] * 2), "tree.svg")
    save_tree(causal(2, [1] * 700), "tree.svg")
    for drawing in drawn:
        (axes,) = drawing.axes
        assert not [line for line in axes.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
        assert 0 < points(axes) < 400_000


# The histogram.


def bars(text: str) -> tuple[list[str], str]:
    """The rows of the bars and what stands below the axis."""
    lines = text.splitlines()
    axis = next(number for number, line in enumerate(lines) if "└" in line)
    start = lines[axis].index("└") + 1
    return [line[start:] for line in lines[1:axis]], lines[axis + 1][start:]


def test_histogram_of_a_stack_with_holes():
    text = histogram_text(paths(3, (2, 2, 2)))
    assert "one output reads 7 of 13 samples, holes: 6 of 13" in text
    assert bars(text)[1].count("x") == 6
    assert text.startswith("paths to each sample\n7 ┤")


@given(st.dictionaries(st.integers(-30, 10), st.integers(0, 10**6), min_size=1).filter(lambda taps: any(taps.values())))
def test_bars_are_as_high_as_there_are_paths_and_holes_are_marked(taps):
    read = {offset: count for offset, count in taps.items() if count}
    first, last = min(read), max(read)
    text = histogram_text(taps, width=60)
    rows, marks = bars(text)
    step = max(1, min(4, (60 - text.splitlines()[1].index("┤") - 1) // (last - first + 1)))

    def eighths(offset: int) -> int:
        column = (offset - first) * step
        return sum(" ▁▂▃▄▅▆▇█".index(row[column : column + 1] or " ") for row in rows)

    for offset in range(first, last + 1):
        assert (eighths(offset) == 0) == (offset not in read)
    ordered = sorted(read, key=lambda offset: read[offset])
    assert [eighths(offset) for offset in ordered] == sorted(eighths(offset) for offset in ordered)
    assert eighths(ordered[-1]) == 64
    holes = last - first + 1 - len(read)
    assert f"holes: {holes} of {last - first + 1}" in text
    assert (marks.count("x") if holes else 0) == holes


def test_numbers_of_paths_beyond_a_float():
    taps = {-i: math.comb(1300, i) for i in range(1301)}
    text = histogram_text(taps)
    assert "(log scale), the largest of 19 samples" in text
    assert text.splitlines()[1].startswith(f"{Decimal(math.comb(1300, 650)):.1e} ┤")


def test_large_numbers_are_linear_as_long_as_a_float_holds_them():
    assert "log" not in histogram_text({0: 10**150, -1: 10**150})
    assert "log" in histogram_text({0: 10**350, -1: 10**350})


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_the_central_samples_hold_95_percent_of_the_paths(counts):
    text = histogram_text(dict(enumerate(counts)))
    line = next(line for line in text.splitlines() if line.startswith("95 %"))
    first, last = (int(word) for word in line.split(" from ")[1].split(" to "))
    assert sum(counts[first : last + 1]) * 20 >= sum(counts) * 19
    assert sum(counts[:first]) * 40 <= sum(counts) < 40 * sum(counts[: first + 1])
    assert sum(counts[last + 1 :]) * 40 <= sum(counts) < 40 * sum(counts[last:])


@pytest.mark.parametrize(
    ("taps", "options", "message"),
    [
        ({}, {}, "expected at least one sample that is read, got none"),
        ({-1: 0}, {}, "expected at least one sample that is read, got none"),
        ({-1: -2}, {}, "tap -1: the number of paths must be at least 0, got -2"),
        ({0: 1}, {"mean": 0.0}, "expected both mean and sigma or neither, got 0.0 and None"),
        ({0: 1}, {"mean": 0.0, "sigma": -1.0}, "sigma must be at least 0, got -1.0"),
        ({0: 1}, {"sample_rate": 0}, "sample_rate must be above 0, got 0"),
    ],
)
def test_histogram_errors(taps, options, message):
    with pytest.raises(ValueError, match=message):
        save_histogram(taps, "histogram.png", **options)


def test_histogram_text_without_room():
    with pytest.raises(ValueError, match="width must be at least 13 and height 1, got 5 and 8"):
        histogram_text({0: 1}, width=5)


def heights(axes) -> dict[float, float]:
    values, edges, _ = labelled(axes, "paths").get_data()
    return {(a + b) / 2: value for a, b, value in zip(edges[:-1:2], edges[1::2], values[::2], strict=True)}


def test_histogram_picture_shows_every_tap_hole_and_the_gaussian(drawn):
    taps = paths(3, (2, 2, 2))
    save_histogram(list(taps.items()), "histogram.png", sample_rate=16_000, mean=-6, sigma=math.sqrt(8))
    (axes,) = drawn[0].axes
    assert {round(x): y for x, y in heights(axes).items() if y} == taps
    centres = [path.vertices[:4, 0].mean() for path in labelled(axes, "holes").get_paths()]
    assert centres == [-11, -9, -7, -5, -3, -1]
    (gaussian,) = (line for line in axes.lines if "effective" in str(line.get_label()))
    assert gaussian.get_label() == "effective field: mean -6.0, sigma 2.8 samples"
    x, y = gaussian.get_data()
    assert x[y.argmax()] == pytest.approx(-6)
    assert np.trapezoid(y, x) == pytest.approx(27 * math.erf(6 / 4), rel=1e-3)
    (milliseconds,) = axes.child_axes
    assert milliseconds.get_xlabel() == "ms at 16,000 Hz"
    drawn[0].draw_without_rendering()
    assert np.array(milliseconds.get_xlim()) == pytest.approx(np.array(axes.get_xlim()) / 16)


def test_histogram_picture_of_numbers_beyond_a_float(drawn):
    save_histogram({-i: math.comb(1300, i) for i in range(1301)}, "histogram.svg", mean=-650, sigma=math.sqrt(325))
    (axes,) = drawn[0].axes
    shown = heights(axes)
    assert shown[0] == 0
    assert shown[-650] == pytest.approx(math.log10(math.comb(1300, 650)))
    # The Gaussian of a binomial meets its peak.
    assert max(axes.lines[0].get_ydata()) == pytest.approx(shown[-650], abs=1e-3)


def test_histogram_picture_of_a_large_field_shows_the_largest_of_several(drawn):
    save_histogram({-i: 5 if i == 40_000 else 1 for i in range(50_000) if i % 7}, "histogram.svg")
    (axes,) = drawn[0].axes
    shown = heights(axes)
    assert len(shown) == 10_000
    assert sorted(shown.values())[-2:] == [1, 5]
    assert axes.get_ylabel() == "paths to each sample,\nthe largest of 5 samples"


def test_pointwise_layer(drawn):
    save_histogram({0: 1}, "histogram.png", mean=0.0, sigma=0.0)
    assert not drawn[0].axes[0].lines
    assert "one output reads 1 of 1 samples" in histogram_text({0: 1})


# The field over a spectrogram.

BANDS, FRAMES, HOP = 24, 50, 0.01
EDGES = 700 * (10 ** (np.linspace(0, 2840, BANDS + 2) / 2595) - 1)  # mel, 0 to 8 kHz
CHIRP = np.exp(-((np.arange(BANDS)[:, None] - np.linspace(0, BANDS, FRAMES)) ** 2) / 8)
FIELD = {
    "field_time": (10, 30),
    "field_frequency": (4, 12),
    "output": (8, 30),
    "hop_seconds": HOP,
    "band_edges_hz": EDGES,
}


def test_field_picture(drawn):
    taps = {(4, 10), (8, 20), (12, 30)}
    save_field(CHIRP, "field.png", **FIELD, taps=taps)
    (axes,) = drawn[0].axes
    (box,) = (patch for patch in axes.patches if isinstance(patch, Rectangle))
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == pytest.approx((100, 3.5, 210, 9))
    assert labelled(axes, "output").get_xydata().tolist() == [[305, 8]]
    assert {(y, round(x / 10 - 0.5)) for x, y in labelled(axes, "taps").get_xydata()} == taps
    assert axes.images[0].get_extent() == [0, 500, -0.5, 23.5]
    ticks = dict(zip((label.get_text() for label in axes.get_yticklabels()), axes.get_yticks(), strict=True))
    assert np.interp(ticks["1,000"], range(BANDS), EDGES[1:-1]) == pytest.approx(1000)
    assert "reads 100 to 310 ms" in axes.get_title()


def test_field_takes_centres_as_well_as_edges():
    assert field_text(CHIRP, **FIELD) == field_text(CHIRP, **FIELD | {"band_edges_hz": EDGES[1:-1].tolist()})


def test_field_that_reaches_back_before_the_start_stays_open(drawn):
    everything = FIELD | {"field_time": (-math.inf, 30), "field_frequency": (-3, 99)}
    save_field(CHIRP, "field.svg", **everything)
    (axes,) = drawn[0].axes
    (box,) = (patch for patch in axes.patches if isinstance(patch, Rectangle))
    assert box.get_x() < axes.get_xlim()[0]
    assert box.get_x() + box.get_width() == pytest.approx(310)
    assert box.get_y() < axes.get_ylim()[0]
    assert box.get_y() + box.get_height() > axes.get_ylim()[1]
    text = field_text(CHIRP, **everything)
    assert not set(text) & set("┌┐└┘─")
    assert "reads the whole past to 310 ms" in text


def test_field_text_draws_the_box_around_the_field():
    lines = field_text(CHIRP, **FIELD, height=BANDS).splitlines()
    top, bottom = (next(n for n, line in enumerate(lines) if corner in line) for corner in "┌└")
    assert bottom - top - 1 == 9
    assert lines[top].count("─") == 21
    inside = [line[line.index("│") + 1 : line.rindex("│")] for line in lines[top + 1 : bottom]]
    assert {len(line) for line in inside} == {21}
    assert [line.count("●") for line in inside] == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert all(line.count("│") == 2 for line in lines[top + 1 : bottom])
    assert lines[BANDS + 2].endswith("500 ms")


def test_field_text_shades_energies():
    quiet_to_loud = np.tile(np.linspace(0, 1, 50), (BANDS, 1))
    row = field_text(quiet_to_loud, **FIELD, height=BANDS).splitlines()[0]
    shades = [" ░▒▓█".index(sign) for sign in row[-52:]]
    assert shades == sorted(shades)
    assert set(shades) == set(range(5))


@settings(max_examples=examples(50))
@given(st.integers(1, 90), st.integers(1, 300), st.integers(21, 120), st.integers(1, 30), st.data())
def test_field_text_fits(n_mels, frames, width, height, data):
    output = data.draw(st.integers(0, n_mels - 1)), data.draw(st.integers(0, frames - 1))
    start, stop = sorted(data.draw(st.tuples(*[st.integers(-400, 400)] * 2)))
    low, high = sorted(data.draw(st.tuples(*[st.integers(-10, 100)] * 2)))
    field = {"field_time": (start, stop), "field_frequency": (low, high), "output": output}
    text = field_text(
        np.zeros((n_mels, frames)),
        **field,
        hop_seconds=HOP,
        band_edges_hz=range(100, 100 + 50 * n_mels, 50),
        width=width,
        height=height,
    )
    lines = text.splitlines()
    picture = lines[: next(n for n, line in enumerate(lines) if line.startswith("the output")) - 1]
    assert max(map(len, picture)) <= width
    assert len(picture) <= height + 2
    assert sum(line.count("●") for line in picture) == 1
    if start <= output[1] <= stop and low <= output[0] <= high:
        row = next(line for line in picture if "●" in line)
        assert row.count("│") == (start >= 0) + (stop < frames)


def test_digital_silence_is_the_quietest(drawn):
    with_silence = CHIRP.copy()
    with_silence[:, 0] = -math.inf
    save_field(with_silence, "field.png", **FIELD)
    shown = np.asarray(drawn[0].axes[0].images[0].get_array())
    assert (shown[:, 0] == 0).all()
    assert shown.max() == 1
    assert "█" not in field_text(np.full((BANDS, FRAMES), -math.inf), **FIELD)


@pytest.mark.parametrize(
    ("energies", "change", "message"),
    [
        (CHIRP[0], {}, r"spectrogram must be \(n_mels, frames\), neither of them 0, got \(50,\)"),
        (CHIRP[:, :0], {}, r"neither of them 0, got \(24, 0\)"),
        (CHIRP * math.nan, {}, "must hold finite energies, got NaN or infinity"),
        (CHIRP, {"band_edges_hz": [1.0, 2.0]}, "must be 26 ascending edges or 24 ascending centres, got 2 values"),
        (CHIRP, {"band_edges_hz": EDGES[::-1]}, "must be 26 ascending edges"),
        (CHIRP, {"field_time": (3, 2)}, "field_time must not end before it begins, got 3 to 2"),
        (CHIRP, {"output": (24, 0)}, r"output must be a band below 24 and a frame below 50, got \(24, 0\)"),
        (CHIRP, {"hop_seconds": 0}, "hop_seconds must be above 0, got 0"),
        (CHIRP, {"width": 12}, "width must be at least 21 and height 1, got 12 and 24"),
    ],
)
def test_field_errors(energies, change, message):
    with pytest.raises(ValueError, match=message):
        field_text(energies, **FIELD | change)


# Files.

PICTURES = {
    "tree": lambda path: save_tree(causal(3, (1, 2)), path),
    "histogram": lambda path: save_histogram(paths(3, (1, 2)), path, 16_000, mean=-3.0, sigma=1.8),
    "field": lambda path: save_field(CHIRP, path, **FIELD),
}


@pytest.mark.parametrize("name", PICTURES)
def test_files(tmp_path, name):
    PICTURES[name](tmp_path / "a.png")
    PICTURES[name](str(tmp_path / "a.SVG"))
    PICTURES[name](tmp_path / "b.svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(tmp_path / "a.SVG").getroot().tag.endswith("svg")
    assert (tmp_path / "a.SVG").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.SVG", "a.png", "b.svg"]


@pytest.mark.parametrize("name", PICTURES)
def test_paths_that_cannot_be_written(tmp_path, name):
    with pytest.raises(ValueError, match=r"a picture that ends in \.png or \.svg, got '\.pdf'"):
        PICTURES[name](tmp_path / "a.pdf")
    with pytest.raises(FileNotFoundError, match=r"the folder .*missing does not exist"):
        PICTURES[name](tmp_path / "missing" / "a.png")


@pytest.mark.parametrize("name", PICTURES)
def test_without_matplotlib_the_error_names_the_extra(tmp_path, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'wavedil\[plot\]'"):
        PICTURES[name](tmp_path / "a.png")


def test_a_failed_write_leaves_the_old_picture_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(self, target):
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        figure.save_figure(Figure(), path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a.png": b"old"}
