"""Comparing outputs, and saying what does not hold."""

from typing import Any

from torch import Tensor


def parts_of(outputs: Any) -> tuple[Tensor, ...]:
    """Outputs as a tuple, whether the module gives one tensor or several."""
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest value expected or 1; infinite where the shapes differ."""
    if actual.shape != expected.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    error = float((actual - expected).abs().max() / expected.abs().max().clamp_min(1.0))
    return error if error == error else float("inf")


def require(holds: bool, message: str) -> None:
    """Raise AssertionError with the message unless it holds (``assert`` would vanish under ``python -O``)."""
    if not holds:
        raise AssertionError(message)
