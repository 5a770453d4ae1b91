"""A batch as one interleaved signal: the same outputs, states, gradients and statistics as session by session."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples
from torch import nn

from wavedil.layers import (
    BatchNorm1d,
    CausalAvgPool1d,
    CausalConv1d,
    CausalConv2d,
    Chain,
    DilatedStack,
    DilatedStack2d,
    StreamingModule,
)
from wavedil.layers.broadcast import BroadcastResidualBlock
from wavedil.layers.interleave import can_interleave, interleave, interleaved, separate

MODULES = {
    "conv": (lambda: CausalConv1d(4, 6, 3, dilation=4), (4,)),
    "even kernel": (lambda: CausalConv1d(4, 6, 2, dilation=3, bias=False), (4,)),
    "one tap": (lambda: CausalConv1d(4, 6, 1), (4,)),
    "depthwise": (lambda: CausalConv1d(4, 4, 5, dilation=2, groups=4), (4,)),
    "grouped": (lambda: CausalConv1d(4, 6, 3, dilation=2, groups=2), (4,)),
    "spectrogram": (lambda: CausalConv2d(2, 3, (5, 3), (2, 1), dilation=(1, 2)), (2, 10)),
    "depthwise over frequency": (lambda: CausalConv2d(3, 3, (3, 1), (2, 1), groups=3), (3, 10)),
    "stack": (lambda: DilatedStack(4, 3, [1, 2, 4], skip_channels=5, norm="batch"), (4,)),
    "stack, silence": (lambda: DilatedStack(4, 3, [1, 2, 4], norm="layer", gate="glu", boundary="silence"), (4,)),
    "stack over spectrograms": (lambda: DilatedStack2d(4, 3, [1, 2], skip_channels=5, norm="rms"), (4, 6)),
    "broadcast": (
        lambda: Chain(BroadcastResidualBlock(2, 3, 2, frequency_stride=2), BroadcastResidualBlock(3, 3)),
        (2, 20),
    ),
    "chain": (lambda: Chain(CausalConv1d(4, 8, 3), BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 2, 1)), (4,)),
}


def states(module, batch, shape):
    state = module.initial_state(batch, *shape, dtype=torch.float64)
    return tuple(tensor.detach() for tensor in state)


@pytest.mark.parametrize("name", MODULES)
@settings(max_examples=examples(10), deadline=None)
@given(batch=st.integers(1, 5), frames=st.integers(2, 12), seed=st.integers(0, 99))
def test_interleaved_is_session_by_session(name, batch, frames, seed):
    make, shape = MODULES[name]
    torch.manual_seed(seed)
    plain = make().double().train()
    one = copy.deepcopy(plain)
    state = states(plain, batch, shape)
    x = torch.randn(batch, *shape, frames, dtype=torch.float64, requires_grad=True)
    expected, expected_state = plain.step(x, state)
    y, following = interleaved(one, batch).step(interleave(x), tuple(map(interleave, state)))
    torch.testing.assert_close(separate(y, batch), expected, rtol=0, atol=1e-12)
    for ours, theirs in zip(following, expected_state, strict=True):
        torch.testing.assert_close(separate(ours, batch), theirs, rtol=0, atol=1e-12)
    weights = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weights).sum(), (x, *plain.parameters()), allow_unused=True)
    given = torch.autograd.grad((separate(y, batch) * weights).sum(), (x, *one.parameters()), allow_unused=True)
    for ours, theirs in zip(given, wanted, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(one.buffers(), plain.buffers(), strict=True):  # running statistics
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_weights_and_statistics_are_shared_and_the_module_is_left_alone():
    module = Chain(CausalConv1d(2, 3, 3, dilation=2), BatchNorm1d(3)).train()
    names, field = list(module.state_dict()), module.field
    twin = interleaved(module, 4)
    assert {id(p) for p in twin.parameters()} == {id(p) for p in module.parameters()}
    assert twin.field.receptive_field == 1 + 4 * 2 * 2
    twin.step(torch.randn(1, 2, 40), (torch.zeros(1, 2, 16),))
    assert module.field == field
    assert list(module.state_dict()) == names
    assert int(module.state_dict()["layers.1.num_batches_tracked"]) == 1


class Differences(StreamingModule):
    """Reads the sample before by itself, so that nothing tells how."""

    def step(self, x, state):
        return x - torch.cat([state[0], x[..., :-1]], dim=-1), (x[..., -1:],)


@pytest.mark.parametrize(
    "module",
    [
        CausalConv1d(2, 2, 4, 2),
        CausalConv1d(2, 2, 3, lookahead=1),
        CausalAvgPool1d(4, 1),
        DilatedStack(4, 3, [1, 2], lookahead=1),
        DilatedStack(4, 3, [1, 2], global_channels=3),
        Chain(nn.Dropout1d(0.1)),
        Differences(),
        nn.Sequential(nn.Conv1d(2, 2, 3, padding=1)),
    ],
    ids=[
        "stride",
        "lookahead",
        "pooling",
        "stack with lookahead",
        "condition",
        "dropout of channels",
        "unknown",
        "padded",
    ],
)
def test_what_cannot_be_interleaved_is_refused(module):
    assert not can_interleave(module)
    with pytest.raises(TypeError, match="cannot be interleaved"):
        interleaved(module, 3)
