"""Each function of torch by itself: what it reads, and what no gradient shows."""

import pytest
import torch
from measured import Function, hull, signal, words
from torch import Tensor, nn
from torch.nn import functional as F

from wavedil.receptive.measure import gradient_reach

TIME = 40
ALL = (0, TIME - 1)
BEYOND = torch.ones(TIME, TIME, dtype=torch.bool).triu(1)  # what a causal attention must not see
WINDOW = BEYOND | torch.ones(TIME, TIME, dtype=torch.bool).tril(-6)
ADDITIVE = torch.zeros(TIME, TIME).masked_fill(BEYOND, -torch.inf)

ACTIVATIONS = words(
    "relu relu6 elu selu celu gelu silu mish leaky_relu hardtanh hardswish hardsigmoid hardshrink softshrink softplus "
    "softsign tanhshrink logsigmoid"
)
UNARY = words(
    "abs neg exp log log2 log1p expm1 sqrt rsqrt square reciprocal sin cos tanh sigmoid sign floor round ceil trunc "
    "erf acosh"
)


@pytest.mark.parametrize("name", [*ACTIVATIONS, *UNARY])
def test_elementwise_functions_read_one_input(name):
    function = getattr(F if name in ACTIVATIONS else torch, name)
    mask = gradient_reach(Function(function), signal(), (3, 20))
    assert mask.nonzero().tolist() == [[3, 20]]


# Functions of (batch, channels, time), and what output (..., 20) reads along time.
FUNCTIONS = {
    "prelu": (nn.PReLU(8), (20, 20)),
    "relu in place": (nn.ReLU(inplace=True), (20, 20)),
    "clamp": (lambda x: x.clamp(2, 3), (20, 20)),
    "clamp in place": (lambda x: x.clamp_(2, 3), (20, 20)),
    "power": (lambda x: 2 ** (x**2), (20, 20)),
    "difference": (lambda x: x[..., 1:] - x[..., :-1], (20, 21)),
    "difference of itself": (lambda x: x - x, (20, 20)),
    "diff": (lambda x: x.diff(), (20, 21)),
    "maximum of two": (lambda x: torch.max(x, x.roll(2, -1)), (18, 20)),
    "product": (lambda x: x.roll(1, -1) * x, (19, 20)),
    "quotient": (lambda x: x / x.roll(1, -1), (19, 20)),
    "where": (lambda x: torch.where(x > 0, x.roll(2, -1), 0.0), (18, 20)),
    "condition": (lambda x: x.roll(1, -1) * (x > 0).float(), (19, 20)),
    "condition seen through views": (lambda x: x.masked_fill(~(x.mT.roll(2, 1) > 0).mT, -9.0), (18, 20)),
    "quantise": (lambda x: (x * 100).round().to(torch.int8).float() / 100, (20, 20)),
    "straight through": (lambda x: x + (x.round() - x).detach(), (20, 20)),
    "data": (lambda x: x.data * 2, (20, 20)),
    "gated": (lambda x: F.glu(x, dim=1), (20, 20)),
    "dropout": (lambda x: F.dropout(x, 0.99), (20, 20)),
    "normalised": (lambda x: F.normalize(x, dim=-1), ALL),
    "softmax": (lambda x: F.softmax(x, dim=-1), ALL),
    "softmax over channels": (lambda x: F.log_softmax(x, dim=1), (20, 20)),
    "global maximum": (lambda x: x / x.max(), ALL),
    "running maximum": (lambda x: x.cummax(dim=-1), (0, 20)),
    "running product": (lambda x: x.cumprod(dim=-1), (0, 20)),
    "sum of the past": (lambda x: x.cumsum(dim=-1), (0, 20)),
    "max pool": (nn.MaxPool1d(3, stride=1, padding=1, dilation=2), (19, 23)),
    "max pool, stride": (lambda x: F.max_pool1d(x, 3, 2, 1).repeat_interleave(2, -1), (19, 21)),
    "max pool, ceil": (lambda x: F.max_pool1d(x, 3, ceil_mode=True).repeat(1, 1, 2)[..., 7:], (39, 39)),
    "max pool with indices": (lambda x: F.max_pool1d(x, 2, 1, return_indices=True), (20, 21)),
    "max pool 2d": (nn.MaxPool2d((2, 3), stride=1), (20, 22)),
    "max pool 2d with indices": (nn.MaxPool2d((2, 3), stride=1, return_indices=True), (20, 22)),
    "adaptive max pool": (nn.AdaptiveMaxPool1d(35), (22, 23)),
    "nearest": (lambda x: F.interpolate(x, scale_factor=2), (10, 10)),
    "linear": (lambda x: F.interpolate(x, scale_factor=2, mode="linear"), (9, 10)),
    "cubic": (lambda x: F.interpolate(x[None], scale_factor=2, mode="bicubic"), (8, 11)),
    "unfold": (lambda x: x.unfold(-1, 4, 1).sum(dim=-1), (20, 23)),
    "group norm": (nn.GroupNorm(2, 8), ALL),
    "layer norm over channels": (lambda x: F.layer_norm(x.mT, (8,)).mT, (20, 20)),
    "layer norm over one": (lambda x: F.layer_norm(x[..., None], (1,))[..., 0], (20, 20)),
    "instance norm": (nn.InstanceNorm1d(8), ALL),
    "batch norm in training": (nn.BatchNorm1d(8), ALL),
    "batch norm": (nn.BatchNorm1d(8).eval(), (20, 20)),
    "rms norm": (nn.RMSNorm(TIME), ALL),
    "other precisions": (lambda x: x.float().half() * torch.ones(1, dtype=torch.bfloat16), (20, 20)),
    "checks": (lambda x: x * 2 if bool((x > -9).all()) and not torch.isnan(x).any().item() else x.sum(), (20, 20)),
    "printing": (lambda x: x * len(f"{x}"), (20, 20)),
    "constant masks": (lambda x: x.masked_fill(BEYOND[20].expand_as(x), 0.0) + x * BEYOND[0].type_as(x), (20, 20)),
    "constants like the input": (lambda x: torch.ones_like(x, dtype=torch.bool) * x.new_ones(1).long() * x, (20, 20)),
}


@pytest.mark.parametrize(("function", "expected"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions(function, expected):
    assert hull(function, signal(), (..., 20)) == expected


ALONG = words("amax amin max min median mode prod logsumexp std var norm nanmedian sort")
REDUCTIONS = {name: getattr(torch, name) for name in ALONG}
REDUCTIONS |= {
    "top": lambda x, dim: x.topk(2, dim),
    "k-th": lambda x, dim: x.kthvalue(2, dim, keepdim=True),
    "quantile": lambda x, dim: x.quantile(torch.tensor([0.3, 0.4], dtype=x.dtype), dim),
    "extremes": lambda x, dim: torch.aminmax(x, dim=dim),
    "mean and variance": lambda x, dim: torch.var_mean(x, dim)[0],
}


@pytest.mark.parametrize("function", REDUCTIONS.values(), ids=REDUCTIONS)
def test_reductions_read_all_that_they_reduce_and_no_more(function):
    mask = gradient_reach(Function(lambda x: function(x, dim=1)), signal(), (..., 20))
    assert mask.any(dim=0).nonzero().flatten().tolist() == [20]
    assert mask[:, 20].all()


def test_a_masked_maximum_does_not_read_what_is_masked():
    assert hull(lambda x: (x[:, :, None] + ADDITIVE).amax(dim=-1), signal(), (..., 20)) == (0, 20)


def test_results_written_into_a_buffer_and_into_views():
    def write(x):
        y = torch.zeros(1, 8, TIME)
        y[..., 1:] = x[..., :-1]
        first, second = y[..., :20], y[..., 20:]
        # Sigmoid's gradient needs its result, which is overwritten.
        second.sigmoid_().mul_(3)
        second += first
        y[x > 0] = 0
        return y

    assert gradient_reach(Function(write), signal(), (0, 20))[0].nonzero().flatten().tolist() == [19, 20]
    assert gradient_reach(Function(write), signal(), (0, 21))[0].nonzero().flatten().tolist() == [0, 20, 21]


def test_a_module_that_forbids_gradients_reads_all_the_same():
    def frozen(x, conv):
        with torch.no_grad():
            x = conv(x)
        with torch.inference_mode():
            return conv(x) * torch.ones(1)

    assert hull(Function(frozen, conv=nn.Conv1d(8, 8, 3)), signal(), (..., 20)) == (20, 24)


@pytest.mark.parametrize(
    ("window", "n_fft", "center", "expected"),
    [
        (torch.ones(8), 8, True, (16, 23)),
        (torch.hann_window(8), 8, True, (17, 23)),
        (torch.ones(4), 16, False, (26, 29)),
    ],
    ids=["boxcar", "hann starts at zero", "short window"],
)
def test_power_spectrograms(window, n_fft, center, expected):
    def power(x):
        spectrum = torch.stft(x[:, 0], n_fft, 4, len(window), window.to(x), center, return_complex=True)
        return spectrum.abs().square()

    assert hull(power, signal(1), (..., 5)) == expected
    assert hull(lambda x: torch.fft.rfft(x[:, 0]), signal(1), (3,)) == ALL


RECURRENT = {
    "gru": (nn.GRU, {}, (0, 20)),
    "lstm": (nn.LSTM, {"num_layers": 2}, (0, 20)),
    "lstm projected": (nn.LSTM, {"proj_size": 3}, (0, 20)),
    "rnn": (nn.RNN, {"nonlinearity": "relu", "batch_first": True}, (0, 20)),
    "both ways": (nn.GRU, {"bidirectional": True}, ALL),
    "both ways, batch first": (nn.LSTM, {"bidirectional": True, "batch_first": True, "num_layers": 2}, ALL),
}


def over_time(x, layer):
    if layer.batch_first:
        return layer(x.mT)[0].mT
    return layer(x.permute(2, 0, 1))[0].permute(1, 2, 0)


@pytest.mark.parametrize(("kind", "options", "expected"), RECURRENT.values(), ids=RECURRENT)
def test_recurrent_layers(kind, options, expected):
    assert hull(Function(over_time, layer=kind(8, 4, **options)), signal(), (..., 20)) == expected


def test_directions_layers_and_states_of_a_recurrence():
    layer = nn.LSTM(8, 4, bidirectional=True)
    both_ways = Function(over_time, layer=layer)
    assert [hull(both_ways, signal(), (unit, 20)) for unit in (3, 4)] == [(0, 20), (20, 39)]
    states = Function(lambda x, layer: layer(x.permute(2, 0, 1))[1][1].transpose(0, 1), layer=layer)
    assert hull(states, signal(), (1, 2)) == ALL

    def from_states(h, layer):
        return layer(torch.zeros(9, 1, 8), (h.transpose(0, 1), h.transpose(0, 1)))[0].transpose(0, 1)

    # The forward units read the forward state, of (direction, unit).
    mask = gradient_reach(Function(from_states, layer=layer), torch.zeros(1, 2, 4), (5, 0))
    assert mask.tolist() == [[True] * 4, [False] * 4]


@pytest.mark.parametrize(
    "cell", [nn.LSTMCell(2, 3), nn.GRUCell(2, 3), nn.RNNCell(2, 3)], ids=lambda c: type(c).__name__
)
def test_a_loop_over_a_cell_reads_the_past_however_long(cell):
    def loop(x, cell):
        state, outputs = None, []
        for t in range(x.shape[-1]):
            state = cell(x[..., t], state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, dim=-1)

    assert hull(Function(loop, cell=cell), signal(2, 400), (..., 300)) == (0, 300)


MASKS = {
    "none": (None, ALL),
    "bool": (BEYOND, (0, 20)),
    "window": (WINDOW, (15, 20)),
    "additive": (ADDITIVE, (0, 20)),
    "a row that sees nothing": (ADDITIVE.index_fill(0, torch.tensor(3), -torch.inf), (0, 20)),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize(("mask", "expected"), MASKS.values(), ids=MASKS)
def test_multihead_attention(mask, expected, need_weights, training):
    def attend(x, layer):
        x = x.mT
        return layer(x, x, x, attn_mask=mask, need_weights=need_weights)[0].mT

    module = Function(attend, layer=nn.MultiheadAttention(8, 2, batch_first=True)).train(training)
    assert hull(module, signal(), (..., 20)) == expected


def test_a_transformer_encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    module = Function(lambda x, encoder: encoder(x.mT, mask=WINDOW).mT, encoder=encoder)
    assert hull(module, signal(), (..., 20)) == (10, 20)


def heads(x):
    return x.view(1, 4, 2, TIME).mT


def by_hand(mask):
    return lambda x: mask(x @ x.mT / 8**0.5).softmax(-1) @ x


def stable(x):
    scores = (x @ x.mT).masked_fill(BEYOND, -torch.inf)
    powers = (scores - scores.max(dim=-1, keepdim=True).values).exp()
    return powers / powers.sum(dim=-1, keepdim=True) @ x


CAUSAL = {
    "is_causal": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "mask": lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=~BEYOND),
    "dead row": lambda x: F.scaled_dot_product_attention(
        x, x, x, attn_mask=MASKS["a row that sees nothing"][0].double()
    ),
    "filled": by_hand(lambda scores: scores.masked_fill(BEYOND, -torch.inf)),
    "filled in place": by_hand(lambda scores: scores.masked_fill_(BEYOND, -torch.inf)),
    "added": by_hand(lambda scores: scores + torch.where(BEYOND, -1e9, 0.0)),
    "added in place": by_hand(lambda scores: scores.add_(ADDITIVE)),
    "multiplied": by_hand(lambda scores: scores * ~BEYOND - 1e4 * BEYOND),
    "chosen": by_hand(lambda scores: torch.where(BEYOND, torch.finfo(scores.dtype).min, scores)),
    "stable": stable,
}


@pytest.mark.parametrize("attend", CAUSAL.values(), ids=CAUSAL)
def test_causal_attention_however_it_is_spelt(attend):
    for place in (0, 20):
        assert hull(lambda x: attend(x.mT).mT, signal(), (..., place)) == (0, place)


def test_grouped_heads():
    def attend(x):
        keys = heads(x)[:, :2]
        return F.scaled_dot_product_attention(heads(x), keys, keys, is_causal=True, enable_gqa=True)

    mask = gradient_reach(Function(attend), signal(), (3, 20))
    # Head 3 has its own query, channels 6 and 7, and shares the key and value of channels 2 and 3.
    assert mask.any(dim=1).nonzero().flatten().tolist() == [2, 3, 6, 7]


def test_what_no_gradient_shows_is_an_error():
    table = torch.ones(8, 4)
    for function, message in (
        (lambda x: F.embedding(x.argmax(dim=1), table), "embedding reads where an index"),
        (lambda x: x.gather(1, x.argsort(dim=1)), "gather reads where an index"),
        (lambda x: x[x > 0], "__getitem__ reads where"),
        (lambda x: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), [2]), "max_unpool2d reads where"),
        (lambda x: x / x.abs().max().item(), "item takes numbers computed from the input out of torch"),
        (lambda x: x[..., : int((x > 0).sum())], "__int__ takes numbers"),
        (lambda x: torch.from_numpy(x.detach().numpy()), "numpy takes numbers"),
        (lambda x: x.argmax(dim=1), "output is torch.int64, expected floating point"),
    ):
        with pytest.raises(ValueError, match=message):
            gradient_reach(Function(function), signal(), 0)
    packed = Function(lambda x, gru: gru(nn.utils.rnn.pack_sequence([x[0].mT]))[1], gru=nn.GRU(8, 4))
    with pytest.raises(ValueError, match="gru got a packed sequence"):
        gradient_reach(packed, signal(), 0)


def test_constants_read_nothing():
    assert hull(lambda x: x.new_ones(1, 8, TIME) * 2, signal(), (..., 20)) is None
    assert hull(lambda x: x * torch.zeros(TIME), signal(), (..., 20)) is None


def test_complex_signals():
    x = torch.zeros(1, 2, TIME, dtype=torch.complex64)
    shifted: Tensor = gradient_reach(Function(lambda z: z.real * z.imag.roll(1, -1)), x, (0, 20))
    assert shifted.nonzero().tolist() == [[0, 19], [0, 20]]
