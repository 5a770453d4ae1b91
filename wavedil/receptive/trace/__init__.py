"""Receptive fields of any module: its graph, walked through with dependences in the place of values."""

from wavedil.receptive.trace.module import receptive_field, trace
from wavedil.receptive.trace.program import UnknownOperatorError

__all__ = ["UnknownOperatorError", "receptive_field", "trace"]
