"""WAV: RIFF, its big-endian twin RIFX, its 64-bit successor RF64, and Sony's W64."""

from collections.abc import Iterator
from dataclasses import replace

from wavedil.audio.headers.coding import Coding, read_format
from wavedil.audio.headers.source import SLACK, Chunk, Order, Promise, Source, check_header, check_whole, chunks, padded

_UNKNOWN = 0x7FFF_0000  # programs that write to a pipe do not know a size, and put one near 2 or 4 GiB
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_WAVE = bytes.fromhex("77617665f3acd3118cd100c04f8edb8a")


def read_riff(source: Source) -> Promise:
    """A WAV file of either byte order, or RF64."""
    magic = source.at(0, 4)
    order: Order = "big" if magic == b"RIFX" else "little"
    check_header(source.at(8, 4) == b"WAVE", f"expected WAVE at byte 8, got {source.at(8, 4)!r}")
    wide = magic == b"RF64"
    check_header(not wide or source.at(12, 4) == b"ds64", "expected ds64 at byte 12")
    outer = source.number(20, 8, order) if wide else source.number(4, 4, order)
    told = outer > 0 and (wide or outer < _UNKNOWN)
    if told and outer + 8 > source.size + SLACK:
        check_whole(source.size, outer + 8)
    coding, data = _samples(source, order)
    if wide and data.size == 0xFFFF_FFFF:
        data = Chunk(data.name, data.offset, source.number(28, 8, order))
    unclosed = not told or outer + 8 <= data.offset  # a recorder was stopped, or wrote to a pipe
    have = source.size - data.offset
    if unclosed and (data.size == 0 or data.size >= _UNKNOWN) and not wide:
        size = source.patch(data.offset - 4, 4, min(have, 0xFFFF_FFFF).to_bytes(4, order))
        return replace(coding.promise("WAV", have, have), patches=(size,) if data.size == 0 else ())
    promise = coding.promise("WAV", have, data.size)
    if not unclosed:
        _check_tail(source, data, outer + 8, order)
    return promise


def _samples(source: Source, order: Order) -> tuple[Coding, Chunk]:
    """The encoding of the samples, and the chunk that holds them."""
    before: dict[str, Chunk] = {}
    for chunk in chunks(source, 12, source.size, order):
        check_header(chunk.name not in before or chunk.name != "fmt ", "two chunks 'fmt '")
        before[chunk.name] = chunk
        if chunk.name == "data":
            check_header("fmt " in before, "no chunk 'fmt ' before 'data'")
            fmt = before["fmt "]
            coding = read_format(source.at(fmt.offset, fmt.size), order)
            check_header("PEAK" not in before or coding.subtype in ("FLOAT", "DOUBLE"), "'PEAK' of integer samples")
            return coding, chunk
    raise ValueError("damaged header: no chunk 'data'")


def _check_tail(source: Source, data: Chunk, end: int, order: Order) -> None:
    """What follows the samples up to the end that the outermost header tells must be chunks, or nothing."""
    if data.end > end + SLACK:
        check_header(0 <= source.size - data.end <= SLACK, f"{data.size:,} bytes of samples in a file of {end:,}")
        return
    for chunk in chunks(source, padded(source, data), min(end, source.size), order):
        check_header(chunk.name not in ("fmt ", "data"), f"two chunks {chunk.name!r}")


def read_w64(source: Source) -> Promise:
    """Sony's W64: names of 16 bytes and sizes of 8, which count their own header, at multiples of 8."""
    outer = source.number(16, 8, "little")
    check_header(source.at(24, 16) == _W64_WAVE, "expected wave at byte 24")
    told = 0 < outer < 1 << 63
    if told and outer > source.size + SLACK:
        check_whole(source.size, outer)
    found: dict[str, Chunk] = {}
    for chunk in _w64_chunks(source, min(outer, source.size) if told else source.size):
        check_header(chunk.name not in found or chunk.name not in ("fmt ", "data"), f"two chunks {chunk.name!r}")
        found[chunk.name] = chunk
        if chunk.name == "data":
            check_header("fmt " in found, "no chunk 'fmt ' before 'data'")
            if chunk.size >= 1 << 62 and not told:
                found["data"] = Chunk("data", chunk.offset, source.size - chunk.offset)
                break
            check_whole(source.size, chunk.end)
    check_header("data" in found, "no chunk 'data'")
    fmt, data = found["fmt "], found["data"]
    promise = read_format(source.at(fmt.offset, fmt.size), "little").promise(
        "W64", source.size - data.offset, data.size
    )
    return replace(promise, most=max(promise.most, source.size))  # libsndfile takes chunks behind them for samples


def _w64_chunks(source: Source, end: int) -> Iterator[Chunk]:
    offset = 40
    while end - offset >= 24:
        name, size = source.at(offset, 4), source.number(offset + 16, 8, "little")
        fine = all(32 <= byte < 127 for byte in name) and size >= 24
        check_header(fine, f"there is no chunk at byte {offset:,}")
        chunk = Chunk(name.decode("ascii"), offset + 24, size - 24)
        yield chunk
        check_header(chunk.end <= end + SLACK, f"chunk {chunk.name!r} has {size:,} bytes, the file does not")
        offset += -(-size // 8) * 8
    check_header(end - offset < 8, f"there is no chunk at byte {offset:,}")
