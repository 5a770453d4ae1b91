"""Receptive fields of ONNX files: the file as a module of PyTorch, traced as any other."""

from wavedil.receptive.trace.onnx import elementwise, movement, recurrence, reduction, resize, spectral, window
from wavedil.receptive.trace.onnx.answer import receptive_field_of_onnx
from wavedil.receptive.trace.onnx.module import OnnxModule

__all__ = [
    "OnnxModule", "elementwise", "movement", "receptive_field_of_onnx", "recurrence", "reduction", "resize", "spectral",
    "window",
]  # fmt: skip
