"""Numbers in a user's files are written as R reads them, not as Python does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_executor.numerals import finite, whole


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1.0), ("-0.5", -0.5), ("+.5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("2.5E-1", 0.25), ("007", 7.0)],
)
def test_finite_numbers(text: str, value: float) -> None:
    assert finite(text) == value


@pytest.mark.parametrize(
    "text", ["", "1_000", "１０", "٣", "1,5", "nan", "Inf", "1e400", "0x10", "1e", ".", "1 2", " 1", "1\n", "e5", "--1"]
)
def test_what_is_no_number(text: str) -> None:
    assert finite(text) is None
    assert whole(text) is None


def test_whole_numbers() -> None:
    assert [whole(text) for text in ("12", "+3", "-4", "1.0", "1e3", "²")] == [12, 3, -4, None, None, None]
    assert whole("9" * 10_000) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_we_write_is_read_back(value: float) -> None:
    assert finite(repr(value)) == value


@given(st.integers())
def test_whole_numbers_are_read_back(value: int) -> None:
    assert whole(str(value)) == value


@given(st.text(st.sampled_from("0123456789.eE+-_xX１ nainf"), max_size=6))
def test_any_text_is_a_number_of_python_too_or_none(text: str) -> None:
    value = finite(text)
    assert value is None or value == float(text)
