"""Conditions reach every part that takes them, by name, in step with its input."""

import pytest
import torch
from torch import Tensor, nn

from wavedil import Stream
from wavedil.config import Boundary
from wavedil.export import ExportedStep, OnnxStep, export_step, to_onnx
from wavedil.layers import (
    CausalConv1d,
    CausalConvTranspose1d,
    Chain,
    DilatedStack,
    GatedResidualBlock,
    Parallel,
    State,
    StreamingModule,
)
from wavedil.layers.conditions import merged_shapes, named_by
from wavedil.receptive import Field
from wavedil.testing import verify_streaming_contract

KNOB, TRACK = torch.randn(2, 3), torch.randn(2, 2, 40)


def stack(**options) -> DilatedStack:
    return DilatedStack(4, 2, [1, 2], **{"global_channels": 3, "local_channels": 2, **options})


def behind_convolutions(boundary: Boundary = "zeros") -> Chain:
    return Chain(
        CausalConv1d(1, 4, 3, lookahead=2), nn.Mish(), stack(lookahead=[0, 1]), CausalConv1d(4, 4, 2), stack(),
        boundary=boundary,
    )  # fmt: skip


def side_by_side() -> Parallel:
    down_up = Chain(CausalConv1d(4, 4, 2, 2), CausalConvTranspose1d(4, 4, 2, 2))
    return Parallel(stack(lookahead=1), down_up, stack(local_channels=0, conditioning="film"), nn.Tanh())


def nested(boundary: Boundary = "silence") -> Chain:
    ahead = CausalConv1d(4, 4, 2, lookahead=1)
    inner = Chain(ahead, Parallel(Chain(ahead, stack()), stack(lookahead=[1, 2])))
    return Chain(("entry", CausalConv1d(1, 4, 2)), ("inner", inner), boundary=boundary)


class Residual(StreamingModule):
    """A wrapper of a user's own: it hands on what it does not know."""

    def __init__(self, inner: StreamingModule) -> None:
        super().__init__()
        self.inner = inner

    @property
    def field(self) -> Field:
        return self.inner.field.union(Field.identity())

    @property
    def state_names(self) -> tuple[str, ...]:
        return self.inner.state_names

    def input_shape(self) -> tuple[int, ...]:
        return self.inner.input_shape()

    def step(self, x: Tensor, state: State, **conditions: Tensor) -> tuple[Tensor, State]:
        y, state = self.inner.step(x, state, **conditions)
        return x + y, state

    def start(self, x: Tensor, silence: bool, **conditions: Tensor) -> tuple[Tensor, State]:
        y, state = self.inner.start(x, silence, **conditions)
        return (x if silence else torch.zeros_like(x)) + y, state


@pytest.mark.parametrize(
    "make",
    [
        behind_convolutions,
        lambda: behind_convolutions("silence"),
        side_by_side,
        nested,
        lambda: Residual(Chain(CausalConv1d(4, 4, 2), stack())),
        lambda: Chain(CausalConv1d(1, 4, 2), Residual(stack())),
        lambda: Chain(stack(), CausalConv1d(4, 4, 4, 4)),
        lambda: Chain(CausalConv1d(1, 4, 2, 2), CausalConvTranspose1d(4, 4, 2, 2), stack(lookahead=1)),
    ],
    ids=["chain", "silence", "parallel", "nested", "wrapper", "wrapper inside", "before a stride", "down and up"],
)
def test_conditions_pass_the_contract(make):
    verify_streaming_contract(make(), time=40, global_condition=KNOB, local_condition=TRACK, chunkings=2)


def test_conditions_are_exported_from_an_example_of_one_session_and_run_with_several(tmp_path):
    chain = Chain(CausalConv1d(1, 4, 2, lookahead=1), DilatedStack(4, 2, [2], global_channels=3, local_channels=2))
    chain.eval()
    program = export_step(chain, conditions={"local_condition": TRACK[:1], "global_condition": KNOB[:1]})
    for batch_size in (1, 2):
        given = {"global_condition": KNOB[:batch_size], "local_condition": TRACK[:batch_size]}
        state, x = chain.initial_state(batch_size), torch.randn(batch_size, 1, 40)
        y, _ = ExportedStep(program).step(x, state, **given)
        torch.testing.assert_close(y, chain.step(x, state, **given)[0], atol=1e-6, rtol=0)
    to_onnx(chain, tmp_path / "step.onnx")  # examples are made where the shapes are known
    runtime = OnnxStep(tmp_path / "step.onnx")
    y, _ = runtime.step(x[:1], chain.initial_state(1), global_condition=KNOB[:1], local_condition=TRACK[:1])
    expected, _ = chain.step(x[:1], chain.initial_state(1), global_condition=KNOB[:1], local_condition=TRACK[:1])
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match=r"expected the inputs chunk, .*local_condition, got"):
        runtime.step(x[:1], chain.initial_state(1), global_condition=KNOB[:1])


@pytest.mark.full
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("make", [behind_convolutions, side_by_side, nested])
def test_every_way_of_running_takes_conditions(make, batch_size):
    conditions = {"global_condition": KNOB[:batch_size], "local_condition": TRACK[:batch_size]}
    backends = ("capture", "export", "onnx")
    verify_streaming_contract(
        make(), time=40, batch_size=batch_size, conditions=conditions, chunkings=1, backends=backends
    )


def test_a_chain_gives_what_its_parts_give_one_by_one():
    conv, inner = CausalConv1d(1, 4, 3, lookahead=2), stack(lookahead=1)
    x = torch.randn(2, 1, 40)
    expected = inner(conv(x), global_condition=KNOB, local_condition=TRACK)
    actual = Chain(conv, inner)(x, global_condition=KNOB, local_condition=TRACK)
    torch.testing.assert_close(actual[..., 6:36], expected[..., 6:36], atol=1e-6, rtol=0)


def test_two_parts_get_the_same_tensor_and_gradients_come_from_both():
    first, second, x = stack(), stack(), torch.randn(2, 4, 40)
    knob, track = KNOB.clone().requires_grad_(), TRACK.clone().requires_grad_()
    both = Parallel(first, second, join="sum")(x, global_condition=knob, local_condition=track)
    together = torch.autograd.grad(both.sum(), [knob, track])
    apart = [torch.zeros_like(KNOB), torch.zeros_like(TRACK)]
    for part in (first, second):
        grads = torch.autograd.grad(part(x, global_condition=knob, local_condition=track).sum(), [knob, track])
        apart = [a + b for a, b in zip(apart, grads, strict=True)]
    for got, expected in zip(together, apart, strict=True):
        assert got.abs().sum() > 0
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_the_start_of_silence_depends_on_the_knob():
    chain = Chain(CausalConv1d(1, 4, 2), stack(local_channels=0), boundary="silence").eval()
    silence = torch.zeros(2, 1, 20)
    y = chain(silence, global_condition=KNOB)
    torch.testing.assert_close(y, y[..., :1].expand_as(y), atol=1e-6, rtol=0)
    assert not torch.allclose(y[0], y[1])
    with pytest.raises(ValueError, match="global_condition"):
        chain.initial_state(2)


SIGNAL = torch.randn(2, 1, 40)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, r"expected global_condition of \(2, 3\), got none"),
        ({"global_condition": KNOB}, ValueError, r"expected local_condition of \(2, 2, 40\), got none"),
        ({"global_condition": 0.5}, TypeError, r"global_condition to be a tensor of \(2, 3\), got 0.5 \(float\)"),
        ({"global_condition": KNOB[0]}, ValueError, r"global_condition of \(2, 3\), got \(3,\)"),
        ({"global_condition": KNOB[:1]}, ValueError, r"global_condition of \(2, 3\), got \(1, 3\)"),
        ({"global_condition": KNOB[:, :2]}, ValueError, r"global_condition of \(2, 3\), got \(2, 2\)"),
        ({"global_condition": KNOB[..., None]}, ValueError, r"global_condition of \(2, 3\), got \(2, 3, 1\)"),
        ({"global_condition": KNOB.double()}, TypeError, "global_condition: .*torch.float32.* got torch.float64"),
        ({"global_condition": KNOB.long()}, TypeError, "global_condition: .*torch.float32.* got torch.int64"),
        ({"global_condition": KNOB.to("meta")}, ValueError, "global_condition: .* on cpu.* on meta"),
        ({"local_condition": TRACK[..., :39]}, ValueError, r"local_condition of \(2, 2, 40\), got \(2, 2, 39\)"),
        ({"local_condition": TRACK[:, :1]}, ValueError, r"local_condition of \(2, 2, 40\), got \(2, 1, 40\)"),
        ({"knob": KNOB}, ValueError, "takes no condition knob; .*: global_condition, local_condition"),
    ],
)  # fmt: skip
def test_conditions_that_do_not_fit_are_refused_in_one_line(given, error, message):
    chain = behind_convolutions().eval()
    if given and not message.startswith("expected local"):
        given = {"global_condition": KNOB, "local_condition": TRACK, **given}
    state = chain.initial_state(2)
    for call in (
        lambda: chain(SIGNAL, **given), lambda: chain.step(SIGNAL, state, **given),
        lambda: Stream(chain, 2).push(SIGNAL, **given),
    ):  # fmt: skip
        with pytest.raises(error, match=f"^Chain.*{message}[^\n]*$"):
            call()


def test_none_is_no_condition():
    plain = Chain(CausalConv1d(1, 4, 2), stack(global_channels=0, local_channels=0))
    assert torch.equal(plain(SIGNAL, global_condition=None), plain(SIGNAL))
    with pytest.raises(ValueError, match="takes no condition global_condition; the conditions that it takes: none"):
        plain(SIGNAL, global_condition=KNOB)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Chain(stack(), stack(global_channels=2)), "global_condition: 0 takes 3 channels, 1 takes 2"),
        (lambda: Chain(CausalConv1d(1, 4, 2, 2), stack()), "layer 1 takes local_condition.* the rate .* 1/2"),
        (lambda: Parallel(stack(), stack(local_channels=1)), "local_condition: 0 takes 2 channels, 1 takes 1"),
    ],
)  # fmt: skip
def test_parts_that_want_different_things_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_state_before_the_start_takes_no_condition_that_runs_along():
    with pytest.raises(ValueError, match="local_condition: runs along with the samples"):
        stack().initial_state(2, local_condition=TRACK)
    with pytest.raises(ValueError, match=r"expected global_condition of \(2, 3\), got \(2, 4\)"):
        stack().initial_state(2, global_condition=torch.zeros(2, 4))


def test_a_condition_without_its_name_is_named() -> None:
    stack = DilatedStack(2, 3, [1], global_channels=3)
    for module in (stack, Chain(stack)):
        with pytest.raises(TypeError, match=f"{type(module).__name__}: give conditions by name, as global_condition="):
            module(torch.zeros(1, 2, 5), torch.zeros(1, 3))


def test_arguments_are_checked_by_whatever_way_they_come():
    conv = CausalConv1d(2, 3, 2)
    x = torch.randn(1, 2, 5)
    assert torch.equal(conv(x=x), conv(x))
    for call in (conv, lambda x: conv.step(x=x, state=conv.initial_state())):
        with pytest.raises(TypeError, match=r"^CausalConv1d: expected a tensor of \(batch, 2, time\), got str"):
            call(x="samples")
        with pytest.raises(
            ValueError, match=r"^CausalConv1d: expected a signal of \(batch, 2, time\), got \(1, 3, 5\)"
        ):
            call(x=torch.zeros(1, 3, 5))
    assert torch.equal(conv.step(state=conv.initial_state(), x=x)[0], conv(x))
    with pytest.raises(ValueError, match="state of batch size 1, the signal's"):
        conv.step(x=x, state=conv.initial_state(2))


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (1, 2), (1, 3, 1)])
def test_a_condition_of_another_shape_is_refused(shape):
    block = GatedResidualBlock(2, 3, global_channels=3)
    with pytest.raises(ValueError, match=r"^GatedResidualBlock: expected global_condition of \(1, 3\), got \("):
        block(torch.zeros(1, 2, 5), global_condition=torch.zeros(shape))


def test_what_a_step_names():
    assert named_by(lambda self, x, state: None) == ((), False)
    assert named_by(lambda self, x, state, knob, *, track=None: None) == (("knob", "track"), False)
    assert named_by(lambda self, x, state, knob=None, **others: None) == (("knob",), True)
    assert named_by(lambda self, x, state, *knobs: None) == ((), False)


def test_parts_that_want_one_name_for_two_things():
    few, many, steady = (stack(**options) for options in ({}, {"local_channels": 5}, {"local_channels": 0}))
    assert merged_shapes([("a", few), ("b", steady)]) == {"global_condition": (3,), "local_condition": (2,)}
    with pytest.raises(ValueError, match="local_condition: a takes 2 channels, b takes 5 channels"):
        merged_shapes([("a", few), ("b", many)])
