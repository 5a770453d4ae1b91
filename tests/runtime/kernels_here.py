"""The kernels, for tests that need them."""

import ctypes
import os

import pytest

from wavedil.folders import cache_root
from wavedil.runtime.native import KernelsUnavailableError, load_kernels


def load() -> ctypes.CDLL:
    """The kernels; a test is skipped where there are none, unless ``WAVEDIL_KERNELS_REQUIRED`` is set."""
    try:
        return load_kernels(cache_root() / "kernels")
    except KernelsUnavailableError as error:
        if os.environ.get("WAVEDIL_KERNELS_REQUIRED"):
            raise
        pytest.skip(str(error))
