"""What is no more than an upper bound is said to be one, and so are outputs that are unlike the others."""

import pytest
import torch
from measured import Function
from networks import signal
from torch import nn
from torch.nn import functional as F

from wavedil.receptive import answer_for, receptive_field
from wavedil.receptive.description import Geometry, Layer
from wavedil.receptive.text import text


def by_transform(x, net):
    """A convolution with a kernel of 9 as a product of spectra."""
    n = x.shape[-1] + 8
    return torch.fft.irfft(torch.fft.rfft(x, n) * torch.fft.rfft(net.weight[0, 0], n), n)[..., : x.shape[-1]]


def by_complex_transform(x, net):
    n = x.shape[-1] + 8
    product = torch.fft.fft(F.pad(x, (8, 0)), n) * torch.fft.fft(net.weight[0, 0], n)
    return torch.fft.ifft(product).real[..., 8:]


def by_frames(x, net):
    window = torch.ones(16)
    spectrum = torch.stft(x[:, 0], 16, 16, window=window, center=False, return_complex=True)
    return torch.istft(spectrum * net.weight[0, 0, 0], 16, 16, window=window, center=False)


def moving_sum(x, net):
    total = net(x).cumsum(-1)
    return total[..., 5:] - total[..., :-5]


BOUNDS = {
    "spectra": (by_transform, "fft_irfft in the module itself transforms a linear function of a spectrum back"),
    "complex spectra": (by_complex_transform, "fft_ifft in the module itself transforms a linear function"),
    "frames": (by_frames, "istft in the module itself transforms a linear function"),
    "running sums": (moving_sum, "sub in the module itself may take running sums from each other"),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_what_may_cancel_is_a_bound(name):
    function, note = BOUNDS[name]
    answer = receptive_field(Function(function, net=nn.Conv1d(1, 1, 9)), signal(1, 200))
    assert not answer.exact
    assert not answer.to_json()["exact"]
    assert any(said.startswith(note) and said.endswith("the field is an upper bound") for said in answer.notes)


def test_spectra_that_a_network_changes_are_exact():
    def masked(x):
        window = torch.hann_window(16)
        spectrum = torch.stft(x[:, 0], 16, 4, window=window, return_complex=True)
        return torch.istft(spectrum * spectrum.abs().sigmoid(), 16, 4, window=window)

    answer = receptive_field(Function(masked), signal(1, 200))
    assert answer.exact
    assert answer.receptive_field == 27  # 15 samples of each frame, and those 12 further


def test_a_measured_bound_is_not_called_verified():
    answer = receptive_field(Function(by_transform, net=nn.Conv1d(1, 1, 9)), signal(1, 100))
    found = {"length": 100, "outputs": 1, "probed": 0, "taps": False, "notes": []}
    shown = text(type(answer)(**{**answer.__dict__, "verification": found}))
    assert "verified" not in shown
    assert "measured: 1 output within the bound" in shown


def test_what_reads_everything_names_the_operator():
    net = nn.Sequential(nn.Conv1d(1, 4, 3), nn.GroupNorm(2, 4), nn.Conv1d(4, 1, 3))
    answer = receptive_field(net, signal(1, 60))
    assert answer.unbounded == "everything"
    assert answer.notes == ("time: an output reads everything from group_norm in 1 on",)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_outputs_that_read_mirrored_samples_are_told(mode):
    net = nn.Conv1d(1, 1, 7)
    answer = receptive_field(Function(lambda x, net: net(F.pad(x, (6, 0), mode)), net=net), signal(1, 60))
    assert (answer.axes.time.start, answer.axes.time.end) == (-6, 0)
    read = {"reflect": "0 to 6", "replicate": None, "circular": "0 to 119"}[mode]
    if read is None:  # a repeated first sample is read anyway
        assert answer.notes == ()
    else:
        assert len(answer.notes) == 1
        assert answer.notes[0].endswith(f"circular padding lets those at the ends: output 0 reads inputs {read} of 120")


def test_the_last_frame_of_a_centred_transform_is_told():
    def frames(x):
        return torch.stft(x[:, 0], 16, 4, window=torch.hann_window(16), return_complex=True).abs()

    answer = receptive_field(Function(frames), signal(1, 400))
    assert answer.receptive_field == 15
    assert "1 of 101 outputs read beyond their part of the field" in answer.notes[0]
    # Its window goes on to 407, of which input 391 is the mirror image.
    assert answer.notes[0].endswith("output 100 reads inputs 391 to 399 of 400")


def test_a_described_bound_is_said_to_be_one():
    gaps = Layer("up", "transposed", Geometry(2, 4, transposed=True))
    wide = Layer("wide", "conv", Geometry(2, dilation=10**7))
    assert answer_for([gaps]).exact
    answer = answer_for([gaps, wide])
    assert not answer.exact
    assert answer.notes[-1] == "behind a transposed layer whose kernel leaves gaps the field is an upper bound"
    assert answer_for([wide]).exact
