"""A corpus, a model and a run so small that an epoch takes a fraction of a second, and ways to end it early."""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from wavedil.config import Config
from wavedil.training.config import from_dict, to_toml
from wavedil.training.step import TrainingStep

SAMPLE_RATE, SAMPLES = 8000, 800
PER_SPLIT = {"training": 14, "validation": 4, "testing": 4}
WORDS = ("bed", "cat", "dog")


def write_corpus(root: Path) -> Path:
    """Noisy tones, a pitch a word, as ``<word>/<file>.wav`` with the lists of the splits."""
    generator = np.random.default_rng(0)
    time = np.arange(SAMPLES) / SAMPLE_RATE
    lists: dict[str, list[str]] = {split: [] for split in PER_SPLIT}
    for index, word in enumerate(WORDS):
        (root / word).mkdir()
        for split, count in PER_SPLIT.items():
            for number in range(count):
                name = f"{word}/{split}{number}.wav"
                samples = 0.3 * np.sin(2 * np.pi * 400 * (index + 1) * time) + 0.1 * generator.standard_normal(SAMPLES)
                soundfile.write(root / name, samples.clip(-1, 1), SAMPLE_RATE, subtype="PCM_16")
                lists[split].append(name)
    for split in ("validation", "testing"):
        (root / f"{split}_list.txt").write_text("\n".join(lists[split]) + "\n")
    return root


def tiny_config(corpus: Path, run_dir: Path, **sections: Any) -> Config:
    """Three epochs of five steps; ``sections`` override keys: ``tiny_config(..., train={"epochs": 1}, seed=1)``."""
    content: dict[str, Any] = {
        "run_dir": str(run_dir),
        "data": {
            "source": "folder",
            "root": str(corpus),
            "words": list(WORDS),
            "sample_rate": SAMPLE_RATE,
            "clip_samples": SAMPLES,
            "cache_dir": str(corpus.parent / "cache"),
        },
        "augment": {"shift_ms": 10.0, "speed": 0.1, "noise_probability": 0.0, "mixup": 0.2, "time_masks": 1},
        "model": {
            "channels": 4,
            "skip_channels": 4,
            "cycles": 1,
            "depth": 2,
            "window_ms": 50.0,
            "stage_channels": [4, 6],
            "stage_blocks": [1, 1],
            "stage_dilations": [1, 2],
            "stage_strides": [1, 1],
            "bands": 3,
            "stem_channels": [4, 4],
            "stem_strides": [4, 4],
            "features": {"n_fft": 64, "win_length": 64, "hop_length": 40, "n_mels": 6},
        },
        "train": {"epochs": 3, "batch_size": 8, "log_every": 2, "device": "cpu", "threads": 1, "lr": 0.01},
    }
    for section, values in sections.items():
        content[section] = content.get(section, {}) | values if isinstance(values, dict) else values
    return from_dict(content)


def final_state(run_dir: Path) -> dict[str, Any]:
    """All that two runs of the same config must share, bit for bit: the last checkpoint without its times."""
    newest = max((run_dir / "checkpoints").glob("step-*[0-9]"))
    state = torch.load(newest / "training.pt", weights_only=True)
    state.pop("seconds")
    for row in [*state["history"], state["best"]["row"]]:
        row.pop("seconds")
        row.pop("examples_per_second")
    weights = (run_dir / "model" / "model.safetensors").read_bytes()
    return {"checkpoint": newest.name, "file": weights, "epochs": len(read_rows(run_dir))} | state


def read_rows(run_dir: Path) -> list[dict[str, str]]:
    header, *lines = (run_dir / "metrics.csv").read_text().splitlines()
    return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]


def assert_same(left: Any, right: Any, path: str = "state") -> None:
    """Equality to the bit through nested dictionaries, lists and tensors."""
    assert type(left) is type(right), path
    if isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for key in left:
            assert_same(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, list):
        assert len(left) == len(right), path
        for index, pair in enumerate(zip(left, right, strict=True)):
            assert_same(*pair, f"{path}[{index}]")
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right), path
    else:
        assert left == right, path


def before_call(owner: Any, name: str, count: int, action: Callable[[], None]) -> None:
    """Have ``action`` run before the ``count``-th call of a function."""
    function, calls = getattr(owner, name), [0]

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == count:
            action()
        return function(*args, **kwargs)

    setattr(owner, name, counted)


def with_file_limit(limit: int, action: Callable[[], object]) -> None:
    """Run ``action`` while the system refuses to write files of more than ``limit`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        action()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def kill_before(event: str, count: int) -> None:
    """Have this process killed for real before the ``count``-th step or call of that name in :mod:`os`."""
    owner, name = (TrainingStep, "__call__") if event == "step" else (os, event)
    before_call(owner, name, count, lambda: os.kill(os.getpid(), signal.SIGKILL))


def train_in_child(config: Config, log: Path, event: str | None = None, count: int = 0) -> None:
    """The body of a child process: train, or be killed while at it; what it prints goes to ``log``."""
    from wavedil.training.loop import train

    with log.open("a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    if event is not None:
        kill_before(event, count)
    train(config, resume=True)


def command(config: Config, *options: str) -> int:
    """Train by the command line in this process; returns its status."""
    from wavedil.cli import main

    file = Path(config.run_dir).with_suffix(".toml")
    file.write_text(to_toml(config))
    return main(["train", "--config", str(file), *options])


@contextmanager
def permissions_hold() -> Iterator[None]:
    """Let file permissions bind this thread even if it is root's, on Linux: without the capability to override them."""
    if sys.platform != "linux" or os.geteuid():
        yield
        return
    libc, override = ctypes.CDLL(None, use_errno=True), 0b10  # CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # the version of the structure that has two words a set
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, and the same for capabilities above 31
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] = effective & ~override
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0
