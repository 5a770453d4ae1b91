"""The lists that people write, and what is said where they name nothing."""

import os
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from wavedil.data.index import folder_index

WORDS = ("go", "für")
NORMALISED = {
    "NFC": lambda text: unicodedata.normalize("NFC", text),
    "NFD": lambda text: unicodedata.normalize("NFD", text),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for word in WORDS:
        (tmp_path / word).mkdir()
        for number in range(6):
            (tmp_path / word / f"{number}.wav").touch()
    return tmp_path


def write_list(folder: Path, *lines: str, split: str = "testing", **form: str) -> None:
    text = form.get("end", "\n").join([*lines, ""])
    (folder / f"{split}_list.txt").write_bytes(text.encode(form.get("encoding", "utf-8")))


def held_out(folder: Path) -> set[str]:
    return {clip.name for clip in folder_index(folder).clips if clip.split == "testing"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\r\n", "\n\n", "  \n"])
def test_a_list_is_read_however_it_was_saved(folder: Path, encoding: str, end: str) -> None:
    write_list(folder, "go/0.wav", "go/1.wav", "für/5.wav", encoding=encoding, end=end)
    assert held_out(folder) == {"go/0.wav", "go/1.wav", "für/5.wav"}
    assert not [note for note in folder_index(folder).split_notes if "list.txt" in note]


@pytest.mark.parametrize(
    "line", ["./go/0.wav", "go\\0.wav", "go//0.wav", " go/0.wav\t", "go/0.WAV", "go/0.opus", "go/0"]
)
def test_a_name_is_found_however_it_is_written(folder: Path, line: str) -> None:
    write_list(folder, line)
    assert held_out(folder) == {"go/0.wav"}


@pytest.mark.parametrize(("on_disk", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_unicode_may_be_composed_or_not(tmp_path: Path, on_disk: str, written: str) -> None:
    for number in range(3):
        path = tmp_path / NORMALISED[on_disk]("für") / f"é{number}.wav"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    write_list(tmp_path, NORMALISED[written]("für/é1.wav"))
    index = folder_index(tmp_path)
    assert index.words == ("für",)
    assert [clip.path.stem[-1] for clip in index.clips if clip.split == "testing"] == ["1"]


def test_names_that_are_not_utf_8_are_listed_by_their_bytes(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    (folder / "go" / name).touch()
    (folder / "testing_list.txt").write_bytes(b"go/caf\xe9.wav\n")
    assert held_out(folder) == {f"go/{name}"}


@pytest.mark.parametrize("on_disk", ["für", os.fsdecode(b"f\xfcr")])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_lists_and_folders_agree_whether_they_are_utf_8_or_latin_1(tmp_path: Path, on_disk: str, encoding: str) -> None:
    (tmp_path / on_disk).mkdir()
    names = ("é0.wav", os.fsdecode(b"\xe91.wav"))
    for name in (*names, "2.wav"):
        (tmp_path / on_disk / name).touch()
    write_list(tmp_path, "für/é0.wav", "für/é1.wav", encoding=encoding)
    assert held_out(tmp_path) == {f"{on_disk}/{name}" for name in names}


def test_lines_that_name_nothing_are_counted(folder: Path) -> None:
    write_list(folder, "go/0.wav", "", "go/99.wav", "stop/0.wav")
    [note] = [note for note in folder_index(folder).split_notes if "list.txt" in note]
    assert note == (
        f"{folder / 'testing_list.txt'}: 2 of 3 lines name no recording (line 3: 'go/99.wav', line 4: 'stop/0.wav')"
    )


def test_a_list_of_other_data_is_refused(folder: Path) -> None:
    write_list(folder, "go/0.wav,go", "go/1.wav,go")
    with pytest.raises(ValueError, match=r"testing_list\.txt: .*such as für/0\.wav, got line 1: 'go/0\.wav,go'"):
        folder_index(folder)


def test_a_clip_in_both_lists_is_refused(folder: Path) -> None:
    write_list(folder, "go/0.wav", "go/1.wav", split="validation")
    write_list(folder, "go/2.wav", "go\\1.wav")
    with pytest.raises(ValueError, match=r"testing_list\.txt: line 2: .* is in validation_list\.txt too \(line 2\)"):
        folder_index(folder)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_a_list_that_is_no_file_is_refused_not_passed_over(folder: Path, make: object) -> None:
    make(folder / "testing_list.txt")  # type: ignore[operator]
    with pytest.raises((ValueError, OSError), match=r"testing_list\.txt"):
        folder_index(folder)


def test_speakers_that_lists_tear_apart_are_said(tmp_path: Path) -> None:
    (tmp_path / "go").mkdir()
    for number in range(4):
        (tmp_path / "go" / f"ann_nohash_{number}.wav").touch()
    write_list(tmp_path, "go/ann_nohash_0.wav")
    index = folder_index(tmp_path)
    assert Counter(clip.split for clip in index.clips) == {"training": 3, "testing": 1}
    assert [note for note in index.split_notes if "1 of the speakers into more than one split (ann)" in note]
