"""Statistics over members, in chunks as in one piece."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pecan_executor import ensemble
from pecan_executor.ensemble import Period, member_array, summarise_array, yearly
from pecan_executor.units import presentation

GPP = presentation("kg C m-2 s-1")


@given(arrays(np.float64, st.tuples(st.integers(2, 8), st.integers(1, 9)), elements=st.floats(-1e6, 1e6)))
def test_statistics_lie_where_they_must(values: np.ndarray) -> None:
    found = summarise_array(values)
    assert found.n == len(values)
    tolerance = 1e-9 * (1 + np.abs(values).max())
    assert (np.diff(found.quantiles, axis=0) >= -tolerance).all()
    assert (found.quantiles[0] >= values.min(axis=0) - tolerance).all()
    assert (found.quantiles[-1] <= values.max(axis=0) + tolerance).all()
    np.testing.assert_allclose(found.quantiles[2], np.median(values, axis=0), atol=tolerance)


def test_quantiles_and_sd_are_those_of_r() -> None:
    found = summarise_array(np.array([[1.0], [2.0], [4.0], [9.0]]))
    # R: quantile(c(1, 2, 4, 9), c(.025, .25, .5, .75, .975)); sd(c(1, 2, 4, 9))
    np.testing.assert_allclose(found.quantiles[:, 0], [1.075, 1.75, 3.0, 5.25, 8.625])
    np.testing.assert_allclose([found.mean[0], found.sd[0]], [4.0, 3.559026084010437])


def test_one_member_has_no_spread_and_says_so() -> None:
    found = summarise_array(np.array([[1.0, 2.0]]))
    assert found.n == 1
    assert np.isnan(found.sd).all()
    assert (found.quantiles == [1.0, 2.0]).all()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=(7, 50))
    whole = summarise_array(values)
    monkeypatch.setattr(ensemble, "_CHUNK_VALUES", 21)
    chunked = summarise_array(values)
    for name in ("mean", "sd", "quantiles"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(chunked, name))


def test_a_large_ensemble_lives_in_a_file_that_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "IN_MEMORY_BYTES", 100)
    values = member_array(10, 20, tmp_path)
    assert isinstance(values, np.memmap)
    assert not values.any()
    values[3] = 1
    assert values.sum() == 20
    assert not list(tmp_path.iterdir())


def test_a_year_of_one_gram_a_day_is_the_days_it_was_simulated() -> None:
    period = Period(date(1999, 12, 1), date(2001, 1, 10))
    daily = np.full(period.days, 1e-3 / 86400)
    np.testing.assert_allclose(yearly(daily, period, GPP), [31, 366, 10])


def test_pools_are_averaged() -> None:
    period = Period(date(2000, 1, 1), date(2000, 1, 4))
    assert yearly(np.array([1.0, 2.0, 3.0, 4.0]), period, presentation("kg C m-2")) == [2.5]


@pytest.mark.parametrize(
    ("units", "daily", "year", "summed"),
    [
        ("kg C m-2 s-1", "g C m-2 d-1", "g C m-2 yr-1", True),
        ("kgC m-2 s-1", "g C m-2 d-1", "g C m-2 yr-1", True),
        ("kg m-2 s-1", "kg m-2 d-1", "kg m-2 yr-1", True),
        ("kg C m-2", "kg C m-2", "kg C m-2", False),
        ("W m-2", "W m-2", "W m-2", False),
        ("m2 m-2", "m2 m-2", "m2 m-2", False),
    ],
)
def test_units_that_people_read(units: str, daily: str, year: str, summed: bool) -> None:
    shown = presentation(units)
    assert (shown.daily_units, shown.yearly_units, shown.summed) == (daily, year, summed)
