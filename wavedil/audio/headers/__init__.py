"""What a file's header promises, read strictly: libsndfile takes what there is of a file without a word."""

from collections.abc import Callable

from wavedil.audio.headers.aiff import read_aiff
from wavedil.audio.headers.au import read_au, read_nist
from wavedil.audio.headers.caf import read_caf
from wavedil.audio.headers.flac import read_flac
from wavedil.audio.headers.mpeg import is_mpeg, read_mpeg
from wavedil.audio.headers.names import name_of
from wavedil.audio.headers.ogg import read_ogg
from wavedil.audio.headers.riff import W64_RIFF, read_riff, read_w64
from wavedil.audio.headers.source import Promise, Source, check_whole

__all__ = ["SUPPORTED", "Promise", "Source", "check_whole", "read_promise"]

SUPPORTED = "WAV, RF64, W64, AIFF, AU, CAF, NIST, FLAC, Ogg Vorbis, Opus and MP3"
_READERS: dict[bytes, Callable[[Source], Promise]] = {
    b"RIFF": read_riff, b"RIFX": read_riff, b"RF64": read_riff, W64_RIFF: read_w64, b"FORM": read_aiff,
    b".snd": read_au, b"dns.": read_au, b"caff": read_caf, b"NIST_1A\n": read_nist, b"fLaC": read_flac,
    b"OggS": read_ogg,
}  # fmt: skip


def read_promise(source: Source) -> Promise:
    """What the header of a file promises, after it was held against the size of the file.

    Raises:
        ValueError: if the file is cut short, its header contradicts itself, or its format is not supported.
    """
    source = _behind_tags(source)
    head = source.some(0, 64)
    if not head:
        raise ValueError("not an audio file that can be read (it is empty)")
    reader = next((reader for magic, reader in _READERS.items() if head.startswith(magic)), None)
    other = name_of(head)
    if other is None and reader is None and is_mpeg(head):
        reader = read_mpeg
    if other is not None or reader is None:
        remedy = "convert it to WAV or FLAC, for example by ffmpeg -i in.m4a out.wav"
        raise ValueError(
            f"not an audio file that can be read ({other or 'unknown format'}); expected {SUPPORTED}: {remedy}"
        )
    return reader(source)


def _behind_tags(source: Source) -> Source:
    """The file behind ID3 tags at its start, and zeros behind those."""
    offset = 0
    while (head := source.some(offset, 10))[:3] == b"ID3" and len(head) == 10:
        offset += 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        offset += 10 if head[5] & 16 else 0  # a footer
    while offset and (block := source.some(offset, 4096)) and not block.strip(b"\0"):
        offset += len(block)
    if offset:
        block = source.some(offset, 4096)
        offset += len(block) - len(block.lstrip(b"\0"))
    return Source(source.file, max(0, source.size - offset), offset)
