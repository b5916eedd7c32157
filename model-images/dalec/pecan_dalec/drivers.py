"""CF meteorology to DALEC's daily drivers, the way PEcAn's met2model.DALEC does it.

Shortwave is the sum over the day's steps, temperature their maximum and minimum.
"""

from __future__ import annotations

from datetime import date

from pecan_adapter.meteorology import RADIATION, SHORTWAVE, Array, Met, Quantity, read_days
from pecan_dalec.model import CO2_RANGE, Drivers

CO2 = "mole_fraction_of_carbon_dioxide_in_air"

MOLE_FRACTION = Quantity(
    "ppm",
    *CO2_RANGE,
    dict.fromkeys(("1", "mol/mol", "molmol-1", "mole/mole"), (1e6, 0.0))
    | dict.fromkeys(("ppm", "1e-6", "umol/mol", "umolmol-1"), (1.0, 0.0)),
)


def read_drivers(met: str, start: date, end: date) -> list[Drivers]:
    """The drivers of every day from start to end (inclusive). Raises what `read_days` does."""
    return [Drivers(day, *values) for day, values in read_days(met, start, end, _columns)]


def _columns(met: Met) -> list[Array]:
    tmin, tmax = met.temperature_range()
    columns = [tmax, tmin, met.daily_integral(SHORTWAVE, RADIATION) * 1e-6]
    if CO2 in met:
        columns.append(met.by_day(CO2, MOLE_FRACTION).mean(axis=1))
    return columns
