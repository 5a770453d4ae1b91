"""Folders of models and runs: every file of them changed by structure and by bytes, then read."""

import contextlib
import copy
import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mutations import changed_bytes, changed_tree
from target import Wrong
from torch import Tensor

from wavedil.config import Config, DataConfig, FeatureConfig, ModelConfig, TrainConfig
from wavedil.detect import Spotter
from wavedil.models import build_model
from wavedil.training.checkpoint import ModelMeta, load_model, model_files
from wavedil.training.checkpoint_store import load_state
from wavedil.training.config import load_config, to_toml
from wavedil.training.distributed import Process
from wavedil.training.figures import run_accuracy
from wavedil.training.history import EpochRow
from wavedil.training.report import read_columns
from wavedil.training.run_folder import RunFolder, in_its_folder
from wavedil.training.run_lock import RunLock
from wavedil.training.state import TrainingState

ALLOWED = (ValueError, OSError)

_RATE, _CLIP = 8000, 800
_SMALL = ModelConfig(
    channels=4,
    skip_channels=4,
    cycles=1,
    depth=2,
    window_ms=50.0,
    stage_channels=[4, 6],
    stage_blocks=[1, 1],
    stage_dilations=[1, 2],
    stage_strides=[1, 1],
    bands=3,
    stem_channels=[4, 4],
    stem_strides=[4, 4],
    features=FeatureConfig(64, 64, 40, 6),
)
_MODELS = [
    _SMALL,
    replace(_SMALL, entry_channels=[3], norm="rms", boundary="silence"),
    replace(_SMALL, name="raw"),
    replace(_SMALL, name="raw", stem="filters", gate="glu"),
    replace(_SMALL, name="broadcast"),
]
_TRAINING = TrainConfig(device="cpu")
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}

_folder: Path
_files: list[dict[str, bytes]] = []
_state: dict[str, Any] = {}


def prepare(folder: Path) -> None:
    """Untrained models of each kind, and the state of a run."""
    global _folder
    torch.set_num_threads(1)
    torch.manual_seed(0)
    _folder = folder
    for config in _MODELS:
        meta = ModelMeta(("yes", "no"), _RATE, _CLIP, config, metrics={"epoch": 1, "val_loss": 0.5})
        _files.append(model_files(build_model(config, 2, _RATE).state_dict(), meta))
    run = _new_state()
    run.model(torch.randn(2, 1, _CLIP)).square().mean().backward()
    run.optimizer.step()
    run.step = 1
    run.finish_epoch(EpochRow(1, 1, 0.01, 1.0, 0.5, 1.0, 0.5, 100.0, 2.0))
    _state.update(copy.deepcopy(run.state_dict(Process())) | {"data_sha256": "00", "teacher_sha256": None})


def attempt(rng: random.Random) -> str:
    """Change one file of a folder and read it."""
    shutil.rmtree(_folder / "run", ignore_errors=True)
    (_folder / "run").mkdir()
    kinds: list[tuple[Callable[[random.Random], str], int]] = [
        (_description, 8),
        (_weights, 6),
        (_restored, 5),
        (_run_config, 3),
        (_lock, 1),
        (_figures, 2),
        (_metrics, 1),
    ]
    kind = rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
    return f"{kind.__name__.lstrip('_')} {kind(rng)}"


def _description(rng: random.Random) -> str:
    files = rng.choice(_files)
    return _load(rng, files | {"config.json": _changed_json(rng, files["config.json"])})


def _weights(rng: random.Random) -> str:
    files = rng.choice(_files)
    content = files["model.safetensors"]
    start = 8 + int.from_bytes(content[:8], "little")
    header, values = content[8:start], content[start:]
    choice = rng.randrange(4)
    if choice == 0:
        content = changed_bytes(rng, content)
    elif choice == 1:
        header = _changed_json(rng, header)
        content = len(header).to_bytes(8, "little") + header + values
    elif choice == 2:
        content = content[:start] + changed_bytes(rng, values)
    else:  # a value that is no weight, or may be one
        place = 4 * rng.randrange(len(values) // 4)
        value = rng.choice([np.nan, np.inf, -np.inf, -1.0, 3e38, -3e38, 1e-40])
        content = content[: start + place] + np.float32(value).tobytes() + content[start + place + 4 :]
    return _load(rng, files | {"model.safetensors": content})


def _load(rng: random.Random, files: dict[str, bytes]) -> str:
    folder = _folder / "run" / rng.choice(["model", "."])
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    model, meta = load_model(_folder / "run")
    weights = model.state_dict()
    if len(meta.labels) != model.n_classes or meta.sample_rate != model.sample_rate:
        raise Wrong("the labels or the rate are not the model's")
    _require_finite(weights)
    _compare(weights, files["model.safetensors"])
    if meta.clip_samples <= 4 * _CLIP and meta.sample_rate <= 2 * _RATE:
        words = Spotter(model, meta).predict((np.zeros(10, dtype=np.float32), meta.sample_rate), top=len(meta.labels))
        if abs(sum(score for _, score in words) - 1) > 1e-3:
            raise Wrong(f"the scores are {words}")
    return "taken"


def _compare(weights: dict[str, Tensor], content: bytes) -> None:
    """Hold what was loaded against the bytes of the file, read in another way."""
    start = 8 + int.from_bytes(content[:8], "little")
    for name, entry in json.loads(content[8:start]).items():
        if name in weights and entry["dtype"] in _DTYPES:
            first, last = entry["data_offsets"]
            expected = np.frombuffer(content[start + first : start + last], _DTYPES[entry["dtype"]])
            if not np.array_equal(expected.reshape(entry["shape"]).astype(weights[name].numpy().dtype), weights[name]):
                raise Wrong(f"{name} is not what the file says")


def _restored(rng: random.Random) -> str:
    choice = rng.randrange(3)
    state = copy.deepcopy(_state)
    if choice == 0:
        state = changed_tree(rng, state)
    content = _saved(state)
    if choice == 1:
        content = changed_bytes(rng, content)
    elif choice == 2:
        content = _changed_archive(rng, content)
    state, run = load_state(content), _new_state()
    run.load_state_dict(state, Process())
    for name, loaded in (("model", run.model), ("ema", run.ema.model)):
        weights = loaded.state_dict()
        _require_finite(weights)
        if any(not torch.equal(weights[key], state[name][key]) for key in weights):
            raise Wrong(f"{name} is not what the file says")
    return "taken"


def _saved(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _changed_archive(rng: random.Random, content: bytes) -> bytes:
    """Another file in the archive, with a checksum that fits."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        names = old.namelist()
        chosen = names[0] if rng.random() < 0.7 else rng.choice(names)
        for name in names:
            data = old.read(name)
            new.writestr(name, changed_bytes(rng, data) if name == chosen else data)
    return buffer.getvalue()


def _run_config(rng: random.Random) -> str:
    run = RunFolder(_folder / "run")
    data = DataConfig(source="folder", root="words", words=["yes", "no"], sample_rate=_RATE, clip_samples=_CLIP)
    config = Config(run_dir=str(run.path), data=data, model=rng.choice(_MODELS))
    text = to_toml(config).encode()
    run.config.write_bytes(changed_bytes(rng, text) if rng.random() < 0.9 else text)
    if rng.random() < 0.5:
        run.metrics.touch()  # a run that has begun
    found = in_its_folder(load_config(run.config), run.config)
    if not run.is_begun:
        return "a config outside of a run"
    with contextlib.redirect_stderr(io.StringIO()), RunFolder(found.run_dir).begun(found, resume=rng.random() < 0.7):
        pass
    if Path(found.run_dir) != run.path:
        raise Wrong(f"begun in {found.run_dir}")
    return "taken"


def _lock(rng: random.Random) -> str:
    path = _folder / "run" / "lock"
    signature = json.dumps({"pid": 5, "host": "here", "launch": rng.choice([None, "there"])}).encode()
    path.write_bytes(rng.choice([changed_bytes, _changed_json])(rng, signature))
    with RunLock(path) as lock:
        lock.sign("again")
    return "taken" if lock.former else "unsigned"


def _figures(rng: random.Random) -> str:
    report = {"test": {"n": 4, "correct": 3, "accuracy": 0.75}, "validation": {"n": 5, "correct": 1}, "epoch": 3}
    together = {
        "test": {"accuracy": {"0": 0.5}, "mean": 0.5, "std": None, "n": 4},
        "together": {"accuracy": {"0": 0.5}, "mean": 0.5, "n": 9},
    }
    name, content = rng.choice([("report.json", report), ("seeds.json", together)])
    (_folder / "run" / name).write_bytes(_changed_json(rng, json.dumps(content).encode()))
    accuracy = run_accuracy(_folder / "run")
    if accuracy is None or not 0 <= accuracy.interval[0] <= accuracy.mean <= accuracy.interval[1] <= 1:
        raise Wrong(f"an accuracy of {accuracy}")
    return "taken"


def _metrics(rng: random.Random) -> str:
    rows = b"epoch,step,val_loss,val_accuracy\n1,5,0.5,0.25\n2,10,0.4,0.5\n"
    (_folder / "run" / "metrics.csv").write_bytes(changed_bytes(rng, rows))
    columns = read_columns(_folder / "run" / "metrics.csv")
    if len({len(values) for values in columns.values()}) > 1:
        raise Wrong("columns of different lengths")
    return "taken"


def _changed_json(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.4:
        return changed_bytes(rng, content)
    text = json.dumps(changed_tree(rng, json.loads(content)), default=str)
    return text.encode(rng.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16"]), "surrogatepass")


def _new_state() -> TrainingState:
    torch.manual_seed(0)
    return TrainingState(build_model(_MODELS[0], 2, _RATE), _TRAINING)


def _require_finite(weights: dict[str, Tensor]) -> None:
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise Wrong(f"{name} is not finite")
        if name.endswith("running_var") and (tensor < 0).any():
            raise Wrong(f"{name} is below zero")
