"""Statistics over the members of an ensemble at one site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from pecan_executor.units import Presentation

QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)
IN_MEMORY_BYTES = 256 * 2**20
_CHUNK_VALUES = 4_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """Mean, standard deviation (n - 1; NaN for one member) and QUANTILES (R's type 7; first axis) of `n` members."""

    n: int
    mean: Floats
    sd: Floats
    quantiles: Floats


@dataclass(frozen=True)
class Period:
    """The days that are analysed."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def years(self) -> range:
        return range(self.first.year, self.last.year + 1)

    def slice_of(self, year: int) -> slice:
        """The days of a year, counted from `first`."""
        start = max(self.first, date(year, 1, 1))
        end = min(self.last, date(year, 12, 31))
        return slice((start - self.first).days, (end - self.first).days + 1)


def member_array(members: int, days: int, directory: Path) -> NDArray[np.float32]:
    """Zeros for the daily values of all members; beyond IN_MEMORY_BYTES in an unnamed file in `directory`, so that memory
    stays bounded for an ensemble of any size."""
    if members * days * np.dtype(np.float32).itemsize <= IN_MEMORY_BYTES:
        return np.zeros((members, days), dtype=np.float32)
    with TemporaryFile(dir=directory) as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=(members, days))


def summarise(columns: int, members: int, values: Callable[[slice], NDArray[np.floating]]) -> Statistics:
    """Statistics over the first axis of an array that `values` gives a slice of columns at a time."""
    width = max(1, _CHUNK_VALUES // max(1, members))
    parts = [_statistics(values(slice(at, min(at + width, columns)))) for at in range(0, columns, width)]
    return Statistics(
        n=members,
        mean=np.concatenate([part[0] for part in parts]),
        sd=np.concatenate([part[1] for part in parts]),
        quantiles=np.concatenate([part[2] for part in parts], axis=1),
    )


def summarise_array(array: NDArray[np.floating]) -> Statistics:
    """Statistics over the first axis of an array (members, columns)."""
    return summarise(array.shape[1], array.shape[0], lambda columns: array[:, columns])


def yearly(daily: Floats, period: Period, shown: Presentation) -> Floats:
    """Values of one member by year, in the units in which years are shown."""
    parts = (daily[period.slice_of(year)] for year in period.years)
    return np.array([(part.sum() if shown.summed else part.mean()) * shown.factor for part in parts])


def _statistics(block: NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
    values = block.astype(np.float64)
    sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
    return values.mean(axis=0), sd, np.quantile(values, QUANTILES, axis=0)
