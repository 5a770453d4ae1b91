"""Image-level features: means over what has been, with their state."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples, sweep

from wavedil import Stream
from wavedil.layers import CausalAvgPool1d, CausalConv1d, CausalImagePool, Chain, ImagePool
from wavedil.receptive import Field
from wavedil.testing import verify_streaming_contract


@settings(max_examples=examples(30))
@given(st.integers(1, 30), st.sampled_from([None, 1, 2, 5, 40]), st.sampled_from([(3,), (3, 4), (2, 1)]))
def test_mean_of_the_frames_there_are(time, window, shape):
    x = torch.randn(2, *shape, time, dtype=torch.float64)
    expected = []
    for n in range(time):
        frames = x[..., max(n + 1 - (window or time), 0) : n + 1]
        mean = frames.mean(-1, keepdim=True)
        expected.append(mean if x.ndim == 3 else mean.mean(-2, keepdim=True))
    torch.testing.assert_close(CausalImagePool(window)(x), torch.cat(expected, dim=-1), atol=1e-14, rtol=0)


@settings(max_examples=examples(10), deadline=None)
@given(st.sampled_from([None, 1, 2, 7]), st.sampled_from([(3,), (3, 4)]), st.integers(0, 99))
def test_it_streams(window, shape, seed):
    verify_streaming_contract(CausalImagePool(window), shape=shape, time=40, seed=seed)


@pytest.mark.parametrize("window", sweep([None, 3], lambda window: window == 3))
def test_exported_and_onnx(window):
    pool = CausalImagePool(window)
    report = verify_streaming_contract(pool, shape=(2, 3), time=20, chunkings=1, backends=("capture", "onnx"))
    assert max(report.backends.values()) <= 1e-6
    assert pool.state_names == ("mean" if window is None else "buffer", "count")


def test_silence_before_the_start_is_no_data_either():
    pool = CausalImagePool()
    chain = Chain(CausalConv1d(1, 2, 3), pool, CausalConv1d(2, 2, 4), boundary="silence")
    constant = chain(torch.zeros(1, 1, 12))
    torch.testing.assert_close(constant, constant[..., :1].expand_as(constant), atol=1e-6, rtol=0)
    verify_streaming_contract(chain, time=30)
    windowed = Chain(CausalConv1d(1, 2, 3), CausalImagePool(4), CausalConv1d(2, 2, 4), boundary="silence")
    constant = windowed(torch.zeros(1, 1, 12))
    torch.testing.assert_close(constant, constant[..., :1].expand_as(constant), atol=1e-6, rtol=0)


def test_the_state_does_not_grow_and_a_long_mean_stays_exact():
    x = 5 + torch.randn(1, 1, 1_000_000, generator=torch.Generator().manual_seed(0))
    pool = CausalImagePool()
    state = pool.initial_state(1, 1)
    for chunk in x.split(1000, dim=-1):
        _, state = pool.step(chunk, state)
    mean, count = state
    assert (mean.shape, count.shape, count.item()) == ((1, 1, 1), (1, 1, 1), 1_000_000)
    assert mean.item() == pytest.approx(x.double().mean().item(), rel=1e-6)


def test_beyond_the_precision_of_the_count_the_mean_follows_still():
    pool = CausalImagePool()
    state = (torch.full((1, 1, 1), 3.0), torch.full((1, 1, 1), 2.0**24))
    # One frame at a time is the worst case: the count cannot grow by one any more.
    for _ in range(200):
        _, state = pool.step(torch.full((1, 1, 1), 3.0 + 2.0**16), state)
    mean, count = state
    assert count.item() == 2.0**24
    assert mean.item() == pytest.approx(3 + 200 * 2.0**-8, rel=1e-3)


def test_sessions_have_counts_of_their_own():
    stream = Stream(CausalImagePool(), 2, 1)
    stream.push(torch.tensor([[[2.0, 4.0]], [[2.0, 4.0]]]))
    stream.reset(1)
    later = stream.push(torch.full((2, 1, 1), 9.0))
    torch.testing.assert_close(later, torch.tensor([[[5.0]], [[9.0]]]))


def test_the_whole_signal_has_a_mean_but_no_stream():
    x = torch.randn(2, 3, 4, 9)
    y = ImagePool()(x)
    assert y.shape == (2, 3, 1, 9)
    torch.testing.assert_close(y, x.mean((2, 3), keepdim=True).expand_as(y))
    torch.testing.assert_close(ImagePool()(x[:, :, 0]), x[:, :, 0].mean(-1, keepdim=True).expand(2, 3, 9))
    assert ImagePool().receptive_field == ImagePool().lookahead == ImagePool().latency == math.inf
    with pytest.raises(ValueError, match="ImagePool reads the whole signal, past and future: it cannot stream"):
        Stream(ImagePool(), 1, 3)


class ClaimsAWindow(CausalImagePool):
    @property
    def field(self) -> Field:
        return Field(1, 1, (-4,), (0,))


class ClaimsTheWholePast(CausalAvgPool1d):
    @property
    def field(self) -> Field:
        return Field(1, 1, (-math.inf,), (0,))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (ClaimsAWindow(), "an input outside 35 to 39 reaches output 39"),
        (ClaimsTheWholePast(5, 1), "input 0 does not reach output 39"),
    ],
)
def test_the_contract_sees_what_is_unbounded(module, message):
    with pytest.raises(AssertionError, match=message):
        verify_streaming_contract(module, shape=(1,), time=40)


def test_the_contract_wants_a_time_where_the_field_has_no_end():
    with pytest.raises(ValueError, match="CausalImagePool has an unbounded receptive field: give the time"):
        verify_streaming_contract(CausalImagePool(), shape=(1,))


def test_a_window_of_no_frames():
    with pytest.raises(ValueError, match=r"window: expected an integer from 1 to .*, got 0"):
        CausalImagePool(0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("window", [None, 3000])
def test_half_precision_counts_as_far_as_float32(dtype: torch.dtype, window: int | None) -> None:
    x = torch.rand(1, 2, 5000, generator=torch.Generator().manual_seed(0)).to(dtype)
    pool, stream = CausalImagePool(window), Stream(CausalImagePool(window), 1, 2, dtype=dtype)
    streamed = torch.cat([stream.push(chunk) for chunk in x.split(700, dim=-1)], dim=-1)
    for y in (pool(x), streamed):
        assert y.dtype == dtype
        torch.testing.assert_close(y.float(), pool(x.float()), rtol=2 * torch.finfo(dtype).eps, atol=0)
