"""The model as it is trained: SpecAugment inside, compiled and in the precision that pays on the device."""

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from wavedil.config import AugmentConfig, TrainConfig
from wavedil.data.spectrogram_augment import LEAST_DEVIATION, augment_spectrogram
from wavedil.features import LogMel, mel_edges
from wavedil.filterbank import FilterEnergies
from wavedil.layers.interleave import BatchRunner, InterleavedRunner, can_interleave, run_each, run_interleaved
from wavedil.models import KeywordModel
from wavedil.runtime.filters import FilterRunner
from wavedil.runtime.native import cpu_capabilities, has_instructions, load_kernels
from wavedil.runtime.rows import RowRunner, can_run_rows
from wavedil.runtime.spectrogram import SpectrogramKernel


class TrainingNetwork(nn.Module):
    """Waveforms to logits, with SpecAugment on the spectrogram of the models that have one.

    Args:
        model: shares its weights.
        augment: warps, styles, filters and masks of the spectrogram.
        compiled: whether to run through torch.compile.
        run: how the model's body computes a batch.
    """

    def __init__(
        self, model: KeywordModel, augment: AugmentConfig, compiled: bool = False, run: BatchRunner = run_each
    ) -> None:
        super().__init__()
        self.model = model
        self.augment = augment
        self.centres: Tensor
        if model.has_spectrogram:
            front: LogMel | FilterEnergies = model.front  # type: ignore[assignment]
            edges = mel_edges(cast(int, front.sample_rate), front.config)
            device = next(model.parameters()).device
            self.register_buffer("centres", edges[1:-1].float().to(device), persistent=False)
        self.compiled, self.run = compiled, run
        kernels = run.kernels if isinstance(run, RowRunner) else None
        self._run_front = None if kernels is None else FilterRunner(kernels)
        self._render = None if kernels is None else SpectrogramKernel(kernels, LEAST_DEVIATION)
        self._by_clips: dict[int, Callable[[Tensor], Tensor]] = {}

    def forward(self, waveforms: Tensor, generator: torch.Generator) -> Tensor:
        """Logits ``(batch, n_classes)`` of ``(batch, 1, samples)``; the masks are drawn from the generator."""
        return self.logits(self.features(waveforms, generator))

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``(batch, n_classes)`` of what :meth:`features` gave."""
        clips = len(features)
        if clips not in self._by_clips:
            self._by_clips[clips] = self._make_logits(clips)
        return self._by_clips[clips](features)

    def _make_logits(self, clips: int) -> Callable[[Tensor], Tensor]:
        """From features of so many clips to logits.

        Compiled in part: drawing masks from a generator breaks a graph, and a spectrum is complex, which the compiler
        leaves to eager kernels anyway.
        """
        function = self.model.classify if self.model.has_spectrogram else self.model.clip_logits
        if self.run is run_interleaved:
            function = partial(function, run=InterleavedRunner(self.model.body, clips))
        elif self.run is not run_each:
            function = partial(function, run=self.run)
        return torch.compile(function) if self.compiled else function

    def features(self, waveforms: Tensor, generator: torch.Generator) -> Tensor:
        """The augmented spectrogram; the waveforms themselves where the model has none."""
        if not self.model.has_spectrogram:
            return waveforms
        with torch.autocast(waveforms.device.type, enabled=False):  # a spectrum spans more than bfloat16 resolves
            run = self._run_front
            features = self.model.features(waveforms) if run is None else self.model.features(waveforms, run)
            return augment_spectrogram(features, self.augment, self.centres, generator, self._render)


def choose_precision(config: TrainConfig, device: torch.device) -> torch.dtype:
    """The dtype that autocast computes in where no kernels do; float32 means no autocast.

    "auto" is bfloat16 where the device computes in it: on such GPUs, and on CPUs with AVX512-BF16 or AMX
    (docs/results/training_speed.md has the times). Elsewhere it is emulated, and costs more than it saves.
    """
    if config.precision != "auto":
        return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        pays = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = cpu_capabilities()
        pays = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.bfloat16 if pays else torch.float32


def choose_layout(model: nn.Module, dtype: torch.dtype, device: torch.device, compiled: bool = False) -> BatchRunner:
    """How a batch is laid out: as one interleaved signal, where that is faster.

    On a CPU it is in bfloat16 for all models, and in float32 for the one in two dimensions, which is bound by memory,
    while gated stacks gain nothing; compiled on CUDA for that one, whose depthwise convolutions become sums, which
    fuse with what is around them (docs/results/training_speed.md).

    Args:
        model: in training.
        dtype: that is computed in.
        device: of the model.
        compiled: whether it runs through torch.compile.
    """
    if not isinstance(model, KeywordModel) or not can_interleave(model.body) or compiled != (device.type == "cuda"):
        return run_each
    everywhere = device.type == "cpu" and dtype == torch.bfloat16
    return run_interleaved if everywhere or model.config.name == "broadcast" else run_each


def find_kernels(model: nn.Module, config: TrainConfig, device: torch.device, folder: Path) -> RowRunner | None:
    """What trains a model's body by compiled kernels, in bfloat16; None where there are none for it or for this CPU.

    Args:
        model: in training.
        config: of the training; none are wanted in float32, or compiled otherwise.
        device: of the model.
        folder: where the kernels are kept once they are built.

    Raises:
        KernelsUnavailableError: if there are some for it, but they cannot be built.
    """
    wanted = config.kernels == "auto" and config.precision != "float32" and not choose_compile(config, device)
    if not wanted or device.type != "cpu" or not has_instructions():
        return None
    if not isinstance(model, KeywordModel) or not can_run_rows(model.body):
        return None
    return RowRunner(load_kernels(folder), model.body)


def choose_compile(config: TrainConfig, device: torch.device) -> bool:
    """Whether to run through torch.compile.

    "auto" is yes on CUDA, where a small model is bound by the launches of its kernels; no on the CPU, where compiling
    takes longer than it wins back in a short run and needs a C++ compiler.
    """
    if config.compile != "auto":
        return config.compile == "on"
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None
