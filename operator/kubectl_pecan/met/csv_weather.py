"""Weather from a CSV: a row a step, a column a variable with its units, nothing guessed and nothing filled in."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.met import quantities as q
from kubectl_pecan.met.quantities import QUANTITIES, Array, Quantity

TIME_NAMES = ("date", "day", "time", "datetime", "timestamp")
MISSING = ("", "na", "nan", "null", "none", "-9999", "-9999.0", "-999", "-999.0", "-99", "-99.0")
MOST_NAMED = 3
_HEADER = re.compile(r"(?P<name>[^\[(]+?)\s*(?:[\[(](?P<units>[^\])]*)[\])])?\s*")


@dataclass(frozen=True)
class Weather:
    """Variables of PEcAn in its units, along equal steps that begin at `start` (UTC), without gaps."""

    start: datetime
    step_seconds: int
    variables: dict[str, Array]
    comments: dict[str, str]
    ignored: tuple[str, ...] = ()

    @property
    def times(self) -> list[datetime]:
        """When each step begins."""
        size = len(next(iter(self.variables.values())))
        return [self.start + timedelta(seconds=self.step_seconds * step) for step in range(size)]


@dataclass(frozen=True)
class Options:
    """What the user says of a CSV: column by variable, units by column, metres above the sea."""

    columns: Mapping[str, str]
    units: Mapping[str, str]
    elevation: float | None = None


@dataclass(frozen=True)
class _Column:
    at: int
    name: str
    units: str | None
    quantity: Quantity


def read_weather(text: str, options: Options) -> Weather:
    """The weather in a CSV. Raises CliError that names column and line of what is wrong."""
    header, rows = _table(text)
    time_at, columns, ignored = _columns(header, options)
    start, step = _clock(header[time_at], time_at, rows)
    variables = {column.quantity.name: _values(column, rows, time_at, step) for column in columns}
    names = {column.quantity.name: column.name for column in columns}
    comments = {name: f"column {column} of the CSV" for name, column in names.items()}
    _complete(variables, comments, names, rows, time_at, step, options.elevation)
    return Weather(start, step, variables, comments, ignored)


def _wrong(message: str) -> CliError:
    return CliError(ExitCode.INVALID, message)


Row = tuple[int, list[str]]


def _table(text: str) -> tuple[list[str], list[Row]]:
    """The header, and rows with their line numbers; lines that begin with # are passed over."""
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    lines: list[Row] = []
    try:
        lines.extend(
            (reader.line_num, [cell.strip() for cell in row])
            for row in reader
            if any(cell.strip() for cell in row) and not row[0].startswith("#")
        )
    except csv.Error as error:
        raise _wrong(f"line {reader.line_num} is not CSV: {error}") from None
    if len(lines) < 3:
        raise _wrong("the CSV needs a header and at least two rows")
    (_, header), rows = lines[0], lines[1:]
    for line, row in rows:
        if len(row) != len(header):
            raise _wrong(f"line {line} has {len(row)} columns, the header has {len(header)}")
    return header, rows


def _columns(header: Sequence[str], options: Options) -> tuple[int, list[_Column], tuple[str, ...]]:
    """Where the time is, the columns that are used, and the names of those that are not."""
    parsed = [_HEADER.fullmatch(cell) for cell in header]
    names = [found["name"] if found else cell for found, cell in zip(parsed, header, strict=True)]
    written = [found["units"] if found else None for found in parsed]
    for variable, column in options.columns.items():
        if variable != "time" and variable not in QUANTITIES:
            raise _wrong(f"--column {variable}: no such variable; there are: time, {', '.join(QUANTITIES)}")
        if column not in names:
            raise _wrong(f"--column {variable}={column}: the CSV has no such column; it has: {', '.join(names)}")
    for column in options.units:
        if column not in names:
            raise _wrong(f"--units {column}: the CSV has no such column; it has: {', '.join(names)}")
    chosen = {column: variable for variable, column in options.columns.items()}
    time_at: int | None = None
    found_columns: dict[str, _Column] = {}
    ignored = []
    for at, name in enumerate(names):
        meant = chosen.get(name) or _variable(name)
        if meant is None or (name not in chosen and meant in options.columns):
            ignored.append(name)
            continue
        if meant == "time":
            if time_at is not None:
                raise _wrong(f"columns {names[time_at]} and {name} are both times: choose one with --column time=NAME")
            time_at = at
            continue
        if meant in found_columns:
            raise _wrong(
                f"columns {found_columns[meant].name} and {name} are both {meant}: choose one with "
                f"--column {meant}=NAME"
            )
        units = options.units.get(name, written[at])
        found_columns[meant] = _Column(at, name, units, QUANTITIES[meant])
    if time_at is None:
        raise _wrong(f"no column is a date: name one date or time, or choose it with --column time=NAME ({names[0]}?)")
    return time_at, list(found_columns.values()), tuple(ignored)


def _variable(column: str) -> str | None:
    """The variable that a column's name means."""
    name = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
    if name in TIME_NAMES:
        return "time"
    return next((each.name for each in QUANTITIES.values() if name == each.name or name in each.aliases), None)


def _clock(name: str, at: int, rows: Sequence[Row]) -> tuple[datetime, int]:
    """Begin and seconds of the steps. Raises CliError naming the line where a step is missing or another one stands."""
    times = [_moment(name, line, row[at]) for line, row in rows]
    steps = [round((after - before).total_seconds()) for before, after in pairwise(times)]
    step = min((each for each in steps if each > 0), default=0)
    for (line, row), seconds in zip(rows[1:], steps, strict=True):
        if seconds <= 0:
            raise _wrong(f"column {name}, line {line}: {row[at]} does not come after the line before")
        if seconds != step:
            before = times[[number for number, _ in rows].index(line) - 1]
            missing = before + timedelta(seconds=step)
            shown = f"{missing:%Y-%m-%d}" if step == q.DAY_SECONDS else f"{missing:%Y-%m-%dT%H:%M:%SZ}"
            raise _wrong(f"column {name}, line {line}: {shown} is missing before {row[at]}: nothing is filled in")
    if step > q.DAY_SECONDS or q.DAY_SECONDS % step:
        raise _wrong(f"column {name}: steps of {step} s do not divide a day; rows must be days, hours or the like")
    if step == q.DAY_SECONDS:
        return times[0].replace(hour=0, minute=0, second=0), step
    return times[0], step


def _moment(column: str, line: int, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(
            f"column {column}, line {line}: {text!r} is not a date such as 1998-01-31 or 1998-01-31T15:00Z"
        ) from None
    if found.utcoffset() not in (None, timedelta(0)):
        raise _wrong(f"column {column}, line {line}: {text} is not in UTC, which all times must be in")
    return found.replace(tzinfo=UTC)


def _values(column: _Column, rows: Sequence[Row], time_at: int, step: int) -> Array:
    """Values in PEcAn's unit, all plausible."""
    quantity = column.quantity
    numbers = np.array([_number(column.name, line, row[column.at]) for line, row in rows])
    missing = np.flatnonzero(np.isnan(numbers))
    if missing.size:
        raise _wrong(f"{_named(column.name, missing, rows, time_at)}: no value: nothing is filled in")
    known = ", ".join(quantity.conversions)
    if column.units is None or (not column.units.strip()):
        fitting = quantity.fitting_units(numbers, step)
        looks = f" (the values could be {' or '.join(fitting[:3])})" if fitting else ""
        raise _wrong(
            f"column {column.name} has no units{looks}: write them in the header, as in '{column.name} "
            f"[{quantity.units}]', or give --units '{column.name}=UNITS'; known for {quantity.name}: {known}"
        )
    conversion = quantity.conversion(column.units)
    if conversion is None:
        raise _wrong(
            f"column {column.name}: the units {column.units} are not known for {quantity.name}; known: {known}"
        )
    values = conversion.apply(numbers, step)
    wrong = np.flatnonzero(~quantity.plausible(values, step))
    if wrong.size:
        least, most = quantity.least, quantity.limit(step)
        fitting = [units for units in quantity.fitting_units(numbers, step) if units != q.normal_units(column.units)]
        # One odd value says nothing about the units of all.
        is_odd = fitting and wrong.size > numbers.size / 2
        looks = f"; in {' or '.join(fitting[:3])} all values would be plausible" if is_odd else ""
        raise _wrong(
            f"{_named(column.name, wrong, rows, time_at)}: {numbers[wrong[0]]:g} {column.units} is "
            f"{values[wrong[0]]:.4g} {quantity.units}, outside {least:g} to {most:g}{looks}"
        )
    return values


def _named(column: str, found: NDArray[np.intp], rows: Sequence[Row], time_at: int) -> str:
    """Column and first lines of what is wrong."""
    lines = ", ".join(f"line {rows[at][0]} ({rows[at][1][time_at]})" for at in found[:MOST_NAMED].tolist())
    more = f" and {found.size - MOST_NAMED} more" if found.size > MOST_NAMED else ""
    return f"column {column}, {lines}{more}"


def _number(column: str, line: int, text: str) -> float:
    if text.lower() in MISSING:
        return float("nan")
    try:
        # Python's own 1_000 is nobody's number.
        return float(text.replace("_", "x"))
    except ValueError:
        hint = ": write a decimal point" if re.fullmatch(r"-?\d+,\d+", text) else ""
        raise _wrong(f"column {column}, line {line}: {text!r} is not a number{hint}") from None


def _complete(
    variables: dict[str, Array],
    comments: dict[str, str],
    names: Mapping[str, str],
    rows: Sequence[Row],
    time_at: int,
    step: int,
    elevation: float | None,
) -> None:
    """Add what follows from what is there. Raises CliError for what must be there and is not."""
    daily = step == q.DAY_SECONDS
    needed = [q.TEMPERATURE_MAX, q.TEMPERATURE_MIN] if daily else [q.TEMPERATURE]
    missing = [name for name in [*needed, q.SHORTWAVE] if name not in variables]
    if missing:
        raise _wrong(f"no column is {' or '.join(missing)}: choose it with --column {missing[0]}=NAME")
    if daily:
        tmax, tmin = variables[q.TEMPERATURE_MAX], variables[q.TEMPERATURE_MIN]
        wrong = np.flatnonzero(tmax < tmin)
        if wrong.size:
            raise _wrong(f"{_named(names[q.TEMPERATURE_MAX], wrong, rows, time_at)}: below {names[q.TEMPERATURE_MIN]}")
        if q.TEMPERATURE not in variables:
            variables[q.TEMPERATURE] = (tmax + tmin) / 2
            comments[q.TEMPERATURE] = "mean of the day's maximum and minimum"
    _add_humidity(variables, comments, elevation)


def _add_humidity(variables: dict[str, Array], comments: dict[str, str], elevation: float | None) -> None:
    temperature = variables[q.TEMPERATURE]
    if q.PRESSURE not in variables and elevation is not None:
        variables[q.PRESSURE] = np.full_like(temperature, q.standard_pressure(elevation))
        comments[q.PRESSURE] = f"standard atmosphere at {elevation:g} m above the sea, not measured"
    relative = variables.pop(q.RELATIVE_HUMIDITY, None)
    if q.VAPOUR_PRESSURE not in variables and q.SPECIFIC_HUMIDITY not in variables and relative is not None:
        share = np.minimum(relative, 100.0) / 100
        variables[q.VAPOUR_PRESSURE] = share * q.saturation_vapour_pressure(temperature)
        comments[q.VAPOUR_PRESSURE] = f"from {comments[q.RELATIVE_HUMIDITY]} and air_temperature"
    comments.pop(q.RELATIVE_HUMIDITY, None)
    if q.SPECIFIC_HUMIDITY in variables or q.VAPOUR_PRESSURE not in variables:
        return
    if q.PRESSURE not in variables:
        raise _wrong(
            "humidity needs air_pressure to become specific_humidity: add a column, or give --elevation METRES"
        )
    variables[q.SPECIFIC_HUMIDITY] = q.specific_humidity(variables[q.VAPOUR_PRESSURE], variables[q.PRESSURE])
    comments[q.SPECIFIC_HUMIDITY] = "from vapour pressure and air_pressure"
