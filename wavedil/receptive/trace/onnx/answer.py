"""The receptive field of an ONNX file."""

from dataclasses import replace
from pathlib import Path

import torch

from wavedil.receptive.answer import Answer
from wavedil.receptive.trace.module import receptive_field
from wavedil.receptive.trace.onnx.module import OnnxModule


def receptive_field_of_onnx(
    path: str | Path,
    *,
    input: str | None = None,
    length: int | None = None,
    time_axis: int = -1,
    frequency_axis: int | None = None,
    output: int | str = 0,
    sample_rate: float | None = None,
    allow_unknown: bool = False,
    taps: bool = True,
) -> Answer:
    """Which inputs an output of an ONNX file reads, computed from its graph, operator by operator.

    The other inputs are held constant, states of a streaming model among them, and the notes say which.

    Args:
        path: of the file.
        input: the input that is followed; None takes the first of floating point that is not a state.
        length: of that input in time, where the file leaves it open; None takes as much as shows the field.
        time_axis: of that input.
        frequency_axis: of that input; None takes the axis before time, if there are four.
        output: which output, by number or by name.
        sample_rate: of the input, in Hz.
        allow_unknown: take operators that are not known to read everything, and say so in the notes.
        taps: whether to find the exact taps too, which tell holes.

    Returns:
        What :func:`wavedil.receptive.trace.receptive_field` gives for a module. Parameters are the weights in the file,
        some of which the exporter may have merged.

    Raises:
        ModuleNotFoundError: without the extra ``onnx``.
        FileNotFoundError: if there is no such file.
        UnknownOperatorError: for an operator of which the dependences are not known.
        ValueError: if it is not a valid ONNX file, has no such input or output, or takes no such length.
    """
    module = OnnxModule(path, input=input, allow_unknown=allow_unknown)
    example = module.example(length, time_axis, frequency_axis)
    number = module.output_number(output)
    with torch.no_grad():
        module(example)  # what it cannot do is told as it is, and not in the words of torch.export
    unknown = tuple(f"unknown {name}: taken to read everything" for name in module.unknown)
    answer = receptive_field(
        module,
        example,
        time_axis=time_axis,
        frequency_axis=frequency_axis,
        output=number,
        sample_rate=sample_rate,
        allow_unknown=allow_unknown,
        taps=taps,
    )
    return replace(answer, notes=(*module.notes, *unknown, *answer.notes))
