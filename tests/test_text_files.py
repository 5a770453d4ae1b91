import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavedil.text import read_text

LINES = "go/für.wav\nstop/001.wav\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_editors_write_is_read_the_same(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(LINES.replace("\n", end).encode(encoding))
    assert read_text(path) == LINES


@given(st.binary(max_size=40))
def test_any_bytes_are_text_or_refused_by_name(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "list.txt"
    path.write_bytes(content)
    message = f"{path}: "
    try:
        assert "\0" not in read_text(path)
    except ValueError as error:
        message = str(error)
    assert message.startswith(f"{path}: ")


def test_bytes_that_are_not_utf_8_stay_names_of_files(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"go/a.wav\ngo/caf\xe9.wav\n")
    with pytest.raises(ValueError, match=r"list\.txt: not text in UTF-8 \(line 2, byte 0xe9\); save it as UTF-8"):
        read_text(path)
    assert read_text(path, "surrogateescape").splitlines()[1] == os.fsdecode(b"go/caf\xe9.wav")


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path, "a folder"), (tmp_path / "pipe", "a pipe"), (Path("/dev/zero"), "a device")):
        with pytest.raises(ValueError, match=f"{path}: expected a file, found {kind}"):
            read_text(path)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none")
