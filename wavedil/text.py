"""Text that people write: with or without a byte order mark, in UTF-8 or UTF-16, with the line ends of any system."""

import codecs
import re
from pathlib import Path

from wavedil.files import read_file

LARGEST = 256 * 2**20  # bytes; no list of clips is larger
# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: str | Path, errors: str = "strict") -> str:
    r"""Read a text file; every line end becomes ``\n``.

    Args:
        path: of a regular file. A pipe is not opened.
        errors: what bytes that are not UTF-8 become, as in :meth:`bytes.decode`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no regular file, is too large, or is not text in UTF-8, UTF-16 or UTF-32; the message
            begins with the path.
    """
    content = read_file(Path(path), LARGEST)
    encoding = _encoding(content)
    try:
        text = content.decode(encoding, errors)
    except UnicodeError as error:
        raise ValueError(f"{path}: not text in UTF-8 ({_where(error, content)}); save it as UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{path}: not text: it holds NUL characters; save it as UTF-8")
    return re.sub("\r\n?", "\n", text)


def _encoding(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    if content[1:2] == b"\0":  # a first letter of ASCII in UTF-16 without a mark
        return "utf-16-le"
    return "utf-16-be" if content[:1] == b"\0" else "utf-8"


def _where(error: UnicodeError, content: bytes) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    line = content.count(b"\n", 0, error.start) + 1
    return f"line {line}, byte 0x{content[error.start]:02x}"
