"""What :mod:`calls` makes, with which arguments, and what it gives them that is wrong."""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from target import Wrong

import wavedil
from wavedil import functional, layers, models, wavelets
from wavedil.config import FeatureConfig, ModelConfig
from wavedil.features import LogMel
from wavedil.filterbank import FilterEnergies
from wavedil.receptive import hybrid_dilations

Draw = Callable[[random.Random], Any]
# What people write by mistake, and what they would try to break it with.
WRONG: list[Any] = [
    0, -1, True, False, None, 3.0, 2.5, "3", "", "x", b"x", math.nan, math.inf, -math.inf, 10**400, -(10**400), 2**16,
    2**24, 2**24 + 1, 2**31, 2**63, [], [2], (1, 2), (1, 2, 3), {}, np.int64(2), np.float32(2), np.ones(2), object(),
    torch.tensor(2), torch.float16, "cuda:7", "zeros", "silence", 1e-300, 1e300,
]  # fmt: skip


def size(low: int, high: int) -> Draw:
    """An integer."""
    return lambda rng: rng.randint(low, high)


def pick(*values: Any) -> Draw:
    """One of some values."""
    return lambda rng: rng.choice(values)


def many(low: int, high: int) -> Draw:
    """A list of one to four integers."""
    return lambda rng: [rng.randint(low, high) for _ in range(rng.randint(1, 4))]


def number(low: float, high: float) -> Draw:
    """A number."""
    return lambda rng: rng.uniform(low, high)


def front_end(kind: Callable[..., Any], options: dict[str, Any]) -> Any:
    """A front end, of arguments of its own and of its config."""
    own = {name: options.pop(name) for name in ("sample_rate", "boundary") if name in options}
    config = FeatureConfig(**{"win_length": 24, "hop_length": 8, "n_fft": 32, "n_mels": 3, **options})
    return kind(own.pop("sample_rate"), config, **own)


def keyword_model(n_classes: Any = 3, sample_rate: Any = 8000, **options: Any) -> Any:
    """A keyword model, of arguments of its own and of its config."""
    return models.build_model(ModelConfig(**options), n_classes, sample_rate)


def same_codes(codes: Any, **options: Any) -> None:
    """Every code comes back."""
    back = functional.mu_law_encode(functional.mu_law_decode(codes, **options), **options)
    if not torch.equal(back, codes.long()):
        raise Wrong(f"codes {codes.tolist()} came back as {back.tolist()}")


channels, taps, steps, ahead, flag = size(1, 4), size(1, 5), size(1, 4), size(0, 2), pick(True, False)
boundary, norm = pick("zeros", "silence"), pick("none", "batch", "layer", "rms")
gated = {
    "skip_channels": pick(None, 1, 3), "gate": pick("tanh", "glu"), "norm": norm, "dropout": number(0, 1),
    "groups": pick(1, 2), "bias": flag, "global_channels": pick(0, 2), "local_channels": pick(0, 3),
    "conditioning": pick("add", "film"), "lookahead": ahead, "boundary": boundary, "dtype": pick(None, torch.float32),
    "device": pick(None, "cpu"),
}  # fmt: skip
convolution = {
    "stride": steps, "dilation": steps, "groups": pick(1, 2), "bias": flag, "lookahead": ahead, "boundary": boundary,
    "dtype": pick(None, torch.float32, torch.float64), "device": pick(None, "cpu"),
}  # fmt: skip
pair = lambda rng: rng.choice((rng.randint(1, 3), (rng.randint(1, 3), rng.randint(1, 3))))  # noqa: E731

# By name: what is made, the arguments that it needs, and those that it may be given.
MAKERS: dict[str, tuple[Callable[..., Any], dict[str, Draw], dict[str, Draw]]] = {
    "CausalConv1d": (
        layers.CausalConv1d, {"in_channels": channels, "out_channels": channels, "kernel_size": taps}, convolution
    ),
    "CausalConvTranspose1d": (
        layers.CausalConvTranspose1d,
        {"in_channels": channels, "out_channels": channels, "kernel_size": taps},
        convolution,
    ),
    "CausalConv2d": (
        layers.CausalConv2d,
        {"in_channels": channels, "out_channels": channels, "kernel_size": pair},
        {**convolution, "stride": pair, "dilation": pair, "frequency_padding": pick("same", "valid")},
    ),
    "CausalAvgPool1d": (
        layers.CausalAvgPool1d, {"kernel_size": taps}, {"stride": steps, "lookahead": ahead, "boundary": boundary}
    ),
    "CausalImagePool": (layers.CausalImagePool, {}, {"window": size(1, 5)}),
    "ImagePool": (layers.ImagePool, {}, {}),
    "Delay": (layers.Delay, {"samples": size(0, 5)}, {}),
    "BatchNorm1d": (
        layers.BatchNorm1d,
        {"num_features": channels},
        {"eps": number(1e-9, 0.1), "momentum": number(0, 1), "affine": flag, "track_running_stats": pick(True)},
    ),
    "FrameLayerNorm": (layers.FrameLayerNorm, {"channels": channels}, {"eps": number(1e-9, 0.1)}),
    "FrameRMSNorm": (layers.FrameRMSNorm, {"channels": channels}, {"eps": number(1e-9, 0.1)}),
    "SubSpectralNorm": (layers.SubSpectralNorm, {"channels": channels, "bands": size(1, 3)}, {}),
    "GatedResidualBlock": (
        layers.GatedResidualBlock, {"channels": channels, "kernel_size": taps}, {"dilation": steps, **gated}
    ),
    "GatedResidualBlock2d": (
        layers.GatedResidualBlock2d, {"channels": channels, "kernel_size": pair}, {"dilation": pair, **gated}
    ),
    "DilatedStack": (
        layers.DilatedStack, {"channels": channels, "kernel_size": taps, "dilations": many(1, 5)}, gated
    ),
    "DilatedStack2d": (
        layers.DilatedStack2d,
        {"channels": channels, "kernel_size": pair, "dilations": many(1, 5)},
        {**gated, "frequency_dilations": many(1, 3)},
    ),
    "BroadcastResidualBlock": (
        layers.BroadcastResidualBlock,
        {"in_channels": channels, "channels": channels},
        {"dilation": steps, "frequency_stride": size(1, 2), "bands": size(1, 3), "dropout": number(0, 1)},
    ),
    "ContextModule": (
        models.ContextModule,
        {"channels": size(1, 2)},
        {"large": flag, "dimensions": pick(1, 2), "causal": flag, "identity": flag, "sigma": number(0, 0.01)},
    ),
    "ASPPv2": (
        models.ASPPv2,
        {"in_channels": channels, "out_channels": channels},
        {"rates": many(1, 4), "hidden_channels": channels, "dimensions": pick(1, 2), "causal": flag},
    ),
    "ASPPv3": (
        models.ASPPv3,
        {"in_channels": channels, "out_channels": channels},
        {
            "rates": many(1, 4), "dimensions": pick(1, 2), "causal": flag, "norm": norm,
            "image_pooling": pick("auto", "past", "none", 3),
        },
    ),
    "AtrousWavelet1d": (
        lambda **options: wavelets.AtrousWavelet1d(**options).analysis,
        {"levels": size(1, 4)},
        {
            "wavelet": pick("starlet", "haar", "db2", [0.25, 0.5, 0.25]), "causal": flag, "learnable": flag,
            "boundary": pick("zeros", "reflect", "periodic"), "norm": pick(False), "channels": channels,
        },
    ),
    "LogMel": (lambda **options: front_end(LogMel, options), {"sample_rate": pick(8000, 16000)}, {
        "win_length": pick(24, 32), "hop_length": pick(8, 12), "n_fft": pick(32, 64), "n_mels": size(1, 4),
        "f_min": number(0, 100), "f_max": pick(None, 4000.0), "boundary": boundary,
    }),
    "FilterEnergies": (lambda **options: front_end(FilterEnergies, options), {"sample_rate": pick(8000, 16000)}, {
        "win_length": pick(24, 32), "hop_length": pick(8, 12), "n_mels": size(1, 4), "boundary": boundary,
    }),
    "KeywordModel": (
        keyword_model,
        {"n_classes": size(1, 4), "channels": size(1, 4), "skip_channels": size(1, 4), "window_ms": number(1, 50)},
        {
            "name": pick("mel", "raw", "broadcast"), "stem": pick("strided", "filters"), "gate": pick("tanh", "glu"),
            "norm": norm, "cycles": size(1, 2), "depth": size(1, 2), "dilations": many(1, 3), "width": number(0.5, 2),
            "kernel_size": size(1, 3), "dropout": number(0, 1), "boundary": boundary, "sample_rate": pick(8000),
            "entry_channels": pick([], [2, 2]), "stage_blocks": pick([1, 1, 1, 1]), "bands": pick(5, 1),
        },
    ),
}  # fmt: skip
FUNCTIONS: dict[str, tuple[Callable[..., Any], dict[str, Draw], dict[str, Draw]]] = {
    "exponential_dilations": (wavedil.exponential_dilations, {"depth": size(1, 9)}, {"cycles": steps, "base": steps}),
    "hybrid_dilations": (
        hybrid_dilations,
        {"depth": size(1, 9)},
        {"kernel_size": taps, "cycles": steps, "overlap": number(1, 3), "coprime": flag, "receptive_field": size(1, 9)},
    ),
    "dilated_convolution": (
        functional.dilated_convolution,
        {"signal": pick(np.ones(9), torch.ones(9)), "kernel": pick(np.ones(3), torch.ones(3))},
        {"dilation": steps, "mode": pick("valid", "same", "full"), "flip": flag},
    ),
    "causal_conv1d": (
        functional.causal_conv1d,
        {"waveform": pick(torch.ones(1, 2, 9)), "weight": pick(torch.ones(4, 2, 3), torch.ones(4, 1, 3))},
        {"bias": pick(None, torch.ones(4)), "stride": steps, "dilation": steps, "groups": pick(1, 2)},
    ),
    "mu_law": (
        lambda **options: same_codes(**options),
        {"codes": pick(torch.tensor([0, 1]), torch.tensor([0, 1], dtype=torch.uint8))},
        {"quantization_channels": pick(2, 256, 65536)},
    ),
    "mu_law_encode": (
        functional.mu_law_encode,
        {
            "waveform": pick(
                *(torch.linspace(-2, 2, 9, dtype=d) for d in (torch.float16, torch.bfloat16, torch.float64))
            )
        },
        {"quantization_channels": pick(2, 256, 65536)},
    ),
    "make_norm": (layers.make_norm, {"name": norm, "channels": channels}, {"dimensions": pick(1, 2)}),
}
# Inputs that are none, or of another shape or type, made of a right one.
SPOILED: list[Callable[[torch.Tensor], Any]] = [
    lambda x: x.numpy(), lambda x: x.tolist(), lambda x: None, lambda x: 3.0, lambda x: x[0], lambda x: x[None],
    lambda x: x.int(), lambda x: x.half(), lambda x: x.to(torch.complex64), lambda x: x[..., :0], lambda x: x[..., :1],
    lambda x: x[:, :0], lambda x: torch.cat([x, x], 1), lambda x: x[:0], lambda x: torch.tensor(1.0),
    lambda x: x.double(),
]  # fmt: skip
