"""Streaming layers: each has ``forward``, ``initial_state`` and ``step``."""

from wavedil.layers.base import Delay, Pointwise, State, StreamingModule, Window
from wavedil.layers.broadcast import BroadcastResidualBlock
from wavedil.layers.chain import Chain
from wavedil.layers.conv import CausalConv1d, CausalConv2d, CausalConvTranspose1d, OverSpectrograms
from wavedil.layers.gated import GatedResidualBlock, GatedResidualBlock2d
from wavedil.layers.image_pooling import CausalImagePool, ImagePool
from wavedil.layers.norm import (
    BatchNorm1d,
    BatchNorm2d,
    FrameLayerNorm,
    FrameRMSNorm,
    SubSpectralNorm,
    add_weight_norm,
    fold_weight_norm,
    make_norm,
)
from wavedil.layers.parallel import Parallel
from wavedil.layers.pooling import CausalAvgPool1d
from wavedil.layers.stack import DilatedStack, DilatedStack2d
from wavedil.layers.wrap import Wrap

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BroadcastResidualBlock",
    "CausalAvgPool1d",
    "CausalConv1d",
    "CausalConv2d",
    "CausalConvTranspose1d",
    "CausalImagePool",
    "Chain",
    "Delay",
    "DilatedStack",
    "DilatedStack2d",
    "FrameLayerNorm",
    "FrameRMSNorm",
    "GatedResidualBlock",
    "GatedResidualBlock2d",
    "ImagePool",
    "OverSpectrograms",
    "Parallel",
    "Pointwise",
    "State",
    "StreamingModule",
    "SubSpectralNorm",
    "Window",
    "Wrap",
    "add_weight_norm",
    "fold_weight_norm",
    "make_norm",
]
