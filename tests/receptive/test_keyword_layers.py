"""The description of the keyword models is that of the modules that are built."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples
from torch.utils.flop_counter import FlopCounterMode

from wavedil.config import Config, DataConfig, FeatureConfig, ModelConfig
from wavedil.data.labels import LabelSet
from wavedil.models import build_model
from wavedil.receptive.chain import answer_for
from wavedil.receptive.keyword import class_count, config_layers, keyword_layers

features = st.builds(
    lambda hop, more, mels: FeatureConfig(n_fft=64, win_length=min(hop + more, 64), hop_length=hop, n_mels=mels),
    st.integers(1, 40),
    st.integers(0, 30),
    st.integers(1, 4),
)


@st.composite
def model_configs(draw) -> ModelConfig:
    stages = draw(st.integers(1, 3))
    return ModelConfig(
        name=draw(st.sampled_from(["mel", "raw"])),
        channels=draw(st.integers(1, 5)),
        skip_channels=draw(st.integers(1, 5)),
        entry_channels=draw(st.lists(st.integers(1, 3), max_size=2)),
        kernel_size=draw(st.integers(1, 4)),
        cycles=draw(st.integers(1, 2)),
        depth=draw(st.integers(1, 3)),
        dilations=draw(st.lists(st.integers(1, 9), max_size=3)),
        norm=draw(st.sampled_from(["batch", "rms", "layer", "none"])),
        window_ms=draw(st.floats(0.1, 50)),
        stem=draw(st.sampled_from(["strided", "filters"])),
        stem_channels=draw(st.lists(st.integers(1, 4), min_size=stages, max_size=stages)),
        stem_strides=draw(st.lists(st.integers(1, 4), min_size=stages, max_size=stages)),
        features=draw(features),
    )


@st.composite
def broadcast_configs(draw) -> ModelConfig:
    bands = draw(st.integers(1, 3))
    strides = draw(st.lists(st.sampled_from([1, 1, 2]), min_size=1, max_size=3))
    stages = len(strides)

    def each(most: int) -> list[int]:
        return draw(st.lists(st.integers(1, most), min_size=stages, max_size=stages))

    # Bins and channels such that the bands divide what each stage is left with, and a stride comes with other channels.
    mels = 2 * bands * math.prod(strides)
    channels = [2 * i + draw(st.integers(1, 2)) for i in range(stages)]
    return ModelConfig(
        name="broadcast",
        width=draw(st.sampled_from([1.0, 1.0, 2.0])),
        channels=2 * stages + 1,
        skip_channels=draw(st.integers(1, 5)),
        window_ms=draw(st.floats(0.1, 50)),
        stage_channels=channels,
        stage_blocks=each(2),
        stage_dilations=each(4),
        stage_strides=strides,
        bands=bands,
        features=FeatureConfig(n_fft=256, win_length=32, hop_length=draw(st.integers(1, 32)), n_mels=mels),
    )


@settings(max_examples=examples(60))
@given(model_configs() | broadcast_configs(), st.integers(1, 4), st.sampled_from([8_000, 16_000]))
def test_any_config_is_described_as_it_is_built(config, n_classes, sample_rate):
    model = build_model(config, n_classes, sample_rate).eval()
    answer = answer_for(keyword_layers(config, n_classes, sample_rate))
    state = model.initial_state(1)
    assert answer.axes.time.field == model.field
    assert answer.parameters == sum(p.numel() for p in model.parameters())
    assert answer.state_values == sum(t.numel() for t in state)
    frames = 3
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.step(torch.zeros(1, 1, frames * model.hop), state)
    assert answer.macs_per_sample is not None
    counted = counter.get_total_flops() / 2 / (frames * model.hop)
    assert math.isclose(answer.macs_per_sample, counted, rel_tol=1e-12)


@pytest.mark.parametrize("name", ["mel", "raw", "broadcast"])
def test_the_default_models(name):
    config = Config(model=ModelConfig(name=name))
    model = build_model(config.model, 35)
    answer = answer_for(config_layers(config))
    assert answer.axes.time.field == model.field
    assert answer.parameters == sum(p.numel() for p in model.parameters())
    assert answer.axes.time.dense


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("silence", [False, True])
@pytest.mark.parametrize("words", ["35", "12", ["yes", "no", "stop"]])
def test_classes_are_those_of_the_labels(words, unknown, silence):
    config = DataConfig(words=words, unknown=unknown, silence=silence)
    assert class_count(config) == len(LabelSet.from_config(config))


def test_sizes_that_do_not_fit_are_refused_as_by_the_model():
    for config, line in (
        (ModelConfig(features=FeatureConfig(hop_length=500)), "expected hop_length <= win_length <= n_fft"),
        (ModelConfig(name="raw", stem_strides=[4]), "expected as many stem_channels as stem_strides"),
    ):
        for build in (build_model, keyword_layers):
            with pytest.raises(ValueError, match=line):
                build(config, 3, 16_000)
