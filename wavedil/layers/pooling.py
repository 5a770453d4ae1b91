"""Causal pooling: an exact average over a fixed window."""

from torch import Tensor
from torch.nn import functional as F

from wavedil.config import Boundary
from wavedil.layers.base import Window
from wavedil.layers.sizes import require_sizes


class CausalAvgPool1d(Window):
    """Average over the last ``kernel_size`` inputs, from a ring buffer of them: nothing drifts, however long the
    stream.

    Before the start the window holds zeros (or silence), and the divisor is always ``kernel_size``.

    Args:
        kernel_size: inputs averaged.
        stride: inputs between outputs; None takes ``kernel_size``, as torch does. 1 is a running average.
        lookahead: inputs read beyond the newest of the output's own stride.
        boundary: zeros before the start, which for one layer is also silence.

    Shape:
        ``(batch, channels, time)`` to ``(batch, channels, time // stride)``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self, kernel_size: int, stride: int | None = None, *, lookahead: int = 0, boundary: Boundary = "zeros"
    ) -> None:
        stride = kernel_size if stride is None else stride
        kernel_size, stride = require_sizes(kernel_size=kernel_size, stride=stride)
        super().__init__(kernel_size, stride, lookahead)
        self.boundary = boundary

    def apply_window(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            raise TypeError(f"{type(self).__name__}: expected a floating-point signal, got {x.dtype}")
        if x.ndim != 3 or not x.shape[1]:
            raise ValueError(f"{type(self).__name__}: expected (batch, channels, time), got {tuple(x.shape)}")
        return F.avg_pool1d(x, self.span, self.step_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.span}, stride={self.step_size}"
