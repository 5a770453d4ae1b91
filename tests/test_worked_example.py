"""The examples of the operator run and say what is so; the TensorFlow convention is the documented formula."""

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples

from wavedil.functional import dilated_convolution

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
SCRIPT = EXAMPLES / "worked_example.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(SCRIPT))


def atrous_by_the_formula(value: np.ndarray, filters: np.ndarray, rate: int) -> np.ndarray:
    """The documented sum over taps and channels, term by term, where all of them lie inside the value."""
    batch, height, width, _ = value.shape
    kernel_height, kernel_width, _, out_channels = filters.shape
    shape = (batch, height - rate * (kernel_height - 1), width - rate * (kernel_width - 1), out_channels)
    output = np.zeros(shape, dtype=value.dtype)
    for b, y, x, o in np.ndindex(*shape):
        for dy, dx in np.ndindex(kernel_height, kernel_width):
            output[b, y, x, o] += value[b, y + rate * dy, x + rate * dx] @ filters[dy, dx, :, o]
    return output


def test_it_prints_the_matrices(capsys):
    runpy.run_path(str(SCRIPT))
    printed = capsys.readouterr().out
    assert "the kernel dilated by 3:\n[[1 0 0 2 0 0 3]\n [0 0 0 0 0 0 0]\n" in printed
    assert "the convolution, 'valid':\n[[2 2 2]\n [5 5 5]\n [5 5 5]]\n" in printed
    assert "the cross-correlation:\n[[8 8 8]\n [5 5 5]\n [5 5 5]]\n" in printed
    for rate, side in ((1, 7), (2, 5), (3, 3), (4, 1)):
        assert f"dilation {rate}: output {side}x{side}, equal to SciPy's" in printed


@settings(max_examples=examples(30))
@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 4), st.integers(1, 4)), st.integers(1, 3))
def test_atrous_is_the_documented_formula(example, seed, kernel_size, rate):
    rng = np.random.default_rng(seed)
    value, filters = rng.integers(-9, 9, (2, 11, 12, 2)), rng.integers(-9, 9, (*kernel_size, 2, 3))
    totals = [rate * (size - 1) for size in kernel_size]
    same = np.pad(value, [(0, 0), *[(total // 2, total - total // 2) for total in totals], (0, 0)])
    for mode, padded in (("valid", value), ("same", same)):
        arguments = torch.from_numpy(value), torch.from_numpy(filters), rate, mode.upper()
        theirs = example["atrous_conv2d"](*arguments).numpy()
        np.testing.assert_array_equal(theirs, atrous_by_the_formula(padded, filters, rate))
        # Channel by channel it is our operator, without the flip.
        for o in range(3):
            options: dict[str, Any] = {"mode": mode, "flip": False}
            ours = [dilated_convolution(value[..., i], filters[..., i, o], rate, **options) for i in range(2)]
            np.testing.assert_array_equal(theirs[..., o], sum(ours))


def test_gridding_is_drawn(tmp_path, monkeypatch, capsys):
    picture = tmp_path / "gridding.png"
    monkeypatch.setattr(sys, "argv", ["gridding.py", "--plot", str(picture)])
    runpy.run_path(str(EXAMPLES / "gridding.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "2, 2, 2: reads 49 of 169 inputs, the middle along 0 to 49 paths" in printed
    assert "1, 2, 3: reads 169 of 169 inputs, the middle along 4 to 9 paths" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")
