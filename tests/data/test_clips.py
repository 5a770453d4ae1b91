from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import tone, write, write_speech_commands, write_words
from sweeps import examples

from wavedil.config import DataConfig
from wavedil.data.clips import ClipSet, load_splits, open_clips
from wavedil.data.labels import SILENCE, UNKNOWN, WORDS_10

WORDS = ["go", "stop", "tree", "wow"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """Miniature Speech Commands of four words by twelve speakers: 40, 4 and 4 clips."""
    root = tmp_path_factory.mktemp("clips")
    write_speech_commands(root, WORDS, speakers=12)
    return DataConfig(
        source="speech_commands", root=str(root), words=["stop", "go"], clip_samples=2000, cache_dir=str(root / "cache")
    )


def test_words_and_targets(config: DataConfig) -> None:
    splits = load_splits(config)
    assert splits.labels.labels == ("stop", "go")
    assert [len(clips) for clips in (splits.training, splits.validation, splits.testing)] == [20, 2, 2]
    for clips in (splits.training, splits.validation, splits.testing):
        assert clips.waveforms.shape == (len(clips), 2000)
        assert clips.targets.tolist() == [splits.labels.index(name.split("/")[0]) for name in clips.names]
    assert splits.left_out == ("tree", "wow")
    assert len(splits.noise) == 6 * 16_000


def test_waveforms_are_those_of_their_names(config: DataConfig) -> None:
    cache, clips = open_clips(config), load_splits(config).training
    rows = {clip.name: row for clip, row in zip(cache.clips, cache.waveforms, strict=True)}
    for name, waveform in zip(clips.names, clips.waveforms, strict=True):
        assert torch.equal(waveform, rows[name])


def test_a_split_in_one_piece_is_a_view_of_the_map(config: DataConfig) -> None:
    config = replace(config, words=WORDS)
    cache = open_clips(config)
    clips = load_splits(config).validation
    assert clips.waveforms.untyped_storage().nbytes() == cache.waveforms.untyped_storage().nbytes()


def test_no_speaker_is_in_two_splits(config: DataConfig) -> None:
    splits = load_splits(replace(config, words=["go"], unknown=True))
    speakers = [
        {name.split("/")[1].split("_nohash_")[0] for name in clips.names}
        for clips in (splits.training, splits.validation, splits.testing)
    ]
    assert not speakers[0] & speakers[1]
    assert not speakers[0] & speakers[2]
    assert not speakers[1] & speakers[2]


def test_only_the_splits_asked_for_have_examples(config: DataConfig) -> None:
    splits = load_splits(config, ("validation",))
    assert (len(splits.training), len(splits.validation), len(splits.testing)) == (0, 2, 0)


def test_words_that_the_data_lacks_are_named(config: DataConfig) -> None:
    with pytest.raises(ValueError, match="no clips of zebra, yes; there are clips of go, stop, tree, wow"):
        load_splits(replace(config, words=["go", "zebra", "yes"]))
    with pytest.raises(ValueError, match="_unknown_ needs clips of other words than go, stop, tree, wow"):
        load_splits(replace(config, words=WORDS, unknown=True))


def test_an_epoch_without_unknown_and_silence_has_each_clip_once(config: DataConfig) -> None:
    clips = load_splits(config).training
    order = clips.epoch_order(torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(20))
    assert order.tolist() != list(range(20))
    assert torch.equal(order, clips.epoch_order(torch.Generator().manual_seed(0)))
    assert not torch.equal(order, clips.epoch_order(torch.Generator().manual_seed(1)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(20))
@given(st.integers(0, 2**32), st.floats(0, 0.99), st.floats(0, 0.99))
def test_an_epoch_draws_unknown_and_silence_by_their_shares(
    config: DataConfig, seed: int, unknown_share: float, silence_share: float
) -> None:
    config = replace(config, words=["go"], unknown=True, silence=True)
    clips = load_splits(replace(config, unknown_share=unknown_share, silence_share=silence_share)).training
    order = clips.epoch_order(torch.Generator().manual_seed(seed))
    assert len(order) == clips.epoch_length
    real = order[order < len(clips)]
    assert len(set(real.tolist())) == len(real)
    waveforms, targets = clips.batch(order)
    counts = torch.bincount(targets, minlength=3).tolist()
    n_unknown, n_silence = -(-unknown_share * 10 // 1), -(-silence_share * 10 // 1)
    assert counts == [10, n_unknown, n_silence]
    assert ((order >= len(clips)) == (targets == 2)).all()
    assert ((waveforms == 0).all(dim=1) == (targets == 2)).all()
    assert clips.names_of(order.tolist()).count(SILENCE) == n_silence


def test_the_unknown_clips_change_from_epoch_to_epoch(config: DataConfig) -> None:
    clips = load_splits(replace(config, words=["go"], unknown=True)).training
    generator = torch.Generator().manual_seed(0)
    drawn = [frozenset(clips.epoch_order(generator).tolist()) & set(clips.unknown.tolist()) for _ in range(20)]
    assert {len(one) for one in drawn} == {1}
    assert len(set(drawn)) > 5


def test_evaluation_examples_are_the_same_at_every_load(config: DataConfig) -> None:
    config = replace(config, words=["go"], unknown=True, silence=True)
    first, second = load_splits(config), load_splits(replace(config, unknown_share=0.9, silence_share=0.9))
    for one, two in ((first.validation, second.validation), (first.testing, second.testing)):
        assert one.names == two.names
        assert torch.equal(one.waveforms, two.waveforms)
        assert torch.equal(one.targets, two.targets)
        assert one.targets.tolist() == [0, 1, 2]  # one known clip, and a tenth of that, rounded up, of each other
    assert first.validation.names[-1] == "_silence_/0"
    assert not torch.equal(first.validation.waveforms[-1], first.testing.waveforms[-1])
    assert first.validation.waveforms[-1].any()


def test_published_shares(tmp_path: Path) -> None:
    folder = write_speech_commands(tmp_path, ["go", "stop", "tree"], speakers=40)
    for file, number in (("validation_list.txt", 0), ("testing_list.txt", 1)):
        names = [
            f"{word}/{s:08x}_nohash_0.wav\n" for word in ("go", "stop", "tree") for s in range(40) if s % 3 == number
        ]
        (folder / file).write_text("".join(names))
    config = DataConfig("speech_commands", str(tmp_path), words=["go", "stop"], unknown=True, silence=True)
    config = replace(config, clip_samples=500, cache_dir=str(tmp_path / "cache"))
    validation = load_splits(config).validation
    assert torch.bincount(validation.targets).tolist() == [14, 14, 3, 3]


def test_silence_needs_noise(tmp_path: Path) -> None:
    write_words(tmp_path, ["go"], 40)
    config = DataConfig("folder", str(tmp_path), words=["go"], silence=True, cache_dir=str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="silence needs recordings in _background_noise_"):
        load_splits(config)


def official_archive(folder: Path) -> Path:
    """A test folder shaped as the official 12-class archive."""
    for number, word in enumerate((*WORDS_10, UNKNOWN, SILENCE)):
        for take in range(3):
            write(folder / word / f"{take}.wav", tone(100 + 50 * number))
    return folder


def test_twelve_classes_with_the_official_test_folder(tmp_path: Path) -> None:
    write_speech_commands(tmp_path, [*WORDS_10, "bed"], speakers=4)
    archive = official_archive(tmp_path / "archive")
    config = DataConfig("speech_commands", str(tmp_path), words="12", test_root=str(archive), clip_samples=2000)
    config = replace(config, cache_dir=str(tmp_path / "cache"))
    splits = load_splits(config)
    assert torch.bincount(splits.testing.targets).tolist() == [3] * 12  # taken whole, nothing made or left out
    assert set(splits.testing.names) == {f"{word}/{n}.wav" for word in (*WORDS_10, UNKNOWN, SILENCE) for n in range(3)}
    assert torch.bincount(splits.validation.targets).tolist() == [1] * 12
    assert splits.left_out == ()


def test_a_test_folder_alone_needs_no_other_data(tmp_path: Path) -> None:
    archive = official_archive(tmp_path / "archive")
    config = DataConfig("folder", str(tmp_path / "not-there"), words=["go", "zebra"], test_root=str(archive))
    splits = load_splits(replace(config, cache_dir=str(tmp_path / "cache")), ("testing",))
    assert splits.testing.targets.tolist() == [0, 0, 0]
    assert set(splits.left_out) == {*WORDS_10, UNKNOWN, SILENCE} - {"go"}


def test_recordings_of_silence_join_the_noise_of_training(tmp_path: Path) -> None:
    names = [*write_words(tmp_path / "data", ["go"], 40), *write_words(tmp_path / "data", [SILENCE], 40)]
    config = DataConfig("folder", str(tmp_path / "data"), words=["go"], silence=True, clip_samples=1600)
    splits = load_splits(replace(config, cache_dir=str(tmp_path / "cache")))
    in_training = [
        name for name in names if name.startswith(SILENCE) and name.replace(SILENCE, "go") in splits.training.names
    ]
    assert splits.noise.shape == (len(in_training) * 1600,)
    assert splits.training.targets.unique().tolist() == [0]
    assert splits.training.silence_draws > 0
    assert splits.validation.targets.unique().tolist() == [0, 1]  # the real recordings, none made
    assert all("_nohash_" in name for name in splits.validation.names)


def test_without_the_class_silence_is_not_unknown(tmp_path: Path) -> None:
    write_words(tmp_path / "data", ["go", "tree", SILENCE], 40)
    config = DataConfig("folder", str(tmp_path / "data"), words=["go"], unknown=True, clip_samples=500)
    splits = load_splits(replace(config, cache_dir=str(tmp_path / "cache")))
    assert not [name for name in (*splits.training.names, *splits.testing.names) if name.startswith(SILENCE)]
    assert splits.left_out == (SILENCE,)


def test_an_empty_split_is_named(tmp_path: Path) -> None:
    for word in ("go", "stop"):
        write(tmp_path / "data" / word / "s0_nohash_0.wav", tone(300))  # s0 is for training
    config = DataConfig("folder", str(tmp_path / "data"), words=["go", "stop"], cache_dir=str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="no clips of go, stop for validation"):
        load_splits(config)
    with pytest.raises(ValueError, match="needs the folder"):
        load_splits(replace(config, root=None))


def test_to_a_device_and_dtype(config: DataConfig) -> None:
    clips = load_splits(replace(config, words=["go"], silence=True)).training
    moved = clips.to("meta")
    assert (moved.waveforms.device.type, moved.targets.device.type) == ("meta", "meta")
    assert (moved.names, moved.silence_draws, moved.silence_index) == (clips.names, 1, 1)
    waveforms, targets = clips.batch(torch.tensor([0, 3]))
    assert (waveforms.dtype, targets.dtype) == (torch.int16, torch.int64)


def test_the_cache_folder_comes_from_the_environment(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVEDIL_CACHE", str(tmp_path / "elsewhere"))
    load_splits(replace(config, cache_dir=None), ("testing",))
    assert (tmp_path / "elsewhere" / "clips").is_dir()


def test_a_clip_set_is_built_by_hand() -> None:
    waveforms = torch.arange(6, dtype=torch.int16).view(3, 2)
    clips = ClipSet(waveforms, torch.tensor([0, 1, 0]), list("abc"), torch.arange(3), torch.zeros(0, dtype=torch.int64))
    assert clips.batch(torch.tensor([2, 0]))[0].tolist() == [[4, 5], [0, 1]]
    assert clips.names_of([2, 0]) == ["c", "a"]


def test_a_test_folder_that_holds_training_clips_is_said(tmp_path: Path) -> None:
    write_words(tmp_path / "data", ["go", "stop"], 40)
    config = DataConfig("folder", str(tmp_path / "data"), clip_samples=500, cache_dir=str(tmp_path / "cache"))
    config = replace(config, test_root=str(tmp_path / "data"))
    splits = load_splits(config)
    assert [note for note in splits.notes if f" {len(splits.training)} of the 80 clips (go/" in note]
    write_words(tmp_path / "other", ["no class", "nor this", "stop", "go"], 3)  # the first two are copies of clips
    assert not [n for n in load_splits(replace(config, test_root=str(tmp_path / "other"))).notes if "trained on" in n]
