"""Names of formats that are not read, for messages."""

_AT_START = {
    b"#!AMR": "AMR", b"\x1a\x45\xdf\xa3": "WebM or Matroska", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "WMA or ASF",
    b"MAC ": "Monkey's Audio", b"wvpk": "WavPack", b"TTA1": "TTA", b"TTA2": "TTA", b"MPCK": "Musepack",
    b"MP+": "Musepack", b"DSD ": "DSD", b".ra\xfd": "RealAudio", b".RMF": "RealMedia", b"MThd": "MIDI", b"BW64": "BW64",
    b"ajkg": "Shorten",
    b"Creative Voice File": "VOC", b"\x64\xa3": "IRCAM", b"\x00\x02\xa3\x64": "IRCAM", b"PVF1": "PVF", b" paf": "PAF",
    b"fap ": "PAF", b"2BIT": "AVR", b"MATLAB": "MATLAB", b"ALawSoundFile**": "WVE", b"Extended Instrument": "XI",
    b"\xf0\x7e": "SDS", b"\x01\x04": "MPC2K", b"ADIF": "AAC", b"FLV\x01": "Flash video",
    b"\x00\x00\x01\xba": "MPEG video", b"version https://git-lfs": "a Git LFS pointer: fetch the file by git lfs pull",
    b"PK\x03\x04": "a ZIP archive: unpack it", b"\x1f\x8b": "a gzip archive: unpack it",
    b"\x00\x05\x16\x07": "metadata of macOS", b"<!DOCTYPE": "a web page", b"<html": "a web page",
    b"\x93NUMPY": "a NumPy array: pass it as (samples, sample_rate)",
}  # fmt: skip


def name_of(head: bytes) -> str | None:
    """The name of a format that is not read, by the first bytes of a file; None if there is no such name."""
    if head[4:8] == b"ftyp":
        return "MP4, M4A or another format of MPEG-4"
    if head[:4] in (b"RIFF", b"FORM", b"RIFX") and head[8:12] not in (b"WAVE", b"AIFF", b"AIFC") and len(head) >= 12:
        return {b"AVI ": "AVI video", b"8SVX": "8SVX", b"16SV": "16SV", b"RMID": "MIDI"}.get(
            head[8:12], f"{head[:4].decode()} of {head[8:12]!r}"
        )
    if head[0] == 0xFF and len(head) > 1 and head[1] & 0xF6 == 0xF0:
        return "AAC"
    return next((name for magic, name in _AT_START.items() if head.startswith(magic)), None)
