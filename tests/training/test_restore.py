"""The state of a run: taken up if it is one, refused by the key where it is not."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny import assert_same
from torch import nn

from wavedil.config import TrainConfig
from wavedil.training.distributed import Process
from wavedil.training.history import EpochRow
from wavedil.training.state import TrainingState

ROW = EpochRow(1, 3, 0.01, 1.0, 0.5, 1.0, 0.5, 100.0, 2.0)
ALONE = Process()


def _new(optimizer: str) -> TrainingState:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 3, 2), nn.BatchNorm1d(3))
    return TrainingState(model, TrainConfig(optimizer=optimizer, device="cpu"))  # type: ignore[arg-type]


def _trained(optimizer: str = "adamw") -> dict[str, Any]:
    """The state after a few steps and an epoch."""
    state = _new(optimizer)
    for _ in range(3):
        state.optimizer.zero_grad()
        state.model(torch.randn(4, 1, 8)).square().mean().backward()
        state.optimizer.step()
        state.step += 1
    state.finish_epoch(ROW)
    return copy.deepcopy(state.state_dict(ALONE))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_state_is_what_it_was(optimizer: str) -> None:
    saved, state = _trained(optimizer), _new(optimizer)
    state.load_state_dict(saved, ALONE)
    assert_same(state.state_dict(ALONE), saved)


def test_the_settings_of_the_optimizer_are_those_of_the_config() -> None:
    saved, state = _trained(), _new("adamw")
    for group in saved["optimizer"]["param_groups"]:
        group.update(lr="fast", betas=(7, 7), maximize=True)
    state.load_state_dict(saved, ALONE)
    assert [(group["lr"], group["maximize"]) for group in state.optimizer.param_groups] == [
        (TrainConfig().lr, False)
    ] * 2


_WEIGHT = "0.weight"


def _set(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        for key in path[:-1]:
            state = state[key]
        state[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *((_set(key, value=value), f"'{key}'") for key in ("step", "seconds")
          for value in (None, "1", -1, True, [], 10**400)),
        (_set("seconds", value=math.nan), "'seconds'"),
        *((_set("totals", value=value), "'totals'") for value in (None, torch.zeros(4), torch.full((3,), math.nan))),
        *((_set(key, value=None), f"'{key}'") for key in ("model", "ema", "optimizer", "history")),
        *((_set("best", value=value), "'best'") for value in (3, [])),
        (_set("best", value={}), "'weights'"),
        (_set("best", "row", value={}), "'best.row'"),
        (_set("best", "row", "epoch", value=1.5), "'best.row'.* epoch"),
        (_set("best", "row", "val_loss", value="low"), "'best.row'.* val_loss"),
        (_set("history", 0, value=5), "'history', row 0"),
        (_set("history", 0, "step", value=10**400), "'history', row 0.* step"),
        (_set("history", 0, "epoch", value=2), "'history', row 0: expected epoch 1, got 2"),
        (_set("best", value=None), "'best'"),
        (_set("history", 0, "colour", value=5), "'history', row 0"),
        *((_set(key, _WEIGHT, value=value), f"'{key}': weight '0.weight'") for key in ("model", "ema")
          for value in (None, 3.0, torch.zeros(3), torch.zeros(3, 1, 2).double(), torch.full((3, 1, 2), math.nan))),
        (_set("model", _WEIGHT, value=torch.empty(3, 1, 2, device="meta")), "weight '0.weight': expected a tensor"),
        (_set("model", _WEIGHT, value=torch.zeros(3, 1, 2).to_sparse()), "weight '0.weight': expected a tensor"),
        (_set("model", 5, value=torch.zeros(3)), "'model': weight 5: expected nothing"),
        (_set("best", "weights", "1.running_var", value=torch.full((3,), -1.0)), "variances of at least 0"),
        (_set("optimizer", "state", value={}), "optimizer.state"),
        (_set("optimizer", "state", 9, value={}), "optimizer.state"),
        (_set("optimizer", "state", 0, value={}), "optimizer.state.0"),
        (_set("optimizer", "state", 0, "exp_avg", value=torch.zeros(2)), "optimizer.state.0.*exp_avg"),
        (_set("optimizer", "state", 0, "exp_avg_sq", value=torch.full((3, 1, 2), -1.0)), "exp_avg_sq: .* at least 0"),
        (_set("optimizer", "state", 0, "step", value=torch.tensor(math.inf)), "step: expected finite"),
    ],
)  # fmt: skip
def test_a_key_of_any_content_is_named_and_nothing_is_taken_up(
    change: Callable[[dict[str, Any]], None], message: str
) -> None:
    saved, state = _trained(), _new("adamw")
    before = copy.deepcopy(state.state_dict(ALONE))
    change(saved)
    with pytest.raises(ValueError, match=message) as caught:
        state.load_state_dict(saved, ALONE)
    assert "\n" not in str(caught.value)
    assert_same(state.state_dict(ALONE), before)


@pytest.mark.parametrize("key", ["step", "seconds", "totals", "model", "ema", "optimizer", "history"])
def test_a_key_that_is_missing_is_named(key: str) -> None:
    saved = _trained()
    del saved[key]
    with pytest.raises(ValueError, match=f"key '{key}'"):
        _new("adamw").load_state_dict(saved, ALONE)
