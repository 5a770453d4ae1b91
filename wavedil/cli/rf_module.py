"""``wavedil rf`` of what runs: importable modules, checkpoints, ONNX files, and descriptions to be verified."""

import argparse
import contextlib
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavedil.cli.rf_target import ModuleExpression, current_folder_first, is_onnx
from wavedil.data.torchaudio_compat import torchaudio
from wavedil.receptive.answer import Answer
from wavedil.receptive.chain import answer_for
from wavedil.receptive.description import Geometry, Layer
from wavedil.receptive.failures import reason_of

# Lengths that are tried for a module of which only the channels are known.
_LENGTHS = (512, 16_384, 131_072)


def answer_of(args: argparse.Namespace) -> Answer:
    """The answer for a target that is neither a description nor a config."""
    if is_onnx(args.target):
        return _of_onnx(args)
    if Path(args.target).is_dir():
        return _of_checkpoint(args)
    with current_folder_first():
        module = module_named(args.target)
        with code_of_user(args.target):
            module.train(args.train_mode)
        try:
            return _of_module(args, module)
        except ValueError as error:
            raise ValueError(f"{args.target}: {error}") from error


def _of_onnx(args: argparse.Namespace) -> Answer:
    from wavedil.receptive.trace.onnx import receptive_field_of_onnx

    for option in ("verify", "effective"):
        if getattr(args, option):
            raise ValueError(f"--{option} measures a module by its gradients, which an ONNX file has not got")
    return receptive_field_of_onnx(
        args.target,
        length=args.input[args.time_axis if args.time_axis is not None else -1] if args.input else None,
        time_axis=-1 if args.time_axis is None else args.time_axis,
        frequency_axis=args.frequency_axis,
        sample_rate=args.sample_rate,
        allow_unknown=args.allow_unknown,
    )


def _of_checkpoint(args: argparse.Namespace) -> Answer:
    """A checkpoint's model is described by its config, so that the answer is that of the config."""
    from wavedil.detect import load
    from wavedil.receptive.keyword import keyword_layers

    spotter = load(args.target)
    model, rate = spotter.model, spotter.sample_rate
    answer = answer_for(
        keyword_layers(model.config, model.n_classes, rate), sample_rate=rate, value_bytes=args.bytes or 4
    )
    return _examined(args, answer, model, _showing(answer))


def examined_description(args: argparse.Namespace, answer: Answer, layers: Sequence[Layer]) -> Answer:
    """The answer of a description or a config, held against a module that is made of it, or measured on it."""
    if args.target is None:
        return _examined(args, answer, DescribedStack(layers), _showing(answer))
    from wavedil.models import build_model
    from wavedil.receptive.keyword import class_count
    from wavedil.training.config import load_config

    config = load_config(args.target)
    model = build_model(config.model, class_count(config.data), config.data.sample_rate).eval()
    return _examined(args, answer, model, _showing(answer))


def _showing(answer: Answer) -> Tensor:
    """An input of whole hops that shows the field."""
    sizes = []
    for _, axis in answer.axes.items():
        hop = axis.hop.numerator
        sizes.insert(0, (2 * (axis.receptive_field or 1) // hop + 64) * hop)
    return torch.zeros(1, 1, *sizes)


def _examined(args: argparse.Namespace, answer: Answer, module: nn.Module, example: Tensor) -> Answer:
    """A described answer with what was asked to be measured on the module.

    Raises:
        ValueError: if the description and the module differ.
    """
    from wavedil.receptive.trace.module import trace
    from wavedil.receptive.verify import verify_receptive_field

    if args.verify:
        traced = trace(module, example)
        for (name, axis), field in zip(answer.axes.items(), traced.fields, strict=True):
            if axis.field != field:
                raise ValueError(f"{name}: described as {axis.field}, traced as {field}")
        answer = _with(answer, verify_receptive_field(module, example, traced=traced))
    return _measured(answer, module, example) if args.effective else answer


def _measured(answer: Answer, module: nn.Module, example: Tensor, axis: int = -1) -> Answer:
    """An answer with the effective field of the module as it is."""
    from wavedil.receptive.measure import effective_field

    found = effective_field(module, example, axis)
    return replace(answer, measured={"mean": found.mean, "sigma": found.sigma, "width95": found.width95})


def _of_module(args: argparse.Namespace, module: nn.Module) -> Answer:
    from wavedil.receptive.trace.module import answer_of, trace
    from wavedil.receptive.verify import verify_receptive_field

    time_axis = -1 if args.time_axis is None else args.time_axis
    axes: dict[str, Any] = {"time_axis": time_axis, "frequency_axis": args.frequency_axis}
    errors: list[ValueError] = []
    for example in _examples(args, module):
        try:
            traced = trace(module, example, allow_unknown=args.allow_unknown, **axes)
        except ValueError as error:
            errors.append(error)
            continue
        answer = answer_of(traced, args.sample_rate)
        if args.verify:
            answer = _with(answer, verify_receptive_field(module, example, traced=traced, **axes))
        return _measured(answer, module, traced.subject.example, traced.subject.axes[0]) if args.effective else answer
    raise errors[0]


def _with(answer: Answer, verification: Any) -> Answer:
    return replace(answer, verification=verification.to_json(), notes=(*answer.notes, *verification.notes))


def _examples(args: argparse.Namespace, module: nn.Module) -> list[Tensor]:
    """The input asked for; or inputs of the channels of the module's first layer, one longer than the other."""
    if args.input:
        return [torch.zeros(args.input)]
    shape = _known_shape(module)
    if shape is None:
        raise ValueError("its input cannot be told from its first layer: give --input 1,channels,time")
    return [torch.zeros(*shape, length) for length in _LENGTHS]


def _known_shape(module: nn.Module) -> tuple[int, ...] | None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            return 1, layer.in_channels
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            return 1, layer.in_channels, 80
        if isinstance(layer, nn.Linear | nn.RNNBase | nn.Embedding):
            return None
    return None


def module_named(text: str) -> nn.Module:
    """The module that ``package.module:Class(arguments)`` makes.

    Raises:
        ValueError: if the expression is none of that kind, names nothing that makes a module, or the user's code fails.
    """
    expression = ModuleExpression.of(text)
    if expression.place.split(".")[0] == "torchaudio":
        torchaudio()  # which, imported otherwise, may not find its compiled part
    with code_of_user(text):
        found: Any = importlib.import_module(expression.place)
    for name in expression.names:
        if not hasattr(found, name):
            raise ValueError(f"{text}: {expression.place} has no {'.'.join(expression.names)}")
        found = getattr(found, name)
    with code_of_user(text):
        module = found if isinstance(found, nn.Module) else found(*expression.args, **expression.kwargs)
    if not isinstance(module, nn.Module):
        raise ValueError(f"{text}: expected a torch module, got {type(module).__name__}")
    return module


@contextlib.contextmanager
def code_of_user(text: str) -> Iterator[None]:
    """Whatever the user's code raises, as a ValueError in a line that begins with the target."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ValueError(f"{text}: {reason_of(error)}") from error


class DescribedStack(nn.Module):
    """The layers of a description as convolutions, one channel wide, so that they can be measured.

    Args:
        layers: from the input to the output.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.layers = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 1, time)`` or ``(batch, 1, frequency, time)``, through each layer."""
        for layer in self.layers:
            x = _applied(x, layer.time, -1)
            if layer.frequency is not None:
                x = _applied(x, layer.frequency, -2)
        return x


def _applied(x: Tensor, geometry: Geometry, axis: int) -> Tensor:
    """One axis of a layer, as a convolution with weights of one."""
    rows = x.movedim(axis, -1)
    flat = rows.reshape(-1, 1, rows.shape[-1])
    weight = flat.new_ones(1, 1, geometry.kernel_size)
    if geometry.transposed:
        y = F.conv_transpose1d(flat, weight, stride=geometry.stride, dilation=geometry.dilation)
        y = y[..., geometry.padding : geometry.padding + flat.shape[-1] * geometry.stride]
    else:
        # As many outputs as fill the input, whatever lies to the right of it.
        right = geometry.span - geometry.stride - geometry.padding
        y = F.conv1d(F.pad(flat, (geometry.padding, right)), weight, stride=geometry.stride, dilation=geometry.dilation)
    if geometry.residual:
        y = y + flat
    return y.reshape(*rows.shape[:-1], y.shape[-1]).movedim(-1, axis)
