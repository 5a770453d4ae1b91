"""Counts and sizes of ``wavedil rf`` have an upper end, which is looked at before any work is done."""

# ruff: noqa: E501

import pytest

from wavedil.cli import main

HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--kernel", HUGE], "--kernel: expected a whole number of at most 18 digits"),
        (["--kernel", "3", "--dilations", HUGE], "--dilations: expected a whole number of at most 18 digits"),
        (["--kernel", "1000001"], "layer 0: kernel_size: expected an integer from 1 to 1000000, got 1000001"),
        (["--kernel", "3", "--dilations", "1,2,3,...,1000000000"], "--dilations: expected at most 10,000 numbers, got "),
        (["--kernel", "3", "--cycles", "1000000000"], "--cycles: expected an integer from 1 to 10000, got 1000000000"),
        (["--kernel", "3", "--cycles", HUGE], "--cycles: expected an integer from 1 to 10000, got an integer of about 40"),
        (["--kernel", "3", "--dilations", "1,2", "--cycles", "6000"], "cycles: expected at most 10,000 layers in all"),
        (["--layer", "conv:kernel=3", "--layer", "conv:kernel=3", "--cycles", "6000"], "--cycles: expected at most 10,000 "),
        (["--layer", "transposed:kernel=1,stride=9999999999"], "layer 0 (transposed:kernel=1,stride=9999999999): stride: "),
        (["--layer", "transposed:kernel=1,stride=70000"], "stride: outputs repeat after 70000, expected at most 65,536"),
        (["--kernel", "3", "--strides", "1000", "--cycles", "6"], "stride: outputs are 1000000000000000000 inputs apart"),
        (["--layer", "conv:kernel=3,channels=-3"], "layer 0 (conv:kernel=3,channels=-3): out_channels: expected an integer from 1 to 1000000"),
        (["--kernel", "3", "--channels", "9999999"], "--channels: expected an integer from 1 to 1000000, got 9999999"),
        (["--kernel", "3", "--sample-rate", "1e12"], "--sample-rate: expected a number above 0 and at most 1e+09, got "),
        (["--kernel", "2", "--dilations", "200000", "--taps"], "--taps: expected a field of at most 131,072, got 200,001"),
        (["--kernel", "1", "--cycles", "1000", "--tree"], "--tree: expected at most 100 layers, got 1,000"),
        (["torch.nn:ReLU", "--input", "1,1,9999999999"], "--input: expected at most 33,554,432 values, got 9,999,999,999"),
        (["torch.nn:ReLU", "--input", f"1,1,{HUGE}"], "--input: expected a shape such as 1,1,16000, sizes of at most 10 digits, got "),
        (["design", "--samples", "100", "--kernel", "2000"], "--kernel must be at most 1,024 for a design, got 2,000"),
        (["design", "--samples", HUGE], "--samples: expected an integer from 1 to 16777216, got an integer of about 40"),
        (["design", "--ms", "1e999999999", "--sample-rate", "8000"], "--ms: expected a number from 0.000001 to 1000000000"),
        (["design", "--ms", "1e-999999999", "--sample-rate", "8000"], "--ms: expected a number from 0.000001 to "),
        (["design", "--ms", "1/0", "--sample-rate", "8000"], "--ms: expected a number from 0.000001 to 1000000000, got '1/0'"),
    ],
)  # fmt: skip
def test_beyond_the_upper_end(capsys, arguments, line):
    assert main(["rf", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"wavedil: error: {line}")
    assert error.count("\n") == 1
    assert len(error) < 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["--layer", "transposed:kernel=1000000,stride=60000", "--layer", "conv:kernel=1000000"],
        ["--kernel", "1000000", "--dilations", "1,1,1"],
        ["--kernel", "2", "--dilations", "1000000000"],
    ],
)
def test_large_sizes_are_answered_without_their_taps(capsys, arguments):
    assert main(["rf", *arguments]) == 0
    assert "note: the field is too wide to list its taps one by one" in capsys.readouterr().out
