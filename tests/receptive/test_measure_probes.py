"""Probing by NaN, and the effective receptive field."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import Function, hull, signal
from sweeps import examples
from torch import nn
from torch.nn import functional as F

from wavedil.receptive.measure import NanResult, effective_field, nan_reach

EXACT = NanResult(outside=False, at_start=True, at_end=True, outside_changes=False)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_nan_tells_a_field_from_a_smaller_and_a_larger_one():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv1d(2, 3, 3, dilation=2), nn.ReLU(), nn.Conv1d(3, 1, 2, stride=2))
    x = noise(1, 2, 30)
    assert hull(module, x, (0, 5)) == (10, 15)
    assert nan_reach(module, x, (..., 5), 10, 15) == EXACT
    assert nan_reach(module, x, (..., 5), 11, 15) == NanResult(True, True, True, True)
    assert not nan_reach(module, x, (..., 5), 10, 16).at_end
    assert not nan_reach(module, x, (..., 5), 9, 15).at_start


@settings(max_examples=examples(40))
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(1, 3)), min_size=1, max_size=4))
def test_nan_and_gradients_agree_on_random_chains(sizes):
    module = nn.Sequential(*(nn.Sequential(nn.Conv1d(1, 1, k, s, dilation=d), nn.Tanh()) for k, s, d in sizes))
    x = noise(1, 1, 300)
    field = hull(module, x, (0, 1))
    assert field is not None
    assert nan_reach(module, x, (0, 1), *field) == EXACT


def test_another_axis_and_an_empty_field():
    layer = nn.Conv2d(1, 1, (3, 5), padding=(1, 0))
    assert nan_reach(layer, noise(1, 1, 10, 12), (0, 4), 3, 5, axis=-2) == EXACT
    silent = nn.ConvTranspose1d(1, 1, 2, stride=3)
    assert nan_reach(silent, noise(1, 1, 9), (0, 11), 5, 4) == NanResult(False, False, False, False)


def test_a_state_left_by_one_probe_does_not_reach_the_next():
    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("last", torch.zeros(1, 1, 1))

        def forward(self, x):
            y = torch.cat([self.last, x], dim=-1)[..., :-1]
            self.last = x[..., -1:]
            return y

    assert nan_reach(Remembering(), noise(1, 1, 9), (..., 5), 4, 4) == EXACT


def test_nan_passes_through_a_masked_attention_where_no_number_does():
    def attend(x):
        return F.scaled_dot_product_attention(x.mT, x.mT, x.mT, is_causal=True).mT

    x = noise(1, 4, 12)
    assert nan_reach(Function(attend), x, (..., 6), 0, 6) == NanResult(True, True, True, False)
    assert hull(attend, x, (..., 6)) == (0, 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": -1}, "interval -1 to 5 leaves the input, which has 0 to 8 along axis -1"),
        ({"end": 9}, "interval 3 to 9 leaves the input"),
        ({"axis": 0}, "axis must be one of the input's 3 and not its batch, got 0"),
        ({"output_index": (0, 30)}, "output index"),
        ({"example_input": torch.full((1, 1, 9), torch.nan)}, "is NaN although no input is"),
    ],
)
def test_wrong_probes(arguments, message):
    given = {"example_input": noise(1, 1, 9), "output_index": (..., 4), "start": 3, "end": 5, **arguments}
    with pytest.raises(ValueError, match=message):
        nan_reach(nn.Conv1d(1, 1, 3, padding=1), **given)


def uniform(*dilations: int) -> nn.Sequential:
    layers = [nn.Conv1d(1, 1, 3, padding=d, dilation=d, bias=False) for d in dilations]
    for layer in layers:
        nn.init.constant_(layer.weight, 0.5)
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("dilations", "field", "sigma"), [((1,) * 10, 21, 2.582), (tuple(2**i for i in range(10)), 2047, 482.72)]
)
def test_effective_width_of_uniform_weights(dilations, field, sigma):
    measured = effective_field(uniform(*dilations), signal(1, 2 * field), samples=1)
    assert measured.receptive_field == field
    assert measured.sigma == pytest.approx(math.sqrt(sum(d * d * 8 / 12 for d in dilations)), rel=1e-9)
    assert measured.sigma == pytest.approx(sigma, rel=1e-4)
    assert measured.mean == pytest.approx(measured.output)
    assert measured.start == measured.output - field // 2
    assert sum(measured.weights) == pytest.approx(1)


def test_the_interval_that_holds_most():
    measured = effective_field(uniform(1, 1), signal(1, 21))
    # 1, 2, 3, 2, 1 of 9: the middle three hold 7/9.
    assert measured.weights == pytest.approx([1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9])
    assert (measured.output, measured.start, measured.width95) == (10, 8, 5)
    peak = nn.Conv1d(1, 1, 5, padding=2, bias=False)
    nn.init.zeros_(peak.weight)
    peak.weight.data[0, 0, 1:4] = torch.tensor([0.02, 0.96, 0.02])
    measured = effective_field(peak, signal(1, 21))
    assert (measured.width95, measured.receptive_field) == (1, 5)
    assert measured.weights[0] == 0


def test_the_effective_field_is_that_of_the_module_as_it_is():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv1d(2, 8, 9, padding=4), nn.ReLU(), nn.Dropout(0.5), nn.Conv1d(8, 2, 9, padding=4))
    first, again = (effective_field(module, signal(2, 64), samples=4, seed=3) for _ in range(2))
    assert first == again
    assert first.weights != effective_field(module, signal(2, 64), samples=4, seed=4).weights
    assert first.receptive_field == 17
    assert first.sigma < math.sqrt(17**2 / 12)


def test_nothing_to_measure():
    with pytest.raises(ValueError, match="zero at all 2 samples"):
        effective_field(Function(lambda x: x.sign()), signal(1), samples=2)
    with pytest.raises(ValueError, match="samples must be at least 1 and axis below 0, got 0 and -1"):
        effective_field(nn.Identity(), signal(1), samples=0)
