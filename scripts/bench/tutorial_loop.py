"""The same training as the torchaudio tutorials write it: what :mod:`train_speed` compares this package with.

A DataLoader whose workers decode, pad and augment clip by clip, ``torchaudio.transforms`` on the batch, a float32 step
with ``loss.item()`` for the progress bar. Sources, below https://docs.pytorch.org: the tutorials
tutorials/intermediate/speech_command_classification_with_torchaudio_tutorial.html and
audio/stable/tutorials/audio_data_augmentation_tutorial.html. ``torchaudio.load`` is replaced by soundfile, since it
needs torchcodec from torchaudio 2.9 on.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wavedil.config import AugmentConfig, Config
from wavedil.data.clips import Splits, open_clips
from wavedil.data.torchaudio_compat import torchaudio
from wavedil.models import build_model

Example = tuple[Tensor, int]


class TutorialClips(Dataset[Example]):
    """Clips decoded, padded and augmented one at a time, when they are asked for.

    Args:
        config: of the run.
        splits: whose training examples are given, as many as an epoch has.
    """

    def __init__(self, config: Config, splits: Splits) -> None:
        training = splits.training
        paths = {clip.name: clip.path for clip in open_clips(config.data).clips}
        order = training.epoch_order(torch.Generator().manual_seed(config.seed)).tolist()
        silent = [index >= len(training) for index in order]
        self.paths: list[Path | None] = [
            None if none else paths[training.names[i]] for i, none in zip(order, silent, strict=True)
        ]
        silence = splits.training.silence_index or 0
        self.targets = [silence if none else int(training.targets[i]) for i, none in zip(order, silent, strict=True)]
        self.config, self.samples = config.augment, config.data.clip_samples
        self.max_shift = round(config.augment.shift_ms * config.data.sample_rate / 1000)
        self.noise = splits.noise.float() / 32768

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Example:
        path = self.paths[index]
        waveform = torch.zeros(1, self.samples) if path is None else load(path)
        waveform = F.pad(waveform, (0, max(self.samples - waveform.shape[-1], 0)))[:, : self.samples]
        return augment(waveform, self.noise, self.config, self.max_shift), self.targets[index]


def load(path: Path) -> Tensor:
    """What ``torchaudio.load`` gives: ``(channels, samples)`` float32."""
    return torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0].T.copy())


def augment(waveform: Tensor, noise: Tensor, config: AugmentConfig, max_shift: int) -> Tensor:
    """Shift, gain and background noise of one clip ``(1, samples)``, as the config says."""
    samples = waveform.shape[-1]
    if max_shift:
        shift = int(torch.randint(-max_shift, max_shift + 1, ()))
        waveform = F.pad(waveform, (max_shift + shift, max_shift - shift))[:, max_shift : max_shift + samples]
    if config.gain_db:
        waveform = waveform * 10 ** (float(torch.empty(()).uniform_(-config.gain_db, config.gain_db)) / 20)
    if len(noise) > samples and torch.rand(()) < config.noise_probability:
        start = int(torch.randint(len(noise) - samples, ()))
        waveform = waveform + noise[start : start + samples] * (config.noise_gain * torch.rand(()))
    return waveform


def collate(examples: list[Example]) -> tuple[Tensor, Tensor]:
    """A batch: ``(batch, 1, samples)`` and ``(batch,)``."""
    waveforms, targets = zip(*examples, strict=True)
    return torch.stack(waveforms), torch.tensor(targets)


class TutorialFeatures(torch.nn.Module):
    """Log-mel of the config's sizes by ``torchaudio.transforms``, and its SpecAugment.

    Args:
        config: of the run.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        transforms, sizes = torchaudio().transforms, config.model.features
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bands without a bin, in tests
            self.mel = transforms.MelSpectrogram(
                sample_rate=config.data.sample_rate,
                n_fft=sizes.n_fft,
                win_length=sizes.win_length,
                hop_length=sizes.hop_length,
                n_mels=sizes.n_mels,
                f_min=sizes.f_min,
                f_max=sizes.f_max,
            )
        masks, augment = [], config.augment
        masks += [transforms.TimeMasking(augment.time_mask_frames, iid_masks=True)] * augment.time_masks
        masks += [transforms.FrequencyMasking(augment.frequency_mask_bins, iid_masks=True)] * augment.frequency_masks
        self.masks = torch.nn.Sequential(*masks)
        self.frames = config.data.clip_samples // sizes.hop_length

    def forward(self, waveforms: Tensor) -> Tensor:
        """``(batch, 1, samples)`` to ``(batch, n_mels, frames)``, as many frames as this package's front end gives."""
        spectrograms = torch.log(self.mel(waveforms) + 1e-9)[..., : self.frames]
        return self.masks(spectrograms).squeeze(1)


def tutorial_workers(device: torch.device) -> int:
    """How many workers the tutorial's DataLoader has on a device: its batches are made in the process on a CPU."""
    return 1 if device.type == "cuda" else 0


def tutorial_steps(config: Config, splits: Splits, device: torch.device, workers: int) -> Iterator[int]:
    """Take training steps for ever; gives the number of examples after each.

    Args:
        config: of the run; the model is built from it.
        splits: the clips.
        device: to train on.
        workers: of the DataLoader.
    """
    dataset = TutorialClips(config, splits)
    loader = DataLoader(
        dataset,
        batch_size=min(config.train.batch_size, len(dataset)),
        shuffle=True,
        drop_last=True,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )
    model = build_model(config.model, len(splits.labels), config.data.sample_rate).to(device).train()
    features = TutorialFeatures(config).to(device) if model.has_spectrogram else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.train.lr, weight_decay=config.train.weight_decay)
    while True:
        for waveforms, targets in loader:
            inputs, expected = waveforms.to(device), targets.to(device)
            logits = model.clip_logits(inputs) if features is None else model.classify(features(inputs))
            loss = F.cross_entropy(logits, expected, label_smoothing=config.train.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()  # for the progress bar
            yield len(targets)
