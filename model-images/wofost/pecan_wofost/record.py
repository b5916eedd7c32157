"""Reads crops, soil, site and weather of the demonstration database that pcse makes of its own data.

The data: winter wheat, maize, barley, potato, rapeseed and sunflower in one cell of a European grid (37.64 N, 6.09 W,
Andalusia), with its weather from December 1999 to November 2001 and the results WOFOST is tested with.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

HOME = Path(os.environ.get("PCSE_HOME", "/opt/pcse"))
# pcse keeps settings and database below the home of a user who has a name, and looks for both when it is imported.
os.environ |= {"HOME": str(HOME), "USER": "pecan"}

from pcse.tests import db_input  # noqa: E402
from pcse.tests.run_wofost import namedtuple_factory  # noqa: E402

GRID, YEAR = 31031, 2000


@dataclass(frozen=True, slots=True)
class Weather:
    """The database's daily weather in its own units, along its days; the place in degrees and m."""

    latitude: float
    longitude: float
    elevation: float
    days: list[date]
    radiation: list[float]  # kJ m-2 d-1
    tmin: list[float]  # degC
    tmax: list[float]
    vapour_pressure: list[float]  # hPa
    wind_speed: list[float]  # m s-1 at 10 m
    rain: list[float]  # mm d-1


@dataclass(frozen=True, slots=True)
class Record:
    """A crop's, the soil's and the site's parameters in WOFOST's names; the day of year the crop emerges."""

    crop: dict[str, Any]
    soil: dict[str, float]
    site: dict[str, float]
    emergence: int


@contextmanager
def database() -> Iterator[Any]:
    """A connection to the database, which is only read."""
    with closing(sqlite3.connect(f"file:{HOME}/.pcse/pcse.db?mode=ro&immutable=1", uri=True)) as connection:
        connection.row_factory = namedtuple_factory
        yield connection


def read_record(crop: int) -> Record:
    """What the database has of a crop, by its number there."""
    with database() as connection:
        start = db_input.AgroManagementDataProvider(connection, GRID, crop, YEAR).crop_start_date
        return Record(
            crop=db_input.fetch_cropdata(connection, GRID, YEAR, crop),
            soil=db_input.fetch_soildata(connection, GRID),
            site=db_input.fetch_sitedata(connection, GRID, YEAR),
            emergence=date.fromisoformat(str(start)).timetuple().tm_yday,
        )


def read_weather_record() -> Weather:
    """The weather of the database's grid cell, every day of it."""
    with database() as connection:
        place = connection.execute("select * from grid where grid_no=?", (GRID,)).fetchone()
        rows = connection.execute("select * from grid_weather where grid_no=? order by day", (GRID,)).fetchall()
    return Weather(
        latitude=place.latitude,
        longitude=place.longitude,
        elevation=place.altitude,
        days=[date.fromisoformat(row.day) for row in rows],
        radiation=[row.calculated_radiation for row in rows],
        tmin=[row.minimum_temperature for row in rows],
        tmax=[row.maximum_temperature for row in rows],
        vapour_pressure=[row.vapour_pressure for row in rows],
        wind_speed=[row.windspeed for row in rows],
        rain=[row.rainfall for row in rows],
    )


def record_weather_provider() -> Any:
    """The same as a weather provider of pcse, with the evapotranspiration that the benchmarks were made with."""
    with database() as connection:
        return db_input.GridWeatherDataProvider(connection, grid_no=GRID, use_cache=False)


def read_benchmarks(crop: int, mode: str) -> list[dict[str, Any]]:
    """The results pcse tests WOFOST with, a row a day: of a crop by number, potential (pp) or water-limited (wlp)."""
    with database() as connection:
        rows = connection.execute(
            "select * from wofost_unittest_benchmarks "
            "where grid_no=? and crop_no=? and simulation_mode=? and member_id=0 order by day",
            (GRID, crop, mode),
        ).fetchall()
    return [row._asdict() for row in rows]
