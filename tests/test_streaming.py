"""Stream: sessions that start, stop, go back and are fed by whatever comes."""

from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples
from torch import nn

from wavedil import Stream
from wavedil.layers import CausalConv1d, Chain, Delay, DilatedStack, GatedResidualBlock, Parallel
from wavedil.layers.base import StreamingModule, Window


def strided() -> Chain:
    return Chain(CausalConv1d(1, 4, 6, 4), nn.Tanh(), DilatedStack(4, 3, [1, 2]))


def push_all(stream: Stream, signal: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    outputs = [stream.push(part) for part in signal.split(sizes, dim=-1)]
    return torch.cat([*outputs, stream.flush()], dim=-1)


@settings(max_examples=examples(20))
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.sampled_from([0, 1, 2]))
def test_any_chunks_give_forward(sizes, lookahead):
    stack = DilatedStack(2, 3, [1, 2], skip_channels=3, lookahead=lookahead).eval()
    signal = torch.randn(2, 2, sum(sizes) + 1)
    streamed = push_all(Stream(stack, batch_size=2), signal, [*sizes, 1])
    torch.testing.assert_close(streamed, stack(signal), atol=1e-6, rtol=0)


@pytest.mark.parametrize("moment", [5, 8, 11])
def test_one_session_reset_while_the_other_goes_on(moment):
    model = strided().eval()
    first, second = torch.randn(2, 1, 1, 40)
    stream = Stream(model, batch_size=2)
    outputs = [stream.push(torch.cat([first[..., :moment], torch.randn(1, 1, moment)]))]
    stream.reset(1)
    for i in range(moment, 40):
        outputs.append(stream.push(torch.cat([first[..., i : i + 1], second[..., i - moment : i - moment + 1]])))
    joined = torch.cat(outputs, dim=-1)
    count = joined.shape[-1]
    torch.testing.assert_close(joined[:1], model(first)[..., :count], atol=1e-6, rtol=0)
    fresh = model(second[..., : 40 - moment])
    since = joined[1:, :, outputs[0].shape[-1] :]
    torch.testing.assert_close(since, fresh[..., : since.shape[-1]], atol=1e-6, rtol=0)
    # Out of step by part of a hop, a session may owe one hop's output, never more.
    assert fresh.shape[-1] - since.shape[-1] <= 1


def test_reset_with_lookahead_says_what_is_not_there_yet():
    stack = DilatedStack(1, 3, [1, 2], lookahead=2).eval()
    stream = Stream(stack, batch_size=2)
    stream.push(torch.randn(2, 1, 20))
    stream.reset(0)
    fresh = torch.randn(1, 1, 9)
    outputs = torch.cat([stream.push(torch.cat([chunk, chunk])) for chunk in fresh.split(2, dim=-1)], dim=-1)
    assert outputs[0, :, : stack.preroll].isnan().all()
    assert not outputs[1].isnan().any()
    torch.testing.assert_close(outputs[:1, :, 4:], stack(fresh)[..., :5], atol=1e-6, rtol=0)


def test_sessions_out_of_step_are_flushed_one_by_one():
    stack = DilatedStack(1, 3, [1, 2], lookahead=2).eval()
    stream = Stream(stack, batch_size=2)
    first, second = torch.randn(2, 1, 1, 12)
    outputs = stream.push(torch.cat([first, second]))
    stream.reset(1)
    stream.push(torch.cat([first[..., :1], second[..., :1]]))
    with pytest.raises(ValueError, match="flush them one by one"):
        stream.flush()
    whole = torch.cat([first, first[..., :1]], dim=-1)
    tail = stream.flush(0)
    torch.testing.assert_close(tail[..., -4:], stack(whole)[..., -4:], atol=1e-6, rtol=0)
    torch.testing.assert_close(stream.flush(1), stack(second[..., :1]), atol=1e-6, rtol=0)
    assert outputs.shape[-1] == 12 - 4


@pytest.mark.parametrize("model", [strided(), DilatedStack(1, 2, [1, 2, 4], lookahead=1)], ids=["strided", "ahead"])
def test_snapshot_goes_back_and_shares_nothing(model):
    model = model.eval()
    signal = torch.randn(1, 1, 50)
    stream = Stream(model)
    stream.push(signal[..., :22])
    snapshot = stream.snapshot()
    after = stream.push(signal[..., 22:])
    for _ in range(2):
        stream.restore(snapshot)
        assert torch.equal(stream.push(signal[..., 22:]), after)
    for tensor in (*snapshot.state, *(part for row in snapshot.pending for part in row.values())):
        tensor.fill_(float("nan"))
    assert not stream.push(signal).isnan().any()


def test_silence_gives_a_constant_before_the_first_sample():
    stack = DilatedStack(3, 3, [1, 2, 4], skip_channels=2, boundary="silence").eval()
    zeros = DilatedStack(3, 3, [1, 2, 4], skip_channels=2, boundary="zeros").eval()
    zeros.load_state_dict(stack.state_dict())
    silence = torch.zeros(1, 3, 40)
    constant = stack(silence)
    torch.testing.assert_close(constant, constant[..., :1].expand_as(constant), atol=1e-6, rtol=0)
    # With zeros before every layer the biases still make an onset, which dies out within the receptive field.
    onset = zeros(silence)
    assert (onset[..., 0] - constant[..., 0]).abs().max() > 1e-3
    torch.testing.assert_close(onset[..., 14:], constant[..., 14:], atol=1e-6, rtol=0)


def test_a_pair_of_outputs_streams():
    block = GatedResidualBlock(4, 2, 3, skip_channels=2, lookahead=1).eval()
    signal = torch.randn(1, 4, 20)
    stream = Stream(block)
    pushed = [stream.push(chunk) for chunk in (signal[..., :0], signal[..., :7], signal[..., 7:])]
    parts = [torch.cat(tensors, dim=-1) for tensors in zip(*pushed, stream.flush(), strict=True)]
    for streamed, offline in zip(parts, block(signal), strict=True):
        torch.testing.assert_close(streamed, offline, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Stream(GatedResidualBlock(4, 2, norm="batch")), "norm is in training mode: call eval"),
        (lambda: Stream(GatedResidualBlock(4, 2, dropout=0.5)), "dropout is in training mode: call eval"),
        (lambda: Stream(strided().eval()).push(torch.zeros(2, 1, 4)), r"expected .* \(1, 1, time\), got \(2, 1, 4\)"),
        (lambda: Stream(strided().eval()).reset(1), "session must be from 0 to 0, got 1"),
        (lambda: Stream(strided().eval()).restore(Stream(strided().eval(), 2).snapshot()), "expected a snapshot of"),
        (lambda: strided()(torch.zeros(1, 1, 3)), "expected at least 4 samples, got 3"),
        (lambda: DilatedStack(4, 2, [1]).step(torch.zeros(1, 4, 3), ()), "expected a state of 1 tensors, got 0"),
        (lambda: CausalConv1d(1, 1, 4, 4).step(torch.zeros(1, 1, 3), (torch.zeros(1, 1, 0),)), "at least 4, got 3"),
        (lambda: CausalConv1d(1, 1, 0), "kernel_size: expected an integer from 1 to .* got 0"),
        (lambda: CausalConv1d(1, 1, 3, lookahead=3), "lookahead: expected an integer from 0 to 2, got 3"),
        (lambda: Chain(CausalConv1d(1, 1, 3, lookahead=1), CausalConv1d(1, 1, 2, 2)), "expected a multiple of 2"),
        (lambda: DilatedStack(4, 3, []), "dilations: expected 1 to 1,024 items, got 0"),
        (lambda: GatedResidualBlock(4, 3, global_channels=2)(torch.zeros(1, 4, 9)), r"condition of \(1, 2\), got none"),
    ],
)  # fmt: skip
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_chain_refuses_what_might_read_more_than_the_present():
    with pytest.raises(TypeError, match="may read more than the present"):
        Chain(nn.Conv1d(1, 1, 3))


def test_times_in_samples_and_seconds():
    stack = DilatedStack(2, 3, [1, 2, 4], lookahead=[1, 2, 0])
    assert (stack.receptive_field, stack.lookahead, stack.latency) == (15, 3, 3)
    assert stack.receptive_field_seconds(1000) == 0.015
    assert stack.lookahead_seconds(1000) == stack.latency_seconds(1000) == 0.003
    strided = CausalConv1d(1, 1, 8, 4)
    assert (strided.receptive_field, strided.lookahead, strided.latency) == (8, 0, 3)
    with pytest.raises(ValueError, match="does not know its sample rate: give sample_rate in Hz"):
        stack.latency_seconds()


def knobbed() -> Chain:
    return Chain(CausalConv1d(1, 4, 2), DilatedStack(4, 3, [1, 2], global_channels=3, lookahead=1)).eval()


def test_a_knob_is_turned_in_a_running_stream():
    model, signal = knobbed(), torch.randn(2, 1, 30)
    first, second = torch.randn(2, 2, 3)
    stream = Stream(model, 2, global_condition=first)
    state = model.initial_state(2)
    expected = []
    for part, knob in zip(signal.split([4, 5, 21], dim=-1), (first, second, second), strict=True):
        y, state = model.step(part, state, global_condition=knob)
        expected.append(y)
    turned = second.clone()
    streamed = [stream.push(signal[..., :4]), stream.push(signal[..., 4:9], global_condition=turned)]
    turned.zero_()  # what the caller does with the tensor afterwards does not matter
    streamed.append(stream.push(signal[..., 9:]))
    torch.testing.assert_close(torch.cat(streamed, -1), torch.cat(expected, -1)[..., model.preroll :])


def test_snapshots_keep_the_knob_and_a_reset_goes_back_to_the_first_one():
    model, signal = knobbed(), torch.randn(2, 1, 20)
    first, second = torch.randn(2, 2, 3)
    stream = Stream(model, 2, global_condition=first)
    moment = stream.snapshot()
    stream.push(signal[..., :0], global_condition=second)
    by_second = torch.cat([stream.push(signal), stream.flush()], dim=-1)
    torch.testing.assert_close(by_second, model(signal, global_condition=second), atol=1e-6, rtol=0)
    by_first = torch.cat([stream.push(signal), stream.flush()], dim=-1)
    torch.testing.assert_close(by_first, model(signal, global_condition=first), atol=1e-6, rtol=0)
    stream.push(signal, global_condition=second)
    stream.restore(moment)
    assert torch.equal(torch.cat([stream.push(signal), stream.flush()], dim=-1), by_first)


def test_one_session_reset_gets_its_first_knob_back_and_the_other_keeps_its_own():
    model, signal = knobbed(), torch.randn(2, 1, 20)
    first, second = torch.randn(2, 2, 3)
    stream = Stream(model, 2, global_condition=first)
    stream.push(signal[..., :7], global_condition=second)
    stream.reset(0)
    y = stream.push(signal[..., 7:])
    alone = model(signal[:1, ..., 7:], global_condition=first[:1])
    torch.testing.assert_close(y[:1, :, 2:], alone[..., : y.shape[-1] - 2], atol=1e-6, rtol=0)
    other = model(signal[1:], global_condition=second[1:])
    torch.testing.assert_close(y[1:], other[..., 5 : 5 + y.shape[-1]], atol=1e-6, rtol=0)


def test_a_knob_that_the_stream_was_made_without_is_given_with_the_first_chunk():
    model, signal, knob = knobbed(), torch.randn(1, 1, 20), torch.randn(1, 3)
    stream = Stream(model)
    with pytest.raises(ValueError, match=r"expected global_condition of \(1, 3\), got none"):
        stream.push(signal)
    streamed = [stream.push(signal[..., :9], global_condition=knob), stream.push(signal[..., 9:]), stream.flush()]
    torch.testing.assert_close(torch.cat(streamed, -1), model(signal, global_condition=knob), atol=1e-6, rtol=0)


def test_conditions_that_run_along_wait_with_the_samples_that_do_not_fill_a_hop():
    model = Chain(
        DilatedStack(1, 3, [1, 2], local_channels=2, lookahead=2), CausalConv1d(1, 3, 4, 4, lookahead=2)
    ).eval()
    signal, track = torch.randn(2, 1, 31), torch.randn(2, 2, 31)
    stream, outputs, first = Stream(model, 2), [], 0
    for size in (1, 2, 9, 0, 3, 16):
        moment = slice(first, first + size)
        outputs.append(stream.push(signal[..., moment], local_condition=track[..., moment]))
        first += size
    outputs.append(stream.flush())
    expected = model(signal, local_condition=track)
    torch.testing.assert_close(torch.cat(outputs, -1), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_module_that_goes_back_to_training_is_refused_before_anything_changes(norm):
    model = Chain(CausalConv1d(1, 4, 2), DilatedStack(4, 2, [1, 2], norm=norm, dropout=0.5)).eval()
    stream, signal = Stream(model), torch.randn(1, 1, 20)
    expected = model(signal)
    deep = model.get_submodule("layers.1.blocks.1")
    deep.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for call in (lambda: stream.push(signal), stream.flush):
        with pytest.raises(ValueError, match=r"layers.1.blocks.1.\w+ is in training mode: call eval\(\)"):
            call()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    assert torch.equal(stream.push(signal), expected)


def test_training_that_makes_no_difference_is_no_matter():
    stack = DilatedStack(1, 2, [1, 2]).eval()
    stream, signal = Stream(stack), torch.randn(1, 1, 9)
    stack.train()
    assert torch.equal(stream.push(signal), stack(signal))


@pytest.mark.parametrize(
    ("chunk", "error", "message"),
    [
        (torch.zeros(1, 4, 9).numpy(), TypeError, r"of \(1, 4, time\), got ndarray: convert it by torch.from_numpy"),
        ([[0.0]], TypeError, r"of \(1, 4, time\), got list"),
        (torch.zeros(1, 4, 9, dtype=torch.float64), TypeError, "expected torch.float32, .* got torch.float64"),
        (torch.zeros(1, 4, 9, dtype=torch.int16), TypeError, "expected torch.float32, .* got torch.int16"),
        (torch.zeros(1, 4, 9, dtype=torch.complex64), TypeError, "expected torch.float32, .* got torch.complex64"),
        (torch.zeros(1, 4, 9, device="meta"), ValueError, "on cpu, .* on meta"),
        (torch.zeros(4, 9), ValueError, r"of \(1, 4, time\), got \(4, 9\)"),
        (torch.zeros(9), ValueError, r"of \(1, 4, time\), got \(9,\)"),
        (torch.tensor(0.0), ValueError, r"of \(1, 4, time\), got \(\)"),
        (torch.zeros(2, 4, 9), ValueError, r"of \(1, 4, time\), got \(2, 4, 9\)"),
        (torch.zeros(1, 4, 1, 9), ValueError, r"of \(1, 4, time\), got \(1, 4, 1, 9\)"),
    ],
)  # fmt: skip
def test_a_chunk_that_does_not_fit_is_refused_in_one_line_and_the_stream_goes_on(chunk, error, message):
    conv = CausalConv1d(4, 4, 3).eval()
    stream, signal = Stream(conv), torch.randn(1, 4, 9)
    with pytest.raises(error, match=f"{message}[^\n]*$"):
        stream.push(chunk)
    assert torch.equal(stream.push(signal), conv(signal))


def test_a_module_that_went_to_another_type_needs_a_new_stream():
    conv = CausalConv1d(4, 4, 3).eval()
    stream = Stream(conv)
    conv.double()
    with pytest.raises(ValueError, match=r"from torch.float32 on cpu to torch.float64 on cpu: make a new Stream"):
        stream.push(torch.zeros(1, 4, 9))


def test_a_stream_is_printed_on_one_line():
    stream = Stream(knobbed(), 2, global_condition=torch.zeros(2, 3))
    stream.push(torch.zeros(2, 1, 5))
    assert repr(stream) == (
        "Stream(Chain, batch_size=2, shape=(1,), hop=1, latency=2, global_condition=(2, 3), position=5)"
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Stream(cast(Any, nn.Conv1d(1, 1, 1))), TypeError, "expected a streaming module, got Conv1d"),
        (lambda: Stream(CausalConv1d(4, 4, 3), 0), ValueError, "batch_size: expected an integer from 1"),
        (lambda: Stream(CausalConv1d(4, 4, 3), cast(Any, 1.5)), TypeError, "batch_size: expected an integer from 1"),
        (lambda: Stream(CausalConv1d(4, 4, 3), 1, 5), ValueError, r"expected a signal of \(batch, 4, time\), got"),
        (lambda: Stream(CausalConv1d(4, 4, 3), dtype=torch.int16), ValueError, "dtype: expected one of torch.float32"),
        (lambda: Stream(CausalConv1d(4, 4, 3), knob=1.0), ValueError, "takes no condition knob"),
        (lambda: Stream(CausalConv1d(4, 4, 3)).restore(cast(Any, None)), TypeError, "a snapshot, got NoneType"),
    ],
)  # fmt: skip
def test_a_stream_that_cannot_be_made(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "module",
    [Chain(), Chain(nn.Dropout(0.5)), Delay(0), Parallel(nn.Identity(), join="sum")],
    ids=["chain", "dropout", "delay", "parallel"],
)
def test_a_chunk_may_be_reused_while_its_outputs_are_held(module: StreamingModule) -> None:
    stream, chunk = Stream(module.eval(), 1, 2), torch.ones(1, 2, 5)
    outputs = stream.push(chunk)
    chunk.zero_()
    assert torch.equal(outputs, torch.ones(1, 2, 5))


class Steered(Window):
    """Looks one sample ahead, and says of its condition only that it runs along, not its channels."""

    def __init__(self) -> None:
        super().__init__(span=2, step_size=1, lookahead=1)
        self.delay = Delay(1)

    @property
    def aligned(self) -> tuple[str, ...]:
        return ("local_condition",)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("buffer", "steering")

    def apply_window(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., 1:] - x[..., :-1]

    def step(self, x: torch.Tensor, state: Any, local_condition: torch.Tensor) -> Any:
        y, buffer = super().step(x, state[:1])
        steering, waiting = self.delay.step(local_condition.sum(1, keepdim=True), state[1:])
        return y + steering, (*buffer, *waiting)

    def start(self, x: torch.Tensor, silence: bool) -> Any:
        y, buffer = super().start(x, silence)
        return y, (*buffer, x.new_zeros(len(x), 1, 1))


def test_flush_knows_the_channels_of_a_condition_from_what_was_pushed() -> None:
    module = Steered()
    x, steering = torch.randn(1, 2, 9), torch.randn(1, 3, 9)
    stream = Stream(module, 1, 2)
    halves = zip(x.split(5, -1), steering.split(5, -1), strict=True)
    outputs = [stream.push(chunk, local_condition=part) for chunk, part in halves]
    streamed = torch.cat([*outputs, stream.flush()], dim=-1)
    torch.testing.assert_close(streamed, module(x, local_condition=steering))
