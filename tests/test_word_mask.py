"""The word-mask example: its scenes, scores and networks, on tones in the place of words."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from wavedil import Stream
from wavedil.layers import Chain

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
NAMES = ["context", "undilated", "pooled", "aspp", "causal-context"]
TONE = 1000.0


@pytest.fixture(scope="module", autouse=True)
def examples():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield
    for name in ("word_mask", "word_mask_picture", "word_scenes"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def word_scenes(examples):
    return importlib.import_module("word_scenes")


@pytest.fixture(scope="module")
def word_mask(examples):
    return importlib.import_module("word_mask")


@pytest.fixture(scope="module")
def scenes(word_scenes):
    """Two words: 300 ms of a tone of 1 kHz, at different levels, in clips of a second."""
    time = torch.arange(16_000) / 16_000
    tone = torch.sin(2 * torch.pi * TONE * time) * ((time > 0.3) & (time < 0.6))
    words = (torch.stack([0.3 * tone, 0.1 * tone]) * 32767).to(torch.int16)
    noise = (torch.randn(48_000, generator=torch.Generator().manual_seed(0)) * 300).to(torch.int16)
    return word_scenes.Scenes(words, noise)


def test_the_mask_is_where_speech_is_louder_than_noise_and_not_faint(word_scenes):
    decibels = torch.tensor([[0.0, -10.0, -24.0, -26.0], [-20.0, -3.0, -60.0, -20.0]])
    noise = torch.tensor([[-5.0, -5.0, -40.0, -40.0], [-21.0, -2.0, -90.0, -19.0]])
    to_log = torch.log(torch.tensor(10.0)) / 10
    mask = word_scenes.ideal_mask((decibels * to_log)[None], (noise * to_log)[None])
    assert mask.tolist() == [[[True, False, True, False], [True, False, False, False]]]


def test_the_target_covers_the_word_in_its_band_and_nothing_else(scenes):
    target = scenes.batch(8, 0).target[:, 0]
    bands = target.any(2)
    heard = torch.arange(40)[bands.any(0)]
    # Bands 13 and 14 of 40 lie around 1 kHz.
    assert {13, 14} <= set(heard.tolist())
    # A switched tone spreads a little.
    assert heard.min() >= 9 and heard.max() <= 18  # noqa: PT018
    frames = target[:, 13:15].any(1).sum(1)
    assert ((frames >= 29) & (frames <= 34)).all()


def test_a_key_gives_the_same_scenes_and_another_key_others(scenes):
    first, again, other = scenes.batch(2, 0, 1), scenes.batch(2, 0, 1), scenes.batch(2, 0, 2)
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.features, other.features)
    assert first.features.shape == first.target.shape == (2, 1, 40, 152)


def test_training_and_testing_share_no_noise(word_scenes):
    noise, offsets = torch.arange(30), torch.tensor([0, 10, 30])
    training = word_scenes.noise_of("training", noise, offsets).tolist()
    testing = word_scenes.noise_of("testing", noise, offsets).tolist()
    assert training == [*range(8), *range(10, 26)]
    assert sorted(training + testing) == noise.tolist()


def test_a_chord_sounds_throughout(word_scenes):
    for seed in range(5):
        sound = word_scenes.chord(24_320, np.random.default_rng(seed))
        # From 400 ms at the latest to 1,200 ms at the earliest it sounds, with its RMS of 1 but for the tremolo.
        steady = sound[round(0.42 * 16_000) : round(1.18 * 16_000)]
        assert np.sqrt((steady.reshape(-1, 640) ** 2).mean(1)).min() > 0.6
        assert abs(steady.std() - 1) < 0.1


def test_intersection_over_union_of_known_masks(word_mask):
    target = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    mask = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    assert word_mask.intersection_over_union(mask, target).tolist() == pytest.approx([1 / 3, 1.0, 1.0, 0.0])


def test_the_interval_is_students(word_mask):
    # Mean 2, standard deviation 1, three seeds: 4.303 / sqrt(3) either way.
    assert word_mask.interval([1.0, 2.0, 3.0]) == "2.000 (-0.484 to 4.484)"
    assert word_mask.interval([0.5]) == "0.500"


def test_the_networks_are_of_the_same_size_and_keep_the_shape(word_mask):
    networks = {name: word_mask.network(name).eval() for name in NAMES}
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert {sizes[name] for name in NAMES if name != "aspp"} == {sizes["context"]}
    assert abs(sizes["aspp"] / sizes["context"] - 1) < 0.05
    x = torch.randn(2, 1, 40, 24)
    assert all(network(x).shape == x.shape for network in networks.values())


def test_networks_of_a_seed_begin_with_the_same_outer_layers(word_mask):
    outer = []
    for name in ("context", "undilated", "pooled", "aspp"):
        torch.manual_seed(1)
        network = word_mask.network(name)
        lift, *_, out = network.layers.values() if isinstance(network, Chain) else network
        outer.append((lift.weight, out.weight))
    for lift, out in outer[1:]:
        assert torch.equal(lift, outer[0][0])
        assert torch.equal(out, outer[0][1])


def test_fields_are_what_the_table_says(word_mask):
    fields = {name: word_mask.field_text(word_mask.network(name).eval()) for name in ("undilated", "aspp")}
    assert fields == {"undilated": "170 ms x 17 bins", "aspp": "the whole scene"}
    assert [word_mask.network(name).receptive_field for name in ("context", "causal-context")] == [69, 69]
    assert [word_mask.network(name).lookahead for name in ("context", "causal-context")] == [34, 0]


def test_the_causal_network_streams(word_mask):
    network = word_mask.network("causal-context").eval()
    x = torch.randn(1, 1, 40, 30)
    stream = Stream(network, 1, 1, 40)
    with torch.no_grad():
        streamed = torch.cat([stream.push(part) for part in x.split([1, 7, 2, 20], dim=-1)], dim=-1)
        torch.testing.assert_close(streamed, network(x))


def test_training_is_a_function_of_the_seed_and_learns(word_mask, scenes):
    first, again = (word_mask.train(["undilated"], scenes, 3, seed)["undilated"].network for seed in (0, 0))
    other = word_mask.train(["undilated"], scenes, 3, 1)["undilated"].network
    parameters = [torch.cat([p.flatten() for p in network.parameters()]) for network in (first, again, other)]
    assert torch.equal(parameters[0], parameters[1])
    assert not torch.equal(parameters[0], parameters[2])


@pytest.mark.full
def test_scores_table_and_picture(word_mask, scenes, tmp_path):
    pytest.importorskip("matplotlib")
    learners = word_mask.train(["context", "undilated", "pooled"], scenes, 1, 0)
    batches = [scenes.batch(2, 0, 1)]
    scores = {name: word_mask.Scores() for name in ("undilated", "pooled")}
    for name, score in scores.items():
        score.add(learners[name], batches)
    _, _, *rows = word_mask.table(scores).splitlines()
    assert [row.split()[1] for row in rows] == ["undilated", "pooled"]
    word_mask.draw(tmp_path / "masks.png", learners, batches)
    assert (tmp_path / "masks.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_network_is_refused(word_mask):
    with pytest.raises(ValueError, match=r"network must be one of context, .*, got 'u-net'"):
        word_mask.network("u-net")


def test_words_longer_and_noise_shorter_than_a_scene_are_refused(word_scenes):
    samples = torch.zeros(24_320, dtype=torch.int16)
    assert word_scenes.Scenes(samples[None], samples).batch(1, 0).features.isfinite().all()
    with pytest.raises(ValueError, match="at least 24320 samples, got 24321 and 24320"):
        word_scenes.Scenes(torch.zeros(1, 24_321), samples)
    with pytest.raises(ValueError, match="got 24320 and 24319"):
        word_scenes.Scenes(samples[None], samples[1:])
