import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from wavedil.config import TrainConfig
from wavedil.training.optim import Ema, learning_rate, make_optimizer


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(1, 3, 4), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(9, 2))


@given(warmup=st.integers(0, 50), cosine=st.integers(1, 200), peak=st.floats(1e-6, 10))
def test_the_rate_rises_to_its_peak_and_falls_towards_zero(warmup: int, cosine: int, peak: float) -> None:
    total = warmup + cosine
    rates = [learning_rate(step, peak, warmup, total) for step in range(total)]
    assert all(0 < rate <= peak for rate in rates)
    assert max(rates) == peak
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert learning_rate(total, peak, warmup, total) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_only_matrices_and_kernels_decay(optimizer: str) -> None:
    net = _net()
    config = TrainConfig(optimizer=optimizer, weight_decay=0.5, lr=0.1)  # type: ignore[arg-type]
    before = copy.deepcopy(net.state_dict())
    fitted = make_optimizer(net, config)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    fitted.step()
    for name, parameter in net.named_parameters():
        # SGD's is part of the gradient, of which Nesterov's first step takes 1 + 0.9.
        decay = (0.05 if optimizer == "adamw" else 0.05 * 1.9) if parameter.ndim > 1 else 0.0
        assert torch.allclose(parameter, before[name] * (1 - decay))


def test_the_average_is_that_of_the_formula_buffers_too() -> None:
    torch.manual_seed(0)
    net = _net().double()
    ema = Ema(net, decay=0.6)
    expected = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for step in range(20):
        net(torch.randn(4, 1, 6, dtype=torch.float64))  # moves the batch statistics and their count
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter))
        ema.update(step)
        decay = min(0.6, (1 + step) / (10 + step))
        for name, tensor in net.state_dict().items():
            mixed = decay * expected[name] + (1 - decay) * tensor
            expected[name] = mixed if tensor.is_floating_point() else tensor.clone()
    for name, average in ema.model.state_dict().items():
        assert torch.allclose(average, expected[name], rtol=1e-12, atol=1e-12)
    assert not ema.model.training


def test_without_decay_the_average_is_the_model() -> None:
    net = _net()
    ema = Ema(net, decay=0.0)
    nn.init.constant_(net[0].weight, math.pi)  # type: ignore[arg-type]
    ema.update(1000)
    assert torch.equal(ema.model[0].weight, net[0].weight)  # type: ignore[index]
