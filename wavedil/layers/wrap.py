"""Plain torch modules as streaming ones, where they read no time but the present."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wavedil.layers.base import Pointwise, State

# torch's own modules that read no time but the present, whatever their arguments.
_POINTWISE = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.CELU, nn.ELU,
    nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU,
    nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softmax2d, nn.Softplus, nn.Softshrink, nn.Softsign,
    nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
# Those that read one axis: the channels, or all of time.
_ALONG_AN_AXIS = (nn.GLU, nn.Softmax, nn.Softmin, nn.LogSoftmax)
# What to take in the place of torch's modules that read other times, the nearest kind first.
_INSTEAD: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.Sequential, "Chain, of its modules"),
    (nn.Conv1d, "CausalConv1d"),
    (nn.Conv2d, "CausalConv2d"),
    (nn.ConvTranspose1d, "CausalConvTranspose1d"),
    (nn.BatchNorm1d, "BatchNorm1d of wavedil.layers"),
    (nn.BatchNorm2d, "BatchNorm2d of wavedil.layers"),
    (nn.LayerNorm, "FrameLayerNorm"),
    (nn.GroupNorm, "FrameLayerNorm"),
    (nn.RMSNorm, "FrameRMSNorm"),
    (nn.AvgPool1d, "CausalAvgPool1d"),
    (nn.AdaptiveAvgPool1d, "CausalImagePool"),
    (nn.Linear, "Conv1d(in_channels, out_channels, 1) of torch"),
    *((kind, f"{kind.__name__}(dim=1), over the channels,") for kind in _ALONG_AN_AXIS),
)


class Wrap(Pointwise):
    """A plain torch module that reads no time but the present: an activation, dropout, a 1x1 convolution.

    All of torch's are known. A module of your own is declared with ``pointwise=True``, which is tried once, on a few
    samples, when it is first used in evaluation mode. A module that writes into its input gets a copy of it, and so
    does every declared one.

    Args:
        module: the module.
        pointwise: whether a module that is not known reads the present alone. It may change the number of channels.

    Raises:
        TypeError: if the module is not known to be of that kind, or is no module.
        ValueError: when a declared module is first used, if it reads other times.

    Example:
        >>> class Snake(nn.Module):
        ...     def forward(self, x):
        ...         return x + torch.sin(x) ** 2
        >>> Wrap(Snake(), pointwise=True)(torch.zeros(1, 4, 10)).shape
        torch.Size([1, 4, 10])
    """

    def __init__(self, module: nn.Module, *, pointwise: bool = False) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise TypeError(f"expected a module, got {_described(module)}")
        self._declared = pointwise and not _is_pointwise(module)
        if not pointwise and not _is_pointwise(module):
            raise TypeError(f"{module} may read more than the present: {_remedy(module)}")
        self.module = module
        self._is_tried = False
        self._gets_copy = self._declared or any(getattr(part, "inplace", False) for part in module.modules())

    @property
    def input_axes(self) -> tuple[Any, ...]:
        if isinstance(self.module, nn.Conv1d):
            return (self.module.in_channels,)
        if isinstance(self.module, nn.Conv2d):
            return (self.module.in_channels, None)
        return (...,)

    def input_shape(self) -> tuple[int, ...]:
        return (self.module.in_channels,) if isinstance(self.module, nn.Conv1d) else super().input_shape()

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        module = self.module
        if self._declared or isinstance(module, nn.Conv2d | nn.GLU):
            like = next(module.parameters(), torch.empty(0))
            with torch.no_grad():
                return tuple(self.apply_point(like.new_zeros(1, *shape, 1)).shape[1:-1])
        return (module.out_channels,) if isinstance(module, nn.Conv1d) else tuple(shape)

    def apply_point(self, x: Tensor) -> Tensor:
        return self.module(x.clone() if self._gets_copy else x)

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        if self._declared and not (self._is_tried or self.training or torch.compiler.is_compiling()):
            self._try(x)
            self._is_tried = True
        return super().start(x, silence)

    @torch.no_grad()
    def _try(self, x: Tensor) -> None:
        """Hold the module's outputs for a few samples against those for each sample alone."""
        values = torch.linspace(-2, 2, 4 * x[0, ..., 0].numel(), device=x.device).sin() * 2
        signal = values.to(x.dtype).view(4, *x.shape[1:-1]).movedim(0, -1).unsqueeze(0)
        apart = [self.apply_point(signal[..., i : i + 1]) for i in range(4)]
        together = self.apply_point(signal)
        alike = together.shape[-1] == 4 and all(part.shape == together[..., :1].shape for part in apart)
        if not alike or not torch.allclose(together, torch.cat(apart, dim=-1), rtol=1e-2, atol=1e-3, equal_nan=True):
            raise ValueError(
                f"{type(self.module).__name__} was declared pointwise, but an output reads other times too"
            )

    def __repr__(self) -> str:
        return repr(self.module)


def _is_pointwise(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        in_time = module.kernel_size[-1], module.stride[-1], 0 if module.padding == "valid" else module.padding[-1]
        return in_time == (1, 1, 0)
    if isinstance(module, _ALONG_AN_AXIS):
        return module.dim == 1
    return isinstance(module, _POINTWISE)


def _remedy(module: nn.Module) -> str:
    for kind, instead in _INSTEAD:
        if isinstance(module, kind):
            return f"take {instead} in its place"
    return (
        "expected a streaming layer, an activation, dropout or a 1x1 convolution; "
        "if it reads the present alone, declare it: Wrap(module, pointwise=True)"
    )


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}: make one, {value.__name__}()"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__}: unpack it with *"
    return type(value).__name__
