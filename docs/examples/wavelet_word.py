"""A word taken apart by the algorithme a trous and put together again.

    python docs/examples/wavelet_word.py --plot docs/pictures/wavelet_word.png

The starlet gives a band for each octave, fine to coarse: consonants stand in the fine ones, the voice's pitch in the
coarse ones, and their sum is the word again. The causal form does the same while the word is being spoken.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from wavedil import Stream
from wavedil.audio import load_audio
from wavedil.data.espeak import SAMPLE_RATE as SPOKEN_RATE
from wavedil.data.espeak import Espeak
from wavedil.receptive.draw.figure import BLUE, VERMILION, new_figure, picture_path, save_figure
from wavedil.wavelets import AtrousWavelet1d

SAMPLE_RATE = 16_000
CHUNK = 160  # 10 ms


def load_word(audio: str | None, word: str) -> Tensor:
    """A recording, or the word as espeak-ng speaks it, ``(1, 1, time)`` in float64 at 16 kHz."""
    source = audio or (Espeak().speak(word), SPOKEN_RATE)
    return load_audio(source, SAMPLE_RATE).samples.double()[None, None]


def streamed(wavelet: AtrousWavelet1d, x: Tensor) -> Tensor:
    """Analysis and synthesis of a signal that comes in chunks: the signal, ``wavelet.delay`` samples late."""
    analysis, synthesis = (Stream(part, dtype=x.dtype) for part in (wavelet.analysis, wavelet.synthesis))
    ended = torch.cat([x, x.new_zeros(1, 1, wavelet.delay)], dim=-1)
    return torch.cat([synthesis.push(analysis.push(chunk)) for chunk in ended.split(CHUNK, dim=-1)], dim=-1)


def band_centres(wavelet: AtrousWavelet1d) -> list[float]:
    """Where the response of each detail band to an impulse has its peak, in Hz."""
    size = 8 * wavelet.receptive_field
    impulse = torch.zeros(1, 1, size, dtype=torch.float64)
    impulse[..., size // 2] = 1
    start = wavelet.margin[0]
    responses = wavelet(impulse)[0, 0, :-1, start : start + size]
    return (torch.fft.rfft(responses).abs().argmax(dim=-1) * SAMPLE_RATE / size).tolist()


def plot(path: Path, x: Tensor, bands: Tensor, resynthesis: Tensor, titles: list[str]) -> None:
    """Save the word, its bands and their sum, one above the other, each to its own scale."""
    rows = [("the word", x), *zip(titles, bands, strict=True), ("resynthesis", resynthesis)]
    figure = new_figure(10, 1.05 * len(rows))
    panels = figure.subplots(len(rows), 1, sharex=True)
    milliseconds = torch.arange(x.numel()) * 1000 / SAMPLE_RATE
    for axes, (title, values) in zip(panels, rows, strict=True):
        colour = BLUE if title in titles else VERMILION
        axes.plot(milliseconds, values, color=colour, linewidth=0.6)
        axes.set_title(title, loc="left", fontsize="small", pad=2)
        largest = 1.1 * float(values.abs().max()) or 1.0
        axes.set_ylim(-largest, largest)
        axes.locator_params(axis="y", nbins=3)
        axes.tick_params(labelsize="x-small")
    panels[-1].set_xlabel("time (ms)")
    panels[-1].set_xlim(0, float(milliseconds[-1]))
    save_figure(figure, path)


def main() -> None:
    """Print what each band holds and how exactly their sum is the word; with ``--plot``, draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--audio", metavar="FILE", help="a recording; without it, espeak-ng speaks the word")
    parser.add_argument("--word", default="seven", help="what is spoken (%(default)s)")
    parser.add_argument("--levels", type=int, default=7, metavar="N", help="%(default)s")
    parser.add_argument("--wavelet", default="starlet", metavar="NAME", help="or one of PyWavelets (%(default)s)")
    parser.add_argument("--plot", type=picture_path, metavar="FILE", help="picture to save, .png or .svg")
    args = parser.parse_args()
    x = load_word(args.audio, args.word)
    wavelet = AtrousWavelet1d(args.levels, args.wavelet)
    coefficients = wavelet.analysis(x)
    resynthesis = wavelet.synthesis(coefficients)
    bands = coefficients[0, 0, :, wavelet.margin[0] :][:, : x.shape[-1]]
    print(f"{x.shape[-1]:,} samples at {SAMPLE_RATE:,} Hz, the coarsest band reads {wavelet.receptive_field:,}")
    centres = [f"strongest at {centre:,.0f} Hz" for centre in band_centres(wavelet)]
    titles = [f"w{j}: {centre}" for j, centre in enumerate(centres, 1)] + [f"c{args.levels}: what is left"]
    for title, band in zip(titles, bands, strict=True):
        print(f"{title:28}  root mean square {float(band.square().mean().sqrt()):.4f}")
    causal = AtrousWavelet1d(args.levels, args.wavelet, causal=True)
    late = streamed(causal, x)[..., causal.delay :]
    print(f"reconstruction error {float((resynthesis - x).abs().max()):.1e}")
    print(f"streamed in chunks of 10 ms, {causal.delay} samples late: {float((late - x).abs().max()):.1e}")
    if args.plot:
        plot(args.plot, x[0, 0], bands, resynthesis[0, 0], titles)


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as missing:  # an extra; the message names it
        sys.exit(str(missing))
