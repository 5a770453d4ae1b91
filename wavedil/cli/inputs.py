"""What a command reads: looked at before torch is imported."""

from pathlib import Path

from wavedil.files import in_home
from wavedil.training.description import META, model_folder, read_description
from wavedil.training.ranges import RANGES


def checked_checkpoint(given: str, device: str) -> Path:
    """The path of a model folder or a run folder, whose description can be read.

    Args:
        given: by the user.
        device: that it is to run on.

    Raises:
        FileNotFoundError: if there is no model.
        ValueError: if its description is damaged, or there is no such kind of device.
    """
    RANGES["train.device"]("--device", device)
    path = in_home(given)
    read_description(model_folder(path) / META)
    return path
