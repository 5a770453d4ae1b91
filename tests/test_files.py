"""Files opened with care: links, pipes, devices, and JSON of any content."""

import json
import os
from pathlib import Path

import pytest

from wavedil.files import open_lock, read_file, read_json, require_no_other, require_replaceable
from wavedil.folders import file_lock


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link", 5) == b"12345"
    with pytest.raises(ValueError, match=r"file: expected at most 4 bytes, got 5"):
        read_file(tmp_path / "file", 4)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "nothing", 4)


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path, pipe: Path) -> None:
    (tmp_path / "link").symlink_to(pipe)
    for path, kind in ((pipe, "a pipe"), (tmp_path / "link", "a pipe"), (tmp_path, "a folder"), ("/dev/null", "a dev")):
        with pytest.raises(ValueError, match=f"{path}: expected a file, found {kind}"):
            read_file(Path(path), 10)
        with pytest.raises(ValueError, match=f"{path}: expected a file, found {kind}"):
            require_replaceable(Path(path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b"NaN",
        b"[Infinity]",
        b"\xff\xfe\x00",
        b"\x80",
        b'{"a": 1} 2',
        bytes(100),
    ],
)
def test_what_is_no_json_is_one_line_that_begins_with_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.json: not JSON that can be read: ") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_json_is_read_in_the_encodings_that_editors_write(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"wort": "für"}, ensure_ascii=False), encoding)
    assert read_json(tmp_path / "a.json") == {"wort": "für"}


def test_links_and_other_kinds_are_refused_where_a_file_or_folder_is_written(tmp_path: Path, pipe: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    for path, found in ((tmp_path / "dangling", "a link"), (pipe, "a pipe")):
        for kind in ("a file", "a folder"):
            with pytest.raises(ValueError, match=f"{path}: expected {kind}, found {found}; move it"):
                require_no_other(path, kind, "move it")
    require_no_other(tmp_path / "nothing", "a file", "")
    require_no_other(tmp_path, "a folder", "")


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "second name", "folder"])
def test_a_lock_is_a_file_of_its_own(tmp_path: Path, kind: str) -> None:
    lock, other = tmp_path / "lock", tmp_path / "other"
    other.write_text("kept")
    {
        "link": lambda: lock.symlink_to(other),
        "dangling": lambda: lock.symlink_to(tmp_path / "new"),
        "pipe": lambda: os.mkfifo(lock),
        "second name": lambda: lock.hardlink_to(other),
        "folder": lock.mkdir,
    }[kind]()
    for opened in (open_lock(lock), file_lock(lock)):
        with pytest.raises(ValueError, match=f"{lock}: "), opened:
            pass
    assert other.read_text() == "kept"
    assert not (tmp_path / "new").exists()
