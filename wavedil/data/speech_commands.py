"""Speech Commands (Warden 2018, arXiv:1804.03209) in the layout of torchaudio's class, and words of one's own in it."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath

from wavedil.data.download import fetch_archive
from wavedil.data.index import Clip, ClipIndex, lost_words, name_of, share_out, torn_note, words_and_noise
from wavedil.data.labels import WORDS_35
from wavedil.data.listing import LISTS, SPLITS, Split, examples, list_words, name_key
from wavedil.data.speaker_names import HASH_DIVIDER, known_speakers
from wavedil.data.split_lists import SplitLists, read_lists
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
    name only what is there is taken as it is, unless they are the full lists and training clips are missing. A word of
    one's own, whose recordings are in no list, is split like a plain folder; a speaker whom the lists know stays there.

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
    folder = _folder_of(root, version)
    downloaded = download and _download(folder, url or URL.format(version=version), sha256 if url else SHA256[version])
    listing = list_words(dataset_folder(root, version))
    words, noise = words_and_noise(listing)
    names = {name_of(path): path for path in words}
    lists = read_lists(folder)
    _check_lists(lists, names)
    speakers, _ = known_speakers(names)
    splits, notes = _choose_splits(folder, lists, {name: words[path] for name, path in names.items()}, speakers)
    clips = [
        Clip(path, words[path], speakers.get(name, path.stem), splits[name]) for name, path in sorted(names.items())
    ]
    clips.sort(key=lambda clip: SPLITS.index(clip.split))
    _check_counts(folder, clips, FULL_COUNTS[version], must_be_full=downloaded and url is None)
    return ClipIndex(folder, tuple(clips), noise, listing.notes(), tuple(notes), lost_words(listing))


def dataset_folder(root: str | Path, version: str) -> Path:
    """The folder of the words of a version.

    Raises:
        FileNotFoundError: if it is not there.
    """
    folder = _folder_of(root, version)
    if not folder.is_dir():
        remedy = f'download = true, or root to the folder above {FOLDER}; source = "folder" takes any folder of words'
        raise FileNotFoundError(f"{folder}: no such folder; set {remedy}")
    return folder


def _folder_of(root: str | Path, version: str) -> Path:
    return Path(root) / FOLDER / f"speech_commands_{version}"


def _download(folder: Path, url: str, sha256: str | None) -> bool:
    """Fetch the dataset unless it is there; whether it was fetched."""
    with file_lock(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return False
        fetch_archive(url, folder, sha256)
        return True


def _check_lists(lists: SplitLists, names: Iterable[str]) -> None:
    """Refuse a folder without its lists, or without files that they name."""
    folder, there = lists.root, {name_key(name) for name in names}
    remedy = 'remove it and extract the archive again, or read what is there with source = "folder"'
    seen: set[str] = set()
    for split, file in LISTS.items():
        if split not in lists.found:
            raise ValueError(f"{folder}: {file} is missing, so it was not extracted to the end; {remedy}")
        lines = [line for line in lists.lines if line.split == split]
        missing = []
        for line in lines:
            key = name_key(line.name)
            well_formed = line.name.count("/") == 1 and HASH_DIVIDER in line.name
            if key in seen or not (key in there or well_formed):
                expected = f"a <word>/<speaker>{HASH_DIVIDER}<number>.wav that is in no list before"
                raise ValueError(f"{folder / file}: line {line.number}: expected {expected}, got {line.name!r}")
            seen.add(key)
            missing += [line.name] * (key not in there)
        if missing:
            raise ValueError(
                f"{folder}: {len(missing):,} of the {len(lines):,} clips in {file} are missing ({examples(missing)}), "
                f"so it was not extracted to the end; {remedy}"
            )


def _choose_splits(
    folder: Path, lists: SplitLists, words: Mapping[str, str], speakers: Mapping[str, str]
) -> tuple[dict[str, Split], list[str]]:
    """The split of each clip by name, and notes on it."""
    listed = lists.by_name()
    of_lists: dict[str, Split] = {name: listed[key] for name in words if (key := name_key(name)) in listed}
    official = {words[name] for name in of_lists} | set(WORDS_35)
    own = {name: speakers.get(name, PurePath(name).stem) for name, word in words.items() if word not in official}
    known: dict[str, Split] = {speakers[name]: split for name, split in of_lists.items() if name in speakers}
    by_unit = share_out(unit for unit in own.values() if unit not in known) | known
    chosen = dict(of_lists)
    chosen.update((name, by_unit[unit]) for name, unit in own.items())
    chosen.update((name, "training") for name in words if name not in chosen)
    notes = torn_note(folder, chosen, speakers)
    if own:
        unlisted = examples(sorted({words[name] for name in own}))
        notes.append(f"{folder}: no list has clips of {unlisted}; they are split by speaker, or else by file")
    return chosen, notes


def _check_counts(folder: Path, clips: Iterable[Clip], full: tuple[int, ...], must_be_full: bool) -> None:
    """Where the lists are the full ones, or the folder comes from the archive, all its clips must be there."""
    official = [clip.split for clip in clips if clip.word in WORDS_35 and HASH_DIVIDER in clip.path.name]
    counts = tuple(official.count(split) for split in SPLITS)
    looks_full = counts[1:] == full[1:]
    if (must_be_full or looks_full) and any(found < expected for found, expected in zip(counts, full, strict=True)):
        found, expected = (
            ", ".join(f"{n:,} {split}" for n, split in zip(c, SPLITS, strict=True)) for c in (counts, full)
        )
        raise ValueError(f"{folder}: expected {expected} clips, found {found}; it was not extracted to the end")
