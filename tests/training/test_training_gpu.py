"""Training on a GPU, where there is one."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import before_call, final_state, tiny_config, write_corpus

from wavedil.layers.interleave import run_interleaved
from wavedil.models import build_model
from wavedil.training.cuda_graph import WARM_UP
from wavedil.training.interrupt import TrainingInterruptedError
from wavedil.training.loop import Trainer, train
from wavedil.training.network import TrainingNetwork, choose_layout
from wavedil.training.step import TrainingStep

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning"),  # by torch.compile itself, torch 2.11
]

# All that augments, since each part brings tensors of its own, which must be where the clips are.
AUGMENT = {
    "noise_probability": 0.5,
    "cut_probability": 0.5,
    "cut_ms": 20.0,
    "frequency_warp": 0.1,
    "style_probability": 0.5,
    "filter_db": 5.0,
    "time_masks": 1,
    "frequency_masks": 1,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("cuda_graph", ["off", "auto"])
@pytest.mark.parametrize("name", ["mel", "raw", "broadcast"])
def test_between_the_epochs_nothing_waits_for_the_device(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, cuda_graph: str
) -> None:
    settled = WARM_UP + 2  # what is set up before, and the capture, may wait
    watched: list[int] = []

    def watch(owner: Any, method: str, step_of: Callable[[Any], int]) -> None:
        function = getattr(owner, method)

        def wrapped(self: Any, *arguments: Any) -> None:
            watched.append(step_of(self))
            torch.cuda.set_sync_debug_mode("error" if watched[-1] >= settled else "default")
            try:
                function(self, *arguments)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        monkeypatch.setattr(owner, method, wrapped)

    watch(TrainingStep, "__call__", lambda step: step.state.step)
    watch(Trainer, "_between_steps", lambda trainer: trainer.state.step)
    options = {"device": "cuda", "compile": "off", "cuda_graph": cuda_graph, "log_every": 1}
    train(tiny_config(corpus, tmp_path / "run", train=options, model={"name": name}, augment=AUGMENT))
    assert max(watched) > settled


def test_a_captured_step_trains_as_the_step_itself(corpus: Path, tmp_path: Path) -> None:
    states = []
    for cuda_graph in ("off", "auto"):
        # SGD, since AdamW makes whole steps of gradients that are only rounding; float32 for the same reason.
        options = {"device": "cuda", "compile": "off", "precision": "float32", "optimizer": "sgd"}
        options |= {"cuda_graph": cuda_graph}
        config = tiny_config(corpus, tmp_path / cuda_graph, train=options, augment=AUGMENT)
        train(config)
        states.append(final_state(tmp_path / cuda_graph))
    plain, captured = (state["model"] for state in states)
    for name, tensor in plain.items():
        assert torch.allclose(tensor, captured[name], rtol=1e-3, atol=1e-4), name
    assert states[0]["history"][-1]["lr"] == states[1]["history"][-1]["lr"]


def test_a_captured_adamw_is_resumed(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"device": "cuda", "compile": "off"}
    config = tiny_config(corpus, tmp_path / "run", train=options, augment=AUGMENT)
    monkeypatch.setattr(TrainingStep, "__call__", TrainingStep.__call__)  # put back after the test
    before_call(TrainingStep, "__call__", 8, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(TrainingInterruptedError):
        train(config)
    monkeypatch.undo()
    train(config, resume=True)
    assert all(torch.isfinite(tensor).all() for tensor in final_state(tmp_path / "run")["model"].values())


@pytest.mark.parametrize("name", ["mel", "broadcast"])
def test_a_run_with_all_that_pays_on_the_device_is_resumed_and_reports(corpus: Path, tmp_path: Path, name: str) -> None:
    options = {"device": "cuda"}
    config = tiny_config(corpus, tmp_path / "run", train=options, model={"name": name}, augment=AUGMENT)
    train(config)
    before = final_state(tmp_path / "run")
    report = json.loads(train(config, resume=True).read_text())
    assert final_state(tmp_path / "run")["step"] == before["step"]
    assert 0 <= report["test"]["accuracy"] <= 1


def test_a_compiled_interleaved_batch_has_the_gradients_of_the_batch(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, tmp_path / "run", model={"name": "broadcast"}, augment=AUGMENT)
    model, waveforms = build_model(config.model, 3).cuda().train(), torch.randn(6, 1, 16_000, device="cuda")
    run = choose_layout(model, torch.float32, torch.device("cuda"), compiled=True)
    assert run is run_interleaved
    gradients = []
    for network in (TrainingNetwork(model, config.augment), TrainingNetwork(model, config.augment, True, run)):
        network(waveforms, torch.Generator("cuda").manual_seed(0)).square().mean().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
        model.zero_grad()
    for plain, interleaved in zip(*gradients, strict=True):
        assert plain is not None
        assert (interleaved - plain).norm() <= 1e-2 * plain.norm() + 1e-6  # TF32 may multiply
