"""What all pictures share: a figure of their own, colours, and files that are written whole or not at all."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color universal design", 2008: told apart with every kind of colour vision.
BLUE, SKY, ORANGE, VERMILION = "#0072B2", "#56B4E9", "#E69F00", "#D55E00"

_FORMATS = (".png", ".svg")


def new_figure(width: float, height: float) -> "Figure":
    """A figure of its own, in inches, without pyplot's global state or a window system.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed; the message says how to install it.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("plots need matplotlib: pip install 'wavedil[plot]'", name=error.name) from error
    return Figure(figsize=(width, height), layout="constrained")


def axis_of_samples(axes: "Axes", first: int, last: int) -> None:
    """Let the horizontal axis show the samples from first to last, each of them ticked where there is room."""
    from matplotlib.ticker import MaxNLocator

    margin = max(0.6, 0.01 * (last - first))
    axes.set_xlim(first - margin, last + margin)
    if last - first < 20:
        axes.set_xticks(range(first, last + 1))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("samples from the output")


def picture_path(path: str | Path) -> Path:
    """The path, once it is known that a picture can be saved there.

    Raises:
        ValueError: if it ends in neither .png nor .svg.
        FileNotFoundError: if its folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise ValueError(f"{path}: expected a picture that ends in {' or '.join(_FORMATS)}, got {path.suffix!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    return path


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a PNG or SVG to a temporary name and rename it; the same figure gives the same bytes.

    Args:
        figure: what to draw.
        path: from :func:`picture_path`.
    """
    import matplotlib

    kind = path.suffix.lower()[1:]
    buffer = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "wavedil"}):  # otherwise the identifiers in an SVG are random
        figure.savefig(buffer, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(buffer.getvalue())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
