"""Run a model over a set of clips, offline or chunk by chunk."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from wavedil.data.augment import plain
from wavedil.data.clips import ClipSet
from wavedil.data.labels import LabelSet
from wavedil.models import KeywordModel
from wavedil.streaming import Stream
from wavedil.training.metrics import Evaluation

RAGGED_UP_TO = 1600  # samples; the largest chunk when none is given


@torch.no_grad()
def evaluate(
    model: KeywordModel,
    clips: ClipSet,
    labels: LabelSet,
    device: str | torch.device = "cpu",
    batch_size: int = 256,
    streaming: bool = False,
    chunk: int | None = None,
) -> Evaluation:
    """The logits of every clip, without augmentation, in evaluation mode and float32.

    Args:
        model: on ``device`` already; its training mode is put back afterwards.
        clips: what to evaluate on.
        labels: of the model's classes.
        device: where to compute.
        batch_size: clips at a time; when streaming, sessions at a time.
        streaming: push each clip through :class:`wavedil.Stream` chunk by chunk and evaluate what comes out; the
            offline logits are computed too, and how far they are apart is reported.
        chunk: samples a push; None draws ragged sizes from 1 to 1,600, the same ones every time.

    Raises:
        ValueError: if there are no clips, ``chunk`` or ``batch_size`` is not positive, or the model's output is not
            finite.
    """
    if batch_size < 1 or (chunk is not None and chunk < 1):
        raise ValueError(f"expected batch_size and chunk of at least 1, got {batch_size} and {chunk}")
    samples = clips.waveforms.shape[1]
    if samples < model.hop:
        raise ValueError(f"clips of {samples} samples are too short: the model needs {model.hop} for a frame")
    was_training = model.training
    model.eval()
    generator = torch.Generator().manual_seed(0)
    collected: list[np.ndarray] = []
    difference, mismatches = 0.0, 0
    try:
        for start in range(0, len(clips), batch_size):
            waveforms = plain(clips.waveforms[start : start + batch_size].to(device))
            logits = model.clip_logits(waveforms)
            if streaming:
                streamed = _streamed_logits(model, waveforms, chunk, generator)
                difference = max(difference, float((streamed - logits).abs().max()))
                mismatches += int((streamed.argmax(dim=1) != logits.argmax(dim=1)).sum())
                logits = streamed
            collected.append(logits.float().cpu().numpy())
    finally:
        model.train(was_training)
    return Evaluation(
        logits=np.concatenate(collected) if collected else np.zeros((0, len(labels)), dtype=np.float32),
        targets=clips.targets.cpu().numpy(),
        labels=labels.labels,
        names=clips.names,
        stream_difference=difference if streaming else None,
        stream_mismatches=mismatches if streaming else None,
    )


def _streamed_logits(model: KeywordModel, waveforms: Tensor, chunk: int | None, generator: torch.Generator) -> Tensor:
    """The last frame's logits ``(batch, n_classes)`` of waveforms pushed through a stream of that many sessions."""
    stream = Stream(model, len(waveforms))
    outputs = [stream.push(part) for part in _parts(waveforms, chunk, generator)] + [stream.flush()]
    return torch.cat(outputs, dim=-1)[..., -1]


def _parts(waveforms: Tensor, chunk: int | None, generator: torch.Generator) -> Iterator[Tensor]:
    """Cut along time into chunks of one size, or of ragged ones; the last takes what is left."""
    start, total = 0, waveforms.shape[-1]
    while start < total:
        size = chunk or int(torch.randint(1, RAGGED_UP_TO + 1, (), generator=generator))
        yield waveforms[..., start : start + size]
        start += size
