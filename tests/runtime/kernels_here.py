"""The kernels, for tests that need them."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch

from wavedil.folders import cache_root
from wavedil.runtime import native
from wavedil.runtime.native import KernelsUnavailableError, cpu_capabilities, load_kernels


def load() -> ctypes.CDLL:
    """The kernels; a test is skipped where there are none, unless ``WAVEDIL_KERNELS_REQUIRED`` is set."""
    try:
        return load_kernels(cache_root() / "kernels")
    except KernelsUnavailableError as error:
        if os.environ.get("WAVEDIL_KERNELS_REQUIRED"):
            raise
        pytest.skip(str(error))


def load_for_float32() -> ctypes.CDLL:
    """The kernels as they are built for a CPU that multiplies no bfloat16."""
    load()
    capabilities = {**cpu_capabilities(), "avx512_bf16": False}
    quickly = tuple("-O1" if flag == "-O3" else flag for flag in native._FLAGS)  # the numbers matter, not the speed
    with (
        mock.patch.object(native, "cpu_capabilities", return_value=capabilities),
        mock.patch.object(native, "_FLAGS", quickly),
    ):
        return load_kernels.__wrapped__(cache_root() / "kernels")  # not the ones that are loaded


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads, as long as it lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
