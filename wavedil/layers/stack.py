"""A stack of gated residual blocks with a schedule of dilations, over waveforms and spectrograms."""

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypedDict, Unpack, cast

import torch
from torch import Tensor, nn

from wavedil.config import Boundary
from wavedil.layers.base import Delay, State, StreamingModule, split_state
from wavedil.layers.conditions import Shapes
from wavedil.layers.conv import OverSpectrograms
from wavedil.layers.gated import Conditioning, Gate, GatedResidualBlock, GatedResidualBlock2d, Size, _GatedBlock
from wavedil.layers.norm import NormName
from wavedil.layers.sizes import each_of, require_placement, require_room
from wavedil.receptive import Field


class StackOptions(TypedDict, total=False):
    """What the stacks over waveforms and spectrograms take alike; see :class:`DilatedStack`."""

    skip_channels: int | None
    gate: Gate
    norm: NormName
    dropout: float
    groups: int
    bias: bool
    global_channels: int
    local_channels: int
    conditioning: Conditioning
    lookahead: int | Sequence[int]
    boundary: Boundary
    device: torch.device | str | None
    dtype: torch.dtype | None


class _Stack(StreamingModule, Generic[Size]):
    """The stack of either number of dimensions; a subclass sets ``block``."""

    block: ClassVar[type[Any]]

    def __init__(
        self,
        channels: int,
        kernel_size: Size,
        dilations: Sequence[Size],
        *,
        skip_channels: int | None = None,
        gate: Gate = "tanh",
        norm: NormName = "none",
        dropout: float = 0.0,
        groups: int = 1,
        bias: bool = True,
        global_channels: int = 0,
        local_channels: int = 0,
        conditioning: Conditioning = "add",
        lookahead: int | Sequence[int] = 0,
        boundary: Boundary = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        dilations = each_of("dilations", dilations)
        is_list = hasattr(lookahead, "__len__")
        lookaheads: list[Any] = list(each_of("lookahead", lookahead)) if is_list else [lookahead] * len(dilations)
        if len(lookaheads) != len(dilations):
            raise ValueError(f"expected a lookahead for each of {len(dilations)} dilations, got {len(lookaheads)}")
        require_placement(device, dtype)
        self.channels = self.in_channels = channels
        self.skip_channels = skip_channels
        self.dilations = tuple(dilations)
        self.local_channels = local_channels
        self.boundary = boundary
        options = {
            "skip_channels": skip_channels, "gate": gate, "norm": norm, "dropout": dropout, "groups": groups,
            "bias": bias, "global_channels": global_channels, "local_channels": local_channels,
            "conditioning": conditioning,
        }  # fmt: skip
        on_meta = self.block(channels, kernel_size, dilations[0], **options, device="meta", dtype=dtype)
        require_room(len(dilations) * sum(weight.numel() for weight in on_meta.parameters()))
        self.blocks = nn.ModuleList()
        for i, (dilation, ahead) in enumerate(zip(dilations, lookaheads, strict=True)):
            # The last block's residual is read by nothing if the output is the skip sum.
            projects = skip_channels is None or i + 1 < len(dilations)
            own = {"project_residual": projects, "lookahead": ahead, "device": device, "dtype": dtype}
            self.blocks.append(self.block(channels, kernel_size, dilation, **options, **own))
        require_room(0, channels * int(self.receptive_field))
        # The skip sum waits for each block's lookahead; the condition waits for that of all blocks before.
        self.skip_delays = nn.ModuleList(Delay(ahead if skip_channels else 0) for ahead in lookaheads)
        before = [sum(lookaheads[:i]) if local_channels else 0 for i in range(len(lookaheads))]
        self.condition_delays = nn.ModuleList(Delay(samples) for samples in before)

    @property
    def field(self) -> Field:
        field = Field.identity()
        for block in self._blocks():
            field = field.then(block.field)
        return field

    @property
    def preroll(self) -> int:
        return sum(block.preroll for block in self._blocks())

    @property
    def condition_shapes(self) -> Shapes:
        return self._blocks()[0].condition_shapes

    @property
    def aligned(self) -> tuple[str, ...]:
        return self._blocks()[0].aligned

    @property
    def state_names(self) -> tuple[str, ...]:
        parts = ("blocks", "skip_delays", "condition_delays")
        children = [(f"{part}.{i}", child) for part in parts for i, child in enumerate(getattr(self, part))]
        return tuple(f"{path}.{name}" for path, child in children for name in child.state_names)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (self.skip_channels or self.channels, *shape[1:])

    def __repr__(self) -> str:
        own = [f"blocks={len(self.blocks)}", f"dilations={folded(self.dilations)}"]
        own.append(f"receptive_field={self.receptive_field}")
        if self.lookahead:
            own.append(f"lookahead={self.lookahead}")
        if self.boundary != "zeros":
            own.append(f"boundary={self.boundary!r}")
        return f"{type(self).__name__}({', '.join(own)},\n  (blocks.0): {self.blocks[0]!r}\n)"

    def step(
        self, x: Tensor, state: State, global_condition: Tensor | None = None, local_condition: Tensor | None = None
    ) -> tuple[Tensor, State]:
        count = len(self.blocks)
        parts = split_state(state, (*self.blocks, *self.skip_delays, *self.condition_delays))
        own, skips, conditions = list(parts[:count]), list(parts[count : 2 * count]), list(parts[2 * count :])
        total: Tensor | None = None
        for i, block in enumerate(self._blocks()):
            condition = local_condition
            if condition is not None:
                condition, conditions[i] = _delay(self.condition_delays[i]).step(condition, conditions[i])
            x, skip, own[i] = block.step_parts(x, own[i], global_condition, condition)
            if skip is not None:
                previous = torch.zeros_like(skip) if total is None else total
                previous, skips[i] = _delay(self.skip_delays[i]).step(previous, skips[i])
                total = skip if total is None else previous + skip
        return (x if total is None else total), tuple(t for part in (*own, *skips, *conditions) for t in part)

    def start(self, x: Tensor, silence: bool, global_condition: Tensor | None = None) -> tuple[Tensor, State]:
        states: list[list[State]] = [[], [], []]
        condition = x.new_zeros(x.shape[0], self.local_channels, x.shape[-1])
        total = x.new_zeros(x.shape[0], *self.output_shape(x.shape[1:-1]), x.shape[-1])
        for i, block in enumerate(self._blocks()):
            out, own = block.start(x, silence, global_condition)
            total, skip_state = _delay(self.skip_delays[i]).start(total, silence=True)
            x, skip = (out, None) if isinstance(out, Tensor) else out
            total = total if skip is None else total + skip
            states[0].append(own)
            states[1].append(skip_state)
            states[2].append(_delay(self.condition_delays[i]).start(condition, silence=True)[1])
        output = x if self.skip_channels is None else total
        return output, tuple(t for group in states for part in group for t in part)

    def _blocks(self) -> list[_GatedBlock[Size]]:
        return cast(Any, list(self.blocks))


class DilatedStack(_Stack[int]):
    """Gated residual blocks, one for each dilation; gives the sum of their skip outputs, or the last residual.

    Source: van den Oord 2016, figure 4, arXiv:1609.03499.

    Args:
        channels: of input and residual.
        kernel_size: taps of the dilated convolutions.
        dilations: one for each block; see :func:`wavedil.exponential_dilations`.
        skip_channels: of the skip sum, which is then the output; None gives the last block's residual.
        gate: "tanh" or "glu".
        norm: "batch", "layer", "rms" or "none", between each convolution and its gate.
        dropout: probability, on each gate's output.
        groups: of the dilated convolutions.
        bias: of all convolutions.
        global_channels: of a condition that holds for the whole signal; 0 for none.
        local_channels: of a condition that runs along with the signal; 0 for none.
        conditioning: "add" or "film".
        lookahead: inputs that each block reads beyond its present: one number for all, or one for each.
        boundary: "zeros" (each block sees zeros before the start) or "silence" (the response to a silent input).
        device: as in torch.
        dtype: as in torch.

    Shape:
        ``(batch, channels, time)`` to ``(batch, skip_channels or channels, time)``. Conditions: ``global_condition``
        ``(batch, global_channels)``, ``local_condition`` ``(batch, local_channels, time)``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if there is no dilation, more than 1,024, or an argument is out of its range.

    Example:
        >>> stack = DilatedStack(16, kernel_size=3, dilations=[1, 2, 4, 8])
        >>> stack(torch.zeros(1, 16, 100)).shape, stack.receptive_field
        (torch.Size([1, 16, 100]), 31)
    """

    block = GatedResidualBlock

    def input_shape(self) -> tuple[int, ...]:
        return (self.channels,)


class DilatedStack2d(OverSpectrograms, _Stack[int | tuple[int, int]]):
    """:class:`DilatedStack` over spectrograms: causal in time, centred in frequency, of any number of bins.

    Args:
        channels: of input and residual.
        kernel_size: taps of the dilated convolutions, one number for both axes or a pair (frequency, time).
        dilations: frames between taps, one for each block; see :func:`wavedil.exponential_dilations`.
        frequency_dilations: bins between taps, one for each block; None takes 1 for all.
        options: the further arguments of :class:`DilatedStack`; lookahead is counted in frames, and the norms "layer"
            and "rms" read all bins of a frame.

    Shape:
        ``(batch, channels, frequency, time)`` to ``(batch, skip_channels or channels, frequency, time)``. Conditions as
        in one dimension, the same for all bins.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if there is no dilation, there are not as many in frequency, or an argument is out of its range.

    Example:
        >>> stack = DilatedStack2d(4, kernel_size=3, dilations=[1, 2, 4, 8], frequency_dilations=[1, 2, 4, 1])
        >>> stack(torch.zeros(1, 4, 40, 100)).shape
        torch.Size([1, 4, 40, 100])
        >>> stack.receptive_field, stack.frequency_field.receptive_field
        (31, 17)
    """

    block = GatedResidualBlock2d

    def __init__(
        self,
        channels: int,
        kernel_size: int | tuple[int, int],
        dilations: Sequence[int],
        *,
        frequency_dilations: Sequence[int] | None = None,
        **options: Unpack[StackOptions],
    ) -> None:
        dilations = each_of("dilations", dilations)
        bins = each_of(
            "frequency_dilations", [1] * len(dilations) if frequency_dilations is None else frequency_dilations
        )
        if len(bins) != len(dilations):
            raise ValueError(f"expected a frequency dilation for each of {len(dilations)} dilations, got {len(bins)}")
        super().__init__(channels, kernel_size, list(zip(bins, dilations, strict=True)), **options)

    @property
    def frequency_field(self) -> Field:
        field = Field.identity()
        for block in self.blocks:
            field = field.then(cast(GatedResidualBlock2d, block).frequency_field)
        return field


def folded(values: Sequence[Any]) -> str:
    """Values for one line: what repeats as a product, and long lists by their ends."""
    period = next(n for n in range(1, len(values) + 1) if list(values) == list(values[:n]) * (len(values) // n))
    shown = [str(value) for value in values[:period]]
    if period > 12:
        shown = [*shown[:6], "...", *shown[-3:]]
    return f"[{', '.join(shown)}]" + (f" * {len(values) // period}" if len(values) > period else "")


def _delay(module: nn.Module) -> Delay:
    return cast(Delay, module)
