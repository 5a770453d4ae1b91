"""Inputs between outputs that read everything, of modules that round the length of their output to whole strides."""

import pytest
import torch
from sweeps import sweep
from torch import nn

import wavedil


class Rounded(nn.Module):
    """An encoder and a decoder of stride 16 with the mean over time between them, as recurrent layers there read it."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv1d(1, 2, 8, 4), nn.Conv1d(2, 2, 8, 4))
        self.up = nn.Sequential(nn.ConvTranspose1d(2, 2, 8, 4), nn.ConvTranspose1d(2, 1, 8, 4))

    def forward(self, x):
        frames = self.down(x)
        return self.up(frames - frames.mean(-1, keepdim=True))


@pytest.mark.parametrize("length", sweep([350, 401, 1000], lambda length: length == 350))
def test_rounded_lengths_do_not_change_the_hop(length):
    answer = wavedil.receptive_field(Rounded(), torch.zeros(1, 1, length))
    assert (answer.hop, answer.unbounded) == (1, "everything")
