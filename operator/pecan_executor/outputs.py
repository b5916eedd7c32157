"""Reads and verifies the standard output of one run: `<year>.nc` in PEcAn's names and units."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset, default_fillvals
from numpy.typing import NDArray

from pecan_executor.classic import MAGIC, Layout, layout_of

_TIME_UNITS = re.compile(
    r"(days|hours|seconds) since (\d{1,4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?)?.*"
)
_PER_DAY = {"days": 1.0, "hours": 24.0, "seconds": 86400.0}
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_ROUNDING_DAYS = 1e-6
_TIMES = ("time", "time_bounds")
_CONVERTED = {"scale_factor", "add_offset", "valid_min", "valid_max", "valid_range", "_Unsigned"}
_MOST_BYTES = 64 * 2**20
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


class RunReader:
    """Reads what runs of one workflow wrote of the variables `names` from `start` to `end`.

    Files of one year mostly differ in nothing but their values. The first of each is read by netCDF4; of others that have
    the same header and the same times, and are classic netCDF, only the values are taken, at a tenth of the time. Where
    anything at all is unusual it is again netCDF4 that reads the file, and says what is wrong.
    """

    def __init__(self, names: Sequence[str], start: date, end: date) -> None:
        self._names = tuple(names)
        self._years = [
            (year, max(start, date(year, 1, 1)), min(end, date(year, 12, 31)))
            for year in range(start.year, end.year + 1)
        ]
        self._forms: dict[int, _Form] = {}

    def read(self, outdir: Path) -> RunOutput:
        """The daily means of a run's output. A step counts for the day it starts on, weighted by its length.

        Raises:
            VariablesMissing: the model did not write a variable.
            BrokenRun: a year or day is missing, a value is not finite, or a file has another form.
        """
        variables: dict[str, Variable] = {}
        caveats: dict[str, None] = {}
        parts: list[list[NDArray[np.float64]]] = []
        for year, first, last in self._years:
            try:
                form, values = self._read_year(outdir / f"{year}.nc", year, first, last)
                for name, described in form.described.items():
                    units = variables.setdefault(name, described).units
                    if units != described.units:
                        raise BrokenRun(f"gives {name} in {described.units}, the year before in {units}")
            except BrokenRun as error:
                error.args = (f"{year}.nc {error}",)
                raise
            except FileNotFoundError:
                raise BrokenRun(f"{year}.nc is missing") from None
            except OSError as error:
                raise BrokenRun(f"{year}.nc cannot be read ({error.strerror or error})") from None
            parts.append(values)
            caveats.update(dict.fromkeys(form.caveats))
        daily = {name: np.concatenate(each) for name, each in zip(self._names, zip(*parts, strict=True), strict=True)}
        return RunOutput(variables, daily, tuple(caveats))

    def _read_year(self, path: Path, year: int, first: date, last: date) -> tuple[_Form, list[NDArray[np.float64]]]:
        """The form of a file, and its daily means in the order of the names."""
        data = _classic(path)
        known = self._forms.get(year)
        if known and data and (values := known.values(data)):
            return known, values
        layout = None
        with suppress(ValueError):
            layout = layout_of(data) if data else None
        if data and layout and len(data) < layout.end:
            raise BrokenRun(f"cannot be read (it ends {layout.end - len(data)} bytes too early)")
        with Dataset(path) as dataset:
            form, values = _opened(dataset, self._names, first, last)
        if data and layout:
            self._forms[year] = replace(form, layout=layout, times=_times(layout, data))
        return form, values


@dataclass(frozen=True)
class _Clock:
    """Which `index` (day, counted from the first) the steps that are `inside` the run have; `covered` is the length of each
    day's steps."""

    inside: NDArray[np.bool_]
    index: NDArray[np.int64]
    weights: NDArray[np.float64]
    covered: NDArray[np.float64]

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Daily means of the steps that are inside."""
        return np.bincount(self.index, self.weights * values, minlength=len(self.covered)) / self.covered


@dataclass(frozen=True)
class _Form:
    """What files with the same header and times have in common. `marks` are the values that mean that there is none; None
    where a value does not stand for itself."""

    described: dict[str, Variable]
    caveats: tuple[str, ...]
    clock: _Clock
    marks: dict[str, tuple[float, ...]] | None
    layout: Layout | None = None
    times: tuple[bytes, ...] = ()

    def values(self, data: bytes) -> list[NDArray[np.float64]] | None:
        """Daily means of a file by variable; None when it differs in more than its values, or one of them is missing or not
        finite."""
        if self.layout is None or self.marks is None or not data.startswith(self.layout.header):
            return None
        found = []
        try:
            if _times(self.layout, data) != self.times:
                return None
            for name, marks in self.marks.items():
                values = self.layout.values(data, name).astype(np.float64)[self.clock.inside]
                if not np.isfinite(values).all() or any((values == mark).any() for mark in marks):
                    return None
                found.append(self.clock.means(values))
        except (KeyError, ValueError):
            return None
        return found


def _times(layout: Layout, data: bytes) -> tuple[bytes, ...]:
    return tuple(layout.values(data, name).tobytes() for name in _TIMES if name in layout.variables)


def _classic(path: Path) -> bytes | None:
    """The content of a file of classic netCDF that is not very large, else None."""
    with path.open("rb") as file:
        start = file.read(len(MAGIC[0]))
        if start not in MAGIC or os.fstat(file.fileno()).st_size > _MOST_BYTES:
            return None
        return start + file.read()


def _opened(dataset: Any, names: Sequence[str], first: date, last: date) -> tuple[_Form, list[NDArray[np.float64]]]:
    available = [
        name for name, item in dataset.variables.items() if "time" in item.dimensions and not name.startswith("time")
    ]
    missing = [name for name in names if name not in available]
    if missing:
        raise VariablesMissing(missing, available)
    clock = _clock(dataset, first, last)
    described: dict[str, Variable] = {}
    found = []
    for name in names:
        item = dataset.variables[name]
        described[name] = Variable(
            name, getattr(item, "units", ""), getattr(item, "long_name", name), getattr(item, "standard_name", None)
        )
        values = _series(item)[clock.inside]
        if not np.isfinite(values).all():
            day = first + timedelta(days=int(clock.index[np.argmax(~np.isfinite(values))]))
            raise BrokenRun(f"has a {name} that is missing or not finite on {day}")
        found.append(clock.means(values))
    return _Form(described, _caveats(dataset), clock, _marks(dataset, names)), found


def _marks(dataset: Any, names: Sequence[str]) -> dict[str, tuple[float, ...]] | None:
    """By variable the values that mean that there is none; None where netCDF4 makes other values of those in the file."""
    marks = {}
    for name in names:
        item = dataset.variables[name]
        if item.dtype not in (np.float32, np.float64) or _CONVERTED & set(item.ncattrs()):
            return None
        own = [item.getncattr(key) for key in ("_FillValue", "missing_value") if key in item.ncattrs()]
        if any(isinstance(each, str) for each in own):
            return None
        # the default as a number of the variable's own precision
        default = item.dtype.type(default_fillvals[f"f{item.dtype.itemsize}"])
        marks[name] = tuple({float(mark) for each in (default, *own) for mark in np.ravel(each)})
    return marks


def _clock(dataset: Any, first: date, last: date) -> _Clock:
    steps, lengths = _steps(dataset, first)
    days = (last - first).days + 1
    inside = (steps >= 0) & (steps < days)
    index, weights = steps[inside], lengths[inside]
    covered: NDArray[np.float64] = np.bincount(index, weights, minlength=days).astype(np.float64)
    if (covered <= 0).any():
        raise BrokenRun(f"has no value for {first + timedelta(days=int(np.argmax(covered <= 0)))}")
    return _Clock(inside, index, weights, covered)


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


def _caveats(dataset: Any) -> tuple[str, ...]:
    return tuple(line.strip() for line in str(getattr(dataset, "caveats", "")).splitlines() if line.strip())


def check_magnitudes(output: RunOutput, first: date) -> None:
    """Raises BrokenRun for a daily mean beyond LARGEST; `first` is the first day of the output."""
    for name, values in output.daily.items():
        beyond = np.abs(values) > LARGEST
        if beyond.any():
            at = int(np.argmax(beyond))
            day = first + timedelta(days=at)
            raise BrokenRun(f"has a {name} of {values[at]:.3g} on {day}: the model has blown up")
