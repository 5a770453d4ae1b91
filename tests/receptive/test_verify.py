"""Verification agrees with what is right, and is an error that says where for what is wrong."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from wavedil.receptive import verify_receptive_field
from wavedil.receptive.trace.rules import RULES
from wavedil.receptive.verify import DisagreementError, Verification


def strided() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 4, 3, padding=1),
        nn.Sequential(nn.ReLU(), nn.Conv1d(4, 4, 4, stride=2, dilation=2)),
        nn.ConvTranspose1d(4, 2, 5, stride=3),
    )


def test_what_agrees_is_counted():
    found = verify_receptive_field(strided(), torch.zeros(1, 1, 60))
    # Three outputs every two inputs: each phase is measured, and probed.
    assert (found.outputs, found.probed, found.taps) == (3, 3, True)
    assert found.length >= 2 * 19
    assert Verification(**{**found.to_json(), "notes": ()}) == found


def test_spectrograms_are_measured_along_both_axes():
    found = verify_receptive_field(nn.Conv2d(1, 2, (3, 5), stride=(2, 1)), torch.zeros(1, 1, 40, 40))
    assert (found.outputs, found.probed, found.taps) == (2, 2, True)


@pytest.mark.parametrize(("bidirectional", "probed"), [(False, 0), (True, 0)])
def test_an_unbounded_field_is_measured_at_its_ends(bidirectional, probed):
    module = nn.GRU(2, 3, batch_first=True, bidirectional=bidirectional)
    found = verify_receptive_field(module, torch.zeros(1, 40, 2), time_axis=1)
    assert (found.probed, found.taps) == (probed, False)


@pytest.mark.parametrize("wrong", ["dilation", "last input", "padding"])
def test_a_wrong_rule_is_found_with_both_numbers_and_the_layer(monkeypatch, wrong):
    right = RULES["conv1d"]

    def broken(call):
        if call["dilation"] == [2] and wrong == "dilation":  # forgets it, as a count of taps does
            return right(replace(call, args={**call.args, "dilation": [1], "padding": [0]}))
        result = right(call)
        if call["dilation"] == [2] and wrong == "padding":  # one input late
            return result.like(result.planes.roll(1, -1))
        if call["dilation"] == [2] and wrong == "last input" and len(result.planes) == 2:  # one input less
            return result.like(result.planes - torch.tensor([0.0, 1.0])[:, None, None, None])
        return result

    monkeypatch.setitem(RULES, "conv1d", broken)
    module = nn.Sequential(nn.Conv1d(1, 4, 3), nn.Conv1d(4, 4, 3, dilation=2, padding=1), nn.Conv1d(4, 4, 1))
    with pytest.raises(DisagreementError) as error:
        verify_receptive_field(module, torch.zeros(1, 1, 64))
    said = str(error.value)
    assert said.startswith("time: output ")
    assert "as computed" in said
    assert "as measured" in said
    assert "they part at layer 1 (conv1d)" in said


def test_a_wrong_set_between_right_ends_is_found(monkeypatch):
    right = RULES["conv1d"]

    def broken(call):  # a kernel of 5 in the place of one of 3 with dilation 2
        return right(replace(call, args={**call.args, "weight": torch.ones(1, 1, 5), "dilation": [1]}))

    monkeypatch.setitem(RULES, "conv1d", broken)
    with pytest.raises(DisagreementError, match=r"reads 5 inputs as computed, 3 as measured; they part at input"):
        verify_receptive_field(nn.Conv1d(1, 1, 3, dilation=2), torch.zeros(1, 1, 30))


def test_a_module_that_cannot_be_measured_is_an_error():
    class Rounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 2)

        def forward(self, x):
            return self.table(x.long())[:, 0].mT

    with pytest.raises(ValueError, match="no gradient shows that"):
        verify_receptive_field(Rounded(), torch.zeros(1, 1, 30))
