"""Files that a command writes: tried before the work."""

import importlib.util
import tempfile
from collections.abc import Collection
from pathlib import Path

from wavedil.files import in_home, require_no_other
from wavedil.training.atomic import TEMPORARY

PICTURES = (".png",)


def output_file(option: str, given: str | None, suffixes: Collection[str] = ()) -> Path | None:
    """The path of an output that can be written: a new file, or one in the place of a file.

    Args:
        option: names it in messages.
        given: by the user; None stays None.
        suffixes: how its name may end; none for any.

    Raises:
        FileNotFoundError: if its folder is not there.
        OSError: if nothing can be written there.
        ValueError: if there is a folder, a device, a pipe or a link, or its name ends otherwise.
    """
    if given is None:
        return None
    path = in_home(given)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{option} {given}: expected a name that ends in {' or '.join(suffixes)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option} {given}: there is no folder {path.parent}")
    try:
        require_no_other(path, "a file", "name another")
        require_no_other(path.with_name(f".{path.name}{TEMPORARY}"), "a file", "remove it")
        with tempfile.TemporaryFile(dir=path.parent):  # where folders are for reading only, nothing else tells
            pass
    except OSError as error:
        raise type(error)(f"{option} {given}: cannot be written: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"{option} {error}") from None
    return path


def require_matplotlib() -> None:
    """Refuse to begin what ends with a picture that cannot be drawn.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed; the message says how to install it.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError("plots need matplotlib: pip install 'wavedil[plot]'")
