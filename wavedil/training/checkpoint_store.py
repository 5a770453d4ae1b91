"""The checkpoints of a run: each a model folder with the state of training beside it, all that a run needs to go on."""

import io
import re
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wavedil.checks import shown
from wavedil.files import read_file
from wavedil.training.atomic import remove, remove_folder, remove_temporaries, write_folder
from wavedil.training.description import META, WEIGHTS

STATE = "training.pt"
DAMAGED = ".damaged"  # suffix of a checkpoint that could not be read
_STATE_WEIGHTS, _STATE_BYTES = 16, 1 << 26  # most that a state has: so many times the weights, and some more
_STEP = "step-[0-9]{8,18}"  # names of checkpoints


class CheckpointStore:
    """The ``checkpoints`` folder of a run: ``step-00000123`` folders, of which the newest are kept.

    Args:
        folder: made when the first checkpoint is saved.
        keep: how many to keep.
    """

    def __init__(self, folder: str | Path, keep: int = 2) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def save(self, step: int, files: Mapping[str, bytes], state: Mapping[str, Any]) -> Path:
        """Write a checkpoint whole, then remove the oldest.

        Args:
            step: steps done.
            files: the model's, from :func:`model_files`.
            state: nested dictionaries and lists of tensors, numbers and text.

        Returns:
            Its folder.

        Raises:
            RuntimeError: if it cannot be written, for want of space, say; the former checkpoints are intact.
        """
        path = self.folder / f"step-{step:08d}"
        if path in self.complete():  # the state at a step is always the same
            return path
        import torch  # not above, so that a run folder is looked at without it

        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = {**files, STATE: buffer.getvalue()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_folder(path, content)
        except OSError as error:
            raise RuntimeError(self._write_failure(path, content, error)) from error
        for old in self.complete()[: -self.keep]:
            remove_folder(old)
        return path

    def complete(self) -> list[Path]:
        """Checkpoints that have all their files, the oldest first; copies, links and what others put there are none."""
        found = [path for path in self.folder.glob("step-*") if re.fullmatch(_STEP, path.name)]
        return [path for path in sorted(found, key=_step_of) if _is_complete(path)]

    def read_newest(self) -> bytes | None:
        """The file of the newest complete checkpoint's state, for :func:`load_state`; None if there is none."""
        complete = self.complete()
        return _read_state(complete[-1]) if complete else None

    def repair(self) -> None:
        """Remove what a crash left unfinished, and set the newest checkpoints aside that cannot be read, saying so.

        Raises:
            ValueError: if none can be read, naming them all; they are left as they are.
        """
        remove_temporaries(self.folder, _STEP)
        complete, damaged = self.complete(), dict[Path, str]()
        while complete and (reason := _damage(complete[-1])):
            damaged[complete.pop()] = reason
        if damaged and not complete:
            reasons = "; ".join(f"{path.name}/{STATE}: {reason}" for path, reason in damaged.items())
            raise ValueError(f"{self.folder}: no checkpoint can be read ({reasons}); remove them to train anew")
        for path, reason in damaged.items():
            aside = path.with_name(f"{path.name}{DAMAGED}")
            remove(aside)
            path.rename(aside)
            kept = f"going on from {complete[-1].name}, it is now {aside.name}"
            print(f"{path / STATE}: {reason}; {kept}", file=sys.stderr)

    def _write_failure(self, path: Path, content: Mapping[str, bytes], error: OSError) -> str:
        needed = sum(map(len, content.values())) / 1e6
        parent = next(parent for parent in path.parents if parent.exists())
        free = shutil.disk_usage(parent).free / 1e6
        former = self.complete()
        kept = f"{former[-1].name} is intact" if former else "there is none before it"
        return (
            f"{path}: the checkpoint could not be written: {error.strerror or error} "
            f"({needed:.1f} MB needed, {free:.1f} MB free); {kept}; mend that and continue with --resume"
        )


def load_state(content: bytes) -> dict[str, Any]:
    """The state in the file of a checkpoint, its tensors on the CPU.

    Raises:
        ValueError: if the file is cut short, a bit of it has changed, or it is something else.
    """
    import torch

    try:
        _check_archive(content)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError(f"expected a state by keys, got a {type(state).__name__}")
        return state
    except Exception as error:  # zipfile and torch raise errors of many classes for a damaged file
        reason = str(error).partition("\n")[0][:300] or type(error).__name__
        raise ValueError(f"damaged: {reason}") from error


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _is_complete(checkpoint: Path) -> bool:
    return not checkpoint.is_symlink() and all((checkpoint / name).is_file() for name in (WEIGHTS, META, STATE))


def _check_archive(content: bytes) -> None:
    """Look at a zip archive as torch writes it: nothing compressed, no name twice, right checksums."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    entries = archive.infolist()
    if len({entry.filename for entry in entries}) < len(entries):
        raise ValueError("a name is there twice")
    compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if compressed or sum(max(entry.file_size, entry.compress_size) for entry in entries) > len(content):
        raise ValueError("it unpacks to more than it is")
    changed = archive.testzip()
    if changed is not None:
        raise ValueError(f"the checksum of {changed} does not fit")


def _read_state(checkpoint: Path) -> bytes:
    """The file of a checkpoint's state, which is some weights long."""
    weights = (checkpoint / WEIGHTS).stat().st_size
    return read_file(checkpoint / STATE, _STATE_WEIGHTS * weights + _STATE_BYTES)


def _damage(checkpoint: Path) -> str | None:
    """Why the state of a checkpoint cannot be read; None if it can."""
    try:
        step = load_state(_read_state(checkpoint)).get("step")
    except (ValueError, OSError) as error:
        return str(error)
    return None if step == _step_of(checkpoint) else f"it is of step {shown(step)}"
