"""What is handed to the kernels is what they read: structures, tensors, and memory that may be missing."""

import ctypes
from typing import Any

import pytest
import torch
from kernels_here import load

from wavedil.runtime.structures import FUNCTIONS, LONG, Arguments, Depthwise, Render, declare

WRONG = {
    "dtype": (
        torch.zeros(2, 3, dtype=torch.float64),
        "contiguous torch.float32 .* got torch.float64 on cpu",
    ),
    "device": (torch.zeros(2, 3, device="meta"), "on cpu, got torch.float32 on meta"),
    "strides": (torch.zeros(3, 2).T, r"strides \(1, 2\) of shape \(2, 3\)"),
    "size": (torch.zeros(2, 2), r"expected 6 values \(2, 3\), got shape \(2, 2\)"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_tensor_that_the_kernels_would_misread_is_refused(what: str) -> None:
    tensor, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        Arguments().floats(tensor, 2, 3)


def test_a_pointer_is_to_the_values_and_keeps_them() -> None:
    keep, tensor = Arguments(), torch.arange(6.0).view(2, 3)
    place = keep.floats(tensor, 3, 2)
    del tensor
    assert list((ctypes.c_float * 6).from_address(place or 0)) == [0, 1, 2, 3, 4, 5]
    assert keep.rows(None, 4) is None


@pytest.fixture(scope="module")
def kernels() -> Any:
    return load()


LONGER = (*Render._fields_, ("more", LONG))
SHORTER = Render._fields_[:-1]


@pytest.mark.parametrize("fields", [LONGER, SHORTER], ids=["longer", "shorter"])
def test_structures_of_another_layout_are_refused(kernels: Any, monkeypatch: pytest.MonkeyPatch, fields: Any) -> None:
    other = type("Render", (ctypes.Structure,), {"_fields_": fields})
    monkeypatch.setitem(FUNCTIONS, "render_clips", other)
    with pytest.raises(TypeError, match="Render: expected size and last offset"):
        declare(kernels)


def test_a_library_without_layouts_is_refused() -> None:
    with pytest.raises(TypeError, match="does not tell the layout of Norm"):
        declare(ctypes.CDLL(None))


def test_memory_that_is_missing_is_an_error_of_python(kernels: Any) -> None:
    """More than any address space holds, so that nothing is really allocated."""
    weight, taps = torch.zeros(1), (LONG * 1)(0)
    arguments = Depthwise(rows=1, channels=1 << 58, bins=1, n_taps=1, threads=2)
    arguments.weight, arguments.taps = weight.data_ptr(), ctypes.addressof(taps)
    for function in (kernels.depthwise_forward, kernels.depthwise_backward):
        with pytest.raises(MemoryError, match=r"the kernel depthwise_.*ward cannot allocate"):
            function(ctypes.byref(arguments))
