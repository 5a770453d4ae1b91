"""Operators that read whole dimensions: sums, extremes, norms, and those that read all that came before."""

from typing import Any

from wavedil.receptive.trace.reach import Reach, around, before, join, reaches, reduce, spread
from wavedil.receptive.trace.rules.registry import Call, rule

_REDUCTIONS = """
sum mean amax amin max min prod all any norm logsumexp std var var_mean std_mean argmax argmin median nanmedian mode
nansum nanmean count_nonzero linalg_vector_norm aminmax max_dim min_dim kthvalue frobenius_norm nuclear_norm
mean_dim
"""
_WHOLE_ROWS = """
sort argsort topk cumulative_trapezoid renorm unique_dim msort histc
"""


@rule(*_REDUCTIONS.split())
def reduction(call: Call) -> Any:
    """One element for all along some dimensions; of ``max(a, b)``, one for each."""
    x = call.get("self", "input", "x")
    if isinstance(call.get("other"), Reach) or not isinstance(x, Reach):
        return join(reaches(*call.values), call.shape)
    dims = call.get("dim", "dims")
    dims = [dims] if isinstance(dims, int) else dims
    result = reduce(x, dims, bool(call.get("keepdim", default=False)))
    return [result] * len(call.shapes) if isinstance(call.shapes, list) else result


@rule(*_WHOLE_ROWS.split())
def whole_rows(call: Call) -> Any:
    """Any place of a row may hold any of its elements."""
    x, dim = call["self"], call.get("dim", default=-1)
    whole = reduce(x, [dim], keepdim=True)
    shapes = call.shapes if isinstance(call.shapes, list) else [call.shapes]
    results = [whole.like(spread(whole.planes, shape)) for shape in shapes]
    return results if isinstance(call.shapes, list) else results[0]


@rule("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
def running(call: Call) -> Any:
    """Each element reads all that came before it."""
    result = before(call["self"], call["dim"])
    return [result] * len(call.shapes) if isinstance(call.shapes, list) else result


@rule("batch_norm", "_native_batch_norm_legit", "native_batch_norm", "_batch_norm_impl_index", "cudnn_batch_norm",
      "_native_batch_norm_legit_no_training", "_batch_norm_with_update", "_native_batch_norm_legit_functional",
      "_batch_norm_with_update_functional", "_batch_norm_no_update")  # fmt: skip
def batch_norm(call: Call) -> Any:
    """A fixed scale and shift in evaluation; in training, the statistics of the whole batch."""
    x = call["input"]
    training = call.get("training", "train", default="with_update" in call.name)
    return _normalised(call, x, [0, *range(2, x.ndim)] if training or call.get("running_mean") is None else [])


@rule("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm")
def layer_norm(call: Call) -> Any:
    """Statistics over the last dimensions."""
    x = call["input"]
    return _normalised(call, x, range(-len(call["normalized_shape"]), 0))


@rule("instance_norm")
def instance_norm(call: Call) -> Any:
    """Statistics over time (and frequency), of each channel by itself."""
    x = call["input"]
    return _normalised(call, x, range(2, x.ndim) if call["use_input_stats"] else [])


@rule("group_norm", "native_group_norm")
def group_norm(call: Call) -> Any:
    """Statistics over a group of channels and all of time (and frequency)."""
    x, groups = call["input"], call.get("num_groups", "group")
    planes = x.planes
    if x.varies(1) and groups > 1:
        split = planes.reshape(*planes.shape[:2], groups, -1, *planes.shape[3:])
        whole = split.amax(list(range(3, split.ndim)), keepdim=True).expand(split.shape).reshape(planes.shape)
        result = join([x, x.like(whole)], x.shape)
    else:
        result = around(x, range(1, x.ndim))
    return _results(call, x, result)


@rule("normalize", "cosine_similarity", "pairwise_distance")
def normalise(call: Call) -> Any:
    """Divided by a norm along a dimension."""
    parts = reaches(*call.values)
    dim = call.get("dim", default=1)
    if call.name == "normalize":
        return around(parts[0], [dim])
    return reduce(join(parts), [dim])


def _normalised(call: Call, x: Reach, dims: Any) -> Any:
    dims = list(dims)
    return _results(call, x, around(x, dims) if dims else x)


def _results(call: Call, x: Reach, result: Reach) -> Any:
    """The normalised tensor and, from native operators, its statistics too."""
    parts = reaches(*[value for value in call.values if value is not x])
    if parts:
        result = join([result, *parts], result.shape)
    result = result.like(result.planes)
    if not isinstance(call.shapes, list):
        return result
    total = reduce(result, None)
    return [result, *(total.like(spread(total.planes, shape)) for shape in call.shapes[1:])]
