"""The pictures of ``wavedil rf``: dilation tree, tap histogram and the field over a mel spectrogram."""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from wavedil.cli.rf_target import is_config
from wavedil.config import FeatureConfig
from wavedil.receptive.answer import Answer
from wavedil.receptive.arithmetic import Field
from wavedil.receptive.description import Layer, chained_fields, chained_taps
from wavedil.receptive.draw import (
    field_text,
    histogram_text,
    save_field,
    save_histogram,
    save_tree,
    tree_text,
)
from wavedil.receptive.taps import Taps

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# Of a spectrogram that no sample rate is given for.
_SAMPLE_RATE = 16_000
# Wider trees hold more nodes than anybody sees.
_WIDEST_TREE, _DEEPEST_TREE = 100_000, 100
# Numbers of paths are counted in at most 2 MiB, which takes some seconds.
_MOST_PATH_BITS, _MOST_PATH_WORK = 2**24, 2**30
_WIDEST_HISTOGRAM = 2**17
# More taps than these would be a blot.
_MOST_DOTS = 5_000

Layers = Sequence[Layer] | None


def picture_text(name: str, args: argparse.Namespace, answer: Answer, layers: Layers, width: int) -> str:
    """A picture as terminal text.

    Args:
        name: "tree", "taps" or "field".
        args: of the command.
        answer: what is pictured.
        layers: described ones; None where the answer comes from a module.
        width: columns.

    Raises:
        ValueError: if there is no such picture of this target.
    """
    if name == "tree":
        return tree_text(_tree(answer, layers), width)
    if name == "taps":
        return histogram_text(_paths(args, answer, layers), width)
    scene = _scene(args, answer, layers)
    return field_text(scene.spectrogram, width=width, **scene.places)


def save_picture(args: argparse.Namespace, answer: Answer, layers: Layers) -> None:
    """Draw the picture that was asked for to the file ``--plot``."""
    if args.tree:
        save_tree(_tree(answer, layers), args.plot)
    elif args.taps:
        paths = _paths(args, answer, layers)
        rate = None if answer.sample_rate is None else round(answer.sample_rate)
        save_histogram(paths, args.plot, rate, **(_moments(paths) if isinstance(paths, dict) else {}))
    else:
        scene = _scene(args, answer, layers)
        save_field(scene.spectrogram, args.plot, taps=scene.taps, **scene.places)
    print(f"drawn to {args.plot}", file=sys.stderr)


def _tree(answer: Answer, layers: Layers) -> list[tuple[int, int, int, int]]:
    """The layers along time as the tree has them: kernel size, dilation, stride and first tap."""
    field = answer.receptive_field
    if layers is None or field is None or field > _WIDEST_TREE:
        raise ValueError(f"--tree: expected described layers and a field of at most {_WIDEST_TREE:,}, got {field}")
    if len(layers) > _DEEPEST_TREE:
        raise ValueError(f"--tree: expected at most {_DEEPEST_TREE} layers, got {len(layers):,}")
    for layer in layers:
        if layer.time.transposed:
            raise ValueError(f"--tree: expected convolutions and pools, got {layer.name}, a transposed layer")
        if layer.time.residual and not layer.time.reads_own:
            raise ValueError(f"--tree: {layer.name} has a residual branch that is no tap of its kernel")
    times = [layer.time for layer in layers]
    return [(time.kernel_size, time.dilation, time.stride, -time.padding) for time in times]


def _paths(args: argparse.Namespace, answer: Answer, layers: Layers) -> dict[int, int] | frozenset[int]:
    """Numbers of paths by offset from the newest input of the output's own period, as in the list of holes.

    Of a module only the set of offsets: through its channels and branches no number of paths is well defined.
    """
    axis = answer.axes.time
    if axis.receptive_field is not None and axis.receptive_field > _WIDEST_HISTOGRAM:
        raise ValueError(f"--taps: expected a field of at most {_WIDEST_HISTOGRAM:,}, got {axis.receptive_field:,}")
    taps = axis.taps if layers is None else _counted(answer, layers)
    if taps is None:
        raise ValueError("--taps: the inputs that this output reads are not known one by one")
    widest = max(range(taps.outputs), key=lambda phase: axis.field.at(phase)[1] - axis.field.at(phase)[0])
    output = widest if args.output is None else args.output
    newest = (output // taps.outputs + 1) * taps.inputs - 1
    offsets = {position - newest: count for position, count in taps.counts(output).items()}
    return frozenset(offsets) if layers is None else offsets


def _counted(answer: Answer, layers: Sequence[Layer]) -> Taps:
    times = [layer.time for layer in layers]
    field = answer.axes.time.field
    bits = field.outputs * field.receptive_field * math.prod(time.paths for time in times).bit_length()
    if bits > _MOST_PATH_BITS or bits * max(time.kernel_size for time in times) > _MOST_PATH_WORK:
        sizes = f"{len(times):,} layers, {field.receptive_field:,} inputs"
        raise ValueError(f"--taps: the paths through these layers are too many to count: {sizes}")
    return chained_taps(times, counted=True)


def _moments(paths: dict[int, int]) -> dict[str, float]:
    """Mean and standard deviation of the offsets; whole numbers of any size until the end."""
    total = sum(paths.values())
    mean = Fraction(sum(offset * count for offset, count in paths.items()), total)
    square = Fraction(sum(offset * offset * count for offset, count in paths.items()), total)
    return {"mean": float(mean), "sigma": math.sqrt(square - mean * mean)}


def _newest(stride: Fraction, output: int) -> int:
    """The newest input of the output's own hop."""
    return math.ceil((output + 1) * stride) - 1


@dataclass(frozen=True)
class _Scene:
    """A spectrogram and what an output reads of it.

    Attributes:
        spectrogram: log energies, ``(n_mels, frames)``.
        places: field, output and axes, by the names that the drawing functions give them.
        taps: pairs of a band and a frame that are read; None where the field has no holes, or too many taps.
    """

    spectrogram: "np.ndarray"
    places: dict[str, Any]
    taps: list[tuple[int, int]] | None


def _scene(args: argparse.Namespace, answer: Answer, layers: Layers) -> _Scene:
    """An output near the end of a sound that is long enough for its field."""
    time, time_taps = _in_frames(answer, layers)
    features, rate = _front_end(args, answer, layers)
    hop_seconds = features.hop_length / rate
    span = 50 if math.isinf(time.receptive_field) else int(time.receptive_field)
    spectrogram = _log_mel(_sound(args.audio, rate, (1.25 * span + 10) * hop_seconds), rate, features)
    n_mels, frames = spectrogram.shape
    output = args.output
    if output is None:
        ahead = 0 if math.isinf(time.lookahead) else int(time.lookahead)
        output = max(int(0.95 * (frames - ahead) / time.stride) - 1, 0)
    frame = _newest(time.stride, output)
    if frame >= frames:
        raise ValueError(f"--output: expected one of the {frames} frames of the sound, got {output}, frame {frame}")
    band = answer.axes.frequency
    middle = 0 if band is None else int(n_mels / 2 / band.hop)
    low, high = (0, n_mels - 1) if band is None else band.field.at(middle)
    centre = n_mels // 2 if math.isinf(high - low) else min(max(int(low + high) // 2, 0), n_mels - 1)
    places = {
        "field_time": time.at(output),
        "field_frequency": (low, high),
        "output": (centre, frame),
        "hop_seconds": hop_seconds,
        "band_edges_hz": _band_edges(rate, features),
    }
    taps = _positions(time_taps, output, frames), _positions(None if band is None else band.taps, middle, n_mels)
    # A module may branch: what it reads along one axis then depends on where it reads along the other.
    return _Scene(spectrogram, places, None if layers is None else _dots(*taps))


def _in_frames(answer: Answer, layers: Layers) -> tuple[Field, Taps | None]:
    """Field and taps along time behind the front end, which makes the frames."""
    if layers is not None and layers[0].kind == "framing":
        fields, taps = chained_fields([layer.time for layer in layers[1:]])
        return fields[-1] if fields else Field.identity(), taps
    if answer.axes.frequency is None:
        raise ValueError("--field: expected frames as input, got samples; give --framing or --bins")
    return answer.axes.time.field, answer.axes.time.taps


def _front_end(args: argparse.Namespace, answer: Answer, layers: Layers) -> tuple[FeatureConfig, int]:
    """The log-mel front end that stands for the one described, and its sample rate in Hz."""
    if args.target is not None and is_config(args.target):
        from wavedil.training.config import load_config

        config = load_config(args.target)
        return config.model.features, config.data.sample_rate
    features, rate = FeatureConfig(), answer.sample_rate
    if layers is not None and layers[0].kind == "framing":
        framing = layers[0].time
        win_length, hop_length, rate = framing.kernel_size, framing.stride, round(rate or _SAMPLE_RATE)
    else:  # the rate is that of the frames
        hop_length = round(_SAMPLE_RATE / rate) if rate else features.hop_length
        win_length, rate = max(features.win_length, hop_length), _SAMPLE_RATE
    if args.bins is not None:
        bins = args.bins
    else:
        bins = features.n_mels if args.input is None or layers is not None else args.input[args.frequency_axis]
    # Fine enough for a Fourier bin in each band.
    n_fft = 1 << (max(win_length, 16 * bins) - 1).bit_length()
    return FeatureConfig(n_fft=n_fft, win_length=win_length, hop_length=hop_length, n_mels=bins), rate


def _sound(path: str | None, sample_rate: int, seconds: float) -> "Tensor":
    """A file's samples, or a tone that rises over the whole range in at least the given time, ``(time,)``."""
    import torch

    if path is not None:
        from wavedil.audio import load_audio

        return load_audio(path, sample_rate).samples
    samples = math.ceil(max(seconds, 1.0) * sample_rate)
    octaves = torch.linspace(math.log2(80), math.log2(0.45 * sample_rate), samples, dtype=torch.float64)
    phase = (2 * math.pi * 2**octaves / sample_rate).cumsum(0)
    return (0.5 * torch.sin(phase)).float()


def _log_mel(samples: "Tensor", sample_rate: int, features: FeatureConfig) -> "np.ndarray":
    """Log energies, ``(n_mels, frames)``."""
    from wavedil.features import LogMel

    return LogMel(sample_rate, features)(samples[None, None])[0].numpy()


def _band_edges(sample_rate: int, features: FeatureConfig) -> list[float]:
    """The corners of the mel bands in Hz, ``n_mels + 2`` of them, on the scale of :class:`wavedil.features.LogMel`."""
    ends = (features.f_min, features.f_max or sample_rate / 2)
    low, high = (math.log1p(hz / 700) for hz in ends)
    steps = features.n_mels + 1
    return [700 * math.expm1(low + (high - low) * i / steps) for i in range(steps + 1)]


def _positions(taps: Taps | None, output: int, size: int) -> tuple[Sequence[int], bool]:
    """The inputs below ``size`` that an output reads, all where the taps are not known, and whether there are holes."""
    if taps is None:
        return range(size), False
    return [i for i in taps.positions(output) if 0 <= i < size], bool(taps.holes(output))


def _dots(times: tuple[Sequence[int], bool], bands: tuple[Sequence[int], bool]) -> list[tuple[int, int]] | None:
    """All pairs of a band and a frame, for a chain reads the same along one axis wherever it reads along the other."""
    wanted = (times[1] or bands[1]) and len(times[0]) * len(bands[0]) <= _MOST_DOTS
    return [(band, frame) for band in bands[0] for frame in times[0]] if wanted else None
