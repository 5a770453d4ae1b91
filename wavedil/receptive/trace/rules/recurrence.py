"""Recurrent layers and filters: all that came before."""

from typing import Any

import torch

from wavedil.receptive.trace.reach import Reach, before, join, lift, reaches, reduce, spread
from wavedil.receptive.trace.rules.registry import Call, rule


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(call: Call) -> Any:
    """Each time reads all times before it; from both sides, all there are. The last states read the whole."""
    x = call["input"]
    time = 1 if call["batch_first"] and x.ndim == 3 else 0
    states = [reduce(state, None) for state in reaches(call["hx"])]
    inputs = reduce(lift(x, reaches(*call.values)[0]), [-1], keepdim=True)
    whole = join([reduce(inputs, None), *states])
    shape, *others = call.shapes
    directions = [before(inputs, time)]
    if call["bidirectional"]:
        directions.append(before(inputs, time, backwards=True))
    if call["num_layers"] > 1:  # the second layer reads both directions of the first
        directions = [join(directions)] * len(directions)
    each = torch.Size([*shape[:-1], shape[-1] // len(directions)])
    parts = [join([direction, *states], each) for direction in directions]
    output = whole.like(torch.cat([part.planes for part in parts], -1)) if len(parts) > 1 else parts[0]
    return [output, *(whole.like(spread(whole.planes, other)) for other in others)]


@rule("_lfilter", "lfilter", "_lfilter_core")
def recursive_filter(call: Call) -> Reach:
    """An infinite impulse response."""
    x = call.values[0]
    like = reaches(*call.values)[0]
    return before(lift(x, like), -1)


@rule("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def cell(call: Call) -> Any:
    """One step in time reads all features of its input and state."""
    parts = [reduce(part, [-1], keepdim=True) for part in reaches(call["input"], call["hx"])]
    shapes = call.shapes if isinstance(call.shapes, list) else [call.shapes]
    results = [join(parts, shape) for shape in shapes]
    return results if isinstance(call.shapes, list) else results[0]
