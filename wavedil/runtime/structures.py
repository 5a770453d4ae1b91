"""What the kernels are called with: the structures of kernels/*.cpp, as ctypes fills them in."""

import ctypes
import math
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor

LONG, _FLOAT, POINTER = ctypes.c_long, ctypes.c_float, ctypes.c_void_p
LANES = 16  # numbers in a vector


def padded(channels: int) -> int:
    """Channels of a row, filled up to whole vectors."""
    return -(-channels // LANES) * LANES


def array(kind: Any, values: Iterable[Any]) -> Any:
    """An array of a C type."""
    values = list(values)
    return _array_type(kind, len(values))(*values)


@cache
def _array_type(kind: Any, length: int) -> Any:
    return kind * length  # a new class each time


class Arguments:
    """Keeps alive what pointers point to, until the call is over. Pointers of None are null."""

    def __init__(self) -> None:
        self._kept: list[Any] = []

    def pointer(self, tensor: Tensor | None, dtype: torch.dtype, *shape: int) -> int | None:
        """To the first value of a tensor.

        Raises:
            ValueError: if it is not a contiguous tensor of this type on the CPU with as many values as the shape.
        """
        if tensor is None:
            return None
        if tensor.dtype != dtype or tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise ValueError(
                f"expected a contiguous {dtype} tensor on cpu, got {tensor.dtype} on {tensor.device}, "
                f"strides {tensor.stride()} of shape {tuple(tensor.shape)}"
            )
        if tensor.numel() != math.prod(shape):
            raise ValueError(f"expected {math.prod(shape)} values {shape}, got shape {tuple(tensor.shape)}")
        self._kept.append(tensor)
        return tensor.data_ptr()

    def floats(self, tensor: Tensor | None, *shape: int) -> int | None:
        """To float32 values: weights and statistics."""
        return self.pointer(tensor, torch.float32, *shape)

    def rows(self, tensor: Tensor | None, *shape: int) -> int | None:
        """To bfloat16 values: signals."""
        return self.pointer(tensor, torch.bfloat16, *shape)

    def array(self, kind: Any, values: Iterable[Any]) -> int:
        """To an array of a C type."""
        self._kept.append(array(kind, values))
        return ctypes.addressof(self._kept[-1])


class Norm(ctypes.Structure):
    """A batch normalisation; kernels/normalise.h says what each field is."""

    _fields_ = (
        *((name, LONG) for name in ("channels", "bands")),
        *((name, POINTER) for name in ("gamma", "beta", "bias", "moments", "running_mean", "running_var")),
        *((name, _FLOAT) for name in ("momentum", "eps")),
        *((name, POINTER) for name in ("grad_gamma", "grad_beta")),
    )


class Convolution(ctypes.Structure):
    """A convolution and the normalisation of its output; kernels/convolution.h says what each field is."""

    _fields_ = (
        *((name, LONG) for name in ("outputs", "inputs", "bins_read", "n_taps")),
        *((name, POINTER) for name in ("taps", "weight")),
        *((name, LONG) for name in ("rows", "bins", "input_channels", "step", "stride")),
        *((name, POINTER) for name in ("x", "y")),
        ("norm", Norm),
        ("grad_weight", POINTER),
    )


class Pointwise(ctypes.Structure):
    """The convolutions of one tap of a gated block, and where their gradients go."""

    _names = ("residual", "residual_bias", "skip", "skip_bias")
    _fields_ = tuple((name, POINTER) for name in (*_names, *(f"grad_{name}" for name in _names)))


class Stack(ctypes.Structure):
    """A stack of gated blocks; kernels/stack.cpp says what each is."""

    _fields_ = (
        *((name, LONG) for name in ("blocks", "channels", "skip_channels", "rows", "threads", "is_glu")),
        *((name, POINTER) for name in ("convs", "pointwise", "z", "out", "grad_out", "grad_input", "grad_past")),
    )


class Layer(ctypes.Structure):
    """A convolution over spectrograms; kernels/entry.cpp says what each is."""

    _fields_ = (("conv", Convolution), ("lead", LONG), ("grad_past", POINTER))


class Entry(ctypes.Structure):
    """Convolutions over spectrograms, one after another."""

    _fields_ = (
        *((name, LONG) for name in ("layers", "threads")),
        *((name, POINTER) for name in ("layer", "out", "grad_out", "grad_input")),
    )


class Broadcast(ctypes.Structure):
    """A broadcast residual block; kernels/broadcast.cpp says what each field is."""

    _sizes = ("rows", "channels", "bins_in", "bins", "stride", "is_residual", "n_taps", "threads")
    _grads = ("grad_y", "grad_x", "grad_past", "grad_frequency", "grad_time", "grad_mix")
    _fields_ = (
        *((name, LONG) for name in _sizes),
        *((name, POINTER) for name in ("taps", "frequency", "time", "mix")),
        ("by_band", Norm),
        ("by_frame", Norm),
        *((name, POINTER) for name in ("x", "f", "mean", "d", "y", *_grads)),
    )


class Depthwise(ctypes.Structure):
    """A convolution of each channel by itself over all bins; kernels/broadcast.cpp says what each field is."""

    _fields_ = (
        *((name, LONG) for name in ("rows", "channels", "bins", "n_taps", "threads")),
        *((name, POINTER) for name in ("taps", "weight", "x", "y", "grad_y", "grad_x", "grad_past", "grad_weight")),
    )


class Render(ctypes.Structure):
    """Clips to be augmented; kernels/render.cpp says what each field is."""

    _fields_ = (
        *((name, LONG) for name in ("clips", "samples", "threads")),
        *((name, POINTER) for name in ("x", "start", "length", "gain", "noise", "noise_start", "noise_gain", "out")),
    )


class Filters(ctypes.Structure):
    """Learned filters in quadrature; kernels/filters.cpp says what each field is."""

    _fields_ = (
        *((name, LONG) for name in ("clips", "samples", "before", "frames", "bands", "span", "hop", "threads")),
        *((name, POINTER) for name in ("x", "past", "weight")),
        *((name, _FLOAT) for name in ("scale", "floor")),
        *((name, POINTER) for name in ("y", "filtered", "grad_y", "grad_weight")),
    )


class Spectrogram(ctypes.Structure):
    """Spectrograms to be augmented; kernels/spectrogram.cpp says what each field is."""

    _draws = ("above", "share", "style", "other", "response", "frame_masked", "band_masked")
    _fields_ = (
        *((name, LONG) for name in ("clips", "bands", "frames", "threads")),
        *((name, POINTER) for name in ("x", *_draws)),
        ("least", _FLOAT),
        *((name, POINTER) for name in ("y", "mean", "deviation", "grad_y", "grad_x")),
    )


# Of each function of the kernels, the structure that it is given.
FUNCTIONS: dict[str, type[ctypes.Structure]] = {
    "stack_forward": Stack,
    "stack_backward": Stack,
    "entry_forward": Entry,
    "entry_backward": Entry,
    "broadcast_forward": Broadcast,
    "broadcast_backward": Broadcast,
    "depthwise_forward": Depthwise,
    "depthwise_backward": Depthwise,
    "filters_forward": Filters,
    "filters_backward": Filters,
    "render_clips": Render,
    "spectrogram_forward": Spectrogram,
    "spectrogram_backward": Spectrogram,
}


def declare(library: ctypes.CDLL) -> None:
    """Tell a library's functions what they take and how they fail: with MemoryError.

    Raises:
        TypeError: if it was built from other structures than those above.
    """
    for structure in (Norm, Convolution, Layer, Pointwise, *FUNCTIONS.values()):
        own = [ctypes.sizeof(structure), getattr(structure, structure._fields_[-1][0]).offset]
        try:
            built = list((LONG * 2).in_dll(library, f"layout_{structure.__name__}"))
        except ValueError as error:
            raise TypeError(f"the library does not tell the layout of {structure.__name__}") from error
        if built != own:
            raise TypeError(f"{structure.__name__}: expected size and last offset {own}, the library has {built}")
    for name, structure in FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype, function.errcheck = [ctypes.POINTER(structure)], ctypes.c_int, _checked


def _checked(status: int, function: Any, _: Any) -> None:
    if status:
        raise MemoryError(f"the kernel {function.__name__} cannot allocate what it needs")
