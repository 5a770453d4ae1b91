"""What a training run can vary: frozen dataclasses, read from TOML by :func:`wavedil.training.config.load_config`.

This module imports nothing of torch, so that a config can be read, checked and printed at once.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

Boundary = Literal["zeros", "silence"]
WORDS_OF_DATA = ("auto", "all")  # values of data.words that are resolved with the data


@dataclass(frozen=True)
class DataConfig:
    """Where the clips come from and which words are told apart.

    Attributes:
        source: "synthetic" (spoken by espeak-ng into a cache folder), "speech_commands" or "folder" (``<word>/*.wav``).
        root: the data folder; None takes the source's folder below ``cache_dir``.
        version: of Speech Commands.
        download: whether Speech Commands may be downloaded into ``root``.
        words: "auto" (all of a folder, the 35 of Speech Commands), "all" that there are, "35", "12" (10 words, unknown
            and silence) or the words themselves.
        speaker: who speaks in the clips of a folder: a regular expression with one group, searched for in
            ``<word>/<file>``, or a table of ``file,speaker`` (.csv); None knows ``<speaker>_nohash_<number>`` only.
        unknown: whether the other words are a class of their own (else they are left out).
        silence: whether silence, made of the background noise, is a class.
        unknown_share: unknown examples that each epoch draws, as a share of its known ones (0.1 as published).
        silence_share: silent examples that each epoch has, likewise.
        test_root: a folder of ``<word>/*.wav`` that replaces the testing split (the official 12-class archive, say).
        speakers: number of synthetic speakers.
        sample_rate: in Hz; other rates are resampled when the clip cache is made.
        clip_samples: length of a clip in samples; shorter ones are padded, of longer ones the loudest part is taken.
        on_corrupt: what a clip that cannot be read does: "raise", or "skip" with its name printed.
        cache_dir: where caches are kept; None takes ``~/.cache/wavedil`` (or ``$WAVEDIL_CACHE``).
    """

    source: Literal["synthetic", "speech_commands", "folder"] = "synthetic"
    root: str | None = None
    version: Literal["v0.01", "v0.02"] = "v0.02"
    download: bool = False
    words: Literal["auto", "all", "35", "12"] | list[str] = "auto"
    speaker: str | None = None
    unknown: bool = False
    silence: bool = False
    unknown_share: float = 0.1
    silence_share: float = 0.1
    test_root: str | None = None
    speakers: int = 120
    sample_rate: int = 16_000
    clip_samples: int = 16_000
    on_corrupt: Literal["raise", "skip"] = "raise"
    cache_dir: str | None = None


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of training clips, batched on the device.

    Attributes:
        shift_ms: largest shift either way.
        cut_probability: share of the clips that come later still, so that the end of the word may be cut off, as it is
            in a stream that is asked before the word is over.
        cut_ms: by how much at most.
        gain_db: largest gain either way, of the clip and its noise together.
        speed: largest relative change of speed either way (0.1: 0.9 to 1.1), by resampling; 8 clips in turn share one.
        noise_probability: share of the clips that get background noise.
        noise_gain: largest linear gain of that noise, before ``gain_db``.
        frequency_warp: largest relative change of frequency either way, on log energies, as longer and shorter vocal
            tracts make; 0 is off.
        style_probability: share of the clips whose bands take over, in part, the mean and the deviation over time of
            another clip's, on log energies, as if its voice and microphone were mixed in.
        filter_db: largest gain either way of a random smooth filter, on log energies; 0 is off.
        time_masks: SpecAugment masks over time, on spectrogram models.
        time_mask_frames: largest width of each.
        frequency_masks: SpecAugment masks over frequency.
        frequency_mask_bins: largest width of each.
        mixup: alpha of the Beta distribution; 0 is off.
    """

    shift_ms: float = 100.0
    cut_probability: float = 0.0
    cut_ms: float = 500.0
    gain_db: float = 6.0
    speed: float = 0.0
    noise_probability: float = 0.8
    noise_gain: float = 0.1
    frequency_warp: float = 0.0
    style_probability: float = 0.0
    filter_db: float = 0.0
    time_masks: int = 0
    time_mask_frames: int = 10
    frequency_masks: int = 0
    frequency_mask_bins: int = 5
    mixup: float = 0.0


@dataclass(frozen=True)
class FeatureConfig:
    """Causal log-mel front end.

    Attributes:
        n_fft: length of the Fourier transform in samples; a power of two is fast and exact in every runtime.
        win_length: length of the window in samples, padded with zeros to ``n_fft``.
        hop_length: in samples.
        n_mels: number of mel bands.
        f_min: lowest frequency in Hz.
        f_max: highest frequency in Hz; None takes half the sample rate.
    """

    n_fft: int = 512
    win_length: int = 480
    hop_length: int = 320
    n_mels: int = 40
    f_min: float = 20.0
    f_max: float | None = None


@dataclass(frozen=True)
class ModelConfig:
    """A keyword model; the defaults are the small log-mel one.

    Attributes:
        name: "mel" (log-mel front end), "raw" (waveform, strided causal stem) or "broadcast" (log-mel spectrogram, in
            two dimensions by broadcast residual blocks).
        width: by which all numbers of channels below are multiplied, and rounded.
        channels: residual channels of the dilated stack; of "broadcast", those of its first convolution.
        skip_channels: channels of the skip sum and of the classifier's input.
        entry_channels: channels of convolutions over the spectrogram, each of which halves its bins, before the stack
            of "mel" and of "raw" with filters; empty goes straight from bands to channels.
        kernel_size: of the dilated convolutions.
        cycles: how often the dilations 1, 2, ..., 2^(depth-1) are repeated.
        depth: layers in a cycle.
        dilations: of the layers, one for each, in the place of cycles and depth; empty takes those.
        gate: "tanh" (tanh * sigmoid) or "glu".
        norm: normalisation after each block's convolution: "batch", "rms", "layer" or "none".
        dropout: probability, before the classifier and in each block.
        window_ms: length of the exact average window over time.
        boundary: what each layer sees before the start: "zeros" or the response to "silence".
        stem: of "raw": "strided" (stages of convolutions) or "filters" (learned filters in quadrature, as many as
            ``features.n_mels``, whose energies take the place of the mel bands').
        stem_channels: channels of the raw model's strided stages.
        stem_strides: strides of those stages; their product is the hop.
        stage_channels: channels of the stages of "broadcast".
        stage_blocks: blocks in each stage.
        stage_dilations: dilation over time of each stage's blocks.
        stage_strides: bins between outputs of each stage's first block.
        bands: of the sub-spectral normalisation; they divide the bins of every stage.
        features: the front end of "mel" and "broadcast", and of "raw" with filters, where ``n_fft`` is not used.
    """

    name: Literal["mel", "raw", "broadcast"] = "mel"
    width: float = 1.0
    channels: int = 32
    skip_channels: int = 40
    entry_channels: list[int] = field(default_factory=list)
    kernel_size: int = 3
    cycles: int = 3
    depth: int = 4
    dilations: list[int] = field(default_factory=list)
    gate: Literal["tanh", "glu"] = "tanh"
    norm: Literal["batch", "rms", "layer", "none"] = "batch"
    dropout: float = 0.0
    window_ms: float = 1000.0
    boundary: Boundary = "zeros"
    stem: Literal["strided", "filters"] = "strided"
    stem_channels: list[int] = field(default_factory=lambda: [32, 64, 64, 64])
    stem_strides: list[int] = field(default_factory=lambda: [4, 4, 4, 5])
    stage_channels: list[int] = field(default_factory=lambda: [8, 12, 16, 20])
    stage_blocks: list[int] = field(default_factory=lambda: [2, 2, 4, 4])
    stage_dilations: list[int] = field(default_factory=lambda: [1, 2, 4, 8])
    stage_strides: list[int] = field(default_factory=lambda: [1, 2, 2, 1])
    bands: int = 5
    features: FeatureConfig = FeatureConfig()

    def widened(self) -> "ModelConfig":
        """The same model with its width multiplied into the numbers of channels.

        Raises:
            ValueError: if the width is not above 0.
        """
        if not self.width > 0:
            raise ValueError(f"width must be above 0, got {self.width}")

        def wide(channels: int) -> int:
            return max(round(channels * self.width), 1)

        return replace(
            self,
            width=1.0,
            channels=wide(self.channels),
            skip_channels=wide(self.skip_channels),
            stem_channels=[wide(channels) for channels in self.stem_channels],
            entry_channels=[wide(channels) for channels in self.entry_channels],
            stage_channels=[wide(channels) for channels in self.stage_channels],
        )


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation.

    Attributes:
        epochs: passes over the training split.
        batch_size: examples in a step, over all processes together.
        optimizer: "adamw" or "sgd" (Nesterov momentum 0.9).
        lr: peak learning rate.
        weight_decay: decoupled for AdamW; not applied to biases, norms and other vectors.
        warmup_epochs: of linear warm-up, before the cosine.
        label_smoothing: share of the target spread over all classes.
        teacher: folder of a trained model, or its run, whose opinion of each clip is learned too; None is without.
        teacher_weight: share of that in the loss, against the labels.
        teacher_temperature: by which the logits are divided there.
        ema_decay: of the exponential moving average of the weights, which is what is evaluated; 0 is off.
        grad_clip: largest norm of the gradient; 0 is off.
        device: "auto" takes a CUDA device where there is one.
        precision: "auto" takes bfloat16 where measurement says it pays.
        compile: likewise for torch.compile.
        kernels: "auto" trains on a CPU by compiled kernels, where there are any for the model and the CPU.
        layout: "auto" takes a batch as one interleaved signal where that is faster; "batch" never.
        cuda_graph: "auto" captures the step as one CUDA graph where a single process trains on a CUDA device.
        threads: of the CPU; 0 leaves torch's choice.
        checkpoint_minutes: also checkpoint inside an epoch when this much time has passed.
        log_every: steps between plain progress lines off a terminal.
    """

    epochs: int = 20
    batch_size: int = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 6e-3
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.05
    teacher: str | None = None
    teacher_weight: float = 0.5
    teacher_temperature: float = 2.0
    ema_decay: float = 0.995
    grad_clip: float = 5.0
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    kernels: Literal["auto", "off"] = "auto"
    layout: Literal["auto", "batch"] = "auto"
    cuda_graph: Literal["auto", "off"] = "auto"
    threads: int = 0
    checkpoint_minutes: float = 5.0
    log_every: int = 50


@dataclass(frozen=True)
class Config:
    """A whole run.

    Attributes:
        run_dir: the folder that the run writes.
        seed: of everything random.
        data: see :class:`DataConfig`.
        augment: see :class:`AugmentConfig`.
        model: see :class:`ModelConfig`.
        train: see :class:`TrainConfig`.
    """

    run_dir: str = "runs/default"
    seed: int = 0
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()


# Width 1 of each kind of model, and the widths of the named sizes.
_BASES = {
    "mel": ModelConfig(entry_channels=[16, 16], skip_channels=32),
    "raw": ModelConfig(
        name="raw",
        stem="filters",
        entry_channels=[16, 16],
        channels=40,
        skip_channels=64,
        features=FeatureConfig(n_mels=80),
    ),
    "broadcast": ModelConfig(name="broadcast", channels=16, skip_channels=32),
}
SIZES = {
    "mel": {"XS": 0.25, "S": 0.5, "M": 1.0, "L": 3.0},
    "raw": {"XS": 0.25, "S": 0.5, "M": 1.0, "L": 2.0},
    "broadcast": {"XS": 1.0, "S": 2.0, "M": 3.0, "L": 8.0},
}
"""Width factor of each named size, by the name of the model."""


def sized_model(name: str, size: str) -> ModelConfig:
    """The model of a named size.

    Args:
        name: "mel", "raw" or "broadcast".
        size: "XS", "S", "M" or "L".

    Raises:
        ValueError: if there is no such model or size.
    """
    if name not in SIZES or size not in SIZES[name]:
        raise ValueError(f"expected one of {', '.join(SIZES)} and one of {', '.join(SIZES['mel'])}, got {name} {size}")
    return replace(_BASES[name], width=SIZES[name][size])
