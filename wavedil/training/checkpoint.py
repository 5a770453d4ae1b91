"""Models on disk: a folder of ``model.safetensors`` and ``config.json``, nothing unpickled, written whole.

A folder may come from anybody: its description is checked key by key, and the header of its weights against it, before
anything is built.
"""

import functools
import json
import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from wavedil._version import __version__
from wavedil.config import ModelConfig
from wavedil.models import KeywordModel, build_model
from wavedil.training.atomic import write_folder
from wavedil.training.config import to_dict
from wavedil.training.description import FORMAT_VERSION, META, WEIGHTS, model_folder, read_description
from wavedil.training.weights import read_weights


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
    figures = {name: figure for name, figure in meta.metrics.items() if math.isfinite(figure)}  # JSON has no others
    description = {"format_version": FORMAT_VERSION} | vars(meta) | {"model": to_dict(meta.model), "metrics": figures}
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
        FileNotFoundError: if there is no model in the folder; the message says what was expected.
        OSError: if a file of it cannot be read.
        ValueError: if a file is damaged, of another format version, or the weights do not fit the architecture or are
            not finite; the message begins with the file.
    """
    folder = model_folder(Path(folder))
    meta = ModelMeta(**read_description(folder / META))
    weights = read_weights(folder / WEIGHTS, lambda tensors: _expected_weights(folder, meta, tensors))
    model = build_model(meta.model, len(meta.labels), meta.sample_rate)
    model.load_state_dict(weights)
    if meta.clip_samples < model.hop:
        raise ValueError(
            f"{folder / META}: key 'clip_samples': expected at least {model.hop}, a frame of the model, "
            f"got {meta.clip_samples}"
        )
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


def _expected_weights(folder: Path, meta: ModelMeta, tensors: int) -> Mapping[str, Tensor]:
    """The weights that a description asks for, without their memory.

    Args:
        folder: of the model.
        meta: its description.
        tensors: in the file of its weights; a layer has one at least, so that more layers are not made to be compared.
    """
    layers = _layer_count(meta.model)
    if layers > tensors:
        raise ValueError(f"{folder / META}: key 'model': {layers:,} layers, but {WEIGHTS} has {tensors:,} tensors")
    try:
        with torch.device("meta"):
            return build_model(meta.model, len(meta.labels), meta.sample_rate).state_dict()
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:  # of torch: sizes beyond what it can count
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{folder / META}: key 'model': no such model can be built: {reason}") from None


def _layer_count(config: ModelConfig) -> int:
    """Layers that have weights, or fewer."""
    if config.name == "broadcast":
        return sum(config.stage_blocks)
    stem = len(config.stem_channels) if config.name == "raw" and config.stem == "strided" else 0
    return stem + len(config.entry_channels) + (len(config.dilations) or config.cycles * config.depth)
