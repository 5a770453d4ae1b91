"""``wavedil rf`` for modules, checkpoints and what is verified."""

import json

import pytest
from torch import nn

from wavedil.cli import main
from wavedil.cli.rf_module import module_named


@pytest.fixture
def rf(capsys):
    def run(*arguments: str, status: int = 0) -> str:
        assert main(["rf", *arguments]) == status
        captured = capsys.readouterr()
        return captured.out if status == 0 else captured.err.removeprefix("wavedil: error: ").strip()

    return run


def test_a_module_by_its_name(rf):
    content = json.loads(rf("torch.nn:Conv1d(1, 8, 3, dilation=4, padding=8)", "--json", "--sample-rate", "1000"))
    time = content["axes"]["time"]
    assert (time["receptive_field"], time["start"], time["end"], time["ms"]["receptive_field"]) == (9, -8, 0, 9.0)
    assert time["holes"] == [-7, -6, -5, -3, -2, -1]
    assert (content["parameters"], content["state_values"], content["macs_per_sample"]) == (32, 8, 24.0)
    assert content["layers"][0]["dilation"] == 4
    assert content["source"] == {"kind": "module", "target": "torch.nn:Conv1d(1, 8, 3, dilation=4, padding=8)"}
    assert content["verification"] is None


def test_verified_and_measured(rf):
    content = json.loads(rf("torch.nn:Conv1d(1, 1, 5)", "--json", "--verify", "--effective"))
    assert content["verification"]["outputs"] == 1
    assert 0 < content["effective"]["measured"]["sigma"] < 5
    shown = rf("torch.nn:Conv1d(1, 1, 5)", "--verify", "--effective")
    assert "\nverified: gradients of 1 output (input by input) and NaN probes of 1 agree" in shown
    assert "\nmeasured width   sigma " in shown


def test_a_recurrent_layer_reads_the_past_and_keeps_a_state(rf):
    arguments = ["torch.nn:LSTM(4, 8, batch_first=True)", "--input", "1,100,4", "--time-axis", "1", "--verify"]
    content = json.loads(rf(*arguments, "--json"))
    time = content["axes"]["time"]
    assert (time["receptive_field"], time["unbounded"], time["lookahead"], time["dense"]) == (None, "past", 0, None)
    assert content["state_values"] == 16
    assert "receptive field  the whole past" in rf(*arguments)


def test_modules_are_evaluated_unless_they_train(rf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_network.py").write_text(
        "from torch import nn\n\n\ndef normed():\n    return nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2))\n"
    )
    assert json.loads(rf("own_network:normed", "--json"))["axes"]["time"]["receptive_field"] == 3
    trained = json.loads(rf("own_network:normed()", "--json", "--train-mode"))
    assert trained["axes"]["time"]["unbounded"] == "everything"
    assert "1: BatchNorm1d in training mode reads the whole batch" in trained["notes"][0]


@pytest.mark.full
def test_a_checkpoint_is_answered_by_its_config_and_verified_by_its_model(rf, checkpoint):
    content = json.loads(rf(str(checkpoint), "--json", "--verify"))
    assert content["sample_rate"] == 8000
    assert content["layers"][-1]["name"] == "classifier"
    assert content["verification"]["outputs"] == 1
    assert content["axes"]["time"]["lookahead"] == 0


@pytest.mark.parametrize(
    "options",
    [
        "--kernel 3 --dilations 1,2,4",
        "--layer conv:kernel=8,stride=4 --cycles 2",
        "--layer transposed:kernel=8,stride=4 --layer conv:kernel=3,dilation=2,padding=centred,residual",
        "--layer pool:kernel=3,stride=2,padding=valid --layer gated:kernel=2,dilation=3",
        "--kernel 3x2 --dilations 1,2 --bins 20 --framing 8:4",
    ],
)
def test_descriptions_are_verified_as_modules(rf, options):
    assert json.loads(rf(*options.split(), "--verify", "--json"))["verification"]["taps"] is True


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("torch.nn:Conv1d(1, 2, x)", "torch.nn:Conv1d(1, 2, x): expected package.module:Class or "),
        ("torch.nn:Conv1d(*[1, 2])", "torch.nn:Conv1d(*[1, 2]): expected package.module:Class or "),
        ("torch.nn:Conv1d(**{})", "torch.nn:Conv1d(**{}): expected package.module:Class or "),
        ("torch.nn:(lambda: 1)()", "torch.nn:(lambda: 1)(): expected package.module:Class or "),
        ("torch.nn:Nope()", "torch.nn:Nope(): torch.nn has no Nope"),
        ("torch.nn:Conv1d(1)", "torch.nn:Conv1d(1): "),
        ("builtins:dict()", "builtins:dict(): expected a torch module, got dict"),
        ("no.such.package:X()", "no.such.package:X(): ModuleNotFoundError: no module named 'no', here or installed"),
        ("torch.nn:ReLU()", "torch.nn:ReLU(): its input cannot be told from its first layer: give --input "),
        ("nowhere", "nowhere: expected a config (.toml), an ONNX file (.onnx), a checkpoint folder"),
    ],
)
def test_an_error_names_the_target(rf, target, line):
    assert rf(target, status=2).startswith(line)


def test_arguments_are_literals_and_run_nothing(tmp_path):
    proof = tmp_path / "ran"
    with pytest.raises(ValueError, match="all literals"):
        module_named(f"torch.nn:Conv1d(open({str(proof)!r}, 'w'), 1, 1)")
    assert not proof.exists()
    assert isinstance(module_named("torch.nn:Sequential"), nn.Sequential)
