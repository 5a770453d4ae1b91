"""The splits that a model is trained and evaluated on: int16 clips with their classes."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wavedil.config import WORDS_OF_DATA, DataConfig
from wavedil.data.augment import noise_windows
from wavedil.data.cache import ClipCache
from wavedil.data.index import ClipIndex, folder_index, name_of
from wavedil.data.labels import SILENCE, UNKNOWN, LabelSet
from wavedil.data.listing import SPLITS, Split, examples
from wavedil.data.overlap import common_files
from wavedil.data.sources import check_speaker, source_root
from wavedil.data.speaker_names import is_table
from wavedil.data.speech_commands import speech_commands_index
from wavedil.data.task import task_notes
from wavedil.files import in_home
from wavedil.folders import cache_root

# Of the known examples: unknown and silent ones in validation and testing, as published (Warden 2018).
EVALUATION_SHARE = 0.1
_SEEDS: dict[Split, int] = {"training": 0, "validation": 1, "testing": 2}  # of the silence that is made


@dataclass(frozen=True, eq=False)
class ClipSet:
    """The examples of one split.

    Attributes:
        waveforms: ``(n, clip_samples)`` int16; memory-mapped where it can be, until :meth:`to` moves it.
        targets: ``(n,)`` int64, the class of each.
        names: path of each below the root.
        known: ``(n_known,)`` int64, the examples that each epoch has.
        unknown: ``(n_unknown,)`` int64, the examples of which each epoch draws some.
        unknown_draws: how many of them an epoch draws.
        silence_draws: how many silent examples an epoch has beside them; they are no clips, and are made of noise.
        silence_index: the class of those.
    """

    waveforms: Tensor
    targets: Tensor
    names: list[str]
    known: Tensor
    unknown: Tensor
    unknown_draws: int = 0
    silence_draws: int = 0
    silence_index: int | None = None

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> "ClipSet":
        """The same with the waveforms and targets on a device."""
        return replace(self, waveforms=self.waveforms.to(device), targets=self.targets.to(device))

    @property
    def epoch_length(self) -> int:
        """The number of examples in :meth:`epoch_order`."""
        return len(self.known) + self.unknown_draws + self.silence_draws

    def epoch_order(self, generator: torch.Generator) -> Tensor:
        """The examples of an epoch in random order: all known ones, some of the unknown ones, and silence.

        Args:
            generator: on the CPU.

        Returns:
            ``(epoch_length,)`` int64 for :meth:`batch`; ``len(self)`` and above are silence.
        """
        drawn = torch.randperm(len(self.unknown), generator=generator)[: self.unknown_draws]
        silence = torch.arange(len(self), len(self) + self.silence_draws)
        examples = torch.cat([self.known, self.unknown[drawn], silence])
        return examples[torch.randperm(len(examples), generator=generator)]

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Examples by index.

        Args:
            indices: ``(batch,)`` int64; ``len(self)`` and above are silence.

        Returns:
            Waveforms ``(batch, clip_samples)`` int16, zero for silence (the augmentation puts noise there), and targets
            ``(batch,)``.
        """
        indices = indices.to(self.waveforms.device)
        if self.silence_index is None:
            return self.waveforms.index_select(0, indices), self.targets.index_select(0, indices)
        silent = indices >= len(self)
        rows = indices.clamp(max=len(self) - 1)
        waveforms = self.waveforms.index_select(0, rows).masked_fill_(silent[:, None], 0)
        return waveforms, self.targets.index_select(0, rows).masked_fill_(silent, self.silence_index)

    def names_of(self, indices: Iterable[int]) -> list[str]:
        """Names of examples by index, "_silence_" for silence."""
        return [self.names[index] if index < len(self) else SILENCE for index in indices]


@dataclass(frozen=True, eq=False)
class Splits:
    """What a run trains and evaluates on.

    Attributes:
        labels: the classes.
        training: like the next two, without examples if it was not asked for.
        validation: the same examples at every load.
        testing: likewise.
        noise: ``(samples,)`` int16, the background noise, and the training recordings of silence if there are any.
        left_out: words in the data that are no class, and whose clips are not used.
        sha256: of the samples, names and classes; two runs with the same saw the same data.
        notes: what the user should know of the data, a line each.
    """

    labels: LabelSet
    training: ClipSet
    validation: ClipSet
    testing: ClipSet
    noise: Tensor
    left_out: tuple[str, ...]
    sha256: str
    notes: tuple[str, ...] = ()


def load_splits(config: DataConfig, splits: Sequence[Split] = SPLITS) -> Splits:
    """Load splits, decoding the clips at the first call.

    Args:
        config: which data and words.
        splits: those needed; testing alone, with ``test_root``, needs no other data.

    Raises:
        FileNotFoundError: if the data is not there.
        ValueError: if a word has no clips, a split no examples, or silence no noise to make it of.
    """
    index = None
    if config.test_root is None or set(splits) != {"testing"} or config.words in WORDS_OF_DATA:
        index = source_index(config)
    labels = LabelSet.from_config(config, wanted_words(index, config) if index else ())
    if "training" in splits:
        _require_two(labels, config)
    main = _open(index, config) if index else None
    noise = torch.zeros(0, dtype=torch.int16)
    if main is not None:
        _check_words(main, labels)
        noise = _noise(main)
        if SILENCE in labels.labels and not len(noise):
            raise ValueError(f"{main.root}: silence needs recordings in _background_noise_; there are none")
    caches = dict.fromkeys(splits, main)
    if config.test_root is not None and "testing" in splits:
        caches["testing"] = _open(folder_index(config.test_root, "testing"), config)
    sets = dict.fromkeys(SPLITS, _empty(config.clip_samples))
    for split, cache in caches.items():
        if cache is not None:
            sets[split] = _clip_set(cache, split, labels, config, noise if cache is main else None)
    unused = Counter(
        clip.word
        for split, cache in caches.items()
        for clip in (cache.clips if cache else ())
        if clip.split == split and labels.index(clip.word) is None
    )
    notes = _notes([cache for cache in (main, caches.get("testing")) if cache], unused)
    if "training" in splits:
        notes += _overlap(index, caches.get("testing"), labels) if config.test_root else []
        notes += task_notes(labels, {split: sets[split].targets for split in splits}, config)
    sha256 = _digest([cache.sha256 for cache in caches.values() if cache], sets.values())
    left_out = tuple(sorted(unused))
    return Splits(labels, sets["training"], sets["validation"], sets["testing"], noise, left_out, sha256, tuple(notes))


def _notes(caches: Iterable[ClipCache], unused: "Counter[str]") -> list[str]:
    """What was passed over, how the splits were made, and the words whose clips are not used."""
    notes = list(dict.fromkeys(note for cache in caches for note in cache.notes + cache.split_notes))
    if unused:
        words = examples(f"{word} ({n:,})" for word, n in sorted(unused.items()))
        notes.append(f"left out {unused.total():,} clips of words that are no class: {words}")
    return notes


def _overlap(index: ClipIndex | None, testing: ClipCache | None, labels: LabelSet) -> list[str]:
    """A note if a test folder holds clips that are trained on."""
    if index is None or testing is None:
        return []
    tested = [clip.path for clip in testing.clips if labels.index(clip.word) is not None]
    common = common_files(tested, [clip.path for clip in index.clips if clip.split == "training"])
    some = f"{len(common):,} of the {len(tested):,} clips ({examples(map(name_of, common))})"
    return [f"{testing.root}: {some} are trained on too: the accuracy of the test is too high"] if common else []


def resolve_data(config: DataConfig) -> DataConfig:
    """The same config with its words spelt out where it leaves them to the data, and the table of speakers absolute.

    Raises:
        FileNotFoundError: if the data is not there.
        ValueError: if they have no words, or all recordings of one are passed over.
    """
    if config.speaker is not None and is_table(config.speaker):
        config = replace(config, speaker=str(in_home(config.speaker).absolute()))
    if config.words == "auto" and config.source != "folder":
        return replace(config, words="35")
    if config.words not in WORDS_OF_DATA:
        return config
    labels = LabelSet.from_config(config, wanted_words(source_index(config), config))
    return replace(config, words=list(labels.words))


def wanted_words(index: ClipIndex, config: DataConfig) -> tuple[str, ...]:
    """The words of an index, which must be all that it can be taken to have if the config wants them all.

    Raises:
        ValueError: if the config wants all words, and there is one of which no recording is taken or which differs
            from another only in case.
    """
    if config.words != "all" and (config.words != "auto" or config.source != "folder"):
        return index.words
    if index.lost:
        raise ValueError(
            f"{index.root}: no recording is taken of {examples(index.lost)}: move or convert them, or name words "
            f"in data.words ({index.notes[0]})"
        )
    folded: dict[str, str] = {}
    for word in index.words:
        other = folded.setdefault(word.casefold(), word)
        if other != word:
            raise ValueError(
                f"{index.root}: {other} and {word} differ only in case; put them into one folder, or name the words in "
                "data.words"
            )
    return index.words


def open_clips(config: DataConfig) -> ClipCache:
    """Open the clip cache of the config's source, making what is not there: corpus, download, cache."""
    return _open(source_index(config), config)


def source_index(config: DataConfig) -> ClipIndex:
    """The clips of the config's source; corpus and download are made where they are not there."""
    check_speaker(config)
    if config.source == "synthetic":
        from wavedil.data.synthetic import synthetic_root  # only this source needs the speech synthesiser

        return speech_commands_index(synthetic_root(config))
    if config.source == "speech_commands":
        return speech_commands_index(source_root(config), config.version, config.download)
    return folder_index(source_root(config), speaker=config.speaker)


def find_index(config: DataConfig) -> ClipIndex:
    """The clips of the config's source as they lie there; nothing is made or downloaded.

    Raises:
        FileNotFoundError: if the data is not there.
        ValueError: if it is not whole.
    """
    if config.source == "synthetic":
        return speech_commands_index(source_root(config))
    return source_index(replace(config, download=False))


def _open(index: ClipIndex, config: DataConfig) -> ClipCache:
    return ClipCache.build(
        index, config.sample_rate, config.clip_samples, cache_root(config.cache_dir), config.on_corrupt
    )


def _digest(caches: Iterable[str], sets: Iterable[ClipSet]) -> str:
    content = [list(caches), [(clips.names, clips.targets.tolist()) for clips in sets]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _check_words(cache: ClipCache, labels: LabelSet) -> None:
    present = {clip.word for clip in cache.clips}
    missing = [word for word in labels.words if word not in present]
    if missing:
        raise ValueError(
            f"{cache.root}: no clips of {', '.join(missing)}; there are clips of {', '.join(sorted(present))}; "
            f'data.words names the words: "all", or {json.dumps(sorted(present)[:3], ensure_ascii=False)}'
        )
    if UNKNOWN in labels.labels and not present - {*labels.words, SILENCE}:
        raise ValueError(f"{cache.root}: {UNKNOWN} needs clips of other words than {', '.join(labels.words)}")


def _require_two(labels: LabelSet, config: DataConfig) -> None:
    if len(labels) < 2:
        there = "data.unknown = true (clips of other words) or data.silence = true (background noise)"
        raise ValueError(
            f"data.words: expected two classes or more, got {', '.join(labels.labels)} alone, which any model tells "
            f"without fail; add words, or {there}"
        )


def _require_examples(cache: ClipCache, labels: LabelSet, targets: Tensor) -> None:
    """Refuse a class without an example for training; silence is made of noise."""
    counts = torch.bincount(targets, minlength=len(labels)).tolist()
    without = [label for label, n in zip(labels.labels, counts, strict=True) if not n and label != SILENCE]
    if without:
        label = without[0]
        splits = Counter(clip.split for clip in cache.clips if labels.index(clip.word) == labels.index(label))
        raise ValueError(
            f"{cache.root}: no clip of {', '.join(without)} for training ({label}: "
            f"{', '.join(f'{splits[split]} {split}' for split in SPLITS)}); add clips, leave the word out, or name its "
            "other clips alone in validation_list.txt and testing_list.txt"
        )


def _noise(cache: ClipCache) -> Tensor:
    """Background noise, with the training recordings of silence: both are what silent examples are made of."""
    rows = [row for row, clip in enumerate(cache.clips) if clip.word == SILENCE and clip.split == "training"]
    return torch.cat([cache.noise, cache.waveforms[rows].flatten()]) if rows else cache.noise


def _empty(clip_samples: int) -> ClipSet:
    none = torch.zeros(0, dtype=torch.int64)
    return ClipSet(torch.zeros(0, clip_samples, dtype=torch.int16), none, [], none, none)


def _clip_set(cache: ClipCache, split: Split, labels: LabelSet, config: DataConfig, noise: Tensor | None) -> ClipSet:
    """The examples of one split; ``noise`` is None for a test folder, which is taken whole."""
    examples = [(row, labels.index(clip.word)) for row, clip in enumerate(cache.clips) if clip.split == split]
    if split == "training":  # recordings of silence are noise there
        examples = [(row, target) for row, target in examples if cache.clips[row].word != SILENCE]
    rows = [row for row, target in examples if target is not None]
    targets = torch.tensor([target for _, target in examples if target is not None], dtype=torch.int64)
    names = [cache.clips[row].name for row in rows]
    if not rows:
        raise ValueError(f"{cache.root}: no clips of {', '.join(labels.words)} for {split}; {_hint(cache, noise)}")
    if split == "training":
        _require_examples(cache, labels, targets)
    unknown = _of_class(targets, labels, UNKNOWN)
    clips = ClipSet(_rows(cache.waveforms, rows), targets, names, _where(~unknown), _where(unknown))
    if split == "training":
        return _with_draws(clips, labels, config)
    if noise is None:
        return replace(clips, known=torch.arange(len(rows)), unknown=clips.unknown[:0])
    return _for_evaluation(clips, labels, noise, _SEEDS[split])


def _hint(cache: ClipCache, noise: Tensor | None) -> str:
    """What to do where a split is empty; ``noise`` is None for a test folder."""
    if noise is None:
        return f"there are clips of {examples(sorted({clip.word for clip in cache.clips}))}"
    passed_over = "".join(f" ({note})" for note in cache.notes)
    return f"name some in validation_list.txt and testing_list.txt, or add speakers{passed_over}"


def _of_class(targets: Tensor, labels: LabelSet, label: str) -> Tensor:
    return (
        targets == labels.labels.index(label) if label in labels.labels else torch.zeros_like(targets, dtype=torch.bool)
    )


def _where(mask: Tensor) -> Tensor:
    return mask.nonzero()[:, 0]


def _rows(waveforms: Tensor, rows: list[int]) -> Tensor:
    """Rows of a map: a view of it where they are in one piece, else a copy."""
    if rows[-1] - rows[0] == len(rows) - 1:
        return waveforms[rows[0] : rows[-1] + 1]
    return waveforms.index_select(0, torch.tensor(rows))


def _with_draws(clips: ClipSet, labels: LabelSet, config: DataConfig) -> ClipSet:
    n_known = len(clips.known)
    silence_index = labels.index(SILENCE)
    return replace(
        clips,
        unknown_draws=min(len(clips.unknown), math.ceil(config.unknown_share * n_known)),
        silence_draws=0 if silence_index is None else math.ceil(config.silence_share * n_known),
        silence_index=silence_index,
    )


def _for_evaluation(clips: ClipSet, labels: LabelSet, noise: Tensor, seed: int) -> ClipSet:
    """Keep the published share of the unknown clips, always the same ones, and append silence made of noise."""
    silence_index = labels.index(SILENCE)
    silent = _of_class(clips.targets, labels, SILENCE)
    n_extra = math.ceil(EVALUATION_SHARE * (len(clips.known) - int(silent.sum())))
    by_hash = sorted(clips.unknown.tolist(), key=lambda row: _name_hash(clips.names[row]))
    rows = sorted([*clips.known.tolist(), *by_hash[:n_extra]])
    waveforms, targets, names = _rows(clips.waveforms, rows), clips.targets[rows], [clips.names[row] for row in rows]
    if silence_index is not None and not silent.any():
        waveforms = torch.cat([waveforms, _silence(noise, n_extra, waveforms.shape[1], seed)])
        targets = torch.cat([targets, torch.full((n_extra,), silence_index)])
        names += [f"{SILENCE}/{number}" for number in range(n_extra)]
    return ClipSet(waveforms, targets, names, torch.arange(len(names)), torch.zeros(0, dtype=torch.int64))


def _name_hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def _silence(noise: Tensor, n: int, samples: int, seed: int) -> Tensor:
    """Windows of noise with gains in [0, 1]: ``(n, samples)`` int16."""
    generator = torch.Generator().manual_seed(seed)
    windows = noise_windows(noise, samples)
    starts = torch.randint(len(windows), (n,), generator=generator)
    return windows.index_select(0, starts).mul(torch.rand(n, 1, generator=generator)).round().to(torch.int16)
