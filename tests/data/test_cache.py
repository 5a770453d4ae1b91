import errno
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recordings import tone, write, write_speech_commands, write_words

import wavedil.data.cache as module
from wavedil.data.cache import ClipCache
from wavedil.data.decode import decode
from wavedil.data.index import folder_index
from wavedil.data.speech_commands import speech_commands_index

SAMPLES = 2000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three words of four speakers, and a noise recording."""
    folder = tmp_path / "data"
    write_words(folder, ["go", "stop", "tree"], 4)
    write(folder / "_background_noise_" / "hiss.wav", tone(90, 0.5))
    write(folder / "_background_noise_" / "wind.wav", tone(70, 0.25))
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were decoded."""
    names: list[str] = []

    def watched(path: Path, sample_rate: int, cancelling: list[Path]) -> np.ndarray:
        names.append(path.name)
        return decode(path, sample_rate, cancelling)

    monkeypatch.setattr(module, "decode", watched)
    return names


def build(data: Path, **settings: object) -> ClipCache:
    chosen = {"sample_rate": 16_000, "clip_samples": SAMPLES, "cache_dir": data.parent / "cache"} | settings
    return ClipCache.build(folder_index(data), **chosen)  # type: ignore[arg-type]


def folders(data: Path) -> list[Path]:
    return [path for path in (data.parent / "cache" / "clips").iterdir() if path.is_dir()]


def test_rows_are_the_decoded_clips(data: Path) -> None:
    cache = build(data)
    assert cache.clips == folder_index(data).clips
    assert (cache.waveforms.shape, cache.waveforms.dtype) == ((12, SAMPLES), torch.int16)
    for clip, row in zip(cache.clips, cache.waveforms, strict=True):
        expected = decode(clip.path, 16_000)
        assert row[: len(expected)].tolist() == expected.tolist()
        assert not row[len(expected) :].any()  # shorter than a row: zeros at the end


def test_noise_recordings_follow_one_another(data: Path) -> None:
    cache = build(data)
    assert cache.noise_offsets.tolist() == [0, 8000, 12000]
    assert cache.noise[8000:].tolist() == decode(data / "_background_noise_" / "wind.wav", 16_000).tolist()


def test_decoded_once(data: Path, decoded: list[str]) -> None:
    first = build(data)
    assert len(decoded) == 14
    again = build(data)
    assert len(decoded) == 14
    assert torch.equal(first.waveforms, again.waveforms)
    assert first.sha256 == again.sha256
    assert len(folders(data)) == 1


def test_another_rate_or_length_is_another_cache(data: Path, decoded: list[str]) -> None:
    assert build(data).waveforms.shape == (12, 2000)
    assert build(data, clip_samples=500).waveforms.shape == (12, 500)
    assert build(data, sample_rate=8_000).noise_offsets.tolist() == [0, 4000, 6000]
    assert len(folders(data)) == 3
    decoded.clear()
    build(data)
    assert not decoded


def change(path: Path) -> None:
    write(path, tone(1234))


def touch(path: Path) -> None:
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("act", [change, touch, Path.unlink])
def test_a_clip_that_changes_or_vanishes_makes_the_cache_anew(data: Path, act: object, decoded: list[str]) -> None:
    before = build(data)
    path = data / "stop" / "00000002_nohash_0.wav"
    decoded.clear()
    act(path)  # type: ignore[operator]
    after = build(data)
    assert sorted(decoded) == sorted(["hiss.wav", "wind.wav"] + [path.name] * path.exists())  # the other clips are kept
    assert len(after.clips) == 11 + path.exists()
    row = [clip.path for clip in before.clips].index(path)
    others = [other for other in range(12) if other != row]
    kept = [n for n, clip in enumerate(after.clips) if clip.path != path]
    assert torch.equal(before.waveforms[others], after.waveforms[kept])
    assert (before.sha256 == after.sha256) == (act is touch)
    assert len(folders(data)) == 1  # the older one is removed


def test_a_clip_that_appears_makes_the_cache_anew(data: Path) -> None:
    build(data)
    path = write(data / "go" / "00000009_nohash_0.wav", tone(777))
    cache = build(data)
    row = [clip.path for clip in cache.clips].index(path)
    assert cache.waveforms[row, :1600].tolist() == decode(path, 16_000).tolist()


def test_noise_that_changes_makes_the_cache_anew(data: Path) -> None:
    build(data)
    write(data / "_background_noise_" / "hiss.wav", tone(300, 1.0))
    assert len(build(data).noise) == 20000


def test_writing_to_the_tensors_changes_no_file(data: Path) -> None:
    cache = build(data)
    before = cache.waveforms.clone()
    cache.waveforms.zero_()
    cache.noise.zero_()
    again = build(data)
    assert torch.equal(again.waveforms, before)
    assert again.noise.any()


@pytest.mark.parametrize("file", ["clips.i16", "noise.i16", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_cache_is_made_anew(data: Path, file: str, damage: str) -> None:
    before = build(data)
    waveforms, noise = before.waveforms.clone(), before.noise.clone()
    (folder,) = folders(data)
    content = (folder / file).read_bytes()
    (folder / file).unlink()  # not truncated in place: the maps of `before` would end the process
    if damage == "cut":
        (folder / file).write_bytes(content[:-100])
    after = build(data)
    assert torch.equal(after.waveforms, waveforms)
    assert torch.equal(after.noise, noise)


def test_many_at_once_decode_once(data: Path, decoded: list[str]) -> None:
    barrier = threading.Barrier(4)

    def open_together(_: int) -> str:
        barrier.wait()
        return build(data).sha256

    with ThreadPoolExecutor(4) as pool:
        hashes = set(pool.map(open_together, range(4)))
    assert len(hashes) == 1
    assert len(decoded) == 14


@pytest.mark.parametrize("changed", [False, True])
def test_what_a_killed_process_left_is_cleared(data: Path, changed: bool) -> None:
    build(data)
    (folder,) = folders(data)
    leftover = folder.with_name(f".{folder.name}.tmpabc")
    folder.rename(leftover)
    (leftover / "manifest.json").unlink()
    if changed:
        change(data / "go" / "00000000_nohash_0.wav")
    assert len(build(data).clips) == 12
    assert len(folders(data)) == 1
    assert folders(data)[0].name.startswith(folder.name[:16])


def test_a_full_disk_is_explained_and_leaves_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"the disk is full: the clip cache takes 0 MB .* set cache_dir elsewhere"):
            build(data)
    assert folders(data) == []
    assert len(build(data).clips) == 12


def spoil(data: Path) -> dict[str, str]:
    """Spoil four clips, each in its way; a word of what is said of each."""
    (data / "go" / "00000000_nohash_0.wav").write_bytes(b"")
    write(data / "go" / "00000001_nohash_0.wav", np.zeros(0))
    write(data / "stop" / "00000000_nohash_0.wav", np.array([0.5, np.nan]), subtype="FLOAT")
    path = data / "tree" / "00000003_nohash_0.wav"
    path.write_bytes(path.read_bytes()[:1000])
    return {
        "go/00000000_nohash_0.wav": "not an audio file",
        "go/00000001_nohash_0.wav": "no samples",
        "stop/00000000_nohash_0.wav": "nan",
        "tree/00000003_nohash_0.wav": "cut short",
    }


def test_corrupt_clips_are_an_error_that_names_them(data: Path) -> None:
    reasons = spoil(data)
    for _ in range(2):  # and from the cache again
        with pytest.raises(ValueError, match=r"_nohash_0\.wav: .*\(and 3 more: ") as caught:
            build(data)
        assert all(name in str(caught.value) for name in reasons)


def test_corrupt_clips_are_skipped_by_name(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reasons = spoil(data)
    for _ in range(2):
        cache = build(data, on_corrupt="skip")
        said = capsys.readouterr().err
        assert "4 of 14 recordings cannot be read" in said
        for name, reason in reasons.items():
            assert any(str(data / name) in line and reason in line for line in said.splitlines())
        assert len(cache.clips) == len(cache.waveforms) == 8
        assert not {clip.name for clip in cache.clips} & set(reasons)
        for clip, row in zip(cache.clips, cache.waveforms, strict=True):
            assert row[:1600].tolist() == decode(clip.path, 16_000).tolist()


def test_corrupt_noise_is_told_too(data: Path) -> None:
    (data / "_background_noise_" / "hiss.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"_background_noise_/hiss\.wav"):
        build(data)
    assert len(build(data, on_corrupt="skip").noise) == 4000


def test_nothing_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data" / "go").mkdir(parents=True)
    (tmp_path / "data" / "go" / "a.wav").write_bytes(b"no")
    with pytest.raises(ValueError, match="none of the clips can be read"):
        build(tmp_path / "data", on_corrupt="skip")
    assert "a.wav" in capsys.readouterr().err


def test_without_noise(data: Path) -> None:
    for path in (data / "_background_noise_").iterdir():
        path.unlink()
    cache = build(data)
    assert cache.noise.shape == (0,)
    assert cache.noise_offsets.tolist() == [0]


def test_the_manifest_tells_what_is_in_it(data: Path) -> None:
    build(data)
    (folder,) = folders(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    stat = (data / "go" / "00000000_nohash_0.wav").stat()
    assert ["go/00000000_nohash_0.wav", stat.st_size, stat.st_mtime_ns] in manifest["clips"]
    assert (manifest["sample_rate"], manifest["clip_samples"], manifest["root"]) == (16_000, SAMPLES, str(data))


def test_speech_commands_clips_shorter_than_a_second(tmp_path: Path) -> None:
    write_speech_commands(tmp_path)
    cache = ClipCache.build(speech_commands_index(tmp_path), 16_000, 16_000, tmp_path / "cache")
    assert cache.waveforms.shape == (24, 16_000)
    assert cache.waveforms[:, :1600].any(dim=1).all()
    assert not cache.waveforms[:, 1600:].any()


def test_channels_that_cancel_are_said_once(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wave = tone(300)
    for name in ("go/b.wav", "go/a.wav"):
        write(data / name, np.stack([wave, -wave], axis=1))
    cache = ClipCache.build(folder_index(data), 16_000, SAMPLES, data.parent / "cache")
    said = "wavedil: 2 of the recordings have channels that cancel, as with one inverted; the loudest was taken: "
    assert f"{said}go/a.wav, go/b.wav\n" in capsys.readouterr().err
    row = [clip.name for clip in cache.clips].index("go/a.wav")
    assert np.abs(cache.waveforms[row, : len(wave)].numpy() / 32768 - wave).max() < 1e-4
    ClipCache.build(folder_index(data), 16_000, SAMPLES, data.parent / "cache")
    assert "cancel" not in capsys.readouterr().err


def put_what_cannot_be_read(data: Path) -> dict[str, str]:
    """Clips that are no files; a word of what is said of each."""
    (data / "go" / "gone.wav").symlink_to("/nowhere/gone.wav")
    (data / "go" / "old.wav").mkdir()
    (data / "stop" / "circle.wav").symlink_to("circle.wav")
    os.mkfifo(data / "stop" / "pipe.wav")
    return {
        "go/gone.wav": "no such file or directory (a link to /nowhere/gone.wav)",
        "go/old.wav": "this is a folder",
        "stop/circle.wav": "symbolic links",
        "stop/pipe.wav": "a pipe, a socket or a device",
    }


def test_whatever_cannot_be_read_is_named_and_may_be_skipped(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reasons = put_what_cannot_be_read(data)
    with pytest.raises(ValueError, match=r"old\.wav: this is a folder \(and 3 more: .*gone\.wav\); on_corrupt"):
        build(data)
    cache = build(data, on_corrupt="skip")
    said = capsys.readouterr().err.splitlines()
    assert len(cache.clips) == 12
    for name, reason in reasons.items():
        assert [line for line in said if str(data / name) in line and reason in line]


@pytest.mark.parametrize(
    "raised", [PermissionError(errno.EACCES, "Permission denied"), RuntimeError("odd"), MemoryError()]
)
def test_a_clip_that_fails_in_any_way_is_skipped(
    data: Path, raised: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(path: Path, *rest: Any) -> np.ndarray:
        if path.name == "00000002_nohash_0.wav":
            raise raised
        return decode(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "decode", failing)
        assert len(build(data, on_corrupt="skip").clips) == 9
    assert "3 of 14 recordings cannot be read" in capsys.readouterr().err
    if isinstance(raised, OSError):  # which may pass without a trace in size or time
        assert len(build(data, on_corrupt="skip").clips) == 12


def test_too_many_open_files_is_no_fault_of_a_clip(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: Path, *rest: Any) -> np.ndarray:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(module, "decode", failing)
    with pytest.raises(OSError, match="Too many open files"):
        build(data, on_corrupt="skip")
    assert folders(data) == []


def test_names_that_are_not_utf_8_are_cached(data: Path, decoded: list[str]) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    write(data / "go" / "x.wav", tone(444)).rename(data / "go" / name)
    first = build(data)
    row = [clip.path.name for clip in first.clips].index(name)
    decoded.clear()
    assert torch.equal(build(data).waveforms[row], first.waveforms[row])
    assert not decoded


def test_folders_that_differ_in_normal_form_alone_are_one_word_of_two_places(data: Path) -> None:
    for form, frequency in (("f\u00fcr", 500), ("fu\u0308r", 600)):
        os.utime(write(data / form / "0.wav", tone(frequency)), ns=(0, 0))
    for _ in range(2):  # and with the rows of the former cache
        cache = build(data)
        rows = [row for row, clip in enumerate(cache.clips) if clip.word == "für"]
        assert len({tuple(cache.waveforms[row].tolist()) for row in rows}) == len(rows) == 2
        (data / "go" / "00000000_nohash_0.wav").unlink(missing_ok=True)
