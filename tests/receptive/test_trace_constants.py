"""Constants that take their shape or type from the signal: they depend on nothing."""

import pytest
import torch
from torch import nn

import wavedil


class Shaped(nn.Module):
    """A convolution that meets a constant of the shape of the signal."""

    def __init__(self, constant) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 5)
        self.constant = constant

    def forward(self, x):
        return self.conv(x) + self.constant(x)[..., 4:]


@pytest.mark.parametrize(
    "constant",
    [
        lambda x: torch.ones(1, 1, 1).expand_as(x),
        lambda x: torch.arange(x.shape[-1]).view_as(x),
        lambda x: torch.arange(x.shape[-1]).reshape_as(x).type_as(x),
        lambda x: x.clone().fill_(0.3),
        lambda x: x.clone().copy_(torch.ones(1)),
    ],
)
def test_a_constant_of_the_shape_of_the_signal_reads_nothing(constant):
    answer = wavedil.receptive_field(Shaped(constant), torch.zeros(1, 1, 32))
    assert (answer.receptive_field, answer.lookahead, answer.exact) == (5, 4, True)


class Spectral(nn.Module):
    """A convolution by Fourier transform, of which the kernel is written in the precision of the signal."""

    def forward(self, x):
        kernel, length = torch.arange(1, 9).type_as(x), x.shape[-1] + 7
        return torch.fft.irfft(torch.fft.rfft(x, n=length) * torch.fft.rfft(kernel, n=length), n=length)


def test_a_kernel_in_the_precision_of_the_signal_leaves_a_convolution_by_spectra_a_bound():
    assert not wavedil.receptive_field(Spectral(), torch.zeros(1, 1, 32)).exact
