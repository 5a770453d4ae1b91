import errno
import hashlib
import io
import shutil
import tarfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from recordings import write_speech_commands
from server import Server, serve

import wavedil.data.download as module
from wavedil.data.archive import extract
from wavedil.data.download import download, fetch_archive
from wavedil.data.speech_commands import speech_commands_index

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve(CONTENT) as state:
        yield state


def tar(*members: tuple[str | tarfile.TarInfo, bytes], mode: str = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_whole(server: Server, tmp_path: Path) -> None:
    path = download(server.url, tmp_path / "deep" / "file", SHA256)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert server.ranges == [None]


def test_what_is_there_is_only_checked(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    download(server.url, path, SHA256)
    assert server.ranges == []
    with pytest.raises(ValueError, match="expected SHA-256 00, got"):
        download(server.url, path, "00")
    assert path.exists()  # it is not ours to remove


def test_broken_connections_are_taken_up_again(server: Server, tmp_path: Path) -> None:
    server.break_after = [1000, 500, 1]
    assert download(server.url, tmp_path / "file", SHA256).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-", "bytes=1500-", "bytes=1501-"]


def test_an_interrupted_download_goes_on_at_the_next_call(server: Server, tmp_path: Path) -> None:
    server.break_after = [1000, 0, 0, 0, 0, 0]
    with pytest.raises(OSError, match=r"1,000 bytes are in .*file\.part; call again"):
        download(server.url, tmp_path / "file", SHA256)
    assert not (tmp_path / "file").exists()
    server.ranges.clear()
    server.break_after.clear()
    assert download(server.url, tmp_path / "file", SHA256).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_server_that_cannot_resume_starts_again(server: Server, tmp_path: Path) -> None:
    server.can_resume = False
    (tmp_path / "file.part").write_bytes(b"something old")
    assert download(server.url, tmp_path / "file", SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"more than there is"])
def test_a_part_that_is_whole_or_too_long(server: Server, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "file.part").write_bytes(part)
    assert download(server.url, tmp_path / "file", SHA256).read_bytes() == CONTENT


def test_a_wrong_hash_is_refused_and_the_download_removed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"the beginning of another version")
    with pytest.raises(ValueError, match=f"{server.url}: expected SHA-256 {SHA256}, got"):
        download(server.url, tmp_path / "file", SHA256)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, 5)])
def test_an_error_of_the_server_is_named(server: Server, tmp_path: Path, status: int, requests: int) -> None:
    server.status = status
    with pytest.raises(OSError, match=rf"archive\.tar\.gz: HTTP Error {status}"):
        download(server.url, tmp_path / "file", SHA256)
    assert len(server.ranges) == requests


def test_too_little_space_is_said_at_once(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(1000))
    with pytest.raises(OSError, match=r"0\.00 GB free") as caught:
        download(server.url, tmp_path / "file", SHA256)
    assert caught.value.errno == errno.ENOSPC


def test_an_archive_becomes_a_folder(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar(("./go/a.wav", b"a"), (special("./stop", tarfile.DIRTYPE), b""), ("list.txt", b"b")))
    extract(archive, tmp_path / "data")
    assert (tmp_path / "data" / "go" / "a.wav").read_bytes() == b"a"
    assert (tmp_path / "data" / "stop").is_dir()
    assert (tmp_path / "data" / "list.txt").read_bytes() == b"b"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "data"]


@pytest.mark.parametrize(
    "member",
    [
        "../outside.txt",
        "go/../../outside.txt",
        "/outside.txt",
        "..\\outside.txt",
        "C:outside.txt",
        special("link", tarfile.SYMTYPE, "../outside.txt"),
        special("hard", tarfile.LNKTYPE, "../outside.txt"),
        special("pipe", tarfile.FIFOTYPE),
        special("device", tarfile.CHRTYPE),
    ],
    ids=lambda member: member if isinstance(member, str) else member.name,
)
def test_unsafe_members_are_refused(tmp_path: Path, member: str | tarfile.TarInfo) -> None:
    archive = tmp_path / "in" / "a.tar"
    archive.parent.mkdir()
    archive.write_bytes(tar(("first.txt", b"1"), (member, b""), mode="w"))
    with pytest.raises(ValueError, match="unsafe member"):
        extract(archive, tmp_path / "in" / "data")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a.tar"]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz", "w"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "nonsense"])
def test_a_broken_archive_leaves_nothing(tmp_path: Path, mode: str, damage: str) -> None:
    noise = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(256))
    content = bytearray(tar(("go/a.wav", noise), ("go/b.wav", noise), mode=mode))
    if damage == "cut":
        content = content[: len(content) // 3]
    elif damage == "flipped" and mode != "w":
        content[100:200] = bytes(byte ^ 0xFF for byte in content[100:200])
    else:
        content = bytearray(b"no archive at all")
    archive = tmp_path / "a.tar"
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.tar: not a whole tar archive"):
        extract(archive, tmp_path / "data")
    assert list(tmp_path.iterdir()) == [archive]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar(("go/a.wav", b"a")))
    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(OSError, match="the disk is full"):
        extract(archive, tmp_path / "data")
    assert list(tmp_path.iterdir()) == [archive]


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar(("go/a.wav", b"a")))
    (tmp_path / ".data.tmpabc" / "go").mkdir(parents=True)
    extract(archive, tmp_path / "data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "data"]


def test_a_downloaded_archive_is_removed_one_that_was_there_is_kept(server: Server, tmp_path: Path) -> None:
    server.content = tar(("go/a.wav", b"a"))
    fetch_archive(server.url, tmp_path / "one" / "data", None)
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["data"]
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "archive.tar.gz").write_bytes(server.content)
    fetch_archive(server.url, tmp_path / "two" / "data", None)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["archive.tar.gz", "data"]


def packed(folder: Path) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.add(folder, ".")
    return file.getvalue()


def test_speech_commands_is_downloaded_only_when_asked_and_once(server: Server, tmp_path: Path) -> None:
    server.content = packed(write_speech_commands(tmp_path / "made"))
    sha256 = hashlib.sha256(server.content).hexdigest()
    root = tmp_path / "root"
    with pytest.raises(FileNotFoundError, match="download = true"):
        speech_commands_index(root, url=server.url)
    index = speech_commands_index(root, download=True, url=server.url, sha256=sha256)
    assert len(index.clips) == 24
    assert index.root == root / "SpeechCommands" / "speech_commands_v0.02"
    assert speech_commands_index(root, download=True, url=server.url, sha256=sha256) == index
    assert server.ranges == [None]


def test_the_official_archive_must_have_all_clips(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = packed(write_speech_commands(tmp_path / "made"))
    monkeypatch.setattr("wavedil.data.speech_commands.URL", server.url + "?{version}")
    monkeypatch.setitem(
        __import__("wavedil.data.speech_commands", fromlist=["SHA256"]).SHA256,
        "v0.02",
        hashlib.sha256(server.content).hexdigest(),
    )
    with pytest.raises(ValueError, match="expected 84,843 training, 9,981 validation, 11,005 testing clips, found 18"):
        speech_commands_index(tmp_path / "root", download=True)
