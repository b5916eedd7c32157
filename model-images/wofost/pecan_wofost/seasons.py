"""When the crop grows: a season each year, bare soil between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pecan_adapter.errors import BadData
from pecan_wofost.parameters import Parameters

LONGEST = 364
"""Days, so that a season ends before the next one begins."""


@dataclass(frozen=True, slots=True)
class Season:
    """How each season begins: with `kind` (emergence or sowing) on `day_of_year`; it lasts `duration` days at most."""

    crop_name: str
    kind: str
    day_of_year: int
    duration: int


def season_of(parameters: Parameters, emergence: int, until_emergence: float) -> Season:
    """The season a run asks for, or that of the record, whose crop emerges on day of year `emergence`.

    `until_emergence` is the crop's TSUMEM, degC d. Raises BadData if a crop is sown of which it is not known.
    """
    if parameters.sowing is None:
        day_of_year = parameters.emergence or emergence
        return Season(parameters.crop_name, "emergence", day_of_year, min(parameters.duration, LONGEST))
    if not until_emergence > 0:
        raise BadData(
            f"IDSOW: {parameters.crop_name} has no TSUMEM in the record, so nothing says when it emerges; give TSUMEM "
            "(degC d from sowing to emergence) and TBASEM, or IDEM instead"
        )
    return Season(parameters.crop_name, "sowing", parameters.sowing, min(parameters.duration, LONGEST))


def campaigns(season: Season, start: date, end: date) -> list[dict[date, Any]]:
    """pcse's agromanagement: bare soil until the first season, a season each year, an end on the day after the run.

    Raises BadData if no season begins from start to end (inclusive).
    """
    days = (date(year, 1, 1) + timedelta(days=season.day_of_year - 1) for year in range(start.year, end.year + 1))
    begins = [day for day in days if start <= day <= end]
    if not begins:
        raise BadData(
            f"no crop grows: its {season.kind} is on day {season.day_of_year} of the year, which is not in {start} to "
            f"{end}; give another {'IDSOW' if season.kind == 'sowing' else 'IDEM'}, or another run"
        )
    planned: list[dict[date, Any]] = [] if begins[0] == start else [{start: None}]
    for begin in begins:
        crop_calendar = {
            "crop_name": season.crop_name,
            "variety_name": "of the record",
            "crop_start_date": begin,
            "crop_start_type": season.kind,
            "crop_end_date": None,
            "crop_end_type": "maturity",
            "max_duration": season.duration,
        }
        planned.append({begin: {"CropCalendar": crop_calendar, "TimedEvents": None, "StateEvents": None}})
    return [*planned, {end + timedelta(days=1): None}]
