"""What the state of a run must look like before it is taken up: a checkpoint may be damaged, or somebody else's."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from wavedil.checks import shown
from wavedil.training.history import EpochRow
from wavedil.training.weights import check_shapes, check_values

# What each optimiser keeps of a parameter, "step" being one number.
_KEPT = {torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"}, torch.optim.SGD: {"momentum_buffer"}}
_MOST = 1 << 62  # of a number in it
_WHOLE = ("epoch", "step")  # columns of a row that are integers


def check_state(state: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Refuse a state that is not one of this model and optimiser.

    Args:
        state: as :meth:`wavedil.training.state.TrainingState.state_dict` gives it.
        model: that is trained.
        optimizer: of its parameters.

    Raises:
        ValueError: naming the key.
    """
    step = _take(state, "step", int)
    if not 0 <= step < _MOST:
        raise ValueError(f"key 'step': expected at least 0, got {shown(step)}")
    seconds = _take(state, "seconds", float)
    if not 0 <= seconds < _MOST:
        raise ValueError(f"key 'seconds': expected a time, got {shown(seconds)}")
    totals = _take(state, "totals", Tensor)
    if not _is_plain(totals) or totals.shape != (3,) or not torch.isfinite(totals).all():
        raise ValueError(f"key 'totals': expected 3 finite sums, got {shown(totals)}")
    weights = model.state_dict()
    for key in ("model", "ema"):
        _check_weights(f"key '{key}'", _take(state, key, dict), weights)
    history = _take(state, "history", list)
    for number, row in enumerate(history):
        _check_row(f"key 'history', row {number}", row)
        if row["epoch"] != number + 1:
            raise ValueError(f"key 'history', row {number}: expected epoch {number + 1}, got {shown(row['epoch'])}")
    best = state.get("best")
    if history or best is not None:
        if not isinstance(best, dict):
            raise ValueError(f"key 'best': expected a dict, got {shown(best)}")
        _check_weights("key 'best.weights'", _take(best, "weights", dict), weights)
        _check_row("key 'best.row'", best.get("row"))
    _check_optimizer(_take(state, "optimizer", dict), optimizer, step)


def _take(content: Mapping[str, Any], key: str, kind: type) -> Any:
    value = content.get(key)
    kinds = (int, float) if kind is float else kind
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ValueError(f"key '{key}': expected a value of type {kind.__name__}, got {shown(value)}")
    return value


def _check_weights(source: str, found: Mapping[Any, Any], expected: Mapping[str, Tensor]) -> None:
    for name, tensor in found.items():
        if not _is_plain(tensor):
            raise ValueError(f"{source}: weight {shown(name)}: expected a tensor, got {shown(tensor)}")
    check_shapes(source, {name: tuple(tensor.shape) for name, tensor in found.items()}, expected)
    for name, tensor in found.items():
        if tensor.dtype != expected[name].dtype:
            raise ValueError(f"{source}: weight '{name}': expected {expected[name].dtype}, got {tensor.dtype}")
    check_values(source, found)


def _check_row(source: str, row: Any) -> None:
    names = {field.name for field in fields(EpochRow)}
    if not isinstance(row, dict) or row.keys() != names:
        raise ValueError(f"{source}: expected the figures {', '.join(sorted(names))}, got {shown(row)}")
    for name, value in row.items():
        kinds = (int,) if name in _WHOLE else (int, float)
        if type(value) not in kinds or (type(value) is int and abs(value) >= _MOST):
            raise ValueError(f"{source}: expected {name} as a number, got {shown(value)}")


def _check_optimizer(found: Mapping[str, Any], optimizer: torch.optim.Optimizer, step: int) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state, kept = _take(found, "state", dict), _KEPT[type(optimizer)]
    expected = range(len(parameters)) if step else range(0)
    if state.keys() != set(expected):
        raise ValueError(
            f"key 'optimizer.state': expected parameters 0 to {len(parameters) - 1}, got {shown(list(state))}"
        )
    for number, values in state.items():
        source = f"key 'optimizer.state.{number}'"
        if not isinstance(values, dict) or values.keys() != kept:
            raise ValueError(f"{source}: expected {', '.join(sorted(kept))}, got {shown(values)}")
        for name, value in values.items():
            shape = () if name == "step" else parameters[number].shape
            if not _is_plain(value) or value.shape != shape or not torch.isfinite(value).all():
                raise ValueError(
                    f"{source}: {name}: expected finite numbers of shape {tuple(shape)}, got {shown(value)}"
                )
            if name in ("step", "exp_avg_sq") and (value < 0).any():
                raise ValueError(f"{source}: {name}: expected at least 0, got {shown(value)}")


def _is_plain(value: Any) -> bool:
    """Whether it is a tensor of numbers in memory, and neither sparse nor quantised nor only a shape."""
    plain = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
    return plain and value.device.type == "cpu" and not value.is_complex()
