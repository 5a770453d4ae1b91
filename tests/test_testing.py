"""The contract's check fails on modules that break it, each in one way."""

import pytest
import torch
from torch import Tensor

from wavedil.layers import CausalConv1d, DilatedStack, State
from wavedil.receptive import Field
from wavedil.testing import verify_streaming_contract


class Conv(CausalConv1d):
    """A convolution to be broken: five taps, two channels."""

    def __init__(self) -> None:
        super().__init__(2, 2, 5)


class ForgetsItsState(Conv):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return super().step(x, state)[0], state


class WritesIntoItsState(Conv):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, following = super().step(x, state)
        with torch.no_grad():
            state[0].copy_(following[0])
        return y, following


class AliasesItsOutput(Conv):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, (buffer,) = super().step(x, state)
        joined = torch.cat([y, buffer], dim=-1)
        return joined[..., : y.shape[-1]], (joined[..., y.shape[-1] :],)


class SavesItsState(Conv):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("buffer", torch.zeros(1))


class LosesGradients(Conv):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, following = super().step(x, state)
        return y, tuple(t.detach() for t in following)


class ClaimsTooLittle(Conv):
    @property
    def field(self) -> Field:
        return Field.convolution(4, padding=3)


class ClaimsTooMuch(Conv):
    @property
    def field(self) -> Field:
        return Field.convolution(6, padding=5)


class LooksAhead(Conv):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.roll(-1, dims=-1))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (ForgetsItsState, "streamed differs by"),
        (LooksAhead, "streamed differs by"),
        (LosesGradients, "streamed gradients differ by"),
        (WritesIntoItsState, "state buffer was changed in place"),
        (AliasesItsOutput, "state buffer shares memory with output 0"),
        (SavesItsState, r"state \['buffer'\] is in the state_dict"),
        (ClaimsTooLittle, "an input outside .* reaches output"),
        (ClaimsTooMuch, "input .* does not reach output"),
    ],
)
def test_what_breaks_the_contract_is_named(module, message):
    with pytest.raises(AssertionError, match=message):
        verify_streaming_contract(module())


def test_an_intact_one_passes_and_reports_its_errors():
    report = verify_streaming_contract(Conv())
    assert 0 <= report.float64 <= 1e-12
    assert 0 <= report.float32 <= 1e-5
    assert report.backends == {}


def test_a_signal_shorter_than_the_field_proves_nothing_and_is_refused():
    with pytest.raises(AssertionError, match="3 samples do not hold a receptive field of 7"):
        verify_streaming_contract(DilatedStack(2, 3, [1, 2], lookahead=2), time=3)


def test_unknown_backend():
    with pytest.raises(ValueError, match="backend must be 'compile', 'capture', 'export' or 'onnx', got 'tvm'"):
        verify_streaming_contract(Conv(), backends=["tvm"])
