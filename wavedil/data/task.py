"""What of a task can hardly be learnt, or hardly be measured, by the number of its clips."""

from collections.abc import Mapping

from torch import Tensor

from wavedil.config import DataConfig
from wavedil.data.labels import SILENCE, UNKNOWN, WORDS_35, LabelSet
from wavedil.data.listing import Split, examples

FEW_TO_LEARN = 10  # training clips of a word
FEW_TO_MEASURE = 100  # clips of a split: the interval of an accuracy near 90% is then 12 points wide


def task_notes(labels: LabelSet, targets: Mapping[Split, Tensor], config: DataConfig) -> list[str]:
    """Notes on words with few or no clips in a split, on small splits, and on what no class stands for.

    Args:
        labels: the classes.
        targets: ``(n,)`` int64 class indices of each split.
        config: of the data.
    """
    notes = []
    for split, indices in targets.items():
        counts = dict(zip(labels.labels, indices.bincount(minlength=len(labels)).tolist(), strict=True))
        if split == "training":
            few = [f"{word} ({counts[word]})" for word in labels.words if counts[word] < FEW_TO_LEARN]
            notes += [f"few clips for {split}: {examples(few)}"] if few else []
            continue
        without = [label for label, n in counts.items() if not n]
        notes += [f"no clip for {split} of {examples(without)}: its figure says nothing of them"] if without else []
        if len(indices) < FEW_TO_MEASURE:
            notes.append(f"{len(indices)} clips for {split} are few: mind the interval of the accuracy")
    shares = {UNKNOWN: config.unknown_share, SILENCE: config.silence_share}
    notes += [
        f"no example of {label} is trained: data.{label.strip('_')}_share is 0"
        for label, share in shares.items()
        if label in labels.labels and not share
    ]
    if len(labels) == len(labels.words) and not set(labels.words) <= set(WORDS_35):
        notes.append(
            "each sound will be taken for one of these words: data.unknown = true and data.silence = true make "
            '"none of them" a class, from the clips of other words and from _background_noise_'
        )
    return notes
