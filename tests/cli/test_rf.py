"""``wavedil rf`` for descriptions, configs and designs."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch

from wavedil import exponential_dilations
from wavedil.cli import main
from wavedil.cli.rf_description import sizes
from wavedil.config import Config, ModelConfig
from wavedil.layers import DilatedStack
from wavedil.models import build_model
from wavedil.receptive.keyword import class_count
from wavedil.receptive.stack import stack
from wavedil.training.config import load_config, save_toml

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


@pytest.fixture
def rf(capsys):
    """Run ``wavedil rf`` with a line of options and give what it prints; of errors, the line."""

    def run(options: str, status: int = 0) -> str:
        assert main(["rf", *shlex.split(options)]) == status
        captured = capsys.readouterr()
        if status:
            assert captured.out == ""
            assert captured.err.startswith("wavedil: error: ")
            assert captured.err.count("\n") == 1
            return captured.err.removeprefix("wavedil: error: ").rstrip()
        return captured.out

    return run


@pytest.fixture
def rf_json(rf):
    def run(options: str) -> dict:
        return json.loads(rf(f"{options} --json"))

    return run


def axis(content: dict) -> dict:
    return content["axes"]["time"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--kernel", "3", "--dilations", "1,2,4,8"],
        ["--kernel", "3", "--dilations", "1,2,4,8", "--json"],
        ["--kernel", "2", "--dilations", "1,2,4,8", "--tree", "--taps"],
        ["--layer", "conv:kernel=8,stride=4", "--cycles", "5"],
        ["design", "--ms", "400", "--sample-rate", "16000"],
        [str(CONFIGS[0])],
    ],
)
def test_answers_without_torch_or_numpy(arguments):
    code = f"""
import sys
from wavedil.cli import main
status = main(["rf", *{arguments!r}])
print("loaded:", sorted({{"torch", "numpy", "matplotlib"}} & set(sys.modules)), status)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "loaded: [] 0"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3", [3]),
        ("3,3,5", [3, 3, 5]),
        ("3x5, 1", [(3, 5), 1]),
        ("1,2,4,...,512", [2**i for i in range(10)]),
        ("1,3,9,…,6561", [3**i for i in range(9)]),
        ("4,6,9,...,9,1", None),
        ("2,4,6,...,12", [2, 4, 6, 8, 10, 12]),
        ("512,256,128,...,2", [2**i for i in range(9, 0, -1)]),
        ("9,7,5,...,-1", [9, 7, 5, 3, 1, -1]),
        ("7,1,2,4,...,16,1,2,4,...,8", [7, 1, 2, 4, 8, 16, 1, 2, 4, 8]),
        ("1,2,4,...,8,1153", [1, 2, 4, 8, 1153]),
        ("1,2,...,8", None),
        ("1,1,1,...,1", None),
        ("1,2,4,...,500", None),
        ("1,2,4,...,2", None),
        ("1,2,5,...,12", None),
        ("0,0,4,...,12", None),
        ("8,4,2,...,0", None),
        ("1,2,4,...", None),
        ("...,4", None),
        ("1,2,3,...,1000000000", None),
        ("1x1,1x2,1x4,...,1x8", None),
        ("1,,2", None),
        ("1.5", None),
        ("3x", None),
    ],
)
def test_lists_of_sizes(text, numbers):
    if numbers is None:
        with pytest.raises(ValueError, match=r"--dilations: expected .* got "):
            sizes("--dilations", text)
    else:
        assert sizes("--dilations", text) == numbers


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ("--kernel 3 --dilations 1,2,4,...,512 --cycles 3", 6139),
        ("--kernel 3 --dilations 1,2,4,...,32 --cycles 4", 505),
        ("--kernel 3 --dilations 1 --cycles 30", 61),
        ("--kernel 2 --dilations 1,1,2,4,...,512", 1025),
        ("--kernel 4 --dilations 1,1,2,2,4,4,8,8,16,16,32,32,64,64", 763),
        ("--kernel 3 --dilations 1,3,9,...,2187", 6561),
        ("--kernel 3 --dilations 1,2,4,...,1024,1153", 6401),
        ("--kernel 8 --strides 4 --cycles 5", 2388),
        ("--layer conv:kernel=8,stride=4 --cycles 5", 2388),
        ("--kernel 3,2 --strides 3,1", 6),
        ("--kernel 3 --dilations 1,2,4 --framing 480:160", 2720),
    ],
)
def test_published_fields(options, field, rf_json):
    content = rf_json(options)
    assert axis(content)["receptive_field"] == field
    assert axis(content)["dense"]
    assert content["source"] == {"kind": "description", "target": None}


def test_every_option_of_a_stack_arrives(rf_json):
    content = rf_json(
        "--kernel 3,2 --dilations 2,4 --lookahead 1,0 --cycles 2 --channels 4 --groups 2 --no-bias --block gated "
        "--sample-rate 8000 --bytes 2"
    )
    expected = stack(
        [3, 2], [2, 4], lookahead=[1, 0], cycles=2, channels=4, groups=2, bias=False, block="gated",
        sample_rate=8000, value_bytes=2,
    ).to_json()  # fmt: skip
    assert {key: content[key] for key in expected} == expected


def test_two_axes(rf_json):
    content = rf_json("--kernel 3x5 --dilations 1,2 --strides 2x1 --padding centred --bins 40")
    expected = stack((3, 5), [1, 2], strides=(2, 1), padding="centred", bins=40).to_json()
    assert {key: content[key] for key in expected} == expected
    assert content["axes"]["frequency"]["receptive_field"] == 11


def test_layers_one_by_one(rf_json):
    content = rf_json(
        "--layer conv:kernel=8,stride=4,channels=6 --layer gated:kernel=3,dilation=2,groups=2 --channels 2 "
        "--layer pool:kernel=2 --layer transposed:kernel=8,stride=4,channels=3,padding=centred --framing 4:2 "
        "--layer conv:kernel=3,padding=centred,residual --layer conv:kernel=1,padding=-2"
    )
    rows = content["layers"]
    assert [row["kind"] for row in rows] == ["framing", "conv", "gated", "pool", "transposed", "conv", "conv"]
    assert [row["stride"] for row in rows] == [2, 4, 1, 2, 4, 1, 1]
    weights = [0, 8 * 2 * 6 + 6, 3 * 6 * 12 // 2 + 36 + 18, 0, 8 * 6 * 3 + 3, 3 * 3 * 3 + 3, 9 + 3]
    assert [row["parameters"] for row in rows] == weights
    assert axis(content)["hop"] == 4
    assert axis(content)["lookahead"] > 0


def test_cycles_of_layers_carry_the_channels_on(rf_json):
    rows = rf_json("--layer conv:kernel=3,channels=4 --layer conv:kernel=1,channels=8 --cycles 2 --no-bias")["layers"]
    assert [row["parameters"] for row in rows] == [3 * 4, 4 * 8, 3 * 8 * 4, 4 * 8]


@pytest.mark.parametrize(("padding", "lookahead"), [("causal", 0), ("valid", 0), ("centred", 1), ("3", 1)])
def test_padding_of_a_transposed_layer(padding, lookahead, rf_json):
    content = rf_json(f"--layer transposed:kernel=8,stride=4,padding={padding}")
    assert (axis(content)["start"], axis(content)["end"]) == (-1, 0)
    assert axis(content)["lookahead"] == lookahead


def test_output_and_criterion(rf, rf_json):
    options = "--kernel 3 --dilations 2,2,2 --output 5"
    content = rf_json(options)
    assert content["output"] == {"number": 5, "start": -7, "end": 5}
    assert content["criterion"]["holds"]
    assert not content["criterion"]["dense"]
    shown = rf(options)
    assert "output 5 reads   -7 to 5" in shown
    assert "7 of 13" in " ".join(shown.split("advice: ")[1].split())


@pytest.mark.parametrize(
    "options",
    [
        "--kernel 3",
        "--kernel 3 --dilations 1,2 --strides 2",
        "--kernel 3,5 --dilations 1,2",
        "--kernel 2 --dilations 2,3 --lookahead 1 --block gated",
        "--kernel 3 --dilations 1,2 --framing 4:2",
        "--layer transposed:kernel=3 --layer transposed:kernel=3",
    ],
)
def test_no_criterion_where_it_is_not_defined(options, rf_json):
    assert "criterion" not in rf_json(options)


def test_the_table_is_whole_on_request(rf):
    assert "... 10 more layers ..." in rf("--kernel 2 --dilations 1 --cycles 50")
    assert "\nlayer 25 " in rf("--kernel 2 --dilations 1 --cycles 50 --layers")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_answered_as_its_model(path, rf, rf_json):
    config = load_config(path)
    model = build_model(config.model, class_count(config.data), config.data.sample_rate)
    content = rf_json(str(path))
    assert content["source"] == {"kind": "config", "target": str(path)}
    assert axis(content)["receptive_field"] == model.receptive_field
    assert axis(content)["ms"]["receptive_field"] == model.receptive_field_seconds() * 1000
    assert content["parameters"] == sum(p.numel() for p in model.parameters())
    assert content["state_bytes"] == 4 * sum(t.numel() for t in model.initial_state(1))
    assert "\nblock 11 " in rf(str(path))


def test_a_designed_stack_is_what_was_asked_for(rf, rf_json):
    options = "design --ms 400 --sample-rate 16000 --kernel 3 --channels 8 --dense"
    content = rf_json(options)
    assert content["source"] == {"kind": "design", "receptive_field": 6400, "sample_rate": 16000}
    found = {(entry["schedule"], entry["receptive_field"]) for entry in content["candidates"]}
    assert {("3^0..3^7", 6561), ("2^0..2^11", 8191), ("2^0..2^10, 1153", 6401)} <= found
    picked = content["candidates"][content["picked"]]
    assert picked["front"]
    assert picked["dense"]
    dense = [entry for entry in content["candidates"] if entry["front"] and entry["dense"]]
    assert picked["layers"] == min(entry["layers"] for entry in dense)
    module = eval(picked["constructor"], {"DilatedStack": DilatedStack, "exponential_dilations": exponential_dilations})
    assert module.receptive_field == picked["receptive_field"] >= 6400
    shown = rf(options)
    assert shown.startswith("stacks that read at least 6,400 samples, 400 ms\n")
    assert picked["constructor"] in shown
    assert shown.endswith(picked["snippet"])


def test_the_snippet_of_another_row_is_a_config(rf_json, tmp_path):
    content = rf_json("design --samples 100 --pick 2 --channels 4")
    assert content["picked"] == 1
    (tmp_path / "a.toml").write_text(content["candidates"][1]["snippet"])
    model = load_config(tmp_path / "a.toml").model
    assert (model.channels, model.dilations) == (4, content["candidates"][1]["dilations"])


@pytest.mark.parametrize(("ms", "rate", "samples"), [("0.1", "10000", 1), ("1/3", "3000", 1), ("0.3", "16000", 5)])
def test_milliseconds_are_rounded_up_exactly(ms, rate, samples, rf_json):
    assert rf_json(f"design --ms {ms} --sample-rate {rate}")["source"]["receptive_field"] == samples


def test_terminal_pictures(rf):
    shown = rf("--kernel 2 --dilations 1,2,4,8 --tree --taps")
    assert "layer 4  dilation 8" in shown
    assert "one output reads 16 of 16 samples" in shown
    assert "paths to each sample" in shown
    assert "layer 0" not in shown


def test_taps_of_the_output_asked_for(rf):
    assert "reads 2 of 2 samples" in rf("--layer transposed:kernel=3,stride=2 --taps --output 0")
    assert "reads 1 of 1 samples" in rf("--layer transposed:kernel=3,stride=2 --taps --output 1")
    assert "reads 2 of 2 samples" in rf("--layer transposed:kernel=3,stride=2 --taps")


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("picture", ["tree", "taps", "field"])
def test_pictures_in_files(picture, suffix, tmp_path, rf):
    path = tmp_path / f"a.{suffix}"
    rf(f"--kernel 3x3 --dilations 2,2 --bins 8 --framing 64:32 --sample-rate 8000 --{picture} --plot {path}")
    start = path.read_bytes()[:100]
    assert start.startswith(b"\x89PNG") if suffix == "png" else b"<?xml" in start


def test_the_field_over_a_spectrogram(rf, tmp_path):
    shown = rf("--kernel 3x3 --dilations 2,2,2 --bins 40 --field")
    # Thirteen frames of 20 ms, the newest that of the output.
    assert "the output at 920 ms, 1,880 Hz reads 680 to 940 ms" in shown
    assert "the output at 100 ms" in rf("--kernel 3x3 --bins 40 --field --output 5")
    assert "reads -40 to 20 ms" in rf("--kernel 3x3 --bins 40 --field --output 0")
    assert "the output at 940 ms" in rf("--kernel 3x3 --bins 40 --field --sample-rate 100")
    save_toml(Config(model=ModelConfig(window_ms=100, cycles=1)), tmp_path / "a.toml")
    assert "┌" in rf(f"{tmp_path / 'a.toml'} --field")


def test_the_field_over_a_sound_of_ones_own(rf, tmp_path):
    soundfile.write(tmp_path / "a.wav", torch.zeros(8000).numpy(), 8000)
    shown = rf(f"--kernel 3 --framing 400:80 --sample-rate 8000 --field --audio {tmp_path / 'a.wav'}")
    assert " 1,000 ms" in shown
    assert "the output at 940 ms" in shown


STACK = "--kernel 3 "
TAPS = "expected a whole number or a pair, frequency x time, such as 3x5"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("", "expected a stack to describe: give --kernel, --layer or a TARGET; see wavedil rf --help"),
        ("--dilations 1", "expected a stack to describe: give --kernel, --layer or a TARGET; see wavedil rf --help"),
        (STACK + "--ms 4", "--ms goes with design, not with a description"),
        (STACK + "--train-mode", "--train-mode goes with a module, not with a description"),
        ("a.toml --kernel 3", "--kernel goes with a description or design, not with a config"),
        ("torch.nn:ReLU --kernel 3", "--kernel goes with a description or design, not with a module"),
        ("torch.nn:ReLU --tree", "--tree goes with a description or a config, not with a module"),
        (
            "torch.nn:ReLU --input 1,x",
            "--input: expected a shape such as 1,1,16000, sizes of at most 10 digits, got '1,x'",
        ),
        ("design --samples 9 --tree", "--tree goes with a description or a config, not with design"),
        ("--layer conv:kernel=3 --kernel 3", "--kernel does not go with --layer"),
        ("--layer conv:kernel=3 --bins 3", "--bins does not go with --layer"),
        ("--kernel 0", "layer 0: kernel_size: expected an integer from 1 to 1000000, got 0"),
        ("--kernel a", f"--kernel: {TAPS}, got 'a'"),
        ("--kernel 3,3 --dilations 1,2,4", "--kernel: expected one number, or one for each of 3 layers, got 2"),
        (STACK + "--dilations 1,0", "layer 1: dilation: expected an integer from 1 to "),
        (STACK + "--lookahead 1x2", "--lookahead: expected whole numbers, got '1x2'"),
        (STACK + "--lookahead 5", "layer 0: lookahead must be from 0 to 2 (the layer spans 3), got 5"),
        (STACK + "--cycles 0", "--cycles: expected an integer from 1 to 10000, got 0"),
        (STACK + "--output -1", "--output: expected an integer from 0 to 1000000000000, got -1"),
        (STACK + "--sample-rate 0", "--sample-rate: expected a number above 0 and at most 1e+09, got 0.0"),
        (STACK + "--sample-rate nan", "--sample-rate: expected a number above 0 and at most 1e+09, got nan"),
        (STACK + "--framing 480", "--framing: expected WIN:HOP in samples, such as 480:160, got '480'"),
        (STACK + "--framing 4:8", "framing: expected 1 <= hop_length <= win_length, got 8 and 4"),
        (STACK + "--groups 2", "layer 0: groups must divide the channels 1 and 1, got 2"),
        ("--layer lstm:kernel=3", "--layer lstm:kernel=3: expected one of conv, transposed, gated, pool, got 'lstm'"),
        ("--layer conv:stride=3", "--layer conv:stride=3: expected kernel=N"),
        ("--layer conv:kernel=x", "layer 0 (conv:kernel=x): kernel: expected a whole number, got 'x'"),
        (
            "--layer pool:kernel=3,groups=2",
            "--layer pool:kernel=3,groups=2: "
            "expected residual, or a number for one of kernel, stride, dilation, padding, got 'groups=2'",
        ),
        (
            "--layer conv:kernel=3 --layer conv:kernel=3,stride=2,residual",
            "layer 1 (conv:kernel=3,stride=2,residual): a residual layer must have stride 1, got 2",
        ),
        (STACK + "--tree --json", "--tree goes with --json only as a file: give --plot"),
        (STACK + "--plot a.png", "--plot: expected one of --tree, --taps and --field, got none"),
        (
            STACK + "--tree --taps --plot a.png",
            "--plot: expected one of --tree, --taps and --field, got --tree and --taps",
        ),
        (STACK + "--tree --plot no/a.png", "--plot no/a.png: there is no folder no"),
        (STACK + "--tree --plot a.jpg", "--plot a.jpg: expected a name that ends in .png or .svg"),
        (STACK + "--audio a.wav", "--audio goes with --field"),
        (STACK + "--field", "--field: expected frames as input, got samples; give --framing or --bins"),
        (
            STACK + "--bins 9 --field --output 99",
            "--output: expected one of the 50 frames of the sound, got 99, frame 99",
        ),
        (
            STACK + "--dilations 1000000 --tree",
            "--tree: expected described layers and a field of at most 100,000, got 2000001",
        ),
        (
            "--layer transposed:kernel=3 --tree",
            "--tree: expected convolutions and pools, got layer 0, a transposed layer",
        ),
        (
            "--layer conv:kernel=2,dilation=2,padding=1,residual --tree",
            "--tree: layer 0 has a residual branch that is no tap of its kernel",
        ),
        ("--kernel 2 --dilations 1000000000 --taps", "--taps: expected a field of at most 131,072, got 1,000,000,001"),
        ("design", "design: expected --ms or --samples, got neither"),
        ("design --ms 4", "--ms: expected --sample-rate as well"),
        ("design --ms x --sample-rate 8000", "--ms: expected a number from 0.000001 to 1000000000, got 'x'"),
        ("design --samples 9 --sample-rate 0.5", "--sample-rate: expected whole Hz, got 0.5"),
        ("design --samples 9 --kernel 3,3", "--kernel: expected one whole number for design, got '3,3'"),
        ("design --samples 9 --kernel 1", "--kernel must be at least 2 "),
        ("design --samples 9 --pick 99", "--pick: expected a row from 1 to "),
        ("design --samples 9 --max-params 3", "no stack is within the limits: the smallest needs "),
        ("missing.toml", "missing.toml: there is no such config file"),
    ],
)
def test_an_error_is_one_line_that_names_the_option(options, line, rf):
    printed = rf(options, status=2)
    assert printed.startswith(line)
    assert printed == line or line.endswith(" ")


def test_a_config_has_its_own_sample_rate(rf):
    mel = next(path for path in CONFIGS if path.stem == "mel")
    assert rf(f"{mel} --sample-rate 16000") == rf(str(mel))
    assert rf(f"{mel} --sample-rate 8000", status=2).strip() == f"--sample-rate: {mel} has 16000, got 8000"


def test_design_names_the_options_in_errors(rf):
    assert rf("design --samples 6400 --max-params 9", status=2).endswith("parameters, got --max-params 9")


def test_no_picture_is_left_by_an_error(rf, tmp_path):
    rf(f"--layer transposed:kernel=3 --tree --plot {tmp_path}/a.png", status=2)
    assert list(tmp_path.iterdir()) == []
