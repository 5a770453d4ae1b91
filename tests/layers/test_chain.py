"""A chain as a sequence, and what cannot stand in one."""

from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from wavedil import Stream
from wavedil.layers import (
    BatchNorm1d,
    CausalConv1d,
    CausalConvTranspose1d,
    Chain,
    Delay,
    GatedResidualBlock,
    Parallel,
    Window,
)
from wavedil.testing import verify_streaming_contract


def three() -> Chain:
    return Chain(("entry", CausalConv1d(1, 4, 3, lookahead=1)), nn.ReLU(), CausalConv1d(4, 2, 2), boundary="silence")


def test_it_is_a_sequence_of_its_layers():
    chain, x = three(), torch.randn(1, 1, 20)
    assert len(chain) == 3
    assert [type(layer).__name__ for layer in chain] == ["CausalConv1d", "Wrap", "CausalConv1d"]
    assert chain[0] is chain["entry"] is next(iter(chain))
    assert chain[-1] is chain["2"]
    with pytest.raises(IndexError):
        chain[3]
    first = chain[:2]
    assert isinstance(first, Chain)
    assert (first.boundary, list(first.layers)) == ("silence", ["entry", "1"])
    assert torch.equal(first(x), F.relu(chain[0](x)))
    assert torch.equal(Chain(*chain, boundary="silence")(x), chain(x))


def test_a_layer_is_appended_or_nothing_is_changed():
    chain, x = three(), torch.randn(1, 1, 20)
    before = chain(x)
    with pytest.raises(ValueError, match=r"layer 3 .* comes after a lookahead of 1: expected a multiple of 2"):
        chain.append(CausalConv1d(2, 2, 2, 2))
    assert torch.equal(chain(x), before)
    assert chain.append(nn.Tanh()) is chain
    assert torch.equal(chain(x), before.tanh())
    assert chain.append(("ahead", CausalConv1d(2, 2, 3, lookahead=2))).lookahead == 3
    verify_streaming_contract(chain, chunkings=1)


@pytest.mark.parametrize("hold", [lambda inner: Chain(inner, nn.ReLU()), lambda inner: Parallel(inner, nn.ReLU())])
def test_what_holds_a_chain_notices_that_it_was_changed(hold):
    inner = Chain(CausalConv1d(2, 2, 3))
    outer = hold(inner)
    inner.append(CausalConv1d(2, 2, 3, lookahead=1))
    with pytest.raises(ValueError, match="a part was changed since it was made: make it anew"):
        outer(torch.randn(1, 2, 9))


@pytest.mark.parametrize("lookahead", [1, 2, 3])
def test_lookahead_behind_a_rate_that_came_back_brings_out_the_last_outputs(lookahead):
    chain = Chain(
        CausalConv1d(1, 2, 4, 2), CausalConvTranspose1d(2, 2, 3, 2), CausalConv1d(2, 1, 4, lookahead=lookahead)
    )
    verify_streaming_contract(chain)
    x = torch.randn(1, 1, 20)
    down, up, last = chain
    assert chain(x).shape == x.shape
    torch.testing.assert_close(chain(x)[..., 4:14], last(up(down(x)))[..., 4:14], atol=1e-6, rtol=0)


def test_a_delay_is_a_shift():
    x = torch.randn(2, 3, 9)
    for samples in (0, 1, 4):
        assert torch.equal(Delay(samples)(x), F.pad(x, (samples, 0))[..., :9])


class Largest(Window):
    def apply_window(self, x):
        return F.max_pool1d(x, self.span, self.step_size)


@pytest.mark.parametrize(("span", "step_size", "lookahead"), [(3, 1, 0), (3, 1, 2), (4, 2, 1), (2, 3, 0), (5, 3, 4)])
def test_a_window_is_the_function_of_torch_over_a_padded_signal(span, step_size, lookahead):
    x = torch.rand(2, 3, 12)
    before = span - step_size - lookahead
    expected = F.max_pool1d(F.pad(x, (max(before, 0), lookahead))[..., max(-before, 0) :], span, step_size)
    assert torch.equal(Largest(span, step_size, lookahead)(x), expected)


def test_a_chain_is_its_functions_one_after_the_other():
    conv, last, x = CausalConv1d(2, 3, 3, dilation=2), CausalConv1d(3, 1, 2, 2), torch.randn(2, 2, 12)
    hidden = F.gelu(F.conv1d(F.pad(x, (4, 0)), conv.weight, conv.bias, dilation=2))
    expected = F.conv1d(hidden, last.weight, last.bias, stride=2)
    torch.testing.assert_close(Chain(conv, nn.GELU(), last)(x), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Chain(("a", nn.ReLU()), ("a", nn.Tanh())), ValueError, "two parts are named 'a'"),
        (lambda: Chain(("1", nn.ReLU()), nn.Tanh()), ValueError, "two parts are named '1'"),
        (lambda: Chain(("a.b", nn.ReLU())), ValueError, "must not be empty, hold a dot or be a word of Python"),
        (lambda: Chain(("in", nn.ReLU())), ValueError, "must not be empty, hold a dot or be a word of Python"),
        (lambda: Chain(cast(Any, [nn.ReLU()])), TypeError, "a list: unpack it"),
        (
            lambda: Chain(CausalConv1d(1, 4, 3), CausalConv1d(5, 4, 3))(torch.zeros(1, 1, 9)),
            ValueError, r"Chain, part 1: CausalConv1d: expected a signal of \(batch, 5, time\), got \(1, 4, 1\)",
        ),
        (
            lambda: Chain(GatedResidualBlock(4, 3, skip_channels=2), BatchNorm1d(4)).initial_state(1),
            TypeError, "Chain, part 1: BatchNorm1d: expected a tensor .* got tuple",
        ),
        (
            lambda: Stream(Chain(CausalConv1d(1, 1, 4, 2), CausalConv1d(1, 1, 3, 3))).module.step(
                torch.zeros(1, 1, 4), Chain(CausalConv1d(1, 1, 4, 2), CausalConv1d(1, 1, 3, 3)).initial_state(1)
            ),
            ValueError, "Chain: expected a chunk of at least 6, got 4",
        ),
        (lambda: three().step(torch.zeros(1, 1, 9), cast(Any, None)), TypeError, "expected a state, a tuple"),
        (lambda: three().step(torch.zeros(1, 1, 9), ()), ValueError, "expected a state of 2 tensors, got 0"),
        (
            lambda: three().step(torch.zeros(2, 1, 9), three().initial_state(1)),
            ValueError, "Chain: expected a state of batch size 2, the signal's",
        ),
        (
            lambda: three().step(torch.zeros(1, 1, 9), three().double().initial_state(1)),
            TypeError, "tensor 0 of the state: expected torch.float32.* got torch.float64",
        ),
        (
            lambda: CausalConv1d(2, 2, 5).step(torch.zeros(1, 2, 9), CausalConv1d(2, 2, 4).initial_state(1)),
            ValueError, r"expected a state of \(1, 2, 4\), got \(1, 2, 3\): use initial_state of the same module",
        ),
        (
            lambda: Stream(BatchNorm1d(4, track_running_stats=False).eval(), 1, 4),
            ValueError, "track_running_stats: expected True for a layer that streams",
        ),
        (
            lambda: Parallel(CausalConv1d(1, 4, 2), CausalConv1d(1, 1, 2), join="sum")(torch.zeros(1, 1, 9)),
            ValueError, r"expected branches of the same channels and bins, got outputs of \(4,\), \(1,\)",
        ),
        (
            lambda: Parallel(CausalConv1d(1, 4, 2), CausalConv1d(2, 4, 2))(torch.zeros(1, 1, 9)),
            ValueError, r"Parallel, part 1: CausalConv1d: expected a signal of \(batch, 2, time\), got \(1, 1, 1\)",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_named_in_one_line(call, error, message):
    with pytest.raises(error, match=f"{message}[^\n]*$"):
        call()


def test_only_delays_that_hold_something_are_printed():
    parallel = Parallel(nn.ReLU(), CausalConv1d(2, 2, 3, lookahead=1))
    assert repr(parallel) == (
        "Parallel(\n  (0): ReLU()\n  (1): CausalConv1d(2, 2, kernel_size=(3,), stride=(1,), lookahead=1)\n"
        "  (0_delay): Delay(1)\n)"
    )
    assert repr(Chain(nn.ReLU(), Chain())) == "Chain(\n  (0): ReLU()\n  (1): Chain()\n)"
