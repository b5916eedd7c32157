"""Makes CF netCDF of three-hour steps out of a daily weather record, for the demo.

The steps of each day give back the record: their maximum and minimum temperature, the sums of radiation and rain, the
means of wind and vapour pressure. What happens within the day is assumed:

- temperature follows two half cosines, lowest in the step around 04:30 UTC, highest in the one around 13:30 UTC;
- radiation follows the sine of the sun's height, integrated over each step (without the equation of time);
- rain, wind and vapour pressure are the same all day.

The record's days are taken as UTC days.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset
from numpy.typing import NDArray

from pecan_adapter.files import renamed_into_place
from pecan_dalec.wageningen import WeatherDay

STEPS = 8
STEP_HOURS = 24 / STEPS
STEP_SECONDS = 86400 // STEPS
ZERO_CELSIUS = 273.15

COOLEST_HOUR = 4.5
WARMEST_HOUR = 13.5

SITE = "Loobos"
LATITUDE, LONGITUDE = 52.17, 5.74
CO2 = 365e-6

FILE_ATTRIBUTES = {
    "title": "Demonstration weather for the Scots pine site Loobos (NL-Loo), the Netherlands",
    "institution": "measured by the Department of Meteorology, Wageningen Agricultural University",
    "source": "daily record of Wageningen, location Haarweg (51.97 N, 5.67 E, 7 m), from the Python package pcse",
    "comment": "The daily record is split into steps of 3 h whose daily maximum and minimum temperature, sums of "
    "radiation and rain, and means of wind and vapour pressure are those of the record. No day was filled in. There is "
    "no air pressure in the record, so there is no specific humidity.",
    # One a line, each short: the executor repeats them wherever results are shown.
    "caveats": "Weather of Wageningen, 23 km south of Loobos, not of the site itself.\n"
    "Weather within a day is assumed (only daily values were measured), and the record's days are taken as UTC days.",
    "Conventions": "CF-1.8",
}

Array = NDArray[np.float64]


def warmth_course() -> Array:
    """The share of the day's temperature range reached in each step: 0 in the coolest, 1 in the warmest."""
    middle = (np.arange(STEPS) + 0.5) * STEP_HOURS
    after_coolest = (middle - COOLEST_HOUR) % 24
    rise = WARMEST_HOUR - COOLEST_HOUR
    warming = 0.5 * (1 - np.cos(np.pi * after_coolest / rise))
    cooling = 0.5 * (1 + np.cos(np.pi * (after_coolest - rise) / (24 - rise)))
    course: Array = np.where(after_coolest <= rise, warming, cooling)
    return course


def sun_course(day: date, latitude: float, longitude: float) -> Array:
    """The share of the day's radiation in each step (they add up to 1), from the sun's height above the horizon.

    Latitude must have a sunrise and a sunset on that day.
    """
    declination = -math.radians(23.44) * math.cos(2 * math.pi * (day.timetuple().tm_yday + 10) / 365.25)
    constant = math.sin(math.radians(latitude)) * math.sin(declination)
    swing = math.cos(math.radians(latitude)) * math.cos(declination)
    sunset = math.acos(-constant / swing)  # hour angle
    edges = np.radians(15 * np.arange(STEPS + 1) * STEP_HOURS - 180 + longitude)
    # A step may reach past midnight of the sun's own day, hence the neighbouring days too.
    energy = np.zeros(STEPS)
    for turn in (-2 * math.pi, 0.0, 2 * math.pi):
        angle = np.clip(edges + turn, -sunset, sunset)
        energy += np.diff(constant * angle + swing * np.sin(angle))
    share: Array = energy / energy.sum()
    return share


def saturation_vapour_pressure(celsius: Array) -> Array:
    """Over water, Pa (Bolton 1980, Monthly Weather Review 108:1046-1053, as PEcAn uses it)."""
    pressure: Array = 611.2 * np.exp(17.67 * celsius / (celsius + 243.5))
    return pressure


def three_hourly(days: Sequence[WeatherDay], latitude: float, longitude: float) -> dict[str, Array]:
    """PEcAn's CF variables along time: temperature K, radiation W m-2, rain kg m-2 s-1, wind m s-1, vapour in Pa."""
    warmth = warmth_course()
    celsius = np.concatenate([warmth * day.tmax + (1 - warmth) * day.tmin for day in days])
    vapour = np.repeat([day.vapour_pressure * 1000 for day in days], STEPS)
    return {
        "air_temperature": celsius + ZERO_CELSIUS,
        "surface_downwelling_shortwave_flux_in_air": np.concatenate(
            [day.irradiation * 1000 * sun_course(day.day, latitude, longitude) / STEP_SECONDS for day in days]
        ),
        "precipitation_flux": np.repeat([day.precipitation / 86400 for day in days], STEPS),
        "wind_speed": np.repeat([day.wind_speed for day in days], STEPS),
        "water_vapor_partial_pressure_in_air": vapour,
        "water_vapor_saturation_deficit": np.maximum(0.0, saturation_vapour_pressure(celsius) - vapour),
        "mole_fraction_of_carbon_dioxide_in_air": np.full(len(days) * STEPS, CO2),
    }


_ATTRIBUTES = {
    "air_temperature": ("K", "daily maximum and minimum measured, course within the day assumed"),
    "surface_downwelling_shortwave_flux_in_air": ("W m-2", "mean of the step; daily sum measured, course assumed"),
    "precipitation_flux": ("kg m-2 s-1", "daily sum measured, spread evenly over the day"),
    "wind_speed": ("m s-1", "daily mean measured"),
    "water_vapor_partial_pressure_in_air": ("Pa", "daily mean measured"),
    "water_vapor_saturation_deficit": ("Pa", "derived: saturation at the step's temperature minus the vapour pressure"),
    "mole_fraction_of_carbon_dioxide_in_air": ("mol/mol", "not measured here: about the global mean of 1997-1999"),
}


def write_met(days: Sequence[WeatherDay], directory: Path) -> Path:
    """Write one year of weather as `<directory>/Loobos.<year>.nc`, replacing an older one in one move."""
    year = days[0].day.year
    path = directory / f"{SITE}.{year}.nc"
    with renamed_into_place(path) as temporary, Dataset(temporary, "w", format="NETCDF3_CLASSIC") as dataset:
        dataset.setncatts(FILE_ATTRIBUTES)
        for name, size in (("latitude", 1), ("longitude", 1), ("time", None), ("nv", 2)):
            dataset.createDimension(name, size)
        _variable(dataset, "latitude", ("latitude",), units="degrees_north")[:] = LATITUDE
        _variable(dataset, "longitude", ("longitude",), units="degrees_east")[:] = LONGITUDE
        clock = {"units": f"days since {year}-01-01T00:00:00Z", "calendar": "standard"}
        start = np.arange(len(days) * STEPS) / STEPS
        _variable(dataset, "time", ("time",), **clock, bounds="time_bounds", long_name="start of step")[:] = start
        _variable(dataset, "time_bounds", ("time", "nv"), **clock)[:] = np.stack((start, start + 1 / STEPS), axis=1)
        for name, values in three_hourly(days, LATITUDE, LONGITUDE).items():
            units, comment = _ATTRIBUTES[name]
            variable = _variable(dataset, name, ("time", "latitude", "longitude"), units=units, comment=comment)
            variable[:] = values.reshape(-1, 1, 1)
    return path


def _variable(dataset: Any, name: str, dimensions: tuple[str, ...], **attributes: str) -> Any:
    variable = dataset.createVariable(name, "f8", dimensions)
    variable.setncatts(attributes)
    return variable
