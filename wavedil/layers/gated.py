"""The gated residual block of WaveNet, over waveforms and spectrograms."""

import math
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from wavedil.checks import one_of
from wavedil.config import Boundary
from wavedil.layers.base import Delay, State, StreamingModule, split_state
from wavedil.layers.conditions import Shapes
from wavedil.layers.conv import CausalConv1d, CausalConv2d, OverSpectrograms
from wavedil.layers.norm import FrameLayerNorm, FrameRMSNorm, NormName, make_norm
from wavedil.layers.sizes import require_channels, require_flags, require_probability
from wavedil.receptive import Field

Gate = Literal["tanh", "glu"]
Conditioning = Literal["add", "film"]
Pair = tuple[Tensor, Tensor]
# Taps of a kernel, or inputs between them: along time, or one number or a (frequency, time) pair for spectrograms.
Size = TypeVar("Size", int, int | tuple[int, int])

_CONVOLUTIONS: dict[int, type[Any]] = {1: CausalConv1d, 2: CausalConv2d}
_POINTWISE: dict[int, type[Any]] = {1: nn.Conv1d, 2: nn.Conv2d}


class _GatedBlock(StreamingModule, Generic[Size]):
    """The block of either number of dimensions; a subclass sets ``dimensions``."""

    dimensions: ClassVar[Literal[1, 2]]

    def __init__(
        self,
        channels: int,
        kernel_size: Size,
        dilation: Size | int = 1,
        *,
        skip_channels: int | None = None,
        project_residual: bool = True,
        gate: Gate = "tanh",
        norm: NormName = "none",
        dropout: float = 0.0,
        groups: int = 1,
        bias: bool = True,
        global_channels: int = 0,
        local_channels: int = 0,
        conditioning: Conditioning = "add",
        lookahead: int = 0,
        boundary: Boundary = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        one_of("gate", gate, get_args(Gate))
        one_of("conditioning", conditioning, get_args(Conditioning))
        require_channels(channels=channels, **({} if skip_channels is None else {"skip_channels": skip_channels}))
        require_channels(0, global_channels=global_channels, local_channels=local_channels)
        require_probability("dropout", dropout)
        require_flags(project_residual=project_residual)
        self.channels = self.in_channels = channels
        self.gate = gate
        self.conditioning = conditioning
        self.boundary = boundary
        self.conv = _CONVOLUTIONS[self.dimensions](
            channels, 2 * channels, kernel_size, dilation=dilation, groups=groups, bias=bias, lookahead=lookahead,
            device=device, dtype=dtype,
        )  # fmt: skip
        placed: dict[str, Any] = {"device": device, "dtype": dtype}
        self.norm = make_norm(norm, 2 * channels, self.dimensions, **placed)
        self.dropout = nn.Dropout(dropout)
        width = 2 * channels * (2 if conditioning == "film" else 1)
        self.global_projection = nn.Linear(global_channels, width, **placed) if global_channels else None
        self.local_projection = nn.Conv1d(local_channels, width, 1, **placed) if local_channels else None
        pointwise = _POINTWISE[self.dimensions]
        self.residual = pointwise(channels, channels, 1, bias=bias, **placed) if project_residual else None
        self.skip = pointwise(channels, skip_channels, 1, bias=bias, **placed) if skip_channels else None
        self.residual_delay = Delay(lookahead)
        self.condition_delay = Delay(lookahead if local_channels else 0)

    @property
    def field(self) -> Field:
        return Field.identity().union(self.conv.field)

    @property
    def preroll(self) -> int:
        return self.conv.preroll

    @property
    def condition_shapes(self) -> Shapes:
        steady, running = self.global_projection, self.local_projection
        shapes: Shapes = {} if steady is None else {"global_condition": (steady.in_features,)}
        return shapes if running is None else {**shapes, "local_condition": (running.in_channels,)}

    @property
    def aligned(self) -> tuple[str, ...]:
        return () if self.local_projection is None else ("local_condition",)

    @property
    def state_names(self) -> tuple[str, ...]:
        names = ("conv", "residual_delay", "condition_delay")
        return tuple(f"{name}.{own}" for name in names for own in getattr(self, name).state_names)

    def __repr__(self) -> str:
        layers = (self.conv, self.norm, self.dropout)
        own = [repr(layer) for layer in layers if layer is not None and getattr(layer, "p", 1) > 0]
        outputs = [
            f"{name}={layer.out_channels}"
            for name, layer in (("residual", self.residual), ("skip", self.skip))
            if layer is not None
        ]
        if self.global_projection is not None:
            outputs.append(f"global_channels={self.global_projection.in_features}")
        if self.local_projection is not None:
            outputs.append(f"local_channels={self.local_projection.in_channels}")
        conditioned = [self.conditioning] if self.global_projection or self.local_projection else []
        parts = [*own, self.gate, *outputs, *conditioned, f"receptive_field={self.receptive_field}"]
        return f"{type(self).__name__}({', '.join(parts)})"

    def step(
        self,
        x: Tensor,
        state: State,
        global_condition: Tensor | None = None,
        local_condition: Tensor | None = None,
    ) -> tuple[Tensor | Pair, State]:
        residual, skip, state = self.step_parts(x, state, global_condition, local_condition)
        return (residual if skip is None else (residual, skip)), state

    def step_parts(
        self, x: Tensor, state: State, global_condition: Tensor | None = None, local_condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, State]:
        """:meth:`step` with residual and skip apart, the skip None where the block has none."""
        parts = split_state(state, (self.conv, self.residual_delay, self.condition_delay))
        hidden, conv_state = self.conv.step(x, parts[0])
        x, residual_state = self.residual_delay.step(x, parts[1])
        condition_state: State = parts[2]
        if local_condition is not None:
            local_condition, condition_state = self.condition_delay.step(local_condition, parts[2])
        if self.norm is not None:
            hidden = self.norm.apply_point(hidden)
        residual, skip = self._gate(x, hidden, global_condition, local_condition)
        return residual, skip, (*conv_state, *residual_state, *condition_state)

    def start(
        self,
        x: Tensor,
        silence: bool,
        global_condition: Tensor | None = None,
    ) -> tuple[Tensor | Pair, State]:
        hidden, conv_state = self.conv.start(x, silence)
        delayed, residual_state = self.residual_delay.start(x, silence=True)
        condition, condition_state = None, ()
        if self.local_projection is not None:
            # Before the start the local condition is zero.
            condition = x.new_zeros(x.shape[0], self.local_projection.in_channels, x.shape[-1])
            condition_state = self.condition_delay.start(condition, silence=True)[1]
        state = (*conv_state, *residual_state, *condition_state)
        if silence:
            if self.norm is not None:
                hidden = self.norm.start(hidden, silence)[0]
            residual, skip = self._gate(delayed, hidden, global_condition, condition)
        else:
            residual = torch.zeros_like(x)
            skip = None if self.skip is None else x.new_zeros(x.shape[0], self.skip.out_channels, *x.shape[2:])
        return (residual if skip is None else (residual, skip)), state

    def _gate(
        self, x: Tensor, hidden: Tensor, global_condition: Tensor | None, local_condition: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        hidden = self._condition(hidden, global_condition, local_condition)
        filtered, gated = hidden.chunk(2, dim=1)
        if self.gate == "tanh":
            filtered = torch.tanh(filtered)
        z = self.dropout(filtered * torch.sigmoid(gated))
        return x if self.residual is None else x + self.residual(z), None if self.skip is None else self.skip(z)

    def _condition(self, hidden: Tensor, global_condition: Tensor | None, local_condition: Tensor | None) -> Tensor:
        projected = (
            _project(self.global_projection, global_condition, "global"),
            _project(self.local_projection, local_condition, "local"),
        )
        terms = [term for term in projected if term is not None]
        if not terms:
            return hidden
        total = terms[0] if len(terms) == 1 else terms[0] + terms[1]
        if hidden.ndim == 4:
            total = total[:, :, None]  # the same for all bins
        if self.conditioning == "add":
            return hidden + total
        scale, shift = total.chunk(2, dim=1)
        return hidden * (1 + scale) + shift


class GatedResidualBlock(_GatedBlock[int]):
    """Dilated convolution, gate, and 1x1 convolutions onto the residual and, if asked for, the skip sum.

    ``z = tanh(W_f * x + V_f c) . sigmoid(W_g * x + V_g c)``; residual ``x + W_r z``, skip ``W_s z``. Source: van den
    Oord 2016, section 2.3 to 2.5, arXiv:1609.03499. With ``gate="glu"`` the tanh is left out (Dauphin 2017,
    arXiv:1612.08083); with ``conditioning="film"`` the condition scales and shifts the gate's input (Perez 2018,
    arXiv:1709.07871).

    Args:
        channels: of input and residual.
        kernel_size: taps of the dilated convolution.
        dilation: inputs between taps.
        skip_channels: of the skip output; None for no skip output.
        project_residual: False leaves out the residual's 1x1 convolution, where nothing reads the residual.
        gate: "tanh" or "glu".
        norm: "batch", "layer", "rms" or "none", between the convolution and the gate.
        dropout: probability, on the gate's output.
        groups: of the dilated convolution.
        bias: of all its convolutions.
        global_channels: of a condition that holds for the whole signal; 0 for none.
        local_channels: of a condition that runs along with the signal; 0 for none.
        conditioning: "add" or "film".
        lookahead: inputs read beyond the present.
        boundary: see :class:`StreamingModule`.
        device: as in torch.
        dtype: as in torch.

    Shape:
        ``(batch, channels, time)`` to the residual of the same shape; with ``skip_channels``, to the pair of it and
        ``(batch, skip_channels, time)``. Conditions: ``global_condition`` ``(batch, global_channels)``,
        ``local_condition`` ``(batch, local_channels, time)``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range.
    """

    dimensions = 1

    def input_shape(self) -> tuple[int, ...]:
        return (self.channels,)


class GatedResidualBlock2d(OverSpectrograms, _GatedBlock[int | tuple[int, int]]):
    """:class:`GatedResidualBlock` over spectrograms: causal in time, centred in frequency, of any number of bins.

    Args:
        channels: of input and residual.
        kernel_size: taps of the dilated convolution, one number for both axes or a pair (frequency, time).
        dilation: inputs between taps, likewise.
        options: the further arguments of :class:`GatedResidualBlock`; lookahead is counted in frames, and the norms
            "layer" and "rms" read all bins of a frame.

    Shape:
        ``(batch, channels, frequency, time)`` to the residual of the same shape; with ``skip_channels``, to the pair of
        it and ``(batch, skip_channels, frequency, time)``. Conditions as in one dimension, the same for all bins.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range.
    """

    dimensions = 2

    @property
    def frequency_field(self) -> Field:
        all_bins = isinstance(self.norm, FrameLayerNorm | FrameRMSNorm)
        read = Field(1, 1, (-math.inf,), (math.inf,)) if all_bins else self.conv.frequency_field
        return Field.identity().union(read)


def _project(projection: nn.Module | None, condition: Tensor | None, name: str) -> Tensor | None:
    """The condition's share of the gate's input, ``(batch, width, time or 1)``; None without a condition."""
    if (projection is None) != (condition is None):
        expected, actual = ("none", "one") if projection is None else ("one", "none")
        raise ValueError(f"{name}_condition: the layer was made for {expected}, and was given {actual}")
    if projection is None or condition is None:
        return None
    return projection(condition) if condition.ndim == 3 else projection(condition)[..., None]
