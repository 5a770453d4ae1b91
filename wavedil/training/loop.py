"""The training loop: epochs of steps, with the checkpoints, figures and checks between them."""

import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import torch

from wavedil.config import WORDS_OF_DATA, Config
from wavedil.data.augment import Augment
from wavedil.data.clips import Splits, load_splits, resolve_data
from wavedil.data.labels import SILENCE
from wavedil.models import build_model
from wavedil.training.atomic import write_file
from wavedil.training.batches import BatchOrder
from wavedil.training.checkpoint import ModelMeta, git_revision, load_model, model_files
from wavedil.training.checkpoint_store import STATE, load_state
from wavedil.training.distillation import make_teacher
from wavedil.training.distributed import Launch, Process, join
from wavedil.training.evaluation import evaluate
from wavedil.training.history import EpochRow, Events, write_metrics
from wavedil.training.interrupt import Interrupts, TrainingInterruptedError
from wavedil.training.memory import keep_freed_memory
from wavedil.training.network import choose_compile
from wavedil.training.progress import Progress
from wavedil.training.readback import Readback
from wavedil.training.report import write_report
from wavedil.training.run_folder import RunFolder
from wavedil.training.run_paths import paths_explained, resume_command, with_absolute_paths
from wavedil.training.seeds import derive_seed
from wavedil.training.state import NEVER, TrainingState
from wavedil.training.step import TrainingStep, validate

NAMES_SHOWN = 8  # of the batch whose loss is not finite; all of them go to a file


def train(config: Config, resume: bool = False) -> Path:
    """Train a keyword model, evaluate its best weights and write the report.

    Under torchrun every process calls this; they share each batch, and rank 0 prints, reads checkpoints and writes. A
    run that torchrun itself began and starts anew after a fault resumes unasked.

    Args:
        config: of the run.
        resume: go on from the newest checkpoint of ``config.run_dir``: on a CPU bit for bit as if it had not stopped.

    Returns:
        The path of report.json.

    Raises:
        FileNotFoundError: if the data are not there; the message names the config and the option for another place.
        ValueError: if the folder holds another run, a split is empty, the data have changed since the run began, no
            checkpoint can be read, or the loss is no longer finite; the message names the key, file or clips.
        RuntimeError: if another process is writing the folder, or a checkpoint cannot be written.
        TrainingInterruptedError: after Ctrl-C or SIGTERM, once a checkpoint is saved.
    """
    with join(config.train.device) as process, ExitStack() as held:
        run, launch = RunFolder(config.run_dir), Launch.from_environment()
        config = with_absolute_paths(config)
        with process.node_first(), paths_explained(config, run.config):
            words, config = config.data.words, replace(config, data=resolve_data(config.data))
        restarted = process.any(launch is not None and launch.restarted)
        with process.main_first():
            if process.is_main:
                held.enter_context(run.begun(config, resume, launch and launch.name, restarted))
        keep_freed_memory()
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        with process.node_first(), paths_explained(config, run.config):
            splits = load_splits(config.data)
        if process.is_main:
            found = [f"the words of {config.data.root}: {', '.join(splits.labels.words)}"] * (words in WORDS_OF_DATA)
            for note in (*found, *splits.notes):
                print(f"note: {note}", file=sys.stderr, flush=True)
        if not len(splits.validation):
            raise ValueError(f"the validation split of {config.data.root or config.data.source} is empty")
        with Interrupts() as interrupts:
            Trainer(config, run, splits, process, interrupts).fit()
        if process.is_main:
            report(run, splits, process.device)
    return run.report


def report(run: RunFolder, splits: Splits, device: torch.device) -> None:
    """Evaluate the best model of a run on validation and test, write its report and say where that is."""
    model, meta = load_model(run.model, device)
    sets = {"test": splits.testing, "validation": splits.validation}
    evaluations = {
        name: evaluate(model, clips.to(device), splits.labels, device) for name, clips in sets.items() if len(clips)
    }
    path = write_report(run.path, evaluations, {"epoch": int(meta.metrics["epoch"]), "model": str(run.model)})
    shown = evaluations.get("test")
    figure = f"test accuracy {shown.describe()}" if shown else "the test split is empty"
    print(f"{path}: {figure}", flush=True)


class Trainer:
    """A run in progress, taken up from its newest checkpoint.

    Args:
        config: of the run.
        run: its folder.
        splits: the clips.
        process: this one among those of the run.
        interrupts: says whether to stop.
    """

    def __init__(
        self, config: Config, run: RunFolder, splits: Splits, process: Process, interrupts: Interrupts
    ) -> None:
        self.config, self.run, self.process, self.interrupts = config, run, process, interrupts
        self.labels, device = splits.labels.labels, process.device
        self.training, self.validation = splits.training.to(device), splits.validation.to(device)
        self.data_sha256 = splits.sha256
        self.order = BatchOrder(self.training, config.train.batch_size, config.seed, process)
        self.total_steps = config.train.epochs * self.order.steps
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        torch.manual_seed(derive_seed(config.seed, "weights"))
        model = build_model(config.model, len(self.labels), config.data.sample_rate).to(device)
        self.state = TrainingState(model, config.train)
        with paths_explained(config, run.config):
            teacher = make_teacher(config.train, self.labels, config.data.sample_rate, device)
        self.teacher_sha256 = None if teacher is None else teacher.sha256
        silence = splits.labels.index(SILENCE)
        compiled = device.type == "cuda" and choose_compile(config.train, device)
        noise, rate = splits.noise.to(device), config.data.sample_rate
        augment = Augment(config.augment, rate, noise, len(self.labels), silence, compiled)
        self.train_step = TrainingStep(config, self.state, augment, self.order.steps, process, teacher)

    def fit(self) -> None:
        """Train to the last epoch."""
        self._resume()
        state, batch_size = self.state, self.order.batch_size
        self.started = time.perf_counter() - state.seconds
        self.saved = time.perf_counter()
        self.progress = Progress(self.total_steps * batch_size, state.step * batch_size, self.process.is_main)
        self.events = Events(self.run.events, state.history) if self.process.is_main else None
        if self.train_step.remark:
            self.progress.say(self.train_step.remark)
        if state.step:
            self.progress.say(f"resumed at step {state.step} of {self.total_steps}")
        try:
            while state.step < self.total_steps:
                self._run_epoch(state.step // self.order.steps)
        finally:
            self.progress.close()
            if self.events is not None:
                self.events.close()

    def _run_epoch(self, epoch: int) -> None:
        batches = self.order.share(self.order.epoch(epoch))
        first, start = self.state.step % self.order.steps, time.perf_counter()
        self.readback = Readback()
        self.state.model.train()
        self.progress.start()
        for number in range(first, self.order.steps):
            self.train_step(*self.training.batch(batches[number]))
            self.progress.advance(self.order.batch_size)
            if number < self.order.steps - 1:
                self._between_steps(epoch)
        self._check_finite()  # waits for the device, so that the rate is right
        rate = (self.order.steps - first) * self.order.batch_size / (time.perf_counter() - start)
        self._finish_epoch(epoch, rate)
        if self.state.step < self.total_steps and self.process.any(self.interrupts.received is not None):
            self._stop()

    def _between_steps(self, epoch: int) -> None:
        """Show the figures now and then, and save if it is time or the run is to stop."""
        log = self.state.step % self.config.train.log_every == 0
        if log:
            where = f"epoch {epoch + 1}/{self.config.train.epochs}, step {self.state.step}/{self.total_steps}"
            self.readback.ask(self.state.snapshot(self.process), where)
        self._report_arrived()
        if log or self.process.backend is None:  # asking the other processes costs a reduction
            stop = self.process.any(self.interrupts.received is not None)
            late = time.perf_counter() - self.saved > 60 * self.config.train.checkpoint_minutes
            if self.process.any(late) or stop:
                self._check_finite()
                self._save()
            if stop:
                self._stop()

    def _report_arrived(self) -> None:
        """Show the figures asked for at an earlier step once the device has come there; on a CPU, at once."""
        arrived = self.readback.take(wait=self.process.backend is not None)
        if arrived is None:
            return
        (loss, correct, examples, bad_step), where = arrived
        if bad_step < NEVER:
            self._fail_at(int(bad_step))
        self.progress.report(where, loss / max(examples, 1), correct / max(examples, 1))

    def _finish_epoch(self, epoch: int, rate: float) -> None:
        """Validate, save, and bring the files for the reader up to date."""
        state = self.state
        train_loss, train_accuracy = state.figures(self.process)
        self.process.broadcast(state.ema.model.buffers())  # batch statistics differ by process
        val_loss, val_accuracy = validate(state.ema.model, self.validation, self.order.batch_size, self.process)
        row = EpochRow(
            epoch=epoch + 1,
            step=state.step,
            lr=self.train_step.learning_rate(state.step - 1),
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            examples_per_second=rate,
            seconds=time.perf_counter() - self.started,
        )
        new_best = state.finish_epoch(row)
        self._save()
        if self.events is not None:
            self._write_views(new_best)
            self.events.add(row)
        self.progress.say(f"epoch {row.epoch}/{self.config.train.epochs}: {row.describe(len(self.validation))}")

    def _resume(self) -> None:
        """Take up the newest checkpoint, and write anew what a kill may have left behind or ahead of it."""
        process = self.process
        content = process.from_main(self.run.checkpoints.read_newest() if process.is_main else None)
        saved = load_state(content) if content is not None else {}
        self._check_data(saved.get("data_sha256"))
        if not saved:
            return
        if saved.get("teacher_sha256", self.teacher_sha256) != self.teacher_sha256:
            raise ValueError(f"train.teacher {self.config.train.teacher}: not the model that the run began with")
        try:
            self.state.load_state_dict(saved, process)
        except ValueError as error:
            where = f"{self.run.checkpoints.folder}: the newest checkpoint's {STATE}"
            raise ValueError(f"{where}: {error}; remove that checkpoint to go on from the one before") from None
        if self.state.step > self.total_steps:
            raise ValueError(f"{self.run.path}: step {self.state.step} of {self.total_steps} is beyond the end")
        if process.is_main:
            self.run.update_paths(self.config)
            self._write_views(new_best=True)

    def _check_data(self, expected: str | None) -> None:
        """Compare the data with those of the checkpoint, and those of each process with those of the first."""
        here, source = self.data_sha256, self.config.data.root or self.config.data.source
        if self.process.any(self.process.from_main(here.encode()) != here.encode()):
            raise ValueError(f"{source}: not the same clips in all processes: give each machine the same data")
        if expected not in (None, here):
            raise ValueError(
                f"{source}: not the clips that the run in {self.run.path} began with: put those back, or begin another"
            )

    def _save(self) -> None:
        state = self.state
        state.seconds = time.perf_counter() - self.started
        origin = {"data_sha256": self.data_sha256, "teacher_sha256": self.teacher_sha256}
        content = state.state_dict(self.process) | origin
        with self.process.main_first():
            if self.process.is_main:
                rows = [row for row in state.history if row.step == state.step]  # none inside an epoch
                files = model_files(state.ema.model.state_dict(), self._meta(rows))
                self.run.checkpoints.save(state.step, files, content)
        self.saved = time.perf_counter()

    def _write_views(self, new_best: bool) -> None:
        """Write what follows from the checkpoint: metrics.csv and the best model."""
        write_metrics(self.run.metrics, self.state.history)
        best = self.state.best
        if best is not None and new_best:
            self.run.write_model(model_files(best.weights, self._meta([best.row])))

    def _meta(self, rows: list[EpochRow]) -> ModelMeta:
        names, data = ("epoch", "val_loss", "val_accuracy"), self.config.data
        metrics = {name: getattr(row, name) for row in rows for name in names}
        return ModelMeta(
            self.labels, data.sample_rate, data.clip_samples, self.config.model, git_revision(), metrics=metrics
        )

    def _check_finite(self) -> None:
        step = self.state.first_bad_step(self.process)
        if step is not None:
            self._fail_at(step)

    def _fail_at(self, step: int) -> NoReturn:
        """Name the clips of the step whose loss or gradient was not finite."""
        indices = self.order.epoch(step // self.order.steps)[step % self.order.steps]
        names = self.training.names_of(indices.tolist())
        if self.process.is_main:
            write_file(self.run.nan_batch, ("\n".join(names) + "\n").encode("utf-8", "surrogateescape"))
        raise ValueError(
            f"the loss or its gradient is NaN or infinite at step {step + 1}, on the batch of "
            f"{', '.join(names[:NAMES_SHOWN])}{', ...' if len(names) > NAMES_SHOWN else ''} "
            f"(all {len(names)} in {self.run.nan_batch}); look at those clips, or lower train.lr"
        )

    def _stop(self) -> None:
        signum = self.interrupts.received or signal.SIGTERM
        progress = f"stopped at step {self.state.step} of {self.total_steps}, all saved"
        raise TrainingInterruptedError(progress, resume_command(self.run.config), signum)
