"""Checks of a keyword model's config, whoever made it."""

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from wavedil.checks import bounded_integer, bounded_number, one_of, shown
from wavedil.config import FeatureConfig, ModelConfig
from wavedil.layers.sizes import LONGEST, MOST_LAYERS, each_of

# Numbers that may be 0; the others must be above.
_FROM_ZERO = ("dropout",)
# Lists that may be empty: another choice then holds.
_OPTIONAL = ("entry_channels", "dilations")


def check_config(config: ModelConfig) -> None:
    """Refuse a config with a value of another type, or out of its range, by the name of its field.

    Raises:
        TypeError: for another type.
        ValueError: for another choice, or a number out of its range.
    """
    if not isinstance(config, ModelConfig):
        raise TypeError(f"config: expected a ModelConfig, got {shown(config)}")
    hints = get_type_hints(ModelConfig)
    for item in fields(config):
        _check(item.name, getattr(config, item.name), hints[item.name])
    layers = len(config.dilations) or config.cycles * config.depth
    if layers > MOST_LAYERS or sum(config.stage_blocks) > MOST_LAYERS:
        raise ValueError(f"cycles * depth, or blocks: expected at most {MOST_LAYERS} layers, got {layers}")


def _check(name: str, value: Any, hint: Any) -> None:
    if hint is FeatureConfig and not isinstance(value, FeatureConfig):
        raise TypeError(f"{name}: expected a FeatureConfig, got {shown(value)}")
    if get_origin(hint) is Literal:
        one_of(name, value, get_args(hint))
    elif get_origin(hint) is list:
        if name not in _OPTIONAL or value != []:
            for size in each_of(name, value):
                bounded_integer(name, size, 1, LONGEST)
    elif hint is int:
        bounded_integer(name, value, 1, LONGEST)
    elif hint is float:
        bounded_number(name, value, 0, 1 if name in _FROM_ZERO else 1e6, above=name not in _FROM_ZERO)
