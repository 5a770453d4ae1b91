"""Figures of runs as anybody may have written them."""

import math
from pathlib import Path

import pytest

from wavedil.training.figures import read_columns, run_accuracy


def test_columns_of_numbers_are_read_whatever_the_editor(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text("epoch,loss,note\r\n1,0.5,first\r\n2,,\r\n\r\n", encoding)
        columns = read_columns(path)
        assert list(columns) == ["epoch", "loss"]
        assert columns["epoch"] == [1, 2]
        assert columns["loss"][0] == 0.5
        assert math.isnan(columns["loss"][1])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"epoch\n",
        b"epoch,loss\n1\n",
        b"epoch\n1,2\n",
        b"epoch\n\x00",
        b"epoch\n\xff\n",
        b'epoch\n"' + b"1" * 200_000,
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"metrics\.csv: ") as caught:
        read_columns(tmp_path / "metrics.csv")
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_finished_run_has_no_accuracy(tmp_path: Path) -> None:
    assert run_accuracy(tmp_path) is None
