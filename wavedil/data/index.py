"""Which clips there are: word, speaker and split of each; and a plain folder of words."""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, get_args

from wavedil.data.labels import BACKGROUND

Split = Literal["training", "validation", "testing"]
SPLITS: tuple[Split, ...] = get_args(Split)
LISTS: dict[Split, str] = {"validation": "validation_list.txt", "testing": "testing_list.txt"}
HASH_DIVIDER = "_nohash_"  # in Speech Commands, between the speaker and the number of the utterance

AUDIO_SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64"}
)


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
        return f"{self.word}/{self.path.name}"


@dataclass(frozen=True)
class ClipIndex:
    """The clips of a data folder and its noise recordings.

    Attributes:
        root: the folder that holds the folders of the words.
        clips: in a stable order, each split in one piece.
        noise: recordings of any length.
    """

    root: Path
    clips: tuple[Clip, ...]
    noise: tuple[Path, ...]


def folder_index(root: str | Path, split: Split | None = None) -> ClipIndex:
    """Index a folder of ``<word>/<recording>``, in any format that soundfile reads.

    ``validation_list.txt`` and ``testing_list.txt`` (lines of ``<word>/<file>``, whose suffix does not count, since
    recordings are transcoded) are followed where there is one, the other clips then being for training. Without them
    each speaker (the part of the file name before ``_nohash_``) or else each file goes by a hash of its name to
    training (80%), validation (10%) or testing (10%), so that a clip's split never changes when others come and go.

    Args:
        root: the folder; recordings in ``_background_noise_`` are noise.
        split: the split of all clips, instead.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it has no clips.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; expected one of <word>/<recording>")
    listed: dict[PurePath, Split] = {PurePath(name).with_suffix(""): of for of in LISTS for name in read_list(root, of)}
    follow_lists = any((root / file).is_file() for file in LISTS.values())
    clips = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name != BACKGROUND):
        for path in recordings(folder):
            default: Split = "training" if follow_lists else split_of(path)
            chosen = split or listed.get(PurePath(folder.name, path.stem), default)
            clips.append(Clip(path, folder.name, speaker_of(path), chosen))
    if not clips:
        raise ValueError(f"{root}: expected recordings in <word>/<file>.wav (or flac, ogg, mp3, ...), found none")
    clips.sort(key=lambda clip: SPLITS.index(clip.split))
    return ClipIndex(root, tuple(clips), recordings(root / BACKGROUND))


def recordings(folder: Path) -> tuple[Path, ...]:
    """The audio files of a folder by name, hidden ones left out; none if there is no such folder."""
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(path for path in folder.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES and path.name[0] != ".")
    )


def read_list(root: Path, split: Split) -> tuple[str, ...]:
    """The ``<word>/<file>`` lines of a split's list; none if there is no list."""
    path = root / LISTS[split]
    if not path.is_file():
        return ()
    return tuple(line.strip().replace("\\", "/") for line in path.read_text("utf-8").splitlines() if line.strip())


def speaker_of(path: Path) -> str:
    """The speaker that a file name tells, else the name itself."""
    return path.name.split(HASH_DIVIDER)[0] if HASH_DIVIDER in path.name else path.stem


def split_of(path: Path) -> Split:
    """The split of a speaker or file by the SHA-1 of its name: the same on every machine and for ever."""
    percent = int(hashlib.sha1(speaker_of(path).encode(), usedforsecurity=False).hexdigest()[:8], 16) % 100
    return "training" if percent < 80 else "validation" if percent < 90 else "testing"
