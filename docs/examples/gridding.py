"""Gridding and its cure: which inputs a stack of dilated convolutions reads, and along how many paths.

    python docs/examples/gridding.py --plot docs/pictures/gridding.png

Two stacks with a fault stand beside hybrid schedules of as many layers and about the same field. Equal dilations leave
holes. Powers of two leave none, but unevenness: in the middle of the field a single path leads to some inputs, and 64
paths lead to others close by.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wavedil.functional import dilated_convolution
from wavedil.receptive import exponential_dilations, hybrid_criterion, hybrid_dilations
from wavedil.receptive.draw.figure import VERMILION, new_figure, picture_path, save_figure

KERNEL_SIZE = 3
STACKS = (
    (2, 2, 2),
    hybrid_dilations(3, KERNEL_SIZE, receptive_field=13),
    exponential_dilations(1, 5),
    hybrid_dilations(5, KERNEL_SIZE, receptive_field=61),
)


def path_map(dilations: Sequence[int]) -> np.ndarray:
    """Paths from an output to each input of its field in 2D: what a stack of kernels of ones makes of a single 1."""
    paths = np.ones((1, 1), dtype=np.int64)
    for dilation in dilations:
        paths = dilated_convolution(paths, np.ones((KERNEL_SIZE, KERNEL_SIZE), dtype=np.int64), dilation, mode="full")
    return paths


def summary(paths: np.ndarray) -> str:
    """How many inputs are read, and how evenly those of the middle half of the field along both axes."""
    quarter = len(paths) // 4
    middle = paths[quarter : len(paths) - quarter, quarter : len(paths) - quarter]
    share = f"{np.count_nonzero(paths):,} of {paths.size:,} inputs"
    return f"reads {share}, the middle along {middle.min()} to {middle.max()} paths"


def plot(path: Path) -> None:
    """Save the maps of all stacks as one picture: colours for paths, crosses for inputs that are not read."""
    from matplotlib.colors import LogNorm

    maps = [path_map(dilations) for dilations in STACKS]
    most = max(int(paths.max()) for paths in maps)
    figure = new_figure(10, 9.5)
    panels = figure.subplots(2, 2)
    images = []
    for axes, dilations, paths in zip(panels.flat, STACKS, maps, strict=True):
        reach = len(paths) // 2
        extent = (-reach - 0.5, reach + 0.5, -reach - 0.5, reach + 0.5)
        shown = np.ma.masked_equal(paths, 0)
        images.append(axes.imshow(shown, norm=LogNorm(1, most), extent=extent, interpolation="nearest"))
        rows, columns = np.nonzero(paths == 0)
        axes.plot(columns - reach, rows - reach, "x", color=VERMILION, markersize=5)
        axes.set_title(f"dilations {', '.join(map(str, dilations))}\n{summary(paths)}", fontsize="small")
        axes.set_xlabel("frames from the output")
        axes.set_ylabel("bins from the output")
        axes.locator_params(integer=True)
    powers = [2**i for i in range(most.bit_length())]
    bar = figure.colorbar(images[0], ax=panels, label="paths to the input", shrink=0.6, ticks=powers, format="%d")
    bar.minorticks_off()
    save_figure(figure, path)


def main() -> None:
    """Print what each stack reads, and what the published criterion says of it; with ``--plot``, draw it too."""
    parser = argparse.ArgumentParser(description="Gridding and its cure.")
    parser.add_argument("--plot", type=picture_path, help="picture to save, .png or .svg")
    arguments = parser.parse_args()
    for dilations in STACKS:
        print(f"{', '.join(map(str, dilations))}: {summary(path_map(dilations))}")
        print(f"  along one axis {hybrid_criterion(KERNEL_SIZE, dilations).advice}")
    if arguments.plot:
        plot(arguments.plot)


if __name__ == "__main__":
    main()
