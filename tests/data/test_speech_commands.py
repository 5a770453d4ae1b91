from pathlib import Path

import pytest
from recordings import write_speech_commands

import wavedil.data.speech_commands as module
from wavedil.data.speech_commands import speech_commands_index
from wavedil.data.torchaudio_compat import torchaudio


def counts(root: Path, **settings: str) -> tuple[int, ...]:
    clips = speech_commands_index(root, **settings).clips  # type: ignore[arg-type]
    return tuple(sum(clip.split == split for clip in clips) for split in ("training", "validation", "testing"))


@pytest.mark.parametrize("version", ["v0.01", "v0.02"])
def test_splits_words_and_speakers(tmp_path: Path, version: str) -> None:
    folder = write_speech_commands(tmp_path, ["go", "stop"], speakers=5, version=version)
    index = speech_commands_index(tmp_path, version)
    assert index.root == folder
    assert counts(tmp_path, version=version) == (6, 2, 2)
    assert all(clip.path.is_file() for clip in index.clips)
    assert {clip.word for clip in index.clips} == {"go", "stop"}
    speakers = {split: {c.speaker for c in index.clips if c.split == split} for split in ("training", "testing")}
    assert not speakers["training"] & speakers["testing"]


def test_noise_is_no_word(tmp_path: Path) -> None:
    write_speech_commands(tmp_path)
    index = speech_commands_index(tmp_path)
    assert [path.name for path in index.noise] == ["hiss.wav", "wind.wav"]
    assert "_background_noise_" not in {clip.word for clip in index.clips}


def test_the_splits_are_those_of_the_class_of_torchaudio(tmp_path: Path) -> None:
    folder = write_speech_commands(tmp_path)
    clips = speech_commands_index(tmp_path).clips
    for split in ("training", "validation", "testing"):
        dataset = torchaudio().datasets.SPEECHCOMMANDS(tmp_path, folder.name, subset=split)
        expected = [dataset.get_metadata(n) for n in range(len(dataset))]
        found = [
            (f"{folder.name}/{clip.name}", 16_000, clip.word, clip.speaker, 0) for clip in clips if clip.split == split
        ]
        assert found == expected


def test_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"speech_commands_v0\.02: no such folder; set download = true"):
        speech_commands_index(tmp_path)
    with pytest.raises(ValueError, match=r"v0\.03"):
        speech_commands_index(tmp_path, "v0.03")


@pytest.mark.parametrize("file", ["validation_list.txt", "testing_list.txt"])
def test_half_extracted_without_a_list(tmp_path: Path, file: str) -> None:
    (write_speech_commands(tmp_path) / file).unlink()
    with pytest.raises(ValueError, match=rf"{file} is missing, so it was not extracted to the end"):
        speech_commands_index(tmp_path)


def test_half_extracted_without_clips_of_a_list(tmp_path: Path) -> None:
    folder = write_speech_commands(tmp_path)
    (folder / "stop" / "00000001_nohash_0.wav").unlink()
    with pytest.raises(ValueError, match=r"1 of the 3 clips in testing_list\.txt are missing \(stop/00000001"):
        speech_commands_index(tmp_path)


def test_the_full_lists_need_all_training_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_speech_commands(tmp_path)
    assert counts(tmp_path) == (18, 3, 3)
    monkeypatch.setitem(module.FULL_COUNTS, "v0.02", (18, 3, 3))
    speech_commands_index(tmp_path)
    (folder / "go" / "00000007_nohash_0.wav").unlink()
    with pytest.raises(ValueError, match=r"expected 18 training, 3 validation, 3 testing clips, found 17 training"):
        speech_commands_index(tmp_path)


def test_a_subset_on_purpose_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_speech_commands(tmp_path)
    monkeypatch.setitem(module.FULL_COUNTS, "v0.02", (18, 3, 3))
    for clip in (folder / "tree").iterdir():
        clip.unlink()
    for path in (folder / "validation_list.txt", folder / "testing_list.txt"):
        path.write_text("".join(line for line in path.read_text().splitlines(True) if "tree" not in line))
    assert counts(tmp_path) == (12, 2, 2)


def test_the_published_counts() -> None:
    assert module.FULL_COUNTS["v0.02"] == (84_843, 9_981, 11_005)
    assert sum(module.FULL_COUNTS["v0.01"]) == 64_721


@pytest.mark.parametrize("line", ["go/no-speaker.wav", "go/00000000_nohash_0.wav", "00000003_nohash_0.wav"])
def test_a_broken_list_is_named_by_line(tmp_path: Path, line: str) -> None:
    folder = write_speech_commands(tmp_path)
    with (folder / "testing_list.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=r"testing_list\.txt: line 4: expected a <word>/<speaker>_nohash_"):
        speech_commands_index(tmp_path)
