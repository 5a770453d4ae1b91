"""The wavelet transform is what its formulas and PyWavelets say, and its synthesis gives the signal back."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweeps import examples
from torch.nn import functional as F

import wavedil
from wavedil.wavelets import AtrousWavelet1d, AtrousWavelet2d
from wavedil.wavelets.filters import STARLET, filters_for

pywt: Any = importlib.import_module("pywt")

HERE = (0.0, 0.0, 1.0, 0.0, 0.0)
# Smoothing and synthesis by h, details by 1 - h * h: the second-generation starlet, which reconstructs as well.
SECOND_GENERATION = tuple(
    tuple(np.pad(taps, (4 - len(taps) // 2, 4 - len(taps) // 2)))
    for taps in (STARLET, np.pad(HERE, 2) - np.convolve(STARLET, STARLET), STARLET, HERE)
)
# Later than the filters' reach: the centred synthesis must read ahead all it can.
LATE_HAAR = ((0.0, 0.5, 0.5), (0.0, 0.5, -0.5), (0.0, 1.0, 1.0), (0.0, -1.0, 1.0))
WAVELETS = [
    "starlet", "haar", "db4", "sym5", "coif1", "bior2.2", "rbio3.1", (0.3, 0.7), (0.1, 0.2, 0.7), SECOND_GENERATION,
    LATE_HAAR,
]  # fmt: skip
few = settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
wavelets = st.sampled_from(WAVELETS)
boundaries = st.sampled_from(["zeros", "reflect", "periodic"])
MODES: dict[str, Any] = {"zeros": "constant", "reflect": "reflect", "periodic": "wrap"}


def noise(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


def spread(taps, dilation: int) -> np.ndarray:
    """A filter with its holes as zeros."""
    out = np.zeros(dilation * (len(taps) - 1) + 1)
    out[::dilation] = taps
    return out


def bands_by_formula(signal: np.ndarray, wavelet, levels: int, boundary: str, margin: tuple[int, int]) -> np.ndarray:
    """Each band by one long filter, the product of its levels', on the signal continued far beyond its ends."""
    filters = filters_for(wavelet)
    high = filters.high or -np.array(filters.low) + np.eye(len(filters.low))[filters.ahead]
    far = 3 * len(filters.low) * 2**levels
    continued = np.pad(signal, far, mode=MODES[boundary])

    def filtered(taps: np.ndarray, level: int) -> np.ndarray:
        present = far + filters.ahead * (2**level - 1)
        return np.convolve(continued, taps)[present - margin[0] : present + len(signal) + margin[1]]

    smooth, bands = np.ones(1), []
    for level in range(levels):
        bands.append(filtered(np.convolve(smooth, spread(high, 2**level)), level + 1))
        smooth = np.convolve(smooth, spread(filters.low, 2**level))
    return np.stack([*bands, filtered(smooth, levels)])


@few
@given(wavelets, boundaries, st.integers(1, 4), st.integers(1, 40))
def test_bands_are_those_of_the_formula(wavelet, boundary, levels, time):
    transform = AtrousWavelet1d(levels, wavelet, boundary=boundary)
    x = noise(2, 1, time)
    expected = np.stack([bands_by_formula(s.numpy(), wavelet, levels, boundary, transform.margin) for s in x[:, 0]])
    np.testing.assert_allclose(transform.analysis(x)[:, 0].numpy(), expected, rtol=0, atol=1e-12)


@few
@given(wavelets, boundaries, st.integers(1, 5), st.integers(1, 70))
def test_reconstructs_any_length(wavelet, boundary, levels, time):
    transform = AtrousWavelet1d(levels, wavelet, boundary=boundary)
    x = noise(2, 3, time)
    coefficients = transform(x)
    assert coefficients.shape == (2, 3, levels + 1, time + sum(transform.margin))
    torch.testing.assert_close(transform.synthesis(coefficients), x, rtol=0, atol=1e-10)


@few
@given(wavelets, boundaries, st.integers(1, 3), st.integers(1, 12), st.integers(1, 20), st.booleans())
def test_reconstructs_any_spectrogram(wavelet, boundary, levels, bins, frames, causal):
    transform = AtrousWavelet2d(levels, wavelet, boundary=boundary, causal=causal)
    x = noise(1, 2, bins, frames)
    padded = F.pad(x, (0, transform.delay))
    torch.testing.assert_close(transform.synthesis(transform(padded))[..., transform.delay :], x, rtol=0, atol=1e-10)


@few
@given(wavelets, st.integers(1, 5), st.integers(1, 70))
def test_causal_synthesis_is_late_by_the_delay(wavelet, levels, time):
    transform = AtrousWavelet1d(levels, wavelet, causal=True)
    x = noise(1, 1, time)
    y = transform.synthesis(transform(F.pad(x, (0, transform.delay))))
    torch.testing.assert_close(y, F.pad(x, (transform.delay, 0)), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("wavelet", "delay"), [("starlet", 0), ((0.3, 0.7), 0), ("haar", 7), ("db4", 49), (LATE_HAAR, 21)]
)
def test_delay_is_that_of_the_bank_times_all_dilations(wavelet, delay):
    assert AtrousWavelet1d(3, wavelet, causal=True).delay == delay
    assert AtrousWavelet1d(3, wavelet).delay == 0


def test_margins_are_of_centred_banks_that_are_not_periodic():
    assert AtrousWavelet1d(3, "db4", boundary="zeros").margin == (7 * 4, 7 * 3)
    assert AtrousWavelet1d(3, "db4", boundary="periodic").margin == (0, 0)
    assert AtrousWavelet1d(3, "db4", causal=True).margin == (0, 0)
    assert AtrousWavelet1d(3).margin == (0, 0)
    assert AtrousWavelet2d(3, "db4", causal=True).margin == (7 * 4, 7 * 3)


@pytest.mark.parametrize("time", [16_000, 15_999, 12_345])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_the_starlet_reconstructs_to_rounding(dtype, bar, causal, time):
    x = noise(1, 1, time, dtype=dtype)
    for levels in (5, 8):
        transform = AtrousWavelet1d(levels, causal=causal)
        assert float((transform.synthesis(transform(x)) - x).abs().max()) <= bar


def reconstruction_error(transform: AtrousWavelet1d, x: torch.Tensor) -> float:
    late = transform.synthesis(transform(F.pad(x, (0, transform.delay))))
    return float((late[..., transform.delay :] - x).abs().max())


@pytest.mark.parametrize("time", [16_000, 15_999])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym5", "bior2.2", "bior4.4", SECOND_GENERATION])
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_banks_reconstruct_to_rounding(dtype, bar, wavelet, causal, time):
    x = noise(1, 1, time, dtype=dtype)
    assert reconstruction_error(AtrousWavelet1d(5, wavelet, causal=causal), x) <= bar


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in pywt.wavelist(kind="discrete") if name != "dmey"])
def test_every_bank_of_pywavelets_reconstructs_to_rounding(name):
    x = noise(1, 1, 15_999)
    for causal, norm in ((False, False), (True, True)):
        assert reconstruction_error(AtrousWavelet1d(5, name, causal=causal, norm=norm), x) <= 1e-14


def test_dmey_is_off_by_its_design():
    assert 1e-3 < reconstruction_error(AtrousWavelet1d(5, "dmey"), noise(1, 1, 16_000)) < 1e-2


@pytest.mark.parametrize("name", ["sym3", "sym5", "bior4.4"])
def test_the_way_back_is_exact_where_that_of_pywavelets_is_not(name):
    written = np.array(pywt.Wavelet(name).filter_bank)
    filters = filters_for(name)
    assert filters.high is not None

    def imperfection(low, high, inverse_low, inverse_high):
        product = np.convolve(low, inverse_low) + np.convolve(high, inverse_high)
        return np.abs(product / product[filters.delay] - np.eye(len(product))[filters.delay]).max()

    assert imperfection(*written) > 1e-13
    assert imperfection(filters.low, filters.high, filters.inverse_low, filters.inverse_high) <= 3e-16
    np.testing.assert_allclose([filters.inverse_low, filters.inverse_high], written[2:] / 2, rtol=0, atol=1e-10)


def test_five_levels_of_the_starlet_add_up_to_the_last_bit_but_one():
    x = noise(1, 1, 16_000)
    transform = AtrousWavelet1d(5)
    assert float((transform.synthesis(transform(x)) - x).abs().max()) <= 4.5e-16


def test_the_starlet_reads_125_samples():
    transform = AtrousWavelet1d(5, boundary="zeros")
    impulse = torch.zeros(1, 1, 401, dtype=torch.float64)
    impulse[..., 200] = 1
    smooth = transform(impulse)[0, 0, -1]
    assert smooth.nonzero().flatten().tolist() == list(range(200 - 62, 200 + 63))
    torch.testing.assert_close(smooth, smooth.flip(0), rtol=0, atol=1e-16)
    assert transform.receptive_field == 125
    assert transform.analysis.lookahead == 62


@pytest.mark.parametrize("boundary", ["zeros", "reflect", "periodic"])
@pytest.mark.parametrize(("causal", "lookahead"), [(False, 62), (True, 0)])
def test_the_graph_reads_what_the_field_says(causal, lookahead, boundary):
    transform = AtrousWavelet1d(5, causal=causal, boundary=boundary)
    traced = wavedil.receptive_field(transform, torch.zeros(1, 1, 600))
    assert (traced.receptive_field, traced.lookahead) == (125, lookahead)
    assert (transform.receptive_field, transform.analysis.lookahead) == (125, lookahead)


def test_details_of_a_constant_are_zero():
    x = torch.full((1, 1, 50), 3.0, dtype=torch.float64)
    bands = AtrousWavelet1d(4, boundary="reflect")(x)[0, 0]
    torch.testing.assert_close(bands[:-1], torch.zeros(4, 50, dtype=torch.float64), rtol=0, atol=1e-15)
    torch.testing.assert_close(bands[-1:], x[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("wavelet", ["starlet", "db4"])
def test_a_shift_of_the_signal_shifts_the_coefficients(wavelet):
    transform = AtrousWavelet1d(4, wavelet, boundary="periodic")
    x = noise(1, 1, 77)
    assert torch.equal(transform(x.roll(13, -1)), transform(x).roll(13, -1))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("levels", [1, 3, 5])
@pytest.mark.parametrize("name", ["haar", "db2", "db4", "sym5", "coif2", "dmey"])
def test_agrees_with_pywavelets(name, levels, norm):
    transform = AtrousWavelet1d(levels, name, boundary="periodic", norm=norm)
    x = noise(1, 1, 128)
    expected = pywt.swt(x[0, 0].numpy(), name, levels, trim_approx=True, norm=norm)
    bands = transform(x)
    np.testing.assert_allclose(bands[0, 0].flip(0).numpy(), np.stack(expected), rtol=0, atol=1e-12)
    if name != "dmey":  # PyWavelets leaves out its gain, which is not quite 2
        inverse = pywt.iswt(expected, name, norm=norm)
        np.testing.assert_allclose(transform.synthesis(bands)[0, 0].numpy(), inverse, rtol=0, atol=1e-10)


def test_pywavelets_wants_multiples_of_its_largest_dilation():
    with pytest.raises(ValueError, match="Level value too high"):
        pywt.swt(np.ones(20), "haar", 3)
    x = noise(1, 1, 20)
    transform = AtrousWavelet1d(3, "haar", boundary="periodic")
    torch.testing.assert_close(transform.synthesis(transform(x)), x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("name", ["bior2.2", "bior4.4", "rbio3.1"])
def test_agrees_with_pywavelets_when_biorthogonal(name, levels):
    x = noise(1, 1, 64)
    expected = pywt.swt(x[0, 0].numpy(), name, levels, trim_approx=True)
    transform = AtrousWavelet1d(levels, name, boundary="periodic")
    np.testing.assert_allclose(transform(x)[0, 0].flip(0).numpy(), np.stack(expected), rtol=0, atol=1e-12)
    inverse = pywt.iswt(expected, name)
    np.testing.assert_allclose(transform.synthesis(transform(x))[0, 0].numpy(), inverse, rtol=0, atol=1e-10)


def test_the_inverse_of_other_coefficients_agrees_with_pywavelets():
    bands = noise(1, 1, 4, 64)  # not those of any signal
    transform = AtrousWavelet1d(3, "db3", boundary="periodic")
    expected = pywt.iswt(list(bands[0, 0].flip(0).numpy()), "db3")
    np.testing.assert_allclose(transform.synthesis(bands)[0, 0].numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["haar", "db2", "bior2.2"])
def test_agrees_with_pywavelets_in_two_dimensions(name):
    x = noise(1, 1, 16, 32)
    bands = AtrousWavelet2d(2, name, boundary="periodic")(x)[0, 0].numpy()
    coarse, fine = pywt.swtn(x[0, 0].numpy(), name, 2)
    expected = [fine["ad"], fine["da"], fine["dd"], coarse["ad"], coarse["da"], coarse["dd"], coarse["aa"]]
    np.testing.assert_allclose(bands, np.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["haar", "db4", "sym8"])
def test_a_normalised_orthogonal_transform_keeps_the_energy(name):
    x = noise(1, 1, 101)
    bands = AtrousWavelet1d(4, name, boundary="periodic", norm=True)(x)
    torch.testing.assert_close(bands.square().sum(), x.square().sum(), rtol=1e-10, atol=0)


def test_the_starlet_in_two_dimensions_is_separable():
    x = noise(1, 1, 9, 14)
    along_time = AtrousWavelet1d(1)(x.reshape(1, 9, 14))[:, :, -1]
    along_both = AtrousWavelet1d(1)(along_time.transpose(1, 2))[:, :, -1].transpose(1, 2)
    bands = AtrousWavelet2d(1)(x)
    torch.testing.assert_close(bands[:, 0, 1], along_both, rtol=0, atol=1e-15)
    torch.testing.assert_close(bands[:, 0, 0], x[:, 0] - along_both, rtol=0, atol=1e-15)


def test_causal_in_time_centred_in_frequency():
    transform = AtrousWavelet2d(2, causal=True, boundary="zeros")
    impulse = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    impulse[..., 15, 9] = 1
    reached = transform(impulse)[0, 0, -1].nonzero()
    assert (reached.amin(0).tolist(), reached.amax(0).tolist()) == ([15 - 6, 9], [15 + 6, 9 + 12])
