"""The C library's allocator, told to keep what training frees."""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Keep large blocks for reuse instead of returning each to the system.

    Every step on a CPU allocates the same buffers of some megabytes; by default glibc maps and unmaps them each time,
    and the page faults cost up to half of the feature extraction (docs/results/training_speed.md). Torch is told to ask
    for huge pages too, which it does if it has not yet allocated anything.

    Returns:
        Whether the C library could be told; False where it is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _KEPT)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
