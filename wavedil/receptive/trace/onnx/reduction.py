"""Operators that read whole axes: sums, extremes, norms, matrix products and attention."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wavedil.receptive.trace.onnx.registry import OPERATORS, Operation, operator

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _product(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim)
    return x


_REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": torch.sum,
    "ReduceMean": torch.mean,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceProd": _product,
    "ReduceL1": lambda x, axes, keepdim: x.abs().sum(axes, keepdim),
    "ReduceL2": lambda x, axes, keepdim: (x * x).sum(axes, keepdim).sqrt(),
    "ReduceLogSum": lambda x, axes, keepdim: x.sum(axes, keepdim).log(),
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceSumSquare": lambda x, axes, keepdim: (x * x).sum(axes, keepdim),
}


def _reduced(function: Reduction, call: Operation) -> Tensor:
    x, axes = call.tensor(0), call.ints(1, "axes")
    if not axes and call.get("noop_with_empty_axes"):
        return x
    return function(x, axes or list(range(x.ndim)), bool(call.get("keepdims", 1)))


OPERATORS.update({name: functools.partial(_reduced, function) for name, function in _REDUCTIONS.items()})


@operator("ArgMax", "ArgMin")
def extreme(call: Operation) -> Tensor:
    """Where along an axis the largest or smallest is."""
    function = torch.argmax if call.node.operator == "ArgMax" else torch.argmin
    return function(call.tensor(0), call.get("axis", 0), bool(call.get("keepdims", 1)))


@operator("TopK")
def top(call: Operation) -> Any:
    """The largest along an axis, and where they are."""
    largest, ordered = bool(call.get("largest", 1)), bool(call.get("sorted", 1))
    return torch.topk(call.tensor(0), call.integer(1, "k"), call.get("axis", -1), largest, ordered)


@operator("CumSum", "CumProd")
def running(call: Operation) -> Tensor:
    """All up to each element, or all before it."""
    x, axis = call.tensor(0), call.integer(1)
    backwards = bool(call.get("reverse"))
    x = x.flip(axis) if backwards else x
    total = call.node.operator == "CumSum"
    if call.get("exclusive"):
        first = torch.full_like(x.narrow(axis, 0, 1), 0 if total else 1)
        x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    y = torch.cumsum(x, axis) if total else torch.cumprod(x, axis)
    return y.flip(axis) if backwards else y


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax(call: Operation) -> Tensor:
    """Weights along an axis; before version 13, along that axis and all behind it."""
    x = call.tensor(0)
    old = call.node.opset < 13
    axis = call.get("axis", 1 if old else -1) % x.ndim
    rows = x.flatten(axis) if old and axis < x.ndim - 1 else x
    if call.node.operator == "Hardmax":
        y = (rows == rows.amax(axis, keepdim=True)).to(x.dtype)
    else:
        y = (torch.softmax if call.node.operator == "Softmax" else torch.log_softmax)(rows, axis)
    return y.reshape(x.shape)


@operator("BatchNormalization")
def batch_norm(call: Operation) -> Tensor:
    """A fixed scale and shift; in training, the statistics of the batch."""
    x, weight, bias, mean, variance = call.tensors[:5]
    epsilon = call.get("epsilon", 1e-5)
    if call.get("training_mode"):
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=epsilon)
    return F.batch_norm(x, mean, variance, weight, bias, eps=epsilon)


@operator("InstanceNormalization")
def instance_norm(call: Operation) -> Tensor:
    """Statistics of each channel by itself."""
    return F.instance_norm(call.tensor(0), weight=call.tensor(1), bias=call.tensor(2), eps=call.get("epsilon", 1e-5))


@operator("GroupNormalization")
def group_norm(call: Operation) -> Tensor:
    """Statistics of groups of channels."""
    x, scale, shift = call.tensors
    return F.group_norm(x, call.get("num_groups"), scale, shift, call.get("epsilon", 1e-5))


@operator("LayerNormalization", "RMSNormalization")
def layer_norm(call: Operation) -> Tensor:
    """Statistics of the last axes."""
    if any(call.node.outputs[1:]):
        raise call.unknown("its statistics as outputs are not known")
    x = call.tensor(0)
    shape = x.shape[call.get("axis", -1) :]
    centred = call.node.operator == "LayerNormalization"
    y = (F.layer_norm if centred else F.rms_norm)(x, shape, eps=call.get("epsilon", 1e-5)) * call.tensor(1)
    return y if call.value(2) is None else y + call.tensor(2)


@operator("MeanVarianceNormalization")
def standardise(call: Operation) -> Tensor:
    """Zero mean and unit variance along some axes."""
    x, axes = call.tensor(0), call.get("axes", [0, 2, 3])
    centred = x - x.mean(axes, keepdim=True)
    return centred / ((centred**2).mean(axes, keepdim=True).sqrt() + 1e-9)


@operator("LpNormalization")
def normalise(call: Operation) -> Tensor:
    """Divided by the norm along an axis."""
    return F.normalize(call.tensor(0), call.get("p", 2), call.get("axis", -1))


@operator("MatMul")
def matmul(call: Operation) -> Tensor:
    """A matrix product."""
    return torch.matmul(*call.tensors)


@operator("Gemm")
def gemm(call: Operation) -> Tensor:
    """``alpha * a @ b + beta * c`` with either factor transposed."""
    a, b = call.tensor(0), call.tensor(1)
    a, b = a.mT if call.get("transA") else a, b if call.get("transB") else b.mT
    c, alpha, beta = call.optional(2), call.get("alpha", 1.0), call.get("beta", 1.0)
    y = F.linear(a, b)
    y = y if alpha == 1 else alpha * y
    return y if c is None else y + (c if beta == 1 else beta * c)


@operator("Einsum")
def einsum(call: Operation) -> Tensor:
    """Products summed over the letters that are left out."""
    return torch.einsum(call.get("equation"), *call.tensors)


@operator("Attention")
def attention(call: Operation) -> Tensor | tuple[Tensor, ...]:
    """Queries with keys and values, ``(batch, heads, time, features)`` or ``(batch, time, heads * features)``."""
    if call.get("qk_matmul_output_mode") or len(call) > 4 or any(call.node.outputs[3:]):
        raise call.unknown("past keys and intermediate scores are not known")
    query, key, value = call.tensor(0), call.tensor(1), call.tensor(2)
    flat = query.ndim == 3
    if flat:
        heads = call.get("q_num_heads"), call.get("kv_num_heads"), call.get("kv_num_heads")
        parts = zip((query, key, value), heads, strict=True)
        query, key, value = (x.unflatten(-1, (n, -1)).transpose(1, 2) for x, n in parts)
    y = F.scaled_dot_product_attention(
        query,
        key,
        value,
        call.optional(3),
        is_causal=bool(call.get("is_causal")),
        scale=call.get("scale"),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    y = y.transpose(1, 2).flatten(2) if flat else y
    return y, key, value
