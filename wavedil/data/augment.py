"""Augmentation of clips in batches, on the device that they are on, with all chance from one generator."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from wavedil.config import AugmentConfig

_FULL_SCALE = 32768.0
_PIECES = 16  # at most, of a row whose speed changes
_SAME_SPEED = 8  # clips in turn, whose samples are then read at the same places: half the time of each by itself
_BLOCK = 16  # clips at once on a CPU: their buffers stay in its cache, and the allocator gives no pages back

# Clips, starts and lengths of their stretches, gains, windows of noise, which of them, and their gains, to waveforms.
Renderer = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor], Tensor]


class Augment:
    """Shift, speed, gain and background noise for waveforms; silence made of noise; mixup.

    Args:
        config: how much of each; what is 0 is off, and all off gives the waveforms back.
        sample_rate: in Hz.
        noise: ``(samples,)`` int16, background noise; None or empty mixes none and makes no silence.
        n_classes: size of the target distributions.
        silence_index: the class whose waveforms are replaced by noise with a gain in [0, 1].
        compiled: whether what follows the draws runs through torch.compile, as it should on a GPU: a few kernels then,
            for dozens that each read and write all samples.

    Attributes:
        renderer: what follows the draws for int16 on a CPU, if not torch; see wavedil.runtime.render.
    """

    def __init__(
        self,
        config: AugmentConfig,
        sample_rate: int,
        noise: Tensor | None,
        n_classes: int,
        silence_index: int | None = None,
        compiled: bool = False,
    ) -> None:
        self.config = config
        self.renderer: Renderer | None = None
        self._render = torch.compile(self._render_all) if compiled else self._render_all
        self.max_shift = round(config.shift_ms * sample_rate / 1000)
        self.max_cut = round(config.cut_ms * sample_rate / 1000) if config.cut_probability else 0
        self.noise = noise if noise is not None and len(noise) else None
        self.n_classes = n_classes
        self.silence_index = silence_index

    def __call__(self, waveforms: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Samples are not clipped: a gain may take them out of [-1, 1].

        Args:
            waveforms: ``(batch, samples)`` int16, or float in [-1, 1]; left as they are.
            targets: ``(batch,)`` int64.
            generator: on any device; the same one gives the same numbers wherever the waveforms are.

        Returns:
            Waveforms ``(batch, 1, samples)`` float32 and class probabilities ``(batch, n_classes)`` float32.
        """
        batch, samples = waveforms.shape
        device = waveforms.device
        if self.noise is not None:
            self.noise = self.noise.to(device)
        windows = None if self.noise is None else noise_windows(self.noise, samples)
        draws = self._draw(targets, 0 if windows is None else len(windows), generator)
        if self.renderer is not None and waveforms.dtype == torch.int16 and device.type == "cpu":
            starts, lengths = _stretches(samples, draws.shift, draws.speed)
            noise = windows, draws.noise_start, draws.noise_gain
            return self._finish(self.renderer(waveforms, starts, lengths, draws.gain, *noise), targets, generator)
        mixed = torch.empty(batch, samples, device=device)
        size = _BLOCK if device.type == "cpu" else max(batch, 1)
        for part in [slice(start, start + size) for start in range(0, batch, size)]:
            self._render(mixed[part], waveforms[part], windows, *(values[part] for values in draws))
        return self._finish(mixed, targets, generator)

    def _finish(self, mixed: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        probabilities = F.one_hot(targets, self.n_classes).float()
        if self.config.mixup:
            mixed, probabilities = _mixup(mixed, probabilities, self.config.mixup, generator)
        return mixed.unsqueeze(1), probabilities

    def _draw(self, targets: Tensor, n_windows: int, generator: torch.Generator) -> "_Draws":
        config = self.config
        chances = uniform(9, len(targets), generator, targets.device)
        cut = (chances[7] * (self.max_cut + 1)).long() * (chances[8] < config.cut_probability)
        gain = 10 ** (config.gain_db * (2 * chances[2] - 1) / 20)
        # A microphone's gain is that of the clip and of the noise in its room alike.
        noise_gain = gain * config.noise_gain * chances[4] * (chances[3] < config.noise_probability)
        if n_windows and self.silence_index is not None:
            silent = targets == self.silence_index
            gain = gain.masked_fill(silent, 0)
            noise_gain = torch.where(silent, chances[6], noise_gain)
        same = torch.arange(len(targets), device=targets.device) // _SAME_SPEED
        return _Draws(
            shift=(chances[0] * (2 * self.max_shift + 1)).long() - self.max_shift + cut,
            speed=1 + config.speed * (2 * chances[1][same] - 1),
            gain=gain,
            noise_gain=noise_gain,
            noise_start=(chances[5] * n_windows).long(),
        )

    def _render_all(
        self,
        mixed: Tensor,
        waveforms: Tensor,
        windows: Tensor | None,
        shift: Tensor,
        speed: Tensor,
        gain: Tensor,
        noise_gain: Tensor,
        noise_start: Tensor,
    ) -> None:
        """Fill ``mixed``; nothing is drawn here."""
        torch.mul(self._move(waveforms, shift, speed), _scale(gain, waveforms), out=mixed)
        if windows is not None:
            mixed.addcmul_(windows.index_select(0, noise_start).float(), _scale(noise_gain, windows))

    def _move(self, rows: Tensor, shift: Tensor, speed: Tensor) -> Tensor:
        if self.config.speed:
            return _warp(rows, shift, speed)
        most = self.max_shift + self.max_cut
        return _shift(rows, shift, most).float() if most else rows.float()


class _Draws(NamedTuple):
    """What chance decided for each clip of a batch, each ``(batch,)``; shift and start in samples."""

    shift: Tensor
    speed: Tensor
    gain: Tensor
    noise_gain: Tensor
    noise_start: Tensor


def plain(waveforms: Tensor) -> Tensor:
    """Clips as a model takes them, not augmented: int16, or float in [-1, 1], to ``(batch, 1, samples)`` float32."""
    return waveforms.float().mul(1 / _FULL_SCALE if waveforms.dtype == torch.int16 else 1.0).unsqueeze(1)


def noise_windows(noise: Tensor, samples: int) -> Tensor:
    """All windows of a noise recording, as a view.

    Args:
        noise: ``(time,)``, not empty; it is repeated if it is shorter than a window.
        samples: length of a window.

    Returns:
        ``(starts, samples)``, one sample apart.
    """
    if len(noise) < samples:
        noise = noise.repeat(-(-samples // len(noise)))
    return noise.unfold(0, samples, 1)


def uniform(rows: int, batch: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Numbers in [0, 1) ``(rows, batch)``, in float64 so that ``number * n`` reaches each of many integers."""
    return torch.rand(rows, batch, generator=generator, dtype=torch.float64, device=generator.device).to(device)


def _scale(gain: Tensor, waveforms: Tensor) -> Tensor:
    full_scale = _FULL_SCALE if waveforms.dtype == torch.int16 else 1.0
    return (gain / full_scale).float()[:, None]


def _shift(rows: Tensor, shift: Tensor, most: int) -> Tensor:
    """Each row later by its shift, with zeros where nothing is; picking windows is a plain copy, indexing is not."""
    batch, samples = rows.shape
    padded = F.pad(rows, (most, most))
    starts = torch.arange(batch, device=rows.device) * padded.shape[1] + most - shift
    return padded.view(-1).unfold(0, samples, 1).index_select(0, starts)


def _warp(rows: Tensor, shift: Tensor, speed: Tensor) -> Tensor:
    """Each row faster by its speed, about its middle, and later by its shift; linear between the samples."""
    starts, lengths = _stretches(rows.shape[1], shift, speed)
    if rows.device.type == "cpu":
        return _spread_each(rows, starts, lengths, _pieces(rows.shape[1]))
    return _spread_all(rows, starts, lengths)


def _pieces(samples: int) -> int:
    """Into how many a row is cut, so that each of them begins with a sample of the stretch that is spread over it."""
    return max(number for number in range(1, _PIECES + 1) if samples % number == 0)


def _stretches(samples: int, shift: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
    """The stretch of each row that is spread over as many samples as a row has: where it starts, and its length."""
    pieces = _pieces(samples)
    lengths = (speed * (samples / pieces)).round().long().clamp_min(1) * pieces
    return (samples - lengths) // 2 - shift, lengths


def _spread_each(rows: Tensor, starts: Tensor, lengths: Tensor, pieces: int) -> Tensor:
    """Rows of one length at a time: on a CPU faster than to index all by tensors, which must be read from memory.

    The pieces of these rows are read between their samples at the same places, which are computed once for all.
    """
    samples = rows.shape[1]
    margin = int(torch.maximum(-starts, starts + lengths + 1 - samples).max().clamp_min(0))
    padded, spread = F.pad(rows, (margin, margin)), torch.empty(rows.shape)
    firsts = starts + margin + torch.arange(len(rows)) * padded.shape[1]
    values, counts = lengths.unique_consecutive(return_counts=True)
    runs = zip(values.tolist(), firsts.split(counts.tolist()), spread.split(counts.tolist()), strict=True)
    for length, first, out in runs:
        windows = padded.view(-1).unfold(0, length + 1, 1).index_select(0, first)
        windows = windows.unfold(1, length // pieces + 1, length // pieces)  # a last sample is the next piece's first
        read = F.interpolate(windows.float(), samples // pieces + 1, mode="linear", align_corners=True)
        out.view(len(out), pieces, -1).copy_(read[:, :, :-1])
    return spread


def _spread_all(rows: Tensor, starts: Tensor, lengths: Tensor) -> Tensor:
    samples = rows.shape[1]
    time = torch.arange(samples, device=rows.device, dtype=torch.float64) / samples
    first = starts.double()[:, None] + 1  # one zero is put before
    position = torch.addcmul(first, time, lengths.double()[:, None]).clamp_(0, samples + 1)
    before = position.long()
    padded = F.pad(rows.float(), (1, 2))
    return torch.lerp(padded.gather(1, before), padded.gather(1, before + 1), (position - before).float())


def _mixup(waveforms: Tensor, probabilities: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix each clip with another of the batch, shares from Beta(alpha, alpha). Source: Zhang 2017, arXiv:1710.09412."""
    batch = len(waveforms)
    concentration = torch.full((batch, 2), alpha, device=generator.device)
    # torch.distributions draws by this operator too, but takes no generator.
    share = torch.ops.aten._sample_dirichlet(concentration, generator)[:, :1].to(waveforms.device)
    other = torch.randperm(batch, generator=generator, device=generator.device).to(waveforms.device)
    return (torch.lerp(waveforms[other], waveforms, share), torch.lerp(probabilities[other], probabilities, share))
