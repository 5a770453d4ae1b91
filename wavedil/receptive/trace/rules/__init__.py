"""Rules for the operators of PyTorch, a file for each kind: importing this package enters them all."""

from wavedil.receptive.trace.rules import (
    contraction,
    convolution,
    elementwise,
    movement,
    recurrence,
    reduction,
    resampling,
    spectral,
)
from wavedil.receptive.trace.rules.registry import RULES, Call

__all__ = [
    "RULES", "Call", "contraction", "convolution", "elementwise", "movement", "recurrence", "reduction", "resampling",
    "spectral",
]  # fmt: skip
