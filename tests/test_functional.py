"""The operator against its formula, SciPy and torch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve, convolve2d
from torch.nn import functional as F

from wavedil.data.torchaudio_compat import torchaudio
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
        (np.zeros(4), np.zeros(3), 0, "^dilation: expected an integer from 1 to 16777216, got 0"),
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


# Not judged by the type checker.
encode: Any = mu_law_encode
decode: Any = mu_law_decode
dilated: Any = dilated_convolution
causal: Any = causal_conv1d
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [torch.uint8, torch.int16, torch.uint16, torch.int32, torch.int64]


@pytest.mark.parametrize("dtype", FLOATS)
def test_mu_law_in_every_type_is_that_of_the_same_numbers_in_float64(dtype):
    waveform = torch.linspace(-1, 1, 4001, dtype=torch.float64).to(dtype).unique()
    difference = mu_law_encode(waveform) - mu_law_encode(waveform.double())
    assert difference.abs().max() <= 1  # a number on the border of two codes may go either way
    assert difference.count_nonzero() < 3


def test_mu_law_is_torchaudios():
    waveform = torch.linspace(-1, 1, 999, dtype=torch.float64)
    for channels in (2, 256, 1024):
        codes = mu_law_encode(waveform, channels)
        assert torch.equal(codes, torchaudio().functional.mu_law_encoding(waveform, channels))
        theirs = torchaudio().functional.mu_law_decoding(codes, channels)
        torch.testing.assert_close(mu_law_decode(codes, channels), theirs, atol=1e-6, rtol=0)


def test_mu_law_numbers():
    # (256^(k / 255) - 1) / 255 for k = 1, 127, 255, by hand.
    expected = torch.tensor([-1.0, -8.621e-5, 8.621e-5, 0.058153, 1.0])
    torch.testing.assert_close(mu_law_decode(torch.tensor([0, 127, 128, 191, 255])), expected, atol=1e-8, rtol=1e-3)
    beyond = torch.tensor([0.0, -0.0, 1.0, -1.0, 3.0, -3.0, torch.inf, -torch.inf])
    assert mu_law_encode(beyond).tolist() == [128, 128, 255, 0, 255, 0, 255, 0]


@given(st.integers(2, 2**16), st.sampled_from(INTEGERS), st.data())
def test_every_code_comes_back(channels, dtype, data):
    codes = data.draw(st.lists(st.integers(0, min(channels - 1, torch.iinfo(dtype).max)), max_size=9))
    waveform = mu_law_decode(torch.tensor(codes, dtype=torch.int64).to(dtype), channels)
    assert mu_law_encode(waveform, channels).tolist() == codes
    assert bool((waveform.abs() <= 1).all())


@given(st.integers(2, 2**16), st.lists(st.floats(-1, 1), min_size=1, max_size=9))
def test_mu_law_is_monotonous_and_within_half_a_step(channels, values):
    waveform = torch.tensor(sorted(values), dtype=torch.float64)
    codes = mu_law_encode(waveform, channels)
    assert bool((codes.diff() >= 0).all())
    widest = (channels ** (2 / (channels - 1)) - 1) / 2 * channels / (channels - 1)
    assert (mu_law_decode(codes, channels) - waveform).abs().max() <= widest + 1e-5


def test_decoded_in_the_default_type():
    torch.set_default_dtype(torch.float64)
    try:
        assert mu_law_decode(torch.tensor([255])).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: encode(torch.zeros(3, dtype=torch.int16)), ValueError, r"^waveform: .* got torch.int16"),
        (lambda: encode(torch.zeros(3, dtype=torch.complex64)), ValueError, "got torch.complex64"),
        (lambda: encode(torch.tensor([0.0, torch.nan])), ValueError, "^waveform: .* NaN in 1 of 2 samples"),
        (lambda: encode(torch.tensor([torch.nan], dtype=torch.float16)), ValueError, "NaN"),
        (lambda: encode(np.zeros(3)), TypeError, "^waveform: expected a tensor, got ndarray"),
        (lambda: encode(torch.zeros(3), 1), ValueError, "^quantization_channels: .* from 2 to 65536, got 1"),
        (lambda: encode(torch.zeros(3), 10**400), ValueError, "^quantization_channels: "),
        (lambda: encode(torch.zeros(3), 256.0), TypeError, r"^quantization_channels: .* got 256\.0"),
        (lambda: decode(torch.tensor([0, 256])), ValueError, "^codes: expected integers from 0 to 255, got 256"),
        (lambda: decode(torch.tensor([3, -1], dtype=torch.int8)), ValueError, "got -1"),
        (lambda: decode(torch.zeros(3)), ValueError, "^codes: .* got torch.float32"),
        (lambda: decode(torch.zeros(3, dtype=torch.bool)), ValueError, "got torch.bool"),
        (lambda: decode([1, 2]), TypeError, "^codes: expected a tensor, got list"),
        (lambda: decode(torch.tensor([1]), True), TypeError, "^quantization_channels: "),
        (lambda: dilated(np.ones(5), np.ones(2), mode="x"), ValueError, "^mode: .*same, full; got 'x'"),
        (lambda: dilated(np.ones(5), torch.ones(2)), TypeError, "got ndarray and Tensor"),
        (lambda: dilated([1, 2], [1]), TypeError, "got list and list"),
        (lambda: dilated(np.ones(5), np.ones(2), 1.5), TypeError, r"^dilation: .* got 1\.5"),
        (lambda: dilated(np.ones(5), np.ones(999), 2**24, mode="full"), ValueError, "would pad the signal"),
        (lambda: causal(torch.ones(1, 2, 5), torch.ones(3, 1, 2)), ValueError, r"^waveform: .*\(batch, 1, time"),
        (lambda: causal(torch.ones(1, 1, 1), torch.ones(1, 1, 1), stride=2), ValueError, "time of at least 2"),
        (lambda: causal(torch.ones(1, 2, 5), torch.ones(3, 1, 2), groups=2), ValueError, "^weight: .* of 2, "),
        (lambda: causal(torch.ones(1, 1, 5), torch.ones(3, 1, 2), torch.ones(2)), ValueError, r"^bias: "),
        (lambda: causal(torch.ones(1, 1, 5), torch.ones(1, 1, 2).double()), ValueError, "^weight: .*float64"),
        (lambda: causal(torch.ones(1, 1, 5), torch.ones(1, 1, 2), dilation=0), ValueError, "^dilation: "),
    ],
)  # fmt: skip
def test_each_wrong_argument_has_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 2]), st.booleans())
def test_causal_conv_is_torchs_with_zeros_before(k, stride, dilation, groups, biased):
    generator = torch.Generator().manual_seed(k)
    waveform, weight, bias = (
        torch.randn(size, generator=generator, dtype=torch.float64) for size in [(2, 4, 21), (6, 4 // groups, k), (6,)]
    )
    expected = F.conv1d(
        torch.cat([torch.zeros(2, 4, 20, dtype=torch.float64), waveform], -1),
        weight, bias if biased else None, 1, 0, dilation, groups,
    )[..., -21:][..., stride - 1 :: stride]  # fmt: skip
    found = causal_conv1d(waveform, weight, bias if biased else None, stride, dilation, groups)
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize(
    ("signal", "kernel", "dilation"),
    [
        ((4, 4, 4), (2, 2, 2), 1),
        ((4, 4), (2, 2), (1,)),
        ((4,), (2, 2), 1),
        ((4, 4), (2, 0), 1),
        ((4,), (), ()),
    ],
)
def test_kernels_of_other_axes_are_refused(signal, kernel, dilation):
    with pytest.raises(ValueError, match=r"^expected a kernel of 1 or 2 axes, a dilation for each"):
        dilated_convolution(np.zeros(signal), np.zeros(kernel), dilation)


def test_a_kernel_as_long_as_the_signal_fits_and_a_longer_one_does_not():
    assert dilated_convolution(np.arange(5), np.array([1, 2, 3]), 2).tolist() == [0 * 3 + 2 * 2 + 4 * 1]
    assert dilated_convolution(np.arange(5), np.array([1, 0])).tolist() == [1, 2, 3, 4]
    assert dilated_convolution(np.arange(5), np.array([1, 2, 3]), 2, flip=False).tolist() == [0 * 1 + 2 * 2 + 4 * 3]
    with pytest.raises(ValueError, match=r"a kernel that spans \[5\] does not fit the signal's \[4\]"):
        dilated_convolution(np.arange(4), np.array([1, 2, 3]), 2)


def test_how_far_a_signal_is_padded():
    def full(batch: int, dilation: int) -> torch.Size:
        signal, kernel = torch.empty(batch, 1, device="meta"), torch.empty(2, device="meta")
        return dilated_convolution(signal, kernel, dilation, mode="full").shape

    assert full(3, 2**24) == (3, 1 + 2**24)
    with pytest.raises(ValueError, match="would pad the signal to 134,217,732 values, over 134,217,728"):
        full(4, 2**24)
    with pytest.raises(ValueError, match="dilation: expected an integer from 1 to 16777216, got 16777217"):
        full(1, 2**24 + 1)


@pytest.mark.parametrize(
    ("waveform", "weight", "bias", "options", "message"),
    [
        ((1, 2, 3), (4, 2, 3), None, {"stride": 4}, r"waveform: expected \(batch, 2, time of at least 4\)"),
        ((2, 3), (4, 2, 3), None, {}, "waveform: expected"),
        ((1, 3, 9), (4, 2, 3), None, {}, "waveform: expected"),
        ((1, 2, 9), (4, 2, 3), None, {"groups": 2}, r"waveform: expected \(batch, 4, time of at least 1\)"),
        ((1, 2, 9), (4, 2), None, {}, "weight: expected"),
        ((1, 0, 9), (4, 0, 3), None, {}, "weight: expected"),
        ((1, 2, 9), (3, 1, 3), None, {"groups": 2}, "weight: expected"),
        ((1, 2, 9), (4, 2, 3), (3,), {}, r"bias: expected \(4,\), got \(3,\)"),
        ((1, 2, 9), (4, 2, 3), (4, 1), {}, r"bias: expected \(4,\), got \(4, 1\)"),
        ((1, 2, 9), (4, 2, 3), None, {"dilation": 0}, "dilation: expected an integer from 1"),
        ((1, 2, 9), (4, 2, 3), None, {"stride": 0}, "stride: expected an integer from 1"),
        ((1, 2, 9), (4, 2, 3), None, {"groups": 0}, "groups: expected an integer from 1"),
    ],
)
def test_shapes_of_a_causal_convolution(waveform, weight, bias, options, message):
    given = None if bias is None else torch.zeros(bias)
    with pytest.raises(ValueError, match=f"^{message}"):
        causal_conv1d(torch.zeros(waveform), torch.zeros(weight), given, **options)


def test_what_is_left_out_of_a_causal_convolution():
    x, weight = torch.randn(2, 2, 5, dtype=torch.float64), torch.randn(3, 2, 4, dtype=torch.float64)
    assert torch.equal(causal_conv1d(x, weight), torch.nn.functional.conv1d(torch.nn.functional.pad(x, (3, 0)), weight))
    assert causal_conv1d(x, weight, stride=5).shape == (2, 3, 1)  # a single whole stride


@pytest.mark.parametrize("count", [2, 3, 256, 2**16])
def test_the_ends_of_mu_law(count):
    ends = torch.tensor([-torch.inf, -1.0, 1.0, torch.inf])
    assert mu_law_encode(ends, count).tolist() == [0, 0, count - 1, count - 1]
    assert mu_law_decode(torch.tensor([0, count - 1]), count).tolist() == [-1, 1]
    for wrong in (-1, count):
        with pytest.raises(ValueError, match=f"codes: expected integers from 0 to {count - 1}, got {wrong}$"):
            mu_law_decode(torch.tensor([0, wrong, 1]), count)


@pytest.mark.parametrize("count", [1, 2**16 + 1])
def test_how_many_codes_there_are(count):
    for function, values in ((mu_law_encode, torch.zeros(1)), (mu_law_decode, torch.zeros(1, dtype=torch.int64))):
        with pytest.raises(
            ValueError, match=f"quantization_channels: expected an integer from 2 to 65536, got {count}"
        ):
            function(values, count)
    assert mu_law_encode(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0, 128, 255]
    assert mu_law_decode(torch.tensor([0, 255])).tolist() == [-1, 1]
