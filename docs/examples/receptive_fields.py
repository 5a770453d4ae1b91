"""Receptive fields in a notebook: run the cells one after the other, or the whole file with `python`."""

# %% A stack by its numbers: no weights, no torch.
from wavedil.receptive import exponential_dilations, stack

answer = stack(3, exponential_dilations(3, 10), channels=64, sample_rate=16_000)
print(answer.receptive_field, "samples, or", answer.axes.time.to_json(16_000)["ms"]["receptive_field"], "ms")
assert answer.receptive_field == 6139
assert (answer.history, answer.lookahead, answer.hop) == (6138, 0, 1)

# %% What the hull does not say: holes. Dilations 2, 2, 2 never read the odd inputs.
gridded = stack(3, [2, 2, 2])
print("holes:", gridded.axes.time.holes)
assert gridded.axes.time.holes == (-11, -9, -7, -5, -3, -1)

# %% Any module, through its graph: here a strided encoder with a residual branch and a decoder.
import torch
from torch import Tensor, nn

import wavedil


class Codec(nn.Module):
    """Down by 4, a dilated residual layer, and up again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, 8, kernel_size=8, stride=4, padding=2)
        self.body = nn.Conv1d(8, 8, kernel_size=3, dilation=9, padding=9)
        self.decoder = nn.ConvTranspose1d(8, 1, kernel_size=8, stride=4, padding=2)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(batch, 1, time)`` to the same."""
        frames = torch.relu(self.encoder(waveform))
        return self.decoder(frames + torch.relu(self.body(frames)))


codec = Codec().eval()
answer = wavedil.receptive_field(codec, torch.zeros(1, 1, 400), sample_rate=16_000)
for layer in answer.layers:
    print(f"{layer.name:10} {layer.kind:10} reads {layer.time.receptive_field} samples, hop {layer.time.hop}")
print("smallest and largest over the phases:", answer.axes.time.smallest_receptive_field, answer.receptive_field)
assert answer.lookahead is not None
assert answer.lookahead > 0  # it cannot stream as it is

# %% Believe it because it was measured: gradients of every phase and NaN, on the module itself.
from wavedil.receptive import effective_field, verify_receptive_field

print(verify_receptive_field(codec, torch.zeros(1, 1, 400)))

# %% How much of the field does the module really use? The spread of its gradient says.
measured = effective_field(codec, torch.zeros(1, 1, 400))
print(
    f"sigma {measured.sigma:.1f} samples; 95% of the gradient within {measured.width95} of {measured.receptive_field}"
)
assert measured.width95 <= measured.receptive_field == answer.receptive_field

# %% Backwards: a stack for 400 ms at 16 kHz.
from wavedil.receptive.design import design

for candidate in design(6400, kernel_size=3, channels=64, sample_rate=16_000, dense=True)[:3]:
    print(candidate.layers, "layers,", candidate.receptive_field, "samples:", candidate.constructor())
