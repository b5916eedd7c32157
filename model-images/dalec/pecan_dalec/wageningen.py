"""Reads the daily weather record of Wageningen that the package pcse carries (its CABO weather files NL1.<yyy>).

A CABO file (C. Rappoldt and D.W.G. van Kraalingen, Wageningen) has `*` comment lines, one line with the station's
place, and a line a day: station, year, day of year, irradiation (kJ m-2 d-1), minimum and maximum temperature (degrees
Celsius), vapour pressure (kPa), mean wind speed (m s-1), precipitation (mm d-1). -99 is a missing value; lines that
begin with -999 tell the status of the year and carry no weather.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from pecan_adapter.errors import BadData

STATION = "NL1"
MISSING = -99.0
STATUS_LINE = "-999"


class WeatherDay(NamedTuple):
    """One day of the record, in its own units."""

    day: date
    irradiation: float  # kJ m-2 d-1
    tmin: float  # degrees Celsius
    tmax: float
    vapour_pressure: float  # kPa
    wind_speed: float  # m s-1
    precipitation: float  # mm d-1


def read_year(record: Path, year: int) -> list[WeatherDay]:
    """All days of a year, in order. Raises BadData naming the missing days when there is a gap: nothing is filled in.
    `record` is the folder of the NL1 files; a year that is not in it is BadData too.
    """
    path = record / f"{STATION}.{year % 1000:03d}"
    if not path.is_file():
        raise BadData(f"the record has no weather of {year}: there is no {path}")
    lines = [line.split() for line in path.read_text(encoding="latin-1").splitlines() if not line.startswith("*")]
    days = {day.day: day for line in lines if (day := _weather_day(line))}
    wanted = [date(year, 1, 1) + timedelta(days=n) for n in range((date(year + 1, 1, 1) - date(year, 1, 1)).days)]
    missing = [day for day in wanted if day not in days]
    if missing:
        raise BadData(
            f"{path}: the record has a gap of {len(missing)} days in {year} (the first is {missing[0]}, the last "
            f"{missing[-1]}); choose other years"
        )
    return [days[day] for day in wanted]


def _weather_day(words: list[str]) -> WeatherDay | None:
    # Neither the line of the station's place nor a status line has nine words and a station number.
    if len(words) != 9 or words[0] == STATUS_LINE:
        return None
    values = [float(word) for word in words[3:]]
    if MISSING in values:
        return None
    return WeatherDay(date(int(words[1]), 1, 1) + timedelta(days=int(words[2]) - 1), *values)
