"""How samples are encoded in containers of the RIFF family: WAVE_FORMAT structures."""

import struct
from dataclasses import dataclass

from wavedil.audio.headers.source import Order, Promise, check_header, check_whole

_GUID = bytes.fromhex("000000001000800000aa00389b71")  # of WAVE_FORMAT_EXTENSIBLE, behind the number of the format
_PLAIN = {
    (1, 8): "PCM_U8", (1, 16): "PCM_16", (1, 24): "PCM_24", (1, 32): "PCM_32", (3, 32): "FLOAT", (3, 64): "DOUBLE",
    (6, 8): "ALAW", (7, 8): "ULAW",
}  # fmt: skip
_MS, _IMA, _GSM = 0x02, 0x11, 0x31
_BLOCKS = {_MS: "MS_ADPCM", _IMA: "IMA_ADPCM", _GSM: "GSM610"}
_MS_COEFFICIENTS = (256, 0, 512, -256, 0, 0, 192, 64, 240, 0, 460, -208, 392, -232)
_OTHERS = {
    0x50: "MPEG",
    0x55: "MP3",
    0x40: "G.721",
    0x64: "G.726",
    0x38: "NMS ADPCM",
    0x160: "WMA",
    0x161: "WMA",
    0xFF: "AAC",
}


@dataclass(frozen=True)
class Coding:
    """An encoding of samples in blocks of a fixed size.

    Attributes:
        subtype: as soundfile names it.
        rate: in Hz.
        channels: number of them.
        block: bytes of a block; of plain PCM, of a frame.
        frames: in a block.
    """

    subtype: str
    rate: int
    channels: int
    block: int
    frames: int = 1

    def promise(self, kind: str, have: int, size: int) -> Promise:
        """What ``size`` bytes of samples promise, of which ``have`` are in the file.

        Raises:
            ValueError: if whole blocks are missing.
        """
        blocks = size // self.block
        if have // self.block < blocks:
            check_whole(have, size, "bytes of samples")
        rest = self.frames > 1 and size % self.block  # a last block that is shorter holds an unknown number of frames
        frames = None if rest else blocks * self.frames
        extra = bool(rest) or self.subtype == "GSM610"  # of which libsndfile takes a pad byte for a block
        return Promise(kind, self.rate, self.channels, self.subtype, frames, (blocks + extra) * self.frames)


def read_format(fmt: bytes, order: Order) -> Coding:
    """The encoding that a ``fmt`` chunk describes.

    Raises:
        ValueError: if its fields contradict each other, or it is not supported.
    """
    check_header(len(fmt) >= 16, f"chunk 'fmt ' has {len(fmt)} bytes, expected at least 16")
    sign = "<" if order == "little" else ">"
    tag, channels, rate, byte_rate, block, bits = struct.unpack(sign + "HHIIHH", fmt[:16])
    check_header(0 < channels <= 1024, f"{channels} channels")
    if tag == 0xFFFE:
        tag = _extensible(fmt, sign, bits)
    if tag in _BLOCKS:
        frames = _block_frames(tag, channels, block, bits, fmt[16:], sign)
        expected = rate * block / frames
        check_header(
            byte_rate == 0 or abs(byte_rate - expected) <= 0.05 * expected,
            f"{byte_rate:,} bytes a second at {rate:,} Hz",
        )
        return Coding(_BLOCKS[tag], rate, channels, block, frames)
    if (tag, bits) not in _PLAIN:
        raise ValueError(f"WAV with samples of {_OTHERS.get(tag, f'format {tag:#x}')} of {bits} bits is not supported")
    check_header(block == channels * bits // 8, f"{channels} channels of {bits} bits in frames of {block} bytes")
    check_header(
        byte_rate in (0, rate * block), f"{byte_rate:,} bytes a second at {rate:,} Hz and {block} bytes a frame"
    )
    return Coding(_PLAIN[tag, bits], rate, channels, block)


def _extensible(fmt: bytes, sign: str, bits: int) -> int:
    check_header(len(fmt) >= 40, f"chunk 'fmt ' has {len(fmt)} bytes, expected at least 40")
    extra, valid, _mask, tag = struct.unpack(sign + "HHIH", fmt[16:26])
    check_header(extra >= 22, f"extension of {extra} bytes, expected at least 22")
    check_header(0 < valid <= bits, f"{valid} of {bits} bits are valid")
    if fmt[26:40] != _GUID:
        raise ValueError("WAV with samples of an unknown format (extensible) is not supported")
    return tag


def _block_frames(tag: int, channels: int, block: int, bits: int, extra: bytes, sign: str) -> int:
    """Frames in a block of ADPCM or GSM 6.10."""
    check_header(len(extra) >= 4, "the size of a block is missing")
    (frames,) = struct.unpack(sign + "H", extra[2:4])
    if tag == _GSM:
        check_header((channels, block, frames) == (1, 65, 320), f"GSM 6.10 of {channels} channels in blocks of {block}")
        return frames
    head = (7 if tag == _MS else 4) * channels
    whole = (block - head) * 2 // channels + (2 if tag == _MS else 1)
    check_header(bits == 4 and block > head and frames == whole, f"{frames} frames in blocks of {block} bytes")
    if tag == _MS and extra[4:34] != struct.pack(sign + "15h", 7, *_MS_COEFFICIENTS):
        raise ValueError("MS ADPCM with coefficients of its own is not supported")
    return frames


_BYTES = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
SIGNED_PCM = {1: "PCM_S8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}  # by bytes of a sample


def plain(subtype: str, rate: int, channels: int) -> Coding:
    """Samples one after another, without blocks."""
    check_header(0 < channels <= 1024, f"{channels:,} channels")
    return Coding(subtype, rate, channels, channels * _BYTES[subtype])


def whole_hertz(rate: float) -> int:
    """A rate that a header holds as a float.

    Raises:
        ValueError: if it is no integer.
    """
    check_header(0 <= rate < 2**31 and rate == int(rate), f"sample rate of {rate:g} Hz, expected whole Hz")
    return int(rate)
