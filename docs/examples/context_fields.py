"""What one output of the context module, and of ASPP, reads of a spoken sentence.

    python docs/examples/context_fields.py --plot docs/pictures

Modules for dense prediction give an output for each bin of each frame. Here the receptive field of one output is drawn
over a mel spectrogram: the box that it spans, and the places inside that it really reads. The context module reads
every place of its box; ASPP few of them. Another sound is drawn with ``--audio FILE``.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wavedil import receptive_field
from wavedil.audio import load_audio
from wavedil.config import FeatureConfig
from wavedil.features import LogMel
from wavedil.layers import StreamingModule
from wavedil.models import ASPPv2, ASPPv3, ContextModule
from wavedil.receptive.draw import save_field

SAMPLE_RATE = 16_000
FEATURES = FeatureConfig(n_fft=2048, win_length=640, hop_length=160, n_mels=80)
SENTENCE = "Seven birds sang over the quiet harbour."

# Image-level features, which read all bins, are left out where the local field is to be seen.
MODULES = {
    "context": ContextModule(1),
    "context_causal": ContextModule(1, causal=True),
    "aspp_v2": ASPPv2(1, 1),
    "aspp_v3": ASPPv3(1, 1, image_pooling="none"),
    "aspp_v3_causal": ASPPv3(1, 1, image_pooling="none", causal=True),
}


def taps(module: StreamingModule, bins: int = 161, frames: int = 161) -> set[tuple[int, int]]:
    """The places that one output reads, as distances in bins and frames from its own.

    They are where the gradient is not zero, with all weights positive so that no two paths cancel.
    """
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_().add_(0.1)
    x = torch.ones(1, 1, bins, frames, dtype=torch.float64, requires_grad=True)
    middle = bins // 2, frames // 2
    module(x)[(0, 0, *middle)].backward()
    assert x.grad is not None
    return {(b - middle[0], t - middle[1]) for b, t in x.grad[0, 0].nonzero().tolist()}


@dataclass(frozen=True)
class Reading:
    """What one output reads, in bins and frames from its own.

    Attributes:
        time: first and last frame.
        frequency: first and last bin.
        places: those read.
    """

    time: tuple[float, float]
    frequency: tuple[float, float]
    places: set[tuple[int, int]]

    @property
    def box(self) -> int:
        """Places that the box spans."""
        return math.prod(int(last - first + 1) for first, last in (self.time, self.frequency))


def reading(module: StreamingModule) -> Reading:
    """The box by the module's graph, the places inside by its gradient; the two must agree."""
    answer = receptive_field(module.eval(), torch.zeros(1, 1, 10, 100), taps=False)
    found = Reading(answer.axes.time.field.at(0), answer.axes["frequency"].field.at(0), taps(module))
    bins, frames = zip(*found.places, strict=True)
    assert found.frequency == (min(bins), max(bins))
    assert found.time == (min(frames), max(frames))
    return found


def sound(path: str | None) -> Tensor:
    """A file's samples, or the sentence spoken by espeak-ng (``pip install "wavedil[demo]"``), ``(time,)``."""
    if path is not None:
        return load_audio(path, SAMPLE_RATE).samples
    from wavedil.data.espeak import SAMPLE_RATE as SPOKEN_RATE
    from wavedil.data.espeak import Espeak

    return load_audio((Espeak().speak(SENTENCE), SPOKEN_RATE), SAMPLE_RATE).samples


def mel_edges() -> list[float]:
    """The corners of the mel bands in Hz."""
    low, high = (math.log1p(hz / 700) for hz in (FEATURES.f_min, FEATURES.f_max or SAMPLE_RATE / 2))
    steps = FEATURES.n_mels + 1
    return [700 * math.expm1(low + (high - low) * i / steps) for i in range(steps + 1)]


def draw(found: Reading, log_mel: Tensor, path: Path) -> None:
    """The box and, where it has holes, the places read, of an output in the middle of a spectrogram ``(bins, frames)``.

    Args:
        found: what the output reads.
        log_mel: log energies.
        path: of a PNG or SVG.
    """
    band, frame = log_mel.shape[0] // 2, log_mel.shape[1] // 2
    dense = len(found.places) == found.box
    save_field(
        log_mel.numpy(),
        path,
        field_time=(found.time[0] + frame, found.time[1] + frame),
        field_frequency=(found.frequency[0] + band, found.frequency[1] + band),
        output=(band, frame),
        hop_seconds=FEATURES.hop_length / SAMPLE_RATE,
        band_edges_hz=mel_edges(),
        taps=None if dense else [(b + band, t + frame) for b, t in found.places],
    )


def main(arguments: list[str] | None = None) -> None:
    """Print what each module reads and, if asked to, draw it."""
    parser = argparse.ArgumentParser(description="Print what one output of each module reads.")
    parser.add_argument("--audio", help="a sound file; without it, espeak-ng speaks a sentence")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="draw a picture of each module's field there")
    args = parser.parse_args(arguments)
    log_mel = LogMel(SAMPLE_RATE, FEATURES)(sound(args.audio)[None, None])[0] if args.plot else None
    hop_ms = 1000 * FEATURES.hop_length / SAMPLE_RATE
    print("module          frames x bins   places read   from      to")
    for name, module in MODULES.items():
        found = reading(module)
        frames, bins = (int(last - first + 1) for first, last in (found.time, found.frequency))
        ends = f"{found.time[0] * hop_ms:5.0f} ms  {found.time[1] * hop_ms:3.0f} ms"
        print(f"{name:15} {frames:6} x {bins:2}  {len(found.places):6} of {found.box:4}  {ends}")
        if log_mel is not None:
            draw(found, log_mel, args.plot / f"field_{name}.png")


if __name__ == "__main__":
    main()
