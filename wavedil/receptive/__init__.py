"""Receptive-field arithmetic; nothing here imports torch."""

from wavedil.receptive.arithmetic import Field
from wavedil.receptive.dilations import exponential_dilations

__all__ = ["Field", "exponential_dilations"]
