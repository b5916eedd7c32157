"""Result files of one variable: daily statistics (netCDF and CSV), yearly statistics and members' values (CSV).

File names have PEcAn's stems: ensemble.{ts,analysis,output}.<ensemble id>.<variable>.<first year>.<last year>.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset
from numpy.typing import NDArray
from pydantic_core import to_json

from pecan_executor.collect import Part, Place
from pecan_executor.ensemble import QUANTILES, Period, Statistics
from pecan_executor.files import csv_cells, replacing, writing, writing_table
from pecan_executor.outputs import Variable
from pecan_executor.units import Presentation, presentation
from pecan_operator.core.pecanxml import Settings

_CHUNK_CACHE_BYTES = 2**20
STATISTIC_COLUMNS = ("n", "mean", "sd", *(f"q{100 * q:g}" for q in QUANTILES))


@dataclass(frozen=True)
class Subject:
    """What the files of one variable are about; `planned` members at each site were asked for."""

    folder: Path
    ensemble_id: str
    variable: Variable
    shown: Presentation
    period: Period
    model: str
    workflow_id: int
    planned: int
    caveats: tuple[str, ...]

    def path(self, kind: str, suffix: str, family: str = "ensemble") -> Path:
        """A result file with PEcAn's stem."""
        years = f"{self.period.years[0]}.{self.period.years[-1]}"
        return self.folder / f"{family}.{kind}.{self.ensemble_id}.{self.variable.name}.{years}{suffix}"


def subject_of(settings: Settings, folder: Path, part: Part, variable: Variable, planned: int) -> Subject:
    """What the files of one variable of an ensemble or a sensitivity analysis are about."""
    return Subject(
        folder=folder,
        ensemble_id=part.ensemble_id,
        variable=variable,
        shown=presentation(variable.units),
        period=part.period,
        model=f"{settings.model.type} {settings.model.revision}",
        workflow_id=settings.workflow_id,
        planned=planned,
        caveats=tuple(part.reader.caveats),
    )


@dataclass(frozen=True)
class PlaceResult:
    """A variable at one place. `yearly` values are (member, year) in yearly units; `days` are simulated days a year."""

    place: Place
    members: tuple[int, ...]
    run_ids: tuple[str, ...]
    yearly: NDArray[np.float64]
    yearly_statistics: Statistics
    daily_statistics: Statistics


class VariableFiles:
    """The files of one variable, written place by place; they appear when the block ends, and not after an error."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._variable, self._shown, self._period = subject.variable, subject.shown, subject.period
        self._days = [span.stop - span.start for span in map(subject.period.slice_of, subject.period.years)]
        self._dates = [str(subject.period.first + timedelta(days=day)) for day in range(subject.period.days)]
        self._stack = ExitStack()

    def __enter__(self) -> VariableFiles:
        with ExitStack() as stack:
            self._daily = stack.enter_context(writing(self._subject.path("ts", ".csv")))
            self._daily.write(csv_cells("site_id", "date", "units", *STATISTIC_COLUMNS) + "\n")
            self._yearly = self._csv(
                stack, "analysis", ["site_id", "site_name", "year", "days", "quantity", "units", *STATISTIC_COLUMNS]
            )
            self._members = self._csv(
                stack, "output", ["site_id", "member", "run_id", "units", *map(str, self._period.years)]
            )
            path = stack.enter_context(replacing(self._subject.path("ts", ".nc")))
            self._dataset = stack.enter_context(Dataset(path, "w", format="NETCDF4"))
            self._define()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, result: PlaceResult) -> None:
        """Add one place to all files."""
        place = result.place
        self._write_netcdf(result)
        standard = self._variable.units
        where, units = csv_cells(place.id), csv_cells(standard, result.daily_statistics.n)
        self._daily.writelines(
            f"{where},{day},{units},{numbers}\n"
            for day, numbers in zip(self._dates, _texts(result.daily_statistics), strict=True)
        )
        for year, days, numbers in zip(
            self._period.years, self._days, rows_of_statistics(result.yearly_statistics), strict=True
        ):
            start = [place.id, place.name, year, days]
            if self._shown.summed:
                rates = [number / self._shown.factor / days for number in numbers[1:]]
                self._yearly.writerow([*start, "mean", standard, numbers[0], *rates])
                self._yearly.writerow([*start, "sum", self._shown.yearly_units, *numbers])
            else:
                self._yearly.writerow([*start, "mean", standard, *numbers])
        for member, run_id, values in zip(result.members, result.run_ids, result.yearly.tolist(), strict=True):
            self._members.writerow([place.id, member, run_id, self._shown.yearly_units, *values])

    def _csv(self, stack: ExitStack, kind: str, header: list[str]) -> Any:
        writer = stack.enter_context(writing_table(self._subject.path(kind, ".csv")))
        writer.writerow(header)
        return writer

    def _define(self) -> None:
        data, name, period, subject = self._dataset, self._variable.name, self._period, self._subject
        data.setncatts(
            {
                "Conventions": "CF-1.11",
                "title": f"Ensemble statistics of {name}",
                "source": subject.model,
                "workflow_id": str(subject.workflow_id),
                "ensemble_id": subject.ensemble_id,
                "members_planned": subject.planned,
                "comment": "of the n members whose output is whole; ensemble.members.<id>.csv names the others and why",
            }
        )
        if subject.caveats:
            data.setncattr("caveats", "\n".join(subject.caveats))
        sizes = {"site": None, "time": period.days, "year": len(period.years), "quantile": len(QUANTILES), "bounds": 2}
        for dimension, size in sizes.items():
            data.createDimension(dimension, size)
        starts = np.arange(period.days, dtype=np.float64)
        clock = {"units": f"days since {period.first} 00:00:00", "calendar": "standard"}
        self._add("time", "f8", ("time",), {**clock, "standard_name": "time", "axis": "T", "bounds": "time_bounds"})[
            :
        ] = starts
        self._add("time_bounds", "f8", ("time", "bounds"), {})[:] = np.stack((starts, starts + 1), axis=1)
        self._add("year", "i4", ("year",), {"long_name": "calendar year"})[:] = list(period.years)
        self._add("days", "i4", ("year",), {"long_name": "simulated days of the year", "units": "d"})[:] = self._days
        self._add("quantile", "f8", ("quantile",), {"long_name": "cumulative probability", "units": "1"})[:] = QUANTILES
        self._add("site_id", str, ("site",), {"long_name": "site id"})
        self._add("site_name", str, ("site",), {"long_name": "site name", "cf_role": "timeseries_id"})
        self._add("lat", "f8", ("site",), {"standard_name": "latitude", "units": "degrees_north"})
        self._add("lon", "f8", ("site",), {"standard_name": "longitude", "units": "degrees_east"})
        self._add("n", "i4", ("site",), {"long_name": "number of ensemble members", "units": "1"})
        self._define_statistics(name, "time", self._variable.units, "time: mean")
        way = "sum" if self._shown.summed else "mean"
        self._define_statistics(f"{name}_yearly", "year", self._shown.yearly_units, f"year: {way}")

    def _define_statistics(self, name: str, axis: str, units: str, cells: str) -> None:
        about = {"units": units, "coordinates": "lat lon site_name"}
        if self._variable.standard_name and axis == "time":
            about["standard_name"] = self._variable.standard_name
        for statistic, method in (("mean", "mean"), ("sd", "standard_deviation")):
            text = f"{self._variable.long_name}, {method.replace('_', ' ')} of the members"
            cell = {"long_name": text, "cell_methods": f"{cells} realization: {method}"}
            self._add(f"{name}_{statistic}", "f8", ("site", axis), {**about, **cell})
        cell = {"long_name": f"{self._variable.long_name}, quantiles of the members", "cell_methods": cells}
        self._add(f"{name}_quantiles", "f8", ("site", "quantile", axis), {**about, **cell})

    def _add(self, name: str, kind: Any, dimensions: tuple[str, ...], attributes: dict[str, str]) -> Any:
        fill = np.nan if kind == "f8" and dimensions[0] == "site" else None
        large = len(dimensions) > 1 and dimensions[0] == "site"
        variable = self._dataset.createVariable(
            name, kind, dimensions, fill_value=fill, compression="zlib" if large else None, complevel=1
        )
        variable.setncatts(attributes)
        if large:
            # a site is written once: what is kept of earlier ones, up to 64 MiB a variable, is for nobody
            variable.set_var_chunk_cache(_CHUNK_CACHE_BYTES)
        return variable

    def _write_netcdf(self, result: PlaceResult) -> None:
        data, place = self._dataset, result.place
        at = len(data.dimensions["site"])
        for key, value in (("site_id", place.id), ("site_name", place.name), ("lat", place.lat), ("lon", place.lon)):
            data[key][at] = value
        data["n"][at] = len(result.members)
        for name, statistics in (
            (self._variable.name, result.daily_statistics),
            (f"{self._variable.name}_yearly", result.yearly_statistics),
        ):
            data[f"{name}_mean"][at] = statistics.mean
            data[f"{name}_sd"][at] = statistics.sd
            data[f"{name}_quantiles"][at] = statistics.quantiles


def rows_of_statistics(statistics: Statistics) -> list[list[float]]:
    """A row of STATISTIC_COLUMNS for each column of what was summarised."""
    return [[statistics.n, *row] for row in _table(statistics).tolist()]


def _table(statistics: Statistics) -> NDArray[np.float64]:
    return np.column_stack([statistics.mean, statistics.sd, statistics.quantiles.T])


def _texts(statistics: Statistics) -> list[str]:
    """The same without n, as cells of CSV. As repr, pydantic writes the shortest digits that are the very number, at a
    twentieth of the time: days are most of what is written."""
    text = to_json(_table(statistics).tolist(), inf_nan_mode="constants").decode()
    return text[2:-2].replace("NaN", "nan").split("],[")
