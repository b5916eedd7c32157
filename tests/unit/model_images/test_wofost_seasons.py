"""When WOFOST's crop grows: a season each year of the run, none that is not in it."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_adapter.errors import BadData
from pecan_wofost.parameters import Parameters
from pecan_wofost.seasons import LONGEST, Season, campaigns, season_of

WHEAT = Season("winter_wheat", "emergence", 1, 364)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (Parameters("potato"), Season("potato", "emergence", 51, 364)),
        (Parameters("potato", emergence=80, duration=200), Season("potato", "emergence", 80, 200)),
        (Parameters("potato", sowing=60), Season("potato", "sowing", 60, 364)),
    ],
)
def test_the_record_s_season_holds_where_none_is_given(parameters: Parameters, expected: Season) -> None:
    assert season_of(parameters, 51, 170.0) == expected


def test_a_crop_of_which_emergence_is_not_known_cannot_be_sown() -> None:
    with pytest.raises(BadData, match=r"IDSOW: winter_wheat has no TSUMEM .* or IDEM instead"):
        season_of(Parameters("winter_wheat", sowing=300), 1, 0.0)
    assert season_of(Parameters("winter_wheat"), 1, 0.0).kind == "emergence"


def starts(planned: list[dict[date, Any]]) -> list[tuple[date, bool]]:
    return [(day, what is not None) for campaign in planned for day, what in campaign.items()]


def test_a_run_that_begins_with_a_season_has_no_bare_soil_before() -> None:
    planned = campaigns(WHEAT, date(2000, 1, 1), date(2001, 6, 30))
    assert starts(planned) == [(date(2000, 1, 1), True), (date(2001, 1, 1), True), (date(2001, 7, 1), False)]
    calendar = planned[0][date(2000, 1, 1)]["CropCalendar"]
    assert calendar["crop_start_date"] == date(2000, 1, 1)
    assert (calendar["crop_start_type"], calendar["crop_end_type"]) == ("emergence", "maturity")
    assert calendar["max_duration"] == 364


def test_bare_soil_comes_before_the_first_season() -> None:
    sown = Season("sunflower", "sowing", 100, 200)
    planned = campaigns(sown, date(1999, 12, 1), date(2000, 12, 31))
    # Day 100 of a leap year.
    assert starts(planned) == [(date(1999, 12, 1), False), (date(2000, 4, 9), True), (date(2001, 1, 1), False)]


@pytest.mark.parametrize(
    ("start", "end"), [(date(2000, 1, 2), date(2000, 12, 31)), (date(2000, 3, 1), date(2000, 3, 1))]
)
def test_a_run_without_a_season_is_refused(start: date, end: date) -> None:
    with pytest.raises(BadData, match=r"no crop grows: its emergence is on day 1 .* give another IDEM"):
        campaigns(WHEAT, start, end)
    with pytest.raises(BadData, match=r"its sowing is on day 1 .* give another IDSOW"):
        campaigns(Season("potato", "sowing", 1, 200), start, end)


@given(st.integers(1, 365), st.dates(date(1950, 1, 1), date(2050, 1, 1)), st.integers(366, 5000))
def test_seasons_are_in_the_run_and_do_not_overlap(day_of_year: int, start: date, length: int) -> None:
    end = start + timedelta(days=length)
    planned = starts(campaigns(Season("potato", "emergence", day_of_year, LONGEST), start, end))
    days = [day for day, _ in planned]
    assert days[0] == start
    assert days[-1] == end + timedelta(days=1)
    assert days == sorted(set(days))
    seasons = [day for day, grows in planned if grows]
    assert len(seasons) >= length // 366
    assert all((later - day).days > LONGEST for day, later in pairwise(seasons))
