"""Outputs cut to some samples, as training code cuts them for its loss: the field is that of one output."""

import pytest
import torch
from measured import Function
from networks import signal
from torch import nn
from torch.nn import functional as F

from wavedil.receptive import receptive_field, verify_receptive_field
from wavedil.receptive.trace import trace
from wavedil.receptive.verify import DisagreementError


def conv(kernel_size=3, channels=1, outs=1, **options):
    return nn.Conv1d(channels, outs, kernel_size, **options)


def centre(y, count):
    first = (y.shape[-1] - count) // 2
    return y[..., first : first + count]


class SkipSums(nn.Module):
    """A WaveNet in the usual way: skip sums cut to the shortest, the last n outputs as rows of a matrix."""

    def __init__(self, count):
        super().__init__()
        self.gates = nn.ModuleList([conv(2, 2, 4, dilation=2**i) for i in (0, 1, 2, 0, 1, 2)])
        self.residuals = nn.ModuleList([conv(1, 2, 2) for _ in self.gates])
        self.skips = nn.ModuleList([conv(1, 2, 3) for _ in self.gates])
        self.first, self.last, self.count = conv(1, 1, 2), conv(1, 3, 5), count

    def forward(self, x):
        x, skip = self.first(x), torch.zeros(())
        for gate, residual, project in zip(self.gates, self.residuals, self.skips, strict=True):
            a, b = gate(x).chunk(2, 1)
            y = a.tanh() * b.sigmoid()
            x = residual(y) + x[..., -y.shape[-1] :]
            own = project(y)
            skip = own + skip[..., -own.shape[-1] :] if skip.ndim else own
        y = self.last(skip.relu())[..., -self.count :]
        return y.transpose(1, 2).reshape(-1, 5)


def through_frames(x):
    return x.unfold(-1, 12, 6).sum(-1)


# A function of the signal, then what is expected: field, history, lookahead and hop.
CUTS = {
    "the last": (lambda x, net: net(x)[..., -16:], conv(), (3, 2, 0, 1)),
    "the first": (lambda x, net: net(x)[..., :16], conv(), (3, 0, 2, 1)),
    "the middle": (lambda x, net: centre(net(x), 16), conv(), (3, 1, 1, 1)),
    "the last two": (lambda x, net: net(x)[..., -2:], conv(), (3, 2, 0, 1)),
    "the last of padded ones": (lambda x, net: net(x)[..., -8:], conv(9, padding=4), (9, 4, 4, 1)),
    "fewer than read padding": (lambda x, net: net(x)[..., -3:], conv(9, padding=4), (9, 4, 4, 1)),
    "without channels": (lambda x, net: net(x)[:, 0, -16:], conv(), (3, 2, 0, 1)),
    "time before channels": (lambda x, net: net(x)[..., -16:].mT, conv(3, 1, 4), (3, 2, 0, 1)),
    "with a stride": (lambda x, net: net(x)[..., -6:], conv(8, stride=4), (8, 7, 0, 4)),
    "every fourth": (lambda x, net: net(x)[..., -64::4], conv(), (3, 5, 0, 4)),
    "upsampled": (lambda x, net: net(x)[..., -26:-2], nn.ConvTranspose1d(1, 1, 8, 4, 2), (2, 1, 1, 0.25)),
    "frames": (lambda x, net: through_frames(net(x))[..., -4:], conv(1), (12, 11, 0, 6)),
    "mirrored": (lambda x, net: net(F.pad(x, (6, 0), "reflect"))[..., -9:], conv(7), (7, 6, 0, 1)),
    "padded and cut": (lambda x, net: net(x)[..., : x.shape[-1]], conv(3, dilation=4, padding=8), (9, 8, 0, 1)),
    "the second half": (lambda x, net: net(x)[..., x.shape[-1] // 2 :], conv(5), (5, 4, 0, 1)),
    "to the length of a branch": (
        lambda x, net: centre(x, net(x[..., 40:-40]).shape[-1]) + net(x[..., 40:-40]), conv(), (3, 0, 2, 1),
    ),
    "interpolated": (
        lambda x, net: F.interpolate(net(x), scale_factor=2.0, mode="linear")[..., -20:],
        conv(padding=1), (4, 2, 1, 0.5),
    ),
    "resized": (
        lambda x, net: centre(F.interpolate(net(x[..., ::2]), size=x.shape[-1]), 40), conv(3, padding=1), (5, 3, 1, 1),
    ),
}  # fmt: skip


_OFTEN = ("the last", "the middle", "fewer than read padding", "with a stride", "upsampled", "mirrored")


@pytest.mark.parametrize("name", [n if n in _OFTEN else pytest.param(n, marks=pytest.mark.full) for n in CUTS])
def test_a_cut_output(name):
    function, net, expected = CUTS[name]
    module = Function(function, net=net)
    answer = receptive_field(module, signal(1, 200))
    assert answer.receptive_field == expected[0]
    assert answer.hop == expected[3]
    if expected[3] >= 1 and name != "to the length of a branch":  # a phase of several outputs may be counted otherwise
        assert (answer.history, answer.lookahead) == expected[1:3]
    found = verify_receptive_field(module, signal(1, 200))
    assert found.outputs == found.probed == answer.axes.time.field.outputs


@pytest.mark.parametrize(
    ("count", "length"), [(16, 60), *(pytest.param(*case, marks=pytest.mark.full) for case in ((1, 15), (48, 200)))]
)
def test_skip_sums_that_are_cut_to_the_shortest(count, length):
    answer = receptive_field(SkipSums(count), signal(1, length), taps=False)
    assert (answer.receptive_field, answer.history, answer.lookahead) == (15, 14, 0)


def test_rows_of_a_matrix_are_measured_one_by_one():
    assert verify_receptive_field(SkipSums(16), signal(1, 60)).probed == 1


def test_rows_of_several_signals_are_those_of_one():
    answer = receptive_field(SkipSums(16), torch.zeros(3, 1, 60))
    assert (answer.receptive_field, answer.lookahead) == (15, 0)


def test_the_last_of_a_causal_attention_read_the_past():
    def attend(x, net):
        y = net(x).mT
        return F.scaled_dot_product_attention(y, y, y, is_causal=True)[:, -16:]

    answer = receptive_field(Function(attend, net=conv(padding=1)), signal(1, 100))
    assert (answer.unbounded, answer.lookahead) == ("past", 1)


def test_pieces_behind_each_other():
    pieces = Function(lambda x, net: torch.cat([net(x[..., i : i + 10]) for i in range(0, 100, 10)], -1), net=conv())
    answer = receptive_field(pieces, signal(1, 150))
    assert (answer.receptive_field, answer.hop) == (3, 1.25)
    assert answer.notes == ("time: the module makes 80 outputs of any input, here of 300",)
    assert verify_receptive_field(pieces, signal(1, 150)).outputs == 8
    ends = Function(lambda x, net: torch.cat([net(x)[..., :8], net(x)[..., -8:]], -1), net=conv())
    answer = receptive_field(ends, signal(1, 100))
    assert answer.receptive_field == 3
    assert "holds of outputs 0 to 7 of 16" in answer.notes[-1]
    assert verify_receptive_field(ends, signal(1, 100)).outputs == 1


def test_the_cut_is_told_with_the_inputs_of_its_first_place():
    answer = receptive_field(Function(lambda x, net: net(x)[..., -16:], net=conv()), signal(1, 200))
    assert (answer.axes.time.start, answer.axes.time.end) == (-2, 0)
    assert answer.notes == (
        "time: the module makes 16 outputs of any input, here of 400",
        "time: the output is cut: of 400 inputs its first place reads inputs 382 to 384, and counts as output 384",
    )


def test_both_axes_of_a_cut_spectrogram():
    net = nn.Conv2d(1, 2, (3, 5), dilation=(1, 2), padding=(1, 0))
    answer = receptive_field(Function(lambda x, net: net(x)[..., -10:], net=net), torch.zeros(1, 1, 30, 60))
    assert (answer.receptive_field, answer.lookahead) == (9, 0)
    assert answer.axes["frequency"].receptive_field == 3
    assert answer.axes.time.holes == (-7, -5, -3, -1)


def test_the_last_states_of_a_recurrent_layer_read_the_past():
    module = Function(lambda x, net: net(x)[0][:, -16:], net=nn.GRU(2, 3, batch_first=True))
    answer = receptive_field(module, torch.zeros(1, 80, 2), time_axis=1)
    assert (answer.unbounded, answer.lookahead) == ("past", 0)


def test_a_flipped_cut_is_refused_like_a_flipped_signal():
    with pytest.raises(ValueError, match="the fields of neighbouring outputs are not alike"):
        receptive_field(Function(lambda x, net: net(x)[..., -16:].flip(-1), net=conv()), signal(1, 200))


def test_an_output_without_time_is_said_to_be_taken_together():
    kernels = nn.ModuleList([conv(3, padding=1), conv(5, padding=2)])
    last = Function(lambda x, kernels: torch.cat([k(x) for k in kernels], 1)[..., -1], kernels=kernels)
    answer = receptive_field(last, signal(1, 60))
    assert answer.receptive_field == 3  # what the two read within the input: 57 to 59
    assert "its elements taken together" in answer.notes[0]
    assert verify_receptive_field(last, signal(1, 60)).outputs == 1


@pytest.mark.parametrize("place", [0, 15])
def test_a_wrong_output_at_an_end_is_found(monkeypatch, place):
    module = Function(lambda x, net: net(x)[..., -16:], net=conv())
    traced = trace(module, signal(1, 200))
    where = traced.found.where(0)
    assert where is not None
    where.ends[place] += 1
    monkeypatch.setattr(type(traced.found), "where", lambda self, axis: where)
    with pytest.raises(DisagreementError, match=f"time: output {place} reads inputs"):
        verify_receptive_field(module, signal(1, 200), traced=traced)
