"""What all readers of headers share: the bytes of a file, and what a header promises of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

Order = Literal["little", "big"]
SLACK = 8  # bytes by which the size of a whole file may be off: a pad byte, or its own header


@dataclass(frozen=True)
class Patch:
    """Bytes in the place of those from ``start`` to ``end`` of a file."""

    start: int
    end: int
    content: bytes


@dataclass(frozen=True)
class Promise:
    """What a header says, after it was held against the size of its file.

    Attributes:
        kind: of the file, for messages.
        rate: in Hz; None where the decoder chooses it.
        channels: number of them.
        subtype: the encoding, as soundfile names it.
        frames: number of samples of each channel; None where it is not told.
        most: frames that libsndfile may find; where ``frames`` is told, those behind it are no samples.
        least: frames that there cannot be fewer of, where ``frames`` is not told.
        md5: of the samples, where the header tells it.
        endian: order of the bytes, as soundfile names it; None where the encoding or the first bytes tell it.
        patches: what libsndfile must find in the place of some bytes, where lengths are not told as it wants them.
    """

    kind: str
    rate: int | None
    channels: int
    subtype: str
    frames: int | None
    most: int
    least: int = 0
    md5: bytes | None = None
    endian: str | None = None
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True)
class Source:
    """The bytes of a file behind its first ``start``.

    Attributes:
        file: open for reading.
        size: of what is behind ``start``.
        start: where it begins, behind tags say.
    """

    file: BinaryIO
    size: int
    start: int = 0

    def at(self, offset: int, count: int) -> bytes:
        """Bytes ``offset`` to ``offset + count``.

        Raises:
            ValueError: if they are not all there.
        """
        check_whole(self.size, offset + count)
        return self.some(offset, count)

    def some(self, offset: int, count: int) -> bytes:
        """The same, or what there is of it."""
        self.file.seek(self.start + offset)
        return self.file.read(max(0, min(count, self.size - offset)))

    def patch(self, offset: int, length: int, content: bytes) -> Patch:
        """Bytes in the place of ``length`` others at ``offset``."""
        return Patch(self.start + offset, self.start + offset + length, content)

    def number(self, offset: int, count: int, order: Order) -> int:
        """The unsigned integer of ``count`` bytes at ``offset``."""
        return int.from_bytes(self.at(offset, count), order)


def check_whole(have: int, promised: int, unit: str = "bytes") -> None:
    """Refuse a file that has less than its header promises."""
    if have < promised:
        raise ValueError(f"cut short: {have:,} of {promised:,} {unit} are there")


def check_header(fine: bool, what: str) -> None:
    """Refuse a header that contradicts itself or its file."""
    if not fine:
        raise ValueError(f"damaged header: {what}")


@dataclass(frozen=True)
class Chunk:
    """A named piece of a file.

    Attributes:
        name: four characters.
        offset: of its content.
        size: of its content, as its header says.
    """

    name: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where its content ends."""
        return self.offset + self.size


def chunks(source: Source, offset: int, end: int, order: Order, width: int = 4) -> Iterator[Chunk]:
    """The chunks of a RIFF, IFF or CAF file, by their headers.

    Args:
        source: the file.
        offset: of the first.
        end: where the last one ends.
        order: of the bytes of a size.
        width: bytes of a size. Odd chunks are followed by a pad byte where it is 4; some programs leave it out.

    Raises:
        ValueError: if there is something else between them, or one reaches beyond ``end``.
    """
    while end - offset >= 4 + width:
        name = source.at(offset, 4)
        if not all(32 <= byte < 127 for byte in name):
            check_header(not any(source.some(offset, end - offset)), f"there is no chunk at byte {offset:,}")
            return
        chunk = Chunk(name.decode("ascii"), offset + 4 + width, source.number(offset + 4, width, order))
        yield chunk
        check_header(chunk.end <= end + SLACK, f"chunk {chunk.name!r} has {chunk.size:,} bytes, the file does not")
        offset = chunk.end if width != 4 else padded(source, chunk)
    check_header(not any(source.some(offset, end - offset)), f"there is no chunk at byte {offset:,}")


def padded(source: Source, chunk: Chunk) -> int:
    """Where the chunk behind this one begins."""
    return chunk.end + (chunk.size % 2 and source.some(chunk.end, 1) == b"\0")
