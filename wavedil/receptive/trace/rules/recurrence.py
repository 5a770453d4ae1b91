"""Recurrent layers and filters: all that came before."""

from typing import Any

from wavedil.receptive.trace.reach import Reach, before, join, lift, reaches, reduce, spread
from wavedil.receptive.trace.rules.registry import Call, rule


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(call: Call) -> Any:
    """Each time reads all times before it; from both sides, all there are. The last states read the whole."""
    x = call["input"]
    time = 1 if call["batch_first"] and x.ndim == 3 else 0
    states = reaches(call.get("hx"))
    inputs = reduce(x, [-1], keepdim=True) if isinstance(x, Reach) else None
    if inputs is None:
        total = join([reduce(state, None) for state in states], ())
        return [total.like(spread(total.planes, shape)) for shape in call.shapes]
    output = before(inputs, time)
    if call["bidirectional"]:
        output = join([output, before(inputs, time, backwards=True)])
    if states:
        output = join([output, *(_everywhere(state) for state in states)], output.shape)
    whole = reduce(join([inputs]), None)
    last = [whole.like(spread(whole.planes, shape)) for shape in call.shapes[1:]]
    return [output.like(spread(output.planes, call.shapes[0])), *last]


def _everywhere(state: Any) -> Reach:
    return reduce(state, None)


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
