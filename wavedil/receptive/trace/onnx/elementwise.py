"""Operators that give one element for each, of one tensor or of several broadcast against each other."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from wavedil.receptive.trace.onnx.registry import OPERATORS, Operation, operator

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs, "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin, "Asinh": torch.asinh,
    "Atan": torch.atan, "Atanh": torch.atanh, "BitwiseNot": torch.bitwise_not, "Ceil": torch.ceil, "Cos": torch.cos,
    "Cosh": torch.cosh, "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "HardSwish": F.hardswish,
    "IsInf": torch.isinf, "IsNaN": torch.isnan, "Log": torch.log, "Mish": F.mish, "Neg": torch.neg,
    "Not": torch.logical_not, "Reciprocal": torch.reciprocal, "Relu": torch.relu, "Round": torch.round,
    "Sigmoid": torch.sigmoid, "Sign": torch.sign, "Sin": torch.sin, "Sinh": torch.sinh, "Softplus": F.softplus,
    "Softsign": F.softsign, "Sqrt": torch.sqrt, "Tan": torch.tan, "Tanh": torch.tanh,
}  # fmt: skip
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add, "And": torch.logical_and, "BitwiseAnd": torch.bitwise_and, "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor, "Equal": torch.eq, "Greater": torch.gt, "GreaterOrEqual": torch.ge,
    "Less": torch.lt, "LessOrEqual": torch.le, "Max": torch.maximum, "Min": torch.minimum, "Mul": torch.mul,
    "Or": torch.logical_or, "Sub": torch.sub, "Sum": torch.add, "Xor": torch.logical_xor,
}  # fmt: skip
# Element types by their number in the format; those that are narrower than single precision are widened to it.
_TYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64, 9: torch.bool,
    10: torch.float32, 11: torch.float64, 16: torch.float32, 12: torch.int64, 13: torch.int64,
}  # fmt: skip


def _unary(function: Callable[[Tensor], Tensor], call: Operation) -> Tensor:
    return function(call.tensor(0))


def _binary(function: Callable[[Tensor, Tensor], Tensor], call: Operation) -> Tensor:
    return functools.reduce(function, call.tensors)


OPERATORS.update({name: functools.partial(_unary, function) for name, function in _UNARY.items()})
OPERATORS.update({name: functools.partial(_binary, function) for name, function in _BINARY.items()})


@operator("Identity", "Dropout", "Bernoulli")
def identity(call: Operation) -> tuple[Tensor, ...]:
    """The same; of a dropout the mask too, which drops nothing."""
    x = call.tensor(0)
    return x, torch.ones_like(x, dtype=torch.bool)


@operator("Cast", "CastLike")
def cast(call: Operation) -> Tensor:
    """Another element type."""
    x = call.tensor(0)
    if call.node.operator == "CastLike":
        return x.to(call.tensor(1).dtype)
    if call.get("to") not in _TYPES:
        raise call.unknown(f"element type {call.get('to')} is not known")
    kind = _TYPES[call.get("to")]
    return x if kind.is_floating_point and x.dtype.is_floating_point else x.to(kind)


@operator("Div")
def divide(call: Operation) -> Tensor:
    """A quotient, of integers rounded towards zero."""
    a, b = call.tensors
    return a / b if a.dtype.is_floating_point else torch.div(a, b, rounding_mode="trunc")


@operator("Pow")
def power(call: Operation) -> Tensor:
    """A power, of the type of its base."""
    base, exponent = call.tensors
    return torch.pow(base, exponent).to(base.dtype)


@operator("Mod")
def modulo(call: Operation) -> Tensor:
    """A remainder, of the sign of the divisor, or with ``fmod`` of the dividend."""
    return (torch.fmod if call.get("fmod") else torch.remainder)(*call.tensors)


@operator("Mean")
def mean(call: Operation) -> Tensor:
    """The mean of several tensors."""
    return functools.reduce(torch.add, call.tensors) / len(call)


@operator("Where")
def where(call: Operation) -> Tensor:
    """One or the other, by a condition."""
    return torch.where(*call.tensors)


@operator("Clip")
def clip(call: Operation) -> Tensor:
    """Between two bounds."""
    low, high = (call.get(name) if call.value(i) is None else call.tensor(i) for i, name in ((1, "min"), (2, "max")))
    x = call.tensor(0)
    return x if low is None and high is None else torch.clamp(x, low, high)


@operator("PRelu")
def prelu(call: Operation) -> Tensor:
    """A slope for what is negative."""
    x, slope = call.tensors
    return torch.where(x >= 0, x, slope * x)


@operator("LeakyRelu")
def leaky_relu(call: Operation) -> Tensor:
    """A fixed slope for what is negative."""
    return F.leaky_relu(call.tensor(0), call.get("alpha", 0.01))


@operator("Elu", "Celu")
def elu(call: Operation) -> Tensor:
    """Exponential linear units."""
    function = F.elu if call.node.operator == "Elu" else F.celu
    return function(call.tensor(0), call.get("alpha", 1.0))


@operator("Selu")
def selu(call: Operation) -> Tensor:
    """Scaled exponential linear units."""
    alpha, gamma = call.get("alpha", 1.6732632423543772), call.get("gamma", 1.0507009873554805)
    return gamma * F.elu(call.tensor(0), alpha)


@operator("ThresholdedRelu")
def thresholded(call: Operation) -> Tensor:
    """Zero up to a threshold."""
    return F.threshold(call.tensor(0), call.get("alpha", 1.0), 0.0)


@operator("HardSigmoid")
def hard_sigmoid(call: Operation) -> Tensor:
    """A line between zero and one."""
    return torch.clamp(call.get("alpha", 0.2) * call.tensor(0) + call.get("beta", 0.5), 0.0, 1.0)


@operator("Gelu")
def gelu(call: Operation) -> Tensor:
    """Gaussian error linear units."""
    return F.gelu(call.tensor(0), approximate=call.get("approximate", "none"))


@operator("Swish")
def swish(call: Operation) -> Tensor:
    """``x * sigmoid(alpha * x)``."""
    x = call.tensor(0)
    return x * torch.sigmoid(call.get("alpha", 1.0) * x)


@operator("Shrink")
def shrink(call: Operation) -> Tensor:
    """Zero around zero, and by ``bias`` nearer to it elsewhere."""
    x, bias, edge = call.tensor(0), call.get("bias", 0.0), call.get("lambd", 0.5)
    return torch.where(x < -edge, x + bias, torch.where(x > edge, x - bias, 0.0 * x))


@operator("QuantizeLinear")
def quantize(call: Operation) -> Tensor:
    """Integers for numbers, left as numbers: 8 bits wide unless the zero point's type says otherwise."""
    x = call.tensor(0)
    scale, zero = _quantization(call, x)
    kind = torch.uint8 if call.value(2) is None else call.tensor(2).dtype
    limits = torch.iinfo(kind)
    return torch.clamp(torch.round(x / scale) + zero, limits.min, limits.max)


@operator("DequantizeLinear")
def dequantize(call: Operation) -> Tensor:
    """Numbers for integers."""
    x = call.tensor(0)
    scale, zero = _quantization(call, x)
    return (x - zero) * scale


def _quantization(call: Operation, x: Tensor) -> tuple[Tensor, Tensor | float]:
    """Scale and zero point, of the whole tensor or along an axis."""
    if call.get("block_size"):
        raise call.unknown("quantisation in blocks is not known")
    scale = call.tensor(1)
    zero = call.optional(2)
    shape = [1] * x.ndim
    if scale.numel() > 1:
        shape[call.get("axis", 1)] = -1
    return scale.reshape(shape), 0.0 if zero is None else zero.to(scale.dtype).reshape(shape)
