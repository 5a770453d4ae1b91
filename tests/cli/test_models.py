"""``wavedil models``: what it prints is what the built models have, and what runs report."""

import json
from pathlib import Path

import pytest

from wavedil.cli import main
from wavedil.config import SIZES, Config, DataConfig, ModelConfig, sized_model
from wavedil.models import build_model
from wavedil.training.config import save_toml
from wavedil.training.metrics import wilson_interval


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["models", *arguments]) == 0
    return capsys.readouterr().out


def test_sizes_are_those_of_the_built_models(capsys):
    rows = {row["name"]: row for row in json.loads(printed(capsys, "--classes", "12", "--json"))}
    assert set(rows) == {f"{name} {size}" for name, sizes in SIZES.items() for size in sizes}
    for name, size in (("mel", "S"), ("raw", "XS"), ("broadcast", "M")):
        model, row = build_model(sized_model(name, size), 12), rows[f"{name} {size}"]
        assert row["parameters"] == sum(p.numel() for p in model.parameters())
        assert row["state_bytes"] == sum(t.numel() * 4 for t in model.initial_state(1))
        assert row["receptive_field_ms"] == model.receptive_field / 16
        assert row["latency_ms"] == (model.latency + 1) / 16
        assert row["accuracy"] is None


def test_the_table_leaves_out_what_nobody_measured(capsys):
    table = printed(capsys)
    assert "accuracy" not in table
    assert len(table.splitlines()) == 2 + sum(len(sizes) for sizes in SIZES.values())


def test_runs_with_their_accuracy(tmp_path: Path, capsys):
    config = Config(model=ModelConfig(width=0.5), data=DataConfig(words="12"))
    one, many = tmp_path / "one", tmp_path / "many"
    for folder in (one, many / "seed0"):
        folder.mkdir(parents=True)
        save_toml(config, folder / "config.toml")
    (one / "report.json").write_text(
        json.dumps({"test": {"correct": 8, "n": 10}, "validation": {"correct": 27, "n": 30}})
    )
    seeds = {"accuracy": {"0": 0.97, "1": 0.98062}, "mean": 0.97531, "n": 400}
    (many / "seeds.json").write_text(json.dumps({"together": seeds}))
    table = printed(capsys, str(one), str(many))
    assert "| one | 0.5 |" in table
    assert "| 87.50% | 73.89% to 94.54% |" in table
    assert "| 97.53% | 95.46% to 98.64% |" in table
    [row] = json.loads(printed(capsys, str(one), "--json"))
    assert row["accuracy_interval"] == list(wilson_interval(35, 40))
    (one / "report.json").unlink()
    assert "accuracy" not in printed(capsys, str(one))


def test_no_run_and_no_classes_are_told(tmp_path: Path, capsys):
    assert main(["models", str(tmp_path / "none")]) == 2
    assert (
        "none: expected a run folder (config.toml, or several seeds in seed0, seed1, ...); no such folder"
        in capsys.readouterr().err
    )
    assert main(["models", "--classes", "0"]) == 2
    assert "--classes: expected an integer from 1 to 10000, got '0'" in capsys.readouterr().err


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="expected one of mel, raw, broadcast and one of XS, S, M, L, got mel XXL"):
        sized_model("mel", "XXL")
