"""Apple's Core Audio Format."""

import struct

from wavedil.audio.headers.coding import SIGNED_PCM, Coding, plain, whole_hertz
from wavedil.audio.headers.source import Chunk, Promise, Source, check_header, check_whole, chunks

_FLOAT, _LITTLE = 1, 2  # flags of lpcm
_TO_THE_END = (1 << 64) - 1


def read_caf(source: Source) -> Promise:
    """CAF with samples of PCM, A-law or mu-law."""
    check_header(source.at(4, 4) == b"\0\1\0\0", "unknown version of CAF")
    coding, data = None, None
    for chunk in chunks(source, 8, source.size, "big", width=8):
        check_header(coding is not None or chunk.name == "desc", "expected chunk 'desc' first")
        if chunk.name == "desc":
            check_header(coding is None and chunk.size == 32, "expected one chunk 'desc' of 32 bytes")
            coding = _read_description(source.at(chunk.offset, 32))
        if chunk.name == "data":
            check_header(data is None, "two chunks 'data'")
            data = Chunk("data", chunk.offset + 4, chunk.size - 4)  # behind a count of edits
            if chunk.size == _TO_THE_END:
                data = Chunk("data", chunk.offset + 4, source.size - chunk.offset - 4)
                break
            check_whole(source.size, chunk.end)
    if coding is None or data is None:
        raise ValueError("damaged header: no chunk 'data'")
    return coding.promise("CAF", source.size - data.offset, data.size)


def _read_description(description: bytes) -> Coding:
    rate, kind, flags, block, frames, channels, bits = struct.unpack(">d4sIIIII", description)
    if kind not in (b"lpcm", b"ulaw", b"alaw"):
        raise ValueError(f"CAF with samples of {kind.decode('latin-1')!r} is not supported")
    if kind != b"lpcm":
        subtype = kind.decode().upper()
        check_header(flags & ~_LITTLE == 0 and bits == 8, f"{subtype} of {bits} bits with flags {flags:#x}")
    elif flags & _FLOAT:
        subtype = {32: "FLOAT", 64: "DOUBLE"}.get(bits)
    else:
        subtype = SIGNED_PCM.get(bits // 8) if bits % 8 == 0 else None
    check_header(subtype is not None and flags & ~(_FLOAT | _LITTLE) == 0, f"{bits} bits with flags {flags:#x}")
    coding = plain(str(subtype), whole_hertz(rate), channels)
    check_header((block, frames) == (coding.block, 1), f"{block:,} bytes for {frames:,} frames of {channels} channels")
    return coding
