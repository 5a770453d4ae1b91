"""Branches side by side wait for each other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples
from torch import nn

from wavedil.layers import CausalConv1d, CausalConv2d, CausalConvTranspose1d, CausalImagePool, Chain, Parallel
from wavedil.testing import verify_streaming_contract


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 9)), min_size=1, max_size=4), st.data())
def test_branches_of_any_lookahead(sizes, data):
    join = data.draw(st.sampled_from(["concatenate", "sum"]))
    branches = [CausalConv1d(2, 3, k, dilation=d, lookahead=min(ahead, d * (k - 1))) for k, d, ahead in sizes]
    parallel = Parallel(*branches, join=join)
    verify_streaming_contract(parallel, chunkings=2, seed=data.draw(st.integers(0, 99)))
    x = torch.randn(2, 2, 30)
    apart = [branch(x) for branch in branches]
    expected = torch.cat(apart, dim=1) if join == "concatenate" else torch.stack(apart).sum(0)
    torch.testing.assert_close(parallel(x), expected, atol=1e-6, rtol=0)
    assert parallel.output_shape((2,)) == parallel(x).shape[1:-1]


def test_a_branch_of_one_bin_counts_for_all():
    pool = Chain(CausalImagePool(3), CausalConv2d(2, 4, 1))
    parallel = Parallel(("local", CausalConv2d(2, 3, 3, lookahead=2)), ("image", pool))
    verify_streaming_contract(parallel, shape=(2, 5))
    y = parallel(torch.randn(1, 2, 5, 20))
    assert y.shape[1:-1] == parallel.output_shape((2, 5)) == (7, 5)
    assert torch.equal(y[:, 3:], y[:, 3:, :1].expand(-1, -1, 5, -1))
    assert not torch.equal(y[:, :3], y[:, :3, :1].expand(-1, -1, 5, -1))
    assert parallel.state_names == ("local.buffer", "image.0.buffer", "image.0.count", "image_delay.buffer")


def test_inside_a_chain_and_with_silence():
    parallel = Parallel(nn.Tanh(), CausalConv1d(2, 2, 3, lookahead=1), CausalConv1d(2, 2, 2), join="sum")
    chain = Chain(CausalConv1d(1, 2, 3), parallel, CausalConv1d(2, 1, 3, lookahead=1), boundary="silence")
    verify_streaming_contract(chain)
    assert (chain.receptive_field, chain.lookahead) == (7, 2)
    silent = chain(torch.zeros(1, 1, 20))
    torch.testing.assert_close(silent[..., :18], silent[..., :1].expand(1, 1, 18), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("branches", "options", "message"),
    [
        ([], {}, "at least one branch"),
        ([nn.ReLU()], {"join": "mean"}, "join must be 'concatenate' or 'sum', got 'mean'"),
        ([nn.ReLU(), ("down", CausalConv1d(1, 1, 2, 2))], {}, "0 and down must have the same stride, got 1 and 2"),
        ([CausalConvTranspose1d(1, 1, 2, 2), nn.ReLU()], {}, "0 and 1 must have the same stride, got 1/2 and 1"),
        ([("a", nn.ReLU()), ("a", nn.Tanh())], {}, "two parts are named 'a'"),
    ],
)
def test_what_cannot_stand_side_by_side(branches, options, message):
    with pytest.raises(ValueError, match=message):
        Parallel(*branches, **options)
