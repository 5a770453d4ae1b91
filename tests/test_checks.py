"""Checks of single arguments: what they let through, and that a refusal is one line with name, expected and actual."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavedil.checks import MOST_SHOWN, bounded_integer, bounded_number, did_you_mean, one_of, shown


@given(value=st.integers(), least=st.integers(), size=st.integers(0))
def test_an_integer_passes_just_within_its_range(value, least, size):
    if least <= value <= least + size:
        assert bounded_integer("n", value, least, least + size) == value
    else:
        with pytest.raises(ValueError, match=r"^n: expected an integer from "):
            bounded_integer("n", value, least, least + size)


def test_a_long_power_of_ten_is_readable_in_a_message():
    with pytest.raises(ValueError, match=r"^n: expected an integer from 1 to 10\^100, got 0$"):
        bounded_integer("n", 0, 1, 10**100)
    with pytest.raises(ValueError, match=r"^n: expected an integer from 1 to 1000, got 0$"):
        bounded_integer("n", 0, 1, 1000)


def test_integers_of_other_types_pass_as_int():
    assert type(bounded_integer("n", np.int16(3), 1, 5)) is int


@pytest.mark.parametrize("value", [True, 2.0, "3", None, [3], 3j, math.nan, object()])
def test_what_is_no_integer_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"^n: expected an integer from 1 to 5, got "):
        bounded_integer("n", value, 1, 5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1e-9, 2 + 1e-9, 10**400, -(10**400)])
def test_what_is_no_number_of_the_range_is_refused(value):
    with pytest.raises(ValueError, match=r"^x: expected a number of at least 0 and at most 2, got "):
        bounded_number("x", value, 0, 2)


@pytest.mark.parametrize("value", [True, "1", None, 1j, [1.0]])
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"^x: expected a number of at least 0 and at most 2, got "):
        bounded_number("x", value, 0, 2)


@pytest.mark.parametrize("value", [0, 2.0, np.float32(1.5), Fraction(1, 3)])
def test_numbers_of_any_type_pass_as_float(value):
    found = bounded_number("x", value, 0, 2)
    assert (type(found), found) == (float, float(value))


def test_an_end_may_be_left_out():
    with pytest.raises(ValueError, match="expected a number above 0 and below 1, got 0"):
        bounded_number("x", 0, 0, 1, above=True, below=True)
    with pytest.raises(ValueError, match="got 1"):
        bounded_number("x", 1, 0, 1, above=True, below=True)
    assert bounded_number("x", 0.5, 0, 1, above=True, below=True) == 0.5


def test_a_choice_is_itself_and_another_is_refused_with_all_of_them():
    assert one_of("mode", "a", ["a", "b"]) == "a"
    with pytest.raises(ValueError, match=r"^mode: expected one of same, valid; got 'vaild'; did you mean 'valid'\?$"):
        one_of("mode", "vaild", ["same", "valid"])


@pytest.mark.parametrize("value", [None, 3, True, 1.0, np.zeros(3), "", "x" * 10**6, b"a", ["a"]])
def test_any_value_may_be_asked_whether_it_is_a_choice(value):
    with pytest.raises(ValueError, match=r"^mode: expected one of a, 1; got ") as caught:
        one_of("mode", value, ["a", 1])
    assert len(str(caught.value)) < 2 * MOST_SHOWN


def test_no_word_is_proposed_where_none_is_near():
    assert did_you_mean("silence", ["zeros"]) == ""


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    "value", [10**400, [10**5000], "two\nlines", "x" * 10**6, [1] * 1000, np.zeros((30, 30)), Odd()]
)
def test_a_value_is_shown_on_one_short_line(value):
    assert len(shown(value)) <= MOST_SHOWN
    assert "\n" not in shown(value)
