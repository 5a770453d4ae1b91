"""The clips that a checkpoint is evaluated on: those of its training run, or a folder that the user names."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from wavedil.config import WORDS_OF_DATA, DataConfig
from wavedil.data.cache import ClipCache
from wavedil.data.clips import ClipSet, find_index, load_splits, open_clips
from wavedil.data.index import name_of
from wavedil.data.labels import SILENCE, UNKNOWN, LabelSet
from wavedil.data.listing import LISTS, examples
from wavedil.data.overlap import common_files
from wavedil.data.speech_commands import FOLDER
from wavedil.files import in_home
from wavedil.folders import cache_root
from wavedil.training.checkpoint import ModelMeta
from wavedil.training.config import load_config
from wavedil.training.run_paths import paths_explained, require_run_config, run_config

EvaluationSplit = Literal["training", "validation", "testing", "all"]


@dataclass(frozen=True)
class EvaluationData:
    """Clips to evaluate on.

    Attributes:
        clips: the examples.
        labels: of the model.
        source: what they are, in words.
        split: which part of it.
        notes: what the user should know: words that the model or the data lacks, clips that it was trained on.
        files: the recordings themselves, to be compared with those of the training; none if that is not needed.
    """

    clips: ClipSet
    labels: LabelSet
    source: str
    split: EvaluationSplit
    notes: list[str]
    files: Sequence[Path] = ()


def run_data(
    checkpoint: str | Path, meta: ModelMeta, split: EvaluationSplit | None = None, on_corrupt: str | None = None
) -> EvaluationData:
    """The data of the run that trained a checkpoint, which its run folder records.

    Args:
        checkpoint: a run folder, or a model or checkpoint in one.
        meta: of the model.
        split: default testing.
        on_corrupt: "raise" or "skip"; None does as the run did.

    Raises:
        FileNotFoundError: if the data are not there; the message names the run's config.
        ValueError: if the checkpoint is in no run folder, or the run's words are not the model's.
    """
    path = require_run_config(Path(checkpoint))
    config = load_config(path, [f"--data.on_corrupt={on_corrupt}"] if on_corrupt else [])
    with paths_explained(config, path, "--data"):
        return _data_of(config.data, path, meta, split or "testing")


def _data_of(config: DataConfig, path: Path, meta: ModelMeta, split: EvaluationSplit) -> EvaluationData:
    if config.words in WORDS_OF_DATA:
        config = replace(config, words=list(LabelSet(meta.labels).words))
    labels = LabelSet.from_config(config)
    if labels != LabelSet(meta.labels):
        raise ValueError(
            f"{path}: expected the words of the model, {_listed(meta.labels)}; got {_listed(labels.labels)}"
        )
    config, notes = _only_read(config, path)
    source = f"the data of {path.parent}"
    if split in ("validation", "testing"):
        clips, of_data = _published(config, split)
        return EvaluationData(clips, labels, source, split, notes + of_data)
    cache = open_clips(config)
    data = _whole(cache, labels, source, split)
    trained = {clip.path for clip in cache.clips if clip.split == "training"}
    on = _trained_on([file for file in data.files if file in trained], data)
    return replace(data, notes=[*notes, *data.notes, *on])


def _only_read(config: DataConfig, path: Path) -> tuple[DataConfig, list[str]]:
    """The data of a config that may be anybody's, read where it says but written nowhere that it says; and what to say.

    Nothing is downloaded or made in the folders that it names, and clips are decoded into the user's own cache.

    Raises:
        FileNotFoundError: if it names a folder of a synthetic corpus that is not there.
    """
    root, notes = config.root, []
    if config.cache_dir is not None and cache_root(config.cache_dir).resolve() != cache_root().resolve():
        notes.append(f"clips are decoded into {cache_root()}, not into {config.cache_dir}, which {path} names")
        if root is None and config.source == "speech_commands":
            root = str(cache_root(config.cache_dir) / "speech_commands")
    if root is not None and config.source == "synthetic" and not in_home(root).is_dir():
        raise FileNotFoundError(f"{root}: no such folder; the synthetic corpus is not made for an evaluation")
    return replace(config, root=root, cache_dir=None, download=False), notes


def overlap_notes(data: EvaluationData, checkpoint: str | Path) -> list[str]:
    """A note if clips are among those that the run of a checkpoint was trained on, as far as those are still there."""
    path = run_config(Path(checkpoint))
    trained = [] if path is None else _trained_files(load_config(path).data, path, data.labels)
    return _trained_on(common_files(data.files, trained), data)


def _trained_on(files: Sequence[Path], data: EvaluationData) -> list[str]:
    some = f"{len(files):,} of these {len(data.clips):,} clips ({examples(map(name_of, files))})"
    return [f"the model was trained on {some}: the accuracy is too high"] if files else []


def _trained_files(config: DataConfig, path: Path, labels: LabelSet) -> list[Path]:
    """The training clips of a config; none if its data is not there any more. Nothing is made or downloaded."""
    try:
        index = find_index(_only_read(config, path)[0])
    except (OSError, ValueError):
        return []
    return [clip.path for clip in index.clips if clip.split == "training" and labels.index(clip.word) is not None]


def folder_data(
    root: str | Path, meta: ModelMeta, split: EvaluationSplit | None = None, on_corrupt: str = "raise"
) -> EvaluationData:
    """The clips of a folder, mapped to the model's words.

    Args:
        root: a root of Speech Commands (it has ``SpeechCommands/speech_commands_v0.02``), or any folder of
            ``<word>/<recording>``.
        meta: of the model.
        split: default testing for Speech Commands, or where the folder has a testing_list.txt; else all.
        on_corrupt: what a recording that cannot be read does: "raise", or "skip" with its name printed.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it has no clips of the model's words, or some cannot be read.
    """
    root, labels = Path(root), LabelSet(meta.labels)
    config = DataConfig(
        source="folder",
        root=str(root),
        words=list(labels.words),
        unknown=UNKNOWN in labels.labels,
        silence=SILENCE in labels.labels,
        sample_rate=meta.sample_rate,
        clip_samples=meta.clip_samples,
        on_corrupt="skip" if on_corrupt == "skip" else "raise",
    )
    for version in ("v0.02", "v0.01"):
        if (root / FOLDER / f"speech_commands_{version}").is_dir():
            config = replace(config, source="speech_commands", version=version)
            return _speech_commands_data(config, labels, split or "testing")
    has_list = (root / LISTS["testing"]).is_file()
    data = _whole(open_clips(config), labels, str(root), split or ("testing" if has_list else "all"))
    if split is None:
        chosen = f"the clips of {LISTS['testing']}" if has_list else "all clips of the folder"
        data.notes.insert(0, f"{chosen}; --split chooses others")
    return data


def _speech_commands_data(config: DataConfig, labels: LabelSet, split: EvaluationSplit) -> EvaluationData:
    """A split of Speech Commands; with the published shares of unknown and silence where the model has such classes."""
    cache, source = open_clips(config), f"Speech Commands {config.version} in {config.root}"
    present = {clip.word for clip in cache.clips}
    has_extra = len(labels) > len(labels.words)
    if has_extra and split in ("validation", "testing") and present.issuperset(labels.words):
        clips, notes = _published(config, split)
        return EvaluationData(clips, labels, source, split, notes, [cache.root / name for name in clips.names])
    return _whole(cache, labels, source, split)


def _published(config: DataConfig, split: Literal["validation", "testing"]) -> tuple[ClipSet, list[str]]:
    """Validation or testing as in training runs, and notes."""
    splits = load_splits(config, (split,))
    return splits.testing if split == "testing" else splits.validation, list(splits.notes)


def _whole(cache: ClipCache, labels: LabelSet, source: str, split: EvaluationSplit) -> EvaluationData:
    """Every clip of a split that has a class, and notes on the words that have none or no clips."""
    chosen = [(row, clip) for row, clip in enumerate(cache.clips) if split in ("all", clip.split)]
    words = Counter(clip.word for _, clip in chosen)
    targets = {word: labels.index(word) for word in words}
    rows = [row for row, clip in chosen if targets[clip.word] is not None]
    if not rows:
        raise ValueError(
            f"{cache.root}: no clips to evaluate on ({split}): expected words of the model, {_listed(labels.labels)}; "
            f"found {_listed(sorted(words)) or 'none'}"
        )
    indices = torch.tensor(rows)
    clips = ClipSet(
        waveforms=cache.waveforms if len(rows) == len(cache.clips) else cache.waveforms[indices],
        targets=torch.tensor([targets[cache.clips[row].word] for row in rows]),
        names=[cache.clips[row].name for row in rows],
        known=torch.arange(len(rows)),
        unknown=torch.zeros(0, dtype=torch.int64),
    )
    files = [cache.clips[row].path for row in rows]
    of_split = cache.split_notes if split != "all" else ()
    return EvaluationData(clips, labels, source, split, [*cache.notes, *of_split, *_notes(words, labels)], files)


def _notes(words: "Counter[str]", labels: LabelSet) -> list[str]:
    """What to say of words that the model or the data lacks."""
    notes = []
    others = [word for word in words if word not in labels.labels]
    left_out = [word for word in others if labels.index(word) is None]
    unknown = [word for word in others if word not in left_out]
    if left_out:
        notes.append(f"left out {_clips_of(left_out, words)}, which the model does not know")
    if unknown:
        notes.append(f"taken as {UNKNOWN}: {_clips_of(unknown, words)}")
    absent = [label for label in labels.labels if label not in words and not (label == UNKNOWN and unknown)]
    if absent:
        notes.append(f"the data have no clips of the model's {_listed(absent)}")
    return notes


def _clips_of(group: Sequence[str], words: "Counter[str]") -> str:
    total = sum(words[word] for word in group)
    counts = _listed([f"{word} ({words[word]})" for word in group])
    return f"{total:,} clip{'s' * (total != 1)} of {counts}"


def _listed(words: Sequence[str], limit: int = 12) -> str:
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return ", ".join(words[:limit]) + more
