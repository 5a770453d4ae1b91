"""Clips decoded once into one memory-mapped int16 matrix, which any number of processes share."""

import errno
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from wavedil.data.decode import decode, fit_length
from wavedil.data.index import Clip, ClipIndex
from wavedil.folders import file_lock, new_folder

FORMAT = 2  # of the cache folder; another number is another cache
_CLIPS, _NOISE, _MANIFEST = "clips.i16", "noise.i16", "manifest.json"
_BATCH = 512  # clips decoded between two writes

Entry = tuple[str, int, int]  # name below the root, size in bytes (-1: no file that can be read), time of change in ns
_NOT_OF_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # errors that say nothing of the file that is opened


@dataclass(frozen=True, eq=False)
class ClipCache:
    """The clips of an index at one rate and length.

    Attributes:
        root: the data folder.
        clips: those that could be read, in the order of the rows.
        waveforms: ``(n, clip_samples)`` int16, memory-mapped; writing to it changes no file.
        noise: ``(samples,)`` int16, memory-mapped: the noise recordings one after another.
        noise_offsets: ``(recordings + 1,)`` int64, where each begins and the last one ends.
        corrupt: why a file could not be read, by name below the root.
        sha256: of all samples, which tells whether two runs saw the same data.
        notes: those of the index.
        split_notes: likewise.
    """

    root: Path
    clips: tuple[Clip, ...]
    waveforms: Tensor
    noise: Tensor
    noise_offsets: Tensor
    corrupt: dict[str, str]
    sha256: str
    notes: tuple[str, ...]
    split_notes: tuple[str, ...]

    @classmethod
    def build(
        cls,
        index: ClipIndex,
        sample_rate: int,
        clip_samples: int,
        cache_dir: Path,
        on_corrupt: Literal["raise", "skip"] = "raise",
    ) -> "ClipCache":
        """Open the cache of an index, decoding what is not in it or has changed (name, size or time) since.

        A clip is the mean of its channels, resampled to ``sample_rate``. A shorter one is padded with zeros at its end;
        of a longer one the window with the most energy is taken. Processes that come at once wait for the first.

        Args:
            index: what to decode.
            sample_rate: in Hz.
            clip_samples: length of a row.
            cache_dir: the cache is a folder below ``<cache_dir>/clips``; one that it replaces is removed.
            on_corrupt: whether files that cannot be read are an error, or are left out and named on stderr.

        Raises:
            ValueError: if files cannot be read and ``on_corrupt`` is "raise", or none can be read at all.
            OSError: if the disk is full; nothing is left half-written.
        """
        entries = [_entry(name, path) for name, path in _files(index)]
        key = _digest([str(index.root.resolve()), sample_rate, clip_samples])
        state = _digest([FORMAT, entries, [clip.split for clip in index.clips]])
        folder = cache_dir / "clips" / f"{key}-{state}"
        cache = cls._open(folder, index, clip_samples)
        if cache is None:
            with file_lock(folder.with_name(f"{key}.lock")):
                cache = cls._open(folder, index, clip_samples)  # another process may have made it meanwhile
                if cache is None:
                    _write(folder, index, entries, sample_rate, clip_samples)
                    cache = cls._open(folder, index, clip_samples, fresh=True)
        if cache is None:
            raise RuntimeError(f"{folder}: the clip cache was changed while it was being opened; try again")
        cache._report_corrupt(on_corrupt)
        return cache

    @classmethod
    def _open(cls, folder: Path, index: ClipIndex, clip_samples: int, fresh: bool = False) -> "ClipCache | None":
        """The cache in a folder; None if it is not there or not whole, or lacks files that can be read by now."""
        try:
            manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
            corrupt = manifest["corrupt"]
            if not fresh and any(_can_be_read(index.root / name) for name in manifest.get("closed", ())):
                return None
            clips = tuple(clip for clip in index.clips if clip.name not in corrupt)
            lengths = [samples for *_, samples in manifest["noise"]]
            return cls(
                root=index.root,
                clips=clips,
                waveforms=_map(folder / _CLIPS, len(clips) * clip_samples).view(len(clips), clip_samples),
                noise=_map(folder / _NOISE, sum(lengths)),
                noise_offsets=torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64),
                corrupt=corrupt,
                sha256=manifest["sha256"],
                notes=index.notes,
                split_notes=index.split_notes,
            )
        except (OSError, ValueError, KeyError):
            return None

    def _report_corrupt(self, on_corrupt: str) -> None:
        lines = [f"{self.root / name}: {reason}" for name, reason in self.corrupt.items()]
        if lines and on_corrupt == "raise":
            others = f" (and {len(lines) - 1} more: {', '.join(list(self.corrupt)[1:6])})" if len(lines) > 1 else ""
            raise ValueError(f'{lines[0]}{others}; on_corrupt = "skip" leaves such clips out')
        if lines:
            total = len(self.clips) + len(self.noise_offsets) - 1 + len(lines)
            print(f"wavedil: {len(lines)} of {total} recordings cannot be read and are left out:", file=sys.stderr)
            print("\n".join(f"  {line}" for line in lines), file=sys.stderr)
        if not self.clips:
            raise ValueError(f"{self.root}: none of the clips can be read")


def _files(index: ClipIndex) -> Iterator[tuple[str, Path]]:
    yield from ((clip.name, clip.path) for clip in index.clips)
    yield from ((f"{path.parent.name}/{path.name}", path) for path in index.noise)


def _entry(name: str, path: Path) -> Entry:
    try:
        status = path.stat()
    except OSError:
        return name, -1, 0
    return name, status.st_size if stat.S_ISREG(status.st_mode) else -1, status.st_mtime_ns


def _why_no_file(path: Path) -> str:
    """Why there is no file that can be read; nothing is opened, since a pipe would wait for ever."""
    try:
        if path.is_dir():
            return "this is a folder"
        path.stat()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return f"{reason} (a link to {path.readlink()})" if path.is_symlink() else reason
    return "a pipe, a socket or a device, not a file"


def _can_be_read(path: Path) -> bool:
    """Whether a file can be opened by now; permissions change without leaving a trace in size or time."""
    try:
        with path.open("rb") as file:
            return len(file.read(1)) >= 0
    except OSError:
        return False


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _map(path: Path, samples: int) -> Tensor:
    """Map a file of int16 privately: pages are read when used, and shared by the processes."""
    if path.stat().st_size != 2 * samples:
        raise ValueError(f"{path}: expected {2 * samples} bytes, got {path.stat().st_size}")
    if samples == 0:  # which cannot be mapped
        return torch.zeros(0, dtype=torch.int16)
    return torch.from_file(str(path), shared=False, size=samples, dtype=torch.int16)


class _Previous:
    """The rows of an older cache of the same folder, rate and length, for the files that did not change."""

    def __init__(self, folder: Path, clip_samples: int) -> None:
        self._rows: dict[Entry, int] = {}
        key = folder.name.partition("-")[0]
        unfinished = list(folder.parent.glob(f".{key}-*"))  # by processes that were killed, as we hold the lock
        older = [path for path in folder.parent.glob(f"{key}-*") if path != folder]
        self.folders = [*older, *unfinished]
        for old in older:
            try:
                clips = json.loads((old / _MANIFEST).read_text("utf-8"))["clips"]
                self._waveforms = _map(old / _CLIPS, len(clips) * clip_samples).view(-1, clip_samples).numpy()
                self._rows = {(name, size, time): row for row, (name, size, time) in enumerate(clips)}
                return
            except (OSError, ValueError, KeyError):
                continue  # it is not whole, so it is decoded anew

    def row(self, entry: Entry) -> np.ndarray | None:
        row = self._rows.get(entry)
        return None if row is None else self._waveforms[row]


def _write(folder: Path, index: ClipIndex, entries: Sequence[Entry], sample_rate: int, clip_samples: int) -> None:
    """Decode an index into a cache folder, and remove those that it replaces."""
    shutil.rmtree(folder, ignore_errors=True)  # there, but not whole
    previous = _Previous(folder, clip_samples)
    n_clips = len(index.clips)
    cancelling: list[Path] = []

    def load_clip(path: Path, entry: Entry) -> np.ndarray:
        row = previous.row(entry)
        return fit_length(decode(path, sample_rate, cancelling), clip_samples) if row is None else row

    def load_noise(path: Path, _entry: Entry) -> np.ndarray:
        return decode(path, sample_rate, cancelling)

    with _full_disk_explained(folder, 2 * n_clips * clip_samples), new_folder(folder) as temporary:
        clips = _store(temporary / _CLIPS, [clip.path for clip in index.clips], entries[:n_clips], load_clip)
        noise = _store(temporary / _NOISE, index.noise, entries[n_clips:], load_noise)
        manifest = {
            "format": FORMAT,
            "root": str(index.root.resolve()),
            "sample_rate": sample_rate,
            "clip_samples": clip_samples,
            "sha256": hashlib.sha256((clips.sha256 + noise.sha256).encode()).hexdigest(),
            "corrupt": clips.corrupt | noise.corrupt,
            "closed": clips.closed + noise.closed,
            "clips": clips.entries,
            "noise": [(*entry, length) for entry, length in zip(noise.entries, noise.lengths, strict=True)],
        }
        with (temporary / _MANIFEST).open("wb") as file:
            file.write(json.dumps(manifest).encode())
            file.flush()
            os.fsync(file.fileno())
    _report_cancelling(index.root, cancelling)
    for old in previous.folders:  # other processes that have one mapped keep it until they end
        shutil.rmtree(old, ignore_errors=True)


def _report_cancelling(root: Path, paths: Sequence[Path]) -> None:
    if paths:
        names = ", ".join(str(path.relative_to(root)) for path in sorted(paths)[:3])
        what = "have channels that cancel, as with one inverted; the loudest was taken"
        print(f"wavedil: {len(paths)} of the recordings {what}: {names}{', ...' * (len(paths) > 3)}", file=sys.stderr)


@dataclass(frozen=True)
class _Stored:
    entries: list[Entry]
    lengths: list[int]
    corrupt: dict[str, str]
    closed: list[str]  # those of the corrupt that the system did not let us read
    sha256: str


def _store(
    path: Path, files: Sequence[Path], entries: Sequence[Entry], load: Callable[[Path, Entry], np.ndarray]
) -> _Stored:
    """Write the samples of all files that can be read into one, decoding with a thread for each processor."""

    def attempt(item: tuple[Path, Entry]) -> np.ndarray | str | OSError:
        path, (_, size, _) = item
        if size < 0:
            return _why_no_file(path)
        try:
            return load(*item)
        except OSError as error:
            if error.errno in _NOT_OF_THE_FILE:
                raise
            return error
        except (ValueError, RuntimeError, MemoryError) as error:
            return (str(error) or type(error).__name__).removeprefix(f"{path}: ")

    stored = _Stored([], [], {}, [], "")
    digest = hashlib.sha256()
    items = list(zip(files, entries, strict=True))
    with (
        path.open("wb") as file,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(items), desc=f"decoding {path.stem}", unit="file", disable=None) as bar,
    ):
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            for (file_path, entry), samples in zip(batch, pool.map(attempt, batch), strict=True):
                if isinstance(samples, OSError):
                    stored.closed.append(entry[0])
                    samples = (samples.strerror or str(samples).removeprefix(f"{file_path}: ")).lower()
                if isinstance(samples, str):
                    stored.corrupt[entry[0]] = samples
                    continue
                file.write(samples.data)  # and not into a map, where a full disk would be SIGBUS
                digest.update(samples.data)
                stored.entries.append(entry)
                stored.lengths.append(len(samples))
            bar.update(len(batch))
        file.flush()
        os.fsync(file.fileno())
    return replace(stored, sha256=digest.hexdigest())


@contextmanager
def _full_disk_explained(folder: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        free = shutil.disk_usage(folder.parent).free
        need = f"the clip cache takes {size / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free"
        raise OSError(errno.ENOSPC, f"the disk is full: {need}; set cache_dir elsewhere", str(folder.parent)) from error
