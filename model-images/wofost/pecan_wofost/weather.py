"""CF meteorology in PEcAn's names and units to WOFOST's daily weather.

The day's radiation and rain are sums over its steps, wind and vapour pressure means, temperature the range. Vapour
pressure is read, or follows from specific humidity and air pressure, or from relative humidity and temperature.
"""

from __future__ import annotations

import math
from datetime import date
from typing import NamedTuple

import numpy as np

from pecan_adapter.errors import BadData
from pecan_adapter.meteorology import RADIATION, SHORTWAVE, TEMPERATURE, Array, Met, Quantity, read_days

RAIN = "precipitation_flux"
WIND, EASTWARD, NORTHWARD = "wind_speed", "eastward_wind", "northward_wind"
VAPOUR_PRESSURE = "water_vapor_partial_pressure_in_air"
SPECIFIC_HUMIDITY, AIR_PRESSURE = "specific_humidity", "air_pressure"
RELATIVE_HUMIDITY = "relative_humidity"

_PASCAL = {"pa": (1.0, 0.0), "pascal": (1.0, 0.0), "hpa": (100.0, 0.0), "kpa": (1000.0, 0.0)}
_SPEED = dict.fromkeys(("ms-1", "m/s", "ms^-1", "m/sec"), (1.0, 0.0))
_RATIO = dict.fromkeys(("1", "kgkg-1", "kg/kg", "g/g"), (1.0, 0.0))

PRECIPITATION = Quantity(
    "kg m-2 s-1", 0.0, 0.1, dict.fromkeys(("kgm-2s-1", "kg/m2/s", "kgm^-2s^-1", "mms-1", "mm/s"), (1.0, 0.0))
)
WIND_SPEED = Quantity("m s-1", 0.0, 100.0, _SPEED)
WIND_COMPONENT = Quantity("m s-1", -100.0, 100.0, _SPEED)
PARTIAL_PRESSURE = Quantity("Pa", 0.0, 20_000.0, _PASCAL)
PRESSURE = Quantity("Pa", 30_000.0, 120_000.0, _PASCAL)
HUMIDITY = Quantity("kg kg-1", 0.0, 0.1, _RATIO)
RELATIVE = Quantity("%", 0.0, 110.0, {"%": (1.0, 0.0), "percent": (1.0, 0.0), "1": (100.0, 0.0)})

ROUGHNESS = 0.033
"""Of a short crop, m, as in pcse."""


class WeatherDay(NamedTuple):
    """One day's weather in pcse's units."""

    day: date
    irradiation: float  # J m-2 d-1
    tmin: float  # degC
    tmax: float
    vapour_pressure: float  # hPa
    wind_speed: float  # m s-1 at 2 m
    rain: float  # cm d-1


def read_weather(met: str, start: date, end: date, wind_height: float) -> list[WeatherDay]:
    """The weather of every day from start to end (inclusive); the wind was measured at `wind_height` m.

    Raises what `read_days` does.
    """
    to_two_metres = math.log(2 / ROUGHNESS) / math.log(wind_height / ROUGHNESS)

    def columns(met: Met) -> list[Array]:
        tmin, tmax = met.temperature_range()
        return [
            met.daily_integral(SHORTWAVE, RADIATION),
            tmin,
            tmax,
            _vapour_pressure(met) / 100,
            _wind_speed(met) * to_two_metres,
            met.daily_integral(RAIN, PRECIPITATION) / 10,
        ]

    return [WeatherDay(day, *values) for day, values in read_days(met, start, end, columns)]


def saturation_vapour_pressure(celsius: Array) -> Array:
    """Over water, Pa (Bolton 1980, Monthly Weather Review 108:1046-1053, as PEcAn uses it)."""
    pressure: Array = 611.2 * np.exp(17.67 * celsius / (celsius + 243.5))
    return pressure


def _vapour_pressure(met: Met) -> Array:
    """Daily mean, Pa."""
    if VAPOUR_PRESSURE in met:
        pressure = met.by_day(VAPOUR_PRESSURE, PARTIAL_PRESSURE)
    elif SPECIFIC_HUMIDITY in met and AIR_PRESSURE in met:
        humidity = met.by_day(SPECIFIC_HUMIDITY, HUMIDITY)
        pressure = humidity * met.by_day(AIR_PRESSURE, PRESSURE) / (0.378 * humidity + 0.622)
    elif RELATIVE_HUMIDITY in met:
        saturated = saturation_vapour_pressure(met.by_day("air_temperature", TEMPERATURE))
        pressure = np.minimum(met.by_day(RELATIVE_HUMIDITY, RELATIVE) / 100, 1.0) * saturated
    else:
        raise BadData(
            f"{met.path}: WOFOST needs the air's humidity: {VAPOUR_PRESSURE}, or {SPECIFIC_HUMIDITY} and {AIR_PRESSURE}, or "
            f"{RELATIVE_HUMIDITY}"
        )
    mean: Array = pressure.mean(axis=1)
    return mean


def _wind_speed(met: Met) -> Array:
    """Daily mean, m s-1."""
    if WIND in met or EASTWARD not in met:
        speed = met.by_day(WIND, WIND_SPEED)
    else:
        speed = np.hypot(met.by_day(EASTWARD, WIND_COMPONENT), met.by_day(NORTHWARD, WIND_COMPONENT))
    mean: Array = speed.mean(axis=1)
    return mean
