"""Which clips there are: word, speaker and split of each; and a plain folder of words."""

import hashlib
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from wavedil.data.labels import BACKGROUND, word_of
from wavedil.data.listing import HIDDEN, OTHER, SPLITS, Listing, Split, examples, list_words, name_key
from wavedil.data.speaker_names import known_speakers, named_speaker
from wavedil.data.split_lists import read_lists
from wavedil.files import in_home


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of one word, ``<root>/<word>/<file>``."""

    path: Path
    word: str
    speaker: str
    split: Split

    @property
    def name(self) -> str:
        """The path below the root."""
        return name_of(self.path)


@dataclass(frozen=True)
class ClipIndex:
    """The clips of a data folder and its noise recordings.

    Attributes:
        root: the folder that holds the folders of the words.
        clips: in a stable order, each split in one piece.
        noise: recordings of any length.
        notes: what was passed over.
        split_notes: what the user should know of the split: lines that name nothing, speakers that are not known.
        lost: folders of which all recordings were passed over.
    """

    root: Path
    clips: tuple[Clip, ...]
    noise: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    split_notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the clips, sorted."""
        return tuple(sorted({clip.word for clip in self.clips}))


def folder_index(root: str | Path, split: Split | None = None, speaker: str | None = None) -> ClipIndex:
    """Index a folder of ``<word>/<recording>``, in any format that soundfile reads.

    ``validation_list.txt`` and ``testing_list.txt`` (lines of ``<word>/<file>``, whose suffix does not count, since
    recordings are transcoded) are followed where there is one, the other clips then being for training. Without them
    each speaker, or each file of which no speaker is known, goes by a hash of its name to training (80%), validation
    (10%) or testing (10%), so that a clip's split never changes when others come and go; only where that leaves a split
    empty are the speakers or files shared out in the order of their hashes.

    Args:
        root: the folder; recordings in ``_background_noise_`` are noise.
        split: the split of all clips, instead.
        speaker: how the speaker is known, as :func:`wavedil.data.speaker_names.known_speakers` takes it.

    Raises:
        FileNotFoundError: if there is no such folder.
        OSError: if the folder of a word cannot be listed.
        ValueError: if it has no clips, or a list or table is wrong.
    """
    root = in_home(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; expected one of <word>/<recording>")
    listing = list_words(root)
    words, noise = words_and_noise(listing)
    notes: list[str] = []
    names = {path: name_of(path) for path in words}
    if split is not None:
        clips = [Clip(path, word, path.stem, split) for path, word in words.items()]
    else:
        speakers, of_table = known_speakers(names.values(), speaker)
        splits, of_split = _choose_splits(root, list(names.values()), speakers)
        notes = of_table + of_split
        clips = [
            Clip(path, word, speakers.get(names[path], path.stem), splits[names[path]]) for path, word in words.items()
        ]
    clips.sort(key=lambda clip: SPLITS.index(clip.split))
    return ClipIndex(root, tuple(clips), noise, listing.notes(), tuple(notes), lost_words(listing))


def words_and_noise(listing: Listing) -> tuple[dict[Path, str], tuple[Path, ...]]:
    """The word of each recording, and the recordings of noise.

    Raises:
        ValueError: if there is no word.
    """
    words = {path: word_of(path.parent.name) for path in listing.files}
    noise = tuple(path for path, word in words.items() if word == BACKGROUND)
    words = {path: word for path, word in words.items() if word != BACKGROUND}
    if not words:
        found = "".join(f"; {note}" for note in listing.notes())
        raise ValueError(
            f"{listing.root}: expected recordings in <word>/<file>.wav (or flac, ogg, mp3, ...), found none{found}"
        )
    return words, noise


def lost_words(listing: Listing) -> tuple[str, ...]:
    """The folders of which all recordings are passed over."""
    there = {path.parent.name for path in listing.files}
    meant = {name for name, reason in listing.passed_over if "/" in name and reason not in (HIDDEN, OTHER)}
    return tuple(sorted({name.partition("/")[0] for name in meant} - there))


def name_of(path: Path) -> str:
    """The name of a clip below its root."""
    return f"{path.parent.name}/{path.name}"


def split_of(path: Path) -> Split:
    """The split of a speaker or file by the SHA-1 of its name: the same on every machine and for ever."""
    return _by_hash(named_speaker(path.name) or path.stem)


def share_out(units: Iterable[str]) -> dict[str, Split]:
    """The split of each speaker or file: by its own hash, or where that leaves a split empty, by the hashes' order."""
    splits: dict[str, Split] = {unit: _by_hash(unit) for unit in units}
    if len(splits) < len(SPLITS) or len(set(splits.values())) == len(SPLITS):
        return splits
    order = sorted(splits, key=lambda unit: (_hash(unit), unit))
    n = math.ceil(len(order) / 10)
    splits.update((unit, "training") for unit in order)
    splits.update((unit, "validation") for unit in order[-2 * n : -n])
    splits.update((unit, "testing") for unit in order[-n:])
    return splits


def _by_hash(unit: str) -> Split:
    percent = _hash(unit) % 100
    return "training" if percent < 80 else "validation" if percent < 90 else "testing"


def _hash(unit: str) -> int:
    content = unicodedata.normalize("NFC", unit).encode("utf-8", "surrogateescape")
    return int(hashlib.sha1(content, usedforsecurity=False).hexdigest()[:8], 16)


def _choose_splits(root: Path, names: list[str], speakers: Mapping[str, str]) -> tuple[dict[str, Split], list[str]]:
    """The split of each clip by name, and notes on it."""
    lists = read_lists(root)
    if lists.found:
        listed = lists.by_name()
        splits: dict[str, Split] = {name: listed.get(name_key(name)) or "training" for name in names}
        return splits, lists.notes(names) + torn_note(root, splits, speakers)
    units = {name: speakers.get(name, PurePath(name).stem) for name in names}
    by_unit = share_out(units.values())
    return {name: by_unit[unit] for name, unit in units.items()}, _of_hash(root, units, speakers, by_unit)


def torn_note(root: Path, splits: Mapping[str, Split], speakers: Mapping[str, str]) -> list[str]:
    """A note if lists put a speaker into more than one split."""
    pairs = {(speaker, splits[name]) for name, speaker in speakers.items()}
    torn = sorted(speaker for speaker, count in Counter(speaker for speaker, _ in pairs).items() if count > 1)
    many = f"{root}: its lists put {len(torn):,} of the speakers into more than one split ({examples(torn)})"
    return [many] if torn else []


def _of_hash(
    root: Path, units: Mapping[str, str], speakers: Mapping[str, str], by_unit: Mapping[str, Split]
) -> list[str]:
    """Notes on a split by hash: whose speaker is not known, and whether the shares are those of the hashes."""
    notes, unknown = [], [name for name in units if name not in speakers]
    remedy = "a voice may be in several splits; data.speaker names the speakers"
    if not speakers:
        notes.append(f"{root}: no speaker is known, so the split is by file: {remedy}")
    elif unknown:
        some = f"{len(unknown):,} of {len(units):,} recordings ({examples(unknown)})"
        notes.append(f"{root}: no speaker is known of {some}, so these are split by file: {remedy}")
    if any(split != _by_hash(unit) for unit, split in by_unit.items()):
        counts = Counter(by_unit.values())
        shares = ", ".join(f"{counts[split]} for {split}" for split in SPLITS)
        notes.append(f"{root}: {len(by_unit)} speakers or files are few, and are shared out: {shares}")
    return notes
