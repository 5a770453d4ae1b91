"""What is taken of a folder, and what is passed over: counted, and said with examples."""

import os
import socket
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples

from wavedil.data import listing
from wavedil.data.index import folder_index
from wavedil.data.listing import (
    BACK,
    BESIDE,
    EMPTY,
    HIDDEN,
    LINKED,
    NESTED,
    OTHER,
    UNREAD,
    list_recordings,
    list_words,
    name_key,
)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_each_reason_is_counted_with_examples(tmp_path: Path) -> None:
    touch(*(tmp_path / "yes" / "anna" / f"{n}.wav" for n in range(5)), tmp_path / "yes" / "anna" / "old" / "0.flac")
    touch(tmp_path / "yes" / "0.wav", tmp_path / "yes" / "1.m4a", tmp_path / "yes" / "notes.txt")
    touch(tmp_path / "yes" / "._0.wav", tmp_path / "yes" / ".ipynb_checkpoints" / "0-checkpoint.wav")
    touch(tmp_path / "__MACOSX" / "yes" / "._0.wav", tmp_path / "stray.wav", tmp_path / "_background_noise_" / "a.wma")
    touch(tmp_path / ".git" / "config", tmp_path / "yes" / ".DS_Store", tmp_path / "README.md")  # not worth a word
    (tmp_path / "yes" / "more").symlink_to(tmp_path / "yes" / "anna")
    listing = list_words(tmp_path)
    assert [path.name for path in listing.files] == ["0.wav"]
    assert Counter(reason for _, reason in listing.passed_over) == {
        NESTED: 6,
        UNREAD: 2,
        HIDDEN: 3,
        OTHER: 1,
        LINKED: 1,
        "beside the folders of the words": 1,
    }
    [note] = listing.notes()
    assert note.startswith(f"{tmp_path}: passed over ")
    assert "6 in subfolders (yes/anna/0.wav, yes/anna/1.wav, yes/anna/2.wav, ...)" in note
    assert len(note.splitlines()) == 1
    assert list_recordings(tmp_path / "yes" / "anna").notes() == (
        f"{tmp_path / 'yes' / 'anna'}: passed over 1 in subfolders (old/0.flac)",
    )


def test_what_has_the_name_of_a_recording_is_taken_whatever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    Path("folder.wav").mkdir()
    Path("gone.wav").symlink_to("nowhere")
    Path("circle.wav").symlink_to("circle.wav")
    os.mkfifo("pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.wav")
    names = ["circle.wav", "folder.wav", "gone.wav", "pipe.wav", "socket.wav"]
    assert [path.name for path in list_recordings(Path()).files] == names


def test_empty_folders_and_lists_of_other_names_are_said(tmp_path: Path) -> None:
    lists = ("Testing_List.txt", "test_list.csv", "validation.txt", "testing_list", "train.lst")
    touch(tmp_path / "yes" / "0.wav", *(tmp_path / name for name in (*lists, "notes.txt", "validation_list.txt")))
    (tmp_path / "no").mkdir()
    touch(tmp_path / "up" / ".DS_Store")
    listing = list_words(tmp_path)
    assert {name for name, reason in listing.passed_over if reason == BESIDE} == set(lists)
    assert {name for name, reason in listing.passed_over if reason == EMPTY} == {"no", "up"}


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    touch(tmp_path / "yes" / "0.wav")
    (tmp_path / "yes" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    listing = list_words(tmp_path)
    assert [path.name for path in listing.files] == ["0.wav"]
    assert listing.passed_over == (("self", BACK), ("yes/up", LINKED))
    assert [path.name for path in list_recordings(tmp_path, deep=True).files] == ["0.wav"]


def test_a_whole_disk_is_not_gone_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "yes" / "0.wav", *(tmp_path / "yes" / f"{n}" / "a" / "0.wav" for n in range(3)))
    touch(*(tmp_path / "yes" / "many" / f"{n}" / "0.wav" for n in range(6)))
    monkeypatch.setattr(listing, "_MOST_FOLDERS", 4)
    passed_over = [name for name, reason in list_words(tmp_path).passed_over if reason == NESTED]
    assert [name for name in passed_over if "many" not in name] == [f"yes/{n}/a/0.wav" for n in range(3)]
    assert len([name for name in passed_over if "many" in name]) == 4  # three files and the mark that there is more
    assert "yes/many/..." in passed_over


def test_folders_deeper_than_the_stack_are_gone_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "a.wav")
    depth = 0
    try:
        for depth in range(1, 1201):  # noqa: B007
            os.mkdir("d")  # noqa: PTH102 (a path of all of them would be too long)
            os.chdir("d")
        assert list_recordings(tmp_path, deep=True).files == (tmp_path / "a.wav",)
    finally:  # pytest removes folders by recursion, which ends here
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("d")  # noqa: PTH106


@settings(max_examples=examples(20))
@given(st.lists(st.sampled_from(["a.wav", "b.FLAC", ".c.wav", "d.m4a", "e", "f.wav.part"]), unique=True))
def test_every_file_is_taken_or_passed_over(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    root = tmp_path_factory.mktemp("files")
    touch(*(root / name for name in names))
    listing = list_recordings(root)
    assert sorted([path.name for path in listing.files] + [name for name, _ in listing.passed_over]) == sorted(names)


def test_names_are_compared_as_people_write_them() -> None:
    decomposed, composed = "fu\u0308r/a.wav", "für/a.WAV"
    keys = {name_key(name) for name in (decomposed, composed, "für\\a.flac", " ./für//a.opus ", "für/a")}
    assert keys == {"für/a"}
    assert name_key("go/anna.1") != name_key("go/anna")


def test_a_folder_of_words_without_recordings_says_what_lies_there(tmp_path: Path) -> None:
    touch(tmp_path / "yes" / "anna" / "0.wav")
    with pytest.raises(ValueError, match=r"found none; .*passed over 1 in subfolders \(yes/anna/0\.wav\)"):
        folder_index(tmp_path)
