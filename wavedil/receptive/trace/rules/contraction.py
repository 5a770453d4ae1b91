"""Matrix products, linear layers and attention."""

import math
from typing import Any

import torch
from torch import Tensor

from wavedil.receptive.trace.reach import NOTHING, Reach, compact, join, lift, reaches, spread
from wavedil.receptive.trace.rules.elementwise import choose, elementwise, softmax
from wavedil.receptive.trace.rules.registry import Call, rule

# Elements of an intermediate result that are handled at once.
_CHUNK = 1 << 24


@rule("linear")
def linear(call: Call) -> Reach:
    """``x @ weight.T + bias``."""
    weight = call["weight"]
    return _plus(matmul(call["input"], _transposed(weight), call.shape), call.get("bias"))


@rule("mm", "bmm", "matmul", "mv", "dot", "vdot")
def product(call: Call) -> Reach:
    """A matrix product."""
    a, b = call.values[:2]
    return matmul(a, b, call.shape)


@rule("addmm", "baddbmm", "addmv", "addbmm")
def sum_of_products(call: Call) -> Reach:
    """A matrix product and an addend."""
    _, a, b = call.values[:3]
    shape = call.shape
    if call.name == "addbmm":
        whole = matmul(a, b, torch.Size([a.shape[0], *shape]))
        return _plus(whole.like(whole.planes.amax(1)), call["self"])
    return _plus(matmul(a, b, shape), call["self"])


@rule("outer", "ger", "kron", "cross", "linalg_cross")
def outer(call: Call) -> Reach:
    """Every element of one with every element of the other."""
    from wavedil.receptive.trace.rules.movement import everything

    return everything(call)


@rule("cdist", "_cdist_forward", "_euclidean_dist")
def distances(call: Call) -> Reach:
    """Between each row of one and each row of the other."""
    a, b = (part if isinstance(part, Reach) else torch.ones(part.shape) for part in call.values[:2])
    return matmul(a, _transposed(b), call.shape)


def _plus(result: Reach, addend: Any) -> Reach:
    """An addend, which may be a mask."""
    if addend is None:
        return result
    return elementwise(Call("add", {"self": result, "other": addend}, result.shape, torch.add))


def _transposed(x: Any) -> Any:
    if x.ndim < 2:
        return x
    if isinstance(x, Reach):
        return x.like(x.planes.mT, None if x.value is None else x.value.mT)
    return x.mT


def matmul(a: Any, b: Any, shape: torch.Size) -> Reach:
    """What ``a @ b`` depends on; what meets a known zero of the other factor is not read.

    Args:
        a: ``(..., rows, inner)`` or ``(inner,)``, a reach or a constant.
        b: ``(..., inner, columns)`` or ``(inner,)``, a reach or a constant.
        shape: of the product.
    """
    row, column = a.ndim == 1, b.ndim == 1
    left = _expanded(a, 0) if row else a
    right = _expanded(b, 1) if column else b
    full = torch.Size([*torch.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1]])
    parts = []
    if isinstance(left, Reach):
        parts.append(_contracted(left, right, full))
    if isinstance(right, Reach):
        turned = torch.Size([*full[:-2], full[-1], full[-2]])
        other = _contracted(_transposed(right), _transposed(left), turned)
        parts.append(other.like(other.planes.mT))
    result = join(parts, full)
    return result.like(result.planes.reshape(result.planes.shape[0], *shape)) if full != shape else result


def _expanded(x: Any, dim: int) -> Any:
    if isinstance(x, Reach):
        return x.like(x.planes.unsqueeze(1 + dim), None if x.value is None else x.value.unsqueeze(dim))
    return x.unsqueeze(dim)


def _contracted(a: Reach, b: Any, shape: torch.Size) -> Reach:
    """What each element of ``a @ b`` reads of a."""
    read = _read(b)
    whole = compact(a.planes)
    if read is None:
        return a.like(spread(whole.amax(-1, keepdim=True), shape))
    if whole.shape[-1] == 1:  # all of the inner dimension is alike: is any of it read?
        any_read = read.any(-2, keepdim=True)
        planes = torch.where(any_read, spread(whole, [*a.shape[:-1], 1]), NOTHING)
        return a.like(spread(planes, shape))
    batch = torch.broadcast_shapes(whole.shape[1:-2], read.shape[:-2])
    columns = read.shape[-1]
    each = max(_CHUNK // max(whole.numel() * max(math.prod(batch) // max(math.prod(whole.shape[1:-2]), 1), 1), 1), 1)
    results = []
    for first in range(0, columns, each):
        part = read[..., first : first + each].mT[..., None, :, :]  # (..., 1, columns, inner)
        results.append(torch.where(part, whole[..., :, None, :], NOTHING).amax(-1))
    return a.like(spread(torch.cat(results, -1), shape))


def _read(b: Any) -> Tensor | None:
    """Where the other factor is not a known zero; None if that is everywhere."""
    if isinstance(b, Reach):
        if b.value is None:
            return None
        read = (b.value != 0).expand(b.shape)
    else:
        read = b != 0
    return None if bool(read.all()) else read


@rule("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu",
      "_scaled_dot_product_attention_math")  # fmt: skip
def attention(call: Call) -> Any:
    """Queries read the keys and values that the mask lets them read."""
    query, key, value = call["query"], call["key"], call["value"]
    mask = call.get("attn_mask")
    like = reaches(query, key, value, mask)[0]
    batch = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2]) if not call.get("enable_gqa") else query.shape[:-2]
    shape = torch.Size([*batch, query.shape[-2], key.shape[-2]])
    if call.get("enable_gqa"):
        key, value = (_repeated(part, query.shape[-3] // part.shape[-3]) for part in (key, value))
    scores = matmul(lift(query, like), _transposed(lift(key, like)), shape)
    if call.get("is_causal"):
        causal = torch.ones(shape[-2:], dtype=torch.bool).tril()
        scores = choose(causal, scores, torch.tensor(NOTHING), shape)
    if mask is not None:
        scores = _masked(scores, mask, shape)
    weights = softmax(Call("softmax", {"self": scores, "dim": -1}, shape, torch.softmax))
    shapes = call.shapes if isinstance(call.shapes, list) else [call.shapes]
    result = matmul(weights, lift(value, like), shapes[0])
    return [result] * len(shapes) if isinstance(call.shapes, list) else result


def _masked(scores: Reach, mask: Any, shape: torch.Size) -> Reach:
    if isinstance(mask, Tensor) and mask.dtype == torch.bool:
        return choose(mask, scores, torch.tensor(NOTHING), shape)
    if isinstance(mask, Tensor):
        low = torch.where(mask <= -1e4, NOTHING, 0.0)
        return choose(low == 0, scores, torch.tensor(NOTHING), shape)
    return join([scores, mask], shape)


def _repeated(x: Any, times: int) -> Any:
    """Heads repeated for groups of queries."""
    if isinstance(x, Reach):
        return x.like(x.planes.repeat_interleave(times, x.ndim - 2))
    return x.repeat_interleave(times, -3)
