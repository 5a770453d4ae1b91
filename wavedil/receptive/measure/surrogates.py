"""Stand-ins for functions whose own gradient does not show everything that they read.

Each takes what its function takes and returns the same shapes. The values mean nothing, except that 0 is a constant
zero and minus infinity is masked; the gradient is nonzero exactly where the function reads. Four kinds need one:
functions that are flat (rounding) or pick an element (max), functions whose gradient vanishes over many steps
(recurrences, products), and those that cancel it for a single element (normalisations).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils import _pytree as pytree

# What is at most this is masked: exp(-1000) is 0 in every precision.
MASKED = -1000.0


def names(text: str) -> frozenset[str]:
    """Words as a set."""
    return frozenset(text.split())


# Elementwise functions, flat or with a kink: their result reads all their arguments at its own place.
FLAT = names(
    "acosh alpha_dropout arccosh bernoulli ceil clamp clamp_max clamp_min clip copysign dropout "
    "fake_quantize_per_channel_affine fake_quantize_per_tensor_affine feature_alpha_dropout feature_dropout fix "
    "floor floor_divide fmax fmin fmod frac hardshrink hardsigmoid hardswish hardtanh heaviside maximum minimum "
    "nan_to_num poisson relu relu6 remainder round sgn sign softshrink threshold trunc"
)

# Elementwise functions from or to truth values and whole numbers, which carry no gradient of their own.
LOGICAL = names(
    "__and__ __invert__ __or__ __xor__ bitwise_and bitwise_not bitwise_or bitwise_xor bool bucketize byte char eq ge "
    "greater greater_equal gt int isclose isfinite isinf isnan isneginf isposinf isreal le less less_equal logical_and "
    "logical_not logical_or logical_xor long lt ne not_equal short signbit to type type_as"
)

# Elementwise functions that a condition computed from the input may enter.
ELEMENTWISE = FLAT | LOGICAL | names("add div double float masked_fill mul rsub sub where")

# Functions that reduce by picking: name -> (position of dim among the arguments, dim if it is not given).
_PICKING: dict[str, tuple[int, int | None]] = {
    **dict.fromkeys(["amax", "amin", "aminmax", "max", "median", "min", "nanmedian", "prod"], (1, None)),
    **dict.fromkeys(["quantile", "nanquantile"], (2, None)),
    **dict.fromkeys(["mode", "sort"], (1, -1)),
    "msort": (1, 0),
    **dict.fromkeys(["kthvalue", "topk"], (2, -1)),
}

Function = Callable[..., Any]


def surrogate_of(name: str, function: Function) -> Function | None:
    """The stand-in of a function of torch by its name, None if it needs none."""
    if name in _NORMS:
        return partial(_normalise, function)
    if name in ("softmax", "_softmax"):
        return partial(_softmax, 0.0)
    if name in ("log_softmax", "_log_softmax"):
        return partial(_softmax, -torch.inf)
    if name in _PICKING:
        return partial(_pick, function, name)
    if name in ("cummax", "cummin", "cumprod", "logcumsumexp"):
        return partial(_cumulate, function)
    if name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        return partial(_recur, function)
    if name in ("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"):
        return partial(_recur_once, function)
    if name == "scaled_dot_product_attention":
        return _attend
    for axes in (1, 2, 3):
        if name in (f"max_pool{axes}d", f"max_pool{axes}d_with_indices"):
            return partial(_max_pool, axes, name.endswith("indices"))
        if name in (f"adaptive_max_pool{axes}d", f"adaptive_max_pool{axes}d_with_indices"):
            return partial(_adaptive_max_pool, axes, name.endswith("indices"))
    return None


def unmasked(x: Tensor) -> Tensor:
    """X with zero, and no gradient, where it is masked."""
    return x if x.is_complex() else x.masked_fill(x <= MASKED, 0)


def _softmax(where_masked: float, input: Tensor, dim: int, *_: Any, **__: Any) -> Tensor:
    """Each element and the sum of its row, of what is not masked."""
    read = unmasked(input)
    return (read + read.sum(dim, keepdim=True)).masked_fill(input <= MASKED, where_masked)


# Smooth in all that they normalise over, but blind to an element that is alone in it.
_NORMS = names("batch_norm group_norm instance_norm layer_norm rms_norm")


def _normalise(function: Function, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return function(input, *args, **kwargs) + input


def _pick(function: Function, name: str, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Sums instead of extremes, order statistics and products: any element may be the one."""
    position, default = _PICKING[name]

    def argument(key: str, place: int, otherwise: Any) -> Any:
        return kwargs.get(key, args[place - 1] if len(args) >= place else otherwise)

    dim = argument("dim", position, kwargs.get("axis", default))
    axes = tuple(range(input.ndim)) if dim is None or dim == () else dim
    total = unmasked(input).sum(axes, keepdim=True)
    if name not in ("sort", "msort", "topk") and not argument("keepdim", position + 1, False):
        total = total.squeeze(axes)
    return _in_place_of(function(input.detach(), *args, **kwargs), total)


def _cumulate(function: Function, input: Tensor, dim: int, **kwargs: Any) -> Any:
    return _in_place_of(function(input.detach(), dim, **kwargs), unmasked(input).cumsum(dim))


def _in_place_of(result: Any, values: Tensor) -> Any:
    """The result with these values, broadcast, as its floating-point tensors; indices stay."""
    return pytree.tree_map_only(Tensor, lambda t: values.expand(t.shape) if t.is_floating_point() else t, result)


def _recur(
    function: Function,
    input: Tensor,
    hx: Any,
    params: Any,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> tuple[Tensor, ...]:
    """A cumulative sum over time in each layer and direction: everything so far, and nothing later."""
    if not isinstance(params, list | tuple) or isinstance(has_biases, list | tuple):
        raise ValueError(f"{function.__name__} got a packed sequence, expected a padded one to measure")
    with torch.no_grad():
        y, *finals = function(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)
    directions = 2 if bidirectional else 1
    starts: Any = sum(_features(h) for h in pytree.tree_leaves(hx))
    x = input.transpose(0, 1) if batch_first else input
    last = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            step = x.flip(0) if direction else x
            sums = _features(step).cumsum(0) + starts[layer * directions + direction]
            last.append(sums[-1])
            outputs.append(sums.flip(0) if direction else sums)
        x = torch.cat(outputs, dim=-1)
    x = x.repeat_interleave(y.shape[-1] // directions, dim=-1)
    return x.transpose(0, 1) if batch_first else x, *(torch.stack(last).expand(final.shape) for final in finals)


def _recur_once(function: Function, input: Tensor, hx: Any, *args: Any) -> Any:
    with torch.no_grad():
        result = function(input, hx, *args)
    return _in_place_of(result, sum((_features(h) for h in pytree.tree_leaves(hx)), _features(input)))


def _features(x: Tensor) -> Tensor:
    """Sum of the features and of a bias, which keeps it from being a constant zero."""
    return x.sum(dim=-1, keepdim=True) + 1


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention by its formula, so that its softmax has its stand-in."""
    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], dim=-3) for t in (key, value))
    scores = query @ key.transpose(-2, -1) / query.shape[-1]
    if is_causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    if attn_mask is not None:
        boolean = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -torch.inf) if boolean else scores + attn_mask
    return _softmax(0.0, scores, -1) @ value


def _max_pool(
    axes: int,
    indexed: bool,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """A convolution with ones in the same geometry: average pooling knows no dilation."""
    function = getattr(F, f"max_pool{axes}d")
    values, indices = function(input.detach(), kernel_size, stride, padding, dilation, ceil_mode, True)
    k, p, d = (_per_axis(size, axes) for size in (kernel_size, padding, dilation))
    s = _per_axis(stride or kernel_size, axes)
    lengths, counts = input.shape[-axes:], values.shape[-axes:]
    spans = [(counts[i] - 1) * s[i] + d[i] * (k[i] - 1) + 1 for i in range(axes)]
    # Zeros around, then exactly what the windows span: with ceil_mode the last one hangs over the end.
    widths = [(p[i], spans[i] - lengths[i] - p[i]) for i in reversed(range(axes))]
    padded = F.pad(input.reshape(-1, 1, *lengths), [width for pair in widths for width in pair])
    convolution = getattr(F, f"conv{axes}d")
    pooled = convolution(padded, padded.new_ones(1, 1, *k), stride=s, dilation=d).reshape(values.shape)
    return (pooled, indices) if indexed or return_indices else pooled


def _adaptive_max_pool(axes: int, indexed: bool, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    pooled = getattr(F, f"adaptive_avg_pool{axes}d")(input, output_size)
    if not (indexed or return_indices):
        return pooled
    return pooled, getattr(F, f"adaptive_max_pool{axes}d")(input.detach(), output_size, True)[1]


def _per_axis(size: Any, axes: int) -> tuple[int, ...]:
    sizes = tuple(size) if isinstance(size, list | tuple) else (size,)
    return sizes * axes if len(sizes) == 1 else sizes
