"""The exported step on signals that random noise says nothing about."""

import contextlib
import math

import pytest
import torch

from wavedil.config import FeatureConfig
from wavedil.export import OnnxStep, _check_values, to_onnx
from wavedil.features import FLOOR, LogMel
from wavedil.layers import CausalConv1d, Chain, FrameRMSNorm
from wavedil.testing import backends
from wavedil.testing.backends import check_backend

SMALL = FeatureConfig(win_length=24, hop_length=8, n_fft=32, n_mels=5)


def test_a_floor_and_an_epsilon_are_kept(tmp_path):
    front = Chain(FrameRMSNorm(1, eps=1e-12), LogMel(8000, SMALL))
    to_onnx(front, tmp_path / "front.onnx", 1)
    step, state = OnnxStep(tmp_path / "front.onnx"), front.initial_state(1, 1)
    for chunk in (torch.zeros(1, 1, 80), 1e-6 * torch.randn(1, 1, 80), torch.zeros(1, 1, 80)):
        with torch.no_grad():
            expected, following = front.step(chunk, state)
        found, state = step.step(chunk, state)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(state, following, atol=1e-4, rtol=0)
    assert expected[..., -1].max() == pytest.approx(math.log(FLOOR))
    # A file whose values are not those of the module is not kept.
    with pytest.raises(RuntimeError, match=r"front: ONNX Runtime differs .* noise, .* was not kept"):
        _check_values(tmp_path / "front.onnx", Chain(FrameRMSNorm(1), LogMel(8000, SMALL)), (1,), {})


def test_the_contract_check_hears_silence(monkeypatch):
    @contextlib.contextmanager
    def without_floor(name, module, x, conditions, program):
        def step(chunk, state):
            y, state = module.step(chunk, state)
            return y.where(chunk.amax((1, 2), keepdim=True) > 0, -torch.inf), state

        yield step

    monkeypatch.setattr(backends, "_backend", without_floor)
    assert check_backend("onnx", CausalConv1d(1, 1, 3), torch.rand(1, 1, 9), {}) == torch.inf
