"""The figure of one variable at one place: the ensemble through time, and the members' yearly values.

Colours are Okabe and Ito's, which stay apart for colour-blind readers and in grey.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pecan_executor.collect import Place
from pecan_executor.ensemble import Period, Statistics
from pecan_executor.writers import PlaceResult, Subject

ORANGE, GREY = "#D55E00", "#4D4D4D"
# The blue #0072B2 mixed with white, not transparent: where bands overlap the colour must still be that of the legend.
LIGHT_BLUE, MIDDLE_BLUE = "#C7E0EF", "#6AAED4"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}
_NOTE_WIDTH = 170
_HEIGHT = 4.3


@dataclass(frozen=True)
class Bins:
    """Spans of days over which members are averaged before quantiles are taken; times in matplotlib's days."""

    name: str
    slices: tuple[slice, ...]
    middles: NDArray[np.float64]
    first: float
    end: float


def bins_of(period: Period) -> Bins:
    """Days up to 13 months, weeks up to 6 years, calendar months beyond: about 50 to 400 points in any period."""
    if period.days <= 400:
        edges, name = list(range(period.days + 1)), "daily"
    elif period.days <= 6 * 366:
        edges, name = [*range(0, period.days - 6, 7), period.days], "weekly"
    else:
        starts = (date(year, month, 1) for year in period.years for month in range(1, 13))
        inner = [(day - period.first).days for day in starts if period.first < day <= period.last]
        edges, name = [0, *inner, period.days], "monthly"
    slices = tuple(slice(start, stop) for start, stop in pairwise(edges))
    days = np.array(edges) + float(date2num(period.first))  # type: ignore[no-untyped-call]
    return Bins(name, slices, (days[:-1] + days[1:]) / 2, days[0], days[-1])


def binned(daily: NDArray[np.floating], bins: Bins, columns: slice) -> NDArray[np.float64]:
    """Means over the spans `columns` of a member's days, for every member."""
    return np.stack([daily[:, span].mean(axis=1, dtype=np.float64) for span in bins.slices[columns]], axis=1)


def ensemble_figure(subject: Subject, result: PlaceResult, drawn: Statistics, bins: Bins) -> Figure:
    """The figure; `drawn` are the statistics of the binned series in standard units."""
    with mpl.rc_context(STYLE):
        figure = titled_figure(subject, result.place, _HEIGHT)
        left, right = figure.subplots(1, 2, width_ratios=(2.6, 1))
        _place_axes(figure)
        _draw_series(left, subject, drawn, bins)
        left.set_title(
            f"{subject.model}: {drawn.n} of {subject.planned} ensemble members, {bins.name} means", color=GREY
        )
        _draw_histogram(right, subject, result)
    return figure


def _place_axes(figure: Figure) -> None:
    """At the same place on every page, for one who turns them; and finding a place for each takes as long as drawing."""
    figure.set_layout_engine(None)
    height = figure.get_size_inches()[1]
    below = height - _HEIGHT + 0.6
    figure.subplots_adjust(left=0.095, right=0.985, bottom=below / height, top=1 - 0.68 / height, wspace=0.2)


def titled_figure(
    subject: Subject, place: Place, height: float, *, pft: str | None = None, notes: Sequence[str] = ()
) -> Figure:
    """An empty figure, `height` inches without its notes: what is shown and where above, notes and caveats below."""
    variable = subject.variable
    lines = [line for note in (*notes, *subject.caveats) for line in textwrap.wrap(note, _NOTE_WIDTH)]
    figure = Figure(figsize=(10, height + 0.16 * len(lines)), layout="constrained")
    if lines:
        # constrained layout keeps clear of a supxlabel, so the notes never run into the axes
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5, color=GREY, style="italic")
    where = (
        place.name
        if np.isnan(place.lat)
        else f"{place.name} ({_degrees(place.lat, 'NS')}, {_degrees(place.lon, 'EW')})"
    )
    title = ", ".join(part for part in (f"{variable.long_name} ({variable.name})", where, pft) if part)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
    return figure


def _draw_series(axes: Axes, subject: Subject, drawn: Statistics, bins: Bins) -> None:
    variable, shown = subject.variable, subject.shown
    low, lower, middle, upper, high = drawn.quantiles * shown.factor
    if drawn.n > 1:
        axes.fill_between(bins.middles, low, high, color=LIGHT_BLUE, linewidth=0, label="95 % of members")
        axes.fill_between(bins.middles, lower, upper, color=MIDDLE_BLUE, linewidth=0, label="50 % of members")
    axes.plot(bins.middles, middle, color="black", linewidth=1.1, label="median" if drawn.n > 1 else "the one member")
    if low.min() < 0 < high.max():
        axes.axhline(0, color=GREY, linewidth=0.7)
    locator: Any = AutoDateLocator(minticks=4, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))  # type: ignore[no-untyped-call]
    axes.set_xlim(bins.first, bins.end)
    axes.set_ylabel(f"{variable.name} ({pretty(shown.daily_units)})" + direction(variable.name))
    # headroom for the legend, so that it covers no data
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.14 * (top - bottom))
    axes.legend(loc="upper center", ncols=3)


def _draw_histogram(axes: Axes, subject: Subject, result: PlaceResult) -> None:
    variable, shown, period = subject.variable, subject.shown, subject.period
    values = result.yearly.mean(axis=1)
    counts, _, _ = axes.hist(values, bins=_histogram_edges(values), color=MIDDLE_BLUE, edgecolor="white", linewidth=0.6)
    top = float(np.max(counts)) * 1.05
    low, middle, high = np.quantile(values, (0.025, 0.5, 0.975))
    shortly = rounding(high - low)
    axes.vlines(middle, 0, top, color="black", linewidth=1.1, label=f"median {shortly(middle)}")
    if len(values) > 1:
        label = f"95 %: {shortly(low)} to {shortly(high)}"
        axes.vlines([low, high], 0, top, color=ORANGE, linewidth=1.1, linestyle="--", label=label)
    if values.min() < 0 < values.max():
        axes.vlines(0, 0, top, color=GREY, linewidth=0.7)
    first, last = period.years[0], period.years[-1]
    years = f"{first}" if first == last else f"average of {first}–{last}"
    axes.set_xlabel(f"{variable.name} ({pretty(shown.yearly_units)})")
    axes.set_ylabel("members")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_title(f"Yearly {'sum' if shown.summed else 'mean'}, {years}", color=GREY)
    # headroom for the legend, so that it covers no data
    axes.set_ylim(0, top * 1.25)
    axes.legend(loc="upper center", handlelength=1.4)


def _histogram_edges(values: NDArray[np.float64]) -> int | list[float]:
    if len(values) < 2 or np.ptp(values) <= 1e-9 * np.abs(values).max():
        return 1
    edges = np.histogram_bin_edges(values, bins="fd").tolist()
    return edges if 5 <= len(edges) <= 41 else int(np.clip(len(edges) - 1, 5, 40))


def rounding(spread: float) -> Callable[[float], str]:
    """How to write values that lie `spread` apart: with three digits of the spread, and a true minus sign."""
    digits = min(6, max(0, 2 - math.floor(math.log10(spread)))) if spread > 0 else 3
    return lambda value: f"{value:.{digits}f}".replace("-", "−")


def pretty(units: str) -> str:
    """Units with raised exponents."""
    return re.sub(r"(?<=[A-Za-z])-?\d+", lambda match: match.group().translate(SUPERSCRIPT), units)


def _degrees(value: float, letters: str) -> str:
    return f"{abs(value):.2f}° {letters[value < 0]}"


def direction(name: str) -> str:
    """What to add to the axis of a variable whose sign needs an explanation."""
    return "\n> 0: to the atmosphere" if name == "NEE" else ""
