"""Many sites on a page: a panel each with the ensemble through time, all of a page on the same axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, num2date
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pecan_executor.collect import ALL_SITES, Place
from pecan_executor.ensemble import Statistics
from pecan_executor.plots import (
    GREY,
    LIGHT_BLUE,
    MIDDLE_BLUE,
    STYLE,
    Bins,
    direction,
    pretty,
    rounding,
    titled_figure,
)
from pecan_executor.writers import PlaceResult, Subject

Points = NDArray[np.float64]
"""Pairs of x and y, in inches on the page."""

ROWS, COLUMNS = 6, 4
PANELS = ROWS * COLUMNS
_HEIGHT = 7.4
_LEFT, _BELOW, _ABOVE = 0.85, 0.5, 0.9
_WIDTH, _TALL, _APART = 2.05, 0.72, 0.25
"""Inches: the page without its notes, its margins, the size of a panel and the room between two of a row."""

_LETTERS = 36
"""That fit above a panel."""

_TICK = 0.035


@dataclass(frozen=True)
class Panel:
    """One site: `drawn` are the statistics of the binned series in standard units."""

    result: PlaceResult
    drawn: Statistics


@dataclass(frozen=True)
class _Scale:
    """From days and values to a panel at `left`, `bottom`; x and y are first and last, low and high."""

    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 0.0
    bottom: float = 0.0

    def at(self, number: int, height: float) -> _Scale:
        """That of one panel on a page of this height."""
        row, column = divmod(number, COLUMNS)
        pitch = (_HEIGHT - _BELOW - _ABOVE + 0.4) / ROWS
        left = _LEFT + column * (_WIDTH + _APART)
        return _Scale(self.x, self.y, left, height - _ABOVE - _TALL - row * pitch)

    def across(self, days: Any) -> Any:
        return self.left + _WIDTH * (days - self.x[0]) / (self.x[1] - self.x[0])

    def up(self, values: Any) -> Any:
        return self.bottom + _TALL * (values - self.y[0]) / (self.y[1] - self.y[0])

    def points(self, days: Any, values: Any) -> Points:
        return np.column_stack((self.across(days), self.up(values)))


def panels_figure(subject: Subject, bins: Bins, panels: Sequence[Panel], first: int, sites: int) -> Figure:
    """A page of up to PANELS panels, of which the first is the `first` of so many sites.

    All of it is in one Axes: matplotlib takes longer for the axes of a panel than for what is in it.
    """
    shown, variable = subject.shown, subject.variable
    series = [panel.drawn.quantiles * shown.factor for panel in panels]
    spread = " ± standard deviation" if subject.planned > 1 else ""
    note = f"Beside the name of a site: mean{spread} of its members' average year, in {pretty(shown.yearly_units)}."
    with mpl.rc_context(STYLE):
        last = first + len(panels) - 1
        place = Place(ALL_SITES, f"sites {first} to {last} of {sites}", np.nan, np.nan)
        figure = titled_figure(subject, place, _HEIGHT, notes=[note])
        figure.set_layout_engine(None)
        width, height = figure.get_size_inches()
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        scale = _Scale((bins.first, bins.end), _limits(series))
        scales = [scale.at(number, height) for number in range(len(panels))]
        _draw_series(axes, bins, scales, series)
        _draw_ticks(axes, scales)
        for panel, one in zip(panels, scales, strict=True):
            _label(axes, panel, one, subject.planned)
        members = "one ensemble member" if subject.planned == 1 else f"{subject.planned} ensemble members"
        top = height - 0.44
        axes.text(0.1, top, f"{subject.model}: {members}, {bins.name} means", color=GREY, va="center")
        label = f"{variable.name} ({pretty(shown.daily_units)}){direction(variable.name)}"
        middle = (scales[0].bottom + _TALL + scales[-1].bottom) / 2
        axes.text(0.3, middle, label, rotation="vertical", ha="center", va="center", multialignment="center")
        figure.legend(
            handles=_legend(subject.planned),
            loc="center right",
            bbox_to_anchor=(1 - 0.05 / width, top / height),
            ncols=3,
        )
    return figure


def _draw_series(axes: Axes, bins: Bins, scales: Sequence[_Scale], series: Sequence[NDArray[np.float64]]) -> None:
    days = bins.middles
    there_and_back = np.concatenate((days, days[::-1]))
    low, high = scales[0].y
    if low < 0 < high:
        zeros = [one.points(np.array(one.x), np.zeros(2)) for one in scales]
        axes.add_collection(LineCollection(zeros, colors="#B3B3B3", linewidths=0.5), autolim=False)
    for lower, upper, colour in ((0, 4, LIGHT_BLUE), (1, 3, MIDDLE_BLUE)):
        bands = [
            one.points(there_and_back, np.concatenate((each[lower], each[upper][::-1])))
            for one, each in zip(scales, series, strict=True)
        ]
        axes.add_collection(PolyCollection(bands, facecolors=colour, linewidths=0), autolim=False)
    medians = [one.points(days, each[2]) for one, each in zip(scales, series, strict=True)]
    axes.add_collection(LineCollection(medians, colors="black", linewidths=0.7), autolim=False)


def _draw_ticks(axes: Axes, scales: Sequence[_Scale]) -> None:
    """Frames, ticks and what is written beside them: values left of each row, dates below the lowest panel of each
    column."""
    (first, end), (low, high) = scales[0].x, scales[0].y
    locator: Any = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    dates = [day for day in locator.tick_values(num2date(first), num2date(end)) if first <= day <= end]  # type: ignore[no-untyped-call]
    formatter: Any = ConciseDateFormatter(locator, show_offset=False)  # type: ignore[no-untyped-call]
    names = formatter.format_ticks(dates)
    values = [
        value for value in MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= value <= high
    ]
    style: dict[str, Any] = {"fontsize": 7}
    for number, one in enumerate(scales):
        if number % COLUMNS == 0:
            for value in values:
                text = f"{value:.6g}".replace("-", "−")
                axes.text(one.left - 0.07, one.up(value), text, ha="right", va="center_baseline", **style)
        if number + COLUMNS >= len(scales):
            for day, name in zip(dates, names, strict=True):
                # at the right edge it would run into the next panel's
                if one.across(day) < one.left + 0.95 * _WIDTH:
                    axes.text(one.across(day), one.bottom - 0.15, name, ha="center", va="baseline", **style)
    lines = chain.from_iterable(_frame(one, dates, values) for one in scales)
    axes.add_collection(LineCollection(list(lines), colors="black", linewidths=0.6), autolim=False)


def _frame(scale: _Scale, dates: Sequence[float], values: Sequence[float]) -> Iterator[Points]:
    left, bottom = scale.left, scale.bottom
    yield np.array([(left, bottom + _TALL), (left, bottom), (left + _WIDTH, bottom)])
    for day in dates:
        yield np.array([(scale.across(day), bottom), (scale.across(day), bottom - _TICK)])
    for value in values:
        yield np.array([(left, scale.up(value)), (left - _TICK, scale.up(value))])


def _label(axes: Axes, panel: Panel, scale: _Scale, planned: int) -> None:
    top, numbers = scale.bottom + _TALL + 0.04, _numbers(panel.result.yearly.mean(axis=1), planned)
    name, room = panel.result.place.name, _LETTERS - len(numbers)
    name = name if len(name) <= room else f"{name[: room - 1].rstrip(' ,(')}…"
    axes.text(scale.left, top, name, fontsize=7, va="baseline")
    axes.text(scale.left + _WIDTH, top, numbers, fontsize=7, va="baseline", ha="right", color=GREY)


def _legend(planned: int) -> list[Patch | Line2D]:
    if planned == 1:
        return [Line2D([], [], color="black", linewidth=1.1, label="the one member")]
    return [
        Patch(color=LIGHT_BLUE, linewidth=0, label="95 % of members"),
        Patch(color=MIDDLE_BLUE, linewidth=0, label="50 % of members"),
        Line2D([], [], color="black", linewidth=1.1, label="median"),
    ]


def _limits(series: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """The same for all panels, with room above and below."""
    low, high = min(float(one[0].min()) for one in series), max(float(one[-1].max()) for one in series)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _numbers(values: NDArray[np.float64], planned: int) -> str:
    mean, few = float(values.mean()), f" (n = {len(values)})" if len(values) < planned else ""
    if len(values) < 2:
        return f"{rounding(abs(mean))(mean)}{few}"
    sd = float(values.std(ddof=1))
    shortly = rounding(sd or abs(mean))
    return f"{shortly(mean)} ± {shortly(sd)}{few}"
