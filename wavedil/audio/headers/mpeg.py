"""MP3 (and layers I and II): frames one after another, counted by the tag in the first one."""

from dataclasses import dataclass, replace

import numpy as np

from wavedil.audio.headers.source import Promise, Source, check_header, check_whole

_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version
# kbit/s by (first version, layer): 3 is layer I, 2 is II, 1 is III.
_KBITS = {
    (True, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_NAMES = {3: "MPEG_LAYER_I", 2: "MPEG_LAYER_II", 1: "MPEG_LAYER_III"}
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")
_TRIMMED = 3 * 4096  # frames that a decoder may leave out at both ends


@dataclass(frozen=True)
class _Frame:
    kind: tuple[int, int, int, int]  # version, layer, rate, channels
    size: int
    samples: int


def is_mpeg(head: bytes) -> bool:
    """Whether bytes begin with the header of a frame."""
    return _read_frame(head) is not None


def read_mpeg(source: Source) -> Promise:
    """Frames from the first byte to the end or to tags."""
    data = source.some(0, source.size)
    first = _read_frame(data)
    check_header(first is not None, "no frame of MPEG audio")
    assert first is not None  # noqa: S101  for the type checker
    _, layer, rate, channels = first.kind
    promised, start = _read_tag(data, first)
    count, offset = 0, start
    while (frame := _read_frame(data[offset : offset + 4])) is not None:
        check_header(frame.kind == first.kind, f"the frame at byte {offset:,} is of another kind than the first")
        check_whole(len(data), offset + frame.size)
        offset += frame.size
        count += 1
    if promised is not None and count < promised:
        check_whole(count, promised, "MPEG frames")
    rest = data[offset:]
    if promised is None:
        check_header(rest.startswith(_TAGS) or not any(rest), f"there is no frame at byte {offset:,}")
        check_header(count > 1 or not rest, "one frame is no MPEG audio")
    check_header(promised is None or count == promised, f"it tells {promised} frames and has {count:,}")
    _check_music(data[start:offset], data[: first.size] if start else b"")
    most = count * first.samples
    promise = Promise("MP3", rate, channels, _NAMES[layer], None, most, least=max(0, most - _TRIMMED))
    if promised is None and layer == 1:  # libsndfile would guess the length from the first frames
        return replace(promise, patches=(source.patch(0, start, _tag_frame(data, first, count)),))
    return promise


def _read_frame(head: bytes) -> _Frame | None:
    """The frame that a header of four bytes describes; None if it is no header."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bits, rates, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 0 or rates == 3 or not 0 < bits < 15:
        return None
    rate, rate_of_bits = _RATES[version][rates], 1000 * _KBITS[version == 3, layer][bits - 1]
    if layer == 3:
        size, samples = 4 * (12 * rate_of_bits // rate + padding), 384
    else:
        samples = 576 if layer == 1 and version != 3 else 1152
        size = samples // 8 * rate_of_bits // rate + padding
    return _Frame((version, layer, rate, 1 if head[3] >> 6 == 3 else 2), size, samples)


def _read_tag(data: bytes, first: _Frame) -> tuple[int | None, int]:
    """The number of frames that a tag in the first one tells, None where there is none; and where the music begins."""
    layer = first.kind[1]
    tag = data[4 + _side(first) : first.size]
    if layer == 1 and tag[:4] in (b"Xing", b"Info") and len(tag) >= 12:
        told = tag[7] & 1
        return int.from_bytes(tag[8:12], "big") if told else None, first.size
    if layer == 1 and data[36:40] == b"VBRI":
        return int.from_bytes(data[50:54], "big"), first.size
    return None, 0


def _tag_frame(data: bytes, first: _Frame, count: int) -> bytes:
    """A silent frame that tells the number of frames."""
    head = bytes((0xFF, data[1] | 1, 0xE0 | data[2] & 0x0C, data[3]))
    frame = _read_frame(head)
    tag = head + bytes(_side(first)) + b"Xing" + bytes((0, 0, 0, 1)) + count.to_bytes(4, "big")
    return tag.ljust(frame.size if frame else 0, b"\0")


def _side(frame: _Frame) -> int:
    """Bytes between the header of a frame of layer III and its tag."""
    version, _, _, channels = frame.kind
    return {(True, 1): 17, (True, 2): 32, (False, 1): 9, (False, 2): 17}[version == 3, channels]


def _check_music(music: bytes, tag_frame: bytes) -> None:
    """Hold the music, and the tag itself, against the checksums that LAME and FFmpeg write into the tag."""
    at = max(tag_frame.find(b"Xing"), tag_frame.find(b"Info")) + 120
    if at < 120 or tag_frame[at : at + 3] not in (b"LAM", b"Lav") or len(tag_frame) < at + 36:
        return
    of_music, of_tag = (int.from_bytes(tag_frame[at + 32 + skip : at + 34 + skip], "big") for skip in (0, 2))
    check_header(of_tag in (0, _crc16(tag_frame[: at + 34])), "checksum of the tag in the first frame")
    if of_music not in (0, _crc16(music)):
        raise ValueError("damaged: the checksum of its frames is another than the first one tells")


def _crc16(data: bytes) -> int:
    """CRC-16 (polynomial 0x8005, mirrored), of many pieces at once."""
    width = max(1, int(len(data) ** 0.5))
    padded = bytes(-len(data) % width) + data  # zeros at the start change nothing
    pieces = np.frombuffer(padded, np.uint8).reshape(-1, width)
    sums = _advance(np.zeros(len(pieces), np.uint16), pieces.T)
    none = np.zeros((width, 256), np.uint8)
    low, high = (_advance(np.arange(256, dtype=np.uint16) << shift, none).tolist() for shift in (0, 8))
    total = 0
    for piece in sums.tolist():
        total = low[total & 255] ^ high[total >> 8] ^ piece
    return total


def _advance(sums: np.ndarray, columns: np.ndarray) -> np.ndarray:
    for column in columns:
        sums = _TABLE[(sums ^ column) & 255] ^ (sums >> 8)
    return sums


def _table() -> np.ndarray:
    sums = np.arange(256, dtype=np.uint16)
    for _ in range(8):
        sums = np.where(sums & 1, sums >> 1 ^ 0xA001, sums >> 1).astype(np.uint16)
    return sums


_TABLE = _table()
