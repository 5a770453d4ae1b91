"""Which inputs an output depends on, measured on the very module: no arithmetic, no graph, only its own code run."""

from wavedil.receptive.measure.effective import EffectiveField, effective_field
from wavedil.receptive.measure.gradient import gradient_reach, reach_hull
from wavedil.receptive.measure.linear import Linearised
from wavedil.receptive.measure.nan import NanResult, nan_reach

__all__ = [
    "EffectiveField",
    "Linearised",
    "NanResult",
    "effective_field",
    "gradient_reach",
    "nan_reach",
    "reach_hull",
]
