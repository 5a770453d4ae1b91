"""FLAC: STREAMINFO, and the first frame, which repeats what it says."""

from wavedil.audio.headers.source import Promise, Source, check_header, check_whole

_RATES = {
    1: 88_200, 2: 176_400, 3: 192_000, 4: 8_000, 5: 16_000, 6: 22_050, 7: 24_000, 8: 32_000, 9: 44_100, 10: 48_000,
    11: 96_000,
}  # fmt: skip
_BITS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}
_SMALLEST = 8  # bytes of a frame: header, one constant, checksum


def read_flac(source: Source) -> Promise:
    """The number of samples, and their MD5 where it is told."""
    check_header(source.at(4, 4) in (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22"), "expected STREAMINFO first")
    info = source.at(8, 34)
    largest = int.from_bytes(info[2:4], "big")
    packed = int.from_bytes(info[10:18], "big")
    rate, channels, bits = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    frames = packed & (1 << 36) - 1
    offset = _first_frame(source)
    if frames == 0 and source.size <= offset:
        raise ValueError("there are no samples in it")
    if frames == 0:  # which libsndfile cannot read
        raise ValueError("FLAC that was written to a pipe does not tell its length: encode it again, into a file")
    check_whole(source.size, offset + _SMALLEST)
    _check_frame(source.at(offset, 4), rate, channels, bits)
    most = largest * (1 + (source.size - offset) // _SMALLEST)
    check_header(frames <= most, f"{frames:,} frames in {source.size:,} bytes")
    subtype = "PCM_S8" if bits == 8 else f"PCM_{bits}"
    md5 = info[18:] if any(info[18:]) else None
    return Promise("FLAC", rate, channels, subtype, frames, frames, md5=md5)


def _first_frame(source: Source) -> int:
    """Where the samples begin, behind all blocks of metadata."""
    offset = 4
    while True:
        last, size = source.number(offset, 1, "big") >> 7, source.number(offset + 1, 3, "big")
        offset += 4 + size
        if last:
            return offset


def _check_frame(head: bytes, rate: int, channels: int, bits: int) -> None:
    check_header(head[0] == 0xFF and head[1] >> 1 == 0x7C, "no frame behind the metadata")
    code = head[3] >> 4
    in_frame = (
        _RATES.get(head[2] & 15, rate),
        2 if 8 <= code <= 10 else code + 1,
        _BITS.get(head[3] >> 1 & 7, bits),
    )
    names = "Hz, channels, bits"
    check_header(in_frame == (rate, channels, bits), f"{names} {rate, channels, bits}, in the first frame {in_frame}")
