"""Speech Commands (Warden 2018, arXiv:1804.03209) by torchaudio's class, with what that class does not check."""

from pathlib import Path
from typing import Any

from wavedil.data.download import fetch_archive
from wavedil.data.index import HASH_DIVIDER, LISTS, SPLITS, Clip, ClipIndex, Split, recordings
from wavedil.data.labels import BACKGROUND
from wavedil.data.torchaudio_compat import torchaudio
from wavedil.folders import file_lock

FOLDER = "SpeechCommands"  # below the root, as torchaudio has it
URL = "http://download.tensorflow.org/data/speech_commands_{version}.tar.gz"
# SHA-256 of the archives, as in torchaudio's own table.
SHA256 = {
    "v0.01": "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
    "v0.02": "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
}
# Clips of training, validation and testing in the whole dataset.
FULL_COUNTS = {"v0.01": (51_088, 6_798, 6_835), "v0.02": (84_843, 9_981, 11_005)}


def speech_commands_index(
    root: str | Path, version: str = "v0.02", download: bool = False, url: str | None = None, sha256: str | None = None
) -> ClipIndex:
    """Index ``<root>/SpeechCommands/speech_commands_<version>``: the whole dataset, or a smaller one of its layout.

    A folder whose lists name files that are not there was not extracted to the end, and is refused; one whose lists
    name only what is there is taken as it is, unless they are the full lists and training clips are missing.

    Args:
        root: the folder above ``SpeechCommands``.
        version: "v0.01" or "v0.02".
        download: whether to download what is not there (2.4 GB for v0.02).
        url: of the archive, if not the official one; its clips are then not counted.
        sha256: of the archive at ``url``.

    Raises:
        FileNotFoundError: if the folder is not there and ``download`` is false.
        ValueError: if the version is not known, or files are missing.
    """
    if version not in FULL_COUNTS:
        raise ValueError(f"version: expected one of {', '.join(FULL_COUNTS)}, got {version}")
    folder = Path(root) / FOLDER / f"speech_commands_{version}"
    downloaded = download and _download(folder, url or URL.format(version=version), sha256 if url else SHA256[version])
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; set download = true, or root to where Speech Commands is")
    _check_lists(folder)
    dataset = torchaudio().datasets.SPEECHCOMMANDS
    clips = tuple(clip for split in SPLITS for clip in _clips(dataset(root, folder.name, subset=split), folder, split))
    _check_counts(folder, clips, FULL_COUNTS[version], must_be_full=downloaded and url is None)
    # The class knows nothing of the noise recordings.
    return ClipIndex(folder, clips, recordings(folder / BACKGROUND))


def _download(folder: Path, url: str, sha256: str | None) -> bool:
    """Fetch the dataset unless it is there; whether it was fetched."""
    with file_lock(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return False
        fetch_archive(url, folder, sha256)
        return True


def _check_lists(folder: Path) -> None:
    """Refuse a folder without its lists, or without files that they name: torchaudio takes the lists at their word."""
    remedy = 'remove it and extract the archive again, or read what is there with source = "folder"'
    seen: set[str] = set()
    for file in LISTS.values():
        if not (folder / file).is_file():
            raise ValueError(f"{folder}: {file} is missing, so it was not extracted to the end; {remedy}")
        names = [line.strip() for line in (folder / file).read_text("utf-8").splitlines()]
        for number, name in enumerate(names, 1):
            if name.count("/") != 1 or HASH_DIVIDER not in name or name in seen:
                expected = f"a <word>/<speaker>{HASH_DIVIDER}<number>.wav that is in no list before"
                raise ValueError(f"{folder / file}: line {number}: expected {expected}, got {name!r}")
            seen.add(name)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise ValueError(
                f"{folder}: {len(missing):,} of the {len(names):,} clips in {file} are missing "
                f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}), so it was not extracted to the end; "
                f"{remedy}"
            )


def _clips(dataset: Any, folder: Path, split: Split) -> list[Clip]:
    # get_metadata reads no audio; dataset[n] would, by torchaudio.load, which needs torchcodec and FFmpeg.
    metadata = (dataset.get_metadata(n) for n in range(len(dataset)))
    return [Clip(folder.parent / name, word, speaker, split) for name, _rate, word, speaker, _utterance in metadata]


def _check_counts(folder: Path, clips: tuple[Clip, ...], full: tuple[int, ...], must_be_full: bool) -> None:
    """Where the lists are the full ones, or the folder comes from the archive, all clips must be there."""
    counts = tuple(sum(clip.split == split for clip in clips) for split in SPLITS)
    looks_full = counts[1:] == full[1:]
    if (must_be_full or looks_full) and counts != full:
        found, expected = (
            ", ".join(f"{n:,} {split}" for n, split in zip(c, SPLITS, strict=True)) for c in (counts, full)
        )
        raise ValueError(f"{folder}: expected {expected} clips, found {found}; it was not extracted to the end")
    if not clips:
        raise ValueError(f"{folder}: no clips in it")
