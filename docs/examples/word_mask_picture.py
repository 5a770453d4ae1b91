"""The picture of the word-mask example: a scene before and after, and the masks between."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from word_scenes import FEATURES, LOG_MEAN, LOG_STD, SAMPLE_RATE

from wavedil.receptive.draw.figure import BLUE, ORANGE, VERMILION, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_HERTZ = (100, 300, 700, 1500, 3000, 6000)
_RANGE_DB = 60.0


def save_masks(path: Path, features: Tensor, target: Tensor, masks: Mapping[str, Tensor]) -> None:
    """Draw a mixture, its ideal mask and, for each network, its mask and what it lets through.

    Args:
        path: a .png or .svg.
        features: ``(bins, frames)`` as the networks take them.
        target: ``(bins, frames)`` bool.
        masks: likewise, by title.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed; the message names the extra.
    """
    figure = new_figure(13, 6.2)
    panels = figure.subplots(2, 1 + len(masks), sharex=True, sharey=True)
    decibels = (features.numpy() * LOG_STD + LOG_MEAN) * 10 / np.log(10)
    wanted = target.numpy()
    energies = _draw_energies(panels[0, 0], decibels, "before: the mixture")
    _draw_energies(panels[1, 0], decibels, "the goal: the mixture under the ideal mask", wanted)
    for column, (title, tensor) in enumerate(masks.items(), 1):
        mask = tensor.numpy()
        _draw_mask(panels[0, column], mask, wanted, title)
        _draw_energies(panels[1, column], decibels, f"after: under the {title.partition(':')[0]} mask", mask)
    for axes in panels[1]:
        axes.set_xlabel("time (ms)")
    for axes in panels[:, 0]:
        axes.set_ylabel("frequency (Hz)")
    figure.colorbar(energies, ax=panels[:, -1], label="energy of a mel band (dB, a full-scale sine: 0)", shrink=0.8)
    save_figure(figure, path)


def _draw_energies(
    axes: "Axes", decibels: NDArray[np.float64], title: str, mask: NDArray[np.bool_] | None = None
) -> "AxesImage":
    shown = decibels if mask is None else np.where(mask, decibels, np.nan)
    axes.set_facecolor("black")
    loudest = decibels.max()
    image = axes.imshow(shown, cmap="magma", vmin=loudest - _RANGE_DB, vmax=loudest, **_placed(decibels))
    _label(axes, title)
    return image


def _draw_mask(axes: "Axes", mask: NDArray[np.bool_], wanted: NDArray[np.bool_], title: str) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    kinds = {"found": (mask & wanted, BLUE), "missed": (~mask & wanted, ORANGE), "false": (mask & ~wanted, VERMILION)}
    picture = np.ones((*mask.shape, 3))
    for where, colour in kinds.values():
        picture[where] = to_rgb(colour)
    axes.imshow(picture, **_placed(mask))
    axes.legend(handles=[Patch(color=colour, label=kind) for kind, (_, colour) in kinds.items()], loc="upper right")
    _label(axes, title)


def _placed(shown: NDArray) -> dict:
    """Pixels where they belong: milliseconds to the right, bands upwards."""
    milliseconds = shown.shape[1] * FEATURES.hop_length / SAMPLE_RATE * 1000
    extent = (0, milliseconds, -0.5, shown.shape[0] - 0.5)
    return {"origin": "lower", "aspect": "auto", "interpolation": "nearest", "extent": extent}


def _label(axes: "Axes", title: str) -> None:
    low, high = _mel(FEATURES.f_min), _mel(FEATURES.f_max or SAMPLE_RATE / 2)
    axes.set_yticks([(_mel(f) - low) / (high - low) * (FEATURES.n_mels + 1) - 1 for f in _HERTZ], map(str, _HERTZ))
    axes.set_title(title, fontsize=10)


def _mel(hertz: float) -> float:
    return 2595 * float(np.log10(1 + hertz / 700))
