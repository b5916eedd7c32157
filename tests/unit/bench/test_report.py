"""Statistics and table of the benchmarks, and that each row is there and documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report import Figure, most_in_a_second, one, percentile, table

ROOT = Path(__file__).resolve().parents[3]
ROWS = re.findall(r'^    "(\w+)",$', (ROOT / "tests/bench/run.py").read_text(), re.MULTILINE)


def test_a_figure_is_summed_up() -> None:
    samples = [float(value) for value in range(200, 0, -1)]

    assert Figure("lag", "s", samples).summary() == {
        "figure": "lag",
        "unit": "s",
        "n": 200,
        "median": 100.5,
        "p99": 198.0,
        "min": 1.0,
        "max": 200.0,
    }


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=99))
def test_the_p99_of_less_than_a_hundred_samples_is_the_largest(samples: list[float]) -> None:
    assert percentile(sorted(samples), 0.99) == max(samples)


def test_the_table_has_a_line_a_figure_with_what_was_measured() -> None:
    lines = table({"row": "gap", **figure.summary()} for figure in (one("cycle", "ms", 4.25), one("runs", "", 10000)))

    assert [line.split() for line in lines.splitlines()] == [
        ["row", "figure", "unit", "n", "median", "p99", "min", "-", "max"],
        ["gap", "cycle", "ms", "1", "4.25", "4.25", "4.25", "-", "4.25"],
        ["gap", "runs", "1", "10000", "10000", "10000", "-", "10000"],
    ]


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_its_file_and_is_documented(row: str) -> None:
    assert "def measure(place: Place, long: bool) -> list[Figure]:" in (ROOT / f"tests/bench/{row}.py").read_text()
    assert f"`{row}`" in (ROOT / "docs/development.md").read_text()


def test_rows_are_found() -> None:
    assert {"scale_up", "victims"} <= set(ROWS)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_the_fullest_second_holds_as_many_as_any(moments: list[float]) -> None:
    moments.sort()

    assert most_in_a_second(moments) == max(
        sum(1 for other in moments[number:] if other < moment + 1.0) for number, moment in enumerate(moments)
    )
