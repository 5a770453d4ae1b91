"""Which clips each step trains on: a permutation an epoch, cut into batches, each shared among the processes."""

from torch import Tensor

from wavedil.data.clips import ClipSet
from wavedil.training.distributed import Process
from wavedil.training.seeds import derive_generator


class BatchOrder:
    """The batches of a run, a function of the seed and the epoch alone.

    What does not fill a batch is left out, another remainder each epoch; a set smaller than a batch is one batch.

    Args:
        clips: the training set.
        batch_size: examples in a step over all processes.
        seed: of the run.
        process: takes every ``world_size``-th example of a batch.

    Attributes:
        batch_size: examples in a step over all processes; less than asked for on a smaller set.
        steps: batches in an epoch.

    Raises:
        ValueError: if there are no clips, or a batch does not divide among the processes.
    """

    def __init__(self, clips: ClipSet, batch_size: int, seed: int, process: Process) -> None:
        if batch_size % process.world_size:
            raise ValueError(
                f"train.batch_size: expected a multiple of the {process.world_size} processes, got {batch_size}"
            )
        self._clips, self._seed, self._process = clips, seed, process
        examples = len(self._permutation(0))
        self.batch_size = min(batch_size, examples - examples % process.world_size)
        if self.batch_size < 1:
            raise ValueError(
                f"the training split has {examples} clips: expected at least one for each of "
                f"{process.world_size} processes"
            )
        self.steps = examples // self.batch_size

    def epoch(self, epoch: int) -> Tensor:
        """Indices ``(steps, batch_size)`` of the training examples of an epoch, counted from 0, over all processes."""
        return self._permutation(epoch)[: self.steps * self.batch_size].view(self.steps, self.batch_size)

    def share(self, batches: Tensor) -> Tensor:
        """What of :meth:`epoch` is this process's, on its device."""
        return batches[:, self._process.rank :: self._process.world_size].to(self._process.device)

    def _permutation(self, epoch: int) -> Tensor:
        return self._clips.epoch_order(derive_generator(self._seed, "order", epoch))
