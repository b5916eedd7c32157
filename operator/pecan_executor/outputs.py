"""Reads and verifies the standard output of one run: `<year>.nc` in PEcAn's names and units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset
from numpy.typing import NDArray

_TIME_UNITS = re.compile(
    r"(days|hours|seconds) since (\d{1,4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?)?.*"
)
_PER_DAY = {"days": 1.0, "hours": 24.0, "seconds": 86400.0}
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_ROUNDING_DAYS = 1e-6
LARGEST = 1e30
"""No variable of PEcAn's is as large in any unit; netCDF's own fill values are larger, and its squares still finite."""


class BrokenRun(Exception):
    """The output of a run cannot be used; the message says why."""


class VariablesMissing(BrokenRun):
    """The model did not write variables that were asked for."""

    def __init__(self, missing: Sequence[str], available: Sequence[str]) -> None:
        super().__init__(f"has no variable {', '.join(missing)}")
        self.missing = tuple(missing)
        self.available = tuple(available)


@dataclass(frozen=True)
class Variable:
    """What the model says of a variable."""

    name: str
    units: str
    long_name: str
    standard_name: str | None


@dataclass(frozen=True)
class RunOutput:
    """Daily means by variable, from the first to the last simulated day; `caveats` as the model wrote them."""

    variables: dict[str, Variable]
    daily: dict[str, NDArray[np.float64]]
    caveats: tuple[str, ...]


def read_run(outdir: Path, names: Sequence[str], start: date, end: date) -> RunOutput:
    """The daily means of a run's output. A step counts for the day it starts on, weighted by its length.

    Raises:
        VariablesMissing: the model did not write a variable.
        BrokenRun: a year or day is missing, a value is not finite, or a file has another form.
    """
    variables: dict[str, Variable] = {}
    caveats: dict[str, None] = {}
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for year in range(start.year, end.year + 1):
        first, last = max(start, date(year, 1, 1)), min(end, date(year, 12, 31))
        path = outdir / f"{year}.nc"
        if not path.exists():
            raise BrokenRun(f"{year}.nc is missing")
        try:
            with Dataset(path) as dataset:
                _read_year(dataset, names, first, last, parts, variables)
                caveats.update(dict.fromkeys(_caveats(dataset)))
        except BrokenRun as error:
            error.args = (f"{year}.nc {error}",)
            raise
        except OSError as error:
            raise BrokenRun(f"{year}.nc cannot be read ({error.strerror or error})") from None
    return RunOutput(variables, {name: np.concatenate(values) for name, values in parts.items()}, tuple(caveats))


def _read_year(
    dataset: Any,
    names: Sequence[str],
    first: date,
    last: date,
    parts: dict[str, list[NDArray[np.float64]]],
    variables: dict[str, Variable],
) -> None:
    available = [
        name for name, item in dataset.variables.items() if "time" in item.dimensions and not name.startswith("time")
    ]
    missing = [name for name in names if name not in available]
    if missing:
        raise VariablesMissing(missing, available)
    steps, lengths = _steps(dataset, first)
    days = (last - first).days + 1
    inside = (steps >= 0) & (steps < days)
    index, weights = steps[inside], lengths[inside]
    covered = np.bincount(index, weights, minlength=days)
    if (covered <= 0).any():
        raise BrokenRun(f"has no value for {first + timedelta(days=int(np.argmax(covered <= 0)))}")
    for name in names:
        item = dataset.variables[name]
        described = Variable(
            name, getattr(item, "units", ""), getattr(item, "long_name", name), getattr(item, "standard_name", None)
        )
        if variables.setdefault(name, described).units != described.units:
            raise BrokenRun(f"gives {name} in {described.units}, the year before in {variables[name].units}")
        values = _series(item)[inside]
        if not np.isfinite(values).all():
            day = first + timedelta(days=int(index[np.argmax(~np.isfinite(values))]))
            raise BrokenRun(f"has a {name} that is missing or not finite on {day}")
        parts[name].append(np.bincount(index, weights * values, minlength=days) / covered)


def _series(item: Any) -> NDArray[np.float64]:
    """Values along time; all other dimensions must have length 1. Masked values become NaN."""
    long = [
        f"{name} ({size})"
        for name, size in zip(item.dimensions, item.shape, strict=True)
        if name != "time" and size != 1
    ]
    if long:
        raise BrokenRun(f"has {item.name} with dimension {', '.join(long)}; only time may be longer than 1")
    return np.ma.filled(np.ma.asarray(item[...], dtype=np.float64), np.nan).reshape(-1)


def _steps(dataset: Any, first: date) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Day of each step counted from `first`, and its length (any unit; without time_bounds all are equally long)."""
    time = dataset.variables.get("time")
    if time is None or time.dimensions != ("time",) or not len(time):
        raise BrokenRun("has no time")
    match = _TIME_UNITS.fullmatch(str(getattr(time, "units", "")))
    calendar = str(getattr(time, "calendar", "standard")).lower()
    if match is None or calendar not in _CALENDARS:
        raise BrokenRun(
            f"has time in {getattr(time, 'units', 'no units')!r}, calendar {calendar!r}, which is not understood"
        )
    unit, year, month, day, *clock = match.groups()
    hour, minute, second = (int(text or 0) for text in clock)
    epoch = datetime(int(year), int(month), int(day), hour, minute, second)
    offset = (epoch - datetime(first.year, first.month, first.day)) / timedelta(days=1)
    bounds = dataset.variables.get("time_bounds")
    if bounds is None:
        starts = np.ma.filled(np.ma.asarray(time[...], dtype=np.float64), np.nan)
        lengths = np.ones_like(starts)
    else:
        edges = np.ma.filled(np.ma.asarray(bounds[...], dtype=np.float64), np.nan)
        edges = edges if bounds.dimensions[0] == "time" else edges.T
        starts, lengths = edges[:, 0], edges[:, 1] - edges[:, 0]
    if not (
        np.isfinite(starts).all() and np.isfinite(lengths).all() and (lengths > 0).all() and (np.diff(starts) > 0).all()
    ):
        raise BrokenRun("has times that do not increase")
    return np.floor(starts / _PER_DAY[unit] + offset + _ROUNDING_DAYS).astype(np.int64), lengths


def _caveats(dataset: Any) -> list[str]:
    return [line.strip() for line in str(getattr(dataset, "caveats", "")).splitlines() if line.strip()]


def check_magnitudes(output: RunOutput, first: date) -> None:
    """Raises BrokenRun for a daily mean beyond LARGEST; `first` is the first day of the output."""
    for name, values in output.daily.items():
        beyond = np.abs(values) > LARGEST
        if beyond.any():
            at = int(np.argmax(beyond))
            day = first + timedelta(days=at)
            raise BrokenRun(f"has a {name} of {values[at]:.3g} on {day}: the model has blown up")
