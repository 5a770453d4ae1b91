"""The starlet of long audio against PyWavelets, and the memory of its streamed form.

    python scripts/bench/wavelets.py

Needs the extra `wavelets`. PyWavelets runs the same five taps, periodically, on the signal cut to a multiple of
2^levels; both give all details and the last smooth part, and must agree.
"""

import argparse
import importlib
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from wavedil.streaming import Stream
from wavedil.wavelets import AtrousWavelet1d
from wavedil.wavelets.filters import STARLET


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of audio")
    parser.add_argument("--sample-rate", type=int, default=16_000)
    parser.add_argument("--levels", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement, of which the median is printed")
    parser.add_argument("--threads", type=int, default=1, help="of torch; PyWavelets has one")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 60.0, 600.0], help="streamed, growing")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    samples = int(args.minutes * 60 * args.sample_rate) >> args.levels << args.levels
    stream_memory(args.seconds, args.sample_rate, args.levels)  # first, for a peak never falls
    print(f"{samples:,} samples, {args.levels} levels, median of {args.repeats}, {args.threads} threads")
    for dtype in (np.float32, np.float64):
        compare(np.random.default_rng(0).standard_normal(samples).astype(dtype), args.levels, args.repeats)


def compare(signal: np.ndarray, levels: int, repeats: int) -> None:
    """Both transforms of one signal, in turn, so that a busy machine is busy for both."""
    pywt: Any = importlib.import_module("pywt")
    smooth, here = np.array([0.0, *STARLET]), np.eye(6)[3]  # of even length: PyWavelets shifts odd ones
    reference = pywt.Wavelet("starlet", filter_bank=[smooth, here - smooth, here, here])
    wavelet = AtrousWavelet1d(levels, boundary="periodic")
    x = torch.from_numpy(signal)[None, None]
    calls: dict[str, Callable[[], Any]] = {
        "wavedil": lambda: wavelet.analysis(x),
        "pywt.swt": lambda: pywt.swt(signal, reference, levels, trim_approx=True),
    }
    bands, expected = (call() for call in calls.values())
    pairs = zip(bands[0, 0].flip(0).numpy(), expected, strict=True)
    error = max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
    del bands, expected
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            result = call()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
            del result  # not while the clock runs
    medians = {}
    for name, taken in times.items():
        wall, cpu = (sorted(column) for column in zip(*taken, strict=True))
        medians[name] = statistics.median(wall)
        spread = f"{wall[0]:.3f} to {wall[-1]:.3f}"
        print(f"{signal.dtype}  {name:8}  {medians[name]:.3f} s ({spread}), {statistics.median(cpu):.3f} s of CPU")
    ratio = medians["pywt.swt"] / medians["wavedil"]
    print(f"{signal.dtype}  {ratio:.1f} times as fast; they differ by {error:.1e}")


def stream_memory(durations: list[float], sample_rate: int, levels: int) -> None:
    """Peak memory of the process after streaming ever longer signals through analysis and synthesis."""
    wavelet = AtrousWavelet1d(levels, causal=True)
    chunk = torch.randn(1, 1, sample_rate // 10)
    for seconds in durations:
        analysis, synthesis = Stream(wavelet.analysis), Stream(wavelet.synthesis)
        start = time.perf_counter()
        error = 0.0
        for _ in range(round(seconds * 10)):
            error = max(error, float((synthesis.push(analysis.push(chunk)) - chunk).abs().max()))
        taken = time.perf_counter() - start
        state = sum(tensor.nbytes for tensor in analysis.snapshot().state)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"streamed {seconds:5.0f} s: state {state:,} bytes, peak memory {peak:.1f} MiB, "
            f"{seconds / taken:.0f} times real time, reconstruction error {error:.1e}"
        )


if __name__ == "__main__":
    main()
