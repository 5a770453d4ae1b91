"""Streaming layers: each has ``forward``, ``initial_state`` and ``step``."""

from wavedil.layers.base import Delay, Pointwise, State, StreamingModule, Window
from wavedil.layers.chain import Chain, Wrap
from wavedil.layers.conv import CausalConv1d, CausalConv2d, CausalConvTranspose1d
from wavedil.layers.gated import GatedResidualBlock
from wavedil.layers.norm import BatchNorm1d, FrameLayerNorm, FrameRMSNorm, add_weight_norm, fold_weight_norm, make_norm
from wavedil.layers.pooling import CausalAvgPool1d
from wavedil.layers.stack import DilatedStack

__all__ = [
    "BatchNorm1d",
    "CausalAvgPool1d",
    "CausalConv1d",
    "CausalConv2d",
    "CausalConvTranspose1d",
    "Chain",
    "Delay",
    "DilatedStack",
    "FrameLayerNorm",
    "FrameRMSNorm",
    "GatedResidualBlock",
    "Pointwise",
    "State",
    "StreamingModule",
    "Window",
    "Wrap",
    "add_weight_norm",
    "fold_weight_norm",
    "make_norm",
]
