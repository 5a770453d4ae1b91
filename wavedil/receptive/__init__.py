"""Receptive fields: computed, verified, drawn and designed. Importing this imports no torch.

The names that need torch, :func:`receptive_field` of a module and what verifies it, are imported when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from wavedil.receptive.answer import Answer, Axes, Axis
from wavedil.receptive.arithmetic import Field
from wavedil.receptive.chain import answer_for
from wavedil.receptive.description import Geometry, Layer
from wavedil.receptive.dilations import exponential_dilations, hybrid_dilations
from wavedil.receptive.gridding import hybrid_criterion, is_dense
from wavedil.receptive.stack import stack
from wavedil.receptive.taps import Taps

if TYPE_CHECKING:
    from wavedil.receptive.measure import effective_field
    from wavedil.receptive.trace import receptive_field
    from wavedil.receptive.trace.onnx import receptive_field_of_onnx
    from wavedil.receptive.verify import verify_receptive_field

_HOMES = {
    "effective_field": "wavedil.receptive.measure",
    "receptive_field": "wavedil.receptive.trace",
    "receptive_field_of_onnx": "wavedil.receptive.trace.onnx",
    "verify_receptive_field": "wavedil.receptive.verify",
}

__all__ = [
    "Answer", "Axes", "Axis", "Field", "Geometry", "Layer", "Taps", "answer_for", "effective_field",
    "exponential_dilations", "hybrid_criterion", "hybrid_dilations", "is_dense", "receptive_field",
    "receptive_field_of_onnx", "stack", "verify_receptive_field",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
