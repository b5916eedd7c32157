"""Writes the weather that pcse comes with as CF netCDF in PEcAn's names and units, a step a day.

Nothing is made up: every value is the record's in another unit, and a day of the record is taken as a UTC day.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset

from pecan_adapter.files import renamed_into_place
from pecan_adapter.meteorology import DAY_SECONDS, SHORTWAVE, ZERO_CELSIUS, Array
from pecan_wofost.record import Weather
from pecan_wofost.weather import RAIN, VAPOUR_PRESSURE, WIND

SITE = "Andalusia"

FILE_ATTRIBUTES = {
    "title": "Demonstration weather: a cell of a European grid in Andalusia, Spain",
    "source": "daily weather of grid cell 31031 in the demonstration database of the Python package pcse",
    "caveats": "Weather interpolated to a grid cell, of which days are taken as UTC days.",
    "Conventions": "CF-1.8",
}


def write_demo_weather(weather: Weather, directory: Path) -> list[Path]:
    """Write `<directory>/Andalusia.<year>.nc` for each year that has days, replacing older ones each in one move."""
    years = np.array([day.year for day in weather.days])
    return [_write_year(weather, directory, int(year), years == year) for year in np.unique(years)]


def cf_variables(weather: Weather) -> dict[str, tuple[str, Array]]:
    """PEcAn's variables along the record's days, each with its unit."""
    return {
        "air_temperature_max": ("K", np.array(weather.tmax) + ZERO_CELSIUS),
        "air_temperature_min": ("K", np.array(weather.tmin) + ZERO_CELSIUS),
        SHORTWAVE: ("W m-2", np.array(weather.radiation) * 1000 / DAY_SECONDS),
        RAIN: ("kg m-2 s-1", np.array(weather.rain) / DAY_SECONDS),
        WIND: ("m s-1", np.array(weather.wind_speed)),
        VAPOUR_PRESSURE: ("Pa", np.array(weather.vapour_pressure) * 100),
    }


def _write_year(weather: Weather, directory: Path, year: int, chosen: Any) -> Path:
    path = directory / f"{SITE}.{year}.nc"
    start = np.array([(day - date(year, 1, 1)).days for day in weather.days], dtype=float)[chosen]
    with renamed_into_place(path) as temporary, Dataset(temporary, "w", format="NETCDF3_CLASSIC") as dataset:
        dataset.setncatts(FILE_ATTRIBUTES)
        for name, size in (("latitude", 1), ("longitude", 1), ("time", None), ("nv", 2)):
            dataset.createDimension(name, size)
        clock = {"units": f"days since {year}-01-01T00:00:00Z", "calendar": "standard"}
        _write(dataset, "latitude", ("latitude",), np.array([weather.latitude]), units="degrees_north")
        _write(dataset, "longitude", ("longitude",), np.array([weather.longitude]), units="degrees_east")
        _write(dataset, "time", ("time",), start, **clock, bounds="time_bounds", long_name="start of day")
        _write(dataset, "time_bounds", ("time", "nv"), np.stack((start, start + 1), axis=1), **clock)
        for name, (units, values) in cf_variables(weather).items():
            _write(dataset, name, ("time", "latitude", "longitude"), values[chosen].reshape(-1, 1, 1), units=units)
    return path


def _write(dataset: Any, name: str, dimensions: tuple[str, ...], values: Array, **attributes: str) -> None:
    variable = dataset.createVariable(name, "f8", dimensions)
    variable.setncatts(attributes)
    variable[:] = values
