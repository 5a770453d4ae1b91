"""Stacks for a wanted receptive field: the arithmetic backwards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

from wavedil.checks import bounded_number
from wavedil.receptive.arithmetic import _require_positive
from wavedil.receptive.dilations import exponential_dilations
from wavedil.receptive.gridding import count_taps, span

# What is searched: bases 1 to LARGEST_BASE and the kernel size, 1 to MOST_CYCLES cycles, at most MOST_LAYERS layers.
LARGEST_BASE = 8
MOST_CYCLES = 8
MOST_LAYERS = 64
# About six minutes at 48 kHz. The inputs that a stack with holes reaches are counted one bit each.
LARGEST_FIELD = 2**24
LARGEST_KERNEL = 1024


@dataclass(frozen=True)
class Candidate:
    """A :class:`wavedil.layers.DilatedStack` that reaches the wanted receptive field, and what it costs.

    Attributes:
        base: growth of the dilations from one layer to the next within a cycle.
        cycles: how often the dilations 1, base, ..., base^(depth-1) are repeated.
        depth: layers in a cycle.
        fitted: whether one more layer follows the cycles, with the smallest dilation that reaches the field.
        dilations: of all layers, from the input on.
        kernel_size: taps of each layer.
        channels: of input and residual.
        layers: gated residual blocks.
        receptive_field: inputs from the first that an output reads to the last, its own included.
        overshoot: inputs by which that exceeds the wanted field.
        taps: inputs that an output really reads, without the holes.
        density: ``taps / receptive_field``; 1.0 exactly if there is no hole.
        dense: whether there is no hole.
        single_path: whether a single path leads to each input reached: no work is done twice.
        parameters: weights and biases.
        macs_per_sample: multiply-accumulates of the convolutions for each sample.
        macs_per_second: likewise for each second; None without a sample rate.
        state_bytes: streaming state of one session.
        lookahead: inputs read beyond the present: none.
        front: whether no other stack within the limits is at least as good in layers, receptive field, density and
            single path, and better in one of them. Parameters and MACs follow the layers, the state follows the field.
    """

    base: int
    cycles: int
    depth: int
    fitted: bool
    dilations: tuple[int, ...]
    kernel_size: int
    channels: int
    layers: int
    receptive_field: int
    overshoot: int
    taps: int
    density: float
    dense: bool
    single_path: bool
    parameters: int
    macs_per_sample: int
    macs_per_second: int | None
    state_bytes: int
    lookahead: int = 0
    front: bool = False

    @property
    def schedule(self) -> str:
        """The dilations in words: "2^0..2^10, 1153" or "3 x 2^0..2^9"."""
        if self.base == 1 or self.depth == 1:
            words = "1" if self.depth == 1 else f"{self.depth} x 1"
        else:
            words = f"{self.base}^0..{self.base}^{self.depth - 1}"
        if self.cycles > 1:
            words = f"{self.cycles} x {words}"
        return f"{words}, {self.dilations[-1]}" if self.fitted else words

    def constructor(self) -> str:
        """The Python call that makes the stack, of :class:`DilatedStack` and :func:`exponential_dilations`."""
        base = "" if self.base == 2 else f", base={self.base}"
        dilations = f"exponential_dilations({self.cycles}, {self.depth}{base})"
        if self.fitted:
            dilations = f"(*{dilations}, {self.dilations[-1]})"
        return f"DilatedStack({self.channels}, kernel_size={self.kernel_size}, dilations={dilations})"

    def snippet(self) -> str:
        """The same as the ``[model]`` table of a config file, in TOML."""
        return (
            f"[model]\nchannels = {self.channels}\nkernel_size = {self.kernel_size}\n"
            f"dilations = {list(self.dilations)}\n"
        )


def design(
    receptive_field: int,
    kernel_size: int = 3,
    *,
    channels: int = 64,
    max_parameters: int | None = None,
    max_state_bytes: int | None = None,
    max_macs: int | None = None,
    dense: bool = False,
    sample_rate: int | None = None,
    bytes_per_value: int = 4,
) -> tuple[Candidate, ...]:
    """Stacks of gated residual blocks that reach a receptive field, none of which is worse than another of its kind.

    The search is exhaustive over bases 1 to ``LARGEST_BASE`` and the kernel size (with which each input is reached by
    one path), 1 to ``MOST_CYCLES`` cycles and at most ``MOST_LAYERS`` layers. For each base and number of cycles it
    takes the shortest plain schedule that reaches the field, and every shorter one followed by a fitted layer: the
    smallest dilation that reaches it, unless that is larger than both the inputs spanned so far (it would open a hole)
    and the dilation that the schedule itself has next.

    Listed are the Pareto front of all of these in layers, receptive field, density and single path, and, to choose
    from beside it, the dense stacks that no other of the same kind (base, cycled or not, fitted or not) dominates, as
    far as they overshoot by no more than the wanted field and a kernel.

    Args:
        receptive_field: wanted, in samples, 1 to ``LARGEST_FIELD``.
        kernel_size: taps of each layer, at least 2.
        channels: of input and residual.
        max_parameters: limit on weights and biases.
        max_state_bytes: limit on the streaming state of one session, in bytes.
        max_macs: limit on multiply-accumulates a second; needs ``sample_rate``.
        dense: only stacks without holes.
        sample_rate: of the stack's input, in Hz.
        bytes_per_value: of the streaming state, 4 for float32.

    Returns:
        The candidates, by layers, then by overshoot.

    Raises:
        ValueError: if an argument is out of its range, or nothing lies within the limits.

    Example:
        >>> [c.schedule for c in design(6400, sample_rate=16_000, dense=True) if c.front]
        ['3^0..3^6, 2107', '3^0..3^7']
    """
    _require_positive(receptive_field=receptive_field, kernel_size=kernel_size, channels=channels)
    _require_positive(bytes_per_value=bytes_per_value)
    if sample_rate is not None:
        bounded_number("sample_rate", sample_rate, 0, 1e12, above=True)
    if kernel_size > LARGEST_KERNEL:
        raise ValueError(f"kernel_size must be at most {LARGEST_KERNEL:,} for a design, got {kernel_size:,}")
    if receptive_field > LARGEST_FIELD:
        raise ValueError(f"receptive_field must be at most {LARGEST_FIELD:,}, got {receptive_field:,}")
    if kernel_size == 1:
        raise ValueError("kernel_size must be at least 2 for a receptive field to grow, got 1")
    if max_macs is not None and sample_rate is None:
        raise ValueError("max_macs is a limit a second: give sample_rate in Hz, got None")
    found = {}
    for schedule in sorted(_schedules(receptive_field, kernel_size), key=lambda schedule: len(schedule[3])):
        candidate = _candidate(receptive_field, kernel_size, channels, schedule, sample_rate, bytes_per_value)
        found.setdefault(candidate.dilations, candidate)  # plain ones first: a fitted one may be equal to one of them
    candidates = [candidate for candidate in found.values() if candidate.dense or not dense]
    for attribute, limit, name in (
        ("parameters", max_parameters, "max_parameters"),
        ("state_bytes", max_state_bytes, "max_state_bytes"),
        ("macs_per_second", max_macs, "max_macs"),
    ):
        candidates = _within(candidates, attribute, limit, name)
    return _listed(candidates, receptive_field + kernel_size)


def table(candidates: Sequence[Candidate]) -> str:
    """The candidates as an aligned table for a terminal, one on a line; ``*`` marks the Pareto front."""
    rate = any(c.macs_per_second is not None for c in candidates)
    macs_header = "MACs/s" if rate else "MACs/sample"
    header = ["", "layers", "dilations", "field", "overshoot", "density", "parameters", macs_header, "state bytes"]
    rows = [header]
    for c in candidates:
        macs = c.macs_per_sample if c.macs_per_second is None else c.macs_per_second
        sizes = [f"{c.receptive_field:,}", f"{c.overshoot:,}", _percent(c), f"{c.parameters:,}", _in_units(macs)]
        rows.append(["*" if c.front else "", str(c.layers), c.schedule, *sizes, f"{c.state_bytes:,}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words = header.index("dilations")
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


# (base, cycles, depth, the dilation of the fitted layer or nothing)
_Schedule = tuple[int, int, int, tuple[int, ...]]


def _schedules(target: int, kernel_size: int) -> Iterator[_Schedule]:
    """Every schedule of the search, as :func:`design` describes it; the same dilations may come more than once."""
    for base in sorted({*range(1, LARGEST_BASE + 1), kernel_size}):
        # Cycles of undilated layers, and cycles of one layer, are the same as one cycle with base 1.
        for cycles in range(1, 1 + (1 if base == 1 else MOST_CYCLES)):
            for depth in count(1 if cycles == 1 else 2):
                missing = target - 1 - (kernel_size - 1) * cycles * sum(base**i for i in range(depth))
                layers = cycles * depth
                if missing <= 0 and layers <= MOST_LAYERS:
                    yield base, cycles, depth, ()
                if missing <= 0 or layers >= MOST_LAYERS:
                    break
                last = -(-missing // (kernel_size - 1))
                if last <= max(target - missing, base**depth):
                    yield base, cycles, depth, (last,)


def _candidate(
    target: int,
    kernel_size: int,
    channels: int,
    schedule: _Schedule,
    sample_rate: int | None,
    bytes_per_value: int,
) -> Candidate:
    """The schedule as a DilatedStack without skip outputs: a convolution onto the gate and a 1x1 onto the residual."""
    base, cycles, depth, last = schedule
    dilations = (*exponential_dilations(cycles, depth, base), *last)
    layers = [(kernel_size, dilation) for dilation in dilations]
    field, taps = span(layers), count_taps(layers)
    macs = len(layers) * (2 * channels * channels * kernel_size + channels * channels)
    return Candidate(
        base=base,
        cycles=cycles,
        depth=depth,
        fitted=bool(last),
        dilations=dilations,
        kernel_size=kernel_size,
        channels=channels,
        layers=len(layers),
        receptive_field=field,
        overshoot=field - target,
        taps=taps,
        density=taps / field,
        dense=taps == field,
        single_path=taps == kernel_size ** len(layers),
        parameters=macs + len(layers) * 3 * channels,
        macs_per_sample=macs,
        macs_per_second=None if sample_rate is None else macs * sample_rate,
        state_bytes=(field - 1) * channels * bytes_per_value,
    )


def _within(candidates: list[Candidate], attribute: str, limit: int | None, name: str) -> list[Candidate]:
    if limit is None:
        return candidates
    kept = [candidate for candidate in candidates if getattr(candidate, attribute) <= limit]
    if not kept:
        least = min(getattr(candidate, attribute) for candidate in candidates)
        unit = attribute.replace("_", " ").replace("macs", "MACs")
        raise ValueError(f"no stack is within the limits: the smallest needs {least:,} {unit}, got {name} {limit:,}")
    return kept


def _listed(candidates: list[Candidate], most_overshoot: int) -> tuple[Candidate, ...]:
    """The Pareto front, marked, and the best dense candidates of each kind, by layers and overshoot."""
    front = set(_undominated(candidates))
    kinds: dict[tuple[int, bool, bool], list[Candidate]] = {}
    for candidate in candidates:
        if candidate.dense and candidate.overshoot <= most_overshoot:
            kinds.setdefault((candidate.base, candidate.cycles > 1, candidate.fitted), []).append(candidate)
    listed = front.union(*map(_undominated, kinds.values()))
    ordered = sorted(listed, key=lambda c: (c.layers, c.overshoot, -c.density, c.base, c.cycles))
    return tuple(replace(candidate, front=candidate in front) for candidate in ordered)


def _undominated(candidates: list[Candidate]) -> list[Candidate]:
    costs = [(c.layers, c.overshoot, -c.density, not c.single_path) for c in candidates]
    return [
        candidate
        for candidate, own in zip(candidates, costs, strict=True)
        if not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in set(costs))
    ]


def _percent(candidate: Candidate) -> str:
    # 100% is for dense stacks alone: a single hole in a million shows.
    return "100%" if candidate.dense else f"{min(100 * candidate.density, 99.99):.2f}%"


def _in_units(value: int) -> str:
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return str(value)
