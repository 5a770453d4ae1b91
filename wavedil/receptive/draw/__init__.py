"""Pictures of receptive fields, as terminal text and as PNG or SVG; matplotlib is imported when one is saved."""

from wavedil.receptive.draw.histogram import histogram_text, save_histogram
from wavedil.receptive.draw.spectrogram import field_text, save_field
from wavedil.receptive.draw.tree import reached_nodes, save_tree, tree_edges, tree_text

__all__ = [
    "field_text",
    "histogram_text",
    "reached_nodes",
    "save_field",
    "save_histogram",
    "save_tree",
    "tree_edges",
    "tree_text",
]
