"""The figures of each epoch, and what is made of them: metrics.csv and TensorBoard events.

The rows live in the checkpoints; the files are written anew from them when a run resumes, and so never disagree.
"""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from wavedil.training.atomic import write_file
from wavedil.training.metrics import accuracy_in_words


@dataclass(frozen=True)
class EpochRow:
    """A row of metrics.csv.

    Attributes:
        epoch: from 1.
        step: steps done at its end.
        lr: learning rate of its last step.
        train_loss: mean over the epoch, on augmented clips, of the weights as they were at each step.
        train_accuracy: likewise.
        val_loss: cross-entropy in nats of the averaged weights, without label smoothing.
        val_accuracy: of the averaged weights.
        examples_per_second: while training.
        seconds: since the start of the run, stops left out.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    examples_per_second: float
    seconds: float

    def describe(self, clips: int) -> str:
        """The row as a line to print; ``clips`` is how many the validation has."""
        validation = accuracy_in_words(round(self.val_accuracy * clips), clips)
        return (
            f"training loss {self.train_loss:.4f}, accuracy {self.train_accuracy:.2%}; "
            f"validation loss {self.val_loss:.4f}, accuracy {validation}; "
            f"{self.examples_per_second:,.0f} examples/s"
        )


def write_metrics(path: Path, rows: Sequence[EpochRow]) -> None:
    """Write metrics.csv whole, a row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(EpochRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.7g}" for name, value in asdict(row).items()} for row in rows)
    write_file(path, text.getvalue().encode())


class Events:
    """TensorBoard events of a run; without TensorBoard, or room for them, it does nothing and says so once.

    The events can be written anew from the checkpoint, so no run is lost for them.

    Args:
        folder: of the events.
        rows: epochs done before; they are written again and replace what a stopped run left.
    """

    def __init__(self, folder: Path, rows: Sequence[EpochRow] = ()) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ModuleNotFoundError:
            print("no TensorBoard events: pip install 'wavedil[tensorboard]'")
            self._writer = None
            return
        for former in folder.glob("events.out.tfevents.*"):
            if not former.is_dir():
                former.unlink()
        self._writer = None
        with self._spared():
            self._writer = SummaryWriter(str(folder), purge_step=0)  # purge: for a TensorBoard that has read the former
        for row in rows:
            self.add(row)

    def add(self, row: EpochRow) -> None:
        """Write the figures of an epoch, against the step."""
        figures = {
            "loss/train": row.train_loss,
            "loss/validation": row.val_loss,
            "accuracy/train": row.train_accuracy,
            "accuracy/validation": row.val_accuracy,
            "lr": row.lr,
            "examples_per_second": row.examples_per_second,
        }
        with self._spared():
            if self._writer is not None:
                for tag, value in figures.items():
                    self._writer.add_scalar(tag, value, row.step)
                self._writer.flush()

    def close(self) -> None:
        """Write what is pending."""
        with self._spared():
            if self._writer is not None:
                self._writer.close()

    @contextmanager
    def _spared(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            print(f"no more TensorBoard events: {error.strerror or error}", file=sys.stderr)
            self._writer = None
