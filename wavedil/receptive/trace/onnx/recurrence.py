"""Recurrent layers, by PyTorch's own: gates in its order, and with its activations, which read the same."""

from typing import Any

import torch
from torch import Tensor

from wavedil.receptive.trace.onnx.registry import Operation, operator

# Where PyTorch's gates stand among those of ONNX: i, f, g, o among i, o, f, c; r, z, n among z, r, h.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}


@operator("LSTM", "GRU", "RNN")
def recurrent(call: Operation) -> tuple[Tensor, ...]:
    """Outputs ``(time, directions, batch, hidden)`` and the last states; with ``layout`` 1, batch first.

    The lengths of the sequences, peepholes and what PyTorch has no name for are left out: they change values, not what
    is read.
    """
    kind, direction, batch_first = call.node.operator, call.get("direction", "forward"), bool(call.get("layout"))
    x, directions = call.tensor(0), 2 if direction == "bidirectional" else 1
    x = x.transpose(0, 1) if batch_first else x
    x = x.flip(0) if direction == "reverse" else x
    hidden = call.get("hidden_size")
    states = [_state(call, i, x, directions, batch_first) for i in ((5, 6) if kind == "LSTM" else (5,))]
    options = (call.value(3) is not None, 1, 0.0, False, directions == 2, False)
    y, *last = _layer(call)(x, states if kind == "LSTM" else states[0], _weights(call, directions), *options)
    y = y.flip(0) if direction == "reverse" else y
    y = y.reshape(*y.shape[:2], directions, hidden)  # (time, batch, directions, hidden)
    y = y.transpose(0, 1) if batch_first else y.permute(0, 2, 1, 3)
    return (y, *(state.transpose(0, 1) if batch_first else state for state in last))


def _layer(call: Operation) -> Any:
    if call.node.operator == "RNN":
        relu = bytes(call.get("activations", [b""])[0]).lower() == b"relu"
        return torch.rnn_relu if relu else torch.rnn_tanh
    return torch.lstm if call.node.operator == "LSTM" else torch.gru


def _state(call: Operation, i: int, x: Tensor, directions: int, batch_first: bool) -> Tensor:
    """The state before the first sample, zeros where it is not given."""
    state = call.optional(i)
    if state is None:
        return x.new_zeros(directions, x.shape[1], call.get("hidden_size"))
    return state.transpose(0, 1) if batch_first else state


def _weights(call: Operation, directions: int) -> list[Tensor]:
    """Weights of input and state, and their biases, direction by direction."""
    found = []
    for d in range(directions):
        parts = [call.tensor(1)[d], call.tensor(2)[d]]
        if call.value(3) is not None:
            parts += call.tensor(3)[d].chunk(2)
        found += [_in_order(part, call.node.operator) for part in parts]
    return found


def _in_order(weight: Tensor, kind: str) -> Tensor:
    gates = weight.chunk(len(_GATES[kind]))
    return torch.cat([gates[i] for i in _GATES[kind]])
