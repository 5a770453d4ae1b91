"""An answer in Python: printed it is the table, its repr is short however wide the field."""

import pytest

from wavedil.cli import main
from wavedil.receptive import stack


def test_a_printed_answer_is_the_table_of_the_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    answer = stack(3, [1, 2, 4, 8], strides=[2, 1, 1, 1], sample_rate=16_000)
    print(answer)
    printed = capsys.readouterr().out
    assert main(["rf", *"--kernel 3 --dilations 1,2,4,8 --strides 2,1,1,1 --sample-rate 16000".split()]) == 0  # noqa: SIM905
    assert capsys.readouterr().out == printed
    assert printed.startswith("receptive field")


def test_a_repr_is_short():
    answer = stack(2, [(1, 65_536)], bins=4)
    assert repr(answer) == (
        "Answer(time=Axis(receptive_field=65537, history=65536, lookahead=0, hop=1, unbounded=None, dense=False), "
        "frequency=Axis(receptive_field=2, history=0, lookahead=1, hop=1, unbounded=None, dense=True), layers=1, "
        "parameters=5, exact=True)"
    )
    assert len(repr(answer.axes.time.taps)) < 200


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e10])
def test_a_sample_rate_out_of_range(rate):
    with pytest.raises(ValueError, match="sample_rate: expected a number above 0 and at most 1e"):
        stack(3, sample_rate=rate)
