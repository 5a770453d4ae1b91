"""The synthetic corpus: espeak-ng's voices in the very layout of Speech Commands, made once and then read like it."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from wavedil.config import DataConfig
from wavedil.data import espeak
from wavedil.data.labels import BACKGROUND, WORDS_35
from wavedil.data.noise import background_noises
from wavedil.data.speakers import Speaker, draw_speakers
from wavedil.data.utterances import write_wav
from wavedil.files import in_home
from wavedil.folders import cache_root, file_lock, new_folder

LAYOUT = Path("SpeechCommands", "speech_commands_v0.02")
"""Where torchaudio's class looks for the clips below its root."""

GENERATOR_VERSION = 1
"""Of the sound: to be raised with every change that alters a clip, so that no cached corpus outlives it."""

DEFAULT_TAKES = 2

_SPEAKERS_A_TASK = 10


@dataclass(frozen=True)
class CorpusSummary:
    """What :func:`make_corpus` made.

    Attributes:
        root: the folder that torchaudio's class and :func:`wavedil.data.speech_commands.speech_commands_index` take.
        words: what is said.
        speakers: how many speak.
        clips: number of clips in each split.
        seconds: time it took.
        size: in bytes.
    """

    root: Path
    words: tuple[str, ...]
    speakers: int
    clips: dict[str, int]
    seconds: float
    size: int


def make_corpus(
    dest: str | Path,
    speakers: int = 120,
    takes: int = DEFAULT_TAKES,
    seed: int = 0,
    words: Sequence[str] = WORDS_35,
    progress: bool = False,
) -> CorpusSummary:
    """Let ``speakers`` invented speakers say every word ``takes`` times, and record background noise.

    Clips, noise and the lists of the splits lie in ``dest/SpeechCommands/speech_commands_v0.02``; ``dest/corpus.json``
    tells who the speakers are. A tenth of the speakers each is for validation and testing, with voices that no training
    clip has. The same arguments give the same bytes, on any number of processor cores. ``dest`` appears when all is
    done, never half-made.

    Args:
        dest: folder to make; it must be empty or not exist.
        speakers: three at least; a larger corpus begins with the speakers of a smaller one.
        takes: how often a speaker says each word.
        seed: of everything random.
        words: lower-case English words.
        progress: whether to show a bar on a terminal.

    Raises:
        ValueError: for an argument that makes no sense.
        FileExistsError: if something is at ``dest`` already.
        ModuleNotFoundError: if espeak-ng is not installed; the message says how to get it.
        RuntimeError: if espeak-ng fails, or a word does not fit into a second.
    """
    began = time.monotonic()
    dest = in_home(dest).absolute()
    words = _checked_words(words)
    if takes < 1:
        raise ValueError(f"takes: expected at least 1, got {takes}")
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, got {seed}")
    cast = draw_speakers(speakers, seed)
    _refuse_existing(dest)
    espeak.data_path()  # raises if espeak-ng is missing
    with file_lock(dest.with_name(f".{dest.name}.lock")), new_folder(dest) as part:
        _refuse_existing(dest)  # another process was quicker
        folder = part / LAYOUT
        _fill(folder, speakers, takes, seed, words, progress)
        clips = _write_lists(folder, cast, words, takes)
        _describe(part, cast, takes, seed, words)
        size = sum(path.stat().st_size for path in folder.glob("*/*.wav"))
        if hasattr(os, "sync"):
            os.sync()  # thousands of files: one for all is far quicker than one each
    return CorpusSummary(dest, words, speakers, clips, time.monotonic() - began, size)


def synthetic_root(config: DataConfig) -> Path:
    """The root of the synthetic corpus of a config, which is made if it is not there.

    It lies at ``config.root``, or else in the cache folder under a name that tells its size. Of several processes that
    ask at once, one makes it and the others wait.

    Raises:
        FileExistsError: if ``config.root`` is a folder with something else in it.
        ModuleNotFoundError: if espeak-ng is not installed; the message says how to get it.
    """
    root = corpus_root(config)
    if not (root / LAYOUT).is_dir():
        print(f"making the synthetic corpus ({config.speakers} speakers) in {root}", file=sys.stderr, flush=True)
        try:
            make_corpus(root, speakers=config.speakers, progress=True)
        except FileExistsError:
            if not (root / LAYOUT).is_dir():
                raise
    return root


def corpus_root(config: DataConfig) -> Path:
    """Where the synthetic corpus of a config lies, or would lie."""
    if config.root is not None:
        return in_home(config.root)
    name = f"synthetic-v{GENERATOR_VERSION}-{config.speakers}x{DEFAULT_TAKES}-seed0"
    return cache_root(config.cache_dir) / name


def require_corpus(root: Path) -> None:
    """Refuse a root that has no synthetic corpus and in which none can be made.

    Raises:
        FileExistsError: if there is something else in it.
        ModuleNotFoundError: if espeak-ng is not installed.
    """
    if not (root / LAYOUT).is_dir():
        _refuse_existing(root)
        espeak.data_path()  # raises if espeak-ng is missing


def _checked_words(words: Sequence[str]) -> tuple[str, ...]:
    if not words:
        raise ValueError("words: expected at least one, got none")
    for word in words:
        if not re.fullmatch("[a-z]+", word):
            raise ValueError(f"words: expected lower-case letters a to z, got {word!r}")
    if len(set(words)) < len(words):
        raise ValueError(f"words: expected each once, got {' '.join(words)}")
    return tuple(words)


def _fill(folder: Path, speakers: int, takes: int, seed: int, words: tuple[str, ...], progress: bool) -> None:
    """Make all recordings."""
    for name in (*words, BACKGROUND):
        (folder / name).mkdir(parents=True)
    tasks = _tasks(folder, speakers, takes, seed, words)
    with tqdm(total=len(words) * speakers * takes, unit="clip", disable=None if progress else True) as bar:
        bar.set_description("speaking the synthetic corpus")
        for spoken in _run_all(tasks):
            bar.update(spoken * len(words) * takes)
    for name, waveform in background_noises(seed).items():
        write_wav(folder / BACKGROUND / f"{name}.wav", waveform)


def _tasks(folder: Path, speakers: int, takes: int, seed: int, words: tuple[str, ...]) -> Iterator[dict]:
    """The tasks of :func:`wavedil.data.utterances.run_task`. What a task speaks is the same on every machine, since a
    waveform depends on what its process spoke before.
    """
    yield {"babble": str(folder / BACKGROUND / "babble.wav"), "seed": seed, "speakers": [0, 0]}
    for first in range(0, speakers, _SPEAKERS_A_TASK):
        block = [first, min(first + _SPEAKERS_A_TASK, speakers)]
        yield {"folder": str(folder), "seed": seed, "words": words, "takes": takes, "speakers": block}


def _run_all(tasks: Iterable[dict]) -> Iterator[int]:
    """Run each task in a process of its own, as many at once as there are cores; yields the speakers of each, done."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        futures = {pool.submit(_run, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                future.result()
                first, end = futures[future]["speakers"]
                yield end - first
        finally:
            pool.shutdown(cancel_futures=True)


def _run(task: dict) -> None:
    package_parent = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH")]))
    # -P: modules of the current folder must not replace the standard library's.
    command = [sys.executable, "-P", "-m", "wavedil.data.utterances", json.dumps(task)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise RuntimeError(f"the synthetic corpus cannot be spoken: {reason[0]}")


def _write_lists(folder: Path, cast: list[Speaker], words: tuple[str, ...], takes: int) -> dict[str, int]:
    """Write validation_list.txt and testing_list.txt; the clips in neither are for training. Returns the counts."""
    clips: dict[str, list[str]] = {"training": [], "validation": [], "testing": []}
    for speaker in cast:
        clips[speaker.split] += [f"{word}/{speaker.id}_nohash_{take}.wav" for word in words for take in range(takes)]
    for split in ("validation", "testing"):
        (folder / f"{split}_list.txt").write_text("".join(f"{name}\n" for name in sorted(clips[split])))
    return {split: len(names) for split, names in clips.items()}


def _describe(root: Path, cast: list[Speaker], takes: int, seed: int, words: tuple[str, ...]) -> None:
    description = {
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "takes": takes,
        "words": words,
        "speakers": [{"id": s.id, "split": s.split, "accent": s.accent, "variant": s.variant} for s in cast],
    }
    (root / "corpus.json").write_text(json.dumps(description, indent=1) + "\n")


def _refuse_existing(dest: Path) -> None:
    if dest.is_dir() and not any(dest.iterdir()):
        return
    if dest.exists():
        raise FileExistsError(f"{dest} exists already and is not an empty folder: choose another, or remove it")
