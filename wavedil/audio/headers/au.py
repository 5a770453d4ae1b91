"""AU of Sun and NeXT, and SPHERE of NIST: a header, and samples behind it."""

import re
from dataclasses import replace

from wavedil.audio.headers.coding import SIGNED_PCM, plain
from wavedil.audio.headers.source import Order, Promise, Source, check_header, check_whole

_ENCODINGS = {1: "ULAW", 2: "PCM_S8", 3: "PCM_16", 4: "PCM_24", 5: "PCM_32", 6: "FLOAT", 7: "DOUBLE", 27: "ALAW"}
_OTHERS = {23: "G.721", 24: "G.722", 25: "G.723", 26: "G.723"}
_UNKNOWN = 0xFFFF_FFFF  # the size that programs put which write to a pipe


def read_au(source: Source) -> Promise:
    """AU of either byte order."""
    order: Order = "big" if source.at(0, 4) == b".snd" else "little"
    offset, size, encoding, rate, channels = (source.number(4 * field, 4, order) for field in range(1, 6))
    if encoding not in _ENCODINGS:
        raise ValueError(f"AU with samples of {_OTHERS.get(encoding, f'encoding {encoding:,}')} is not supported")
    check_header(24 <= offset <= source.size, f"samples begin at byte {offset:,}")
    have = source.size - offset
    if size != _UNKNOWN:
        check_whole(source.size, offset + size)
    return plain(_ENCODINGS[encoding], rate, channels).promise("AU", have, have if size == _UNKNOWN else size)


_ORDERS = {"01": "LITTLE", "10": "BIG"}
_CODINGS = {"pcm": None, "ulaw": "ULAW", "mu-law": "ULAW", "alaw": "ALAW"}


def read_nist(source: Source) -> Promise:
    """SPHERE of NIST, as in TIMIT: a header of text."""
    first = source.some(0, 16)
    header = re.fullmatch(rb"NIST_1A\n *(\d{1,6})\n", first)
    size = int(header[1]) if header else 0
    fine = size > 0 and size % 1024 == 0
    check_header(fine, f"it begins with {first!r}, expected NIST_1A and its size, a multiple of 1024")
    text = source.at(0, size).decode("latin-1")
    check_header("\nend_head" in text, "no end_head")
    fields: dict[str, str] = {}
    for line in filter(None, text.partition("\nend_head")[0].split("\n")[2:]):
        field = re.fullmatch(r"([a-zA-Z0-9_]+) -(?:i|r|s\d+) (.*)", line)
        check_header(line[0] == ";" or field is not None, f"line {line[:40]!r}")
        if field:
            check_header(field[1] not in fields, f"two lines {field[1]}")
            fields[field[1]] = field[2]
    channels, rate, width, count = (
        _number(fields, key) for key in ("channel_count", "sample_rate", "sample_n_bytes", "sample_count")
    )
    name = fields.get("sample_coding", "pcm")
    if name not in _CODINGS:
        raise ValueError(f"NIST with samples of {name!r} is not supported")
    subtype = _CODINGS[name] or SIGNED_PCM.get(width)
    check_header(subtype is not None and (width == 1 or name == "pcm"), f"{name} of {width} bytes")
    order = fields.get("sample_byte_format", "")
    check_header(name != "pcm" or width == 1 or order in _ORDERS, f"sample_byte_format is {order[:20]!r}")
    coding = plain(str(subtype), rate, channels)
    check_whole(source.size, size + count * coding.block)
    promise = coding.promise("NIST", source.size - size, count * coding.block)
    return replace(promise, endian=_ORDERS[order] if name == "pcm" and width > 1 else None)


def _number(fields: dict[str, str], key: str) -> int:
    value = fields.get(key, "")
    check_header(re.fullmatch(r"\d{1,18}", value) is not None, f"{key} is {value[:20]!r}, expected an integer")
    return int(value)
