"""Receptive fields: computed, measured, drawn and designed. Importing this imports no torch."""

from wavedil.receptive.answer import Answer, Axes, Axis, answer_for
from wavedil.receptive.arithmetic import Field
from wavedil.receptive.description import Geometry, Layer
from wavedil.receptive.dilations import exponential_dilations
from wavedil.receptive.gridding import hybrid_criterion, is_dense
from wavedil.receptive.stack import stack
from wavedil.receptive.taps import Taps

__all__ = [
    "Answer", "Axes", "Axis", "Field", "Geometry", "Layer", "Taps", "answer_for", "exponential_dilations",
    "hybrid_criterion", "is_dense", "stack",
]  # fmt: skip
