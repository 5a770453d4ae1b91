"""AIFF and AIFC."""

import struct
from dataclasses import replace

from wavedil.audio.headers.coding import SIGNED_PCM, Coding, plain, whole_hertz
from wavedil.audio.headers.source import SLACK, Chunk, Promise, Source, check_header, check_whole, chunks

_SUBTYPES = {
    b"raw ": "PCM_U8", b"in24": "PCM_24", b"in32": "PCM_32", b"42n1": "PCM_24", b"23ni": "PCM_32",
    b"fl32": "FLOAT", b"FL32": "FLOAT", b"fl64": "DOUBLE",
    b"FL64": "DOUBLE", b"ulaw": "ULAW", b"ULAW": "ULAW", b"alaw": "ALAW", b"ALAW": "ALAW",
}  # fmt: skip
_OF_ANY_WIDTH = (b"NONE", b"twos", b"sowt")
_UNKNOWN = 0x7F00_0000  # sizes of programs that write to a pipe; others put 0


def read_aiff(source: Source) -> Promise:
    """AIFF or AIFC, whose number of frames must agree with the size of its samples."""
    outer = source.number(4, 4, "big") + 8
    unclosed = outer == 8 or outer >= _UNKNOWN  # by a program that wrote to a pipe
    if not unclosed and outer > source.size + SLACK:
        check_whole(source.size, outer)
    found: dict[str, Chunk] = {}
    for chunk in chunks(source, 12, source.size if unclosed else min(outer, source.size), "big"):
        check_header(chunk.name not in found or chunk.name not in ("COMM", "SSND"), f"two chunks {chunk.name!r}")
        found[chunk.name] = chunk
        if chunk.name == "SSND" and unclosed:
            break
    for name in ("COMM", "SSND"):
        check_header(name in found, f"no chunk {name!r}")
    common, samples = found["COMM"], found["SSND"]
    coding, frames = _read_common(source.at(common.offset, common.size), source.at(8, 4) == b"AIFC")
    check_header(source.number(samples.offset, 4, "big") == 0, "samples that begin late in 'SSND'")
    have = source.size - samples.offset - 8
    if unclosed and (samples.size <= 8 or samples.size >= _UNKNOWN):
        sizes = (common.offset + 2, have // coding.block), (samples.offset - 4, min(have, _UNKNOWN) + 8)
        patches = tuple(source.patch(offset, 4, size.to_bytes(4, "big")) for offset, size in sizes)
        return replace(coding.promise("AIFF", have, have), patches=patches)
    promise = coding.promise("AIFF", have, samples.size - 8)
    _check_frames(frames, samples.size - 8, coding)
    return promise


def _check_frames(frames: int, size: int, coding: Coding) -> None:
    blocks = -(-size // coding.block)
    if coding.subtype == "IMA_ADPCM":  # blocks; libsndfile writes half of them for two channels
        fits = frames in (blocks, blocks // coding.channels)
    else:
        fits = (blocks - 1) * coding.frames < frames <= blocks * coding.frames
    check_header(fits or frames == blocks == 0, f"{frames:,} frames in {size:,} bytes of samples")


def _read_common(common: bytes, compressed: bool) -> tuple[Coding, int]:
    """The encoding, and the number of frames (of ADPCM, of blocks)."""
    check_header(len(common) >= (22 if compressed else 18), f"chunk 'COMM' has {len(common)} bytes")
    channels, frames, bits, exponent, mantissa = struct.unpack(">hIhHQ", common[:18])
    rate = whole_hertz(mantissa * 2.0 ** (exponent - 16383 - 63) if exponent < 16500 else -1)
    kind = common[18:22] if compressed else b"NONE"
    if kind == b"ima4":
        check_header(0 < channels <= 2, f"{channels} channels of ADPCM")
        return Coding("IMA_ADPCM", rate, channels, 34 * channels, 64), frames
    if kind == b"GSM ":
        check_header(channels == 1, f"{channels} channels of GSM 6.10")
        return Coding("GSM610", rate, channels, 33, 160), frames
    subtype = SIGNED_PCM.get(-(-bits // 8)) if kind in _OF_ANY_WIDTH else _SUBTYPES.get(kind)
    if subtype is None:
        raise ValueError(f"AIFF with samples of {kind.decode('latin-1')!r} of {bits} bits is not supported")
    return plain(subtype, rate, channels), frames
