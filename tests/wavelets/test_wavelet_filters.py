"""Filters by name, by taps and learned; gradients; long signals; and what is refused."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples

from wavedil.wavelets import AtrousWavelet1d, AtrousWavelet2d
from wavedil.wavelets.dilated import window
from wavedil.wavelets.filters import STARLET, filters_for


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype) * 2 - 1


def test_the_starlet_is_the_cubic_spline_of_mass_one():
    assert filters_for("starlet").low == STARLET == tuple(tap / 16 for tap in (1, 4, 6, 4, 1))
    assert sum(STARLET) == 1
    assert not filters_for("starlet").is_bank


@pytest.mark.parametrize("name", ["haar", "db4", "bior2.2"])
def test_a_bank_by_taps_is_the_bank_by_name(name):
    pywt = pytest.importorskip("pywt")
    by_name, by_taps = filters_for(name), filters_for(pywt.Wavelet(name).filter_bank)
    assert by_name == by_taps
    assert by_name.delay == by_name.reach
    assert by_name.ahead == len(by_name.low) // 2


def test_a_bank_of_any_gain_reconstructs():
    bank = [[0.5, 0.5], [0.5, -0.5], [3.0, 3.0], [-3.0, 3.0]]
    transform = AtrousWavelet1d(3, bank, boundary="zeros")
    x = noise(1, 1, 30)
    torch.testing.assert_close(transform.synthesis(transform(x)), x, rtol=0, atol=1e-14)


def test_taps_stay_exact_in_float64():
    plain, doubled = AtrousWavelet1d(3, "db4"), AtrousWavelet1d(3, "db4").float().double()
    x = noise(1, 1, 60)
    assert torch.equal(plain(x), doubled(x))
    assert not list(plain.parameters())
    assert not plain.state_dict()


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_a_starlet_with_any_learned_taps_reconstructs(taps, causal, two):
    kind = AtrousWavelet2d if two else AtrousWavelet1d
    transform = kind(3, causal=causal, learnable=True).double()
    (parameter,) = transform.parameters()
    assert transform.analysis.low is parameter
    with torch.no_grad():
        parameter[: len(taps)] = torch.tensor(taps, dtype=torch.float64)
    x = noise(1, 2, 9, 17) if two else noise(1, 2, 17)
    bands = transform(x).detach()
    error = (transform.synthesis(bands) - x).abs().max()
    assert float(error) <= 1e-14 * float(bands.abs().max().clamp_min(1))


def test_learned_filters_are_those_of_the_start_until_they_are_trained():
    x = noise(1, 1, 64, dtype=torch.float32)
    for wavelet, filters in (("starlet", 1), ("db2", 4)):
        learned, fixed = AtrousWavelet1d(3, wavelet, learnable=True), AtrousWavelet1d(3, wavelet)
        assert len(list(learned.parameters())) == filters
        torch.testing.assert_close(learned(x), fixed(x), rtol=0, atol=1e-6)
        torch.testing.assert_close(learned.synthesis(learned(x)), x, rtol=0, atol=1e-5)
        gains = torch.arange(1.0, 5.0)[:, None]
        learned.synthesis(learned(x) * gains).square().sum().backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in learned.parameters())


def test_training_finds_a_filter():
    torch.manual_seed(0)
    x, wanted = torch.randn(8, 1, 200), AtrousWavelet1d(2, (0.1, 0.2, 0.4, 0.2, 0.1))
    learned = AtrousWavelet1d(2, learnable=True)
    optimizer = torch.optim.Adam(learned.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        (learned(x) - wanted(x)).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(learned.analysis.low, torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1]), rtol=0, atol=5e-3)


@pytest.mark.parametrize("boundary", ["zeros", "reflect", "periodic"])
@pytest.mark.parametrize("wavelet", ["starlet", "db2"])
@pytest.mark.parametrize("learnable", [False, True])
def test_gradients(wavelet, learnable, boundary):
    transform = AtrousWavelet1d(2, wavelet, boundary=boundary, learnable=learnable).double()
    x = noise(1, 1, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: transform(x), (x, *transform.analysis.parameters()))
    bands = transform(x).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda c, *_: transform.synthesis(c), (bands, *transform.synthesis.parameters()))


@pytest.mark.parametrize("wavelet", ["starlet", "haar"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("learnable", [False, True])
def test_a_long_signal_in_blocks_is_the_same(wavelet, causal, learnable):
    transform = AtrousWavelet1d(4, wavelet, causal=causal, learnable=learnable)
    x = noise(2, 1, 40_001, dtype=torch.float32)
    at_once = transform(x.clone().requires_grad_()).detach()
    with torch.no_grad():
        assert torch.equal(transform(x), at_once)
    with torch.inference_mode():
        assert torch.equal(transform(x), at_once)
    assert transform(x).requires_grad == learnable


def test_a_long_spectrogram_in_blocks_is_the_same():
    transform = AtrousWavelet2d(2, "db2")
    x = noise(1, 2, 40, 1500, dtype=torch.float32)
    assert torch.equal(transform(x), transform(x.clone().requires_grad_()).detach())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("wavelet", ["starlet", "haar"])
def test_follows_the_device_and_type_of_its_input(wavelet, causal):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        transform = AtrousWavelet2d(2, wavelet, causal=causal)
        x = torch.zeros(3, 2, 5, 70_000, dtype=dtype, device="meta")  # fails on any tensor that is elsewhere
        bands = transform(x)
        y = transform.synthesis(bands)
        assert (y.device.type, y.dtype, y.shape) == ("meta", dtype, x.shape)


@pytest.mark.gpu
def test_on_a_cuda_device():
    transform = AtrousWavelet1d(5, "db4")
    x = noise(2, 3, 40_001)
    bands = transform(x.cuda())
    torch.testing.assert_close(bands.cpu(), transform(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(transform.synthesis(bands).cpu(), x, rtol=0, atol=1e-10)


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(1, 7), st.integers(-30, 30), st.integers(0, 40), st.sampled_from(["zeros", "reflect", "periodic"]))
def test_signals_go_on_as_the_boundary_says(size, first, length, boundary):
    values = list(range(1, size + 1))
    turn = {"periodic": values, "reflect": values + values[-2:0:-1], "zeros": values}[boundary]

    def at(n: int) -> int:
        return (values[n] if 0 <= n < size else 0) if boundary == "zeros" else turn[n % len(turn)]

    expected = torch.tensor([[at(n)] for n in range(first, first + length)], dtype=torch.int64).reshape(-1, 1)
    assert torch.equal(window(torch.tensor(values)[:, None], first, first + length, boundary, axis=-2), expected)


def test_pywavelets_is_needed_for_names_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    AtrousWavelet1d(3)
    AtrousWavelet1d(3, [0.5, 0.5])
    with pytest.raises(ModuleNotFoundError, match=r"'db4' needs PyWavelets.*pip install \"wavedil\[wavelets\]\""):
        AtrousWavelet1d(3, "db4")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": 0}, "levels: expected an integer from 1 to 24, got 0"),
        ({"wavelet": "morl"}, "wavelet: expected 'starlet' or one of .*, got 'morl'"),
        ({"wavelet": [1.0]}, r"a low-pass filter of 2 to 4096 taps.*got \[1.0\]"),
        ({"wavelet": [[1.0, 1.0], [1.0, -1.0]]}, "four filters of one length"),
        ({"wavelet": [[1.0], [1.0, 1.0]]}, "four filters of one length"),
        ({"wavelet": [float("nan"), 1.0]}, "finite taps"),
        ({"wavelet": [[1.0, 1.0]] * 4}, "must be one sample, delayed.*got 4 at delay 1 and up to 2 elsewhere"),
        ({"wavelet": [[0.0, 0.0]] * 4}, "must be one sample"),
        ({"norm": True}, "norm is for filter banks; 'starlet' has a low-pass filter alone"),
        ({"boundary": "mirror"}, "boundary: expected one of zeros, reflect, periodic; got 'mirror'"),
    ],
    ids=str,
)
def test_refuses_with_a_clear_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        AtrousWavelet1d(**{"levels": 3, **arguments})


def test_refuses_signals_and_coefficients_of_other_shapes():
    transform = AtrousWavelet1d(2, "haar")
    with pytest.raises(ValueError, match=r"expected a signal of \(batch, ..., time\), got \(5,\)"):
        transform(torch.zeros(5))
    with pytest.raises(ValueError, match="no empty one"):
        transform(torch.zeros(1, 1, 0))
    with pytest.raises(ValueError, match=r"expected 3 bands on axis -2, got \(1, 1, 4, 9\)"):
        transform.synthesis(torch.zeros(1, 1, 4, 9))
    with pytest.raises(ValueError, match="expected more than 3 coefficients on axis -1, the margins of the signal"):
        transform.synthesis(torch.zeros(1, 1, 3, 3))
