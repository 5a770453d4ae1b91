"""The state of a run: all that a checkpoint holds. No generator is in it; see :mod:`wavedil.training.seeds`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wavedil.config import TrainConfig
from wavedil.training.distributed import Process
from wavedil.training.history import EpochRow
from wavedil.training.optim import Ema, make_optimizer
from wavedil.training.restore import check_state

NEVER = 2**62  # "no step" in the tensor that holds the first step whose loss was not finite


@dataclass(frozen=True)
class Best:
    """The averaged weights of the epoch that validated best.

    Attributes:
        weights: on the CPU.
        row: the figures of that epoch.
    """

    weights: dict[str, Tensor]
    row: EpochRow

    def beaten_by(self, row: EpochRow) -> bool:
        """Whether an epoch has a higher validation accuracy, or the same at a lower loss."""
        return (row.val_accuracy, -row.val_loss) > (self.row.val_accuracy, -self.row.val_loss)


class TrainingState:
    """Model, average, optimiser and figures of a run, from its first step.

    Args:
        model: on its device.
        config: of the optimiser and the average.

    Attributes:
        step: steps done.
        history: figures of the epochs done.
        best: None before the first validation.
        seconds: spent so far, stops left out.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.model = model
        self.ema = Ema(model, config.ema_decay)
        self.optimizer = make_optimizer(model, config)
        self.step = 0
        self.history: list[EpochRow] = []
        self.best: Best | None = None
        self.seconds = 0.0
        # On the device: reading a number back at every step would make a GPU wait.
        device = next(model.parameters()).device
        self._totals = torch.zeros(3, dtype=torch.float64, device=device)  # loss, correct, examples of the epoch
        self._first_bad_step = torch.full((), NEVER, dtype=torch.int64, device=device)

    def count(self, loss: Tensor, gradient_norm: Tensor, correct: Tensor, examples: int) -> None:
        """Add the figures of a step, the next one being ``self.step``; reads nothing back from the device.

        Args:
            loss: mean over the examples, a scalar.
            gradient_norm: a scalar; like the loss it is watched for NaN and infinity.
            correct: number of examples, a scalar.
            examples: of this process.
        """
        self._totals += torch.stack([loss * examples, correct, torch.full_like(loss, examples)])
        bad = ~torch.isfinite(loss + gradient_norm)
        self._first_bad_step = torch.where(bad, self._first_bad_step.clamp(max=self.step), self._first_bad_step)

    def figures(self, process: Process) -> tuple[float, float]:
        """Mean loss and accuracy of the epoch so far, over all processes."""
        loss, correct, examples = process.sum(self._totals).tolist()
        return loss / max(examples, 1), correct / max(examples, 1)

    def snapshot(self, process: Process) -> Tensor:
        """``(4,)`` float64 on the device, to be read later: sums of loss, correct and examples, and the first bad step.

        The step is :data:`NEVER` if there was none.
        """
        return torch.cat([process.sum(self._totals), process.minimum(self._first_bad_step).double().view(1)])

    def first_bad_step(self, process: Process) -> int | None:
        """The first step whose loss or gradient was not finite in some process; None if there was none."""
        step = int(process.minimum(self._first_bad_step))
        return step if step < NEVER else None

    def finish_epoch(self, row: EpochRow) -> bool:
        """Take the figures of an epoch; returns whether its weights are the best so far."""
        self.history.append(row)
        self._totals.zero_()
        if self.best is not None and not self.best.beaten_by(row):
            return False
        weights = {name: tensor.cpu().clone() for name, tensor in self.ema.model.state_dict().items()}
        self.best = Best(weights, row)
        return True

    def state_dict(self, process: Process) -> dict[str, Any]:
        """All of it as tensors, numbers and text; every process calls this, and one uses the result."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "totals": process.sum(self._totals),
            "history": [asdict(row) for row in self.history],
            "best": self.best and {"weights": self.best.weights, "row": asdict(self.best.row)},
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any], process: Process) -> None:
        """Take up what :meth:`state_dict` gave.

        The settings of the optimiser stay those of the config.

        Raises:
            ValueError: if it is the state of another model, or damaged; the message names the key.
        """
        check_state(state, self.model, self.optimizer)
        self.step, self.seconds = state["step"], state["seconds"]
        self.model.load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        settings = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": settings})
        self.history = [EpochRow(**row) for row in state["history"]]
        best = state["best"]
        self.best = Best(best["weights"], EpochRow(**best["row"])) if best else None
        if process.is_main:  # the sum over all processes, to be counted once
            self._totals.copy_(state["totals"])
