"""Normalisations that need nothing of the future: each is the same for a chunk as for the whole."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import batchnorm
from torch.nn.utils import parametrizations, parametrize

from wavedil.checks import one_of, shown
from wavedil.layers.base import Pointwise, State
from wavedil.layers.sizes import (
    require_channels,
    require_dimensions,
    require_epsilon,
    require_flags,
    require_placement,
    require_probability,
)

NormName = Literal["batch", "layer", "rms", "none"]
Module = TypeVar("Module", bound=nn.Module)


class _BatchNorm(Pointwise, batchnorm._BatchNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        require_channels(num_features=num_features)
        require_epsilon(eps)
        if momentum is not None:
            require_probability("momentum", momentum)
        require_flags(affine=affine)
        if track_running_stats is not True:  # in evaluation too it would read the whole batch
            raise ValueError(
                f"track_running_stats: expected True for a layer that streams, got {track_running_stats!r}"
            )
        require_placement(device, dtype)
        options |= {"momentum": momentum, "affine": affine}
        super().__init__(num_features, eps, device=device, dtype=dtype, **options)

    def apply_point(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            raise TypeError(f"{type(self).__name__}: expected a floating-point signal, got {x.dtype}")
        return batchnorm._BatchNorm.forward(self, x)

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        if not silence:
            return torch.zeros_like(x), ()
        # What came before the start is no data: it must not move the running statistics.
        y = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return y, ()


class BatchNorm1d(_BatchNorm, nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d``: in evaluation a fixed scale and shift, which streams.

    In training it reads the whole batch, so that a stream then has no meaning; call ``eval()`` first.
    """

    @property
    def input_axes(self) -> tuple[Any, ...]:
        return (self.num_features,)


class BatchNorm2d(_BatchNorm, nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d``: the same as :class:`BatchNorm1d`, over ``(batch, channels, frequency, time)``."""

    @property
    def input_axes(self) -> tuple[Any, ...]:
        return (self.num_features, None)


class SubSpectralNorm(BatchNorm2d):
    """Batch normalisation of each band of frequency by itself, for a network that treats all bins alike.

    Source: Chang et al. 2021, arXiv:2103.13620.

    Args:
        channels: of the input, ``(batch, channels, frequency, time)``.
        bands: of equal width, which divide the bins; 1 is plain batch normalisation.
    """

    def __init__(self, channels: int, bands: int) -> None:
        require_channels(channels=channels, bands=bands)
        super().__init__(channels * bands)
        self.channels, self.bands = channels, bands

    @property
    def input_axes(self) -> tuple[Any, ...]:
        return (self.channels, None)

    def apply_point(self, x: Tensor) -> Tensor:
        return self._by_band(x, super().apply_point)

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        return self._by_band(x, lambda parts: super(SubSpectralNorm, self).start(parts, silence)[0]), ()

    def _by_band(self, x: Tensor, normalise: Callable[[Tensor], Tensor]) -> Tensor:
        batch, channels, bins, frames = x.shape
        if channels != self.channels:
            raise ValueError(f"{type(self).__name__}: expected {self.channels} channels, got {tuple(x.shape)}")
        if bins % self.bands:
            raise ValueError(f"{type(self).__name__}: expected bins in multiples of {self.bands} bands, got {bins}")
        parts = x.reshape(batch, channels * self.bands, bins // self.bands, frames)
        return normalise(parts).reshape(x.shape)


class _FrameNorm(Pointwise):
    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        require_channels(channels=channels)
        require_epsilon(eps)
        require_placement(device, dtype)
        self.channels = channels
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels, device=device, dtype=dtype))

    def input_shape(self) -> tuple[int, ...]:
        return (self.channels,)

    def _require_channels(self, x: Tensor) -> None:
        """One value would be broadcast over all channels."""
        if x.shape[1] != self.channels:
            raise ValueError(f"{type(self).__name__}: expected {self.channels} channels, got {tuple(x.shape)}")

    @property
    def input_axes(self) -> tuple[Any, ...]:
        return (self.channels, ...)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}"


class FrameLayerNorm(_FrameNorm):
    """Layer normalisation over the channels of each frame, and over its bins where it has any.

    Sources: Ba, Kiros and Hinton 2016, arXiv:1607.06450; frame by frame for streaming, Westhausen and Meyer 2020,
    arXiv:2005.07551.

    Args:
        channels: of the input, ``(batch, channels, time)`` or ``(batch, channels, frequency, time)``.
        eps: added to the variance.
        device: as in torch.
        dtype: as in torch.
    """

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, eps, device, dtype)
        self.bias = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))

    def apply_point(self, x: Tensor) -> Tensor:
        self._require_channels(x)
        wide = _widened(x)
        variance, mean = torch.var_mean(wide, dim=_frame_axes(x), correction=0, keepdim=True)
        scaled = ((wide - mean) * torch.rsqrt(variance + self.eps)).to(x.dtype)
        return scaled * _by_channel(self.weight, x) + _by_channel(self.bias, x)


class FrameRMSNorm(_FrameNorm):
    """Each frame divided by the root mean square of its channels, and of its bins where it has any.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467.

    Args:
        channels: of the input, ``(batch, channels, time)`` or ``(batch, channels, frequency, time)``.
        eps: added to the mean square.
        device: as in torch.
        dtype: as in torch.
    """

    def apply_point(self, x: Tensor) -> Tensor:
        self._require_channels(x)
        wide = _widened(x)
        mean_square = wide.square().mean(dim=_frame_axes(x), keepdim=True)
        return (wide * torch.rsqrt(mean_square + self.eps)).to(x.dtype) * _by_channel(self.weight, x)


def _widened(x: Tensor) -> Tensor:
    """In float32 at least: squares overflow in float16, and vanish."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _frame_axes(x: Tensor) -> tuple[int, ...]:
    """All axes between batch and time."""
    return tuple(range(1, x.ndim - 1))


def _by_channel(values: Tensor, x: Tensor) -> Tensor:
    """One value for each channel of x, to be broadcast over all that follows."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


def make_norm(
    name: NormName,
    channels: int,
    dimensions: Literal[1, 2] = 1,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Pointwise | None:
    """The normalisation of that name, or None for "none".

    Args:
        name: "batch", "layer", "rms" or "none".
        channels: of the input.
        dimensions: 1 for ``(batch, channels, time)``, 2 for ``(batch, channels, frequency, time)``.
        device: as in torch.
        dtype: as in torch.

    Raises:
        TypeError: if the channels are no integer.
        ValueError: for another name, or a number out of its range.
    """
    require_dimensions(dimensions)
    require_channels(channels=channels)
    batch = BatchNorm1d if dimensions == 1 else BatchNorm2d
    norms: dict[str, Any] = {"batch": batch, "layer": FrameLayerNorm, "rms": FrameRMSNorm, "none": None}
    kind = norms[one_of("norm", name, tuple(norms))]
    return None if kind is None else kind(channels, device=device, dtype=dtype)


def add_weight_norm(module: Module) -> Module:
    """Give every convolution inside a weight norm, in place, its present weights kept.

    Call it after the weights are initialised: an initialiser that writes ``weight`` afterwards would be undone by the
    next forward. Source: Salimans and Kingma 2016, arXiv:1602.07868.

    Args:
        module: any module.

    Returns:
        The module.
    """
    _require_module(module)
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d) and not parametrize.is_parametrized(layer):
            parametrizations.weight_norm(layer)
    return module


def fold_weight_norm(module: Module) -> Module:
    """Turn weight norm back into plain weights, in place, for inference; the outputs stay the same.

    Args:
        module: a module that :func:`add_weight_norm` changed.

    Returns:
        The module.
    """
    _require_module(module)
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")
    return module


def _require_module(module: nn.Module) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: expected a module, got {shown(module)}")
