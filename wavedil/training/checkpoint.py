"""Models and the state of training on disk: safetensors and JSON, nothing unpickled, every folder written whole.

A model is a folder of ``model.safetensors`` and ``config.json``. A checkpoint is that, of the weights that would be
evaluated, with ``training.pt`` beside it: all that a run needs to go on as if it had never stopped.
"""

import functools
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from wavedil._version import __version__
from wavedil.config import ModelConfig
from wavedil.models import KeywordModel, build_model
from wavedil.training.atomic import remove, remove_folder, remove_temporaries, write_folder
from wavedil.training.config import from_dict, to_dict

FORMAT_VERSION = 1
WEIGHTS, META, STATE = "model.safetensors", "config.json", "training.pt"
_STEP = "step-[0-9]{8,18}"  # names of checkpoints
DAMAGED = ".damaged"  # suffix of a checkpoint that could not be read


@dataclass(frozen=True)
class ModelMeta:
    """What a model's weights belong to.

    Attributes:
        labels: the words, one a class.
        sample_rate: in Hz.
        clip_samples: length of a clip in samples, as trained on.
        model: the architecture.
        git_revision: of the code that trained it, if that was in a git repository.
        wavedil_version: likewise.
        metrics: figures by name, such as the validation accuracy.
    """

    labels: tuple[str, ...]
    sample_rate: int
    clip_samples: int
    model: ModelConfig
    git_revision: str | None = None
    wavedil_version: str = __version__
    metrics: dict[str, float] = field(default_factory=dict)


def save_model(folder: str | Path, model: nn.Module, meta: ModelMeta) -> None:
    """Write a model folder whole, replacing the one that may be there.

    Args:
        folder: where; its parent folder exists.
        model: the weights and buffers to write.
        meta: what they belong to.

    Raises:
        OSError: if it cannot be written; a former model is then intact.
    """
    write_folder(Path(folder), model_files(model.state_dict(), meta))


def model_files(weights: Mapping[str, torch.Tensor], meta: ModelMeta) -> dict[str, bytes]:
    """The content of a model folder by file name."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    description = {"format_version": FORMAT_VERSION} | vars(meta) | {"model": to_dict(meta.model)}
    return {
        WEIGHTS: safetensors.torch.save(tensors, metadata={"format": "pt"}),
        META: (json.dumps(description, indent=2) + "\n").encode(),
    }


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> tuple[KeywordModel, ModelMeta]:
    """Read a model, in evaluation mode.

    Args:
        folder: a model folder, a checkpoint, or a run folder, whose best model is taken.
        device: where its weights go.

    Returns:
        The model and what its weights belong to.

    Raises:
        FileNotFoundError: if there is no model in the folder.
        ValueError: if a file is damaged, of another format version, or the weights do not fit the architecture.
    """
    folder = Path(folder)
    if not (folder / META).exists() and (folder / "model" / META).exists():
        folder /= "model"
    meta = _read_meta(folder)
    path = folder / WEIGHTS
    try:
        weights = safetensors.torch.load(_read(path))
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file: {error}") from None
    model = build_model(meta.model, len(meta.labels), meta.sample_rate)
    _check_weights(path, weights, model.state_dict())
    model.load_state_dict(weights)
    return model.to(device).eval(), meta


@functools.cache
def git_revision() -> str | None:
    """Commit of the repository that this package runs from, with ``-dirty`` if changed since; None outside one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # else a repository around the environment would be taken for the package's
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


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
        return (complete[-1] / STATE).read_bytes() if complete else None

    def repair(self) -> None:
        """Remove what a crash left unfinished, and set the newest checkpoints aside that cannot be read, saying so.

        Raises:
            ValueError: if none can be read, naming them all; they are left as they are.
        """
        remove_temporaries(self.folder, _STEP)
        complete, damaged = self.complete(), dict[Path, str]()
        while complete and (reason := _damage(complete[-1] / STATE)):
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
        ValueError: if the file is cut short or a bit of it has changed.
    """
    try:
        # The format is a zip archive; torch does not look at its checksums.
        changed = zipfile.ZipFile(io.BytesIO(content)).testzip()
        if changed is not None:
            raise ValueError(f"the checksum of {changed} does not fit")
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile and torch raise errors of many classes for a damaged file
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"damaged: {reason}") from error


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _is_complete(checkpoint: Path) -> bool:
    return not checkpoint.is_symlink() and all((checkpoint / name).is_file() for name in (WEIGHTS, META, STATE))


def _damage(path: Path) -> str | None:
    """Why the state of a checkpoint cannot be read; None if it can."""
    try:
        load_state(path.read_bytes())
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _read(path: Path) -> bytes:
    if not path.exists():
        raise FileNotFoundError(f"{path.parent}: expected a model ({WEIGHTS} and {META}), {path.name} is missing")
    return path.read_bytes()


def _read_meta(folder: Path) -> ModelMeta:
    path = folder / META
    try:
        content = json.loads(_read(path))
        version = content.pop("format_version")
        if version != FORMAT_VERSION:
            raise ValueError(f"{path}: expected format_version {FORMAT_VERSION}, got {version!r}")
        model = from_dict(content.pop("model"), ModelConfig, origin=str(path), prefix="model.")
        return ModelMeta(labels=tuple(content.pop("labels")), model=model, **content)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the description of a model: {type(error).__name__}: {error}") from None


def _check_weights(path: Path, found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    for name in expected.keys() | found.keys():
        shapes = [tuple(weights[name].shape) if name in weights else "nothing" for weights in (expected, found)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{path}: weight '{name}': expected {shapes[0]}, got {shapes[1]}")
