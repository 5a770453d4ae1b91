"""Spot keywords in five lines: load a checkpoint, feed audio, get words."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from wavedil.audio import Audio, Waveform, as_samples, load_audio
from wavedil.checks import bounded_integer, shown
from wavedil.data.labels import SILENCE, UNKNOWN
from wavedil.models import KeywordModel
from wavedil.streaming import Stream
from wavedil.training.checkpoint import ModelMeta, load_model

_MOST_TOP = 1_000_000  # words that are asked for
_SHOWN = 8  # labels in a repr
_BLOCK_SAMPLES = 160_000  # long audio runs through the model in such blocks, so that memory stays small


def load(checkpoint: str | os.PathLike[str], device: str | torch.device = "cpu") -> "Spotter":
    """Load a trained model for use.

    Args:
        checkpoint: a folder with model.safetensors and config.json, or the run folder whose model/ that is.
        device: of torch; "auto" takes a CUDA device where there is one.

    Raises:
        TypeError: if the checkpoint is no path, or the device no name of one.
        FileNotFoundError: if there is no model in the folder.
        OSError: if a file of it cannot be read.
        ValueError: if the model is damaged, its weights are not finite, or there is no such device.

    Example (an untrained model stands in for yours):
        >>> import tempfile
        >>> from wavedil.config import ModelConfig
        >>> from wavedil.models import build_model
        >>> from wavedil.training.checkpoint import save_model
        >>> labels, config = ("yes", "no", "stop"), ModelConfig(channels=8, skip_channels=8, cycles=1)
        >>> folder = tempfile.TemporaryDirectory()
        >>> meta = ModelMeta(labels=labels, sample_rate=16_000, clip_samples=16_000, model=config)
        >>> save_model(folder.name + "/model", build_model(config, len(labels), 16_000), meta)

        >>> import numpy as np
        >>> import wavedil
        >>> spotter = wavedil.load(folder.name + "/model")
        >>> audio = (np.zeros(8_000, dtype=np.float32), 8_000)  # or "yes.wav"
        >>> (best, score), *others = spotter.predict(audio, top=3)
        >>> best in labels and 0 <= score <= 1 and len(others) == 2
        True
        >>> session = spotter.stream()
        >>> session.push(np.zeros(1_600, dtype=np.float32)).shape  # five frames of 20 ms, a score for each word
        (5, 3)
        >>> folder.cleanup()
    """
    if not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(f"checkpoint: expected the path of a folder, got {shown(checkpoint)}")
    model, meta = load_model(os.fspath(checkpoint), pick_device(device))
    return Spotter(model, meta)


@dataclass(frozen=True)
class Prediction:
    """What was heard in an audio, and where.

    Attributes:
        words: every label with its probability, the best first.
        start: of the judged clip, in seconds into the audio.
        end: likewise; the audio's own end, or beyond it, if the audio is not longer than a clip.
        longer_than_a_clip: whether the audio was, so that the moment says something.
        waveform: the audio as the model got it.
    """

    words: list[tuple[str, float]]
    start: float
    end: float
    longer_than_a_clip: bool
    waveform: Waveform


class Spotter:
    """A keyword model with its labels, ready for audio of any rate.

    Args:
        model: the model; it is put into evaluation mode.
        meta: its labels, rate and clip length.

    Raises:
        TypeError: if they are something else.
        ValueError: if they do not belong together.
    """

    def __init__(self, model: KeywordModel, meta: ModelMeta) -> None:
        if not isinstance(model, KeywordModel) or not isinstance(meta, ModelMeta):
            raise TypeError(f"expected a KeywordModel and its ModelMeta, got {_type(model)} and {_type(meta)}")
        found = (len(meta.labels), meta.sample_rate)
        if found != (model.n_classes, model.sample_rate):
            expected = f"{model.n_classes} labels at {model.sample_rate} Hz, as the model has"
            raise ValueError(f"meta: expected {expected}, got {found[0]} at {found[1]} Hz")
        if meta.clip_samples < model.hop:
            raise ValueError(f"meta: expected clips of at least {model.hop} samples, got {meta.clip_samples}")
        self.model = model.eval()
        self.meta = meta
        words = [index for index, label in enumerate(meta.labels) if label not in (UNKNOWN, SILENCE)]
        self._words = torch.tensor(words or range(len(meta.labels)))

    def __repr__(self) -> str:
        words = ", ".join(self.labels[:_SHOWN]) + (", ..." if len(self.labels) > _SHOWN else "")
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return (
            f"Spotter({len(self.labels)} labels: {words}; {self.sample_rate} Hz, "
            f"clips of {self.meta.clip_samples / self.sample_rate:g} s, {self.model.config.name} model of "
            f"{parameters:,} parameters)"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The words, in the order of a session's scores."""
        return self.meta.labels

    @property
    def sample_rate(self) -> int:
        """In Hz, of what a session is fed."""
        return self.meta.sample_rate

    def predict(self, audio: Audio, top: int = 3) -> list[tuple[str, float]]:
        """The most likely words with their probabilities, the best first; see :meth:`locate` for long audio.

        Args:
            audio: a path, or ``(samples, sample_rate)`` with samples a NumPy array or tensor ``(time,)`` or
                ``(channels, time)``, floats in [-1, 1] or integer PCM. Any rate and channel count.
            top: how many words.

        Raises:
            TypeError: if ``top`` is no integer.
            ValueError: if the audio is empty, NaN, of a wrong shape or no audio, ``top`` is not positive, or the model
                gives scores that are not finite.
            FileNotFoundError: if there is no such file.
            OSError: if it cannot be opened.
        """
        top = bounded_integer("top", top, 1, _MOST_TOP)
        return self.locate(audio).words[:top]

    @torch.no_grad()
    def locate(self, audio: Audio) -> Prediction:
        """Judge the most telling moment of an audio.

        Audio up to the model's clip length is judged whole, zeros behind it. Longer audio is streamed, and the moment
        is the one at which a word (not silence or unknown) gets its highest probability; only moments that have a
        whole clip before them count.

        Args:
            audio: as :meth:`predict` takes it.

        Raises:
            ValueError: as :meth:`predict` does, as are the other errors.
        """
        waveform = load_audio(audio, self.sample_rate)
        samples, clip = waveform.samples, self.meta.clip_samples
        if len(samples) < clip:
            samples = F.pad(samples, (0, clip - len(samples)))
        scores = self.stream()._all(samples)
        first = clip // self.model.hop - 1  # the frame that a clip of that length is judged by
        peak = first + int(scores[first:, self._words].amax(dim=1).argmax())
        end = (peak + 1) * self.model.hop / self.sample_rate
        order = scores[peak].argsort(descending=True, stable=True).tolist()
        return Prediction(
            words=[(self.labels[index], float(scores[peak, index])) for index in order],
            start=max(0.0, end - clip / self.sample_rate),
            end=end,
            longer_than_a_clip=len(waveform.samples) > clip,
            waveform=waveform,
        )

    def stream(self) -> "Session":
        """A live session: push chunks of any size as they come."""
        return Session(self)


class Session:
    """The words of a stream, frame by frame.

    Args:
        spotter: whose model listens.
    """

    def __init__(self, spotter: Spotter) -> None:
        if not isinstance(spotter, Spotter):
            raise TypeError(f"expected a Spotter, got {_type(spotter)}")
        self._spotter = spotter
        self._stream = Stream(spotter.model)

    def __repr__(self) -> str:
        return f"Session of {self._spotter!r}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The words, one a column of the scores."""
        return self._spotter.labels

    def push(self, chunk: ArrayLike | Tensor) -> np.ndarray:
        """Hear a chunk.

        Args:
            chunk: ``(time,)`` samples at the spotter's rate, at least one: floats in [-1, 1] or integer PCM.

        Returns:
            Probabilities ``(frames, n_labels)`` of the frames that the chunk completes; often none for short chunks.

        Raises:
            ValueError: if the chunk is empty, NaN or not one channel, or the model gives scores that are not finite.
        """
        samples = as_samples(chunk, "the chunk")
        if len(samples) != 1:
            raise ValueError(f"the chunk: expected one channel, got {len(samples)}")
        return self._scores(samples[0]).numpy()

    def flush(self) -> np.ndarray:
        """The frames that are still owed at the end of the audio, as :meth:`push` gives them."""
        with torch.no_grad():
            return self._probabilities(self._stream.flush()).numpy()

    def reset(self) -> None:
        """Start anew, as if nothing had been heard."""
        self._stream.reset()

    def _all(self, samples: Tensor) -> Tensor:
        """Probabilities ``(frames, n_labels)`` of a whole audio."""
        scores = [self._scores(block) for block in samples.split(_BLOCK_SAMPLES)]
        return torch.cat([*scores, self._probabilities(self._stream.flush())])

    @torch.no_grad()
    def _scores(self, samples: Tensor) -> Tensor:
        like = next(self._spotter.model.parameters())
        return self._probabilities(self._stream.push(samples.to(like)[None, None]))

    @staticmethod
    def _probabilities(logits: Tensor) -> Tensor:
        scores = logits[0].float().softmax(dim=0).T.cpu()
        if not torch.isfinite(scores).all():
            raise ValueError("the model's scores are not finite: its weights are too large for its numbers")
        return scores


def pick_device(name: str | torch.device) -> torch.device:
    """The device of a name; "auto" takes a CUDA device where there is one.

    Raises:
        TypeError: if it is neither a name nor a device.
        ValueError: if torch knows no such device, or there is none on this machine.
    """
    if not isinstance(name, str | torch.device):
        raise TypeError(f"device: expected a name such as cpu or cuda, got {shown(name)}")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it computes shapes only")
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without CUDA
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f'device "{name}" cannot be used here: {reason}') from error


def _type(value: Any) -> str:
    return f"a {type(value).__name__}"
