"""Dilated causal convolutions for audio, the same offline, streamed, exported and compiled."""

from wavedil._version import __version__

__all__ = ["__version__"]
