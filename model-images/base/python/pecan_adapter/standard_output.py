"""PEcAn's standard output: `<year>.nc` and `<year>.nc.var`, one of each a calendar year, in daily steps.

Names, units and long names are from PEcAn's table of standard variables (base/utils/data/standard_vars.csv). `time` is
the start of the step in days since 1 January, `time_bounds` gives both its ends. The files are netCDF classic, as
PEcAn's; R sees the dimensions as (lon, lat, time), Python as (time, lat, lon).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset

from pecan_adapter.config import RunConfig
from pecan_adapter.files import renamed_into_place
from pecan_adapter.meteorology import Array

MISSING = -999.0
FLUX = "kg C m-2 s-1"
POOL = "kg C m-2"


@dataclass(frozen=True, slots=True)
class Series:
    """A standard variable and its value on every day of the run."""

    name: str
    units: str
    long_name: str
    values: Array


@dataclass(frozen=True, slots=True)
class Origin:
    """What the files say of where they come from; `caveats`, one a line, is repeated wherever results are shown."""

    model: str
    source: str
    caveats: str


def write_standard_output(series: Sequence[Series], config: RunConfig, origin: Origin) -> list[Path]:
    """Write the files of every year of the run and return the netCDF ones.

    Each is renamed into place when it is whole, its .var first, so that whoever sees `<year>.nc` may read both.
    """
    written = []
    for year in range(config.start.year, config.end.year + 1):
        first, last = max(config.start, date(year, 1, 1)), min(config.end, date(year, 12, 31))
        path = config.outdir / f"{year}.nc"
        with renamed_into_place(config.outdir / f"{year}.nc.var") as temporary:
            temporary.write_text("".join(f"{s.name} {s.long_name}\n" for s in series), encoding="utf-8")
        with renamed_into_place(path) as temporary:
            _write_year(temporary, series, config, origin, (first, last))
        written.append(path)
    return written


def _write_year(
    path: Path, series: Sequence[Series], config: RunConfig, origin: Origin, days: tuple[date, date]
) -> None:
    year = days[0].year
    rows = slice(*((day - config.start).days for day in (days[0], days[1] + timedelta(days=1))))
    start = np.arange(rows.stop - rows.start, dtype=float) + (days[0] - date(year, 1, 1)).days
    with Dataset(path, "w", format="NETCDF3_CLASSIC") as dataset:
        dataset.setncatts(
            {
                "Conventions": "CF-1.8",
                "title": f"{origin.model} run output in PEcAn's standard form, {year}",
                "source": origin.source,
                "caveats": origin.caveats,
                "comment": "daily steps; fluxes are means over the step, pools the state at its end",
            }
        )
        for name, size in (("lon", 1), ("lat", 1), ("time", None), ("hist_interval", 2)):
            dataset.createDimension(name, size)
        for name, value, units in (
            ("lon", config.longitude, "degrees_east"),
            ("lat", config.latitude, "degrees_north"),
        ):
            long_name = "station_longitude" if name == "lon" else "station_latitude"
            _variable(dataset, name, (name,), {"units": units, "long_name": long_name})[:] = value
        since = f"days since {year}-01-01 00:00:00"
        clock = {"units": since, "calendar": "standard"}
        time = clock | {"bounds": "time_bounds", "axis": "T", "long_name": "start of step"}
        _variable(dataset, "time", ("time",), time)[:] = start
        _variable(dataset, "time_bounds", ("time", "hist_interval"), clock)[:] = np.stack((start, start + 1), axis=1)
        for s in series:
            attributes = {"units": s.units, "long_name": s.long_name, "missing_value": MISSING}
            variable = _variable(dataset, s.name, ("time", "lat", "lon"), attributes, MISSING)
            variable[:] = s.values[rows].reshape(-1, 1, 1)


def _variable(
    dataset: Any, name: str, dimensions: tuple[str, ...], attributes: dict[str, Any], fill: float | None = None
) -> Any:
    variable = dataset.createVariable(name, "f8", dimensions, fill_value=fill)
    variable.setncatts(attributes)
    return variable
