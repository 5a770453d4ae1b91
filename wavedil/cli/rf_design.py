"""``wavedil rf design``: stacks for a wanted receptive field."""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from wavedil.checks import shown
from wavedil.receptive.answer import SCHEMA
from wavedil.receptive.design import Candidate, design, table

_SHORTEST, _LONGEST = Decimal("0.000001"), Decimal("1000000000")
# What the options are called where the design is computed.
_NAMES = {"max_parameters": "--max-params", "max_state_bytes": "--max-state", "max_macs": "--max-macs"}
_NAMES |= {"kernel_size": "--kernel", "sample_rate": "--sample-rate", "receptive_field": "--samples"}


def run_design(args: argparse.Namespace) -> int:
    """Print the candidates, and the code of one of them."""
    wanted = _wanted(args)
    rate = args.sample_rate
    if rate is not None and rate != int(rate):
        raise ValueError(f"--sample-rate: expected whole Hz, got {rate}")
    kernel_size = 3 if args.kernel is None else _kernel_size(args.kernel)
    try:
        candidates = design(
            wanted,
            kernel_size,
            channels=args.channels or 64,
            max_parameters=args.max_params,
            max_state_bytes=args.max_state,
            max_macs=args.max_macs,
            dense=args.dense,
            sample_rate=rate,
            bytes_per_value=args.bytes or 4,
        )
    except ValueError as error:
        message = str(error)
        for name, option in _NAMES.items():
            message = message.replace(name, option)
        raise ValueError(message) from None
    picked = _picked(candidates, args.pick)
    if args.json:
        print(json.dumps(_content(args, wanted, candidates, picked), indent=2))
        return 0
    title = f"stacks that read at least {wanted:,} samples" + (f", {wanted * 1000 / rate:,g} ms" if rate else "")
    header, *lines = table(candidates).splitlines()
    width = len(str(len(lines)))
    rows = [f"{'':{width}}  {header}", *(f"{i:>{width}}  {line}" for i, line in enumerate(lines, 1))]
    legend = "* no other stack is at least as good in layers, field, density and paths"
    print("\n".join([title, "", *(row.rstrip() for row in rows), "", legend]))
    print(f"\nrow {picked + 1}:\n\n{candidates[picked].constructor()}\n\n{candidates[picked].snippet()}", end="")
    return 0


def _wanted(args: argparse.Namespace) -> int:
    """The receptive field in samples, rounded up to whole ones."""
    if (args.ms is None) == (args.samples is None):
        raise ValueError(f"design: expected --ms or --samples, got {'neither' if args.ms is None else 'both'}")
    if args.samples is not None:
        return args.samples
    if args.sample_rate is None:
        raise ValueError("--ms: expected --sample-rate as well")
    return max(math.ceil(_milliseconds(args.ms) * Fraction(args.sample_rate) / 1000), 1)


def _milliseconds(text: str) -> Fraction:
    """A decimal number or a fraction, exact, where 0.1 ms of a float would be a sample too many."""
    over, slash, under = text.partition("/")
    try:
        parts = [Decimal(part) for part in ([over, under] if slash else [over])]
        if all(_SHORTEST <= part <= _LONGEST for part in parts):
            return Fraction(parts[0]) / Fraction(parts[-1] if slash else 1)
    except InvalidOperation:  # no number, or none that can be compared
        pass
    raise ValueError(f"--ms: expected a number from {_SHORTEST} to {_LONGEST}, got {shown(text)}")


def _kernel_size(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise ValueError(f"--kernel: expected one whole number for design, got {shown(text)}")
    return int(text)


def _picked(candidates: Sequence[Candidate], row: int | None) -> int:
    """The candidate whose code is printed: the row asked for, else the shallowest without holes of the front."""
    if row is None:
        return next((i for i, candidate in enumerate(candidates) if candidate.front and candidate.dense), 0)
    if row > len(candidates):
        raise ValueError(f"--pick: expected a row from 1 to {len(candidates)}, got {row}")
    return row - 1


def _content(args: argparse.Namespace, wanted: int, candidates: Sequence[Candidate], picked: int) -> dict[str, Any]:
    def entry(candidate: Candidate) -> dict[str, Any]:
        code = {"constructor": candidate.constructor(), "snippet": candidate.snippet()}
        return asdict(candidate) | {"schedule": candidate.schedule} | code

    return {
        "schema": SCHEMA,
        "source": {"kind": "design", "receptive_field": wanted, "sample_rate": args.sample_rate},
        "candidates": [entry(candidate) for candidate in candidates],
        "picked": picked,
    }
