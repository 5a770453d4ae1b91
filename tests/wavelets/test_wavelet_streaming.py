"""The causal transforms stream: frame by frame, exported, with a state that does not grow."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweeps import examples, sweep

from wavedil.layers import Chain
from wavedil.streaming import Stream
from wavedil.testing import verify_streaming_contract
from wavedil.wavelets import AtrousWavelet1d, AtrousWavelet2d

few = settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.too_slow])
LATE_HAAR = ((0.0, 0.5, 0.5), (0.0, 0.5, -0.5), (0.0, 1.0, 1.0), (0.0, -1.0, 1.0))
wavelets = st.sampled_from(["starlet", "haar", "db2", "bior2.2", (0.1, 0.2, 0.7), LATE_HAAR])
boundaries = st.sampled_from(["zeros", "reflect", "periodic"])


@few
@given(wavelets, st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 99))
def test_contract(wavelet, levels, channels, learnable, seed):
    transform = AtrousWavelet1d(levels, wavelet, causal=True, channels=channels, learnable=learnable)
    verify_streaming_contract(transform.analysis, chunkings=2, seed=seed)
    verify_streaming_contract(transform.synthesis, chunkings=2, seed=seed)


@few
@given(wavelets, boundaries, st.integers(1, 2), st.integers(1, 6), st.integers(0, 99))
def test_contract_in_two_dimensions(wavelet, boundary, levels, bins, seed):
    transform = AtrousWavelet2d(levels, wavelet, causal=True, boundary=boundary)
    shape = transform.analysis.output_shape((2, bins))
    assert shape == tuple(transform(torch.zeros(1, 2, bins, 1)).shape[1:-1])
    assert transform.synthesis.output_shape(shape) == (2, bins)
    verify_streaming_contract(transform.analysis, shape=(2, bins), chunkings=1, seed=seed)
    verify_streaming_contract(transform.synthesis, shape=shape, chunkings=1, seed=seed)


EXPORTED = [("db2", 1, "analysis"), ("starlet", 1, "synthesis")]
EXPORTED += [("starlet", 3, "synthesis"), ("db2", 2, "analysis"), ("starlet", 3, "analysis"), ("db2", 2, "synthesis")]


@pytest.mark.parametrize(("wavelet", "levels", "part"), sweep(EXPORTED, EXPORTED[:2].__contains__))
def test_captured_exported_and_onnx(wavelet, levels, part):
    module = getattr(AtrousWavelet1d(levels, wavelet, causal=True), part)
    report = verify_streaming_contract(module, chunkings=1, backends=("capture", "export", "onnx"))
    assert set(report.backends) == {"capture", "export", "onnx"}


@pytest.mark.full
def test_two_dimensions_in_onnx():
    transform = AtrousWavelet2d(1, causal=True, boundary="reflect", learnable=True)
    report = verify_streaming_contract(transform.analysis, shape=(2, 5), chunkings=1, backends=("onnx",))
    assert report.backends["onnx"] <= 1e-6


@pytest.mark.full
@pytest.mark.parametrize(
    ("wavelet", "boundary"), [("starlet", "periodic"), ("haar", "periodic"), ("bior2.2", "zeros"), ("db2", "reflect")]
)
def test_every_kind_exported(wavelet, boundary):
    transform = AtrousWavelet2d(2, wavelet, causal=True, boundary=boundary)
    shape = transform.analysis.output_shape((1, 5))
    backends = ("capture", "export", "onnx")
    verify_streaming_contract(transform.analysis, shape=(1, 5), chunkings=1, backends=backends)
    verify_streaming_contract(transform.synthesis, shape=shape, chunkings=1, backends=backends)


@pytest.mark.parametrize("wavelet", ["starlet", "haar"])
def test_analysis_and_synthesis_in_a_chain_are_a_delay(wavelet):
    transform = AtrousWavelet1d(3, wavelet, causal=True, channels=2)
    chain = Chain(transform.analysis, transform.synthesis)
    verify_streaming_contract(chain, chunkings=1)
    x = torch.randn(2, 2, 90, dtype=torch.float64)
    expected = torch.nn.functional.pad(x, (transform.delay, 0))[..., :90]
    torch.testing.assert_close(chain(x), expected, rtol=0, atol=1e-12)


def test_the_starlet_reconstructs_sample_by_sample_at_once():
    transform = AtrousWavelet1d(5, causal=True)
    analysis, synthesis = (Stream(part, dtype=torch.float64) for part in (transform.analysis, transform.synthesis))
    for sample in torch.randn(300, 1, 1, 1, dtype=torch.float64):
        torch.testing.assert_close(synthesis.push(analysis.push(sample)), sample, rtol=0, atol=1e-14)
    assert transform.analysis.latency == transform.synthesis.latency == transform.delay == 0


def test_causal_bands_are_the_centred_ones_of_the_past():
    x = torch.randn(1, 1, 200, dtype=torch.float64)
    causal = AtrousWavelet1d(4, causal=True)(x)[0, 0, -1]
    centred = AtrousWavelet1d(4, boundary="zeros")(x)[0, 0, -1]
    torch.testing.assert_close(causal[30:], centred[:-30], rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("wavelet", "analysis", "synthesis"),
    # Of four levels, all dilations together are 15; the details of a bank also wait 14, 12, 8 and 0 times its delay.
    [("starlet", 4 * 15, 0), ("db2", 3 * 15, 2 * 3 * 15 + 3 * (14 + 12 + 8))],
)
def test_the_state_does_not_grow(wavelet, analysis, synthesis):
    transform = AtrousWavelet1d(4, wavelet, causal=True)
    for part, values in ((transform.analysis, analysis), (transform.synthesis, synthesis)):
        stream = Stream(part)
        sizes = set()
        for chunk in (1, 7, 500, 10_000):
            stream.push(torch.randn(1, *part.input_shape(), chunk))
            state = stream.snapshot().state
            sizes.add(tuple(tensor.shape for tensor in state))
            assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in state)
        assert len(sizes) == 1
        assert sum(shape.numel() for shape in sizes.pop()) == values


def test_a_centred_transform_says_that_it_does_not_stream():
    transform = AtrousWavelet1d(3, "haar")
    for part in (transform.analysis, transform.synthesis):
        with pytest.raises(ValueError, match=r"a centred transform does not stream: make it with causal=True"):
            Stream(part)
    assert transform.analysis.latency == 7 * 1
    x = torch.zeros(1, 1, 5)
    with pytest.raises(ValueError, match="does not stream"):
        transform.analysis.step(x, ())
