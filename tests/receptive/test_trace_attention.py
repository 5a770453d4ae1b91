"""Traced fields of attention, masked or not, of recurrent layers and running sums: past, everything or less."""

import math

import pytest
import torch
from measured import Function
from networks import as_measured, facts, signal
from sweeps import sweep
from torch import nn
from torch.nn import functional as F

from wavedil.receptive.trace import trace

INF = math.inf
EVERYTHING = (-INF, INF, 1)
PAST = (-INF, 0, 1)


def triangle(x, dtype=torch.bool):
    """True above the diagonal: what a causal model may not read."""
    return torch.ones(x.shape[-1], x.shape[-1], dtype=dtype).triu(1)


def attend(x, scores):
    return (scores.softmax(-1) @ x.mT).mT


def multi_head(x, layer, **options):
    return layer(x.mT, x.mT, x.mT, **options)[0].mT


def encoder(x, layers, mask):
    return layers(x.mT, mask=nn.Transformer.generate_square_subsequent_mask(x.shape[-1]) if mask else None).mT


def heads(x, layer):
    """Causal attention as in small GPTs: one projection, a mask in a buffer, scores by an Einstein sum."""
    q, k, v = (part.unflatten(-1, (2, 4)) for part in layer.project(x.mT).chunk(3, -1))
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / 2
    scores = scores.masked_fill(layer.mask[: x.shape[-1], : x.shape[-1]] == 0, -INF)
    return torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v).flatten(2).mT


def buffered(length):
    layer = nn.Module()
    layer.project = nn.Linear(8, 24)
    layer.register_buffer("mask", torch.ones(length, length).tril())
    return layer


def grouped(x):
    q, k, v = x.mT.unflatten(-1, (4, 2)).split((2, 1, 1), -2)
    return (
        F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (q, k, v)), is_causal=True, enable_gqa=True)
        .transpose(1, 2)
        .flatten(2)
        .mT
    )


def attention():
    return nn.MultiheadAttention(8, 2, batch_first=True)


LAYERS = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False)
FLOAT_MASK = nn.Transformer.generate_square_subsequent_mask

ATTENTION = {
    "layer": (Function(lambda x, a: multi_head(x, a), a=attention()), EVERYTHING),
    "layer, trained": (Function(lambda x, a: multi_head(x, a), a=attention()).eval(), EVERYTHING),
    "layer, float mask": (
        Function(lambda x, a: multi_head(x, a, attn_mask=FLOAT_MASK(x.shape[-1]), need_weights=False), a=attention()),
        PAST,
    ),
    "layer, truth mask": (
        Function(lambda x, a: multi_head(x, a, attn_mask=triangle(x), need_weights=False), a=attention()),
        PAST,
    ),
    "layer, weights too": (Function(lambda x, a: multi_head(x, a, attn_mask=triangle(x)), a=attention()), PAST),
    "layer, declared causal": (
        Function(
            lambda x, a: multi_head(x, a, attn_mask=triangle(x), is_causal=True, need_weights=False), a=attention()
        ).eval(),
        PAST,
    ),
    "encoder": (Function(encoder, layers=LAYERS, mask=nn.Identity()).eval(), PAST),
    "encoder without a mask": (Function(lambda x, layers: layers(x.mT).mT, layers=LAYERS).eval(), EVERYTHING),
    "scaled, causal": (lambda x: F.scaled_dot_product_attention(x.mT, x.mT, x.mT, is_causal=True).mT, PAST),
    "scaled, full": (lambda x: F.scaled_dot_product_attention(x.mT, x.mT, x.mT).mT, EVERYTHING),
    "grouped queries": (grouped, PAST),
    "filled with -inf": (lambda x: attend(x, (x.mT @ x).masked_fill(triangle(x), -INF)), PAST),
    "filled with -1e9": (lambda x: attend(x, (x.mT @ x / 8).masked_fill(triangle(x), -1e9)), PAST),
    "filled with the least": (
        lambda x: attend(x, (x.mT @ x).masked_fill(triangle(x), torch.finfo(x.dtype).min)),
        PAST,
    ),
    "chosen": (lambda x: attend(x, torch.where(triangle(x), -INF, x.mT @ x)), PAST),
    "added": (lambda x: attend(x, x.mT @ x + triangle(x, torch.float) * -1e9), PAST),
    "subtracted": (lambda x: attend(x, x.mT @ x - 1e9 * triangle(x, torch.float)), PAST),
    "in a buffer": (Function(heads, layer=buffered(1024)), PAST),
    "distance is no mask": (
        lambda x: attend(x, x.mT @ x - 0.5 * (torch.arange(x.shape[-1])[:, None] - torch.arange(x.shape[-1])).abs()),
        EVERYTHING,
    ),
    "multiplied afterwards": (lambda x: (((x.mT @ x).softmax(-1) * (~triangle(x)).float()) @ x.mT).mT, EVERYTHING),
    "linear": (lambda x: (x.mT.softmax(-1) @ (x.softmax(-1) @ x.mT)).mT, EVERYTHING),
    "linear, causal": (lambda x: ((x.mT @ x).tril() @ x.mT).mT, PAST),
}  # fmt: skip


@pytest.mark.parametrize("name", sweep(ATTENTION, lambda name: name not in ("encoder without a mask", "in a buffer")))
def test_attention(name):
    module, expected = ATTENTION[name]
    assert facts(as_measured(module, signal(8, 40))) == expected


def test_the_switches_of_torch_are_left_as_they_were():
    before, enabled = nn.modules.transformer._detect_is_causal_mask, torch.backends.mha.get_fastpath_enabled()
    trace(CONV, signal())
    with pytest.raises(ValueError, match="have 1 channels"):
        trace(CONV, signal(4))
    assert nn.modules.transformer._detect_is_causal_mask is before
    assert torch.backends.mha.get_fastpath_enabled() is enabled


def banded(x, left, right, how):
    distance = torch.arange(x.shape[-1])[:, None] - torch.arange(x.shape[-1])
    out = (distance > left) | (distance < -right)
    if how == "scaled":
        return F.scaled_dot_product_attention(x.mT, x.mT, x.mT, attn_mask=~out).mT
    if how == "filled":
        return attend(x, (x.mT @ x).masked_fill(out, -INF))
    return attend(x, x.mT @ x + torch.zeros(out.shape).masked_fill(out, -INF))


@pytest.mark.parametrize("how", ["scaled", "filled", "added"])
def test_attention_to_a_band_is_bounded(how):
    module = Function(lambda x, conv: conv(banded(conv(x), 5, 3, how)), conv=nn.Conv1d(8, 8, 3, padding=1))
    assert facts(as_measured(module, signal(8, 40))) == (-7, 5, 1)


def test_a_window_longer_than_the_example_is_no_unbounded_past():
    assert facts(as_measured(lambda x: banded(x, 150, 0, "filled"), signal(2, 40))) == (-150, 0, 1)


def test_one_direction_of_two():
    layer = nn.RNN(4, 3, batch_first=True, bidirectional=True)
    forward, backward = (
        Function(lambda x, layer, part=part: layer(x.mT)[0][..., part].mT, layer=layer)
        for part in (slice(3), slice(3, 6))
    )
    assert facts(as_measured(forward, signal(4, 32))) == PAST
    assert facts(trace(backward, signal(4, 32))) == EVERYTHING


def recurrent(layer, **options):
    """After a convolution that looks one ahead, with a stride of 2."""
    return Function(
        lambda x, conv, layer: layer(conv(x).mT)[0].mT,
        conv=nn.Conv1d(1, 4, 3, padding=1, stride=2),
        layer=layer(4, 3, batch_first=True, **options),
    )


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layers(layer, bidirectional):
    expected = (-INF, INF if bidirectional else 1, 2)
    assert facts(as_measured(recurrent(layer, bidirectional=bidirectional), signal(1, 32))) == expected


CONV = nn.Conv1d(1, 4, 3, padding=1)


def looped(x, cell):
    state, states = torch.zeros(1, 4), []
    for t in range(x.shape[-1]):
        state = cell(x[..., t], state)
        states.append(state)
    return torch.stack(states, -1)


RECURRENT = {
    "time first": (
        lambda x, conv, layer: layer(conv(x).permute(2, 0, 1))[0].permute(1, 2, 0), nn.RNN(4, 3), (-INF, 1, 1)
    ),
    "states given": (
        lambda x, conv, layer: layer(conv(x).mT, torch.zeros(1, 1, 3))[0].mT,
        nn.RNN(4, 3, batch_first=True),
        (-INF, 1, 1),
    ),
    "states of everything": (
        lambda x, conv, layer: layer(conv(x).mT, conv(x).mean(-1)[None, :, :3].contiguous())[0].mT,
        nn.RNN(4, 3, batch_first=True),
        EVERYTHING,
    ),
    "last state": (lambda x, conv, layer: layer(conv(x).mT)[1][-1], nn.RNN(4, 3, batch_first=True), EVERYTHING),
    "last output": (lambda x, conv, layer: layer(conv(x).mT)[0][:, -1], nn.RNN(4, 3, batch_first=True), EVERYTHING),
    "within frames of ten": (
        lambda x, conv, layer: layer(conv(x).reshape(4, -1, 10).permute(1, 2, 0))[0].reshape(1, -1, 3).mT,
        nn.RNN(4, 3, batch_first=True),
        (-1, 1, 1),
    ),
    "cell in a loop": (lambda x, conv, layer: looped(x, layer), nn.GRUCell(1, 4), PAST),
}  # fmt: skip


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrence(name):
    function, layer, expected = RECURRENT[name]
    assert facts(as_measured(Function(function, conv=CONV, layer=layer), signal(1, 20))) == expected


def test_a_recurrence_within_frames_starts_anew_with_each():
    function, layer, _ = RECURRENT["within frames of ten"]
    field = trace(Function(function, conv=CONV, layer=layer), signal(1, 20)).fields[0]
    assert [field.at(n) for n in (0, 1, 9, 10)] == [(-1, 1), (-1, 2), (-1, 10), (9, 11)]


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"])
def test_running_sums_and_extremes(name):
    def run(x, conv):
        result = getattr(torch, name)(conv(x), -1)
        return result if isinstance(result, torch.Tensor) else result[0]

    assert facts(as_measured(Function(run, conv=CONV), signal())) == (-INF, 1, 1)


def test_a_running_sum_from_the_end_reads_all_that_comes():
    assert facts(trace(Function(lambda x: x.flip(-1).cumsum(-1).flip(-1)), signal())) == EVERYTHING


def test_convolution_with_a_kernel_that_is_computed():
    """Hyper-networks: a kernel of the whole signal, and weights of each place."""
    whole = Function(lambda x, net: F.conv1d(x, net(x.mean(-1)).reshape(1, 1, 3)), net=nn.Linear(1, 3))
    assert facts(as_measured(whole, signal())) == EVERYTHING
    local = Function(
        lambda x, net: (x.unfold(-1, 3, 1) * net(x)[..., 2:].mT[:, None]).sum(-1),
        net=nn.Conv1d(1, 3, 2, padding="same"),
    )
    assert facts(as_measured(local, signal())) == (0, 3, 1)
