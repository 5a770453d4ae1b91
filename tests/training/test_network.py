import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from sweeps import sweep
from tiny import SAMPLE_RATE, SAMPLES, WORDS, tiny_config

from wavedil.config import TrainConfig
from wavedil.data.augment import Augment
from wavedil.layers.interleave import run_each, run_interleaved
from wavedil.models import KeywordModel, build_model
from wavedil.runtime.native import KernelsUnavailableError
from wavedil.training.cuda_graph import choose_cuda_graph
from wavedil.training.distributed import Process
from wavedil.training.network import TrainingNetwork, choose_compile, choose_layout, choose_precision, find_kernels

CONFIG = tiny_config(Path("none"), Path("none"))
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def _model(name: Any) -> KeywordModel:
    torch.manual_seed(0)
    return build_model(replace(CONFIG.model, name=name), len(WORDS), SAMPLE_RATE).eval()


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ["mel", "raw", "broadcast"])
def test_without_masks_it_is_the_model(name: str) -> None:
    model, waveforms = _model(name), torch.randn(4, 1, SAMPLES)
    network = TrainingNetwork(model, replace(CONFIG.augment, time_masks=0, frequency_masks=0))
    assert torch.equal(network(waveforms, _seeded(0)), model.clip_logits(waveforms))


@pytest.mark.parametrize(("name", "masked"), [("mel", True), ("raw", False), ("broadcast", True)])
def test_spectrograms_are_masked_by_the_generator_and_waveforms_never(name: str, masked: bool) -> None:
    model, waveforms = _model(name), torch.randn(4, 1, SAMPLES)
    network = TrainingNetwork(model, replace(CONFIG.augment, time_masks=2, time_mask_frames=10))
    first, again, other = (network(waveforms, _seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) is not masked


def test_the_spectrum_is_computed_in_float32_under_autocast() -> None:
    model, waveforms = _model("mel"), torch.randn(4, 1, SAMPLES)
    seen: list[torch.Tensor] = []
    model.classify = lambda features: seen.append(features) or features  # type: ignore[method-assign]
    network = TrainingNetwork(model, replace(CONFIG.augment, time_masks=0))
    with torch.autocast("cpu", torch.bfloat16):
        network(waveforms, _seeded(0))
    assert seen[0].dtype == torch.float32
    assert torch.equal(seen[0], model.features(waveforms))


@pytest.mark.parametrize(("capability", "expected"), [("avx512_bf16", torch.bfloat16), ("avx2", torch.float32)])
def test_auto_is_bfloat16_where_the_cpu_computes_in_it(monkeypatch, capability, expected) -> None:
    monkeypatch.setattr("wavedil.training.network.cpu_capabilities", lambda: {capability: True})
    assert choose_precision(TrainConfig(), CPU) == expected


def test_precision_and_compilation_follow_the_config() -> None:
    assert choose_precision(TrainConfig(precision="bfloat16"), CPU) == torch.bfloat16
    assert choose_precision(TrainConfig(precision="float32"), CUDA) == torch.float32
    assert not choose_compile(TrainConfig(), CPU)
    assert choose_compile(TrainConfig(compile="on"), CPU)
    assert not choose_compile(TrainConfig(compile="off"), CUDA)


def test_a_cuda_graph_is_for_a_single_process_on_cuda() -> None:
    auto = TrainConfig()
    assert choose_cuda_graph(auto, Process(device=CUDA))
    assert not choose_cuda_graph(TrainConfig(cuda_graph="off"), Process(device=CUDA))
    assert not choose_cuda_graph(auto, Process(device=CPU))
    assert not choose_cuda_graph(auto, Process(0, 2, CUDA, "nccl"))


@pytest.mark.parametrize("name", ["mel", "raw", "broadcast"])
def test_a_batch_is_interleaved_where_it_pays(name: str) -> None:
    model = _model(name)
    assert choose_layout(model, torch.bfloat16, CPU) is run_interleaved
    assert (choose_layout(model, torch.float32, CPU) is run_interleaved) == (name == "broadcast")
    assert choose_layout(model, torch.bfloat16, CPU, compiled=True) is run_each
    assert choose_layout(model, torch.bfloat16, CUDA) is run_each
    assert (choose_layout(model, torch.bfloat16, CUDA, compiled=True) is run_interleaved) == (name == "broadcast")
    assert choose_layout(torch.nn.Identity(), torch.bfloat16, CPU) is run_each  # a network of somebody else


def test_dropout_of_channels_is_left_to_the_batch() -> None:
    torch.manual_seed(0)
    dropping = build_model(replace(CONFIG.model, name="broadcast", dropout=0.1), len(WORDS), SAMPLE_RATE)
    assert choose_layout(dropping, torch.bfloat16, CPU) is run_each
    assert find_kernels(dropping, TrainConfig(), CPU, Path("none")) is None


def test_kernels_are_for_bfloat16_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, instructions = _model("mel"), dict.fromkeys(("avx512_f", "avx512_bw", "avx512_dq", "avx512_vl"), True)
    monkeypatch.setattr("wavedil.runtime.native.cpu_capabilities", lambda: instructions)
    monkeypatch.setattr(sys, "platform", "linux")
    assert find_kernels(model, TrainConfig(), CUDA, tmp_path) is None
    off = TrainConfig(kernels="off"), TrainConfig(precision="float32"), TrainConfig(compile="on")
    assert [find_kernels(model, config, CPU, tmp_path) for config in off] == [None] * 3
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(KernelsUnavailableError, match="no-such-compiler"):
        find_kernels(model, TrainConfig(), CPU, tmp_path)
    instructions.clear()
    assert find_kernels(model, TrainConfig(), CPU, tmp_path) is None


@pytest.mark.parametrize("name", ["mel", "raw", "broadcast"])
def test_interleaved_training_has_the_same_gradients(name: str) -> None:
    model, waveforms = _model(name).double().train(), torch.randn(6, 1, SAMPLES, dtype=torch.float64)
    gradients = []
    for run in (run_each, run_interleaved):
        network = TrainingNetwork(model, replace(CONFIG.augment, time_masks=1, time_mask_frames=3), run=run)
        network(waveforms, _seeded(0)).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
        model.zero_grad()
    for plain, interleaved in zip(*gradients, strict=True):
        torch.testing.assert_close(interleaved, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", sweep(["mel", "broadcast"], "mel".__eq__))
def test_what_cuda_is_given_to_compile_has_the_same_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # all but the code generation
    model, waveforms = _model(name).double().train(), torch.randn(6, 1, SAMPLES, dtype=torch.float64)
    gradients = []
    for compiled, run in ((False, run_each), (True, choose_layout(model, torch.float64, CUDA, compiled=True))):
        network = TrainingNetwork(model, replace(CONFIG.augment, time_masks=1), compiled, run)
        network(waveforms, _seeded(0)).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
        model.zero_grad()
    for plain, interleaved in zip(*gradients, strict=True):
        torch.testing.assert_close(interleaved, plain, rtol=1e-9, atol=1e-11)


def test_frequencies_are_warped_by_the_generator() -> None:
    model, waveforms = _model("mel"), torch.randn(4, 1, SAMPLES)
    network = TrainingNetwork(model, replace(CONFIG.augment, time_masks=0, frequency_masks=0, frequency_warp=0.2))
    first, again, other = (network(waveforms, _seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", ["mel", "raw", "broadcast"])
def test_all_that_augments_is_on_the_device_of_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # this device has none
    every = {"cut_probability": 0.5, "cut_ms": 20.0, "frequency_warp": 0.1, "style_probability": 0.5, "filter_db": 5.0}
    config = replace(CONFIG.augment, noise_probability=0.5, frequency_masks=1, **every)
    device = torch.device("meta")  # what is elsewhere cannot meet it, as on a GPU
    augment = Augment(config, SAMPLE_RATE, torch.zeros(2 * SAMPLES, dtype=torch.int16), len(WORDS))
    waveforms, _ = augment(
        torch.zeros(4, SAMPLES, device=device), torch.zeros(4, dtype=torch.int64, device=device), _seeded(0)
    )
    logits = TrainingNetwork(_model(name).to(device), config)(waveforms, _seeded(0))
    assert logits.device == device
    assert logits.shape == (4, len(WORDS))
