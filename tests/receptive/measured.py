"""What the tests of measured receptive fields share."""

import torch
from torch import Tensor, nn

from wavedil.receptive.measure import gradient_reach, reach_hull


class Function(nn.Module):
    """Any function as a module; its parts are given to it by keyword."""

    def __init__(self, function, **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleDict(parts)

    def forward(self, *inputs):
        return self.function(*inputs, **self.parts)


def hull(module, x, index, **options):
    """First and last input along the last axis that a module or function reads."""
    module = module if isinstance(module, nn.Module) else Function(module)
    return reach_hull(gradient_reach(module, x, index, **options))


def signal(channels: int = 8, time: int = 40) -> Tensor:
    return torch.zeros(1, channels, time)


def words(text: str) -> list[str]:
    return text.split()
