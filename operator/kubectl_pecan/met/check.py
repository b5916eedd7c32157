"""Whether files are meteorology as PEcAn's programs and our model images read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset, num2date

from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.met import quantities as q
from kubectl_pecan.met.quantities import QUANTITIES, Array

CALENDARS = ("standard", "gregorian", "proleptic_gregorian")


@dataclass(frozen=True)
class VariableReport:
    """A variable of a file; least and most in PEcAn's units, None where the file's are not known."""

    name: str
    units: str
    least: float | None
    most: float | None


@dataclass(frozen=True)
class FileReport:
    """What a file has, and what is wrong with it. Times are the begin of the first step and the end of the last."""

    path: str
    begin: datetime | None
    end: datetime | None
    step_seconds: int | None
    variables: tuple[VariableReport, ...]
    problems: tuple[str, ...]


def met_files(given: Path) -> list[Path]:
    """The file, or the files `<prefix>.<year>.nc`. Raises CliError when there is none."""
    if given.is_file():
        return [given]
    found = sorted(given.parent.glob(f"{given.name}.[0-9][0-9][0-9][0-9].nc"))
    if not found:
        raise CliError(
            ExitCode.NOT_FOUND, f"{given} is neither a file nor the prefix of a file such as {given}.1998.nc"
        )
    return found


def check_files(paths: Sequence[Path]) -> list[FileReport]:
    """A report of each file, in the order of time; the later of two that leave a gap, or overlap, says so."""
    reports = [check_file(path) for path in paths]
    for at, (before, after) in enumerate(pairwise(reports), 1):
        if before.end is not None and after.begin is not None and after.begin != before.end:
            problem = f"begins at {after.begin:%Y-%m-%dT%H:%MZ}, the file before ends at {before.end:%Y-%m-%dT%H:%MZ}"
            reports[at] = FileReport(**{**vars(after), "problems": (*after.problems, problem)})
    return reports


def check_file(path: Path) -> FileReport:
    """What a file has and lacks; a file that is no netCDF has that as its problem."""
    try:
        with Dataset(path) as dataset:
            dataset.set_auto_mask(True)
            return _report(path, dataset)
    except OSError as error:
        return FileReport(str(path), None, None, None, (), (f"is not netCDF: {error.strerror or error}",))


def _report(path: Path, dataset: Any) -> FileReport:
    problems: list[str] = []
    begins, step = _clock(dataset, problems)
    variables = []
    for name, variable in dataset.variables.items():
        if name in QUANTITIES:
            variables.append(_variable(variable, begins, step, problems))
    present = {each.name for each in variables}
    daily = step == q.DAY_SECONDS
    needed = [q.TEMPERATURE_MAX, q.TEMPERATURE_MIN] if daily else [q.TEMPERATURE]
    problems += [f"{name} is missing" for name in [*needed, q.SHORTWAVE] if name not in present]
    if begins is None or step is None:
        return FileReport(str(path), None, None, None, tuple(variables), tuple(problems))
    end = begins[-1] + timedelta(seconds=step)
    return FileReport(str(path), begins[0], end, step, tuple(variables), tuple(problems))


def _clock(dataset: Any, problems: list[str]) -> tuple[list[datetime] | None, int | None]:
    """When each step begins, and its seconds; None when that cannot be told, which is a problem."""
    if "time" not in dataset.variables:
        problems.append("the variable time is missing")
        return None, None
    time = dataset.variables["time"]
    calendar, units = getattr(time, "calendar", "standard"), str(getattr(time, "units", ""))
    if calendar not in CALENDARS:
        problems.append(f"time has the calendar {calendar}: only calendar days are run")
        return None, None
    bounds = dataset.variables.get(getattr(time, "bounds", ""))
    values: Array = np.ma.filled(np.ma.asarray(time[:], dtype=float), np.nan)
    starts = values if bounds is None else np.ma.filled(np.ma.asarray(bounds[:, 0], dtype=float), np.nan)
    if starts.size < 2 or not np.isfinite(starts).all():
        problems.append("time must have at least two steps, all with a value")
        return None, None
    try:
        found = num2date(starts, units, calendar, only_use_cftime_datetimes=False)
    except ValueError:
        problems.append(f"time has the units {units!r}, not such as 'days since 1998-01-01'")
        return None, None
    begins = [_rounded(one) for one in np.asarray(found)]
    steps = np.array([round((after - before).total_seconds()) for before, after in pairwise(begins)])
    step = int(steps.min())
    if step <= 0:
        problems.append("time does not go forward everywhere")
        return None, None
    wrong = np.flatnonzero(steps != step)
    if wrong.size:
        problems.append(f"after {begins[int(wrong[0])]:%Y-%m-%dT%H:%MZ} steps of {step} s are missing: fill the gap")
    if q.DAY_SECONDS % step:
        problems.append(f"steps of {step} s do not divide a day")
    return begins, step


def _rounded(moment: Any) -> datetime:
    """To the second: days as floating point numbers are not exact."""
    exact = moment.replace(tzinfo=UTC)
    whole: datetime = (exact + timedelta(microseconds=500_000)).replace(microsecond=0)
    return whole


def _variable(variable: Any, begins: list[datetime] | None, step: int | None, problems: list[str]) -> VariableReport:
    quantity, units = QUANTITIES[variable.name], str(getattr(variable, "units", ""))
    conversion = quantity.conversion(units)
    if "time" not in variable.dimensions or variable.size != variable.shape[variable.dimensions.index("time")]:
        problems.append(f"{variable.name} is not along time at one place: every other dimension must have length 1")
        return VariableReport(variable.name, units, None, None)
    if conversion is None or not quantity.is_read(units):
        problems.append(f"{variable.name} has the units {units!r}, which should be {quantity.units}")
        return VariableReport(variable.name, units, None, None)
    raw = np.ma.filled(variable[:].astype(np.float64), np.nan).reshape(-1)
    values: Array = conversion.apply(raw, 1.0)
    wrong = np.flatnonzero(~quantity.plausible(values, step or 1))
    if wrong.size:
        at = int(wrong[0])
        when = f"{begins[at]:%Y-%m-%dT%H:%MZ}" if begins is not None else f"step {at}"
        said = f"{values[at]:.4g} {quantity.units}" if np.isfinite(values[at]) else "missing"
        problems.append(
            f"{variable.name} at {when} is {said}, outside {quantity.least:g} to {quantity.limit(step or 1):g}"
            f" ({wrong.size} of {values.size} values are)"
        )
    finite = values[np.isfinite(values)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    return VariableReport(variable.name, units, least, most)
