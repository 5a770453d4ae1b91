"""Dilated causal convolutions for audio, the same offline, streamed, exported and compiled.

The names below are imported when first used, so that what needs no torch starts at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

from wavedil._version import __version__

if TYPE_CHECKING:
    from wavedil.detect import Spotter, load
    from wavedil.receptive import Field, exponential_dilations, receptive_field
    from wavedil.streaming import Stream

_HOMES = {
    "Field": "wavedil.receptive",
    "Spotter": "wavedil.detect",
    "Stream": "wavedil.streaming",
    "exponential_dilations": "wavedil.receptive",
    "load": "wavedil.detect",
    "receptive_field": "wavedil.receptive",
}

__all__ = ["Field", "Spotter", "Stream", "__version__", "exponential_dilations", "load", "receptive_field"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
