"""Changes to trees of values and to bytes, as targets use them."""

import math
import random
from typing import Any

import torch

_NUMBERS = [0, 1, -1, 2, 3, 7, 255, 1000, 2**31, 2**63, -(2**63), 10**20, 10**400, 0.0, -0.5, 0.1, 1.5, 1e-300, 1e300]
_ODD = [
    math.nan,
    math.inf,
    -math.inf,
    None,
    True,
    False,
    "",
    "x",
    "0",
    "\x00",
    "\ud800",
    "mel",
    "batch",
    [],
    {},
    [0],
    [[]],
]


def changed_tree(rng: random.Random, tree: Any) -> Any:
    """The tree with one or a few places changed; lists and dictionaries are changed in place."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        tree = _changed_place(rng, tree)
    return tree


def changed_bytes(rng: random.Random, content: bytes) -> bytes:
    """The bytes with a few of them flipped, replaced, left out, doubled or put in, or cut short."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        place, length = rng.randrange(len(data) + 1), min(rng.choice([1, 1, 2, 4, 16, 100]), len(data))
        choice = rng.randrange(7)
        if choice == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif choice == 1:
            data[place : place + length] = rng.randbytes(length)
        elif choice == 2:
            del data[place : place + length]
        elif choice == 3:
            data[place:place] = data[place : place + length]
        elif choice == 4:
            data[place:place] = rng.randbytes(length)
        elif choice == 5 and rng.random() < 0.3:
            del data[place:]
        elif choice == 6:
            data[place : place + length] = rng.choice([b"\xff", b"\x00", b"[", b"{", b"9", b"-", b"e"]) * length
    return bytes(data)


def _changed_place(rng: random.Random, tree: Any) -> Any:
    parents = [node for node in _nodes(tree) if isinstance(node, dict | list) and len(node)]
    if not parents or rng.random() < 0.01:
        return _value(rng)
    parent = rng.choice(parents)
    key = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
    choice = rng.randrange(8)
    if choice == 0:
        del parent[key]
    elif choice == 1 and isinstance(parent, dict):
        parent[rng.choice(["", "colour", f"{key}s", "__metadata__"])] = parent[key]
    elif choice == 2 and isinstance(parent, list):
        parent.extend(parent * rng.choice([1, 2, 50]))
    elif choice == 3:
        for _ in range(rng.choice([1, 3, 100])):
            parent[key] = [parent[key]] if rng.random() < 0.5 else {"x": parent[key]}
    elif choice == 4 and type(parent[key]) in (int, float):
        parent[key] = parent[key] * rng.choice([-1, 0, 2, 3, 10, 1000]) + rng.choice([0, 0, 1, -1])
    elif choice == 5 and isinstance(parent[key], torch.Tensor):
        parent[key] = _changed_tensor(rng, parent[key])
    else:
        parent[key] = _value(rng)
    return tree


def _value(rng: random.Random) -> Any:
    value = rng.choice(_NUMBERS if rng.random() < 0.6 else _ODD)
    return value.copy() if isinstance(value, dict | list) else value


def _changed_tensor(rng: random.Random, tensor: torch.Tensor) -> torch.Tensor:
    changed = tensor.clone()
    choice = rng.randrange(6)
    if choice == 0:
        return changed.double() if changed.dtype != torch.float64 else changed.half()
    if choice == 1:
        return changed[None]
    if choice == 2:
        return torch.zeros(()).expand(10**9)
    if choice == 3:
        return changed.to_sparse() if changed.ndim else changed
    if choice == 4:
        return torch.empty_like(changed, device="meta")
    if changed.numel() and changed.is_floating_point():
        changed.view(-1)[rng.randrange(changed.numel())] = rng.choice([math.nan, math.inf, -1.0, 0.0, 3e38])
    return changed


def _nodes(tree: Any) -> list[Any]:
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, dict | list):
            waiting.extend(node.values() if isinstance(node, dict) else node)
    return found
