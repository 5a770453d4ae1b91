"""Audio files: whole ones of every format are read; those cut short, damaged or of other formats are named."""

import os
import struct

import numpy as np
import pytest
import soundfile
from containers import EXACT, MONO_ONLY, WRITTEN, chunk, fmt, riff, sound, write_as

from wavedil.audio.load import load_audio

SAMPLES = (sound(400)[:, 0] * 32767).astype("<i2")
PCM = SAMPLES.tobytes()
NAMES = ["-".join(written) for written in WRITTEN]


def load(path):
    return load_audio(path, 16_000).samples.numpy()


def load_bytes(path, content: bytes):
    path.write_bytes(content)
    return load(path)


def refused(path, content: bytes, message: str = ".") -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("written", WRITTEN, ids=NAMES)
def test_every_format_is_read_whole_and_refused_when_cut(tmp_path, written, channels):
    if channels == 2 and written[1] in MONO_ONLY:
        pytest.skip("one channel only")
    original = sound(channels=channels)
    path = write_as(tmp_path / "whole", written, original)
    found = load(path)
    if written[1] in EXACT:
        assert found.shape == (len(original),)
        assert np.abs(found - original.mean(axis=1)).max() < (0.05 if written[1] in ("ULAW", "ALAW") else 0.01)
    else:
        assert len(original) <= len(found) < len(original) + 2100  # whole blocks
    whole = path.read_bytes()
    for size in (20, len(whole) // 2, len(whole) - 200, len(whole) - 9):
        refused(tmp_path / "cut", whole[:size])


@pytest.mark.parametrize("written", [w for w in WRITTEN if w[0] not in ("FLAC", "OGG", "MP3")], ids="-".join)
def test_the_message_tells_how_much_is_there(tmp_path, written):
    whole = write_as(tmp_path / "whole", written, sound()).read_bytes()
    refused(tmp_path / "cut", whole[: len(whole) - 300], r"cut: cut short: [\d,]+ of [\d,]+ bytes")


def test_flac_ogg_and_mp3_that_are_cut_say_so(tmp_path):
    for written in WRITTEN[-6:]:
        whole = write_as(tmp_path / "whole", written, sound(20_000)).read_bytes()
        for share in (0.3, 0.5, 0.9):
            refused(tmp_path / "cut", whole[: int(share * len(whole))], "cut: cut short")


def test_data_that_is_shorter_than_its_chunk_says(tmp_path):
    refused(
        tmp_path / "a.wav",
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM[:400], size=800)),
        "cut short: 400 of 800 bytes",
    )


@pytest.mark.parametrize(
    "content",
    [
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM), size=36 + len(PCM) + 8),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM), size=36 + len(PCM) - 8),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM), size=36 + len(PCM) + 1),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM), size=0),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM), size=36),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM)) + b"rubbish at the end",
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM)) + b"TAG" + bytes(125),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM), chunk(b"LIST", b"INFOISFT\4\0\0\0abc\0")),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM), chunk(b"id3 ", b"odd", pad=False)),
        riff(chunk(b"LIST", b"odd"), chunk(b"fmt ", fmt() + b"\0\0"), chunk(b"data", PCM), bytes(100)),
        riff(chunk(b"JUNK", bytes(28)), chunk(b"fmt ", fmt()), chunk(b"fact", bytes(4)), chunk(b"data", PCM)),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM, size=0xFFFF_FFFF), size=0xFFFF_FFFF),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM, size=0x7FFF_FFDB), size=0x7FFF_FFFF),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM, size=0x8000_0000), size=0x8000_0024),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM, size=0), size=0),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM, size=0), size=36),
        riff(chunk(b"fmt ", fmt()), chunk(b"LIST", b"INFO"), chunk(b"data", PCM, size=0xFFFF_FFFF), size=0xFFFF_FFFF),
    ],
    ids=[
        "size +8", "size -8", "size +1", "size 0", "size of the header", "rubbish", "ID3v1", "LIST", "no pad byte",
        "odd LIST and zeros", "JUNK and fact", "ffmpeg", "sox", "arecord", "zeros", "recorder", "LIST and ffmpeg",
    ],
)  # fmt: skip
def test_sizes_that_every_player_accepts(tmp_path, content):
    np.testing.assert_array_equal(load_bytes(tmp_path / "a.wav", content), SAMPLES / np.float32(32768))


def test_an_odd_number_of_bytes_without_its_pad_byte(tmp_path):
    content = riff(chunk(b"fmt ", fmt(bits=8)), chunk(b"data", bytes(range(51)), pad=False))
    assert load_bytes(tmp_path / "a.wav", content).shape == (51,)


@pytest.mark.parametrize(
    "content",
    [
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM, size=len(PCM) - 100)),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM, size=0)),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM), chunk(b"data", PCM)),
        riff(chunk(b"fmt ", fmt()), chunk(b"fmt ", fmt()), chunk(b"data", PCM)),
        riff(chunk(b"data", PCM), chunk(b"fmt ", fmt())),
        riff(chunk(b"fmt ", fmt())),
        riff(chunk(b"data", PCM)),
        riff(chunk(b"fmt ", fmt()[:12]), chunk(b"data", PCM)),
        riff(chunk(b"fmt ", fmt(channels=0)), chunk(b"data", PCM)),
        riff(chunk(b"fmt ", fmt(bits=12)), chunk(b"data", PCM)),
        riff(chunk(b"fmt ", fmt()[:8] + bytes([1, 0, 0, 0]) + fmt()[12:]), chunk(b"data", PCM)),
        riff(chunk(b"fmt ", fmt()[:12] + b"\4\0\x10\0"), chunk(b"data", PCM)),
        riff(chunk(b"fmt ", fmt(tag=0x55)), chunk(b"data", PCM)),
        riff(chunk(b"fmt ", fmt(tag=0xFFFE)), chunk(b"data", PCM)),
        riff(chunk(b"LIST", bytes(4), size=0x7FFF_FFFF), chunk(b"fmt ", fmt()), chunk(b"data", PCM)),
        riff(chunk(b"\0\1\2\3", bytes(4)), chunk(b"fmt ", fmt()), chunk(b"data", PCM)),
    ],
)
def test_headers_that_contradict_themselves(tmp_path, content):
    refused(tmp_path / "a.wav", content)


@pytest.mark.parametrize("rate", [0, 1, 9, 99, 1_000_001, 1_409_302_144, 2**31 - 1])
def test_absurd_rates_are_refused_by_file(tmp_path, rate):
    content = bytearray(riff(chunk(b"fmt ", fmt()), chunk(b"data", PCM)))
    content[24:32] = struct.pack("<II", rate, 2 * rate & 0xFFFF_FFFF)
    refused(tmp_path / "a.wav", bytes(content), "sample rate|Hz")


HEADERS = {"WAV": 44, "WAVEX": 80, "RF64": 104, "W64": 104, "AIFF": 54, "FLAC": 46}


@pytest.mark.parametrize("form", HEADERS)
def test_a_flipped_bit_of_the_header_is_noticed_or_harmless(tmp_path, form):
    path = write_as(tmp_path / "whole", (form, "PCM_16", "FILE"), sound(200))
    expected = soundfile.read(path, dtype="float32")[0]
    whole = path.read_bytes()
    taken = 0
    for bit in range(0, 8 * HEADERS[form], 3):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            found, rate = load_native(path)
        except ValueError:
            continue
        taken += 1
        assert rate == 16_000 or form in ("AIFF", "FLAC")  # which tell the rate once only
        np.testing.assert_array_equal(found, expected)
    assert taken < HEADERS[form]


def load_native(path):
    """The samples at the file's own rate."""
    from wavedil.audio.read import read_file

    values, rate = read_file(path)
    return values[0], rate


@pytest.mark.parametrize("written", [w for w in WRITTEN if w[0] in ("FLAC", "OGG", "MP3")], ids="-".join)
def test_a_flipped_bit_in_what_has_a_checksum_is_noticed(tmp_path, written):
    whole = write_as(tmp_path / "whole", written, sound(8_000)).read_bytes()
    for place in np.random.default_rng(0).integers(len(whole) // 4, len(whole), 12):
        content = bytearray(whole)
        content[place] ^= 16
        refused(tmp_path / "flipped", bytes(content))


def test_a_length_that_the_file_cannot_hold_is_refused_before_memory_is_asked_for(tmp_path):
    content = bytearray(write_as(tmp_path / "a.flac", ("FLAC", "PCM_16", "FILE"), sound()).read_bytes())
    content[21] |= 15
    refused(tmp_path / "a.flac", bytes(content), r"damaged header: [\d,]+ frames in [\d,]+ bytes")


def test_tags_around_mp3_and_flac_are_passed_over(tmp_path):
    tag = b"ID3\4\0\0\0\0\1\0" + bytes(128)
    for written in (("MP3", "MPEG_LAYER_III", "FILE"), ("FLAC", "PCM_16", "FILE")):
        whole = write_as(tmp_path / "a", written, sound()).read_bytes()
        expected = load(tmp_path / "a")
        for content in (tag + whole, whole + b"TAG" + bytes(125)):
            np.testing.assert_array_equal(load_bytes(tmp_path / "tagged", content), expected)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x20ftypM4A ", "M4A"),
        (b"\xff\xf1\x50\x80\x02\x1f\xfc", "AAC"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
        (b"#!AMR\n", "AMR"),
        (b"\x1a\x45\xdf\xa3", "WebM"),
        (b"RIFF\x24\0\0\0AVI LIST", "AVI"),
        (b"FORM\0\0\0\x2e8SVXVHDR", "8SVX"),
        (b"Creative Voice File\x1a", "VOC"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"anything", "unknown format"),
    ],
)
def test_formats_that_are_not_read_are_named_with_the_remedy(tmp_path, head, name):
    refused(tmp_path / "a.wav", head + bytes(100), rf"\(.*{name}.*\); expected WAV, .*: convert it to WAV or FLAC")


def test_ogg_with_something_else_is_named(tmp_path):
    whole = write_as(tmp_path / "a.ogg", ("OGG", "VORBIS", "FILE"), sound()).read_bytes()
    refused(tmp_path / "a.ogg", whole + whole, "Ogg with several streams is not supported")


def test_pipes_and_folders_are_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(OSError, match=r"pipe\.wav: this is a pipe, not a file"):
        load(tmp_path / "pipe.wav")
    with pytest.raises(OSError, match=r"^/dev/null: this is a device"):
        load("/dev/null")
    with pytest.raises(OSError, match=r"^x{300}: file name too long"):
        load("x" * 300)
    with pytest.raises(ValueError, match="null byte"):
        load("a\0b")


def test_a_name_that_is_not_utf8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    write_as(tmp_path / "a.wav", ("WAV", "PCM_16", "FILE"), sound(100)).rename(path)
    assert load(path).shape == (100,)


def test_an_mp3_without_a_count_of_its_frames_is_read_to_its_end(tmp_path):
    whole = write_as(tmp_path / "a", ("MP3", "MPEG_LAYER_III", "FILE"), sound(20_000)).read_bytes()
    second = whole.index(whole[:2], 4)  # behind the frame that counts
    found = load_bytes(tmp_path / "a", whole[second:])
    assert 20_000 <= len(found) < 20_000 + 3 * 1152
    refused(tmp_path / "a", whole[second:-5], "cut short: ")


@pytest.mark.parametrize("sizes", [(0, 0, 0), (0x7F00_0000, 0x7F00_0000, 0x7F00_0008)])
def test_an_aiff_from_a_pipe(tmp_path, sizes):
    path = write_as(tmp_path / "a", ("AIFF", "PCM_16", "FILE"), sound(100))
    expected, content = load(path), bytearray(path.read_bytes())
    for offset, size in zip((4, 22, 42), sizes, strict=True):
        content[offset : offset + 4] = struct.pack(">I", size)
    np.testing.assert_array_equal(load_bytes(path, bytes(content)), expected)


def test_a_w64_with_chunks_behind_its_samples(tmp_path):
    path = write_as(tmp_path / "a", ("W64", "PCM_16", "FILE"), sound(100))
    expected, content = load(path), bytearray(path.read_bytes())
    content += b"list" + content[4:16] + struct.pack("<Q", 32) + bytes(8)
    content[16:24] = struct.pack("<Q", len(content))
    np.testing.assert_array_equal(load_bytes(path, bytes(content)), expected)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"   1024", b"   1020"),
        (b"   1024", b"   2048"),
        (b"sample_coding", b"sa\xedple_coding"),
        (b"-s2 10", b"-s2 12"),
    ],
)
def test_a_damaged_header_of_nist_is_refused(tmp_path, old, new):
    whole = write_as(tmp_path / "a", ("NIST", "PCM_16", "BIG"), sound(700)).read_bytes()
    assert old in whole
    refused(tmp_path / "a", whole.replace(old, new, 1), "damaged header|cut short")
