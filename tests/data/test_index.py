import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import tone, write, write_words

from wavedil.data.index import folder_index, split_of


def test_words_speakers_and_noise(tmp_path: Path) -> None:
    write(tmp_path / "go" / "ann_nohash_0.wav", tone(300))
    write(tmp_path / "go" / "bob.FLAC", tone(300))
    write(tmp_path / "stop" / "ann_nohash_1.ogg", tone(300))
    write(tmp_path / "_background_noise_" / "hiss.wav", tone(300))
    (tmp_path / "go" / "notes.txt").touch()
    (tmp_path / "go" / "._bob.wav").touch()  # macOS leaves such
    (tmp_path / "README.md").touch()
    index = folder_index(tmp_path)
    assert {(clip.name, clip.word, clip.speaker) for clip in index.clips} == {
        ("go/ann_nohash_0.wav", "go", "ann"),
        ("go/bob.FLAC", "go", "bob"),
        ("stop/ann_nohash_1.ogg", "stop", "ann"),
    }
    assert [path.name for path in index.noise] == ["hiss.wav"]


def test_shares_are_near_80_10_10() -> None:
    shares = Counter(split_of(Path(f"{speaker:08x}_nohash_0.wav")) for speaker in range(2000))
    assert 0.77 < shares["training"] / 2000 < 0.83
    assert 0.08 < shares["validation"] / 2000 < 0.12


def test_the_hash_is_the_same_for_ever() -> None:
    splits = {name: split_of(Path(f"{name}_nohash_0.wav")) for name in ("s5", "s6", "s17", "s18", "s21")}
    assert splits == {"s5": "training", "s6": "validation", "s17": "validation", "s18": "testing", "s21": "testing"}


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), st.integers(0, 99))
def test_the_folder_and_the_utterance_do_not_matter(speaker: str, take: int) -> None:
    first = split_of(Path("a") / f"{speaker}_nohash_0.wav")
    assert first == split_of(Path("b/c") / f"{speaker}_nohash_{take}.flac")
    assert first == split_of(Path(unicodedata.normalize("NFD", f"{speaker}_nohash_0.wav")))


def test_each_split_is_in_one_piece_and_the_order_is_stable(tmp_path: Path) -> None:
    write_words(tmp_path, ["go", "stop"], 40)
    splits = [clip.split for clip in folder_index(tmp_path).clips]
    assert splits == sorted(splits, key=["training", "validation", "testing"].index)
    assert set(splits) == {"training", "validation", "testing"}
    assert folder_index(tmp_path) == folder_index(tmp_path)


def test_lists_are_followed(tmp_path: Path) -> None:
    names = write_words(tmp_path, ["go", "stop"], 4)
    (tmp_path / "validation_list.txt").write_text(f"{names[0]}\n\ngo/not-there.wav\n")
    transcoded = names[5].replace(".wav", ".opus")
    (tmp_path / "testing_list.txt").write_text(f"{transcoded}\r\n")
    splits = {clip.name: clip.split for clip in folder_index(tmp_path).clips}
    assert splits.pop(names[0]) == "validation"
    assert splits.pop(names[5]) == "testing"
    assert set(splits.values()) == {"training"}


def test_one_split_for_all(tmp_path: Path) -> None:
    write_words(tmp_path, ["go"], 20)
    assert {clip.split for clip in folder_index(tmp_path, "testing").clips} == {"testing"}


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        folder_index(tmp_path / "nowhere")
    (tmp_path / "go").mkdir()
    with pytest.raises(ValueError, match=r"<word>/<file>\.wav"):
        folder_index(tmp_path)
