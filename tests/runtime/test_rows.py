"""Training by kernels: as near to exact arithmetic as torch's own bfloat16, on the same weights and statistics."""

import copy
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from kernels_here import load, load_for_float32, threads
from sweeps import sweep
from torch import Tensor, nn

from wavedil.config import AugmentConfig, ModelConfig
from wavedil.layers import (
    BatchNorm1d,
    BatchNorm2d,
    BroadcastResidualBlock,
    CausalConv1d,
    CausalConv2d,
    Chain,
    DilatedStack,
    add_weight_norm,
)
from wavedil.layers.broadcast import FrequencyMean
from wavedil.layers.interleave import run_each, run_interleaved
from wavedil.models import build_model
from wavedil.models.entry import AsBands, AsSpectrogram
from wavedil.runtime.rows import RowRunner, can_run_rows
from wavedil.training.network import TrainingNetwork

# Relative, beside twice torch's own error: where no ReLU is near its edge, and where one may fall to the other side.
SLACK, ROUGH = 0.08, 0.3


@pytest.fixture(scope="module")
def kernels() -> Any:
    return load()


@pytest.fixture(scope="module")
def kernels_for_float32() -> Any:
    return load_for_float32()


def stack(channels: int, dilations: list[int], **options: Any) -> Chain:
    return Chain(DilatedStack(channels, **{"kernel_size": 3, "dilations": dilations, "norm": "batch"} | options))


def entry(*convs: CausalConv2d) -> list[nn.Module]:
    layers: list[nn.Module] = [AsSpectrogram()]
    for conv in convs:
        layers += [conv, BatchNorm2d(conv.out_channels), nn.ReLU()]
    return layers


def body(*blocks: nn.Module, before: int, bins: int, channels: int) -> Chain:
    tail = [CausalConv2d(channels, channels, (bins, 3), groups=channels, frequency_padding="valid", bias=False)]
    return Chain(*entry(CausalConv2d(1, before, (3, 1))), *blocks, *tail, FrequencyMean())


# Of each, the module and the channels that it takes.
MODULES: dict[str, tuple[Callable[[], Chain], int]] = {
    "stack": (lambda: stack(16, [1, 2, 4], skip_channels=16), 16),
    "ragged channels": (lambda: stack(5, [1, 2], skip_channels=20), 5),
    "more than a vector": (lambda: stack(40, [1, 4, 2], skip_channels=33), 40),
    "GLU, no bias": (lambda: stack(24, [2, 1], skip_channels=8, gate="glu", bias=False), 24),
    "even kernel": (lambda: stack(8, [3, 1], skip_channels=8, kernel_size=2), 8),
    "one tap": (lambda: stack(8, [1, 1], skip_channels=8, kernel_size=1), 8),
    "one block": (lambda: stack(8, [5], skip_channels=8), 8),
    "many channels": (lambda: stack(100, [1], skip_channels=70), 100),
    "spectrogram": (lambda: Chain(*entry(CausalConv2d(1, 16, (5, 3), (2, 1))), AsBands(), CausalConv1d(80, 6, 1)), 10),
    "two of them": (
        lambda: Chain(
            *entry(CausalConv2d(1, 7, (5, 3), (2, 1), bias=False), CausalConv2d(7, 20, (3, 2), dilation=(1, 2))),
            AsBands(),
            CausalConv1d(100, 9, 1, bias=False),
        ),
        10,
    ),
    "without padding": (
        lambda: Chain(*entry(CausalConv2d(1, 4, (3, 1), frequency_padding="valid")), AsBands(), CausalConv1d(24, 5, 1)),
        8,
    ),
    "broadcast": (lambda: body(BroadcastResidualBlock(8, 8, 2), before=8, bins=10, channels=8), 10),
    "change of channels": (
        lambda: body(
            BroadcastResidualBlock(6, 20, 1), BroadcastResidualBlock(20, 20, 3), before=6, bins=5, channels=20
        ),
        5,
    ),
    "stride in frequency": (
        lambda: body(BroadcastResidualBlock(24, 36, 2, frequency_stride=2), before=24, bins=5, channels=36),
        10,
    ),
    "one band": (lambda: body(BroadcastResidualBlock(4, 4, bands=1), before=4, bins=3, channels=4), 3),
    "convolution": (lambda: Chain(BatchNorm1d(12), CausalConv1d(12, 8, 3, dilation=2), nn.ReLU()), 12),
}


def randomised(module: nn.Module, above_zero: bool = False) -> nn.Module:
    """With norms that are not those of a new network, so that each scale and shift counts; and a ReLU may be open."""
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
        if isinstance(norm, BatchNorm2d) and above_zero:
            nn.init.uniform_(norm.bias, 5.0, 6.0)
    return module.train()


@contextmanager
def bfloat16(on: bool) -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16, enabled=on):
        yield


def run(module: Any, how: Any, x: Tensor, state: tuple[Tensor, ...], low: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, gradients of all that goes in, and running statistics; and the weights' gradients."""
    x = x.clone().requires_grad_()
    state = tuple(tensor.clone().requires_grad_(bool(tensor.any())) for tensor in state)
    with bfloat16(low):
        y = how(module, x, state)
    y = y.to(x.dtype)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    (y * weights).sum().backward()
    inputs = [tensor.grad for tensor in (x, *state) if tensor.requires_grad]
    statistics = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    found = [y.detach(), *(grad for grad in inputs if grad is not None), *statistics]
    return found, [parameter.grad for parameter in module.parameters()]


def difference(value: Tensor, exact: Tensor) -> float:
    return float((value.double() - exact).norm() / exact.norm().clamp_min(1e-6))


SIZES = [(3, 30), (7, 9), (1, 70), (11, 6)]
PASTS = [("zeros", True), ("anything", False), ("anything", True), ("zeros", False)]
CASES = [(*size, *past) for size in SIZES for past in PASTS]


# Each size and each past is tried each time, but not all pairs of them.
@pytest.mark.parametrize(("sessions", "frames", "past", "above_zero"), sweep(CASES, CASES[::5].__contains__))
@pytest.mark.parametrize("name", MODULES)
def test_the_kernels_compute_what_the_layers_define(
    kernels: Any, name: str, sessions: int, frames: int, past: str, above_zero: bool
) -> None:
    check(kernels, name, sessions, frames, past, above_zero)


@pytest.mark.parametrize("above_zero", [True, False])
@pytest.mark.parametrize("name", MODULES)
def test_so_do_those_for_cpus_that_multiply_no_bfloat16(kernels_for_float32: Any, name: str, above_zero: bool) -> None:
    check(kernels_for_float32, name, 7, 9, "anything", above_zero)


def check(kernels: Any, name: str, sessions: int, frames: int, past: str, above_zero: bool) -> None:
    """Hold the kernels of a module against float64, allowing for what torch's own bfloat16 is off."""
    torch.manual_seed(0)
    make, channels = MODULES[name]
    module = randomised(make(), above_zero)
    exact, own = copy.deepcopy(module).double(), copy.deepcopy(module)
    x = torch.randn(sessions, channels, frames).bfloat16().float()
    state = tuple(tensor.detach() for tensor in module.start(torch.zeros(1, channels, 1), False)[1])  # type: ignore[operator]
    if past == "anything":
        state = tuple(torch.randn_like(tensor).bfloat16().float() for tensor in state)
    expected, of_weights = run(exact, run_each, x.double(), tuple(t.double() for t in state), low=False)
    plain, of_plain = run(module, run_interleaved, x, state, low=True)
    given, of_given = run(own, RowRunner(kernels, own), x, state, low=True)
    assert len(given) == len(expected)
    biases = {name for name, _ in module.named_parameters() if name.endswith("conv.bias")}  # whose gradient is 0
    largest = max(float(tensor.abs().max()) for tensor in of_weights)
    names = [str(i) for i in range(len(given))] + [name for name, _ in module.named_parameters()]
    for label, value, other, true in zip(names, given + of_given, plain + of_plain, expected + of_weights, strict=True):
        if label in biases or true.norm() < 1e-6:
            assert value.abs().max() <= 0.02 * largest
            continue
        assert value.shape == true.shape
        allowed = 2 * difference(other, true) + (SLACK if above_zero else ROUGH)
        assert difference(value, true) <= allowed, f"{label}: {difference(value, true):.3f}, allowed {allowed:.3f}"


@pytest.mark.parametrize("several", [1, 2, 5])
@pytest.mark.parametrize("name", ["more than a vector", "two of them", "change of channels"])
def test_a_step_is_the_same_each_time_and_nearly_so_with_other_threads(kernels: Any, name: str, several: int) -> None:
    torch.manual_seed(0)
    make, channels = MODULES[name]
    module, x = randomised(make()), torch.randn(16, channels, 20)
    state = tuple(tensor.detach() for tensor in module.start(torch.zeros(1, channels, 1), False)[1])  # type: ignore[operator]
    results = []
    for count in (several, several, 1):
        twin = copy.deepcopy(module)
        with threads(count):
            results.append(run(twin, RowRunner(kernels, twin), x, state, low=True))
    first, again, single = ([*values, *weights] for values, weights in results)
    assert all(map(torch.equal, first, again))
    for value, other in zip(first, single, strict=True):
        torch.testing.assert_close(value, other, rtol=0.1, atol=0.05 * float(other.abs().max()) + 1e-6)


@pytest.mark.parametrize("build", ["kernels", "kernels_for_float32"])
def test_a_nan_is_not_lost(request: pytest.FixtureRequest, build: str) -> None:
    kernels = request.getfixturevalue(build)
    for name, (make, channels) in MODULES.items():
        module = randomised(make())
        x = torch.randn(4, channels, 20)
        x[1, 0, 3] = torch.nan
        state = module.start(torch.zeros(1, channels, 1), False)[1]  # type: ignore[operator]
        with bfloat16(True):
            y = RowRunner(kernels, module)(module, x, state)  # type: ignore[arg-type]
        assert y.isnan().any(), name


@contextmanager
def collected() -> Iterator[None]:
    """What is made in it may not refer to itself. What is older is not searched, since that takes long."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
        assert gc.collect() == 0
    finally:
        gc.enable()
        gc.unfreeze()


def test_buffers_are_freed_with_the_graph(kernels: Any) -> None:
    calls: list[Callable[[], Tensor]] = []
    for make, channels in MODULES.values():
        module = randomised(make())
        runner, x = RowRunner(kernels, module), torch.randn(4, channels, 20)
        state = module.start(torch.zeros(1, channels, 1), False)[1]  # type: ignore[operator]
        calls.append(partial(runner, module, x, state))  # type: ignore[arg-type]
    with bfloat16(True), collected():
        for call in calls:
            call().sum().backward()


def test_a_weight_that_changes_before_the_gradient_is_noticed(kernels: Any) -> None:
    for name in ("stack", "spectrogram", "broadcast"):
        make, channels = MODULES[name]
        module = randomised(make())
        state = module.start(torch.zeros(1, channels, 1), False)[1]  # type: ignore[operator]
        with bfloat16(True):
            y = RowRunner(kernels, module)(module, torch.randn(4, channels, 20), state).sum()  # type: ignore[arg-type]
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.backward()


def test_outside_training_the_running_statistics_are_used(kernels: Any) -> None:
    make, channels = MODULES["stack"]
    module = randomised(make())
    state = module.start(torch.zeros(1, channels, 1), False)[1]  # type: ignore[operator]
    x = torch.randn(4, channels, 20)
    module.layers["0"].blocks[0].norm.eval()  # type: ignore[union-attr, index]
    runner = RowRunner(kernels, module)
    twin = copy.deepcopy(module)
    with bfloat16(True):
        assert torch.equal(runner(module, x, state), run_interleaved(twin, x, state))  # type: ignore[arg-type]


UNKNOWN = {
    "dropout": lambda: stack(8, [1, 2], skip_channels=8, dropout=0.1),
    "lookahead": lambda: stack(8, [1, 2], skip_channels=8, lookahead=1),
    "no skips": lambda: stack(8, [1, 2]),
    "another norm": lambda: stack(8, [1, 2], skip_channels=8, norm="layer"),
    "groups": lambda: stack(8, [1, 2], skip_channels=8, groups=2),
    "conditions": lambda: stack(8, [1, 2], skip_channels=8, local_channels=2),
    "weight norm": lambda: add_weight_norm(stack(8, [1, 2], skip_channels=8)),
    "float64": lambda: stack(8, [1, 2], skip_channels=8).double(),
    "stride": lambda: Chain(CausalConv1d(8, 8, 4, 2)),
    "dropped channels": lambda: Chain(BroadcastResidualBlock(8, 8, dropout=0.1)),
    "another device": lambda: stack(8, [1, 2], skip_channels=8).to("meta"),
    "no chain": lambda: nn.Linear(8, 8),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_left_to_torch(name: str) -> None:
    assert not can_run_rows(UNKNOWN[name]())


@pytest.mark.parametrize("name", ["stack", "spectrogram", "broadcast"])
def test_a_module_that_is_cast_later_is_left_to_torch(kernels: Any, name: str) -> None:
    make, channels = MODULES[name]
    module = randomised(make())
    runner = RowRunner(kernels, module)
    x, twin = torch.randn(4, channels, 20).double(), copy.deepcopy(module.double())
    state = module.start(torch.zeros(1, channels, 1).double(), False)[1]  # type: ignore[operator]
    given, expected = runner(module, x, state), run_interleaved(twin, x, state)  # type: ignore[arg-type]
    assert given.dtype == torch.float64
    assert torch.equal(given, expected)


def test_another_module_is_refused(kernels: Any) -> None:
    module, other = (stack(8, [1], skip_channels=8) for _ in range(2))
    with pytest.raises(ValueError, match="expected the module that this runs"):
        RowRunner(kernels, module)(other, torch.zeros(2, 8, 4), ())


TRAINED = [(name, b) for name in ("mel", "mel with an entry", "filters", "broadcast") for b in ("zeros", "silence")]


@pytest.mark.parametrize(("name", "boundary"), sweep(TRAINED, {*TRAINED[::4], *TRAINED[3::4]}.__contains__))
def test_each_keyword_model_trains_by_kernels(kernels: Any, name: str, boundary: Any) -> None:
    torch.manual_seed(0)
    config = ModelConfig(name="mel", channels=8, skip_channels=10, cycles=1, boundary=boundary)
    options: dict[str, dict[str, Any]] = {
        "mel": {},
        "mel with an entry": {"entry_channels": [4, 6]},
        "filters": {"name": "raw", "stem": "filters", "entry_channels": [4]},
        "broadcast": {"name": "broadcast"},
    }
    model = build_model(replace(config, **options[name]), 3, 16_000).train()
    assert can_run_rows(model.body)
    waveforms = torch.randn(6, 1, 8_000)
    augment = AugmentConfig(frequency_warp=0.1, style_probability=1.0, filter_db=5.0, time_masks=1, frequency_masks=1)
    plain, own = copy.deepcopy(model), copy.deepcopy(model)
    with bfloat16(True):
        expected = TrainingNetwork(plain, augment, run=run_interleaved)(waveforms, torch.Generator().manual_seed(1))
        own_network = TrainingNetwork(own, augment, run=RowRunner(kernels, own.body))
        given = own_network(waveforms, torch.Generator().manual_seed(1))
    torch.testing.assert_close(given, expected, rtol=0.1, atol=0.1 * float(expected.detach().abs().max()))
    given.square().sum().backward()
    assert all(parameter.grad is not None for parameter in own.parameters())


def test_the_two_builds_store_the_same_numbers(kernels: Any, kernels_for_float32: Any) -> None:
    """What the two builds store differs only where sums of other order fall to other sides of an edge."""
    module, x = randomised(stack(8, [1, 2], skip_channels=8)), torch.randn(5, 8, 40)
    state = module.start(torch.zeros(1, 8, 1), False)[1]  # type: ignore[operator]
    twins = [copy.deepcopy(module) for _ in range(2)]
    native, other = (
        RowRunner(built, twin)(twin, x, state)  # type: ignore[arg-type]
        for built, twin in zip((kernels, kernels_for_float32), twins, strict=True)
    )
    assert (native == other).float().mean() > 0.9
    torch.testing.assert_close(native, other, rtol=0.02, atol=0.02)
