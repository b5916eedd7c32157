"""DALEC's days as PEcAn's standard output: `<year>.nc` and `<year>.nc.var`, one of each a calendar year.

Names, units and long names from PEcAn's table of standard variables (base/utils/data/standard_vars.csv), the selection
that of PEcAn's model2netcdf.DALEC, and LAI. Where this differs from that function, on purpose:

- NEE is positive to the atmosphere, as the table says (PEcAn's DALEC stores NEP under that name);
- time is the start of the step in days since 1 January, so it begins at 0 (there: at 1) and leap years are whole;
- `time_bounds` gives both ends of the step.

Fluxes are means over the day, pools the state at its end. WoodyLitter is a deprecated name, kept since PEcAn uses it.
The files are netCDF classic, as PEcAn's; R sees the dimensions as (lon, lat, time), Python as (time, lat, lon).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset

from pecan_dalec.files import renamed_into_place
from pecan_dalec.model import Day

MISSING = -999.0
CAVEAT = (
    "DALEC is not calibrated here and not spun up: its parameters and first pools are as given, or published defaults."
)
"""What the executor repeats wherever results are shown."""
FLUX = "kg C m-2 s-1"
POOL = "kg C m-2"

_PER_SECOND = 1e-3 / 86400  # g per day to kg per second
_KILOGRAM = 1e-3


@dataclass(frozen=True, slots=True)
class StandardVariable:
    """One PEcAn variable and how it follows from a day (and the specific leaf area, m2 g-1 C)."""

    name: str
    units: str
    long_name: str
    value: Callable[[Day, float], float]


def _flux(name: str, long_name: str, grams_a_day: Callable[[Day], float]) -> StandardVariable:
    return StandardVariable(name, FLUX, long_name, lambda day, _: grams_a_day(day) * _PER_SECOND)


def _pool(name: str, long_name: str, grams: Callable[[Day], float]) -> StandardVariable:
    return StandardVariable(name, POOL, long_name, lambda day, _: grams(day) * _KILOGRAM)


def _heterotrophic(day: Day) -> float:
    return day.litter_respiration + day.som_respiration


VARIABLES = (
    _flux("AutoResp", "Autotrophic Respiration", lambda d: d.autotrophic_respiration),
    _flux("HeteroResp", "Heterotrophic Respiration", _heterotrophic),
    _flux("GPP", "Gross Primary Productivity", lambda d: d.gpp),
    _flux("NEE", "Net Ecosystem Exchange", lambda d: d.nee),
    _flux("NPP", "Net Primary Productivity", lambda d: d.leaf_growth + d.wood_growth + d.root_growth),
    _flux("leaf_litter_carbon_flux", "Leaf Litter Carbon Flux", lambda d: d.leaf_litter),
    _flux("WoodyLitter", "Wood Litter Carbon Flux", lambda d: d.wood_litter),
    _flux("subsurface_litter_carbon_flux", "Subsurface Litter Carbon Flux", lambda d: d.root_litter),
    _pool("leaf_carbon_content", "Leaf Carbon Content", lambda d: d.leaf),
    _pool("wood_carbon_content", "Wood Carbon Content", lambda d: d.wood),
    _pool("root_carbon_content", "Root Carbon Content", lambda d: d.root),
    _pool("litter_carbon_content", "Litter Carbon Content", lambda d: d.litter),
    _pool("soil_carbon_content", "Soil Carbon Content by Layer", lambda d: d.som),
    _flux("TotalResp", "Total Respiration", lambda d: d.autotrophic_respiration + _heterotrophic(d)),
    _pool("TotLivBiom", "Total living biomass", lambda d: d.leaf + d.wood + d.root),
    _pool("TotSoilCarb", "Total Soil Carbon", lambda d: d.litter + d.som),
    StandardVariable("LAI", "m2 m-2", "Leaf Area Index", lambda day, leaf_area: day.leaf * leaf_area),
)


def write_standard_output(
    days: Iterable[Day], outdir: Path, latitude: float, longitude: float, specific_leaf_area: float
) -> list[Path]:
    """Write the files of every year that `days` touches and return the netCDF ones.

    Each is renamed into place when it is whole, its .var first, so that whoever sees `<year>.nc` may read both.
    """
    written = []
    for year, days_of_year in groupby(days, key=lambda day: day.day.year):
        path = outdir / f"{year}.nc"
        with renamed_into_place(outdir / f"{year}.nc.var") as temporary:
            temporary.write_text("".join(f"{v.name} {v.long_name}\n" for v in VARIABLES), encoding="utf-8")
        with renamed_into_place(path) as temporary:
            _write_year(temporary, list(days_of_year), latitude, longitude, specific_leaf_area)
        written.append(path)
    return written


def _write_year(path: Path, days: list[Day], latitude: float, longitude: float, specific_leaf_area: float) -> None:
    year = days[0].day.year
    start = np.array([(day.day - date(year, 1, 1)).days for day in days], dtype=float)
    with Dataset(path, "w", format="NETCDF3_CLASSIC") as dataset:
        dataset.setncatts(
            {
                "Conventions": "CF-1.8",
                "title": f"DALEC run output in PEcAn's standard form, {year}",
                "source": "DALEC evergreen (Williams et al. 2005) with ACM photosynthesis (Williams et al. 1997)",
                "caveats": CAVEAT,
                "comment": "daily steps; fluxes are means over the step, pools the state at its end",
            }
        )
        for name, size in (("lon", 1), ("lat", 1), ("time", None), ("hist_interval", 2)):
            dataset.createDimension(name, size)
        for name, value, units in (("lon", longitude, "degrees_east"), ("lat", latitude, "degrees_north")):
            long_name = "station_longitude" if name == "lon" else "station_latitude"
            _variable(dataset, name, (name,), {"units": units, "long_name": long_name})[:] = value
        since = f"days since {year}-01-01 00:00:00"
        clock = {"units": since, "calendar": "standard"}
        time = clock | {"bounds": "time_bounds", "axis": "T", "long_name": "start of step"}
        _variable(dataset, "time", ("time",), time)[:] = start
        _variable(dataset, "time_bounds", ("time", "hist_interval"), clock)[:] = np.stack((start, start + 1), axis=1)
        for v in VARIABLES:
            attributes = {"units": v.units, "long_name": v.long_name, "missing_value": MISSING}
            variable = _variable(dataset, v.name, ("time", "lat", "lon"), attributes, MISSING)
            variable[:] = np.array([v.value(day, specific_leaf_area) for day in days]).reshape(-1, 1, 1)


def _variable(
    dataset: Any, name: str, dimensions: tuple[str, ...], attributes: dict[str, Any], fill: float | None = None
) -> Any:
    variable = dataset.createVariable(name, "f8", dimensions, fill_value=fill)
    variable.setncatts(attributes)
    return variable
