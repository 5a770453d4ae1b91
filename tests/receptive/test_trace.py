"""What a trace takes and answers: inputs, outputs, layouts, modes, notes, and errors that say what is wrong."""

import copy
import math
from fractions import Fraction

import pytest
import torch
from measured import Function
from networks import as_measured, facts, signal
from torch import nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from wavedil.receptive.trace import UnknownOperatorError, receptive_field, trace

INF = math.inf
EVERYTHING = (-INF, INF, 1)


def conv(channels=1, outs=1, kernel_size=3, **options):
    return nn.Conv1d(channels, outs, kernel_size, **options)


def test_the_answer_of_a_strided_network():
    """By hand: 3 + 2 * 4 = 11 inputs, 32 and 64 weights, each of the first for 2 inputs, of the second for 4."""
    network = nn.Sequential(conv(1, 8, stride=2, padding=1), nn.ReLU(), conv(8, 2, 5, stride=2, bias=False))
    answer = receptive_field(network, signal(), sample_rate=100)
    axis = answer.axes.time
    assert (axis.receptive_field, axis.start, axis.end, axis.hop) == (11, -1, 9, 4)
    assert (axis.history, axis.lookahead) == (4, 6)
    assert (axis.dense, axis.holes, axis.unbounded) == (True, (), None)
    assert answer.parameters == 8 * 3 + 8 + 2 * 8 * 5
    assert [row.name for row in answer.layers] == ["0", "2"]
    assert [(row.time.kernel_size, row.time.stride, row.time.receptive_field) for row in answer.layers] == [
        (3, 2, 3), (5, 2, 11),
    ]  # fmt: skip
    assert answer.macs_per_sample == pytest.approx(8 * 3 / 2 + 2 * 8 * 5 / 4)
    assert answer.to_json()["axes"]["time"]["ms"]["receptive_field"] == 110
    assert answer.notes == ()


def test_any_length_of_the_example_gives_the_same():
    network = nn.Sequential(conv(padding=100, dilation=100), conv(kernel_size=2, stride=2, padding=1, dilation=7))
    fields = {trace(network, signal(1, time)).fields for time in (6, 50, 51, 400)}
    assert len(fields) == 1
    assert next(iter(fields))[0].at(0) == (-101, 106)


@pytest.mark.parametrize("time", [1, 2, 3])
def test_a_single_input_is_example_enough(time):
    """Padding is counted as more of the signal, and lengths are added until all is shown."""
    blocks = Function(
        lambda x, past, both: x + both(F.pad(past(F.pad(x, (100, 0))), (0, 300))),
        past=conv(kernel_size=101),
        both=conv(kernel_size=301),
    )
    assert facts(as_measured(blocks, signal(1, time))) == (-100, 300, 1)
    spectrogram = Function(
        lambda x: torch.stft(x[:, 0], 64, 16, window=torch.ones(64), pad_mode="constant", return_complex=True).abs()
    )
    assert facts(as_measured(spectrogram, signal(1, time))) == (-32, 31, 16)
    planes = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=d, dilation=d) for d in (1, 20)))
    traced = as_measured(planes, torch.zeros(1, 1, time, time))
    assert [facts(traced, axis) for axis in (0, 1)] == [(-21, 21, 1)] * 2


OUTPUTS = {"a": conv(), "b": conv(kernel_size=5)}


def test_one_of_several_outputs():
    nested = Function(lambda x, a, b: {"a": a(x), "rest": [b(x), x]}, **OUTPUTS)
    assert [facts(as_measured_output(nested, i)) for i in range(3)] == [(0, 2, 1), (0, 4, 1), (0, 0, 1)]
    with pytest.raises(ValueError, match="the module gives 3 tensors, got 3"):
        trace(nested, signal(), output=3)


def as_measured_output(module, output):
    """Of a flat output: autograd is asked for the same tensor by its position."""
    flat = Function(lambda x, module: pytree.tree_leaves(module(x))[output], module=module)
    traced = trace(module, signal(), output=output)
    assert traced.fields == as_measured(flat, signal()).fields
    return traced


SEVERAL = {
    "of the same length": (
        Function(lambda x, c, mix: mix(torch.cat([x, c], 1)), mix=conv(3)),
        torch.zeros(1, 2, 160),
        (0, 2, 1),
    ),
    "without time": (Function(lambda x, c, mix: mix(x) * c[..., None], mix=conv(1, 2)), torch.zeros(1, 2), (0, 2, 1)),
    "of a lower rate": (
        Function(lambda x, c, mix: mix(x + c.repeat_interleave(4, -1)), mix=conv(dilation=50)),
        torch.ones(1, 1, 40),
        (0, 100, 1),
    ),
    "of any length": (
        Function(lambda x, c, mix: mix(x) + c.mean(-1, keepdim=True), mix=conv(dilation=50)),
        torch.ones(1, 1, 37),
        (0, 100, 1),
    ),
    "truth mask": (Function(lambda x, c, mix: mix(x * c), mix=conv()), torch.ones(160, dtype=torch.bool), (0, 2, 1)),
    "number": (Function(lambda x, c, mix: mix(x * c), mix=conv()), 2.0, (0, 2, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_conditions_beside_the_signal(name):
    module, condition, expected = SEVERAL[name]
    assert facts(as_measured(module, (signal(1, 160), condition))) == expected


def test_the_first_tensor_is_followed():
    module = Function(lambda others, x, mix: mix(others[0]) + x, mix=conv())
    assert facts(trace(module, ([signal(1, 60)], signal(1, 58)))) == (0, 0, 1)


def zero_the_start(x, layer):
    y = layer(x)
    y[:, :, :3] = 0
    return y


def write_a_channel(x, layer):
    y = layer(x).clone()
    y[:, 0] = x[:, 0, 2:]
    y[..., ::2] += 1
    return y


def add_to_a_view(x, layer):
    y = layer(x)
    y[..., 1:].add_(y[..., :-1].clone())
    return y


def fill_a_buffer(x, layer):
    y = layer(x)
    buffer = torch.zeros(1, 1, y.shape[-1] + 4)
    buffer[..., 4:] = y
    return buffer


def without_gradients(x, layer):
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    with torch.autocast("cpu", enabled=False):
        return layer(y.float())


WRITTEN = {
    "rectified in place": (nn.Sequential(conv(1, 2), nn.ReLU(True), conv(2), nn.ELU(inplace=True)), (0, 4, 1)),
    "zeros at the start": (Function(zero_the_start, layer=conv()), (0, 2, 1)),
    "one channel": (Function(write_a_channel, layer=conv(1, 2)), (0, 2, 1)),
    "added": (Function(lambda x, layer: layer(x).add_(x[..., 2:]).mul_(2).clamp_(0, 1), layer=conv()), (0, 2, 1)),
    "added to a view": (Function(add_to_a_view, layer=conv()), (-1, 2, 1)),
    "into a buffer": (Function(fill_a_buffer, layer=conv()), (-4, -2, 1)),
    "without gradients, in other precisions": (Function(without_gradients, layer=conv()), (0, 4, 1)),
    "detached": (Function(lambda x, layer: layer(layer(x).detach()), layer=conv()), (0, 4, 1)),
    "noise and dropout": (
        nn.Sequential(Function(lambda x: x + torch.randn_like(x)), conv(), nn.Dropout(0.5), conv()),
        (0, 4, 1),
    ),
    "complex": (lambda x: (x * torch.exp(1j * torch.arange(x.shape[-1]))).abs(), (0, 0, 1)),
    "polar": (Function(lambda x, layer: torch.polar(layer(x), layer(x)).real, layer=conv()), (0, 2, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_modes_and_writes_in_place(name):
    module, expected = WRITTEN[name]
    assert facts(as_measured(module, signal())) == expected


def test_the_module_is_left_as_it_was():
    noise = Function(lambda x: x + torch.randn(x.shape))
    module = nn.Sequential(conv(1, 4), noise, nn.BatchNorm1d(4), nn.ReLU(True))
    before = copy.deepcopy(module.state_dict())
    x = torch.randn(2, 1, 40)
    kept, random = x.clone(), torch.get_rng_state()
    trace(module, x)
    assert torch.equal(torch.get_rng_state(), random)
    assert module.training
    assert torch.equal(x, kept)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_precisions(dtype):
    assert facts(as_measured(nn.Sequential(conv(1, 2), conv(2)).to(dtype), signal(dtype=dtype))) == (0, 4, 1)


def test_layouts():
    last = Function(lambda x, mix, layer: layer(mix(x).mT).mT, mix=nn.Linear(3, 4), layer=conv(4, 2, padding=2))
    assert facts(as_measured(last, torch.zeros(1, 60, 3), time_axis=1)) == (-2, 0, 1)
    traced = as_measured(nn.Conv2d(1, 2, (5, 3), stride=(1, 2)), torch.zeros(1, 1, 60, 30), time_axis=2)
    assert [facts(traced, axis) for axis in (0, 1)] == [(0, 4, 1), (0, 2, 2)]
    no_batch = Function(lambda x, layer: layer(x[None, None])[0], layer=conv())
    assert facts(trace(no_batch, torch.zeros(60))) == (0, 2, 1)


def changes(module, x):
    """Which inputs change which outputs, each tried by itself."""
    plain = module(x)
    rows = []
    for n in range(x.shape[-1]):
        other = x.clone()
        other[..., n] += 1
        rows.append((module(other) != plain).flatten(0, -2).any(0))
    return torch.stack(rows)


@pytest.mark.parametrize(
    "look_up",
    [nn.Embedding(256, 4), Function(lambda x: F.one_hot(x, 256)[..., :4].float())],
)
def test_whole_numbers_that_are_looked_up(look_up):
    module = Function(lambda x, table, layer: layer(table(x).mT), table=look_up, layer=conv(4, 2, dilation=2))
    x = torch.zeros(1, 20, dtype=torch.long)
    field = trace(module, x).fields[0]
    for n, read in enumerate(changes(module, x).T):
        places = read.nonzero().flatten().tolist()
        assert (places[0], places[-1]) == field.at(n)


def test_an_embedding_of_what_was_quantised():
    """Mu-law style: a float signal, made an index. No gradient shows it, and the trace does."""
    module = Function(
        lambda x, table, layer: layer(table(((x.clamp(-1, 1) + 1) * 127).long()[:, 0]).mT),
        table=nn.Embedding(256, 4),
        layer=conv(4, 2),
    )
    assert facts(trace(module, signal())) == (0, 2, 1)


def masked(layer, mask):
    layer.register_buffer("mask", mask)
    convolve = F.conv1d if mask.ndim == 3 else F.conv2d
    return Function(lambda x, layer: convolve(x, layer.weight * layer.mask, padding=layer.padding), layer=layer)


def test_taps_that_a_mask_zeroes_are_not_read():
    causal = masked(conv(1, 2, 5, padding=2), torch.tensor([[[1.0, 1, 0, 0, 0]]]))
    assert facts(as_measured(causal, signal())) == (-2, -1, 1)
    pixels = masked(nn.Conv2d(1, 2, 3, padding=1), torch.tensor([[[[1.0, 1, 1], [1, 0, 0], [0, 0, 0]]]]))
    traced = as_measured(pixels, torch.zeros(1, 1, 30, 30))
    assert [facts(traced, axis) for axis in (0, 1)] == [(-1, 1, 1), (-1, 0, 1)]


def test_weights_that_start_at_zero_are_read():
    layer = conv(padding=1)
    nn.init.zeros_(layer.weight)
    layer.register_parameter("gain", nn.Parameter(torch.zeros(1)))
    module = Function(lambda x, layer: x + layer.gain * layer(x), layer=layer)
    assert facts(as_measured(module, signal())) == (-1, 1, 1)


class Places(nn.Module):
    """A learned position for each of 60 inputs."""

    def __init__(self, cut):
        super().__init__()
        self.layer = conv(padding=1)
        self.places = nn.Parameter(torch.ones(1, 1, 60))
        self.cut = cut

    def forward(self, x):
        return self.layer(x + (self.places[..., : x.shape[-1]] if self.cut else self.places))


def test_modules_of_one_length():
    long_enough = nn.Sequential(Places(False), conv(dilation=20, padding=20))
    traced = as_measured(long_enough, signal())
    assert facts(traced) == (-21, 21, 1)
    assert traced.notes == ("time: the module could not be traced at a greater length than 60",)
    too_short = trace(nn.Sequential(Places(False), conv(dilation=40, padding=40)), signal())
    assert facts(too_short) == EVERYTHING
    assert too_short.notes == traced.notes
    table = as_measured(Places(True), signal(1, 20))
    assert facts(table) == (-1, 1, 1)
    flat = as_measured(nn.Sequential(conv(1, 2), nn.Flatten(), nn.Linear(58 * 2, 4)), signal())
    assert facts(flat) == EVERYTHING
    assert "it reads all of the input" in flat.notes[0]


def test_outputs_without_time():
    network = nn.Sequential(conv(stride=2), conv(stride=2))
    for place, read in ((-1, "112 to 118 of 120"), (0, "0 to 6 of 120"), (slice(-2, -1), "108 to 114 of 120")):
        module = Function(lambda x, network, place=place: network(x)[..., place], network=network)
        traced = as_measured(module, signal(1, 120))
        assert facts(traced) == (-6, 0, 1)
        assert traced.notes == (f"time: the output has no such axis, it reads inputs {read}",)
    pooled = as_measured(Function(lambda x, network: network(x).mean(-1), network=network), signal())
    assert facts(pooled) == EVERYTHING
    window = Function(lambda x: x[..., -200:].mean(-1))
    assert trace(window, signal()).fields[0].receptive_field == 200


def test_batch_norm_in_training_is_noted():
    network = nn.Sequential(conv(1, 4), nn.BatchNorm1d(4))
    traced = as_measured(network, torch.zeros(2, 1, 60))
    assert facts(traced) == EVERYTHING
    assert "1: BatchNorm1d in training mode reads the whole batch" in traced.notes[0]
    assert facts(as_measured(network.eval(), signal())) == (0, 2, 1)


@torch.library.custom_op("wavedil_tests::strange", mutates_args=())
def strange(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@strange.register_fake
def _(x):
    return torch.empty_like(x)


def test_an_unknown_operator_is_an_error_or_everything():
    module = nn.Sequential(conv(), nn.Sequential(Function(strange)))
    with pytest.raises(UnknownOperatorError, match=r"operator strange in 1\.0: what it reads is not known"):
        trace(module, signal())
    traced = trace(module, signal(), allow_unknown=True)
    assert facts(traced) == EVERYTHING
    assert traced.notes == ("unknown operator strange in 1.0: taken to read everything",)


FAILURES = {
    "branches on the values": (lambda x: x if x.sum() > 0 else -x, "its code asks for the values of a tensor"),
    "branches by torch.cond": (
        lambda x: torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,)),
        "operator cond in the module itself: what it reads depends on the values",
    ),
    "a size of the values": (lambda x: x[x > 0], "operator index .* the size of what it gives depends on the values"),
    "constant": (lambda x: torch.zeros(1, 1, x.shape[-1]), "its output does not depend on the input"),
    "only the shape": (torch.zeros_like, "its output does not depend on the input"),
    "times zero": (lambda x: x * 0, "time: the output does not depend on the input"),
    "flipped": (lambda x: x.flip(-1), "the fields of neighbouring outputs are not alike"),
    "its own error": (lambda x: x.nonsense, "cannot be traced by torch.export: .*nonsense"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_has_no_receptive_field_says_why(name, capfd):
    function, message = FAILURES[name]
    with pytest.raises(ValueError, match=message) as caught:
        trace(Function(function), signal())
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_flipped_branch_reads_everything():
    assert facts(trace(Function(lambda x: x[..., 2:] + x.flip(-1)[..., 2:]), signal())) == EVERYTHING


EXAMPLES = {
    "too short": (conv(kernel_size=30), signal(1, 10), {}, "Kernel size can't be greater than actual input size"),
    "channels": (conv(3), signal(), {}, "expected input.* to have 3 channels, but got 1"),
    "no tensor": (conv(), (3,), {}, r"expected a tensor among the inputs, got \['int'\]"),
    "axis": (conv(), signal(), {"time_axis": 5}, r"expected an axis 5, got the shape \(1, 1, 60\)"),
    "empty": (conv(), signal(1, 0), {}, r"expected a length of at least 1, got the shape \(1, 1, 0\)"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_that_do_not_fit(name):
    module, x, options, message = EXAMPLES[name]
    with pytest.raises(ValueError, match=message):
        trace(module, x, **options)


def test_fractional_hops_are_exact():
    network = nn.Sequential(nn.ConvTranspose1d(1, 4, 5, 3, padding=2), conv(4, 1, padding=1))
    traced = as_measured(network, signal(1, 30))
    assert traced.fields[0].stride == Fraction(1, 3)
    assert (traced.fields[0].smallest_receptive_field, traced.fields[0].receptive_field) == (2, 3)
