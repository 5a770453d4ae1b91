"""ONNX files as they come: how they are read, what is not known of them, and what is wrong with them."""

import math
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx_files import KERNEL, OPEN, conv_node, field_of, written

from wavedil.receptive import Field
from wavedil.receptive.trace import UnknownOperatorError
from wavedil.receptive.trace.onnx import OnnxModule, receptive_field_of_onnx


def test_the_older_exporters_names_are_read_too(tmp_path):
    node = helper.make_node("Conv", ["x", "kernel"], ["y"], name="/encoder/conv.0/Conv")
    path = written(tmp_path / "named.onnx", [conv_node("x", "y")], OPEN, {"y": [1, 1, "out"]}, {"kernel": KERNEL})
    model = onnx.load(path)
    model.graph.node[0].CopyFrom(node)
    onnx.save(model, path)
    assert [row.name for row in receptive_field_of_onnx(path).layers] == ["encoder.conv.0"]


def test_weights_in_half_precision(tmp_path):
    path = written(
        tmp_path / "half.onnx", [("Cast", ["x"], ["h"], {"to": TensorProto.FLOAT16}), conv_node("h", "c"),
         ("Cast", ["c"], ["y"], {"to": TensorProto.FLOAT})], OPEN, {"y": [1, 1, "out"]},
        {"kernel": KERNEL.astype(np.float16)},
    )  # fmt: skip
    assert field_of(path) == Field.convolution(3)


def test_local_functions_are_inlined(tmp_path):
    body = [helper.make_node("Conv", ["a", "k"], ["b"], dilations=[2])]
    function = helper.make_function("custom", "Twice", ["a", "k"], ["b"], body, [helper.make_opsetid("", 20)])
    nodes = [("Twice", ["x", "kernel"], ["y"], {"domain": "custom"})]
    path = written(tmp_path / "f.onnx", nodes, OPEN, {"y": [1, 1, "out"]}, {"kernel": KERNEL}, functions=[function])
    assert field_of(path) == Field.convolution(3, dilation=2)


UNKNOWN = {
    "custom operator": ([("Strange", ["x"], ["y"], {"domain": "custom"})], "operator custom.Strange in node_y: what"),
    "standard operator": ([("GridSample", ["x", "grid"], ["y"], {})], "operator GridSample in node_y: what it reads"),
    "by values": (
        [("Cast", ["x"], ["n"], {"to": TensorProto.INT64}), ("Gather", ["n", "zero"], ["f"], {"axis": 2}),
         ("Reshape", ["f", "flat"], ["s"], {}), ("Tile", ["x", "s"], ["y"], {})],
        "operator Tile in node_y: what it reads depends on the values",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_stops_or_is_said_to_read_everything(tmp_path, name):
    nodes, message = UNKNOWN[name]
    standard = name == "standard operator"
    inputs = {"x": [1, 1, "time", "bands"] if standard else [1, 1, "time"]}
    constants = {"zero": np.array([0, 0, 0]), "flat": np.array([3]), "grid": np.zeros((1, 9, 5, 2), np.float32)}
    outputs = {"y": [1, 1, 9, 5] if standard else [1, 1, "time"]}
    path = written(tmp_path / "unknown.onnx", nodes, inputs, outputs, constants)
    with pytest.raises(UnknownOperatorError, match=message):
        receptive_field_of_onnx(path)
    answer = receptive_field_of_onnx(path, allow_unknown=True)
    assert answer.axes.time.field.ends[0] == math.inf
    assert answer.notes[0].startswith(message.partition(":")[0], len("unknown "))


def test_a_loop_is_not_known(tmp_path):
    names = ("i", "go", "x_in"), ("go_out", "x_out")
    kinds = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "go_out": TensorProto.BOOL}
    takes, gives = (
        [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None) for name in group]
        for group in names
    )
    steps = [helper.make_node("Identity", ["go"], ["go_out"]), helper.make_node("Relu", ["x_in"], ["x_out"])]
    body = helper.make_graph(steps, "body", takes, gives)
    nodes = [("Loop", ["count", "", "x"], ["y"], {"body": body})]
    path = written(tmp_path / "loop.onnx", nodes, OPEN, {"y": [1, 1, "time"]}, {"count": np.array(3)})
    for allowed in (False, True):
        with pytest.raises(UnknownOperatorError, match="operator Loop in node_y: what it reads depends on the"):
            receptive_field_of_onnx(path, allow_unknown=allowed)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08"])
def test_what_is_no_file_of_onnx(tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.onnx: not a valid ONNX file: ") as raised:
        receptive_field_of_onnx(path)
    assert "\n" not in str(raised.value)


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.onnx: no such file"):
        receptive_field_of_onnx(tmp_path / "nothing.onnx")


def test_weights_beside_the_file_and_nowhere_else(tmp_path):
    path = written(tmp_path / "c.onnx", [conv_node("x", "y")], OPEN, {"y": [1, 1, "out"]}, {"kernel": KERNEL})
    model = onnx.load(path)
    folder = tmp_path / "inner"
    folder.mkdir()
    onnx.save(model, str(folder / "c.onnx"), save_as_external_data=True, location="weights", size_threshold=0)
    assert field_of(folder / "c.onnx") == Field.convolution(3)
    outside = onnx.load(str(folder / "c.onnx"), load_external_data=False)
    (folder / "weights").rename(tmp_path / "weights")
    outside.graph.initializer[0].external_data[0].value = "../weights"
    (folder / "c.onnx").write_bytes(outside.SerializeToString())
    with pytest.raises(ValueError, match=r"c\.onnx: not a valid ONNX file"):
        receptive_field_of_onnx(folder / "c.onnx")


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"onnx is missing: pip install 'wavedil\[onnx\]'"):
        receptive_field_of_onnx(tmp_path / "any.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "z"}, "expected an input z, got x"),
        ({"output": "z"}, "output: expected one of y, or its number, got 'z'"),
        ({"output": 1}, "output: expected one of y, or its number, got 1"),
        ({"length": 99}, "input x: expected a length of 100, got 99"),
        ({"time_axis": 3}, r"input x: expected an axis 3, got the shape \(1, 1, 100\)"),
    ],
)
def test_wrong_arguments(tmp_path, options, message):
    path = written(
        tmp_path / "c.onnx", [conv_node("x", "y")], {"x": [1, 1, 100]}, {"y": [1, 1, 98]}, {"kernel": KERNEL}
    )
    with pytest.raises(ValueError, match=message):
        receptive_field_of_onnx(path, **options)


def test_a_length_that_is_fixed(tmp_path):
    path = written(
        tmp_path / "c.onnx", [conv_node("x", "y")], {"x": [1, 1, 100]}, {"y": [1, 1, 98]}, {"kernel": KERNEL}
    )
    assert field_of(path) == Field.convolution(3)
    with pytest.raises(ValueError, match=r"input x: expected the shape \(1, 1, 100\), got \(1, 1, 101\)"):
        OnnxModule(path)(torch.zeros(1, 1, 101))


def test_an_operator_that_fails_is_named(tmp_path):
    path = written(
        tmp_path / "r.onnx", [("Reshape", ["x", "flat"], ["y"], {})], OPEN, {"y": [1, 7]}, {"flat": np.array([1, 7])}
    )
    with pytest.raises(ValueError, match="operator Reshape in node_y: shape"):
        receptive_field_of_onnx(path)
