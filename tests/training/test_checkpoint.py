import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from wavedil.config import FeatureConfig, ModelConfig
from wavedil.models import build_model
from wavedil.training.checkpoint import ModelMeta, git_revision, load_model, save_model

MODEL = ModelConfig(
    channels=4, skip_channels=4, cycles=1, depth=2, window_ms=50.0, features=FeatureConfig(64, 64, 40, 6)
)
META = ModelMeta(("cat", "dog"), 8000, 800, MODEL, metrics={"val_accuracy": 0.5, "epoch": 3})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = build_model(MODEL, 2, 8000)
    model.clip_logits(torch.randn(4, 1, 800))  # moves batch statistics off their start
    save_model(tmp_path / "model", model, META)
    return tmp_path / "model"


def _edit(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(content))


def test_a_model_is_what_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, waveform = build_model(MODEL, 2, 8000), torch.randn(2, 1, 800)
    model.clip_logits(waveform)
    save_model(tmp_path / "model", model, META)
    loaded, meta = load_model(tmp_path / "model")
    assert meta == META
    assert not loaded.training
    assert torch.equal(loaded.clip_logits(waveform), model.eval().clip_logits(waveform))


def test_figures_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    meta = dataclasses.replace(META, metrics={"epoch": 3, "val_loss": math.nan, "val_accuracy": math.inf})
    save_model(tmp_path / "model", build_model(MODEL, 2, 8000), meta)
    assert load_model(tmp_path / "model")[1].metrics == {"epoch": 3}


def test_a_run_folder_stands_for_its_best_model(folder: Path) -> None:
    assert load_model(folder.parent)[1] == META


def test_the_description_can_be_read_without_this_package(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    assert content["format_version"] == 1
    assert content["labels"] == ["cat", "dog"]
    assert content["model"]["features"]["n_mels"] == 6
    assert content["sample_rate"] == 8000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "expected format_version 1, got 2"),
        ({"labels": ["cat"]}, r"weight '.*': expected \(1.*\), got \(2"),
        ({"model": {"name": "cnn"}}, "'model.name'"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_description_that_does_not_fit_is_refused_by_name(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    _edit(folder, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_or_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:20])
    with pytest.raises(ValueError, match=name):
        load_model(folder)
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        load_model(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", "cat"),
        ("labels", []),
        ("labels", ["cat", 3]),
        ("labels", ["cat", ""]),
        ("labels", ["cat", "cat"]),
        ("labels", ["cat", "dog\x1b[2J"]),
        ("labels", [f"word {n}" for n in range(20_000)]),
        ("sample_rate", 0),
        ("sample_rate", -8000),
        ("sample_rate", 8000.0),
        ("sample_rate", "8000"),
        ("sample_rate", True),
        ("clip_samples", 0),
        ("clip_samples", 39),
        ("clip_samples", None),
        ("metrics", [1]),
        ("metrics", {"epoch": "three"}),
        ("metrics", {"epoch": 10**400}),
        ("git_revision", 5),
        ("wavedil_version", None),
        ("model", "mel"),
        ("model", {"colour": "red"}),
        ("model", {"channels": 2.5}),
        ("model", {"norm": ["batch"]}),
        ("format_version", True),
    ],
)
def test_a_key_of_any_content_is_named(folder: Path, key: str, value: Any) -> None:
    _edit(folder, **{key: value})
    with pytest.raises(ValueError, match=r"config\.json: ") as caught:
        load_model(folder)
    assert key in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("key", ["format_version", "labels", "sample_rate", "clip_samples", "model"])
def test_a_key_that_is_missing_is_named(folder: Path, key: str) -> None:
    content = json.loads((folder / "config.json").read_text())
    del content[key]
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"config.json: .*{key}"):
        load_model(folder)


@pytest.mark.parametrize("content", ["[]", "7", "null", "[" * 100_000, '{"labels": NaN}', ""])
def test_json_that_is_no_description_is_named(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json: "):
        load_model(folder)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_description_saved_by_another_editor_is_read(folder: Path, encoding: str) -> None:
    (folder / "config.json").write_text((folder / "config.json").read_text(), encoding)
    assert load_model(folder)[1] == META


@pytest.mark.parametrize(
    "changes",
    [
        {"cycles": 100_000},
        {"depth": 60},
        {"channels": 10**6},
        {"width": 1e300},
        {"dilations": [1] * 1000},
        {"kernel_size": 10**9},
        {"dilations": [1, 2**24]},
        {"dilations": [1, 2**23]},
        {"window_ms": 1e12},
        {"name": "broadcast", "stage_blocks": [10**8, 1]},
        {"name": "broadcast", "stage_blocks": [1]},
        {"name": "raw", "stem": "strided", "stem_channels": [1] * 300, "stem_strides": [1] * 300},
        {"features": {"n_mels": 7, "n_fft": 64, "win_length": 64, "hop_length": 40}},
    ],
)
def test_a_description_of_another_model_is_refused_before_it_is_built(
    folder: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.loads((folder / "config.json").read_text())
    _edit(folder, model=content["model"] | changes)
    real = []

    def build(*arguments: Any) -> torch.nn.Module:
        model = build_model(*arguments)
        real.extend(parameter for parameter in model.parameters() if parameter.device.type != "meta")
        return model

    monkeypatch.setattr("wavedil.training.checkpoint.build_model", build)
    with pytest.raises(ValueError, match=f"{folder}"):
        load_model(folder)
    assert not real


def _spoil(folder: Path, name: str, value: float) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights[name].view(-1)[-1] = value
    safetensors.torch.save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_named(folder: Path, value: float) -> None:
    name = next(name for name in safetensors.torch.load_file(folder / "model.safetensors") if name.endswith(".weight"))
    _spoil(folder, name, value)
    with pytest.raises(ValueError, match=rf"model\.safetensors: weight '{name}': expected finite numbers, got NaN"):
        load_model(folder)


def test_a_variance_below_zero_is_named(folder: Path) -> None:
    names = safetensors.torch.load_file(folder / "model.safetensors")
    name = next(name for name in names if name.endswith("running_var"))
    _spoil(folder, name, -1.0)
    with pytest.raises(ValueError, match=f"weight '{name}': expected variances of at least 0, got -1"):
        load_model(folder)


def test_weights_in_half_precision_are_taken_and_integers_are_not(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        halved = {name: w.to(dtype) if w.is_floating_point() else w for name, w in weights.items()}
        safetensors.torch.save_file(halved, path)
        model = load_model(folder)[0]
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        torch.testing.assert_close(model.state_dict(), weights, rtol=0.01, atol=1e-3)
    safetensors.torch.save_file({name: w.to(torch.int8) for name, w in weights.items()}, path)
    with pytest.raises(ValueError, match="expected numbers of floating point, got I8"):
        load_model(folder)


def _header(path: Path, **changes: Any) -> None:
    """Change the header of a safetensors file."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size]) | changes
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])


@pytest.mark.parametrize(
    "described",
    [
        None,
        {},
        {"dtype": "F32", "shape": [1 << 39], "data_offsets": [0, 1 << 41]},
        {"dtype": "F4", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 4]},
    ],
)
def test_a_header_of_any_content_is_one_line(folder: Path, described: Any) -> None:
    path = folder / "model.safetensors"
    name = next(iter(safetensors.torch.load_file(path)))
    _header(path, **{name: described})
    with pytest.raises(ValueError, match=r"model\.safetensors: weight '") as caught:
        load_model(folder)
    assert name in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 1 << 20, 1 << 40, (1 << 64) - 1])
def test_a_header_of_any_length_is_no_memory(folder: Path, length: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(ValueError, match=r"model\.safetensors: "):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_pipe_or_a_folder_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ValueError, match=f"{name}: expected a file, found a pipe"):
        load_model(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ValueError, match=f"{name}: expected a file, found a folder"):
        load_model(folder)


def test_a_model_may_be_links_to_files_elsewhere(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in folder.iterdir():
        (linked / path.name).symlink_to(path)
    assert load_model(linked)[1] == META


def test_what_is_no_model_is_told_with_what_was_expected(folder: Path, tmp_path: Path) -> None:
    run, seeds, empty = tmp_path / "fresh", tmp_path / "seeds", tmp_path / "empty"
    for path in (run, seeds / "seed0", empty):
        path.mkdir(parents=True)
    for path in (run, seeds, seeds / "seed0"):
        (path / "config.toml").touch()
    for path, message in (
        (tmp_path / "nowhere", "nowhere: expected a model .* or a run folder; no such folder"),
        (folder / "config.json", "config.json: expected a model .* or a run folder; this is a file"),
        (empty, "empty: expected a model .* or a run folder; there is none in it"),
        (run, "fresh: this run has no model yet; it is written after the first epoch"),
        (seeds, "seeds: these are runs of several seeds; name one of them, .*seed0"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            load_model(path)


def test_the_revision_is_a_commit_or_unknown() -> None:
    revision = git_revision()
    assert revision is None or len(revision.removesuffix("-dirty")) == 40
