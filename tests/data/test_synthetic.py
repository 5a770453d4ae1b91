import os
import re
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples

from wavedil.config import DataConfig
from wavedil.data import synthetic
from wavedil.data.labels import BACKGROUND
from wavedil.data.noise import shaped_noise
from wavedil.data.speakers import ACCENTS, draw_speakers
from wavedil.data.speech_commands import speech_commands_index
from wavedil.data.synthetic import LAYOUT, make_corpus, synthetic_root

WORDS = ("backward", "six", "two")
SPEAKERS = 12  # two tasks


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus") / "made", SPEAKERS, takes=2, seed=3, words=WORDS).root


def read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def refuse_to_speak(*_args: object, **_kwargs: object) -> None:
    raise AssertionError("the corpus was made again")


def test_same_seed_same_bytes_on_any_number_of_cores(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def one_at_a_time(tasks: Iterator[dict]) -> Iterator[int]:
        for task in reversed(list(tasks)):
            synthetic._run(task)
            yield 0

    monkeypatch.setattr(synthetic, "_run_all", one_at_a_time)
    again = make_corpus(tmp_path / "again", SPEAKERS, takes=2, seed=3, words=WORDS).root
    assert contents(again) == contents(corpus)


def test_another_seed_gives_other_clips_and_speakers(corpus: Path, tmp_path: Path):
    other = make_corpus(tmp_path / "other", 3, takes=1, seed=4, words=WORDS[:1]).root
    clips, other_clips = contents(corpus / LAYOUT), contents(other / LAYOUT)
    assert not set(clips.values()) & set(other_clips.values())
    assert {name for name in clips if "_nohash_" in name}.isdisjoint(other_clips)


def test_a_larger_corpus_holds_the_smaller_one(corpus: Path, tmp_path: Path):
    smaller = contents(make_corpus(tmp_path / "smaller", 4, takes=2, seed=3, words=WORDS).root / LAYOUT)
    clips = {name: data for name, data in smaller.items() if name.endswith(".wav")}
    assert len(clips) == 4 * len(WORDS) * 2 + 6
    assert clips.items() <= contents(corpus / LAYOUT).items()


def test_speaking_processes_start_without_torch():
    program = "import sys, wavedil.data.utterances; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_layout_is_that_of_speech_commands(corpus: Path):
    index = speech_commands_index(corpus)
    assert {clip.word for clip in index.clips} == set(WORDS)
    assert len(index.clips) == SPEAKERS * len(WORDS) * 2
    assert len(index.noise) == 6
    assert all(re.fullmatch(r"[0-9a-f]{8}_nohash_[01]\.wav", clip.path.name) for clip in index.clips)
    speakers = {split: {c.speaker for c in index.clips if c.split == split} for split in ("training", "validation")}
    testing = {clip.speaker for clip in index.clips if clip.split == "testing"}
    assert [len(speakers["training"]), len(speakers["validation"]), len(testing)] == [9, 2, 1]
    assert len(speakers["training"] | speakers["validation"] | testing) == SPEAKERS


def test_words_lie_whole_in_the_clip_neither_silent_nor_clipped(corpus: Path):
    clips = [read(path) for path in (corpus / LAYOUT).glob("*/*_nohash_*.wav")]
    assert len({clip.tobytes() for clip in clips}) == len(clips) == SPEAKERS * len(WORDS) * 2
    for clip in clips:
        assert len(clip) == 16_000
        level = np.sqrt(np.mean(clip.reshape(100, 160).astype(float) ** 2, axis=1))  # of every 10 ms
        assert 2000 < np.abs(clip.astype(int)).max() < 32_000
        assert level.max() > 4 * np.median(np.sort(level)[:20])  # far above the background
        assert level[[0, 1, -2, -1]].max() < 0.3 * level.max()


def test_background_recordings_are_loud_enough_and_all_different(corpus: Path):
    recordings = [read(path) for path in (corpus / LAYOUT / BACKGROUND).glob("*.wav")]
    assert len({recording[:16_000].tobytes() for recording in recordings}) == 6
    for recording in recordings:
        assert len(recording) >= 30 * 16_000
        each_second = recording[: 30 * 16_000].reshape(30, 16_000).astype(float)
        assert np.sqrt(np.mean(each_second**2, axis=1)).min() > 100
        assert np.abs(recording.astype(int)).max() < 32_000


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_shaped_noise_has_its_slope_and_unit_power(slope: float):
    noise = shaped_noise(2**18, slope, np.random.default_rng(0))
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1, rel=0.3)
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequency = np.fft.rfftfreq(len(noise), 1 / 16_000)
    low, high = (power[(frequency > f) & (frequency < 2 * f)].mean() for f in (200, 3200))
    assert np.log2(low / high) / 4 == pytest.approx(slope, abs=0.1)


@settings(max_examples=examples(25))
@given(count=st.integers(3, 150), more=st.integers(0, 50), seed=st.integers(0, 2**32))
def test_speakers_are_distinct_and_no_voice_is_in_two_splits(count: int, more: int, seed: int):
    speakers = draw_speakers(count, seed)
    assert draw_speakers(count + more, seed)[:count] == speakers
    assert len({speaker.id for speaker in speakers}) == count
    variants = {s.split: {o.variant for o in speakers if o.split == s.split} for s in speakers}
    assert len(variants) == 3
    assert sum(map(len, variants.values())) == len(set.union(*variants.values()))
    for split, names in variants.items():
        voices = [(speaker.accent, speaker.variant) for speaker in speakers if speaker.split == split]
        assert len(set(voices)) >= min(len(voices), len(names) * len(ACCENTS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"speakers": 2}, "speakers: expected at least 3, one a split, got 2"),
        ({"takes": 0}, "takes: expected at least 1, got 0"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
        ({"words": ()}, "words: expected at least one, got none"),
        ({"words": ("yes", "../no")}, r"words: expected lower-case letters a to z, got '\.\./no'"),
        ({"words": ("yes", "yes")}, "words: expected each once, got yes yes"),
    ],
)
def test_senseless_arguments_are_refused(tmp_path: Path, arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        make_corpus(tmp_path / "corpus", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_destination_is_left_as_it_is(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("precious")
    for dest in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(FileExistsError, match=re.escape(f"{dest} exists already")):
            make_corpus(dest, 3)
    assert contents(tmp_path) == {"mine.txt": b"precious"}


def test_a_word_too_long_for_a_second_leaves_nothing_behind(tmp_path: Path):
    word = "supercalifragilisticexpialidocious" * 3
    with pytest.raises(RuntimeError, match="does not fit into one second"):
        make_corpus(tmp_path / "corpus", 3, 1, words=[word])
    assert [path.name for path in tmp_path.iterdir()] == [".corpus.lock"]


def test_missing_synthesiser_is_named_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "wavedil\[demo\]"'):
        synthetic_root(DataConfig(cache_dir=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_a_run_killed_half_way_leaves_nothing_that_is_used(tmp_path: Path):
    program = f"from wavedil.data.synthetic import make_corpus; make_corpus({str(tmp_path / 'c')!r}, 3, words=['up'])"
    child = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".c.tmp*/SpeechCommands/*/up")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "c").exists()
    assert list(tmp_path.glob(".c.tmp*"))  # it was indeed at work
    root = synthetic_root(DataConfig(root=str(tmp_path / "c"), speakers=3))
    assert len(list((root / LAYOUT).glob("up/*.wav"))) == 3 * synthetic.DEFAULT_TAKES


def test_the_corpus_is_made_once_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    made = []

    def pretend(dest: Path, speakers: int, progress: bool) -> None:
        made.append(speakers)
        (dest / LAYOUT).mkdir(parents=True)

    monkeypatch.setattr(synthetic, "make_corpus", pretend)
    small, large = (DataConfig(speakers=speakers, cache_dir=str(tmp_path)) for speakers in (3, 4))
    roots = [synthetic_root(config) for config in (small, large, small)]
    assert made == [3, 4]
    assert roots[0] == roots[2] != roots[1]
    assert all(root.parent == tmp_path for root in roots)
    assert str(roots[0]) in capsys.readouterr().err
    monkeypatch.setattr(synthetic, "make_corpus", refuse_to_speak)
    assert synthetic_root(DataConfig(root=str(roots[0]))) == roots[0]
