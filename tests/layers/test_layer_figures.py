"""What layers say of themselves, by numbers worked out by hand."""

import math

import pytest
import torch
from torch import nn

from wavedil import Stream
from wavedil.layers import (
    BatchNorm1d,
    BatchNorm2d,
    BroadcastResidualBlock,
    CausalAvgPool1d,
    CausalConv1d,
    CausalConv2d,
    CausalConvTranspose1d,
    CausalImagePool,
    Chain,
    Delay,
    DilatedStack,
    DilatedStack2d,
    FrameLayerNorm,
    GatedResidualBlock,
    GatedResidualBlock2d,
    ImagePool,
    Parallel,
    StreamingModule,
    Wrap,
)
from wavedil.layers.stack import folded
from wavedil.receptive import Field


def figures(module: StreamingModule) -> tuple[float, ...]:
    return (module.receptive_field, module.hop, module.lookahead, module.preroll, module.tail, module.latency)


@pytest.mark.parametrize(
    ("make", "expected", "kept"),
    [
        (lambda: CausalConv1d(2, 3, 4, 3, dilation=2, lookahead=4), (7, 3, 4, 2, 6, 8), [(1, 2, 6)]),
        (lambda: CausalConv1d(2, 3, 4, 3, dilation=2), (7, 3, 0, 0, 0, 2), [(1, 2, 4)]),
        (lambda: CausalConv1d(2, 3, 2, 5), (2, 5, 0, 0, 0, 4), [(1, 2, 0)]),
        (lambda: CausalConv1d(2, 3, 1), (1, 1, 0, 0, 0, 0), []),
        (lambda: CausalConvTranspose1d(2, 3, 5, 2, lookahead=1), (3, 1, 1, 2, 1, 1), [(1, 2, 2)]),
        (lambda: CausalConvTranspose1d(2, 3, 2, 2), (1, 1, 0, 0, 0, 0), []),
        (lambda: CausalConvTranspose1d(2, 3, 2, 5), (1, 1, 0, 0, 0, 0), []),
        (lambda: GatedResidualBlock(2, 3, 4, lookahead=3), (9, 1, 3, 3, 3, 3), [(1, 2, 8), (1, 2, 3)]),
        (
            lambda: GatedResidualBlock(2, 3, local_channels=3, lookahead=1),
            (3, 1, 1, 1, 1, 1),
            [(1, 2, 2), (1, 2, 1), (1, 3, 1)],
        ),
        (
            lambda: DilatedStack(2, 3, [1, 2], lookahead=[1, 2], skip_channels=5, local_channels=4),
            (7, 1, 3, 3, 3, 3),
            [(1, 2, 2), (1, 2, 1), (1, 4, 1), (1, 2, 4), (1, 2, 2), (1, 4, 2), (1, 5, 1), (1, 5, 2), (1, 4, 1)],
        ),
        (lambda: Delay(3), (1, 1, 0, 0, 0, 0), None),
        (lambda: Chain(CausalConv1d(2, 2, 3, lookahead=2), CausalConv1d(2, 2, 2, 2)), (4, 2, 2, 1, 2, 3), None),
        (lambda: Chain(CausalConv1d(2, 2, 2, 2), CausalConv1d(2, 2, 3, lookahead=2)), (6, 2, 4, 2, 4, 5), None),
        (
            lambda: Chain(CausalConvTranspose1d(2, 2, 3, 3), CausalConv1d(2, 2, 2, lookahead=1)),
            (2, 1, 1, 3, 1, 1),
            None,
        ),
        (
            lambda: Parallel(CausalConv1d(2, 2, 3, lookahead=2), CausalConv1d(2, 2, 4, lookahead=1)),
            (5, 1, 2, 2, 2, 2),
            [(1, 2, 2), (1, 2, 3), (1, 2, 1)],
        ),
        (lambda: BroadcastResidualBlock(2, 4, 3, bands=2), (7, 1, 0, 0, 0, 0), None),
    ],
)
def test_figures(make, expected, kept):
    module = make()
    assert figures(module) == expected
    if kept is not None:
        state = module.eval().initial_state()
        assert [tuple(part.shape) for part in state] == kept
        assert len(module.state_names) == len(kept) == len(set(module.state_names))


def test_figures_in_seconds():
    conv = CausalConv1d(2, 3, 4, 3, dilation=2, lookahead=4)
    with pytest.raises(ValueError, match="CausalConv1d does not know its sample rate"):
        conv.latency_seconds()
    assert (conv.receptive_field_seconds(4), conv.lookahead_seconds(4), conv.latency_seconds(4)) == (1.75, 1, 2)
    conv.sample_rate = 8
    assert (conv.receptive_field_seconds(), conv.lookahead_seconds(), conv.latency_seconds()) == (0.875, 0.5, 1)
    assert conv.latency_seconds(4) == 2


def test_what_reads_the_whole_signal():
    assert ImagePool().latency == math.inf
    assert CausalImagePool().field == Field(1, 1, (-math.inf,), (0,))
    assert CausalImagePool(4).field == Field(1, 1, (-3,), (0,))
    for shape in ((1, 0, 5), (1, 2, 0, 5), (1, 2, 1, 1, 5)):
        with pytest.raises(
            ValueError, match=r"CausalImagePool: expected \(batch, channels, \[frequency,\] time\), got"
        ):
            CausalImagePool()(torch.zeros(shape))
    with pytest.raises(ValueError, match="ImagePool reads the whole signal, past and future: it cannot stream"):
        Stream(ImagePool())


@pytest.mark.parametrize(
    ("make", "shape", "field"),
    [
        (lambda: CausalConv2d(2, 3, (3, 4), (2, 1), dilation=(2, 1)), (3, 5), Field(1, 2, (-2,), (2,))),
        (lambda: CausalConv2d(2, 3, (4, 1)), (3, 10), Field(1, 1, (-1,), (2,))),
        (lambda: CausalConv2d(2, 3, 3, frequency_padding="valid"), (3, 8), Field(1, 1, (0,), (2,))),
        (lambda: GatedResidualBlock2d(2, (5, 3), (1, 4)), (2, 10), Field(1, 1, (-2,), (2,))),
        (lambda: GatedResidualBlock2d(2, 3, norm="rms"), (2, 10), Field(1, 1, (-math.inf,), (math.inf,))),
        (lambda: DilatedStack2d(2, 3, [1, 2], frequency_dilations=[1, 3]), (2, 10), Field(1, 1, (-4,), (4,))),
        (
            lambda: BroadcastResidualBlock(2, 4, frequency_stride=2, bands=5),
            (4, 5),
            Field(1, 1, (-math.inf,), (math.inf,)),
        ),
    ],
)
def test_bins(make, shape, field):
    module = make()
    assert module.output_shape((2, 10)) == shape
    assert tuple(module.eval()(torch.zeros(1, 2, 10, 6)).shape[1:-1]) == shape
    assert module.frequency_field == field


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: CausalConv1d(2, 3, 4), (3,)),
        (lambda: CausalConvTranspose1d(2, 3, 4, 2), (3,)),
        (lambda: DilatedStack(2, 3, [1]), (2,)),
        (lambda: DilatedStack(2, 3, [1], skip_channels=5), (5,)),
        (lambda: Parallel(CausalConv1d(2, 3, 4), CausalConv1d(2, 5, 4)), (8,)),
        (lambda: Parallel(CausalConv1d(2, 3, 4), CausalConv1d(2, 3, 4), join="sum"), (3,)),
        (lambda: Chain(nn.ReLU(), CausalConv1d(2, 6, 1), nn.GLU(1), FrameLayerNorm(3)), (3,)),
        (lambda: CausalAvgPool1d(2), (2,)),
        (lambda: CausalImagePool(), (2,)),
    ],
)
def test_shapes_of_outputs(make, shape):
    module = make()
    assert module.output_shape((2,)) == shape
    assert tuple(module(torch.zeros(1, 2, 12)).shape[1:-1]) == shape
    if not isinstance(module, CausalAvgPool1d | CausalImagePool):
        assert module.input_shape() == (2,)
        assert module.input_axes == (2,)


def test_upper_ends_of_what_is_kept_ahead():
    for make in (
        lambda n: CausalConv1d(1, 1, 3, dilation=2, lookahead=n),
        lambda n: CausalConv2d(1, 1, (1, 5), lookahead=n),
    ):
        assert make(4).lookahead == 4
        with pytest.raises(ValueError, match="lookahead: expected an integer from 0 to 4, got 5"):
            make(5)
    assert CausalConvTranspose1d(1, 1, 5, 2, lookahead=2).lookahead == 2
    with pytest.raises(ValueError, match="lookahead: expected an integer from 0 to 2, got 3"):
        CausalConvTranspose1d(1, 1, 5, 2, lookahead=3)


def test_branches_over_spectrograms():
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    one, other = (CausalConv2d(2, channels, 3, dtype=torch.float64) for channels in (3, 4))
    assert torch.equal(Parallel(one)(x), one(x))
    assert torch.equal(Parallel(one, other)(x), torch.cat([one(x), other(x)], 1))
    assert torch.equal(Parallel(one, ImagePool())(x), torch.cat([one(x), ImagePool()(x).expand(-1, -1, 5, -1)], 1))
    assert Parallel(Delay(1), one).input_axes == (2, None)
    assert Parallel(one, other).output_shape((2, 5)) == (7, 5)
    assert Parallel(one, ImagePool()).output_shape((2, 5)) == (5, 5)
    narrower = CausalConv2d(2, 3, 3, frequency_padding="valid", dtype=torch.float64)
    for join in ("concatenate", "sum"):
        with pytest.raises(ValueError, match=r"got outputs of \(3, 5\), \(3, 3\)"):
            Parallel(one, narrower, join=join)(x)
    with pytest.raises(
        ValueError, match=r"expected branches of the same channels and bins, got outputs of \(3, 5\), \(4"
    ):
        Parallel(one, other, join="sum")(x)


def test_axes_of_chains():
    conv = CausalConv1d(2, 3, 2)
    assert Chain(nn.ReLU(), conv).input_axes == Chain(nn.Identity(), nn.ReLU(), conv).input_axes == (2,)
    assert Chain(Delay(1), conv).input_axes == Chain(nn.ReLU()).input_axes == (...,)
    assert Chain(nn.ReLU(), conv).input_shape() == (2,)
    for chain in (Chain(Delay(1), conv), Chain(nn.ReLU()), Chain(), Parallel(nn.ReLU(), nn.Tanh())):
        with pytest.raises(ValueError, match="takes any shape: give the axes between batch and time"):
            chain.input_shape()


def test_pools_of_nothing():
    assert CausalAvgPool1d(2)(torch.zeros(0, 2, 4)).shape == (0, 2, 2)
    for shape in ((1, 0, 4), (2, 4), (1, 2, 3, 4)):
        with pytest.raises(ValueError, match=r"CausalAvgPool1d: expected \(batch, channels, time\), got"):
            CausalAvgPool1d(2)(torch.zeros(shape))


def test_a_declared_module_over_spectrograms_is_tried_over_time():
    x = torch.randn(2, 3, 5, 6)
    assert torch.equal(Wrap(nn.Softmax(2), pointwise=True).eval()(x), x.softmax(2))
    with pytest.raises(ValueError, match="Softmax was declared pointwise, but an output reads other times too"):
        Wrap(nn.Softmax(3), pointwise=True).eval()(x)


def test_a_stream_of_spectrograms_with_a_hop():
    conv = CausalConv2d(2, 3, 3, (1, 2), dtype=torch.float64)
    x = torch.randn(2, 2, 5, 9, dtype=torch.float64)
    stream = Stream(conv, 2, 5)
    pieces = [stream.push(piece) for piece in x.split([1, 3, 2, 1, 2], -1)]
    assert [piece.shape[-1] for piece in pieces] == [0, 2, 1, 0, 1]
    torch.testing.assert_close(torch.cat(pieces, -1), conv(x))


class Decimate(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., ::2]


def test_a_declared_module_of_another_length_is_refused():
    with pytest.raises(ValueError, match="Decimate was declared pointwise"):
        Wrap(Decimate(), pointwise=True).eval()(torch.randn(2, 3, 6))


def test_a_declared_module_is_not_tried_in_training():
    x = torch.randn(2, 3, 6)
    assert torch.equal(Wrap(nn.Softmax(2), pointwise=True).train()(x), x.softmax(2))


@pytest.mark.parametrize(
    ("options", "options_in_time"),
    [
        ({"kernel_size": (3, 1)}, {"kernel_size": (1, 3)}),
        ({"kernel_size": 1, "stride": (2, 1)}, {"kernel_size": 1, "stride": (1, 2)}),
        ({"kernel_size": 1, "padding": (1, 0)}, {"kernel_size": 1, "padding": (0, 1)}),
        ({"kernel_size": (3, 1), "padding": "valid"}, {"kernel_size": (1, 3), "padding": "valid"}),
    ],
)
def test_plain_convolutions_may_read_other_bins_but_no_other_times(options, options_in_time):
    x, conv = torch.randn(2, 3, 5, 6), nn.Conv2d(3, 4, **options)
    wrapped = Wrap(conv)
    assert torch.equal(wrapped(x), conv(x))
    assert wrapped.output_shape((3, 5)) == conv(x).shape[1:-1]
    with pytest.raises(TypeError, match="may read more than the present"):
        Wrap(nn.Conv2d(3, 4, **options_in_time))


def test_a_stack_begins_with_the_state_of_each_part_in_order():
    stack = DilatedStack(2, 3, [1, 2, 3], lookahead=[1, 2, 3], skip_channels=5, local_channels=4)
    blocks = [(2, 2 * dilation) if part == "conv" else (2, dilation) if part == "delay" else (4, dilation)
              for dilation in (1, 2, 3) for part in ("conv", "delay", "condition")]  # fmt: skip
    skips, conditions = [(5, 1), (5, 2), (5, 3)], [(4, 1), (4, 3)]
    shapes = [tuple(part.shape) for part in stack.initial_state(3)]
    assert shapes == [(3, *shape) for shape in (*blocks, *skips, *conditions)]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_silence_before_a_stack_in_a_chain_of_another_hop(batch_size):
    stack = DilatedStack(2, 3, [1, 2], skip_channels=2, boundary="silence").double()
    chain = Chain(stack, CausalConv1d(2, 2, 3, 2).double(), boundary="silence")
    longer = chain(torch.zeros(batch_size, 2, 40, dtype=torch.float64))
    torch.testing.assert_close(longer, longer[..., -1:].expand_as(longer))


@pytest.mark.parametrize(("kind", "shape"), [(BatchNorm1d, (2, 3, 4)), (BatchNorm2d, (2, 3, 5, 4))])
@pytest.mark.parametrize("training", [True, False])
def test_silence_before_a_norm_of_batches_is_no_data(kind, shape, training):
    norm = kind(3).double().train(training)
    norm.running_mean, norm.running_var = torch.randn(3).double(), torch.rand(3).double() + 0.1
    nn.init.uniform_(norm.weight)
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    expected = norm.weight * (1 - mean) / (variance + norm.eps) ** 0.5
    silent, _ = norm.start(torch.ones(shape, dtype=torch.float64), True)
    torch.testing.assert_close(silent, expected.view(3, *[1] * (len(shape) - 2)).expand(shape))
    assert torch.equal(norm.running_mean, mean)
    assert torch.equal(norm.running_var, variance)


def test_values_on_one_line():
    assert folded((3,)) == "[3]"
    assert folded((1, 1, 1)) == "[1] * 3"
    assert folded((1, 2, 1, 2)) == "[1, 2] * 2"
    assert folded((1, 2, 1)) == "[1, 2, 1]"
    assert folded(range(12)) == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]"
    assert folded(range(13)) == "[0, 1, 2, 3, 4, 5, ..., 10, 11, 12]"
