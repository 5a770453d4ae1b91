"""Operators that give one element for each, of one tensor or of several broadcast against each other."""

import math

import torch
from torch import Tensor

from wavedil.receptive.trace.reach import MASKED, NOTHING, Reach, join, lift, reaches, reduce, spread
from wavedil.receptive.trace.rules.registry import Call, rule

_UNARY = """
abs absolute acos acosh angle arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh bitwise_not ceil celu
clamp clamp_max clamp_min clip conj conj_physical cos cosh deg2rad digamma alpha_dropout feature_dropout
feature_alpha_dropout elu erf erfc erfinv exp exp2 expm1 fix floor frac gelu hardshrink hardsigmoid hardswish hardtanh
i0 imag isfinite isinf isnan leaky_relu lgamma log log10 log1p log2 log_sigmoid logical_not logit mish nan_to_num neg
negative positive prelu rad2deg real reciprocal relu relu6 resolve_conj resolve_neg round rrelu rsqrt rrelu_with_noise
selu sgn sigmoid sign signbit silu sin sinc sinh softplus softshrink special_expit sqrt square tan tanh threshold
trunc bucketize fake_quantize_per_tensor_affine relu_ native_dropout bernoulli int long bool _conj _neg_view
_conj_physical
"""
_BINARY = """
add sub subtract rsub div divide true_divide floor_divide remainder fmod pow float_power atan2 arctan2 maximum
minimum max_binary fmax fmin eq ne lt le gt ge equal greater greater_equal less less_equal not_equal logical_and
logical_or logical_xor bitwise_and bitwise_or bitwise_xor hypot copysign heaviside xlogy special_xlog1py logaddexp
logaddexp2 lerp addcmul addcdiv isclose nextafter ldexp polar complex gcd lcm mse_loss l1_loss smooth_l1_loss
"""


@rule(*dict.fromkeys(_UNARY.split()), *dict.fromkeys(_BINARY.split()))
def elementwise(call: Call) -> Reach | list[Reach]:
    """Depends on the same elements of all arguments."""
    value = _masked_sum(call) if call.name in ("add", "sub") else None
    result = join(reaches(*call.values), call.shape, value)
    result = result if value is None else _cut(result, value == NOTHING)
    return [result] * len(call.shapes) if isinstance(call.shapes, list) else result


@rule("_to_copy", "to", "type_as", "float", "double", "half", "bfloat16", "contiguous", "clone", "detach",
      "detach_copy", "lift_fresh", "lift_fresh_copy", "pin_memory", "requires_grad", "data", "alias",
      "dropout")  # fmt: skip
def duplicate(call: Call) -> Reach:
    """A copy of the first argument, in another precision or place: what is known of its values stays."""
    part = lift(call.values[0], reaches(*call.values)[0])
    return part.like(spread(part.planes, call.shape), part.value)


def _masked_sum(call: Call) -> Tensor | None:
    """What a constant mask added to scores leaves of them: elements that no softmax reads any more."""
    other = call["other"]
    if call.name == "sub":
        other = -other if isinstance(other, Tensor) and other.is_floating_point() else None
    masks = [x for x in (call["self"], other) if isinstance(x, Tensor) and x.is_floating_point() and x.ndim]
    known = [x.value for x in reaches(call["self"], other) if x.value is not None]
    masks += [value.nan_to_num(0.0) for value in known]
    total: Tensor | None = None
    for mask in masks:
        mask = mask.to(torch.float32).expand(call.shape)
        low = torch.where(mask <= MASKED, mask, torch.nan)
        total = low if total is None else torch.where(low.isnan(), total, low)
    return None if total is None or bool(total.isnan().all()) else total


def _cut(reach: Reach, known: Tensor) -> Reach:
    """Elements that turned out to be constants depend on nothing."""
    if not bool(known.any()):
        return reach
    planes = torch.where(known.expand(reach.shape), NOTHING, reach.planes)
    return reach.like(planes, reach.value)


@rule("fill", "zero", "normal_functional", "log_normal", "uniform", "cauchy", "exponential", "copy")
def overwrite(call: Call) -> Reach:
    """Every element written over, with a constant, at random or from another tensor."""
    source = call.get("value", "src", default=0.0 if call.name == "zero" else math.nan)
    part = lift(source, reaches(*call.values)[0])
    value = None if part.value is None else part.value.expand(call.shape)
    return part.like(spread(part.planes, call.shape), value)


@rule("mul", "multiply")
def multiply(call: Call) -> Reach:
    """A product, to which a known zero is fatal."""
    return product([call["self"], call["other"]], call.shape)


def product(factors: list[object], shape: torch.Size) -> Reach:
    """The elementwise product of constants and reaches."""
    zero: Tensor | None = None
    for factor in factors:
        known = factor.value if isinstance(factor, Reach) else torch.as_tensor(factor)
        if known is not None and bool((known == 0).any()):
            mine = (known == 0).expand(shape)
            zero = mine if zero is None else zero | mine
    parts = reaches(*factors)
    # Scaling a score that is masked leaves it masked.
    values = [part.value for part in parts if part.value is not None]
    value = values[0].expand(shape) if len(values) == 1 and len(parts) == 1 else None
    if zero is not None:
        value = torch.where(zero, 0.0, torch.nan if value is None else value)
    result = join(parts, shape, value)
    return result if zero is None else _cut(result, zero)


@rule("masked_fill")
def masked_fill(call: Call) -> Reach:
    """A constant where the mask is set, the scores elsewhere."""
    return choose(call["mask"], call["value"], call["self"], call.shape)


@rule("where")
def where(call: Call) -> Reach:
    """One or the other, by a condition."""
    return choose(call["condition"], call["self"], call.get("other"), call.shape)


def choose(condition: object, chosen: object, other: object, shape: torch.Size) -> Reach:
    """``where``, of which the branch not taken is not read if the condition is a constant."""
    like = reaches(condition, chosen, other)[0]
    a, b = lift(chosen, like), lift(other, like)
    if isinstance(condition, Reach):
        return join([condition, a, b], shape)
    mask = torch.as_tensor(condition).expand(shape)
    planes = torch.where(mask, spread(a.planes, shape), spread(b.planes, shape))
    value = None
    if a.value is not None or b.value is not None:
        nothing = torch.tensor(torch.nan)
        value = torch.where(mask, nothing if a.value is None else a.value, nothing if b.value is None else b.value)
    joined = join([a, b], shape)
    return joined.like(planes, value)


@rule("_softmax", "softmax", "_log_softmax", "log_softmax", "_safe_softmax", "softmin", "gumbel_softmax")
def softmax(call: Call) -> Reach:
    """Each element reads its whole row, save those that a mask takes out, which become zero."""
    scores, dim = call["self"], call["dim"]
    if scores.value is None:
        return _row(scores, dim)
    masked = (scores.value <= MASKED).expand(scores.shape)
    kept = scores.like(torch.where(masked, NOTHING, scores.planes))
    result = _row(kept, dim)
    value = torch.where(masked, 0.0, torch.nan)
    return _cut(result.like(result.planes, value), masked)


def _row(scores: Reach, dim: int) -> Reach:
    whole = reduce(scores, [dim], keepdim=True)
    return whole.like(spread(whole.planes, scores.shape))


@rule("embedding", "one_hot")
def embedding(call: Call) -> Reach:
    """A row for each index."""
    index = call.get("indices", "self")
    return index.like(spread(index.planes[..., None], call.shape))


@rule("view_as_real")
def view_as_real(call: Call) -> Reach:
    """Two real numbers for each complex one."""
    return call["self"].like(spread(call["self"].planes[..., None], call.shape))


@rule("view_as_complex")
def view_as_complex(call: Call) -> Reach:
    """One complex number of each two."""
    return reduce(call["self"], [-1])
