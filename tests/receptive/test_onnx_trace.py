"""Receptive fields of ONNX files: the same as those of the modules they were exported from."""

import functools

import numpy as np
import pytest
import torch
from networks import as_measured
from onnx import TensorProto, helper
from onnx_files import KERNEL, OPEN, conv_node, exported, field_of, written
from sweeps import sweep
from torch import nn
from torch.nn import functional as F

from wavedil.config import ModelConfig
from wavedil.export import to_onnx
from wavedil.layers import DilatedStack
from wavedil.models import build_model
from wavedil.receptive import Field
from wavedil.receptive.trace import receptive_field
from wavedil.receptive.trace.onnx import OnnxModule, receptive_field_of_onnx


class Gated(nn.Module):
    """A gated residual block, causal."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.filter = nn.Conv1d(4, 4, 2, dilation=dilation)
        self.gate = nn.Conv1d(4, 4, 2, dilation=dilation)
        self.residual = nn.Conv1d(4, 4, 1)

    def forward(self, x):
        past = F.pad(x, (self.dilation, 0))
        return x + self.residual(torch.tanh(self.filter(past)) * torch.sigmoid(self.gate(past)))


class Attending(nn.Module):
    """Causal attention."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(4, 12)

    def forward(self, x):
        query, key, value = (part[:, None] for part in self.project(x.mT).chunk(3, -1))
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)[:, 0].mT


def conv(kernel_size: int, **options) -> nn.Module:
    return nn.Conv1d(4, 4, kernel_size, **options)


def transposed(kernel_size: int, **options) -> nn.Module:
    return nn.ConvTranspose1d(4, 4, kernel_size, **options)


# Modules with their input's shape, and the axes of it that the file leaves open.
MODULES = {
    "dilated": (nn.Sequential(*(conv(3, dilation=d, padding=d) for d in (1, 2, 4, 8))), (1, 4, 100), [-1]),
    "strided": (nn.Sequential(conv(7, stride=2, padding=3), nn.MaxPool1d(3, 2, 1), nn.AvgPool1d(4)), (1, 4, 2000), []),
    "transposed": (
        nn.Sequential(transposed(6, stride=3, padding=1), transposed(5, stride=2, dilation=2)), (1, 4, 64), [-1]
    ),
    "gated": (nn.Sequential(Gated(1), Gated(4)), (1, 4, 64), [-1]),
    "plane": (
        nn.Sequential(nn.Conv2d(4, 4, (3, 5)), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, dilation=(1, 4), padding=(1, 4))),
        (1, 4, 40, 64), [-1, -2],
    ),
    "group norm": (nn.Sequential(conv(3), nn.GroupNorm(2, 4)), (1, 4, 64), [-1]),
    "resampled": (
        nn.Sequential(nn.Upsample(scale_factor=3), conv(3, padding="same"), nn.ReflectionPad1d(3), conv(7, groups=2),
                      nn.Upsample(scale_factor=2, mode="linear")), (1, 4, 64), [-1],
    ),
    "attending": (Attending(), (1, 4, 64), [-1]),
}  # fmt: skip


@pytest.fixture(scope="module")
def file_of(tmp_path_factory):
    """Files of the modules above by name, each exported once."""
    folder = tmp_path_factory.mktemp("files")

    @functools.cache
    def file(name: str) -> str:
        module, shape, dynamic = MODULES[name]
        return exported(folder / f"{name}.onnx", module, torch.zeros(shape), dynamic)

    return file


@pytest.mark.parametrize("name", sweep(MODULES, "resampled".__eq__))
def test_a_file_reads_what_its_module_reads(file_of, name):
    module, shape, _ = MODULES[name]
    found = receptive_field_of_onnx(file_of(name))
    for axis, traced in receptive_field(module, torch.zeros(shape)).axes.items():
        assert found.axes[axis].field == traced.field
        assert found.axes[axis].taps == traced.taps


def test_the_table_of_growth_has_the_names_and_costs_of_the_module(file_of):
    module, shape, _ = MODULES["dilated"]
    found = receptive_field_of_onnx(file_of("dilated"))
    expected = receptive_field(module, torch.zeros(shape))
    assert found.layers == expected.layers
    assert [row.name for row in found.layers] == ["0", "1", "2", "3"]
    assert (found.parameters, found.state_values) == (expected.parameters, expected.state_values)


def test_a_file_is_a_module_that_can_be_measured(file_of):
    module = OnnxModule(file_of("gated"))
    assert as_measured(module, module.example(40)).fields[0].receptive_field == 6


@pytest.mark.full
def test_a_step_of_a_stack_reads_what_the_stack_does(tmp_path):
    stack = DilatedStack(4, kernel_size=3, dilations=[1, 2])
    to_onnx(stack, tmp_path / "stack.onnx")
    answer = receptive_field_of_onnx(tmp_path / "stack.onnx", sample_rate=8_000)
    assert answer.axes.time.field == stack.field
    assert (answer.receptive_field, answer.lookahead, answer.sample_rate) == (7, 0, 8_000)
    states = ", ".join(f"state_blocks_{i}_conv_buffer" for i in range(2))
    assert answer.notes == (f"state inputs {states} are held constant",)


@pytest.mark.full
def test_a_step_of_a_keyword_model_reads_what_the_model_does(tmp_path):
    model = build_model(ModelConfig(channels=4, skip_channels=4, dilations=[1], window_ms=100), 3, 8_000).eval()
    to_onnx(model, tmp_path / "model.onnx")
    answer = receptive_field_of_onnx(tmp_path / "model.onnx", output="output", taps=False)
    assert answer.axes.time.field == model.field
    with pytest.raises(ValueError, match=f"expected a length that is a multiple of {model.hop}, got {model.hop + 1}"):
        receptive_field_of_onnx(tmp_path / "model.onnx", length=model.hop + 1)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, Field.convolution(3)),
        ({"pads": [3, 1], "dilations": [2]}, Field.convolution(3, dilation=2, padding=3)),
        ({"auto_pad": "SAME_UPPER", "dilations": [3]}, Field.convolution(3, dilation=3, padding=3)),
        ({"auto_pad": "SAME_LOWER", "strides": [2]}, Field.convolution(3, stride=2, padding=1)),
        ({"auto_pad": "VALID", "strides": [2]}, Field.convolution(3, stride=2)),
        ({"pads": [-1, 0]}, Field.convolution(3, padding=-1)),
    ],
)
def test_pads_of_a_convolution(tmp_path, attributes, expected):
    path = written(
        tmp_path / "conv.onnx", [conv_node("x", "y", **attributes)], OPEN, {"y": [1, 1, "out"]}, {"kernel": KERNEL}
    )
    assert field_of(path) == expected


def reversed_by_slices(tmp_path, nodes):
    """A file in which ``Slice`` turns a signal around before and, for each name given, behind a causal convolution."""
    constants = {"kernel": KERNEL, "start": [-1], "end": [-(2**62)], "axis": [2], "step": [-1]}
    constants = {k: np.asarray(v, np.float32 if k == "kernel" else np.int64) for k, v in constants.items()}
    flip = ["start", "end", "axis", "step"]
    causal = conv_node("back", "past", pads=[2, 0])
    made = [("Slice", ["x", *flip], ["back"], {}), causal, ("Slice", ["past", *flip], ["y"], {})]
    output = {2: "past", 3: "y"}[nodes]
    return written(tmp_path / "slices.onnx", made[:nodes], OPEN, {output: [1, 1, "time"]}, constants)


def test_a_signal_turned_around_twice_makes_the_past_the_future(tmp_path):
    answer = receptive_field_of_onnx(reversed_by_slices(tmp_path, 3))
    assert (answer.receptive_field, answer.history, answer.lookahead) == (3, 0, 2)


def test_a_signal_turned_around_has_no_field(tmp_path):
    with pytest.raises(ValueError, match="the fields of neighbouring outputs are not alike"):
        receptive_field_of_onnx(reversed_by_slices(tmp_path, 2))


@pytest.mark.parametrize(
    ("layer", "direction", "unbounded", "lookahead"),
    sweep(
        [
            ("LSTM", "forward", "past", 0),
            ("LSTM", "bidirectional", "everything", None),
            ("GRU", "forward", "past", 0),
            ("RNN", "forward", "past", 0),
        ],
        lambda values: values[0] == "RNN",
    ),
)
def test_recurrent_layers(tmp_path, layer, direction, unbounded, lookahead):
    gates, directions = {"LSTM": 4, "GRU": 3, "RNN": 1}[layer], 2 if direction == "bidirectional" else 1
    nodes = [
        ("Transpose", ["x"], ["steps"], {"perm": [2, 0, 1]}),
        (layer, ["steps", "w", "r"], ["states"], {"hidden_size": 1, "direction": direction}),
        ("ReduceSum", ["states", "directions"], ["sum"], {"keepdims": 0}),
        ("Transpose", ["sum"], ["y"], {"perm": [1, 2, 0]}),
    ]
    weights = np.ones((directions, gates, 1), np.float32)
    constants = {"w": weights, "r": weights, "directions": np.array([1])}
    path = written(tmp_path / "recurrent.onnx", nodes, OPEN, {"y": [1, 1, "time"]}, constants)
    answer = receptive_field_of_onnx(path)
    assert (answer.unbounded, answer.lookahead) == (unbounded, lookahead)
    assert answer.parameters == 2 * weights.size


def test_shapes_are_constants(tmp_path):
    """Frames of 4 samples, by a shape that is computed in the graph."""
    nodes = [
        ("Shape", ["x"], ["shape"], {}),
        ("Gather", ["shape", "last"], ["length"], {}),
        ("Div", ["length", "four"], ["frames"], {}),
        ("Concat", ["one", "frames", "four"], ["framed"], {"axis": 0}),
        ("Reshape", ["x", "framed"], ["y"], {}),
        ("ReduceMean", ["y", "last"], ["mean"], {"keepdims": 0}),
    ]
    constants = {"last": np.array([2]), "four": np.array([4]), "one": np.array([1])}
    path = written(tmp_path / "frames.onnx", nodes, {"x": [1, 1, "4*n"]}, {"mean": [1, "n"]}, constants)
    assert field_of(path) == Field.convolution(4, stride=4)


@pytest.mark.parametrize(("kernel", "positions"), [([0, 0, 0], (0, 1, 2)), ([0.5, 0, -0.5], (0, 2))])
def test_a_zero_among_weights_is_not_read_unless_all_are_zero(tmp_path, kernel, positions):
    kernel = np.array(kernel, np.float32).reshape(1, 1, 3)
    path = written(tmp_path / "zeros.onnx", [conv_node("x", "y")], OPEN, {"y": [1, 1, "out"]}, {"kernel": kernel})
    answer = receptive_field_of_onnx(path)
    assert answer.axes.time.taps is not None
    assert answer.axes.time.taps.positions(0) == positions
    assert answer.parameters == 3


def test_other_inputs_are_held_constant_and_others_can_be_followed(tmp_path):
    inputs = {"x": [1, 1, "time"], "level": [1, 1, "time"], "h_in": [1, 1, 2]}
    nodes = [
        conv_node("level", "smooth", pads=[1, 1]),
        ("Add", ["x", "smooth"], ["y"], {}),
        ("Identity", ["h_in"], ["h_out"], {}),
    ]
    path = written(tmp_path / "two.onnx", nodes, inputs, {"h_out": [1, 1, 2], "y": [1, 1, "time"]}, {"kernel": KERNEL})
    answer = receptive_field_of_onnx(path, output="y")
    assert answer.receptive_field == 1
    assert answer.notes == ("state inputs h_in are held constant", "inputs level are held constant")
    assert receptive_field_of_onnx(path, input="level", output=1).receptive_field == 3


def test_a_branch_that_is_decided_is_followed(tmp_path):
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("Conv", ["x", "kernel"], [name], dilations=[dilation])],
            name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for name, dilation in (("then", 1), ("else", 5))
    }  # fmt: skip
    nodes = [("If", ["choice"], ["y"], branches)]
    constants = {"kernel": KERNEL, "choice": np.array(False)}
    path = written(tmp_path / "if.onnx", nodes, OPEN, {"y": [1, 1, "out"]}, constants)
    assert field_of(path) == Field.convolution(3, dilation=5)
