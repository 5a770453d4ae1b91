"""ONNX operators as functions of PyTorch: each gives what ONNX Runtime gives."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from measured import words
from onnx import TensorProto, helper, numpy_helper

from wavedil.receptive.trace.onnx import OnnxModule
from wavedil.receptive.trace.onnx.registry import OPERATORS

RANDOM = np.random.default_rng(0)


@dataclass(frozen=True)
class Case:
    """A graph of one node, whose first input is the graph's and whose others are constants."""

    operator: str
    shape: tuple[int, ...]
    constants: tuple[Any, ...] = ()
    opset: int = 20
    outputs: int = 1
    cast: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.operator, *(f"{k}={v}" for k, v in self.attributes.items())]).replace(" ", "")


def case(operator: str, shape, *constants, opset=20, outputs=1, cast=0, **attributes: Any) -> Case:
    return Case(operator, shape, constants, opset, outputs, cast, attributes)


def some(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def number(value: int) -> np.ndarray:
    return np.array(value, dtype=np.int64)


def real(*values: float) -> np.ndarray:
    return np.array(values[0] if len(values) == 1 else values, dtype=np.float32)


ELEMENTWISE = [
    *(
        case(name, (2, 3, 4))
        for name in words(
            "Abs Acos Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity "
            "IsInf IsNaN LeakyRelu Log Mish Neg Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus "
            "Softsign Sqrt Tan Tanh ThresholdedRelu"
        )
    ),
    *(
        case(name, (2, 3, 4), some(3, 1))
        for name in words("Add Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mul PRelu Sub Sum")
    ),
    *(case(name, (2, 3), np.array([True, False, True]), cast=TensorProto.BOOL) for name in ("And", "Or", "Xor")),
    *(case(name, (2, 3), ints(5, 3, -2), cast=TensorProto.INT64) for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    case("BitwiseNot", (2, 3), cast=TensorProto.INT64),
    case("Not", (2, 3), cast=TensorProto.BOOL),
    case("Where", (2, 3), some(2, 3), some(3), cast=TensorProto.BOOL),
    case("Div", (2, 3), ints(3, -2, 2), cast=TensorProto.INT64),
    case("DequantizeLinear", (2, 3), real(0.1), np.uint8(3), cast=TensorProto.UINT8),
    case("QuantizeLinear", (2, 3), real(0.1), np.uint8(10)),
    case("QuantizeLinear", (2, 3), real(0.1, 0.2, 0.3), np.array([1, 0, 2], np.int8), axis=1),
    case("Pow", (2, 3), real(2)),
    case("Mod", (2, 3), some(3), fmod=1),
    case("Mod", (2, 3), ints(3, -2, 5), cast=TensorProto.INT64),
    case("Acosh", (2, 3)),
    case("Clip", (2, 3), real(-0.5), real(0.5)),
    case("Clip", (2, 3), None, real(0.5)),
    case("Clip", (2, 3), opset=9, min=-0.1, max=0.2),
    case("Cast", (2, 3), to=TensorProto.INT64),
    case("CastLike", (2, 3), ints(1)),
    case("Dropout", (2, 3), outputs=2),
    case("Gelu", (2, 3), approximate="tanh"),
]
WINDOWS = [
    case("Conv", (1, 4, 20), some(6, 4, 3), some(6), dilations=[2], pads=[3, 1]),
    case("Conv", (1, 4, 21), some(6, 2, 4), group=2, strides=[3], auto_pad="SAME_UPPER"),
    case("Conv", (1, 4, 21), some(6, 2, 4), group=2, strides=[3], auto_pad="SAME_LOWER"),
    case("Conv", (1, 2, 9, 11), some(3, 2, 3, 2), some(3), strides=[2, 1], pads=[1, 0, 1, 1]),
    case("Conv", (1, 2, 9, 11), some(3, 2, 3, 2), auto_pad="VALID"),
    case("ConvTranspose", (1, 4, 7), some(4, 3, 5), some(3), strides=[3], pads=[1, 1], output_padding=[1]),
    case("ConvTranspose", (1, 4, 7), some(4, 3, 5), some(3), strides=[3], pads=[0, 2]),
    case("ConvTranspose", (1, 4, 7), some(4, 3, 5), strides=[3], output_shape=[20]),
    case("ConvTranspose", (1, 4, 7), some(4, 3, 5), strides=[2], auto_pad="SAME_UPPER"),
    case("ConvTranspose", (1, 4, 7), some(4, 3, 5), strides=[2], auto_pad="SAME_LOWER"),
    case("ConvTranspose", (1, 4, 5, 7), some(4, 3, 3, 3), strides=[2, 2], pads=[1] * 4, output_padding=[1, 1], group=2),
    case("MaxPool", (1, 2, 17), kernel_shape=[3], strides=[2], pads=[1, 1]),
    case("MaxPool", (1, 2, 17), kernel_shape=[4], strides=[3], pads=[0, 3], ceil_mode=1),
    case("MaxPool", (1, 2, 18), kernel_shape=[4], strides=[3], pads=[1, 1], ceil_mode=1),
    case("MaxPool", (1, 2, 17), kernel_shape=[3], dilations=[2], pads=[2, 1]),
    case("MaxPool", (1, 2, 17), kernel_shape=[3], strides=[2], auto_pad="SAME_UPPER"),
    case("AveragePool", (1, 2, 17), kernel_shape=[3], strides=[2], pads=[1, 1]),
    case("AveragePool", (1, 2, 17), kernel_shape=[3], strides=[2], pads=[1, 1], count_include_pad=1),
    case("AveragePool", (1, 2, 17), kernel_shape=[4], strides=[2], pads=[0, 2]),
    case("AveragePool", (1, 2, 17), kernel_shape=[4], strides=[2], pads=[0, 2], count_include_pad=1),
    case("AveragePool", (1, 2, 8, 9), kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_LOWER"),
    case("LpPool", (1, 2, 17), kernel_shape=[3], strides=[2], pads=[1, 1]),
    case("LpPool", (1, 2, 17), kernel_shape=[3], strides=[2], pads=[0, 1], p=1),
    *(case(name, (2, 3, 8)) for name in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")),
    case("LRN", (1, 6, 5, 5), size=3),
]
REDUCTIONS = [
    *(
        case(name, (2, 3, 4), ints(1, -1), opset=18)
        for name in words(
            "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
            "ReduceSumSquare"
        )
    ),
    case("ReduceMean", (2, 3, 4), opset=13, axes=[1], keepdims=0),
    case("ReduceSum", (2, 3, 4), ints(), noop_with_empty_axes=1),
    case("ArgMax", (2, 3, 4), axis=-1, keepdims=0),
    case("ArgMin", (2, 3, 4), axis=1),
    case("TopK", (2, 3, 9), ints(4), outputs=2),
    case("CumSum", (2, 3, 4), number(-1)),
    case("CumSum", (2, 3, 4), number(1), exclusive=1, reverse=1),
    *(case(name, (2, 3, 4), axis=1) for name in ("Softmax", "LogSoftmax", "Hardmax")),
    case("Softmax", (2, 3, 4), opset=11),
    case("Softmax", (2, 3, 4)),
    case("BatchNormalization", (2, 3, 5), some(3), some(3), some(3), some(3) ** 2),
    case("InstanceNormalization", (2, 3, 5), some(3), some(3)),
    case("LayerNormalization", (2, 3, 5), some(3, 5), some(3, 5), axis=1),
    case("GroupNormalization", (2, 6, 5), some(6), some(6), num_groups=3, opset=21),
    case("RMSNormalization", (2, 3, 5), some(5), opset=23),
    case("MeanVarianceNormalization", (2, 3, 4, 5)),
    case("LpNormalization", (2, 3, 4)),
    case("MatMul", (2, 3, 4), some(4, 5)),
    case("Gemm", (3, 4), some(4, 5), some(5), alpha=0.5, beta=2.0),
    case("Gemm", (4, 3), some(5, 4), transA=1, transB=1),
    case("Einsum", (2, 3, 4), some(4, 5), equation="bij,jk->bik"),
    case("Attention", (1, 2, 6, 4), some(1, 2, 8, 4), some(1, 2, 8, 4), opset=23),
    case("Attention", (1, 4, 6, 4), some(1, 2, 8, 4), some(1, 2, 8, 4), some(6, 8), opset=23),
    case("Attention", (1, 6, 8), some(1, 6, 8), some(1, 6, 8), opset=23, q_num_heads=2, kv_num_heads=2, is_causal=1),
]
MOVES = [
    case("Shape", (2, 3, 4), start=1),
    case("Size", (2, 3, 4)),
    case("EyeLike", (3, 4), k=1),
    case("Reshape", (2, 3, 4), ints(0, -1)),
    case("Flatten", (2, 3, 4), axis=-1),
    case("Transpose", (2, 3, 4), perm=[2, 0, 1]),
    case("Transpose", (2, 3, 4)),
    case("Squeeze", (2, 1, 4), ints(1)),
    case("Squeeze", (2, 1, 4)),
    case("Squeeze", (2, 1, 4), opset=11, axes=[1]),
    case("Unsqueeze", (2, 4), ints(-1, 0)),
    case("Expand", (3, 1), ints(2, 1, 4)),
    case("Tile", (2, 3), ints(2, 3)),
    case("Concat", (2, 3, 4), some(2, 1, 4), axis=1),
    case("Split", (2, 3, 7), axis=2, outputs=3, num_outputs=3),
    case("Split", (2, 3, 7), ints(2, 5), axis=2, outputs=2),
    case("Split", (2, 3, 8), axis=-1, outputs=2, opset=11),
    case("Slice", (2, 3, 20), ints(2), ints(-3), ints(2), ints(3)),
    case("Slice", (2, 3, 20), ints(-2, 1), ints(1, 9), ints(2, 1), ints(-4, 1)),
    case("Slice", (2, 3, 20), ints(-1), ints(-(2**62)), ints(-1), ints(-1)),
    case("Slice", (2, 3, 20), ints(30), ints(0), ints(2), ints(-3)),
    case("Slice", (2, 3, 20), ints(0, 5), ints(1, 2**62)),
    case("Slice", (2, 3, 20), opset=9, starts=[3], ends=[8], axes=[2]),
    case("Pad", (2, 3, 8), ints(0, 0, 2, 0, 0, 1), real(3)),
    case("Pad", (2, 3, 8), ints(0, 0, -2, 0, 1, -1)),
    case("Pad", (2, 3, 8), ints(0, 0, 2, 0, 0, 3), mode="reflect"),
    case("Pad", (2, 3, 8), ints(1, 0, 2, 0, 2, 3), mode="edge"),
    case("Pad", (2, 3, 8), ints(2, 3), None, ints(-1), mode="wrap"),
    case("Pad", (2, 3, 8), opset=9, pads=[0, 0, 1, 0, 0, 2], value=2.0),
    case("Gather", (2, 3, 8), ints(1, 4, -1), axis=2),
    case("Gather", (2, 3, 8), ints(1, 3, 5), axis=2),
    case("Gather", (2, 3, 8), ints(6, 4, 2), axis=2),
    case("Gather", (2, 3, 8), number(-1), axis=2),
    case("Gather", (2, 3, 8), np.array([[1, 3], [5, 7]]), axis=2),
    case("GatherElements", (2, 3), np.array([[0, -1], [2, 0]]), axis=1),
    case("GatherND", (4, 3, 5), np.array([[1], [-1]])),
    case("GatherND", (4, 3, 5), np.array([[1, 2], [-1, 0]])),
    case("ScatterND", (4, 3), np.array([[1], [3]]), some(2, 3)),
    case("ScatterND", (4, 3), np.array([[1], [1]]), some(2, 3), reduction="add"),
    case("ScatterElements", (4, 3), np.array([[1, 0, 2], [3, -1, 0]]), some(2, 3)),
    case("ScatterElements", (4, 3), np.array([[1, 0, 2], [3, -1, 0]]), some(2, 3), reduction="add"),
    case("Trilu", (4, 5)),
    case("Trilu", (4, 5), number(-1), upper=0),
    case("OneHot", (2, 3), number(4), real(-1, 2), cast=TensorProto.INT64),
    case("ReverseSequence", (2, 6, 3), ints(6, 6), batch_axis=0, time_axis=1),
    case("DepthToSpace", (1, 8, 2, 3), blocksize=2),
    case("DepthToSpace", (1, 8, 2, 3), blocksize=2, mode="CRD"),
    case("SpaceToDepth", (1, 2, 4, 6), blocksize=2),
    case("Col2Im", (1, 12, 16), ints(5, 6), ints(2, 3)),
]
SPECTRA = [
    case("DFT", (1, 16, 1), None, number(1), onesided=1),
    case("DFT", (1, 16, 2), opset=17, axis=1, inverse=1),
    case("DFT", (1, 16, 2), number(12), number(-2)),
    case("DFT", (1, 3, 16, 1), number(20), number(2)),
    case("STFT", (1, 64, 1), number(4), np.hanning(16).astype(np.float32), onesided=1),
    case("STFT", (1, 64, 1), number(8), None, number(16), onesided=0),
]
NEIGHBOURS: list[dict[str, Any]] = [
    {"mode": "linear"},
    *({"nearest_mode": name} for name in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")),
]
RESAMPLING = [
    *(
        case("Resize", (1, 2, 7), None, real(1, 1, scale), coordinate_transformation_mode=places, **mode)
        for scale in (2.0, 0.7, 1.6)
        for places in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
        for mode in NEIGHBOURS
    ),
    *(
        case("Resize", (1, 2, 6, 7), None, None, ints(1, 2, 9, 4), mode="cubic", exclude_outside=outside,
             coordinate_transformation_mode=places, cubic_coeff_a=a)
        for places in ("half_pixel", "asymmetric", "align_corners")
        for a in (-0.75, -0.5)
        for outside in (0, 1)
    ),
    case("Resize", (1, 2, 7), real(1, 1, 2), opset=10),
    case("Upsample", (1, 2, 7), real(1, 1, 2), opset=9),
    case("Resize", (1, 2, 7), None, None, ints(14), axes=[2]),
]  # fmt: skip
RECURRENCE = [
    *(
        case(name, (9, 2, 3), some(n, gates * 5, 3), some(n, gates * 5, 5), some(n, 2 * gates * 5), outputs=outputs,
             hidden_size=5, direction=direction, **more)
        for name, gates, outputs, more in (
            ("LSTM", 4, 3, {}), ("GRU", 3, 2, {"linear_before_reset": 1}), ("RNN", 1, 2, {})
        )
        for direction, n in (("forward", 1), ("reverse", 1), ("bidirectional", 2))
    ),
    case("LSTM", (9, 2, 3), some(1, 20, 3), some(1, 20, 5), None, None, some(1, 2, 5), some(1, 2, 5), outputs=3,
         hidden_size=5),
    case("RNN", (9, 2, 3), some(1, 5, 3), some(1, 5, 5), outputs=2, hidden_size=5, activations=["Relu"]),
]  # fmt: skip
CASES = [*ELEMENTWISE, *WINDOWS, *REDUCTIONS, *MOVES, *SPECTRA, *RESAMPLING, *RECURRENCE]


def written(path, one: Case) -> str:
    """The file of a case."""
    names, constants = ["x"], []
    for i, value in enumerate(one.constants):
        names.append("" if value is None else f"c{i}")
        constants += [] if value is None else [numpy_helper.from_array(np.asarray(value), f"c{i}")]
    nodes = []
    if one.cast:
        nodes.append(helper.make_node("Cast", ["x"], ["cast"], name="cast", to=one.cast))
        names[0] = "cast"
    outputs = [f"y{i}" for i in range(one.outputs)]
    nodes.append(helper.make_node(one.operator, names, outputs, name="node", **one.attributes))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, one.shape)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", one.opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    for item in model.graph.output:
        if not item.type.tensor_type.HasField("shape"):  # of an operator that keeps it
            item.CopyFrom(helper.make_tensor_value_info(item.name, TensorProto.FLOAT, one.shape))
    onnx.save(model, str(path))
    return str(path)


@pytest.mark.parametrize("one", CASES, ids=str)
def test_gives_what_onnx_runtime_gives(tmp_path, one):
    path = written(tmp_path / "node.onnx", one)
    x = RANDOM.normal(size=one.shape).astype(np.float32) * (3 if one.cast else 1)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": x})
    with torch.no_grad():
        found = OnnxModule(path)(torch.from_numpy(x))
    for want, got in zip(map(np.asarray, expected), found, strict=True):
        assert want.shape == tuple(got.shape)
        np.testing.assert_allclose(got.double().numpy(), want.astype(np.float64), rtol=1e-4, atol=1e-4)


def test_operators_that_no_case_shows():
    """Random constants, which two runs do not share, and names of the same functions."""
    rest = set(OPERATORS) - {one.operator for one in CASES}
    assert rest == {"Bernoulli", "CumProd", "RandomNormalLike", "RandomUniformLike", "Scatter", "Swish"}
