"""Archives of strangers: refused with their name and the member's, and nothing of them stays."""

import io
import tarfile
from pathlib import Path

import pytest

from wavedil.data import archive as module
from wavedil.data.archive import extract


def tar(*members: tuple[str | tarfile.TarInfo, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info


def refused(tmp_path: Path, content: bytes, message: str) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        extract(archive, tmp_path / "data")
    assert str(caught.value).startswith(f"{archive}: ")
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize(
    "names",
    [
        ("go/a.wav", "go/a.wav"),
        ("go/a.wav", "go/A.WAV"),
        ("go/a.wav", "Go/b.wav"),
        ("f\u00fcr/a.wav", "fu\u0308r/b.wav"),
        ("stra\u00dfe/a.wav", "STRASSE/b.wav"),
        ("go", "go/a.wav"),
        ("go/a.wav", "go"),
    ],
)
def test_names_that_clash_on_some_system(tmp_path, names):
    refused(tmp_path, tar(*((name, b"x") for name in names)), r"unsafe member .*: it clashes with '")


def test_a_folder_may_be_named_again(tmp_path):
    (tmp_path / "a.tar").write_bytes(
        tar((folder("go"), b""), ("go/a.wav", b"x"), (folder("go"), b""), ("go/b.wav", b"y"))
    )
    extract(tmp_path / "a.tar", tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data" / "go").iterdir()) == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    "name", ["x" * 256, "\u00fc" * 128, "/".join("abcdefghijk" * 3), "/".join(["x" * 200] * 6), "a\nb"]
)
def test_names_that_no_system_takes(tmp_path, name):
    refused(tmp_path, tar((name, b"x")), "unsafe member .*: its name (is too long|has control)")


@pytest.mark.parametrize("kind", ["old", "pax"])
def test_sparse_members_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("go/a.wav")
    if kind == "old":
        info.type = tarfile.GNUTYPE_SPARSE
    else:
        info.pax_headers = {"GNU.sparse.size": str(2**60), "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,1"}
    refused(tmp_path, tar((info, b"x")), "a.tar: ")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(module, "_SMALL", 100_000)
    monkeypatch.setattr(module, "_GROWTH", 1)
    zeros = bytes(300_000)
    if mode == "w":
        refused(tmp_path, tar(("a", zeros))[:2_000], "not a whole tar archive")
    else:
        refused(tmp_path, tar(("a", zeros), mode=mode), "it unpacks to more than 100,000 bytes")


def test_a_header_of_headers_is_bounded_too(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SMALL", 100_000)
    info = tarfile.TarInfo("a")
    info.pax_headers = {"comment": "x" * 300_000}
    refused(tmp_path, tar((info, b"x"), mode="w:gz"), "it unpacks to more than")


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MEMBERS", 3)
    refused(tmp_path, tar(*((f"{number}.wav", b"x") for number in range(4))), "it has more than 3 members")


def test_many_headers_in_front_of_each_other(tmp_path):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    one = header.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")
    refused(tmp_path, one * 3_000, "not a whole tar archive")


def test_an_archive_cut_between_members_is_refused(tmp_path):
    whole = tar(("a.wav", b"x" * 600), ("b.wav", b"y" * 600))
    refused(tmp_path, whole[: 3 * 512], "it ends without its end mark")


def test_a_broken_header_between_members_is_refused(tmp_path):
    whole = bytearray(tar(("a.wav", b"x" * 600), ("b.wav", b"y" * 600)))
    whole[3 * 512 + 10] ^= 1
    refused(tmp_path, bytes(whole), "not a whole tar archive")


def test_the_checksum_behind_the_end_mark_is_read(tmp_path):
    whole = tar(("a.wav", b"x" * 600), mode="w:gz")
    refused(tmp_path, whole[:-8] + bytes(8), "not a whole tar archive")


def test_every_cut_of_a_compressed_archive_is_refused(tmp_path):
    whole = tar(("a.wav", bytes(range(256))), mode="w:gz")
    for size in range(0, len(whole), 7):
        refused(tmp_path, whole[:size], "not a whole tar archive")
