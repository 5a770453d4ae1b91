"""Tasks that cannot be learnt are refused; those that can hardly be learnt or measured are named."""

import json
import os
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from recordings import tone, write, write_speech_commands

from wavedil.config import DataConfig
from wavedil.data.clips import load_splits, resolve_data
from wavedil.data.index import split_of
from wavedil.data.labels import WORDS_35

OUTSIDE = [name for name in (f"{n}.wav" for n in range(60)) if split_of(Path(name)) != "training"]
INSIDE = [name for name in (f"{n}.wav" for n in range(60)) if split_of(Path(name)) == "training"]


def config_of(root: Path, **keys: object) -> DataConfig:
    config = DataConfig("folder", str(root / "data"), clip_samples=400, cache_dir=str(root / "cache"))
    return replace(config, **keys)  # type: ignore[arg-type]


def write_named(root: Path, word: str, names: list[str], frequency: float = 300) -> None:
    (root / "data" / word).mkdir(parents=True, exist_ok=True)
    for name in names:  # soundfile takes no names that are not UTF-8
        write(root / "one.wav", tone(frequency, 0.02)).rename(root / "data" / word / name)


def test_the_words_of_a_folder_are_its_own(tmp_path: Path) -> None:
    for word in ("nein", "ja", "_unknown_", "_background_noise_"):
        write_named(tmp_path, word, [*INSIDE[:3], *OUTSIDE])
    config = config_of(tmp_path)
    assert resolve_data(config).words == ["ja", "nein"]
    splits = load_splits(config)
    assert splits.labels.labels == ("ja", "nein")
    assert [
        note for note in splits.notes if "left out 16 clips of words that are no class: _unknown_ (16)" in note
    ] or ("_unknown_" in splits.left_out)
    assert load_splits(resolve_data(config)).sha256 == splits.sha256
    with pytest.raises(ValueError, match=r'no clips of backward, .*data\.words names the words: "all", or \["_unk'):
        load_splits(replace(config, words="35"))


def test_speech_commands_has_its_35_and_ones_own_beside_them(tmp_path: Path) -> None:
    root = tmp_path / "data"
    folder = write_speech_commands(root, ["go", "stop"], speakers=6)
    for number in range(40):
        write(folder / "lights" / f"{number}.wav", tone(500 + number))
    write(folder / "lights" / "00000001_nohash_7.wav", tone(800))  # a speaker of the testing list
    config = config_of(tmp_path, source="speech_commands")
    assert resolve_data(config).words == "35"
    assert tuple(resolve_data(replace(config, source="synthetic")).words) == tuple("35")
    splits = load_splits(replace(config, words="all"))
    assert splits.labels.labels == ("go", "lights", "stop")
    lights = [
        [name for name in clips.names if name.startswith("lights")] for clips in (splits.training, splits.testing)
    ]
    assert 25 <= len(lights[0]) <= 38
    assert "lights/00000001_nohash_7.wav" in lights[1]
    assert [note for note in splits.notes if "no list has clips of lights" in note]
    assert set(load_splits(replace(config, words=["go", "stop"])).left_out) == {"lights"}
    assert not {"lights"} & set(WORDS_35)


def test_a_word_without_a_training_clip_is_refused_with_its_counts(tmp_path: Path) -> None:
    for word, names in (("yes", INSIDE + OUTSIDE), ("no", INSIDE + OUTSIDE), ("maybe", OUTSIDE[:4])):
        write_named(tmp_path, word, names)
    there = [split_of(Path(name)) for name in OUTSIDE[:4]]
    counts = f"0 training, {there.count('validation')} validation, {there.count('testing')} testing"
    for words in (["yes", "no", "maybe"], "auto"):
        with pytest.raises(ValueError, match=rf"no clip of maybe for training \(maybe: {counts}\)"):
            load_splits(config_of(tmp_path, words=words))


def test_words_with_few_or_no_clips_are_named(tmp_path: Path) -> None:
    write_named(tmp_path, "yes", INSIDE + OUTSIDE)
    write_named(tmp_path, "no", INSIDE[:2])
    notes = load_splits(config_of(tmp_path)).notes
    assert "few clips for training: no (2)" in notes
    for split in ("validation", "testing"):
        assert f"no clip for {split} of no: its figure says nothing of them" in notes
        assert [
            note for note in notes if note.endswith(f"clips for {split} are few: mind the interval of the accuracy")
        ]


def test_one_class_is_refused_with_the_remedy(tmp_path: Path) -> None:
    write_named(tmp_path, "yes", INSIDE + OUTSIDE)
    write_named(tmp_path, "tree", INSIDE + OUTSIDE)
    one = config_of(tmp_path, words=["yes"])
    with pytest.raises(
        ValueError, match=r"^data\.words: expected two classes .*data\.unknown = true .*data\.silence = true"
    ):
        load_splits(one)
    assert load_splits(replace(one, unknown=True)).labels.labels == ("yes", "_unknown_")


def test_none_of_these_is_offered_for_words_of_ones_own(tmp_path: Path) -> None:
    for word in ("ja", "nein", "tree"):
        write_named(tmp_path, word, INSIDE + OUTSIDE)
    config = config_of(tmp_path, words=["ja", "nein"])
    assert [note for note in load_splits(config).notes if "data.unknown = true" in note]
    assert not [note for note in load_splits(replace(config, unknown=True)).notes if "data.unknown = true" in note]
    no_share = replace(config, unknown=True, unknown_share=0.0)
    assert "no example of _unknown_ is trained: data.unknown_share is 0" in load_splits(no_share).notes


def test_a_word_of_which_nothing_is_taken_is_not_left_out_silently(tmp_path: Path) -> None:
    for word in ("yes", "no"):
        write_named(tmp_path, word, INSIDE + OUTSIDE)
    write_named(tmp_path, "maybe/anna", INSIDE)
    with pytest.raises(ValueError, match=r"no recording is taken of maybe: .*in subfolders \(maybe/anna/"):
        load_splits(config_of(tmp_path))
    splits = load_splits(config_of(tmp_path, words=["yes", "no"]))
    assert [note for note in splits.notes if f"{len(INSIDE)} in subfolders" in note]


def test_words_that_differ_in_case_alone_must_be_named(tmp_path: Path) -> None:
    for word in ("Weg", "weg"):
        write_named(tmp_path, word, INSIDE + OUTSIDE)
    with pytest.raises(ValueError, match=r"Weg and weg differ only in case.*data\.words"):
        load_splits(config_of(tmp_path))
    assert load_splits(config_of(tmp_path, words=["Weg", "weg"])).labels.labels == ("Weg", "weg")


@pytest.mark.parametrize("folder", ["fu\u0308r", "f\u00fcr", os.fsdecode(b"f\xfcr")])
def test_a_word_is_found_however_its_folder_is_written(tmp_path: Path, folder: str) -> None:
    for word in (folder, "no"):
        write_named(tmp_path, word, INSIDE + OUTSIDE)
    write_named(tmp_path, folder, [os.fsdecode(b"caf\xe9.wav")])
    for words in (["für", "no"], [unicodedata.normalize("NFD", "für"), "no"], "auto"):
        splits = load_splits(config_of(tmp_path, words=words))
        assert set(splits.labels.labels) == {"für", "no"}
        assert len(json.dumps(splits.training.names)) > len(splits.sha256) == 64
