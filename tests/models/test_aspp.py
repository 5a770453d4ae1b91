"""ASPP is that of DeepLab, versions 2 and 3, by torch's own convolutions, and streams."""

import itertools
import math
from typing import Any

import pytest
import torch
from sweeps import sweep
from torch import Tensor, nn
from torch.nn import functional as F

import wavedil
from wavedil import Stream
from wavedil.layers import CausalConv2d, Chain
from wavedil.models import ASPPv2, ASPPv3
from wavedil.testing import verify_streaming_contract

forms = pytest.mark.parametrize(("dimensions", "causal"), list(itertools.product([1, 2], [False, True])))
SHAPES = {1: (), 2: (5,)}


def stirred(module: Any) -> Any:
    """Weights, biases and running statistics as after training, none of them dead."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.ndim > 1:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / tensor[0].numel() ** 0.5)
            elif tensor.ndim:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + (0.5 if "var" in name else 0.1))
    return module


def convolve(layer: Any, x: Tensor, rate: int, causal: bool) -> Tensor:
    """Torch's own convolution with the layer's weights, dilated by the rate, of the same size."""
    if layer.weight.shape[-1] > 1:
        x = F.pad(x, (*((2 * rate, 0) if causal else (rate, rate)), *([rate, rate] if x.ndim == 4 else [])))
    conv = F.conv1d if x.ndim == 3 else F.conv2d
    return conv(x, layer.weight, layer.bias, dilation=rate)


def norm_and_relu(norm: Any, x: Tensor, training: bool) -> Tensor:
    if norm is not None:
        mean, variance = norm.running_mean.clone(), norm.running_var.clone()
        x = F.batch_norm(x, mean, variance, norm.weight, norm.bias, training, 0.1, norm.eps)
    return x.relu()


def pooled(x: Tensor, image_pooling: Any) -> Tensor:
    """The mean over frequency and as much of time as is asked for, at every place."""
    frames = x if x.ndim == 3 else x.mean(2, keepdim=True)
    time = x.shape[-1]
    if image_pooling == "whole":
        return frames.mean(-1, keepdim=True).expand_as(x)
    window = time if image_pooling == "past" else image_pooling
    means = [frames[..., max(n + 1 - window, 0) : n + 1].mean(-1, keepdim=True) for n in range(time)]
    return torch.cat(means, dim=-1).expand_as(x)


def reference_v3(module: Any, x: Tensor, image_pooling: Any, training: bool = False) -> Tensor:
    layers = dict(module.named_modules())

    def block(name: str, x: Tensor, rate: int = 1) -> Tensor:
        y = convolve(layers[f"{name}.layers.conv"], x, rate, module.causal)
        return norm_and_relu(layers.get(f"{name}.layers.norm"), y, training)

    inside = "layers.branches.layers"
    parts = [block(f"{inside}.point", x)]
    parts += [block(f"{inside}.dilated{i}", x, rate) for i, rate in enumerate(module.rates, 1)]
    if image_pooling != "none":
        parts.append(block(f"{inside}.image", pooled(x, image_pooling)))
    return block("layers.projection", torch.cat(parts, dim=1))


@forms
@pytest.mark.parametrize("hidden_channels", [None, 4])
def test_v2_equals_plain_convolutions_summed(dimensions, causal, hidden_channels):
    module = ASPPv2(2, 3, hidden_channels=hidden_channels, dimensions=dimensions, causal=causal).double()
    x = torch.randn(2, 2, *SHAPES[dimensions], 60, dtype=torch.float64)
    convolutions = iter([layer for layer in module.modules() if isinstance(layer, nn.Conv1d | nn.Conv2d)])
    parts = []
    for rate in (6, 12, 18, 24):
        y = convolve(next(convolutions), x, rate, causal)
        for _ in range(2 if hidden_channels else 0):
            y = convolve(next(convolutions), y.relu(), 1, causal)
        parts.append(y)
    assert next(convolutions, None) is None
    torch.testing.assert_close(module(x), torch.stack(parts).sum(0), atol=1e-12, rtol=0)


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize(
    ("causal", "image_pooling"),
    [(False, "whole"), *itertools.product([False, True], ["past", 7, "none"])],
)
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_v3_equals_plain_convolutions_concatenated_and_projected(dimensions, causal, image_pooling, norm):
    module = ASPPv3(2, 4, dimensions=dimensions, causal=causal, image_pooling=image_pooling, norm=norm)
    module = stirred(module).double().eval()
    x = torch.randn(2, 2, *SHAPES[dimensions], 60, dtype=torch.float64)
    expected = reference_v3(module, x, image_pooling)
    torch.testing.assert_close(module(x), expected, atol=1e-12, rtol=0)
    assert expected.std() > 0.01


@pytest.mark.parametrize("dimensions", [1, 2])
def test_v3_trains_as_plain_layers_do(dimensions):
    module = stirred(ASPPv3(2, 4, dimensions=dimensions, causal=True)).double().train()
    x = torch.randn(2, 2, *SHAPES[dimensions], 60, dtype=torch.float64)
    expected = reference_v3(module, x, "past", training=True)
    torch.testing.assert_close(module(x), expected, atol=1e-12, rtol=0)


def test_image_pooling_is_the_whole_signal_where_it_may_be():
    x = torch.randn(1, 2, 5, 30)
    for causal, image_pooling in ((False, "whole"), (True, "past")):
        module = stirred(ASPPv3(2, 4, causal=causal)).eval()
        torch.testing.assert_close(module(x), reference_v3(module, x, image_pooling), atol=1e-5, rtol=0)


def local(in_channels: int, out_channels: int, rates: tuple[int, ...] = (6, 12, 18), **options: Any) -> ASPPv3:
    """Version 3 without the image-level features, which read all there is."""
    return ASPPv3(in_channels, out_channels, rates, image_pooling="none", **options)


@forms
@pytest.mark.parametrize(
    ("make", "rates", "field"),
    [
        pytest.param(ASPPv2, (6, 12, 18, 24), 49, id="v2 at stride 8", marks=pytest.mark.full),
        pytest.param(ASPPv2, (2, 4), 9, id="v2"),
        pytest.param(local, (6, 12, 18), 37, id="v3 at stride 16", marks=pytest.mark.full),
        pytest.param(local, (2, 3), 7, id="v3"),
        pytest.param(local, (12, 24, 36), 73, id="v3 at stride 8", marks=pytest.mark.full),
    ],
)
def test_receptive_fields(dimensions, causal, make, rates, field):
    module = make(2, 3, rates, dimensions=dimensions, causal=causal).eval()
    answer = wavedil.receptive_field(module, torch.zeros(1, 2, *SHAPES[dimensions], field + 27), taps=False)
    ahead = 0 if causal else (field - 1) // 2
    assert (answer.receptive_field, answer.lookahead) == (field, ahead)
    assert (module.receptive_field, module.lookahead, module.latency) == (field, ahead, ahead)
    if dimensions == 2:
        frequency = answer.axes["frequency"]
        assert (frequency.receptive_field, frequency.lookahead) == (field, (field - 1) // 2)


def test_a_window_of_image_pooling_reads_all_bins():
    module = ASPPv3(1, 1, (2,), image_pooling=8).eval()
    answer = wavedil.receptive_field(module, torch.zeros(1, 1, 2, 20), taps=False)
    assert (answer.receptive_field, answer.history, answer.lookahead) == (10, 7, 2)
    assert (module.receptive_field, module.lookahead) == (10, 2)
    assert answer.axes["frequency"].unbounded == "everything"


@pytest.mark.parametrize(("causal", "reach"), [(False, "everything"), (True, "past")])
def test_image_pooling_reads_all_there_is(causal, reach):
    module = ASPPv3(2, 3, (2,), dimensions=1, causal=causal).eval()
    answer = wavedil.receptive_field(module, torch.zeros(1, 2, 30))
    assert answer.axes.time.unbounded == reach
    assert module.receptive_field == math.inf
    assert module.lookahead == (0 if causal else math.inf)


def reads(module: Any, size: int) -> set[tuple[int, int]]:
    """Bins and frames, relative to the output's, that one output reads: its gradient, with positive weights."""
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
    x = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    module(x)[0, 0, size // 2, size // 2].backward()
    assert x.grad is not None
    return {(f - size // 2, t - size // 2) for f, t in x.grad[0, 0].nonzero().tolist()}


@pytest.mark.parametrize(
    ("make", "rates", "count", "area"),
    [(ASPPv2, (6, 12, 18, 24), 33, 2401), (local, (6, 12, 18), 25, 1369)],
    ids=["v2", "v3"],
)
def test_taps_in_two_dimensions(make, rates, count, area):
    centred = reads(make(1, 1), 111)
    assert len(centred) == count
    extent = [max(axis) - min(axis) + 1 for axis in zip(*centred, strict=True)]
    assert math.prod(extent) == area
    assert centred == {(f * r, t * r) for r in rates for f in (-1, 0, 1) for t in (-1, 0, 1)}
    # In time the causal taps of one rate fall on those of others: fewer places are read.
    causal = reads(make(1, 1, causal=True), 111)
    assert causal == {(f * r, -t * r) for r in rates for f in (-1, 0, 1) for t in (0, 1, 2)}
    assert len(causal) < count


POOLED = [("past", "batch"), ("past", "layer"), (6, "layer"), (6, "batch"), ("none", "batch"), ("none", "layer")]


@forms
def test_v2_streams(dimensions, causal):
    module = ASPPv2(2, 3, (1, 3, 4), dimensions=dimensions, causal=causal)
    verify_streaming_contract(module, shape=(2, *SHAPES[dimensions]), chunkings=2)


@forms
@pytest.mark.parametrize(("image_pooling", "norm"), sweep(POOLED, POOLED[::2].__contains__))
def test_v3_streams(dimensions, causal, image_pooling, norm):
    options = {"dimensions": dimensions, "causal": causal, "image_pooling": image_pooling, "norm": norm}
    module = stirred(ASPPv3(2, 3, (1, 3), **options))
    shape = (2, *SHAPES[dimensions])
    verify_streaming_contract(module, shape=shape, time=40, chunkings=1)
    assert module.eval()(torch.randn(1, *shape, 40)).std() > 0, "the rectifiers are dead: nothing was checked"


def test_exported():
    module = stirred(ASPPv3(1, 1, (2,), dimensions=1, image_pooling=4, norm="none"))
    verify_streaming_contract(module, shape=(1,), time=20, chunkings=1, backends=("onnx",))


@pytest.mark.full
@pytest.mark.parametrize(("causal", "image_pooling"), [(True, "past"), (False, 4)])
def test_exported_over_bins(causal, image_pooling):
    module = stirred(ASPPv3(2, 3, (1, 3), causal=causal, image_pooling=image_pooling))
    verify_streaming_contract(module, shape=(2, 4), time=30, chunkings=1, backends=("onnx",))


@pytest.mark.parametrize(("causal", "image_pooling"), [(True, "past"), (False, 4)])
def test_states_have_the_names_of_their_layers(causal, image_pooling):
    module = ASPPv3(2, 3, (1, 3), causal=causal, image_pooling=image_pooling)
    waiting = [] if causal else ["point_delay", "dilated1_delay", "image_delay"]
    pool = ["mean" if image_pooling == "past" else "buffer", "count"]
    assert module.state_names == (
        "branches.dilated1.conv.buffer",
        "branches.dilated2.conv.buffer",
        *(f"branches.image.pool.{name}" for name in pool),
        *(f"branches.{name}.buffer" for name in waiting),
    )


def test_behind_lookahead_the_whole_signal_is_that_and_no_more():
    before, aspp = CausalConv2d(1, 2, 3, lookahead=1).eval(), stirred(ASPPv3(2, 3, (1, 3))).eval()
    x = torch.randn(2, 1, 5, 20)
    chain = Chain(before, aspp, CausalConv2d(3, 1, 3, lookahead=2))
    pooled_over = F.conv2d(x, before.weight, before.bias, padding=1)
    expected = chain.layers["2"](reference_v3(aspp, pooled_over, "whole"))
    torch.testing.assert_close(chain(x), expected, atol=1e-5, rtol=0)


def test_the_mean_of_the_whole_signal_has_no_stream():
    module = ASPPv3(2, 3).eval()
    assert module.latency == math.inf
    with pytest.raises(ValueError, match="ASPPv3 reads the whole signal, past and future: it cannot stream"):
        Stream(module, 1, 2, 5)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (ASPPv2, {"rates": ()}, "rates: expected 1 to 64 items, got 0"),
        (ASPPv2, {"rates": (0,)}, "dilation: expected an integer from 1 to .*, got 0"),
        (ASPPv3, {"dimensions": 3}, "dimensions: expected one of 1, 2; got 3"),
        (ASPPv3, {"image_pooling": "mean"}, "'auto', 'whole', 'past', 'none' or frames, got 'mean'"),
        (ASPPv3, {"causal": True, "image_pooling": "whole"}, "'auto', 'past', 'none' or frames, got 'whole'"),
        (ASPPv3, {"image_pooling": 0}, "window: expected an integer from 1 to .*, got 0"),
        (ASPPv3, {"norm": "group"}, "norm: expected one of batch, layer, rms, none; got 'group'"),
    ],
)
def test_errors_say_what_was_expected(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(1, 1, **arguments)
