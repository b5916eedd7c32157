"""Weather as CF netCDF, a file a year, as PEcAn's programs and the DALEC image read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset

from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.met.csv_weather import Weather
from kubectl_pecan.met.quantities import DAY_SECONDS, QUANTITIES, TEMPERATURE_MAX, TEMPERATURE_MIN

METHODS = {TEMPERATURE_MAX: "time: maximum", TEMPERATURE_MIN: "time: minimum"}


def yearly_paths(weather: Weather, prefix: Path) -> dict[int, Path]:
    """The file of each year: `<prefix>.<year>.nc`."""
    return {year: Path(f"{prefix}.{year}.nc") for year in sorted({time.year for time in weather.times})}


def write_weather(
    weather: Weather, prefix: Path, latitude: float, longitude: float, source: str, replace: bool
) -> list[Path]:
    """Write all years; each file appears whole. Raises CliError when a file is there already and `replace` is false."""
    paths = yearly_paths(weather, prefix)
    there = [path for path in paths.values() if path.exists()]
    if there and not replace:
        raise CliError(ExitCode.INVALID, f"{there[0]} exists already: give another prefix, or --replace")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    years = np.array([time.year for time in weather.times])
    for year, path in paths.items():
        with _renamed(path) as temporary, Dataset(temporary, "w", format="NETCDF3_CLASSIC") as dataset:
            _fill(dataset, weather, np.flatnonzero(years == year), year, (latitude, longitude), source)
    return list(paths.values())


def _fill(dataset: Any, weather: Weather, steps: Any, year: int, place: tuple[float, float], source: str) -> None:
    dataset.setncatts(
        {
            "Conventions": "CF-1.8",
            "title": "Meteorology in PEcAn's standard names and units",
            "source": source,
            "history": "converted by kubectl pecan met from-csv",
        }
    )
    for name, size in (("time", None), ("latitude", 1), ("longitude", 1), ("nv", 2)):
        dataset.createDimension(name, size)
    _variable(dataset, "latitude", ("latitude",), units="degrees_north")[:] = place[0]
    _variable(dataset, "longitude", ("longitude",), units="degrees_east")[:] = place[1]
    clock = {"units": f"days since {year}-01-01T00:00:00Z", "calendar": "standard"}
    shift = (weather.start - datetime(year, 1, 1, tzinfo=UTC)).total_seconds()
    start = (shift + steps * float(weather.step_seconds)) / DAY_SECONDS
    bounds = np.stack((start, start + weather.step_seconds / DAY_SECONDS), axis=1)
    _variable(dataset, "time", ("time",), **clock, bounds="time_bounds", long_name="start of step")[:] = start
    _variable(dataset, "time_bounds", ("time", "nv"), **clock)[:] = bounds
    for name, values in weather.variables.items():
        attributes = {
            "standard_name": name.removesuffix("_max").removesuffix("_min"),
            "units": QUANTITIES[name].units,
            "cell_methods": METHODS.get(name, "time: mean"),
            "comment": weather.comments[name],
        }
        variable = _variable(dataset, name, ("time", "latitude", "longitude"), **attributes)
        variable[:] = values[steps].reshape(-1, 1, 1)


def _variable(dataset: Any, name: str, dimensions: tuple[str, ...], **attributes: str) -> Any:
    variable = dataset.createVariable(name, "f8", dimensions)
    variable.setncatts(attributes)
    return variable


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
