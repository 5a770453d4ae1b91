"""The context module is that of Yu and Koltun's table 1 and equations 4 and 5, and streams."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples
from torch import Tensor, nn
from torch.nn import functional as F

import wavedil
from wavedil.models.context import DILATIONS, ContextModule
from wavedil.testing import verify_streaming_contract

forms = pytest.mark.parametrize(("dimensions", "causal"), list(itertools.product([1, 2], [False, True])))
SHAPES = {1: (), 2: (5,)}


def convolutions(module: nn.Module) -> list[Any]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv1d | nn.Conv2d)]


def stirred(module: ContextModule) -> ContextModule:
    """Near the identity, so that no rectifier is dead, with weights and biases that all differ."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module


@pytest.mark.parametrize(
    ("large", "widths"),
    [(False, [21] * 8), (True, [42, 42, 84, 168, 336, 672, 672, 21])],
)
def test_feature_maps_of_the_table(large, widths):
    layers = convolutions(ContextModule(21, large=large, identity=False))
    assert [layer.out_channels for layer in layers] == widths
    assert [layer.dilation for layer in layers] == [(d, d) for d in (1, 1, 2, 4, 8, 16, 1, 1)]
    assert [layer.kernel_size for layer in layers] == [(3, 3)] * 7 + [(1, 1)]


@pytest.mark.parametrize("channels", [1, 7, 21])
def test_number_of_weights(channels):
    in_2d, in_1d = (sum(layer.weight.numel() for layer in convolutions(ContextModule(channels, dimensions=d)))
                    for d in (2, 1))  # fmt: skip
    assert in_2d == 64 * channels**2
    assert in_1d == 22 * channels**2


@forms
def test_receptive_fields_after_each_layer(dimensions, causal):
    module = ContextModule(2, dimensions=dimensions, causal=causal)
    answer = wavedil.receptive_field(module, torch.zeros(1, 2, *SHAPES[dimensions], 40))
    growth = [3, 5, 9, 17, 33, 65, 67, 67]
    assert [layer.time.receptive_field for layer in answer.layers] == growth
    assert answer.axes.time.dense
    assert (answer.history, answer.lookahead) == ((66, 0) if causal else (33, 33))
    assert (module.receptive_field, module.lookahead) == (67, answer.lookahead)
    assert module.latency == answer.lookahead
    if dimensions == 2:
        frequency = answer.axes["frequency"]
        assert (frequency.receptive_field, frequency.lookahead, frequency.dense) == (67, 33, True)
        assert [layer.frequency.receptive_field for layer in answer.layers if layer.frequency] == growth


@settings(max_examples=examples(20), deadline=None)
@given(
    st.integers(1, 5), st.sampled_from([1, 2]), st.booleans(), st.sampled_from(["zeros", "silence"]),
    st.integers(1, 9), st.integers(1, 80),
)  # fmt: skip
def test_untrained_it_returns_non_negative_input_exactly(channels, dimensions, causal, boundary, bins, time):
    module = ContextModule(channels, dimensions=dimensions, causal=causal, boundary=boundary)
    x = torch.rand(2, channels, *([bins] if dimensions == 2 else []), time)
    assert torch.equal(module(x), x)
    assert torch.equal(module(x - 0.5), (x - 0.5).relu())


@forms
def test_identity_of_the_large_module(dimensions, causal):
    x = torch.rand(1, 3, *SHAPES[dimensions], 50)
    exact = ContextModule(3, large=True, dimensions=dimensions, causal=causal, sigma=0)
    torch.testing.assert_close(exact(x), x, atol=1e-6, rtol=0)
    noisy = ContextModule(3, large=True, dimensions=dimensions, causal=causal)
    assert 0 < (noisy(x) - x).std() < 0.05


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_first_weights_are_those_of_the_equations(large, causal):
    channels, sigma = 2, 1e-3
    for layer in convolutions(ContextModule(channels, large=large, causal=causal, sigma=sigma)):
        size = layer.kernel_size[0]
        centre = (size // 2, size - 1 if causal else size // 2)
        rest = layer.weight.detach().clone()
        for b, a in itertools.product(range(layer.out_channels), range(layer.in_channels)):
            if a * channels // layer.in_channels == b * channels // layer.out_channels:
                assert rest[(b, a, *centre)] == channels / layer.out_channels
                rest[(b, a, *centre)] = 0
        assert not layer.bias.any()
        if large and layer.weight.numel() > 1000:
            assert rest.std() == pytest.approx(sigma, rel=0.2)
        if not large:
            assert not rest.any()


def test_all_layers_but_the_last_truncate():
    module = ContextModule(2)
    assert sum(isinstance(layer, nn.ReLU) for layer in module.modules()) == 7
    x = torch.rand(1, 2, 5, 20)
    for conv in convolutions(module)[:7]:
        nn.init.constant_(conv.bias, -2.0)
        assert torch.equal(module(x), torch.zeros_like(x))
        nn.init.zeros_(conv.bias)
    nn.init.constant_(convolutions(module)[7].bias, -2.0)
    torch.testing.assert_close(module(x), x - 2)


def reference(module: nn.Module, x: Tensor, pad: tuple[int, int], each: bool) -> Tensor:
    """Torch's own convolutions with the module's weights; zeros in time round the input, or round that of each layer.

    Args:
        module: the context module.
        x: its input.
        pad: zeros before and after each layer's input, in dilations.
        each: whether they are put round each layer's input, or all of them round the module's.
    """
    conv = F.conv1d if x.ndim == 3 else F.conv2d
    *layers, last = convolutions(module)
    if not each:
        x = F.pad(x, (pad[0] * sum(DILATIONS), pad[1] * sum(DILATIONS)))
    for layer, d in zip(layers, DILATIONS, strict=True):
        padding = (pad[0] * d, pad[1] * d) if each else (0, 0)
        x = F.pad(x, (*padding, *([d, d] if x.ndim == 4 else [])))
        x = conv(x, layer.weight, layer.bias, dilation=d).relu()
    return conv(x, last.weight, last.bias)


@forms
def test_it_equals_plain_convolutions_of_the_padded_input(dimensions, causal):
    module = stirred(ContextModule(3, dimensions=dimensions, causal=causal)).double()
    x = torch.randn(2, 3, *SHAPES[dimensions], 100, dtype=torch.float64)
    expected = reference(module, x, (2, 0) if causal else (1, 1), each=False)
    torch.testing.assert_close(module(x), expected, atol=1e-12, rtol=0)
    assert expected.std() > 0.1


@pytest.mark.parametrize("dimensions", [1, 2])
def test_centred_it_equals_same_padding_where_no_edge_is_near(dimensions):
    module = stirred(ContextModule(3, dimensions=dimensions)).double()
    x = torch.randn(2, 3, *SHAPES[dimensions], 100, dtype=torch.float64)
    expected = reference(module, x, (1, 1), each=True)
    inside = slice(33, 100 - 33)
    torch.testing.assert_close(module(x)[..., inside], expected[..., inside], atol=1e-12, rtol=0)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_causal_with_zeros_it_equals_padding_every_layer(dimensions):
    module = stirred(ContextModule(3, dimensions=dimensions, causal=True, boundary="zeros")).double()
    x = torch.randn(2, 3, *SHAPES[dimensions], 100, dtype=torch.float64)
    torch.testing.assert_close(module(x), reference(module, x, (2, 0), each=True), atol=1e-12, rtol=0)


@forms
@pytest.mark.parametrize("boundary", ["zeros", "silence"])
def test_it_streams(dimensions, causal, boundary):
    module = stirred(ContextModule(2, dimensions=dimensions, causal=causal, boundary=boundary))
    shape = (2, *SHAPES[dimensions])
    verify_streaming_contract(module, shape=shape, chunkings=2)
    assert module(torch.randn(1, *shape, 80)).std() > 0.1, "the rectifiers are dead: nothing was checked"


@pytest.mark.full  # it is a chain of convolutions, which tests/layers exports
def test_it_is_exported():
    module = stirred(ContextModule(1, causal=True))
    report = verify_streaming_contract(module, shape=(1, 4), time=80, chunkings=1, backends=("onnx",))
    assert set(report.backends) == {"onnx"}


def test_states_have_the_names_of_their_layers():
    module = ContextModule(1, causal=True)
    assert module.state_names == tuple(f"conv{i}.buffer" for i in range(1, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels: expected an integer from 1 to 65536, got 0"),
        ({"channels": 1, "dimensions": 3}, "dimensions: expected one of 1, 2; got 3"),
        ({"channels": 1, "sigma": -1.0}, "sigma: expected a number of at least 0 and at most 1, got -1.0"),
    ],
)
def test_errors_say_what_was_expected(arguments, message):
    with pytest.raises(ValueError, match=message):
        ContextModule(**arguments)
