"""The five lines of Python: words out of audio, the same offline and streamed."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples

import wavedil
from wavedil.config import FeatureConfig, ModelConfig
from wavedil.detect import Session, Spotter, load, pick_device
from wavedil.models import build_model
from wavedil.training.checkpoint import ModelMeta, save_model

RATE = CLIP = 16_000
LABELS = ("yes", "no", "stop", "_unknown_", "_silence_")


def make_spotter(labels: tuple[str, ...] = LABELS, clip_samples: int = CLIP) -> Spotter:
    """An untrained model whose scores differ from moment to moment."""
    torch.manual_seed(0)
    config = ModelConfig(channels=8, skip_channels=8, cycles=1, window_ms=200, features=FeatureConfig(hop_length=160))
    model = build_model(config, len(labels), RATE)
    with torch.no_grad():
        for parameter in model.layers["head"].parameters():
            parameter.mul_(10)
    return Spotter(model, ModelMeta(labels, RATE, clip_samples, config))


@pytest.fixture(scope="module")
def spotter() -> Spotter:
    return make_spotter()


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Noise whose loudness changes, so that moments differ."""
    rng = np.random.default_rng(seed)
    knots = 4_000 * np.arange(samples // 4_000 + 2)
    loudness = np.interp(np.arange(samples), knots, rng.random(len(knots)))
    return (0.3 * loudness * rng.standard_normal(samples)).clip(-1, 1).astype(np.float32)


@torch.no_grad()
def frame_scores(spotter: Spotter, samples: np.ndarray) -> np.ndarray:
    """Probabilities ``(frames, n_labels)`` of the whole audio at once."""
    return spotter.model(torch.from_numpy(samples)[None, None])[0].softmax(0).T.numpy()


@torch.no_grad()
def clip_scores(spotter: Spotter, samples: np.ndarray) -> dict[str, float]:
    padded = np.pad(samples, (0, max(0, CLIP - len(samples))))
    scores = spotter.model.clip_logits(torch.from_numpy(padded)[None, None])[0].softmax(0)
    return dict(zip(LABELS, scores.tolist(), strict=True))


@pytest.mark.parametrize("samples", [1, 100, 9_000, CLIP])
def test_audio_up_to_a_clip_is_judged_whole(spotter, samples):
    words = spotter.predict((noise(samples), RATE), top=5)
    expected = clip_scores(spotter, noise(samples))
    assert dict(words) == pytest.approx(expected, abs=1e-5)
    assert [word for word, _ in words] == sorted(expected, key=lambda word: -expected[word])
    assert sum(score for _, score in words) == pytest.approx(1, abs=1e-5)


@settings(max_examples=examples(15))
@given(samples=st.integers(CLIP + 1, 60_000), seed=st.integers(0, 100))
def test_long_audio_is_judged_at_the_best_moment_of_a_word(spotter, samples, seed):
    audio = noise(samples, seed)
    prediction = spotter.locate((audio, RATE))
    told = frame_scores(spotter, audio)[:, :3].max(axis=1)  # of yes, no and stop
    whole = CLIP // spotter.model.hop - 1
    assert max(dict(prediction.words)[word] for word in LABELS[:3]) == pytest.approx(told[whole:].max(), abs=1e-5)
    frame = round(prediction.end * RATE / spotter.model.hop) - 1
    assert frame >= whole
    assert told[frame] == pytest.approx(told[whole:].max(), abs=1e-5)
    assert prediction.end - prediction.start == pytest.approx(1)
    assert prediction.longer_than_a_clip


def test_blocks_of_long_audio_do_not_matter(spotter, monkeypatch):
    audio = (noise(5 * RATE), RATE)
    whole = spotter.locate(audio)
    monkeypatch.setattr("wavedil.detect._BLOCK_SAMPLES", 4_321)
    in_blocks = spotter.locate(audio)
    assert (in_blocks.start, in_blocks.end) == (whole.start, whole.end)
    assert dict(in_blocks.words) == pytest.approx(dict(whole.words), abs=1e-5)


def test_silence_and_unknown_do_not_choose_the_moment():
    spotter = make_spotter()
    head = spotter.model.layers["head"]
    with torch.no_grad():
        list(head.parameters())[-1][3:] += 20  # unknown and silence win everywhere
    audio = noise(3 * RATE, seed=3)
    prediction = spotter.locate((audio, RATE))
    assert prediction.words[0][0] in LABELS[3:]
    told = frame_scores(spotter, audio)[99:, :3].max(axis=1)
    assert max(dict(prediction.words)[word] for word in LABELS[:3]) == pytest.approx(told.max(), rel=1e-3)


def test_a_clip_that_is_no_whole_number_of_frames():
    spotter = make_spotter(clip_samples=15_950)
    for samples in (10, 15_950, 15_951, 17_000):
        assert len(spotter.predict((noise(samples), RATE), top=99)) == len(LABELS)


@given(cuts=st.lists(st.integers(1, 4_000), max_size=12), seed=st.integers(0, 100))
@settings(max_examples=examples(15))
def test_a_session_gives_the_scores_of_the_whole(spotter, cuts, seed):
    audio = noise(12_000, seed)
    session = spotter.stream()
    parts = [part for part in np.split(audio, np.minimum(np.cumsum(cuts), len(audio))) if len(part)]
    scores = np.concatenate([session.push(part) for part in parts] + [session.flush()])
    assert scores.shape == (75, len(session.labels))
    np.testing.assert_allclose(scores, frame_scores(spotter, audio), atol=1e-5)


def test_a_reset_session_has_heard_nothing(spotter):
    session = spotter.stream()
    first = session.push(noise(2_000))
    session.push(noise(777, seed=1))
    session.reset()
    np.testing.assert_array_equal(session.push(noise(2_000)), first)


def test_sessions_are_apart(spotter):
    one, other = spotter.stream(), spotter.stream()
    other.push(noise(5_000, seed=1))
    np.testing.assert_array_equal(one.push(noise(2_000)), spotter.stream().push(noise(2_000)))


def test_short_chunks_give_frames_when_they_complete(spotter):
    session = spotter.stream()
    counts = [len(session.push(np.zeros(50, dtype=np.int16))) for _ in range(16)]
    assert sum(counts) == 5
    assert max(counts) == 1


def test_path_array_and_tensor_agree(spotter, tmp_path):
    pcm = (noise(CLIP) * 32_767).astype(np.int16)
    path = tmp_path / "a.wav"
    soundfile.write(path, pcm, RATE)
    expected = spotter.predict(path)
    assert len(expected) == 3
    for audio in (str(path), (pcm, RATE), (torch.from_numpy(pcm), RATE), (np.stack([pcm, pcm]), RATE)):
        assert spotter.predict(audio) == expected


def test_other_rates_are_resampled(spotter):
    steps = np.arange(48_000) / 48_000
    tone = 0.5 * np.sin(2 * np.pi * 600 * steps).astype(np.float32)
    at_48, at_16 = (dict(spotter.predict((x, rate), top=5)) for x, rate in ((tone, 48_000), (tone[::3], RATE)))
    assert at_48 == pytest.approx(at_16, abs=0.02)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ((np.zeros(0), RATE), "there are no samples"),
        ((np.full(100, np.nan), RATE), "sample 0 is nan"),
        ((np.zeros((2, 2, 2)), RATE), r"expected shape \(time,\) or \(channels, time\)"),
        (np.zeros(100), "without its sample rate"),
    ],
)
def test_what_is_no_audio_is_refused(spotter, audio, message):
    with pytest.raises(ValueError, match=message):
        spotter.predict(audio)


def test_what_is_no_chunk_is_refused(spotter):
    session = spotter.stream()
    for chunk, message in (
        (np.zeros(0), "the chunk: there are no samples"),
        (np.array([np.inf]), "the chunk: sample 0 is inf"),
        (np.zeros((2, 5)), "the chunk: expected one channel, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            session.push(chunk)
    np.testing.assert_array_equal(session.push(noise(2_000)), spotter.stream().push(noise(2_000)))


def test_top_is_checked_and_may_be_more_than_there_are(spotter):
    with pytest.raises(ValueError, match=r"top: expected an integer from 1 to .*, got 0"):
        spotter.predict((noise(10), RATE), top=0)
    assert len(spotter.predict((noise(10), RATE), top=100)) == len(LABELS)


def test_load_takes_a_model_or_its_run_folder(spotter, tmp_path):
    (tmp_path / "run").mkdir()
    save_model(tmp_path / "run" / "model", spotter.model, spotter.meta)
    audio = (noise(CLIP), RATE)
    for path in (tmp_path / "run", tmp_path / "run" / "model", str(tmp_path / "run")):
        loaded = wavedil.load(path)
        assert loaded.labels == LABELS
        assert loaded.sample_rate == RATE
        assert not loaded.model.training
        assert loaded.predict(audio) == spotter.predict(audio)


def test_load_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere: expected a model .* no such folder"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("top", [2.0, "3", None, True])
def test_top_of_another_type_is_one_line(spotter, top):
    with pytest.raises(TypeError, match="top: expected an integer"):
        spotter.predict((noise(10), RATE), top=top)


def test_every_type_of_samples_gives_the_same_words(spotter):
    pcm = (noise(CLIP) * 32_767).astype(np.int16)
    floats = pcm / 2.0**15
    expected = dict(spotter.predict((pcm, RATE), top=9))
    others = [floats, floats.astype(np.float32), floats.tolist(), pcm.astype(np.int32) << 16, torch.from_numpy(floats)]
    for samples in others:
        assert dict(spotter.predict((samples, RATE), top=9)) == pytest.approx(expected, abs=1e-6)
    halves = [torch.from_numpy(floats).bfloat16(), torch.from_numpy(floats).half()]
    for samples in halves:
        expected = dict(spotter.predict((samples.double(), RATE), top=9))
        assert dict(spotter.predict((samples, RATE), top=9)) == pytest.approx(expected, abs=1e-6)
    for samples in [*others, *halves]:
        assert spotter.stream().push(samples[:2_000]).shape == (12, len(LABELS))


def test_a_model_in_double_precision_hears_the_same(spotter):
    audio = (noise(CLIP), RATE)
    expected = dict(spotter.predict(audio, top=9))
    other = Spotter(copy.deepcopy(spotter.model).double(), spotter.meta)
    assert dict(other.predict(audio, top=9)) == pytest.approx(expected, abs=1e-5)


def test_scores_that_are_no_numbers_are_refused():
    spotter = make_spotter()
    with torch.no_grad():
        for parameter in spotter.model.layers["head"].parameters():
            parameter.fill_(3e38)
    with pytest.raises(ValueError, match="the model's scores are not finite"):
        spotter.predict((noise(CLIP), RATE))


def test_a_spotter_and_a_session_print_in_a_line(spotter):
    assert repr(spotter).startswith(f"Spotter({len(LABELS)} labels: {LABELS[0]}, ")
    assert repr(spotter.stream()) == f"Session of {spotter!r}"
    assert len(repr(spotter)) < 200
    assert "\n" not in repr(spotter)


def test_what_is_no_model_is_one_line(spotter, checkpoint):
    wrong: Any
    for wrong in (None, 3, b"model", ["model"]):
        with pytest.raises(TypeError, match="checkpoint: expected the path of a folder, got "):
            load(wrong)
    for wrong in (None, 0, ["cpu"]):
        with pytest.raises(TypeError, match="device: expected a name such as cpu or cuda, got "):
            load(checkpoint, wrong)
    wrong = torch.nn.Linear(1, 1)
    with pytest.raises(TypeError, match="expected a KeywordModel and its ModelMeta, got a Linear and a ModelMeta"):
        Spotter(wrong, spotter.meta)
    with pytest.raises(TypeError, match="expected a Spotter, got a Linear"):
        Session(wrong)
    for other, message in (
        ({"labels": ("yes",)}, "got 1 at 16000 Hz"),
        ({"sample_rate": 8_000}, "at 8000 Hz"),
        ({"clip_samples": 5}, "got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            Spotter(spotter.model, dataclasses.replace(spotter.meta, **other))


@pytest.mark.parametrize(
    "chunk", [None, "abc", 0.5, [], [[[0.0]]], [1, 2], [0.1, None], np.array([1j]), np.array([True]), torch.zeros(0)]
)
def test_chunks_of_any_content_are_refused_in_a_line(spotter, chunk):
    session = spotter.stream()
    with pytest.raises(ValueError, match="the chunk: ") as caught:
        session.push(chunk)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(session.push(noise(2_000)), spotter.stream().push(noise(2_000)))


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match='device "abacus" cannot be used here: '):
        pick_device("abacus")
    assert pick_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ValueError, match='device "meta" cannot be used here: it computes shapes only'):
        pick_device("meta")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match='device "cuda" cannot be used here: '):
            pick_device("cuda")
