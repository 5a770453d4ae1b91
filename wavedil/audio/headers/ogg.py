"""Ogg with Vorbis or Opus: all pages are there, in order, with the right checksums."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from wavedil.audio.headers.source import Promise, Source, check_header, check_whole

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_LAST = 4  # flag of the last page
_OTHERS = {b"\x7fFLAC": "FLAC", b"Speex  ": "Speex", b"\x80theora": "Theora", b"fishead": "Skeleton"}
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_LONGEST = 8192  # frames of a packet


@dataclass(frozen=True)
class _Page:
    flags: int
    granule: int
    serial: int
    number: int
    packets: int
    content: bytes


def read_ogg(source: Source) -> Promise:
    """One stream of Vorbis or Opus, from its first page to its last."""
    pages = _pages(source.some(0, source.size))
    first = next(pages)
    rate, channels, subtype = _read_identification(first.content)
    number, packets, last = first.number, first.packets, first
    for last in pages:
        number += 1
        if last.serial != first.serial:
            raise ValueError("Ogg with several streams is not supported")
        check_header(last.number == number, f"page {last.number:,} where page {number:,} is expected")
        packets += last.packets
        if last.flags & _LAST:
            break
    else:
        raise ValueError(f"cut short: {number - first.number + 1:,} pages are there, the last one is missing")
    if any(page.flags & 2 for page in pages):
        raise ValueError("Ogg with several streams is not supported")
    return Promise("OGG", rate, channels, subtype, None, packets * _LONGEST)


def _pages(data: bytes) -> Iterator[_Page]:
    """The pages, up to what is no page."""
    offset = 0
    while data[offset : offset + 4] == b"OggS":
        check_whole(len(data), offset + 27)
        version, flags, granule, serial, number, checksum, segments = struct.unpack_from("<BBqIIIB", data, offset + 4)
        sizes = data[offset + 27 : offset + 27 + segments]
        end = offset + 27 + segments + sum(sizes)
        check_whole(len(data), end)
        page = data[offset:end]
        check_header(version == 0 and _checksum(page[:22] + bytes(4) + page[26:]) == checksum, f"page {number:,}")
        packets = sum(size < 255 for size in sizes)
        yield _Page(flags, granule, serial, number, packets, page[27 + segments :])
        offset = end


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32, which takes the bits of a byte in the other order than zlib's and inverts nothing."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


def _read_identification(packet: bytes) -> tuple[int | None, int, str]:
    """Rate (None: the decoder chooses it), channels and encoding."""
    if packet.startswith(b"\x01vorbis"):
        check_header(len(packet) >= 30, "identification of Vorbis")
        channels, rate = struct.unpack_from("<BI", packet, 11)
        return rate, channels, "VORBIS"
    if packet.startswith(b"OpusHead"):
        check_header(len(packet) >= 19, "identification of Opus")
        channels, rate = packet[9], int.from_bytes(packet[12:16], "little")
        return rate if rate in _OPUS_RATES else None, channels, "OPUS"
    name = next((name for magic, name in _OTHERS.items() if packet.startswith(magic)), "an unknown codec")
    raise ValueError(f"Ogg with {name} is not supported")
