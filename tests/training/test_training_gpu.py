"""Training on a GPU, where there is one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import final_state, tiny_config, write_corpus

from wavedil.training.loop import train
from wavedil.training.step import TrainingStep

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA")]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("name", ["mel", "raw", "broadcast"])
def test_no_step_waits_for_the_device(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    step = TrainingStep.__call__

    def watched(self: TrainingStep, *batch: Any) -> None:
        torch.cuda.set_sync_debug_mode("error" if self.state.step else "default")  # the first step may set things up
        try:
            step(self, *batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(TrainingStep, "__call__", watched)
    train(tiny_config(corpus, tmp_path / "run", train={"device": "cuda", "compile": "off"}, model={"name": name}))


def test_a_run_with_all_that_pays_on_the_device_is_resumed_and_reports(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, tmp_path / "run", train={"device": "cuda"})
    train(config)
    before = final_state(tmp_path / "run")
    report = json.loads(train(config, resume=True).read_text())
    assert final_state(tmp_path / "run")["step"] == before["step"]
    assert 0 <= report["test"]["accuracy"] <= 1
