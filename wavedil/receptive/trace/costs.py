"""The table of growth of a traced module: what each operator adds, and what it costs."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from torch import nn

from wavedil.receptive.answer import Growth, Row
from wavedil.receptive.trace.fields import fitted, inner, intervals, of_one_side
from wavedil.receptive.trace.program import Step
from wavedil.receptive.trace.reach import Reach
from wavedil.receptive.trace.rules.registry import Call, as_list, as_pair

# What the table calls the operators that it shows.
KINDS = {
    "conv1d": "conv", "conv2d": "conv", "conv3d": "conv", "convolution": "conv", "_convolution": "conv",
    "conv_transpose1d": "transposed", "conv_transpose2d": "transposed", "conv_transpose3d": "transposed",
    "linear": "linear", "mm": "matmul", "bmm": "matmul", "matmul": "matmul", "addmm": "linear", "baddbmm": "matmul",
    "scaled_dot_product_attention": "attention", "lstm": "lstm", "gru": "gru", "rnn_tanh": "rnn", "rnn_relu": "rnn",
    "max_pool1d": "pool", "max_pool2d": "pool", "avg_pool1d": "pool", "avg_pool2d": "pool",
    "max_pool1d_with_indices": "pool", "max_pool2d_with_indices": "pool", "adaptive_avg_pool1d": "pool",
    "adaptive_avg_pool2d": "pool", "adaptive_max_pool1d": "pool", "adaptive_max_pool2d": "pool",
    "stft": "framing", "istft": "framing", "unfold": "framing", "im2col": "framing", "col2im": "framing",
    "fft_rfft": "fourier", "fft_fft": "fourier",
    "group_norm": "norm", "instance_norm": "norm", "cumsum": "running", "mean": "mean", "sum": "sum",
    "upsample_nearest1d": "resample", "upsample_nearest2d": "resample", "upsample_linear1d": "resample",
    "upsample_bilinear2d": "resample", "upsample_bicubic2d": "resample",
}  # fmt: skip


def cost_rows(steps: Sequence[Step], lengths: Sequence[int], module: nn.Module) -> list[Row]:
    """A row for each operator that reads more than its own place, or has weights.

    Args:
        steps: of a walk, in order.
        lengths: of the input along each axis.
        module: gives the parameters, by path.
    """
    children = dict(module.named_modules())
    counted: set[str] = set()
    rows = []
    for step in steps:
        if step.name not in KINDS:
            continue
        own = 0
        if step.path in children and step.path not in counted:
            counted.add(step.path)
            own = sum(p.numel() for p in children[step.path].parameters(recurse=False))
        rows.append(_row(step, lengths, own))
    return rows


def _row(step: Step, lengths: Sequence[int], parameters: int) -> Row:
    growths = [_growth(step, axis, length) for axis, length in enumerate(lengths)]
    time = growths[0]
    return Row(
        name=step.path or step.name,
        kind=KINDS[step.name],
        time=time,
        frequency=growths[1] if len(growths) > 1 else None,
        parameters=parameters,
        state_values=state_values(step, time, lengths),
        macs_per_sample=macs(step) / _covered(step, time, lengths[0]),
    )


def _covered(step: Step, time: Growth, length: int) -> float:
    """Inputs for which the operator's outputs in time stand."""
    where = intervals(step.output, 0, length)
    return length if where is None or time.hop is None else float(len(where.starts) * time.hop)


def _growth(step: Step, axis: int, length: int) -> Growth:
    """How far the network reads along an axis from this operator."""
    reach = step.output
    sizes = _geometry(step.call, reach, axis, length)
    where = intervals(reach, axis, length)
    if where is None:
        return Growth(*sizes, None, None, None, None, "everything")
    field = fitted(where, inner(where, length, where.width, where.width))
    if field is None:
        field = of_one_side(where, length)
        if field is None:
            stride = Fraction(length, len(where.starts)).limit_denominator(10_000)
            return Growth(*sizes, None, None, None, stride, "everything")
    return Growth.of(field, *sizes)


def _geometry(call: Call, reach: Reach, axis: int, length: int) -> tuple[int | None, int | None, int | None]:
    """Kernel size, stride and dilation along the axis, where the operator has them."""
    if "stride" not in call.args and "hop_length" not in call.args and call.name != "unfold":
        return None, None, None
    if call.name in ("stft", "istft"):
        return call["n_fft"], call["hop_length"] or call["n_fft"] // 4, 1
    if call.name == "unfold":
        return call["size"], call["step"], 1
    weight = call.get("weight")
    kernel = list(weight.shape[2:]) if weight is not None else call.get("kernel_size")
    count = len(as_pair(kernel, 1))
    where = intervals(reach, axis, length)
    place = -1 if where is None or reach.ndim < count else where.dim - reach.ndim
    place = place if -count <= place < 0 else -1
    stride = call["stride"] or kernel
    return tuple(as_pair(value, count)[place] for value in (kernel, stride, call.get("dilation", default=1)))


def macs(step: Step) -> float:
    """Multiply-accumulates of one call, for one item of the batch; Fourier transforms are not counted."""
    call, kind = step.call, KINDS[step.name]
    batch = max(step.output.shape[0], 1) if step.output.ndim else 1
    out = math.prod(step.output.shape)
    if kind in ("conv", "transposed"):
        # Per output (of a transposed layer, per input): the channels of its group, and the taps.
        each = math.prod(call["weight"].shape[1:])
        return (math.prod(call["input"].shape) if kind == "transposed" else out) * each / batch
    if kind in ("linear", "matmul"):
        a = next(value for name, value in call.args.items() if name in ("input", "self", "mat1", "batch1"))
        inner = call["mat1"].shape[-1] if "mat1" in call.args else a.shape[-1]
        inner = call["batch1"].shape[-1] if "batch1" in call.args else inner
        return out * inner / batch
    if kind == "attention":
        query, key = call["query"].shape, call["key"].shape
        return 2 * math.prod(query) * key[-2] / batch
    if kind in ("lstm", "gru", "rnn"):
        return float(_recurrent_weights(call) * _times(call))
    return 0.0


def _recurrent_weights(call: Call) -> int:
    weights = [p for p in call["params"] if not isinstance(p, Reach) and p.ndim == 2]
    return sum(p.numel() for p in weights)


def _times(call: Call) -> int:
    x: Any = call["input"]
    return x.shape[1] if call["batch_first"] and x.ndim == 3 else x.shape[0]


def state_values(step: Step, time: Growth, lengths: Sequence[int]) -> int | None:
    """Values that a stream must keep for one item of the batch; None where they grow with the stream.

    A window keeps what the next one shares with it, a recurrent layer its states. Delays of branches are not counted.
    """
    call, kind = step.call, KINDS[step.name]
    if kind in ("lstm", "gru", "rnn") and not call["bidirectional"]:
        states = as_list(call["hx"])
        return sum(math.prod(state.shape) // state.shape[-2] for state in states)
    if kind not in ("conv", "transposed", "pool", "framing", "linear", "resample", "fourier"):
        return None if time.unbounded else 0
    x = call.get("input", "self")
    if kind in ("linear", "resample", "fourier") or not isinstance(x, Reach):
        return 0
    where = intervals(x, 0, lengths[0])
    kernel, stride, dilation = _geometry(call, step.output, 0, lengths[0])
    if where is None or kernel is None or stride is None or dilation is None:
        return 0
    span = dilation * (kernel - 1) + 1
    kept = -(-(span - stride) // stride) if KINDS[step.name] == "transposed" else span - stride
    others = math.prod(size for dim, size in enumerate(x.shape) if dim not in (0, where.dim))
    return max(kept, 0) * others
