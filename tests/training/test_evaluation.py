"""Evaluation: the offline figures, the same when streamed, and the right clips of the right words."""

import numpy as np
import pytest
import soundfile
import torch

from wavedil.config import Config, DataConfig, FeatureConfig, ModelConfig
from wavedil.data.clips import ClipSet, load_splits
from wavedil.data.labels import WORDS_10, LabelSet
from wavedil.models import KeywordModel, build_model
from wavedil.training.checkpoint import ModelMeta, save_model
from wavedil.training.config import save_toml
from wavedil.training.evaluation import evaluate
from wavedil.training.evaluation_data import folder_data, overlap_notes, run_data

RATE = CLIP = 4_000
LABELS = LabelSet(("yes", "no", "stop"))
MODELS = {
    "mel": ModelConfig(channels=8, skip_channels=8, cycles=1, features=FeatureConfig(hop_length=160)),
    "raw": ModelConfig(
        name="raw", channels=8, skip_channels=8, cycles=1, boundary="silence", stem_channels=[4, 8], stem_strides=[4, 8]
    ),
    "broadcast": ModelConfig(
        name="broadcast",
        channels=4,
        skip_channels=8,
        stage_channels=[4, 6],
        stage_blocks=[1, 1],
        stage_dilations=[1, 2],
        stage_strides=[1, 2],
        features=FeatureConfig(hop_length=160),
    ),
}


def make_clips(n: int = 11, samples: int = CLIP) -> ClipSet:
    generator = torch.Generator().manual_seed(1)
    loudness = torch.logspace(1, 4, n)[:, None]
    waveforms = (torch.randn(n, samples, generator=generator) * loudness).clamp(-32768, 32767).to(torch.int16)
    none = torch.zeros(0, dtype=torch.int64)
    return ClipSet(waveforms, torch.arange(n) % 3, [f"{i}.wav" for i in range(n)], torch.arange(n), none)


def make_model(name: str, n_classes: int = 3) -> KeywordModel:
    torch.manual_seed(0)
    model = build_model(MODELS[name], n_classes, RATE).eval()
    with torch.no_grad():  # different clips are to get different words
        weight, bias = model.layers["head"].parameters()
        weight.mul_(10)
        bias.sub_(model.clip_logits(make_clips().waveforms.float()[:, None] / 32768).mean(dim=0))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_offline_logits_are_those_of_each_clip_alone(name):
    model, clips = make_model(name), make_clips()
    result = evaluate(model, clips, LABELS, batch_size=4)
    with torch.no_grad():
        alone = [model(waveform.float()[None, None] / 32768)[..., -1] for waveform in clips.waveforms]
    np.testing.assert_allclose(result.logits, torch.cat(alone).numpy(), atol=1e-5)
    assert result.targets.tolist() == clips.targets.tolist()
    assert result.names == clips.names
    assert result.labels == LABELS.labels
    assert result.stream_difference is None
    assert len(set(result.predictions.tolist())) > 1


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chunk", [None, 160, 333, 2 * CLIP])
@pytest.mark.parametrize("samples", [CLIP, CLIP - 77])
def test_streamed_figures_are_the_offline_ones(name, chunk, samples):
    model, clips = make_model(name), make_clips(samples=samples)
    offline = evaluate(model, clips, LABELS)
    streamed = evaluate(model, clips, LABELS, batch_size=4, streaming=True, chunk=chunk)
    np.testing.assert_allclose(streamed.logits, offline.logits, atol=1e-5)
    assert streamed.stream_difference == pytest.approx(np.abs(streamed.logits - offline.logits).max(), abs=1e-5)
    assert streamed.stream_difference is not None
    assert streamed.stream_difference < 1e-5
    assert streamed.stream_mismatches == 0
    assert streamed.predictions.tolist() == offline.predictions.tolist()


def test_a_stream_that_differs_is_reported(monkeypatch):
    """A model whose streamed state is lost: what the comparison is for."""
    from wavedil.streaming import Stream

    push = Stream.push

    def forgetful(self, chunk):
        self.reset()
        return push(self, chunk)

    monkeypatch.setattr(Stream, "push", forgetful)
    result = evaluate(make_model("mel"), make_clips(), LABELS, streaming=True, chunk=160)
    assert result.stream_difference is not None
    assert result.stream_difference > 1e-2
    assert result.stream_mismatches


@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_left_as_it_was(training):
    model = make_model("mel").train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(model, make_clips(), LABELS, streaming=True)
    assert model.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_what_cannot_be_evaluated_is_refused():
    model, clips = make_model("mel"), make_clips()
    with pytest.raises(ValueError, match="there is no clip to evaluate"):
        evaluate(model, make_clips(0), LABELS)
    for batch_size, chunk in ((0, None), (8, 0)):
        with pytest.raises(ValueError, match="of at least 1, got"):
            evaluate(model, clips, LABELS, batch_size=batch_size, streaming=True, chunk=chunk)
    with pytest.raises(ValueError, match="clips of 100 samples are too short: the model needs 160 for a frame"):
        evaluate(model, make_clips(samples=100), LABELS)
    with torch.no_grad():
        next(iter(model.layers["head"].parameters())).fill_(float("nan"))
    with pytest.raises(ValueError, match=r"NaN or infinite for 11 clips, 0\.wav the first"):
        evaluate(model, clips, LABELS)


def meta(labels: tuple[str, ...]) -> ModelMeta:
    return ModelMeta(labels, RATE, CLIP, MODELS["mel"])


def write_clips(root, words: dict[str, int], seconds=1.0):
    for word, count in words.items():
        (root / word).mkdir(parents=True)
        for index in range(count):
            samples = np.random.default_rng(index).uniform(-0.5, 0.5, int(RATE * seconds))
            soundfile.write(root / word / f"speaker{index}_nohash_0.wav", samples, RATE)
    return root


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WAVEDIL_CACHE", str(tmp_path / "cache"))


def words_of(data) -> dict[str, int]:
    words = [data.labels.labels[target] for target in data.clips.targets]
    return {word: words.count(word) for word in dict.fromkeys(words)}


@pytest.mark.usefixtures("cache")
def test_a_folder_is_taken_whole_and_what_is_lacking_is_said(tmp_path):
    root = write_clips(tmp_path / "data", {"yes": 3, "no": 2, "bird": 4, "cat": 1})
    data = folder_data(root, meta(("yes", "no", "stop")))
    assert data.split == "all"
    assert words_of(data) == {"no": 2, "yes": 3}
    assert all(
        data.labels.labels[target] == name.split("/")[0]
        for target, name in zip(data.clips.targets, data.clips.names, strict=True)
    )
    assert data.notes == [
        "all clips of the folder; --split chooses others",
        "left out 5 clips of bird (4), cat (1), which the model does not know",
        "the data have no clips of the model's stop",
    ]


@pytest.mark.usefixtures("cache")
def test_other_words_are_unknown_where_the_model_has_it(tmp_path):
    root = write_clips(tmp_path / "data", {"yes": 3, "bird": 4, "_silence_": 2})
    data = folder_data(root, meta(("yes", "_unknown_")), "all")
    assert words_of(data) == {"_unknown_": 4, "yes": 3}
    assert data.notes == [
        "left out 2 clips of _silence_ (2), which the model does not know",
        "taken as _unknown_: 4 clips of bird (4)",
    ]


@pytest.mark.usefixtures("cache")
def test_the_official_test_folder_of_12_classes_needs_no_note(tmp_path):
    root = write_clips(tmp_path / "data", dict.fromkeys((*WORDS_10, "_unknown_", "_silence_"), 1))
    data = folder_data(root, meta((*WORDS_10, "_unknown_", "_silence_")), "all")
    assert words_of(data) == dict.fromkeys(sorted((*WORDS_10, "_unknown_", "_silence_")), 1)
    assert data.notes == []


@pytest.mark.usefixtures("cache")
def test_the_lists_of_a_folder_are_followed(tmp_path):
    root = write_clips(tmp_path / "data", {"yes": 5, "no": 5})
    (root / "testing_list.txt").write_text("yes/speaker1_nohash_0.wav\nno/speaker1_nohash_0.wav\n")
    testing = folder_data(root, meta(("yes", "no")))
    assert testing.split == "testing"
    assert testing.clips.names == ["no/speaker1_nohash_0.wav", "yes/speaker1_nohash_0.wav"]
    assert "the clips of testing_list.txt" in testing.notes[0]
    assert len(folder_data(root, meta(("yes", "no")), "training").clips) == 8
    assert len(folder_data(root, meta(("yes", "no")), "all").clips) == 10


def speech_commands(root, words: dict[str, int]):
    """A small Speech Commands: speaker 0 validates, speakers 1 and 2 test."""
    folder = write_clips(root / "SpeechCommands" / "speech_commands_v0.02", words)
    (folder / "_background_noise_").mkdir()
    soundfile.write(folder / "_background_noise_" / "hiss.wav", np.random.default_rng(0).uniform(-1, 1, 9_000), RATE)
    for name, speakers in (("validation", [0]), ("testing", [1, 2])):
        lines = [f"{word}/speaker{speaker}_nohash_0.wav" for word in words for speaker in speakers]
        (folder / f"{name}_list.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("split", "n"), [(None, 4), ("testing", 4), ("validation", 2), ("training", 6), ("all", 12)])
def test_the_splits_of_speech_commands(tmp_path, split, n):
    root = speech_commands(tmp_path / "data", {"yes": 6, "no": 6, "bird": 6})
    data = folder_data(root, meta(("yes", "no")), split)
    assert len(data.clips) == n
    assert data.split == (split or "testing")
    clips = "1 clip" if n == 2 else f"{n // 2} clips"
    assert data.notes == [f"left out {clips} of bird ({n // 2}), which the model does not know"]


@pytest.mark.usefixtures("cache")
def test_unknown_and_silence_of_speech_commands_are_those_of_training_runs(tmp_path):
    root = speech_commands(tmp_path / "data", {"yes": 6, "no": 6, "bird": 6, "cat": 6})
    config = DataConfig("speech_commands", str(root), words=["yes", "no"], unknown=True, silence=True, sample_rate=RATE,
                        clip_samples=CLIP)  # fmt: skip
    expected = load_splits(config).testing
    data = folder_data(root, meta(("yes", "no", "_unknown_", "_silence_")))
    assert data.clips.names == expected.names
    assert torch.equal(data.clips.waveforms, expected.waveforms)
    assert set(words_of(data)) == {"yes", "no", "_unknown_", "_silence_"}
    # A word that is lacking is said, not an error; all other clips are then unknown.
    lacking = folder_data(root, meta(("yes", "up", "_unknown_")))
    assert words_of(lacking) == {"_unknown_": 6, "yes": 2}
    assert lacking.notes[-1] == "the data have no clips of the model's up"


@pytest.mark.usefixtures("cache")
def test_no_clip_of_the_model_is_an_error_that_lists_both(tmp_path):
    root = write_clips(tmp_path / "data", {"bird": 1})
    with pytest.raises(
        ValueError, match=r"no clips to evaluate on \(all\): expected words of the model, yes, no; found bird"
    ):
        folder_data(root, meta(("yes", "no")))
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        folder_data(tmp_path / "nowhere", meta(("yes",)))


@pytest.mark.usefixtures("cache")
def test_a_run_folder_knows_its_data(tmp_path):
    root = write_clips(tmp_path / "data", {"yes": 40, "no": 40})
    data = DataConfig("folder", str(root), words=["yes", "no"], sample_rate=RATE, clip_samples=CLIP)
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    save_toml(Config(run_dir=str(run), data=data), run / "config.toml")
    found = meta(("yes", "no"))
    expected = load_splits(data)
    for checkpoint in (run / "model", run / "checkpoints" / "step-00000001"):
        save_model(checkpoint, make_model("mel", 2), found)
    for checkpoint in (run, run / "model", run / "checkpoints" / "step-00000001"):
        assert run_data(checkpoint, found).clips.names == expected.testing.names
    assert run_data(run, found, "validation").clips.names == expected.validation.names
    assert len(run_data(run, found, "all").clips) == 80
    with pytest.raises(ValueError, match=r"config\.toml: expected the words of the model, up, down; got yes, no"):
        run_data(run, meta(("up", "down")))


def test_a_model_without_its_run_needs_data(tmp_path):
    save_model(tmp_path / "mine", make_model("mel", 2), meta(("yes", "no")))
    with pytest.raises(
        ValueError, match="mine: the data it was trained on are not recorded here; name a folder with --data"
    ):
        run_data(tmp_path / "mine", meta(("yes", "no")))


@pytest.mark.usefixtures("cache")
def test_unreadable_clips_stop_it_or_are_named(tmp_path, capsys):
    root = write_clips(tmp_path / "data", {"yes": 2})
    (root / "yes" / "bad.wav").write_text("not audio")
    with pytest.raises(ValueError, match=r"bad\.wav: .*on_corrupt"):
        folder_data(root, meta(("yes", "no")))
    assert len(folder_data(root, meta(("yes", "no")), on_corrupt="skip").clips) == 2
    assert "bad.wav" in capsys.readouterr().err


@pytest.mark.usefixtures("cache")
def test_clips_that_the_model_was_trained_on_are_counted(tmp_path):
    root = write_clips(tmp_path / "data", {"yes": 40, "no": 40})
    data = DataConfig("folder", str(root), sample_rate=RATE, clip_samples=CLIP)
    run = tmp_path / "run"
    run.mkdir()
    save_toml(Config(run_dir=str(run), data=data), run / "config.toml")
    found = meta(("no", "yes"))
    save_model(run / "model", make_model("mel", 2), found)
    splits = load_splits(data)
    expected = f"the model was trained on {len(splits.training):,} of these 80 clips ({splits.training.names[0]}, "
    copy = tmp_path / "copy"
    for path in root.glob("*/*.wav"):  # under other names, and of other times
        (copy / path.parent.name).mkdir(parents=True, exist_ok=True)
        (copy / path.parent.name / f"new-{path.name}").write_bytes(path.read_bytes())
    [note] = overlap_notes(folder_data(root, found), run)
    assert note.startswith(expected)
    [note] = overlap_notes(folder_data(copy, found), run / "model")
    assert note.startswith(expected.split("(")[0])
    assert [note for note in run_data(run, found, "all").notes if note.startswith(expected)]
    assert overlap_notes(folder_data(write_clips(tmp_path / "more", {"yes": 1}, 0.5), found), run) == []
    (root / "bird").mkdir()  # the run's words are those that there were
    (root / "bird" / "0.wav").write_bytes(next(root.glob("yes/*.wav")).read_bytes())
    assert run_data(run, found).clips.names == splits.testing.names
    for path in root.rglob("*.wav"):
        path.unlink()
    assert overlap_notes(folder_data(copy, found), run) == []
