"""Modules as people write them: layers in plain lists, lazy ones, outputs of any kind, values that code asks for."""

from dataclasses import dataclass, field

import pytest
import torch
from measured import Function
from networks import signal
from torch import Tensor, nn
from torch.nn import functional as F

from wavedil.receptive import receptive_field, verify_receptive_field


def conv(channels=1, outs=1, kernel_size=3, **options):
    return nn.Conv1d(channels, outs, kernel_size, **options)


class PlainList(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [conv(1, 4), conv(4, 1)]
        self.other = {"deep": (conv(),)}

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.other["deep"][0](x)


def test_layers_in_plain_lists_are_found_counted_and_told():
    answer = receptive_field(PlainList(), signal())
    assert answer.receptive_field == 7
    assert answer.parameters == 16 + 13 + 4
    assert [row.name for row in answer.layers] == ["layers_layers.0", "layers_layers.1", "other_layers.0"]
    assert answer.notes == (
        "PlainList.layers: 2 layers that torch does not see: parameters(), eval() and state_dict() pass them over; "
        "nn.ModuleList holds them",
        "PlainList.other: 1 layers that torch does not see: parameters(), eval() and state_dict() pass them over; "
        "nn.ModuleList holds them",
    )
    assert verify_receptive_field(PlainList(), signal()).probed == 1


@dataclass
class Result:
    loss: float
    logits: Tensor
    others: list[Tensor] = field(default_factory=list)


def test_outputs_of_any_kind():
    def results(x, net):
        return Result(0.0, net(x), [x])

    module = Function(results, net=conv())
    assert receptive_field(module, signal()).receptive_field == 3
    assert receptive_field(module, signal(), output=1).receptive_field == 1
    assert verify_receptive_field(module, signal(), output=1).probed == 1
    with pytest.raises(ValueError, match="output: the module gives no tensor, got 0"):
        receptive_field(Function(lambda x: None), signal())


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = conv()

    def forward(self, x, *, scale, mask):
        return self.layer(x) * scale * mask[..., 2:]


def test_inputs_by_name():
    given = {"x": signal(), "scale": 2.0, "mask": torch.ones(1, 1, 60)}
    assert receptive_field(Scaled(), given).receptive_field == 3


def test_lazy_layers_are_made_on_a_copy():
    module = nn.Sequential(nn.LazyConv1d(4, 3), nn.LazyConv1d(1, 5))
    answer = receptive_field(module, signal(2, 60))
    assert (answer.receptive_field, answer.parameters) == (7, 2 * 4 * 3 + 4 + 4 * 5 + 1)
    assert isinstance(module[0].weight, nn.UninitializedParameter)


class Asking(nn.Module):
    """Asks for values of buffers, of constants and of what is made of them, and writes into them."""

    pad: Tensor
    scale: Tensor
    calls: Tensor

    def __init__(self):
        super().__init__()
        self.layer = conv()
        self.register_buffer("pad", torch.tensor(4))
        self.register_buffer("scale", torch.tensor([0.5, 2.0]))
        self.register_buffer("calls", torch.zeros(1))
        self.cut = torch.tensor([1, 3])

    def forward(self, x):
        self.calls += 1
        view = self.calls[:1]
        y = F.pad(self.layer(x), (int(self.pad), 0))[..., self.pad.item() :]
        if (self.scale * 2)[0] > 0.5 and view.item() == 1 and torch.rand(1) < 2:
            y = y * float(self.scale.sum())
        y = y[..., : y.shape[-1] - int(self.cut.max())]
        return y[..., torch.nonzero(self.scale.repeat(25) > 1).squeeze(-1)]


def test_values_that_depend_on_no_input_are_known():
    module, before = Asking(), torch.random.get_rng_state()
    answer = receptive_field(module, signal(1, 60))
    assert answer.receptive_field == 3
    assert answer.hop == 2
    assert torch.equal(torch.random.get_rng_state(), before)


class Remembering(nn.Module):
    last: Tensor

    def __init__(self):
        super().__init__()
        self.layer = conv()
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x):
        self.seen = self.layer(x)
        self.last[0] = x[0, 0, 0]
        return self.seen * (2 if self.last.item() > 0 else 1)


def test_what_the_input_was_written_into_is_not_known():
    message = r"Remembering cannot be traced .*: its code asks for the values .* \(test_trace_users.py:\d+\)"
    with pytest.raises(ValueError, match=message):
        receptive_field(Remembering(), signal())


class Keeping(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = conv()

    def forward(self, x):
        self.seen = self.layer(x)
        return self.seen


def test_attributes_that_forward_sets_are_not_left_behind():
    module = Keeping()
    assert verify_receptive_field(module, signal()).probed == 1
    assert not hasattr(module, "seen")


def test_what_runs_only_in_its_own_precision_is_an_error_of_verification():
    module = Function(lambda x, net: net(x.half()), net=conv().half())
    assert receptive_field(module, signal()).receptive_field == 3
    with pytest.raises(ValueError, match=r"Function cannot be measured in double precision: .* \(test_trace_users.py"):
        verify_receptive_field(module, signal())


class Failing(nn.Module):
    def forward(self, x):
        return {"a": x}["b"]


class Leaving(nn.Module):
    def forward(self, x):
        raise SystemExit(0)


def test_a_failure_names_class_layer_and_line():
    with pytest.raises(ValueError, match=r"^Sequential .*: KeyError: 'b' in layer 1\.0 \(test_trace_users.py:\d+\)$"):
        receptive_field(nn.Sequential(conv(), nn.Sequential(Failing())), signal())
    with pytest.raises(
        ValueError, match=r"^Leaving cannot be traced by torch.export: SystemExit: 0 \(test_trace_users"
    ):
        receptive_field(Leaving(), signal())


def test_rows_of_a_codebook_read_what_their_numbers_read():
    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.codes = conv(1, 4), nn.Parameter(torch.rand(8, 4))

        def forward(self, x):
            rows = self.layer(x).mT
            return self.codes[torch.cdist(rows, self.codes[None]).argmin(-1)].mT

    assert receptive_field(Quantised(), signal()).receptive_field == 3


def test_mapped_functions_are_named():
    class Mapped(nn.Module):
        def forward(self, x):
            return torch.vmap(torch.sin)(x)

    with pytest.raises(ValueError, match=r"^operator .* is not known \(test_trace_users.py:\d+\)$"):
        receptive_field(Mapped(), signal())


def test_complex_weights_are_measured():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1, 1, 5, dtype=torch.complex64))

        def forward(self, x):
            return F.conv1d(x.to(self.weight.dtype), self.weight).abs()

    assert verify_receptive_field(Complex(), signal()).outputs == 1


def test_an_operator_without_a_rule_names_the_line():
    class Selecting(nn.Module):
        def forward(self, x):
            return x[x > 0]

    with pytest.raises(ValueError, match=r"depends on the values of the input \(test_trace_users.py:\d+\)"):
        receptive_field(Selecting(), signal())


def test_scripted_layers_are_named():
    with pytest.warns(DeprecationWarning, match="deprecated"):
        scripted = torch.jit.script(nn.ReLU())
    with pytest.raises(ValueError, match=r"^0 is scripted, expected a module that runs in Python"):
        receptive_field(nn.Sequential(scripted), signal())


def test_what_cannot_be_copied_is_traced_but_not_measured():
    module = conv()
    vars(module)["lines"] = (line for line in "a")
    assert receptive_field(module, signal()).receptive_field == 3
    with pytest.raises(ValueError, match="cannot be copied: TypeError: cannot pickle 'generator' object"):
        verify_receptive_field(module, signal())
