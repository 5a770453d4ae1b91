"""Stacks and layers from the options of ``wavedil rf``."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from wavedil.checks import shown
from wavedil.receptive.description import MOST_LAYERS, Geometry, Layer, convolution, gated_block
from wavedil.receptive.stack import Padding, Size, framing_layer, stack_layers

# Beyond this many numbers a progression is a slip of the pen.
_LONGEST = 10_000
_GEOMETRY = ("kernel", "stride", "dilation", "padding")
# The keys of each kind of --layer.
_KEYS = {
    "conv": (*_GEOMETRY, "channels", "groups"),
    "transposed": (*_GEOMETRY, "channels", "groups"),
    "gated": (*_GEOMETRY, "groups"),
    "pool": _GEOMETRY,
}


def described_layers(args: argparse.Namespace) -> list[Layer]:
    """The layers that the options of the command describe.

    Raises:
        ValueError: naming the option or the layer.
    """
    framing = None if args.framing is None else _framing(args.framing)
    if args.layer:
        front = [] if framing is None else [framing_layer(*framing)]
        return [*front, *_listed_layers(args)]
    if args.kernel is None:
        raise ValueError("expected a stack to describe: give --kernel, --layer or a TARGET; see wavedil rf --help")
    given = {name: getattr(args, name) for name in ("kernel", "strides", "lookahead")}
    lists = {name: sizes(f"--{name}", text) for name, text in given.items() if text is not None}
    if args.dilations is None:
        dilations: list[Size] = [1] * max(map(len, lists.values()))
    else:
        dilations = sizes("--dilations", args.dilations)
    for name, values in lists.items():
        if len(values) not in (1, len(dilations)):
            expected = f"one number, or one for each of {len(dilations)} layers"
            raise ValueError(f"--{name}: expected {expected}, got {len(values)}")
    each = {name: values * len(dilations) if len(values) == 1 else values for name, values in lists.items()}
    lookahead = [n for n in each.get("lookahead", [0] * len(dilations)) if isinstance(n, int)]
    if len(lookahead) < len(dilations):
        raise ValueError(f"--lookahead: expected whole numbers, got {args.lookahead!r}")
    return stack_layers(
        each["kernel"],
        dilations,
        strides=each.get("strides", 1),
        cycles=args.cycles or 1,
        padding=args.padding or "causal",
        lookahead=lookahead,
        channels=args.channels or 1,
        groups=args.groups or 1,
        bias=not args.no_bias,
        block=args.block or "conv",
        bins=args.bins,
        framing=framing,
    )


def sizes(option: str, text: str) -> list[Size]:
    """Numbers, or frequency x time pairs, between commas; "..." continues a progression up to the number behind it.

    Args:
        option: names the option in errors.
        text: such as ``1,2,4,...,512`` or ``3x3,5x3``.

    Raises:
        ValueError: if a number is none, or the dots continue no progression that ends with the number behind them.

    Example:
        >>> sizes("--dilations", "1,2,4,...,32,1"), sizes("--dilations", "1,3,5,...,9"), sizes("--kernel", "3x5")
        ([1, 2, 4, 8, 16, 32, 1], [1, 3, 5, 7, 9], [(3, 5)])
    """
    values: list[Size] = []
    dots = False
    for item in (item.strip() for item in text.split(",")):
        if item in ("...", "…") and not dots:
            dots = True
        elif dots:
            values += _continued(option, text, values[-3:], _whole(option, item))
            dots = False
        else:
            values.append(_size(option, item))
    if dots:
        raise ValueError(f"{option}: expected a number behind '...', such as 1,2,4,...,512, got {text}")
    return values


def _continued(option: str, text: str, before: Sequence[Size], end: int) -> list[int]:
    """What comes behind the last three numbers before the dots, up to and with the end."""
    numbers = [number for number in before if isinstance(number, int)]
    if len(numbers) < 3:
        raise ValueError(f"{option}: expected three numbers before '...', such as 1,2,4,...,512, got {text}")
    a, b, c = numbers
    arithmetic = b - a == c - b
    if a == c or not (arithmetic or b * b == a * c > 0):
        raise ValueError(f"{option}: expected a progression before '...', got {a},{b},{c}")
    found: list[Fraction] = []
    number = Fraction(c)
    while number != end and (number < end) == (a < c):
        if len(found) == _LONGEST:
            raise ValueError(f"{option}: expected at most {_LONGEST:,} numbers, got {a},{b},{c},...,{end}")
        number = number + b - a if arithmetic else number * b / a
        found.append(number)
    if not found or number != end or any(n.denominator > 1 for n in found):
        raise ValueError(f"{option}: expected an end that {a},{b},{c},... comes to, got {end}")
    return [int(n) for n in found]


def _listed_layers(args: argparse.Namespace) -> list[Layer]:
    """The layers of ``--layer``, cycle by cycle; the channels of each are the input's of the next."""
    specs = [_Spec.of(text) for text in args.layer]
    if len(specs) * (args.cycles or 1) > MOST_LAYERS:
        raise ValueError(f"--cycles: expected at most {MOST_LAYERS:,} layers, got {len(specs) * args.cycles:,}")
    layers: list[Layer] = []
    channels, bias = args.channels or 1, not args.no_bias
    for spec in specs * (args.cycles or 1):
        name = f"layer {len(layers)}"
        try:
            out_channels = spec.number("channels", channels)
            groups = spec.number("groups", args.groups or 1)
            time = spec.geometry(args.padding or "causal")
            if spec.kind == "gated":
                layers.append(gated_block(name, channels, time, groups=groups, bias=bias))
            elif spec.kind == "pool":
                layers.append(Layer(name, "pool", time, in_channels=channels))
            else:
                options = {"in_channels": channels, "out_channels": out_channels, "groups": groups, "bias": bias}
                layers.append(convolution(name, time, **options))
        except ValueError as error:
            raise ValueError(f"{name} ({spec.text}): {error}") from None
        channels = out_channels
    return layers


@dataclass(frozen=True)
class _Spec:
    """A layer as ``--layer`` has it."""

    text: str
    kind: str
    keys: dict[str, str]
    residual: bool

    @classmethod
    def of(cls, text: str) -> "_Spec":
        kind, _, listed = text.partition(":")
        if kind not in _KEYS:
            raise ValueError(f"--layer {text}: expected one of {', '.join(_KEYS)}, got {kind!r}")
        items = [item.strip() for item in listed.split(",") if item.strip()]
        keys = {}
        for item in items:
            key, equals, value = item.partition("=")
            if item == "residual":
                continue
            if key not in _KEYS[kind] or not equals:
                expected = f"residual, or a number for one of {', '.join(_KEYS[kind])}"
                raise ValueError(f"--layer {text}: expected {expected}, got {item!r}")
            keys[key] = value
        if "kernel" not in keys:
            raise ValueError(f"--layer {text}: expected kernel=N")
        return cls(text, kind, keys, "residual" in items or kind == "gated")

    def number(self, key: str, default: int) -> int:
        return _whole(key, self.keys[key]) if key in self.keys else default

    def geometry(self, padding: Padding) -> Geometry:
        """Along time; a pool's stride is its kernel unless it is given, as in torch."""
        kernel_size = self.number("kernel", 1)
        stride = self.number("stride", kernel_size if self.kind == "pool" else 1)
        bare = Geometry(kernel_size, stride, self.number("dilation", 1), 0, self.kind == "transposed", self.residual)
        wanted = self.keys.get("padding", padding)
        if wanted not in ("causal", "centred", "valid"):
            return replace(bare, padding=_whole("padding", wanted, ", causal, centred or valid"))
        excess = bare.span - stride
        if bare.transposed:  # of what lies before the first input, causal and valid layers keep all
            return replace(bare, padding=max(excess, 0) // 2 if wanted == "centred" else 0)
        return replace(bare, padding={"causal": excess, "centred": (bare.span - 1) // 2, "valid": 0}[wanted])


def _size(option: str, text: str) -> Size:
    if match := re.fullmatch(r"(\d{1,18})x(\d{1,18})", text):
        return int(match[1]), int(match[2])
    return _whole(option, text, " or a pair, frequency x time, such as 3x5")


def _whole(option: str, text: str, more: str = "") -> int:
    if not re.fullmatch(r"-?\d{1,18}", text):
        digits = " of at most 18 digits" if re.fullmatch(r"-?\d+", text) else ""
        raise ValueError(f"{option}: expected a whole number{digits}{more}, got {shown(text)}")
    return int(text)


def _framing(text: str) -> tuple[int, int]:
    win_length, colon, hop_length = text.partition(":")
    if not colon:
        raise ValueError(f"--framing: expected WIN:HOP in samples, such as 480:160, got {text!r}")
    return _whole("--framing", win_length), _whole("--framing", hop_length)
