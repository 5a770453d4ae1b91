"""One step of optimisation, and validation: the arithmetic of training without its book-keeping."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavedil.config import Config
from wavedil.data.augment import Augment, plain
from wavedil.data.clips import ClipSet
from wavedil.folders import cache_root
from wavedil.layers.interleave import BatchRunner, run_each
from wavedil.runtime.native import KernelsUnavailableError
from wavedil.runtime.render import ClipRenderer
from wavedil.runtime.rows import RowRunner
from wavedil.training.cuda_graph import Function, GraphedCall, choose_cuda_graph
from wavedil.training.distillation import Teacher, distilled
from wavedil.training.distributed import Process
from wavedil.training.network import TrainingNetwork, choose_compile, choose_layout, choose_precision, find_kernels
from wavedil.training.optim import learning_rate
from wavedil.training.seeds import derive_seed
from wavedil.training.state import TrainingState


class TrainingStep:
    """Augment a batch, compute the loss and its gradient, update the weights and their average.

    Everything random in a step is drawn from (seed, rank, step), so that a resumed run draws the same.

    Args:
        config: of the run.
        state: to be advanced.
        augment: of the training clips.
        steps_per_epoch: with the epochs, the length of the learning-rate schedule.
        process: this one among those of the run.
        teacher: whose opinion is learned too.

    Attributes:
        remark: what the user should know about how the step is computed; None for nothing.
    """

    def __init__(
        self,
        config: Config,
        state: TrainingState,
        augment: Augment,
        steps_per_epoch: int,
        process: Process,
        teacher: Teacher | None = None,
    ) -> None:
        self.config, self.state, self.augment, self.process = config, state, augment, process
        self.teacher = teacher
        self.warmup_steps = round(config.train.warmup_epochs * steps_per_epoch)
        self.total_steps = config.train.epochs * steps_per_epoch
        self.generator = torch.Generator(process.device)
        self.compiled = choose_compile(config.train, process.device)
        self.remark: str | None = None
        runner = self._find_kernels(state.model)
        self.dtype = choose_precision(config.train, process.device) if runner is None else torch.bfloat16
        run = self._choose_layout(state.model) if runner is None else runner
        self.network: nn.Module = TrainingNetwork(state.model, config.augment, self.compiled, run)  # type: ignore[arg-type]
        if process.backend is not None:
            self.network = nn.parallel.DistributedDataParallel(self.network)
        self._parameters = list(state.model.parameters())  # not sought anew at each step
        self._run: Function = self.update
        self._rate: Tensor | None = None
        if choose_cuda_graph(config.train, process):
            self._run = GraphedCall(self._captured, self.generator, process.device)
            self._rate = torch.zeros((), device=process.device)  # a number would be captured as it is

    def _find_kernels(self, model: nn.Module) -> RowRunner | None:
        try:
            runner = find_kernels(model, self.config.train, self.process.device, cache_root() / "kernels")
        except KernelsUnavailableError as error:
            self.remark = f"training without the compiled kernels, which is slower: {error}"
            return None
        if runner is not None:
            self.augment.renderer = ClipRenderer(runner.kernels)
        return runner

    def _choose_layout(self, model: nn.Module) -> BatchRunner:
        if self.config.train.layout == "batch":
            return run_each
        return choose_layout(model, self.dtype, self.process.device, self.compiled)

    def learning_rate(self, step: int) -> float:
        """Of a step, counted from 0."""
        return learning_rate(step, self.config.train.lr, self.warmup_steps, self.total_steps)

    def __call__(self, waveforms: Tensor, targets: Tensor) -> None:
        """Take a step.

        Args:
            waveforms: ``(batch, samples)`` of int16, this process's share of the batch.
            targets: ``(batch,)`` class indices.
        """
        state = self.state
        seed = derive_seed(self.config.seed, "step", self.process.rank, state.step)
        self.generator.manual_seed(seed)  # of the augmentation
        torch.manual_seed(seed)  # of dropout
        self._set_learning_rate(self.learning_rate(state.step))
        loss, norm, correct = self._run(waveforms, targets)
        state.ema.update(state.step)
        state.count(loss, norm, correct, len(targets))
        state.step += 1

    def update(self, waveforms: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What of a step a CUDA graph can hold: it depends on its inputs, the generators and tensors alone.

        Returns:
            Loss, norm of the gradient and number of examples that were right, each a scalar on the device.
        """
        state, config = self.state, self.config.train
        with torch.no_grad():
            inputs, probabilities = self.augment(waveforms, targets, self.generator)
        with torch.autocast(inputs.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            logits = self.network(inputs, self.generator).float()
            opinion = None if self.teacher is None else self.teacher(inputs)
        loss = F.cross_entropy(logits, probabilities, label_smoothing=config.label_smoothing)
        if opinion is not None:
            loss = distilled(loss, logits, opinion, config)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, config.grad_clip or float("inf"))
        state.optimizer.step()
        state.optimizer.zero_grad()
        correct = (logits.argmax(dim=1) == probabilities.argmax(dim=1)).sum()
        return loss.detach(), norm.detach(), correct

    def _captured(self, waveforms: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """:meth:`update` as a graph wants it; AdamW is to be told of the capture, and warns if told outside of one."""
        capturing = torch.cuda.is_current_stream_capturing()
        for group in self.state.optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = capturing
        return self.update(waveforms, targets)

    def _set_learning_rate(self, rate: float) -> None:
        if self._rate is not None:
            self._rate.fill_(rate)
        for group in self.state.optimizer.param_groups:
            group["lr"] = rate if self._rate is None else self._rate


@torch.no_grad()
def validate(model: nn.Module, clips: ClipSet, batch_size: int, process: Process) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy of a model on clips as they are, each process taking its share.

    Args:
        model: in evaluation mode.
        clips: on the process's device.
        batch_size: clips at a time.
        process: this one among those of the run.
    """
    totals = torch.zeros(3, dtype=torch.float64, device=process.device)
    share = torch.arange(process.rank, len(clips), process.world_size, device=process.device)
    for indices in share.split(batch_size) if len(share) else ():
        waveforms, targets = clips.batch(indices)
        logits = model.clip_logits(plain(waveforms))  # type: ignore[operator]
        loss = F.cross_entropy(logits, targets, reduction="sum")
        correct = (logits.argmax(dim=1) == targets).sum()
        totals += torch.stack([loss, correct, torch.full_like(loss, len(indices))])
    loss, correct, examples = process.sum(totals).tolist()
    return loss / examples, correct / examples
