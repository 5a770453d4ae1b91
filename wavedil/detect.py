"""Spot keywords in five lines: load a checkpoint, feed audio, get words."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from wavedil.audio import Audio, Waveform, as_samples, load_audio
from wavedil.data.labels import SILENCE, UNKNOWN
from wavedil.models import KeywordModel
from wavedil.streaming import Stream
from wavedil.training.checkpoint import ModelMeta, load_model

_BLOCK_SAMPLES = 160_000  # long audio runs through the model in such blocks, so that memory stays small


def load(checkpoint: str | Path, device: str = "cpu") -> "Spotter":
    """Load a trained model for use.

    Args:
        checkpoint: a folder with model.safetensors and config.json, or the run folder whose model/ that is.
        device: of torch; "auto" takes a CUDA device where there is one.

    Raises:
        FileNotFoundError: if there is no model in the folder.
        ValueError: if the model is damaged, or there is no such device.

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
    model, meta = load_model(checkpoint, pick_device(device))
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
    """

    def __init__(self, model: KeywordModel, meta: ModelMeta) -> None:
        self.model = model.eval()
        self.meta = meta
        words = [index for index, label in enumerate(meta.labels) if label not in (UNKNOWN, SILENCE)]
        self._words = torch.tensor(words or range(len(meta.labels)))

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
            ValueError: if the audio is empty, NaN, of a wrong shape or no audio, or ``top`` is not positive.
            FileNotFoundError: if there is no such file.
        """
        if top < 1:
            raise ValueError(f"expected top >= 1, got {top}")
        return self.locate(audio).words[:top]

    @torch.no_grad()
    def locate(self, audio: Audio) -> Prediction:
        """Judge the most telling moment of an audio.

        Audio up to the model's clip length is judged whole, zeros behind it. Longer audio is streamed, and the moment
        is the one at which a word (not silence or unknown) gets its highest probability; only moments that have a
        whole clip before them count.

        Args:
            audio: as :meth:`predict` takes it.
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
        self._spotter = spotter
        self._stream = Stream(spotter.model)

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
            ValueError: if the chunk is empty, NaN or not one channel.
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
        device = next(self._spotter.model.parameters()).device
        return self._probabilities(self._stream.push(samples.to(device)[None, None]))

    @staticmethod
    def _probabilities(logits: Tensor) -> Tensor:
        return logits[0].softmax(dim=0).T.cpu()


def pick_device(name: str) -> torch.device:
    """The device of a name; "auto" takes a CUDA device where there is one.

    Raises:
        ValueError: if torch knows no such device, or there is none on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without CUDA
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f'device "{name}" cannot be used here: {reason}') from error
