"""Reach measured by gradients: modules with known answers, brute force, the Jacobian, and nothing left behind."""

import copy
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import Function, hull, signal
from sweeps import examples
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from wavedil.data.torchaudio_compat import torchaudio
from wavedil.layers import DilatedStack
from wavedil.receptive import Field
from wavedil.receptive.measure import Linearised, effective_field, gradient_reach, nan_reach, reach_hull


class Gated(nn.Module):
    """A residual block of a gated convolution with weight norm."""

    def __init__(self, channels: int, dilation: int, causal: bool) -> None:
        super().__init__()
        self.conv = parametrizations.weight_norm(nn.Conv1d(channels, 2 * channels, 3, dilation=dilation))
        self.out = nn.Conv1d(channels, channels, 1)
        self.padding = (2 * dilation, 0) if causal else (dilation, dilation)

    def forward(self, x):
        a, b = self.conv(F.pad(x, self.padding)).chunk(2, dim=1)
        return x + self.out(torch.tanh(a) * torch.sigmoid(b))


@pytest.mark.parametrize(("causal", "expected"), [(True, (20, 50)), (False, (35, 65))])
def test_gated_residual_blocks(causal, expected):
    blocks = nn.Sequential(nn.Conv1d(1, 4, 1), *(Gated(4, d, causal) for d in (1, 2, 4, 8)))
    assert hull(blocks, signal(1, 100), (..., 50)) == expected


def test_two_convolutions_a_block():
    layers = [
        nn.Sequential(nn.ConstantPad1d((3 * d, 0), 0.0), nn.Conv1d(2, 2, 4, dilation=d), nn.ReLU(inplace=True))
        for d in (1, 2, 4, 8, 16, 32, 64)
        for _ in range(2)
    ]
    mask = gradient_reach(nn.Sequential(*layers), signal(2, 1600), (0, 1500))
    assert reach_hull(mask) == (1500 - 762, 1500)
    assert int(mask.sum()) == 2 * 763


def test_holes_are_seen():
    mask = gradient_reach(nn.Sequential(*(nn.Conv1d(1, 1, 3, dilation=2) for _ in range(3))), signal(1), (0, 0))
    assert mask[0].nonzero().flatten().tolist() == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Identity])
def test_a_thousand_layers_neither_vanish_nor_overflow(activation):
    layers = [nn.Sequential(nn.Conv1d(1, 1, 2), activation()) for _ in range(1000)]
    mask = gradient_reach(nn.Sequential(*layers), signal(1, 1100), (0, 50))
    assert mask[0].nonzero().flatten().tolist() == list(range(50, 1051))


def test_a_layer_that_starts_at_zero_reads_its_input():
    layer = nn.Conv1d(1, 1, 3)
    nn.init.zeros_(layer.weight)
    assert hull(layer, signal(1), (0, 5)) == (5, 7)


def test_a_zero_in_a_buffer_is_not_read():
    layer = prune.custom_from_mask(nn.Conv1d(1, 1, 5), "weight", torch.tensor([[[0.0, 1, 0, 1, 0]]]))
    assert gradient_reach(layer, signal(1), (0, 5))[0].nonzero().flatten().tolist() == [6, 8]


def test_every_phase_of_a_transposed_convolution():
    layer, field = nn.ConvTranspose1d(1, 1, 5, stride=3, padding=2), Field.transposed(5, 3, padding=2)
    masks = gradient_reach(layer, signal(1), [(0, o) for o in range(20, 26)])
    assert [reach_hull(mask) for mask in masks] == [field.at(o) for o in range(20, 26)]
    assert hull(nn.ConvTranspose1d(1, 1, 2, stride=3), signal(1), (0, 11)) is None


def test_two_axes():
    layer = nn.Conv2d(1, 1, (3, 5), dilation=(2, 1), stride=(1, 2))
    mask = gradient_reach(layer, torch.zeros(2, 1, 20, 30), (0, 4, 6))
    assert (reach_hull(mask, -2), reach_hull(mask, -1)) == ((4, 8), (12, 16))


@pytest.mark.parametrize("lookahead", [0, 2])
def test_a_stack_of_this_package(lookahead):
    stack = DilatedStack(4, kernel_size=3, dilations=(1, 2, 4, 8), norm="layer", lookahead=lookahead)
    assert hull(stack, signal(4, 60), (..., 40)) == stack.field.at(40)


def chain(*fields: Field) -> Field:
    total = Field.identity()
    for field in fields:
        total = total.then(field)
    return total


@pytest.mark.full  # it has 23 million weights
def test_wav2letter():
    module = torchaudio().models.Wav2Letter(num_classes=4, input_type="waveform")
    layers = [(250, 160, 45), (48, 2, 23), *[(7, 1, 3)] * 7, (32, 1, 16)]
    field = chain(*(Field.convolution(k, s, padding=p) for k, s, p in layers))
    assert hull(module, signal(1, 35_000), (..., 50)) == field.at(50)


def test_conv_tasnet_reads_everything():
    module = torchaudio().models.ConvTasNet(2, 4, 8, 3, 4, 8, 2, 2)
    assert hull(module, signal(1, 400), (..., 100)) == (0, 399)


def test_the_upsampling_of_wavernn():
    from torchaudio.models.wavernn import UpsampleNetwork

    module = UpsampleNetwork([3, 5], n_res_block=2, n_freq=6, n_hidden=4, n_output=4, kernel_size=5).eval()
    # Output 50 is 80 of the uncut upsampling; each stretch repeats s and smooths over 2 s + 1.
    stretches = [Field.transposed(s, s).then(Field.convolution(2 * s + 1, padding=s)) for s in (3, 5)]
    assert hull(module, signal(6, 20), (..., 50)) == chain(*stretches).at(80)
    # The other branch: a convolution of 5, blocks of 1, each frame repeated 15 times.
    assert hull(module, signal(6, 20), (..., 50), output=1) == (50 // 15, 50 // 15 + 4)


ACTIVATIONS = [nn.Identity, nn.ReLU, nn.Tanh, nn.Hardtanh, nn.PReLU, nn.GELU]


@st.composite
def chains(draw):
    """Layers, and for each its number of inputs and the inputs that an output reads."""
    modules, readers, size = [], [], 60
    for _ in range(draw(st.integers(1, 4))):
        k, s, d = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
        kind = draw(st.sampled_from(["conv", "transposed", "pool"]))
        p = draw(st.integers(0, k // 2))
        if kind == "transposed":
            modules.append(nn.ConvTranspose1d(2, 2, k, s, dilation=d))
            reader = lambda n, k=k, s=s, d=d: {(n - d * t) // s for t in range(k) if (n - d * t) % s == 0}  # noqa: E731
        elif size + 2 * p > d * (k - 1):
            modules.append(nn.Conv1d(2, 2, k, s, p, d) if kind == "conv" else nn.MaxPool1d(k, s, p, d))
            reader = lambda n, k=k, s=s, d=d, p=p: {n * s - p + d * t for t in range(k)}  # noqa: E731
        else:
            continue
        readers.append((size, reader))
        size = modules[-1](signal(2, size)).shape[-1]
        modules.append(draw(st.sampled_from(ACTIVATIONS))())
    return nn.Sequential(*modules), readers, draw(st.integers(0, size - 1))


@settings(max_examples=examples(100))
@given(chains())
def test_random_chains_against_brute_force(layers):
    module, readers, place = layers
    reached = {place}
    for size, reader in reversed(readers):
        reached = {i for n in reached for i in reader(n) if 0 <= i < size}
    mask = gradient_reach(module, signal(2, 60), (0, place))
    assert set(mask.any(dim=0).nonzero().flatten().tolist()) == reached


SMOOTH = {
    "attention": nn.MultiheadAttention(4, 2, batch_first=True),
    "gru": nn.GRU(4, 3, num_layers=2, batch_first=True),
    "encoder": nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation="gelu").eval(),
    "norms": nn.Sequential(nn.GroupNorm(1, 5), nn.Conv1d(5, 5, 2), nn.Tanh(), nn.Softplus()),
    "convolutions": nn.Sequential(nn.Conv1d(5, 4, 2, dilation=2), nn.GELU(), nn.ConvTranspose1d(4, 2, 3, 2)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_agrees_with_the_jacobian_of_what_is_smooth(name):
    module = copy.deepcopy(SMOOTH[name]).double()
    options = {"attn_mask": torch.ones(5, 5, dtype=torch.bool).triu(1)} if name == "attention" else {}

    def run(x, layer=module):
        y = layer(x, x, x, **options) if name == "attention" else layer(x)
        return (y if isinstance(y, torch.Tensor) else y[0]).flatten(1)

    x = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    jacobian = torch.stack([torch.autograd.grad(y, x, retain_graph=True)[0][0] for y in run(x)[0]])
    masks = gradient_reach(Function(run, layer=module), x, list(range(len(jacobian))))
    assert torch.equal(masks, jacobian != 0)


def test_one_of_several_inputs_and_outputs():
    def both(tokens, x, state, conv):
        return {"hidden": (conv(x + state), x), "mean": x.mean(dim=-1) + tokens}

    module = Function(both, conv=nn.Conv1d(8, 8, 3))
    inputs = (torch.zeros(1, 8, dtype=torch.long), signal(), torch.ones(1))
    assert hull(module, inputs, (..., 5)) == (5, 7)
    assert hull(module, inputs, 3, output="mean") == (0, 39)
    for arguments, message in (
        ({"output_index": (9, 0)}, r"index \(9, 0\) is outside the output's shape \(8, 38\)"),
        ({"output_index": 0, "output": "other"}, "returned a dict, which has no output 'other'"),
        (
            {"output_index": 0, "example_input": (torch.zeros(2, dtype=torch.long),)},
            "floating point .* got torch.int64",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            gradient_reach(module, **{"example_input": inputs, **arguments})


def test_a_compiled_module_is_what_was_compiled_and_a_scripted_one_is_refused():
    assert hull(torch.compile(nn.Conv1d(1, 1, 3), backend="eager"), signal(1), (0, 5)) == (5, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Conv1d(1, 1, 3))
    with pytest.raises(ValueError, match="scripted"):
        gradient_reach(scripted, signal(1), 0)


def test_weights_made_by_a_weight_norm_of_the_old_kind_are_copied():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = nn.utils.weight_norm(nn.Conv1d(1, 1, 3))
    module(signal(1))
    assert hull(module, signal(1), (0, 5)) == (5, 7)


def test_the_copy_can_be_watched_inside():
    linearised = Linearised(nn.Sequential(nn.Conv1d(1, 1, 3), nn.ReLU(), nn.Conv1d(1, 1, 3)))
    seen = []
    linearised.module.get_submodule("0").register_forward_hook(lambda module, inputs, y: seen.append(y))
    x = torch.zeros(1, 1, 9, requires_grad=True)
    linearised(x)
    (gradient,) = torch.autograd.grad(seen[0][0, 0, 2], x)
    assert gradient[0, 0].nonzero().flatten().tolist() == [2, 3, 4]


def test_nothing_is_left_changed():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Dropout(0.5))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            x += torch.randn(x.shape, dtype=x.dtype)
            return self.layers(x)

    module, x = Counting(), torch.zeros(1, 1, 20)
    before = copy.deepcopy(module)
    torch.manual_seed(1)
    switches = (torch.get_rng_state(), torch.is_grad_enabled(), torch.get_default_dtype())
    gradient_reach(module, x, (0, 5))
    nan_reach(module, x, (..., 5), 5, 7)
    effective_field(module, x, samples=2)
    assert torch.equal(torch.get_rng_state(), switches[0])
    assert (torch.is_grad_enabled(), torch.get_default_dtype()) == switches[1:]
    assert torch.backends.mha.get_fastpath_enabled()
    assert not torch.overrides._get_current_function_mode_stack()
    assert not x.any()
    assert not x.requires_grad
    assert all(part.training for part in module.modules())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name])
    assert all(p.requires_grad and p.grad is None and p.dtype == torch.float32 for p in module.parameters())
