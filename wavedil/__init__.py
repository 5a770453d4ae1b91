"""Dilated causal convolutions for audio, the same offline, streamed, exported and compiled.

The names below, and the modules of the package, are imported when first used, so that what needs no torch starts at
once.
"""

import importlib
from typing import TYPE_CHECKING, Any

from wavedil._version import __version__

if TYPE_CHECKING:
    from wavedil import audio as audio
    from wavedil import cli as cli
    from wavedil import config as config
    from wavedil import data as data
    from wavedil import detect as detect
    from wavedil import export as export
    from wavedil import features as features
    from wavedil import filterbank as filterbank
    from wavedil import functional as functional
    from wavedil import layers as layers
    from wavedil import models as models
    from wavedil import receptive as receptive
    from wavedil import runtime as runtime
    from wavedil import streaming as streaming
    from wavedil import testing as testing
    from wavedil import training as training
    from wavedil import wavelets as wavelets
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
    if not name.startswith("_"):
        try:
            return importlib.import_module(f"wavedil.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"wavedil.{name}":
                raise
    from wavedil.checks import did_you_mean

    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{did_you_mean(name, __dir__())}")


def __dir__() -> list[str]:
    import pkgutil

    modules = (module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return sorted({*__all__, *modules, *(name for name in globals() if name.startswith("__"))})
