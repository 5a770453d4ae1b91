"""The operator against its formula, SciPy and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve, convolve2d
from torch.nn import functional as F

from wavedil.functional import (
    causal_conv1d,
    dilated_convolution,
    dilated_convolution_reference,
    mu_law_decode,
    mu_law_encode,
)


def insert_zeros(kernel: np.ndarray, dilation: int) -> np.ndarray:
    spread = np.zeros([dilation * (size - 1) + 1 for size in kernel.shape], dtype=kernel.dtype)
    spread[tuple(slice(None, None, dilation) for _ in kernel.shape)] = kernel
    return spread


@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
def test_worked_example(dilation):
    matrix = np.zeros((9, 9), dtype=np.int64)
    matrix[4:7, 3:6] = 1
    kernel = np.arange(1, 10).reshape(3, 3)
    output = dilated_convolution(matrix, kernel, dilation)
    assert output.dtype == np.int64
    assert output.shape == (9 - 2 * dilation,) * 2
    np.testing.assert_array_equal(output, convolve2d(matrix, insert_zeros(kernel, dilation), mode="valid"))


arrays = st.integers(1, 9).flatmap(lambda n: st.lists(st.integers(-9, 9), min_size=n, max_size=n)).map(np.array)


@given(arrays, arrays, st.integers(1, 4))
def test_1d_is_the_formula_and_scipy(signal, kernel, dilation):
    full = dilated_convolution(signal, kernel, dilation, mode="full")
    np.testing.assert_array_equal(full, dilated_convolution_reference(signal, kernel, dilation))
    np.testing.assert_array_equal(full, convolve(signal, insert_zeros(kernel, dilation)))
    as_tensors = dilated_convolution(torch.from_numpy(signal), torch.from_numpy(kernel), dilation, mode="full")
    np.testing.assert_array_equal(as_tensors.numpy(), full)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from(["valid", "same", "full"]))
def test_2d_modes_are_scipys(seed, dilation, mode):
    rng = np.random.default_rng(seed)
    signal, kernel = rng.integers(-9, 9, (11, 10)), rng.integers(-9, 9, tuple(rng.integers(1, 4, 2)))
    expected = convolve2d(signal, insert_zeros(kernel, dilation), mode=mode)
    np.testing.assert_array_equal(dilated_convolution(signal, kernel, dilation, mode=mode), expected)


@pytest.mark.parametrize(("k", "mode"), [(1, "valid"), (3, "valid"), (3, "same"), (4, "same")])
def test_without_the_flip_it_is_torchs_cross_correlation(k, mode):
    signal, kernel = torch.randn(2, 3, 20, dtype=torch.float64), torch.randn(k, dtype=torch.float64)
    ours = dilated_convolution(signal, kernel, 2, mode=mode, flip=False)
    padding = mode if mode == "same" else 0
    theirs = F.conv1d(signal.reshape(6, 1, 20), kernel[None, None], padding=padding, dilation=2)
    torch.testing.assert_close(ours.reshape(6, 1, -1), theirs, atol=1e-13, rtol=0)


def test_gradients():
    signal = torch.randn(12, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, k: dilated_convolution(s, k, 3), (signal, kernel))


@pytest.mark.parametrize(
    ("signal", "kernel", "dilation", "message"),
    [
        (np.zeros(4), np.zeros(3), 2, r"spans \[5\] does not fit the signal's \[4\]"),
        (np.zeros(4), np.zeros(3), 0, "dilation must be at least 1"),
        (np.zeros(4), np.zeros((2, 2)), 1, r"got signal \(4,\), kernel \(2, 2\)"),
        (np.zeros(4), np.zeros(0), 1, "kernel of 1 or 2 axes"),
    ],
)
def test_errors_say_what_was_expected(signal, kernel, dilation, message):
    with pytest.raises(ValueError, match=message):
        dilated_convolution(signal, kernel, dilation)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))
def test_causal_conv_reads_up_to_the_newest_of_its_stride(k, stride, dilation):
    waveform = torch.arange(24, dtype=torch.float64).reshape(1, 1, 24)
    weight = torch.zeros(1, 1, k, dtype=torch.float64)
    weight[..., -1] = 1
    output = causal_conv1d(waveform, weight, stride=stride, dilation=dilation)
    expected = torch.arange(stride - 1, 24, stride, dtype=torch.float64)
    assert torch.equal(output.flatten(), expected)


def test_mu_law_by_its_formula_and_back():
    waveform = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    codes = mu_law_encode(waveform)
    x = waveform.numpy()
    companded = np.sign(x) * np.log(1 + 255 * np.abs(x)) / np.log(256)
    np.testing.assert_array_equal(codes.numpy(), np.floor((companded + 1) / 2 * 255 + 0.5).astype(int))
    assert (codes.min(), codes.max()) == (0, 255)
    assert torch.equal(mu_law_encode(mu_law_decode(torch.arange(256))), torch.arange(256))
    # The steps are widest at full scale: half of the last one, in amplitude.
    assert (mu_law_decode(codes) - waveform).abs().max() < 0.5 * (256 ** (2 / 255) - 1)


def test_mu_law_refuses_integers():
    with pytest.raises(ValueError, match=r"floating-point waveform in \[-1, 1\], got torch.int16"):
        mu_law_encode(torch.zeros(3, dtype=torch.int16))
