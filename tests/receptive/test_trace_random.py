"""Random networks as modules: the trace is the arithmetic, and is what gradients and NaN measure."""

import random

import pytest
import torch
from random_graphs import Layer, Network, Sum, field_of, random_network, taps_of
from sweeps import sweep
from torch import Tensor, nn
from torch.nn import functional as F

from wavedil.receptive.trace.module import trace
from wavedil.receptive.verify import verify_receptive_field


class Built(nn.Module):
    """A random network as torch has it: layers with padding, of other kinds where another kind reads the same."""

    def __init__(self, network: Network, rng: random.Random) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            Branches(part, rng) if isinstance(part, list) else Padded(part, rng) for part in network
        )

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = torch.tanh(part(x))
        return x


class Branches(nn.Module):
    """Parallel branches, added or concatenated, of which the longest are cut off at the end."""

    def __init__(self, branches: Sum, rng: random.Random) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Built(list(branch), rng) for branch in branches)
        self.concatenated = rng.random() < 0.5

    def forward(self, x: Tensor) -> Tensor:
        results = [branch(x) for branch in self.branches]
        sizes = [min(sizes) for sizes in zip(*(y.shape[2:] for y in results), strict=True)]
        cut = [y[(..., *(slice(size) for size in sizes))] for y in results]
        return torch.cat(cut, 1).mean(1, keepdim=True) if self.concatenated else torch.stack(cut).sum(0)


class Padded(nn.Module):
    """A layer after its padding: a convolution, or pooling or a repetition that reads the same."""

    def __init__(self, layer: Layer, rng: random.Random) -> None:
        super().__init__()
        self.layer = layer
        sizes, strides, dilations = ([getattr(g, n) for g in layer] for n in ("kernel_size", "stride", "dilation"))
        one = len(layer) == 1
        self.kind: nn.Module
        if layer[0].transposed:
            transpose = nn.ConvTranspose1d if one else nn.ConvTranspose2d
            self.kind = transpose(1, 1, tuple(sizes), tuple(strides), dilation=tuple(dilations))
            if sizes == strides and max(dilations) == 1 and rng.random() < 0.5:
                self.kind = nn.Upsample(scale_factor=tuple(float(s) for s in strides))
        elif rng.random() < 0.3:
            self.kind = (nn.MaxPool1d if one else nn.MaxPool2d)(tuple(sizes), tuple(strides), dilation=tuple(dilations))
            if max(dilations) == 1 and rng.random() < 0.5:
                self.kind = (nn.AvgPool1d if one else nn.AvgPool2d)(tuple(sizes), tuple(strides))
        else:
            convolve = nn.Conv1d if one else nn.Conv2d
            self.kind = convolve(1, 1, tuple(sizes), tuple(strides), dilation=tuple(dilations))

    def forward(self, x: Tensor) -> Tensor:
        # On the right as many zeros as there is a whole window.
        edges = [] if self.layer[0].transposed else [(g.padding, g.span - 1) for g in self.layer]
        y = self.kind(F.pad(x, [width for edge in reversed(edges) for width in edge]) if edges else x)
        return y[(..., *(slice(g.padding, None) for g in self.layer))] if not edges else y


@pytest.mark.parametrize("seed", sweep(range(60), lambda seed: seed % 6 == 0))
def test_a_random_network(seed):
    rng = random.Random(f"modules {seed}")
    axes = 1 + seed % 4 // 3
    network = random_network(rng, axes)
    module = Built(network, rng).eval()
    x = torch.zeros(1, 1, *[60, 70][:axes])
    traced = trace(module, x)
    # The module's time axis is the last, the network's the second of two.
    for axis, taps in zip(range(axes), traced.taps, strict=True):
        assert taps is not None
        expected = taps_of(network, axes - 1 - axis)
        for n in range(-3, 2 * expected.outputs):
            assert taps.positions(n) == expected.positions(n), f"{network}, output {n}"
        assert taps.hull == traced.fields[axis]
        if field_of(network, axes - 1 - axis) == expected.hull:
            assert traced.fields[axis].at(5) == field_of(network, axes - 1 - axis).at(5)
    verified = verify_receptive_field(module, x, traced=traced)
    assert verified.taps
    assert verified.outputs > 0
