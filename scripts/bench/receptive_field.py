"""How long the receptive-field calculator takes: cold starts of the command, and the trace of a deep module.

python scripts/bench/receptive_field.py
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from wavedil.receptive import exponential_dilations, receptive_field, stack, verify_receptive_field

COMMANDS = (
    "--kernel 3 --dilations 1,2,4,8",
    "--kernel 3 --dilations 1,2,4,...,512 --cycles 100",
    "configs/mel.toml",
    "design --ms 400 --sample-rate 16000 --kernel 3",
)


class WaveNet(nn.Module):
    """Sixty gated layers as a user writes them: two convolutions, a gate, residual and skip.

    Args:
        channels: of input, residual and skip.
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.dilations = exponential_dilations(6, 10)
        self.filters = nn.ModuleList(nn.Conv1d(channels, channels, 2, dilation=d) for d in self.dilations)
        self.gates = nn.ModuleList(nn.Conv1d(channels, channels, 2, dilation=d) for d in self.dilations)
        self.residuals = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in self.dilations)
        self.skips = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in self.dilations)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, time)`` to the same."""
        total = torch.zeros_like(x)
        layers = zip(self.dilations, self.filters, self.gates, self.residuals, self.skips, strict=True)
        for dilation, filtered, gate, residual, skip in layers:
            padded = nn.functional.pad(x, (dilation, 0))
            z = torch.tanh(filtered(padded)) * torch.sigmoid(gate(padded))
            x, total = x + residual(z), total + skip(z)
        return total


def seconds(action: Callable[[], object], repeats: int) -> float:
    """Median time of an action."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    rows = []
    for command in COMMANDS:
        line = [sys.executable, "-m", "wavedil", "rf", *command.split()]
        taken = seconds(lambda line=line: subprocess.run(line, check=True, capture_output=True), repeats)
        rows.append((f"`wavedil rf {command}`, cold", taken))
    dilations = exponential_dilations(100, 10)
    rows.append(("1,000 layers, in a running Python", seconds(lambda: stack(3, dilations), repeats)))
    module, example = WaveNet().eval(), torch.zeros(1, 32, 1000)
    rows.append(("60-layer gated WaveNet, traced", seconds(lambda: receptive_field(module, example), 3)))
    rows.append(("the same, traced and verified", seconds(lambda: verify_receptive_field(module, example), 3)))
    print("| what | median |\n|---|---|")
    for name, taken in rows:
        print(f"| {name} | {taken:.3g} s |")


if __name__ == "__main__":
    main()
