"""Learning from a larger model's opinion of each clip beside its label."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavedil.config import TrainConfig
from wavedil.data.labels import LabelSet
from wavedil.training.checkpoint import load_model
from wavedil.training.network import choose_layout


class Teacher(nn.Module):
    """A trained model's logits of the clips as they are augmented, without SpecAugment.

    Args:
        folder: of the model, or of its run.
        labels: the student's classes.
        sample_rate: of the student's waveforms, in Hz.
        device: where the student is.

    Raises:
        FileNotFoundError: if there is no model.
        ValueError: if its classes or its sample rate are others.

    Attributes:
        sha256: of its weights, which tells whether two runs learned from the same.
    """

    def __init__(self, folder: str, labels: Sequence[str], sample_rate: int, device: torch.device) -> None:
        super().__init__()
        model, meta = load_model(folder, device)
        if LabelSet(meta.labels) != LabelSet(tuple(labels)):
            raise ValueError(f"train.teacher {folder}: expected the labels {list(labels)}, got {list(meta.labels)}")
        if meta.sample_rate != sample_rate:
            raise ValueError(f"train.teacher {folder}: expected a sample rate of {sample_rate}, got {meta.sample_rate}")
        self.model = model.eval().requires_grad_(False)
        self.sha256 = _digest(model)

    @torch.no_grad()
    def forward(self, waveforms: Tensor) -> Tensor:
        """Logits ``(batch, n_classes)`` of ``(batch, 1, samples)``."""
        device = waveforms.device
        autocast = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if autocast else waveforms.dtype
        return self.model.clip_logits(waveforms, choose_layout(self.model, dtype, device)).float()


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def make_teacher(config: TrainConfig, labels: Sequence[str], sample_rate: int, device: torch.device) -> Teacher | None:
    """The teacher that a config asks for; None if it asks for none."""
    return Teacher(config.teacher, labels, sample_rate, device) if config.teacher else None


def distilled(loss: Tensor, logits: Tensor, teacher_logits: Tensor, config: TrainConfig) -> Tensor:
    """The loss on the labels, mixed with the divergence from the teacher's opinion.

    ``(1 - w) loss + w T^2 KL(softmax(teacher / T) || softmax(student / T))``. Source: Hinton, Vinyals and Dean 2015,
    arXiv:1503.02531.

    Args:
        loss: on the labels, a scalar.
        logits: the student's, ``(batch, n_classes)``.
        teacher_logits: likewise.
        config: the weight w and the temperature T.
    """
    temperature = config.teacher_temperature
    opinion = F.log_softmax(teacher_logits / temperature, dim=1)
    own = F.log_softmax(logits / temperature, dim=1)
    divergence = F.kl_div(own, opinion, reduction="batchmean", log_target=True)
    return torch.lerp(loss, divergence * temperature**2, config.teacher_weight)
