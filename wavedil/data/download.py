"""Archives from the network: resumed where they stopped, and checked."""

import errno
import hashlib
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from wavedil.data.archive import extract, with_space

_BLOCK = 1 << 20  # bytes
_TIMEOUT = 60.0  # seconds without a byte
_ATTEMPTS = 5  # connections in a row that bring nothing
_PAUSE = 1.0  # seconds before the second of them; one more before each other


def fetch_archive(url: str, folder: Path, sha256: str | None) -> None:
    """Download a tar archive and unpack it as ``folder``, which is there only once it is whole.

    Args:
        url: http, https or file.
        folder: must not exist. The archive is kept beside it until it is unpacked; one that is there already is used.
        sha256: expected, in hex; None is not checked.

    Raises:
        OSError: if the network fails for good (call again: it goes on from there) or the disk is full.
        ValueError: if the URL names no file, or the archive is not the expected one, or is broken or unsafe; a
            downloaded one is then removed.
    """
    archive = folder.with_name(_name_of(url))
    if archive == folder:
        archive = folder.with_name(f"{folder.name}.archive")
    brought = archive.exists()  # by the user, who may want to keep it
    download(url, archive, sha256)
    try:
        extract(archive, folder)
    except ValueError:
        if not brought:
            archive.unlink()
        raise
    if not brought:
        archive.unlink()


def download(url: str, path: Path, sha256: str | None = None) -> Path:
    """Download a file, going on from ``<path>.part`` where an earlier call stopped.

    Args:
        url: http, https or file.
        path: where it goes once it is whole and checked; if it is there already it is only checked.
        sha256: expected, in hex; None is not checked.

    Returns:
        ``path``.

    Raises:
        OSError: if the network fails for good, or the disk is full; what has come is kept.
        ValueError: if the hash is another one; what has come is removed.
    """
    if path.exists():
        _check_hash(path, str(path), sha256)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    _receive_all(url, part)
    try:
        _check_hash(part, url, sha256)
    except ValueError:
        part.unlink()
        raise
    part.replace(path)
    return path


def _receive_all(url: str, part: Path) -> None:
    """Complete ``part``, connecting again as long as that helps."""
    failures = 0
    while True:
        before = _size(part)
        try:
            return _receive(url, part)
        except (HTTPException, urllib.error.URLError, TimeoutError, ConnectionError) as error:
            failures = failures + 1 if _size(part) == before else 0
            if failures == _ATTEMPTS or _is_final(error):
                raise OSError(f"{url}: {error} ({_size(part):,} bytes are in {part}; call again to go on)") from error
            time.sleep(failures * _PAUSE)
        except OSError as error:
            raise with_space(error, part) from error


def _receive(url: str, part: Path) -> None:
    """Append to ``part`` what it lacks of ``url``, in one connection."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # nothing is lacking
        if error.code == 416:
            part.unlink()  # longer than the file: not a part of it
            raise ConnectionError(f"{part} was not a part of it") from error
        raise
    with response:
        resumed = response.status == 206
        _check_range(response, have)
        length = response.headers.get("Content-Length", "")
        total = int(length) + have * resumed if length.isascii() and length.isdigit() else None
        _check_space(part, total, have * resumed)
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(
                total=total,
                initial=have * resumed,
                desc=url.rsplit("/", 1)[-1],
                unit="B",
                unit_scale=True,
                disable=None,
            ) as bar,
        ):
            _copy(response, file, bar)
    if total is not None and _size(part) < total:
        raise ConnectionError(f"the connection was closed after {_size(part):,} of {total:,} bytes")


def _check_range(response: HTTPResponse, have: int) -> None:
    """Refuse a continuation that begins elsewhere than it was asked to."""
    told = response.headers.get("Content-Range", "")
    if response.status == 206 and not told.startswith(f"bytes {have}-"):
        raise ConnectionError(f"asked for bytes {have}-, the server sent {told!r}")


def _copy(source: HTTPResponse, file: BinaryIO, bar: tqdm) -> None:
    while block := source.read(_BLOCK):
        file.write(block)
        bar.update(len(block))


def _check_hash(path: Path, source: str, sha256: str | None) -> None:
    if sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{source}: expected SHA-256 {sha256}, got {found}")


def _check_space(part: Path, total: int | None, have: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and free < total - have:
        raise OSError(errno.ENOSPC, f"{(total - have) / 1e9:.2f} GB to download, {free / 1e9:.2f} GB free", str(part))


def _name_of(url: str) -> str:
    """The file that a URL names.

    Raises:
        ValueError: if it is no URL of a file.
    """
    parts = urllib.parse.urlsplit(url)
    name = PurePosixPath(urllib.parse.unquote(parts.path)).name
    if parts.scheme not in ("http", "https", "file") or name in ("", "..") or not name.isprintable():
        raise ValueError(f"{url}: expected the URL of an archive, https://.../name.tar.gz")
    return name


def _is_final(error: Exception) -> bool:
    """Whether trying again cannot help: the server answered, and the answer is no."""
    if isinstance(error, urllib.error.HTTPError):
        return 400 <= error.code < 500
    return isinstance(error, InvalidURL)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
