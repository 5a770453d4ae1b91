"""What layers are made with: each argument that is wrong has one line that begins with its name."""

import inspect
import math
from typing import Any

import pytest
import torch

import wavedil.export
import wavedil.layers
import wavedil.models
import wavedil.wavelets
from wavedil.config import FeatureConfig, ModelConfig
from wavedil.features import LogMel
from wavedil.filterbank import FilterEnergies
from wavedil.layers import DilatedStack, DilatedStack2d, FrameRMSNorm, SubSpectralNorm, sizes

# Not judged by the type checker.
layers: Any = wavedil.layers
models: Any = wavedil.models
loose: Any = ModelConfig
HUGE = 10**400

INTEGERS: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    "CausalConv1d": (
        layers.CausalConv1d,
        {"in_channels": 4, "out_channels": 4, "kernel_size": 3},
        ("in_channels", "out_channels", "kernel_size", "stride", "dilation", "groups"),
    ),
    "CausalConvTranspose1d": (
        layers.CausalConvTranspose1d,
        {"in_channels": 4, "out_channels": 4, "kernel_size": 3},
        ("in_channels", "out_channels", "kernel_size", "stride", "dilation", "groups"),
    ),
    "CausalConv2d": (
        layers.CausalConv2d,
        {"in_channels": 4, "out_channels": 4, "kernel_size": 3},
        ("in_channels", "out_channels", "kernel_size", "stride", "dilation", "groups"),
    ),
    "CausalAvgPool1d": (layers.CausalAvgPool1d, {"kernel_size": 3}, ("kernel_size", "stride")),
    "CausalImagePool": (layers.CausalImagePool, {}, ("window",)),
    "GatedResidualBlock": (
        layers.GatedResidualBlock,
        {"channels": 4, "kernel_size": 3},
        ("channels", "kernel_size", "dilation", "skip_channels", "groups"),
    ),
    "DilatedStack": (
        DilatedStack,
        {"channels": 4, "kernel_size": 3, "dilations": [1, 2]},
        ("channels", "kernel_size", "skip_channels", "groups"),
    ),
    "BatchNorm1d": (layers.BatchNorm1d, {"num_features": 4}, ("num_features",)),
    "FrameLayerNorm": (layers.FrameLayerNorm, {"channels": 4}, ("channels",)),
    "SubSpectralNorm": (SubSpectralNorm, {"channels": 4, "bands": 2}, ("channels", "bands")),
    "BroadcastResidualBlock": (
        layers.BroadcastResidualBlock,
        {"in_channels": 4, "channels": 6},
        ("in_channels", "channels", "dilation", "frequency_stride", "bands"),
    ),
    "ContextModule": (wavedil.models.ContextModule, {"channels": 2}, ("channels",)),
    "ASPPv2": (
        wavedil.models.ASPPv2,
        {"in_channels": 2, "out_channels": 2},
        ("in_channels", "out_channels", "hidden_channels"),
    ),
    "AtrousWavelet1d": (wavedil.wavelets.AtrousWavelet1d, {"levels": 2}, ("levels", "channels")),
    "LogMel": (LogMel, {"sample_rate": 8000}, ("sample_rate",)),
    "FilterEnergies": (FilterEnergies, {"sample_rate": 8000}, ("sample_rate",)),
}


@pytest.mark.parametrize(("name", "argument"), [(name, a) for name, (_, _, names) in INTEGERS.items() for a in names])
def test_sizes_are_integers_within_their_range(name, argument):
    make, good, _ = INTEGERS[name]
    make(**good)
    for wrong, error in ((0, ValueError), (-1, ValueError), (HUGE, ValueError), (True, TypeError), ("3", TypeError)):
        with pytest.raises(error, match=rf"^{argument}(?: in (?:frequency|time))?: expected an integer") as caught:
            make(**good | {argument: wrong})
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200


NUMBERS = [
    (layers.GatedResidualBlock, (4, 3), "dropout", (-0.1, 1.1, math.nan, math.inf, HUGE)),
    (DilatedStack, (4, 3, [1]), "dropout", (-0.1, math.nan)),
    (layers.BroadcastResidualBlock, (4, 6), "dropout", (-0.1, math.nan)),
    (layers.BatchNorm1d, (4,), "eps", (0.0, -1.0, math.nan, 1e-300)),
    (layers.BatchNorm2d, (4,), "momentum", (-0.1, 2.0, math.nan)),
    (FrameRMSNorm, (4,), "eps", (0.0, -1.0, math.nan, math.inf)),
    (wavedil.models.ContextModule, (2,), "sigma", (-1.0, math.nan, HUGE)),
]


@pytest.mark.parametrize(("make", "good", "argument", "wrong"), NUMBERS)
def test_numbers_are_finite_and_within_their_range(make, good, argument, wrong):
    for value in wrong:
        with pytest.raises(ValueError, match=f"^{argument}: expected a number"):
            make(*good, **{argument: value})
    with pytest.raises(TypeError, match=f"^{argument}: expected a number"):
        make(*good, **{argument: "0.1"})


CHOICES = [
    (layers.CausalConv1d, (2, 2, 3), "boundary", "slience"),
    (layers.CausalAvgPool1d, (3,), "boundary", "silent"),
    (layers.Chain, (), "boundary", "x"),
    (DilatedStack, (2, 3, [1]), "boundary", "x"),
    (LogMel, (8000,), "boundary", "x"),
    (layers.CausalConv2d, (2, 2, 3), "frequency_padding", "full"),
    (layers.GatedResidualBlock, (2, 3), "gate", "relu"),
    (layers.GatedResidualBlock, (2, 3), "norm", "group"),
    (DilatedStack2d, (2, 3, [1]), "conditioning", "mul"),
    (wavedil.models.ContextModule, (2,), "dimensions", 3),
    (wavedil.models.ASPPv3, (2, 2), "norm", None),
    (wavedil.wavelets.AtrousWavelet2d, (2,), "boundary", "mirror"),
    (layers.CausalConv1d, (2, 2, 3), "bias", "no"),
    (layers.CausalConv1d, (2, 2, 3), "dtype", torch.int32),
    (wavedil.wavelets.AtrousWavelet1d, (2,), "learnable", 2),
]


@pytest.mark.parametrize(("make", "good", "argument", "wrong"), CHOICES)
def test_choices_are_listed(make, good, argument, wrong):
    with pytest.raises(ValueError, match=f"^{argument}: expected one of .*; got "):
        make(*good, **{argument: wrong})


def test_a_boundary_is_checked_wherever_it_is_set():
    conv = layers.CausalConv1d(1, 1, 3)
    with pytest.raises(ValueError, match="did you mean 'silence'"):
        conv.boundary = "slience"
    assert conv.boundary == "zeros"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.CausalConv1d(4, 6, 3, groups=4), "^groups: expected a divisor of out_channels 6, got 4"),
        (lambda: layers.CausalConv1d(4, 4, 3, dilation=5, lookahead=11), "^lookahead: .* from 0 to 10, got 11"),
        (lambda: layers.CausalConv1d(4, 4, 3, device="mars"), "^device: expected one of this machine"),
        (lambda: layers.CausalConv1d(2**16, 2**16, 9), "at most 268,435,456 weights, got 38654705664"),
        (lambda: layers.CausalConv1d(512, 1, 2, dilation=2**24), "at most 67,108,864 values of state"),
        (lambda: layers.CausalConv2d(2, 2, (3, 3, 3)), "^kernel_size: .* a pair"),
        (lambda: layers.BatchNorm1d(4, track_running_stats=False), "^track_running_stats: expected True"),
        (lambda: layers.CausalConvTranspose1d(1, 1, 2**16), "^kernel_size: expected at most .* products"),
        (lambda: layers.CausalConv2d(2, 2, 3, frequency_padding="valid")(torch.ones(1, 2, 2, 9)), "at least 3 freq"),
        (lambda: layers.CausalAvgPool1d(3)(torch.ones(1, 2, 5, 9)), "expected "),
        (lambda: layers.CausalImagePool()(torch.ones(1, 2, 3, 4, 5)), "expected "),
        (lambda: layers.BatchNorm1d(3).eval()(torch.ones(1, 3, 4, 5)), "expected "),
        (lambda: DilatedStack(4, 3, []), "^dilations: expected 1 to 1,024 items, got 0"),
        (lambda: DilatedStack(4, 3, range(1, 2000)), "^dilations: expected 1 to 1,024 items, got 1,999"),
        (lambda: DilatedStack(2**12, 3, [1] * 9), "at most 268,435,456 weights"),
        (lambda: wavedil.models.ASPPv2(2, 2, ()), "^rates: expected 1 to 64 items"),
        (lambda: models.ASPPv3(2, 2, image_pooling="hole"), "^image_pooling: expected 'auto', 'whole'"),
        (lambda: LogMel(8000, FeatureConfig(n_mels=0)), "^n_mels: expected an integer"),
        (lambda: LogMel(8000, FeatureConfig(f_min=math.nan)), "^f_min: expected a number"),
        (lambda: FilterEnergies(8000, FeatureConfig(f_max=4001.0)), "^f_max: expected a number"),
        (lambda: wavedil.models.build_model(loose(gate="x"), 3), "^gate: expected one of"),
        (lambda: wavedil.models.build_model(ModelConfig(width=math.nan), 3), "^width: expected a number"),
        (lambda: wavedil.models.build_model(ModelConfig(cycles=10**5), 3), "at most 1024 layers"),
        (lambda: wavedil.models.build_model(ModelConfig(), 0), "^n_classes: expected an integer"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: layers.add_weight_norm(3),
        lambda: layers.fold_weight_norm(None),
        lambda: wavedil.export.export_step(torch.nn.ReLU()),  # pyright: ignore[reportArgumentType]
    ],
)
def test_what_is_no_module_is_named(call):
    with pytest.raises(TypeError, match=r"^module: expected a "):
        call()


@pytest.mark.parametrize("norm", [FrameRMSNorm(1), layers.FrameLayerNorm(1), SubSpectralNorm(1, 1)], ids=repr)
def test_a_norm_does_not_spread_over_channels_that_it_does_not_have(norm):
    chain = layers.Chain(layers.CausalConv2d(2, 5, 1), norm)
    with pytest.raises(ValueError, match=r"expected .*, got \(1, 5, 3, "):
        chain(torch.ones(1, 2, 3, 4))


def test_stacks_are_made_in_the_type_that_is_asked_for():
    options: Any = {
        "skip_channels": 3, "norm": "layer", "global_channels": 2, "local_channels": 2, "device": "cpu",
        "dtype": torch.float64,
    }  # fmt: skip
    for stack in (DilatedStack(4, 3, [1, 2], **options), DilatedStack2d(4, 3, [1, 2], **options)):
        assert {weight.dtype for weight in stack.parameters()} == {torch.float64}
    assert next(DilatedStack(4, 3, [1], device="meta").parameters()).is_meta


def test_what_is_printed_fits_on_a_few_lines():
    stack = DilatedStack(16, 3, [1, 2, 4, 8] * 10, skip_channels=4, norm="rms", boundary="silence")
    text = repr(stack)
    assert "blocks=40, dilations=[1, 2, 4, 8] * 10, receptive_field=301, boundary='silence'" in text
    assert text.count("\n") < 4
    assert "Delay" not in text
    assert "receptive_field=5" in repr(layers.GatedResidualBlock(4, 3, 2))
    assert "[1, 2, 3, 4, 5, 6, ..., 19, 20, 21]" in repr(DilatedStack(2, 2, list(range(1, 22))))
    model = repr(wavedil.models.build_model(ModelConfig(), 4))
    assert model.count("\n") < 40
    assert "n_classes=4, sample_rate=16000" in model
    assert "receptive_field=45599 (2.85 s)" in model


NO_CONDITION = {"global_channels": 0, "local_channels": 0, "conditioning": "add"}
PLAIN = {"gate": "tanh", "norm": "none", "dropout": 0.0, "skip_channels": None, "lookahead": 0, **NO_CONDITION}
LEFT_OUT = [
    (layers.CausalConv1d, (4, 4, 3), torch.nn.Conv1d, {"lookahead": 0}),
    (layers.CausalConvTranspose1d, (4, 4, 3), torch.nn.ConvTranspose1d, {"lookahead": 0}),
    (layers.CausalConv2d, (4, 4, 3), torch.nn.Conv2d, {"lookahead": 0, "frequency_padding": "same"}),
    (layers.CausalAvgPool1d, (3,), torch.nn.AvgPool1d, {"lookahead": 0}),
    (layers.BatchNorm1d, (4,), torch.nn.BatchNorm1d, {}),
    (layers.FrameLayerNorm, (4,), torch.nn.BatchNorm1d, {}),
    (layers.FrameRMSNorm, (4,), torch.nn.BatchNorm1d, {}),
    (layers.GatedResidualBlock, (4, 3), torch.nn.Conv1d, {**PLAIN, "project_residual": True}),
    (layers.GatedResidualBlock2d, (4, 3), torch.nn.Conv2d, {**PLAIN, "project_residual": True}),
    (layers.BroadcastResidualBlock, (4, 4), torch.nn.Conv1d, {"frequency_stride": 1, "bands": 5, "dropout": 0.0}),
    (DilatedStack, (4, 3, [1]), torch.nn.Conv1d, PLAIN),
]


@pytest.mark.parametrize(("kind", "given", "like", "own"), LEFT_OUT)
def test_what_is_left_out_is_as_in_torch_or_off(kind, given, like, own):
    def optional(function: Any) -> dict[str, Any]:
        parameters = inspect.signature(function).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}

    kind(*given)
    found, torchs = optional(kind.__init__), optional(like.__init__)
    expected = {"boundary": "zeros", **torchs, **own}
    assert found.keys() >= own.keys()
    assert found == {name: expected[name] for name in found}


@pytest.mark.parametrize(
    ("require", "least", "most", "too_few", "too_many"),
    [
        (lambda n: sizes.require_sizes(span=n), 1, 2**24, 0, 2**24 + 1),
        (lambda n: sizes.require_channels(channels=n), 1, 2**16, 0, 2**16 + 1),
        (lambda n: sizes.require_channels(0, channels=n), 0, 2**16, -1, 2**16 + 1),
        (lambda n: sizes.require_groups(n), 1, 2**16, 0, 2**16 + 1),
        (lambda n: sizes.require_groups(n, channels=6), 2, 6, 0, 4),
        (lambda n: sizes.require_probability("dropout", n), 0, 1, -1e-9, 1 + 1e-9),
        (lambda n: sizes.require_epsilon(n), 1e-30, 1, 1e-31, 1 + 1e-9),
        (lambda n: sizes.require_dimensions(n), 1, 2, 0, 3),
        (lambda n: sizes.each_of("dilations", [1] * n), 1, 1024, 0, 1025),
        (lambda n: sizes.pair("size", (n, 1)), 1, 2**24, 0, 2**24 + 1),
        (lambda n: sizes.pair("size", (1, n)), 1, 2**24, 0, 2**24 + 1),
    ],
)
def test_both_ends_of_each_range(require, least, most, too_few, too_many):
    require(least)
    require(most)
    for wrong in (too_few, too_many):
        with pytest.raises(ValueError, match="expected"):
            require(wrong)


def test_how_much_a_module_may_hold():
    sizes.require_room(2**28, 2**26)
    with pytest.raises(ValueError, match="at most 268,435,456 weights, got 268435457"):
        sizes.require_room(2**28 + 1)
    with pytest.raises(ValueError, match="at most 67,108,864 values of state for a session, got 67108865"):
        sizes.require_room(0, 2**26 + 1)


def test_pairs():
    assert sizes.pair("size", 3) == (3, 3)
    assert sizes.pair("size", [3, 5]) == (3, 5)
    for wrong in ((1,), (1, 2, 3)):
        with pytest.raises(ValueError, match=r"^size: expected one number, or a pair \(frequency, time\)"):
            sizes.pair("size", wrong)


def test_how_many_sessions_there_are():
    conv = layers.CausalConv1d(1, 1, 1)
    with pytest.raises(ValueError, match="batch_size: expected an integer from 1 to 16777216, got 16777217"):
        conv.initial_state(2**24 + 1)
