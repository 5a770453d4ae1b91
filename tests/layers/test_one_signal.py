"""The convolution of one signal, by each of its ways, is torch's, and so are its gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples
from torch.nn import functional as F

from wavedil.layers.one_signal import _Product, convolve


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [((1, 3), 1, (1, 4)), ((3, 1), 2, (2, 1)), ((2, 2), 1, (1, 3)), ((3, 3), 2, (1, 2))],
)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("most_rows", [0, 64])
def test_depthwise_gradients(kernel, stride, dilation, with_bias, most_rows, monkeypatch):
    monkeypatch.setattr("wavedil.layers.one_signal._MOST_ROWS", most_rows)  # 0: never by a band matrix
    torch.manual_seed(0)
    x = torch.randn(1, 3, 5, 10, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 1, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64) if with_bias else None

    def ours(x, weight):
        return convolve(x, weight, bias, stride, dilation, 3, (2, 1))

    expected = F.conv2d(F.pad(x, (0, 0, 2, 1)), weight, bias, (stride, 1), 0, dilation, 3)
    torch.testing.assert_close(ours(x, weight), expected, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(ours, (x, weight))
    assert torch.autograd.gradgradcheck(ours, (x, weight))


def test_inference_leaves_nothing_behind_that_training_cannot_use():
    x, weight = torch.randn(1, 2, 9, 5), torch.randn(2, 1, 4, 1, requires_grad=True)
    with torch.inference_mode():
        convolve(x, weight, None, 1, (1, 1), 2)
    (gradient,) = torch.autograd.grad(convolve(x, weight, None, 1, (1, 1), 2).sum(), weight)
    expected = torch.stack([x[0, :, i : i + 6].sum((1, 2)) for i in range(4)], dim=1)
    torch.testing.assert_close(gradient[:, 0, :, 0], expected)


@settings(max_examples=examples(20), deadline=None)
@given(
    channels=st.integers(1, 4),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 5)),
    with_bias=st.booleans(),
)
def test_product_is_the_convolution(channels, kernel, stride, dilation, with_bias):
    torch.manual_seed(0)
    x = torch.randn(1, channels, 5, 12, dtype=torch.float64)
    weight = torch.randn(3, channels, *kernel, dtype=torch.float64)
    bias = torch.randn(3, dtype=torch.float64) if with_bias else None
    expected = F.conv2d(x, weight, bias, (stride, 1), 0, dilation)

    def ours(x, weight, bias):
        return _Product.apply(x, weight, bias, stride, dilation)

    torch.testing.assert_close(ours(x, weight, bias), expected, rtol=0, atol=1e-12)
    inputs = tuple(tensor.requires_grad_() for tensor in (x, weight, bias) if tensor is not None)
    assert torch.autograd.gradcheck(ours if with_bias else lambda x, weight: ours(x, weight, None), inputs)


def test_bfloat16_takes_the_product():
    torch.manual_seed(0)
    x, weight = torch.randn(1, 4, 1, 60), torch.randn(6, 4, 1, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y = convolve(x, weight, torch.zeros(6), 1, (1, 7), 1)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), F.conv2d(x, weight, None, 1, 0, (1, 7)), rtol=0.05, atol=0.05)


@settings(max_examples=examples(8), deadline=None)
@given(
    groups=st.sampled_from([1, 3]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 5)),
    with_bias=st.booleans(),
)
def test_a_compiler_is_given_sums(groups, kernel, stride, dilation, with_bias):
    torch.manual_seed(0)
    x = torch.randn(1, 3, 8, 17, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 3 // groups, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True) if with_bias else None
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None]
    seen = []

    def watch(graph, _):
        seen.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph

    torch.compiler.reset()
    compiled = torch.compile(convolve, backend=watch, fullgraph=True)
    y = compiled(x, weight, bias, stride, dilation, groups, (2, 1))
    expected = F.conv2d(F.pad(x, (0, 0, 2, 1)), weight, bias, (stride, 1), 0, dilation, groups)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    grad = torch.randn_like(y)
    given, wanted = (torch.autograd.grad(out, inputs, grad) for out in (y, expected))
    for mine, theirs in zip(given, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)
    single = groups == 3 and kernel == (1, 1)  # only scales
    assert (torch.conv2d in seen) == single
