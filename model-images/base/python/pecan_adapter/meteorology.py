"""CF meteorology in PEcAn's names and units, by day.

A day is a UTC day of the met file. A step belongs to the day of the middle of its bounds, or, without bounds, of its
time stamp (its start or middle).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset, num2date
from numpy.typing import NDArray

from pecan_adapter.errors import BadData

DAY_SECONDS = 86400
ZERO_CELSIUS = 273.15

SHORTWAVE = "surface_downwelling_shortwave_flux_in_air"
CALENDARS = ("standard", "gregorian", "proleptic_gregorian")

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What values of a variable may be: its unit here, the range in it, and how to get there from other units."""

    units: str
    minimum: float
    maximum: float
    conversions: dict[str, tuple[float, float]]  # units (without blanks, lower case) to factor and offset


TEMPERATURE = Quantity(
    "degC",
    -90.0,
    60.0,
    dict.fromkeys(("k", "kelvin", "degrees_kelvin"), (1.0, -ZERO_CELSIUS))
    | dict.fromkeys(("degc", "c", "celsius", "degrees_celsius", "degree_celsius"), (1.0, 0.0)),
)
RADIATION = Quantity(
    "W m-2", 0.0, 1500.0, dict.fromkeys(("wm-2", "w/m2", "w/m^2", "wm^-2", "wm**-2", "wattm-2"), (1.0, 0.0))
)


def read_days(
    met: str, start: date, end: date, read: Callable[[Met], Sequence[Array]]
) -> list[tuple[date, tuple[float, ...]]]:
    """What `read` makes of every day from start to end (inclusive), in order.

    `met` is one netCDF file, or a prefix P of the files P.<year>.nc. `read` gets the part of one file that lies in the
    run and returns columns with a value for each of its days. Raises BadData naming the file, the variable and the time
    for what is missing, not finite or out of range, and OSError for a file that cannot be read.
    """
    days: dict[date, tuple[float, ...]] = {}
    for path in _met_files(met, start, end):
        for day, values in _days_in_file(path, start, end, read):
            if day in days:
                raise BadData(f"{path}: {day} is also in an earlier file of {met}")
            days[day] = values
    wanted = [start + timedelta(days=n) for n in range((end - start).days + 1)]
    for day in wanted:
        if day not in days:
            raise BadData(f"met {met} has no data for {day}; the run needs every day from {start} to {end}")
    return [(day, days[day]) for day in wanted]


def _met_files(met: str, start: date, end: date) -> list[Path]:
    if Path(met).is_file():
        return [Path(met)]
    yearly = [Path(f"{met}.{year}.nc") for year in range(start.year, end.year + 1)]
    present = [path for path in yearly if path.is_file()]
    if not present:
        raise FileNotFoundError(f"met {met} is neither a file nor the prefix of a file such as {yearly[0]}")
    return present


def _days_in_file(
    path: Path, start: date, end: date, read: Callable[[Met], Sequence[Array]]
) -> Iterator[tuple[date, tuple[float, ...]]]:
    with Dataset(path) as dataset:
        dataset.set_auto_mask(True)
        clock = _Clock.of(dataset, path)
        first, last = (int(np.searchsorted(clock.day, (day - clock.epoch).days)) for day in (start, end + timedelta(1)))
        if first == last:
            return
        days = clock.complete_days(first, last)
        columns = [column.tolist() for column in read(Met(dataset, path, clock, slice(first, last)))]
    for day, *values in zip(days, *columns, strict=True):
        yield clock.epoch + timedelta(days=day), tuple(values)


class Met:
    """The part of one met file that lies in the run."""

    def __init__(self, dataset: Any, path: Path, clock: _Clock, steps: slice) -> None:
        self._dataset, self._clock, self._steps = dataset, clock, steps
        self.path = path
        self.step_seconds = clock.step_seconds

    def __contains__(self, name: str) -> bool:
        return name in self._dataset.variables

    def temperature_range(self) -> tuple[Array, Array]:
        """Daily minimum and maximum air temperature, degC; with one step a day from the variables of that name."""
        if self._clock.steps_a_day > 1:
            temperature = self.by_day("air_temperature", TEMPERATURE)
            return temperature.min(axis=1), temperature.max(axis=1)
        tmax, tmin = (self.series(f"air_temperature_{which}", TEMPERATURE) for which in ("max", "min"))
        for index in np.flatnonzero(tmax < tmin):
            where = self._clock.label(self._steps.start + int(index))
            raise BadData(f"{self.path}: air_temperature_max is below air_temperature_min at {where}")
        return tmin, tmax

    def daily_integral(self, name: str, quantity: Quantity) -> Array:
        """The sum over the day's steps of value times seconds."""
        integral: Array = self.by_day(name, quantity).sum(axis=1) * self.step_seconds
        return integral

    def by_day(self, name: str, quantity: Quantity) -> Array:
        """Checked values, one row a day."""
        return self.series(name, quantity).reshape(-1, self._clock.steps_a_day)

    def series(self, name: str, quantity: Quantity) -> Array:
        """Checked values in the quantity's unit."""
        if name not in self._dataset.variables:
            raise BadData(f"{self.path}: {self._missing(name)}")
        variable = self._dataset.variables[name]
        units = getattr(variable, "units", None)
        conversion = quantity.conversions.get(str(units).replace(" ", "").lower())
        if conversion is None:
            raise BadData(f"{self.path}: {name} has the unit {units!r}; give it in PEcAn's, or in {quantity.units}")
        factor, offset = conversion
        values = _one_place(self.path, variable)[self._steps] * factor + offset
        wrong = np.flatnonzero(~((values >= quantity.minimum) & (values <= quantity.maximum)))
        if wrong.size:
            value = values[wrong[0]]
            raise BadData(
                f"{self.path}: {name} at {self._clock.label(self._steps.start + int(wrong[0]))} is "
                + (
                    f"{value:.6g} {quantity.units}, outside {quantity.minimum:g} to {quantity.maximum:g}"
                    if np.isfinite(value)
                    else "missing or not finite"
                )
                + ": correct or fill it before the run"
            )
        return values

    def _missing(self, name: str) -> str:
        if name.startswith("air_temperature_"):
            return f"one step a day needs {name}: a daily mean does not give the day's range"
        return f"the variable {name} is missing"


@dataclass(frozen=True, slots=True)
class _Clock:
    """The time axis of one met file."""

    path: Path
    epoch: date
    seconds: Array  # of the time stamps, after the epoch's midnight
    day: NDArray[np.int64]  # the day a step belongs to, counted from the epoch
    step_seconds: int

    @property
    def steps_a_day(self) -> int:
        return DAY_SECONDS // self.step_seconds

    def label(self, step: int) -> str:
        return (_midnight(self.epoch) + timedelta(seconds=float(self.seconds[step]))).strftime("%Y-%m-%dT%H:%M:%SZ")

    def complete_days(self, first: int, last: int) -> list[int]:
        """The days in steps first..last-1, each of which has all its steps."""
        days, steps = np.unique(self.day[first:last], return_counts=True)
        for day, count in zip(days.tolist(), steps.tolist(), strict=True):
            if count != self.steps_a_day:
                raise BadData(
                    f"{self.path}: {self.epoch + timedelta(days=day)} has {count} of {self.steps_a_day} steps of "
                    f"{self.step_seconds} s: fill the gap, or leave the day out of the run"
                )
        return [int(day) for day in days]

    @classmethod
    def of(cls, dataset: Any, path: Path) -> _Clock:
        """Read and check the time axis; raises BadData when it does not go forward in steps that divide a day."""
        if "time" not in dataset.variables:
            raise BadData(f"{path}: the variable time is missing")
        time = dataset.variables["time"]
        calendar = getattr(time, "calendar", "standard")
        if calendar not in CALENDARS:
            raise BadData(f"{path}: time has the calendar {calendar}; runs have calendar days: convert the file")
        origin, second = _time_units(path, time, calendar)
        epoch = origin.date()
        shift = (origin - _midnight(epoch)).total_seconds()
        seconds = np.rint(_one_place(path, time) * second + shift)
        if not np.isfinite(seconds).all() or seconds.size < 2 or (np.diff(seconds) <= 0).any():
            raise BadData(f"{path}: time must have at least two steps, each later than the one before")
        middle = seconds
        width = np.diff(seconds).min()
        bounds_name = getattr(time, "bounds", None)
        if bounds_name in dataset.variables:
            bounds = np.rint(np.asarray(dataset.variables[bounds_name][:], dtype=float) * second + shift)
            middle = bounds.mean(axis=1)
            width = (bounds[:, 1] - bounds[:, 0]).min()
        if not width > 0 or DAY_SECONDS % width:
            raise BadData(f"{path}: steps of {width:g} s do not divide a day; give steps such as 1, 3 or 24 h")
        return cls(path, epoch, seconds, np.floor_divide(middle, DAY_SECONDS).astype(np.int64), int(width))


def _time_units(path: Path, time: Any, calendar: str) -> tuple[datetime, float]:
    units = str(getattr(time, "units", ""))
    try:
        origin, one_later = np.asarray(num2date([0, 1], units, calendar, only_use_cftime_datetimes=False))
    except ValueError as error:
        raise BadData(f"{path}: time has the unit {units!r}, not one like 'days since 2000-01-01'") from error
    return origin.replace(tzinfo=UTC), (one_later - origin).total_seconds()


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _one_place(path: Path, variable: Any) -> Array:
    """The variable along time, whatever the order of its other dimensions (which must have length 1)."""
    if "time" not in variable.dimensions or variable.size != variable.shape[variable.dimensions.index("time")]:
        shape = ", ".join(f"{name} {size}" for name, size in zip(variable.dimensions, variable.shape, strict=True))
        raise BadData(f"{path}: {variable.name} has the dimensions {shape}; give a file of one place, along time")
    values: Array = np.ma.filled(variable[:].astype(np.float64), np.nan).reshape(-1)
    return values
