"""Plain modules of torch and of a user's own, inside chains."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavedil import Stream
from wavedil.layers import CausalConv1d, Chain, Parallel, Wrap
from wavedil.testing import verify_streaming_contract

ACTIVATIONS = [
    nn.CELU(), nn.ELU(), nn.GELU(), nn.Hardshrink(), nn.Hardsigmoid(), nn.Hardswish(), nn.Hardtanh(), nn.LeakyReLU(),
    nn.LogSigmoid(), nn.Mish(), nn.PReLU(), nn.PReLU(4), nn.ReLU(), nn.ReLU6(), nn.RReLU(), nn.SELU(), nn.SiLU(),
    nn.Sigmoid(), nn.Softplus(), nn.Softshrink(), nn.Softsign(), nn.Tanh(), nn.Tanhshrink(), nn.Threshold(0.1, 0.2),
    nn.GLU(dim=1), nn.Softmax(dim=1), nn.LogSoftmax(dim=1), nn.Softmin(dim=1), nn.Identity(), nn.Dropout(0.5),
    nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5),
]  # fmt: skip


@pytest.mark.parametrize("module", ACTIVATIONS, ids=str)
def test_every_pointwise_module_of_torch_is_known(module):
    wrapped, x = Wrap(module).eval(), torch.randn(2, 4, 9)
    assert torch.equal(wrapped(x), module(x))
    assert wrapped.output_shape((4,)) == module(x).shape[1:-1]
    assert repr(wrapped) == repr(module)
    pieces = [module(x[..., i : i + 1]) for i in range(9)]
    torch.testing.assert_close(wrapped(x), torch.cat(pieces, dim=-1), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        (nn.Conv1d(4, 4, 3), "take CausalConv1d"), (nn.Conv1d(4, 4, 1, stride=2), "take CausalConv1d"),
        (nn.Conv1d(4, 4, 1, padding=1), "take CausalConv1d"), (nn.Conv2d(4, 4, 3), "take CausalConv2d"),
        (nn.ConvTranspose1d(4, 4, 1), "take CausalConvTranspose1d"), (nn.BatchNorm1d(4), "take BatchNorm1d of wavedil"),
        (nn.LayerNorm(9), "take FrameLayerNorm"), (nn.GroupNorm(1, 4), "take FrameLayerNorm"),
        (nn.RMSNorm(9), "take FrameRMSNorm"), (nn.AvgPool1d(2), "take CausalAvgPool1d"),
        (nn.AdaptiveAvgPool1d(1), "take CausalImagePool"), (nn.Linear(9, 9), "take Conv1d"), (nn.GLU(), "take GLU"),
        (nn.Softmax(dim=-1), "take Softmax.dim=1"), (nn.Sequential(nn.ReLU()), "take Chain"),
        (nn.MultiheadAttention(4, 1), "declare it: Wrap.module, pointwise=True"), (nn.ReLU, "the class ReLU: make one"),
        ([nn.ReLU()], r"a list: unpack it with \*"), (torch.tanh, "expected a module, got builtin"), (None, "NoneType"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_with_a_remedy(module, remedy):
    for make in (Wrap, Chain, Parallel):
        with pytest.raises(TypeError, match=remedy):
            make(module)


class Snake(nn.Module):
    """A user's activation, with a parameter for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.rand(channels, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sin(self.alpha * x) ** 2 / self.alpha


class Maxout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, 2)).amax(2)


class WritesIntoItsInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clamp_(-1, 1).mul_(2)


class Smooths(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x + F.pad(x, (1, 0))[..., :-1]) / 2


@pytest.mark.parametrize("make", [lambda: Snake(4), Maxout, WritesIntoItsInput], ids=["snake", "maxout", "in place"])
def test_a_module_of_ones_own_is_declared(make):
    module = make()
    chain = Chain(CausalConv1d(2, 4, 3), Wrap(module, pointwise=True), CausalConv1d(2 if make is Maxout else 4, 3, 2))
    verify_streaming_contract(chain, chunkings=1)
    x = torch.randn(2, 2, 20)
    conv, _, last = chain
    assert torch.equal(chain(x), last(module(conv(x))))


def test_a_declaration_that_is_not_true_is_found_out():
    chain = Chain(CausalConv1d(2, 4, 3), Wrap(Smooths(), pointwise=True)).eval()
    for use in (lambda: chain(torch.randn(1, 2, 9)), lambda: Stream(chain)):
        with pytest.raises(ValueError, match="Smooths was declared pointwise, but an output reads other times too"):
            use()


@pytest.mark.parametrize("module", [nn.ReLU(inplace=True), nn.Hardswish(inplace=True), nn.Dropout(0.5, inplace=True)])
def test_what_works_in_place_changes_nothing_of_others(module):
    conv, x = CausalConv1d(4, 4, 3), torch.randn(1, 4, 20)
    kept, mapped = x.clone(), module.eval()(x.clone())
    chain = Chain(module, conv).eval()
    expected = conv(mapped)
    for give in (chain, Stream(chain).push, lambda chunk: chain.step(chunk, chain.initial_state(1))[0]):
        torch.testing.assert_close(give(x), expected, atol=1e-6, rtol=0)
        assert torch.equal(x, kept)
    for branches in ((module, conv), (conv, module)):
        parts = [mapped if branch is module else conv(x) for branch in branches]
        torch.testing.assert_close(Parallel(*branches).eval()(x), torch.cat(parts, 1), atol=1e-6, rtol=0)


def test_a_1x1_convolution_at_the_front_tells_the_channels():
    for first in (Chain(nn.Conv1d(3, 8, 1)), Parallel(nn.ReLU(), nn.Conv1d(3, 8, 1))):
        assert first.input_shape() == (3,)
    chain = Chain(nn.Tanh(), nn.Conv1d(3, 8, 1), CausalConv1d(8, 2, 3)).eval()
    x = torch.randn(1, 3, 9)
    assert torch.equal(Stream(chain).push(x), chain(x))
