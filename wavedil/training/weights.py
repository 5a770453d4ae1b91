"""Weights from a file: compared with the model by the file's header, before memory is asked for, then judged."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from wavedil.checks import shown
from wavedil.files import open_file, parse_json

_HEADER_LIMIT = 1 << 22  # bytes
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_FLOATS = ("F64", "F32", "F16", "BF16")


class Entry(NamedTuple):
    """A tensor of a file: its type as the format names it, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return _BYTES[self.dtype] * math.prod(self.shape)


def read_weights(path: Path, expected: Callable[[int], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Read a safetensors file that holds the weights of a model.

    Args:
        path: of the file.
        expected: from the number of tensors in the file to the model's, of which the shapes and types are used.

    Returns:
        The tensors by name, in the types of the model's: a file in half precision is taken.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, its tensors are not the model's, or one holds values that are no weights.
    """
    with open_file(path) as file:
        header, start = _read_header(path, file)
        wanted = expected(len(header))
        _check_header(path, header, wanted)
        size = start + sum(entry.size for entry in header.values())
        found = file.seek(0, 2)
        if found != size:
            raise ValueError(f"{path}: expected {size:,} bytes by its header, got {found:,}")
        file.seek(0)
        try:
            read = safetensors.torch.load(file.read())
        except (SafetensorError, ValueError) as error:
            raise ValueError(f"{path}: not a safetensors file: {shown(str(error))}") from None
    weights = {name: read[name].to(wanted[name].dtype) for name in wanted}
    check_values(str(path), weights)
    return weights


def check_shapes(source: str, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, Tensor]) -> None:
    """Compare names and shapes of tensors with those of a model.

    Args:
        source: begins the message.
        found: shapes by name.
        expected: the model's.

    Raises:
        ValueError: naming the first tensor that differs.
    """
    for name in sorted(expected.keys() | found.keys(), key=str):
        shapes = [
            tuple(expected[name].shape) if name in expected else "nothing",
            tuple(found[name]) if name in found else "nothing",
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{source}: weight {shown(name)}: expected {shapes[0]}, got {shown(shapes[1])}")


def check_values(source: str, weights: Mapping[str, Tensor]) -> None:
    """Refuse values that a model does not learn: NaN, infinity, and variances below zero.

    Args:
        source: begins the message.
        weights: by name.

    Raises:
        ValueError: naming the tensor.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{source}: weight '{name}': expected finite numbers, got NaN or infinity")
        if name.rpartition(".")[2] == "running_var" and (tensor < 0).any():
            raise ValueError(f"{source}: weight '{name}': expected variances of at least 0, got {float(tensor.min())}")


def _read_header(path: Path, file: BinaryIO) -> tuple[dict[str, Entry], int]:
    """What the file says it holds, and where the values begin."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= _HEADER_LIMIT:
        raise ValueError(f"{path}: not a safetensors file: expected a header of 2 to {_HEADER_LIMIT:,} bytes")
    text = file.read(length)
    if len(text) < length:
        raise ValueError(f"{path}: cut short: its header has {length:,} bytes, {len(text):,} are there")
    content = parse_json(text, f"{path}: header")
    if not isinstance(content, dict):
        raise ValueError(f"{path}: header: expected tensors by name, got {shown(content)}")
    content.pop("__metadata__", None)
    return {name: _entry(path, name, described) for name, described in content.items()}, 8 + length


def _entry(path: Path, name: str, described: Any) -> Entry:
    dtype, shape = (described.get(key) if isinstance(described, dict) else None for key in ("dtype", "shape"))
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise ValueError(f"{path}: weight {shown(name)}: expected a type of {', '.join(_BYTES)}, got {shown(dtype)}")
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 1 << 40 for size in shape):
        raise ValueError(f"{path}: weight {shown(name)}: expected a shape, got {shown(shape)}")
    return Entry(dtype, tuple(shape))


def _check_header(path: Path, header: Mapping[str, Entry], expected: Mapping[str, Tensor]) -> None:
    check_shapes(str(path), {name: entry.shape for name, entry in header.items()}, expected)
    for name, entry in header.items():
        if (entry.dtype in _FLOATS) != expected[name].is_floating_point():
            wanted = "numbers of floating point" if expected[name].is_floating_point() else "integers"
            raise ValueError(f"{path}: weight '{name}': expected {wanted}, got {entry.dtype}")
