"""Tar archives, unpacked out of sight and then renamed; nothing that is in them is trusted."""

import bz2
import errno
import gzip
import lzma
import shutil
import tarfile
import unicodedata
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from tqdm import tqdm

from wavedil.folders import new_folder

_BLOCK = 1 << 20  # bytes
_GROWTH = 100  # bytes that a byte of an archive may become; audio shrinks to a tenth at best
_SMALL = 64 << 20  # bytes that any archive may become
_MEMBERS = 1_000_000
_DEPTH = 32  # folders in each other
_LONGEST = 255, 1024  # bytes of a name, and of a path in the archive


def extract(archive: Path, folder: Path) -> None:
    """Unpack a tar archive, whatever its compression, as ``folder``, which is there only once it is whole.

    Each member is looked at before it is written. Only plain files and folders inside ``folder`` are taken, with none
    of the archive's permissions or owners, so a link or a name like ``../x`` cannot reach outside.

    Raises:
        OSError: if the disk is full, with nothing left behind.
        ValueError: if the archive is broken or cut short, unpacks to more than 100 times its size (and 64 MiB), has
            more than a million members, or a member is not a plain file or folder inside, or has a name that is too
            long or clashes with another on some system. The message begins with the archive.
    """
    try:
        with new_folder(folder) as temporary, _open(archive) as file:
            _extract_all(_Bounded(file, max(_SMALL, _GROWTH * archive.stat().st_size)), temporary, archive.name)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{archive}: not a whole tar archive ({error})") from error
    except ValueError as error:
        raise ValueError(f"{archive}: {error}") from error
    except (RecursionError, OverflowError, MemoryError) as error:  # headers of headers, sizes beyond all sense
        raise ValueError(f"{archive}: not a whole tar archive ({type(error).__name__})") from error
    except OSError as error:
        if error.errno is None:  # gzip, bzip2 and xz say so that the data is broken
            raise ValueError(f"{archive}: not a whole tar archive ({error})") from error
        raise with_space(error, folder) from error


def with_space(error: OSError, path: Path) -> OSError:
    """The same error, or where the disk is full one that says how much is free."""
    if error.errno != errno.ENOSPC:
        return error
    free = shutil.disk_usage(path.parent).free
    return OSError(errno.ENOSPC, f"the disk is full ({free / 1e9:.2f} GB free)", str(path))


class _Bounded:
    """A file of which only so much can be read, whatever an archive unpacks to."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file, self._limit, self._count = file, limit, 0

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._limit - self._count + 1))
        self._count += len(data)
        if self._count > self._limit:
            raise ValueError(f"it unpacks to more than {self._limit:,} bytes: not an archive of audio")
        return data


class _Member(tarfile.TarInfo):
    """A header; one that is broken or missing raises, where tarfile would take it for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: Any, errors: str) -> "_Member":
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError("it ends without its end mark" if not buf else str(error)) from error


def _open(archive: Path) -> BinaryIO:
    with archive.open("rb") as file:
        head = file.read(6)
    if head[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.open(archive))
    if head[:3] == b"BZh":
        return cast(BinaryIO, bz2.open(archive))
    if head == b"\xfd7zXZ\0" or head[:3] == b"\x5d\0\0":
        return cast(BinaryIO, lzma.open(archive))
    return archive.open("rb")


def _extract_all(source: _Bounded, folder: Path, title: str) -> None:
    names = _Names()
    with (
        tarfile.open(fileobj=cast(BinaryIO, source), mode="r|", tarinfo=_Member) as tar,
        tqdm(desc=f"unpacking {title}", unit="file", disable=None) as bar,
    ):
        while (member := tar.next()) is not None:
            vars(tar)["members"].clear()  # they would fill the memory
            try:
                path = folder / names.checked(member)
                _extract_member(tar, member, path)
            except OSError as error:
                if error.errno in (errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ):
                    raise ValueError(f"unsafe member {_short(member.name)}: {error.strerror}") from error
                raise
            bar.update()
    while source.read(_BLOCK):  # to the checksum at the end
        pass


class _Names:
    """The paths that an archive has had so far."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, bool]] = {}
        self._members = 0

    def checked(self, member: tarfile.TarInfo) -> PurePosixPath:
        """Where a member goes below the folder.

        Raises:
            ValueError: if it must not be written.
        """
        self._members += 1
        if self._members > _MEMBERS:
            raise ValueError(f"it has more than {_MEMBERS:,} members")
        why = _why_unsafe(member) or self._why_clashing(member)
        if why:
            raise ValueError(f"unsafe member {_short(member.name)}: {why}")
        return PurePosixPath(member.name)

    def _why_clashing(self, member: tarfile.TarInfo) -> str | None:
        parts = PurePosixPath(member.name).parts
        for count in range(1, len(parts) + 1):
            name, is_folder = "/".join(parts[:count]), count < len(parts) or member.isdir()
            key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
            there = self._known.get(key)
            if there is not None and (there != (name, is_folder) or not is_folder):
                return f"it clashes with {_short(there[0])}, in letter case, Unicode form or kind, or is there twice"
            self._known[key] = name, is_folder
        return None


def _why_unsafe(member: tarfile.TarInfo) -> str | None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
        return "it is outside the folder"
    if not all(character.isprintable() or "\ud800" <= character <= "\udfff" for character in member.name):
        return "its name has control characters"
    sizes = [len(part.encode("utf-8", "surrogateescape")) for part in name.parts]
    if any(size > _LONGEST[0] for size in sizes) or sum(sizes) + len(sizes) > _LONGEST[1] or len(sizes) > _DEPTH:
        return f"its name is too long (expected up to {_LONGEST[0]} bytes, in up to {_DEPTH} folders)"
    if member.isdir():
        return None
    if not member.isfile() or member.issparse() or member.size < 0 or not name.parts:
        return "not a plain file or folder"
    return None


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    source = tar.extractfile(member)
    if source is None:
        raise ValueError(f"unsafe member {_short(member.name)}: not a plain file or folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with source, path.open("xb") as file:
        shutil.copyfileobj(source, file, _BLOCK)


def _short(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:100]}...")
