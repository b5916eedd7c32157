"""All sites beside each other: a table of each variable, and a map where there are more than three."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from pecan_executor.collect import ALL_SITES, Place, place_of
from pecan_executor.ensemble import summarise_array
from pecan_executor.files import writing_table
from pecan_executor.pictures import Pages
from pecan_executor.plots import GREY, STYLE, direction, pretty, titled_figure
from pecan_executor.writers import STATISTIC_COLUMNS, PlaceResult, Subject, rows_of_statistics
from pecan_operator.core.pecanxml import Site

FEWEST_SITES = 4
_LEAST_AREA, _MOST_AREA = 14.0, 260.0
# around the globe with room for the markers, but no degree twice
_WIDEST = 366.0
_ZERO_IS_MIDDLE = "RdBu_r"
_ONE_SIGN = "viridis"


@dataclass(frozen=True)
class SiteSummary:
    """Statistics over the members at one place of each member's yearly values, averaged over the years; in the order of
    STATISTIC_COLUMNS."""

    place: Place
    numbers: tuple[float, ...]

    @property
    def mean(self) -> float:
        return self.numbers[1]

    @property
    def sd(self) -> float:
        """NaN for a single member."""
        return self.numbers[2]


class SiteFiles:
    """The table of all sites, and all of them together, of one variable, and their map; the files appear when the block
    ends, and not after an error or with a single site."""

    def __init__(self, subject: Subject, sites: Sequence[Site]) -> None:
        self._subject, self._sites = subject, sites
        self._rows: list[SiteSummary] = []

    def __enter__(self) -> SiteFiles:
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None and len(self._sites) > 1:
            self._write_table()
            if len(self._sites) >= FEWEST_SITES:
                self._draw()

    def add(self, result: PlaceResult) -> None:
        """Take up one place."""
        statistics = summarise_array(result.yearly.mean(axis=1, keepdims=True))
        (numbers,) = rows_of_statistics(statistics)
        self._rows.append(SiteSummary(result.place, tuple(numbers)))

    def _write_table(self) -> None:
        units = self._subject.shown.yearly_units
        with writing_table(self._subject.path("sites", ".csv")) as writer:
            writer.writerow(["site_id", "site_name", "lat", "lon", "units", *STATISTIC_COLUMNS])
            for row in self._rows:
                place = row.place
                where = ["", ""] if place.id == ALL_SITES else [place.lat, place.lon]
                writer.writerow([place.id, place.name, *where, units, *row.numbers])

    def _draw(self) -> None:
        shown = [row for row in self._rows if row.place.id != ALL_SITES]
        known = {row.place.id for row in shown}
        without = [place_of(site) for site in self._sites if site.id not in known]
        with Pages(self._subject.path("map", ".pdf"), self._subject.path("map", ".png")) as pages:
            pages.add(map_figure(self._subject, shown, without))


def map_figure(subject: Subject, rows: Sequence[SiteSummary], without: Sequence[Place]) -> Figure:
    """A map of at least one site: the colour is the mean over the members, the area of the marker their standard
    deviation. Sites `without` a whole run are crosses."""
    places = side_by_side([*(row.place for row in rows), *without])
    rows = [replace(row, place=place) for row, place in zip(rows, places, strict=False)]
    without = places[len(rows) :]
    west, east, south, north = _extent(places)
    aspect = _aspect((south + north) / 2)
    height = 6.9 * (north - south) * aspect / (east - west) + 1.2
    notes = [
        "Each marker is a site: its colour is the mean over the members of their average year, its area their "
        "standard deviation." + (" Crosses: sites without a run that can be used." if without else "")
    ]
    with mpl.rc_context(STYLE):
        title = Place(ALL_SITES, f"{len(places)} sites", np.nan, np.nan)
        figure = titled_figure(subject, title, height, notes=notes if any(row.sd > 0 for row in rows) else ())
        axes = figure.subplots()
        axes.set_aspect(aspect)
        axes.set_xlim(west, east)
        axes.set_ylim(south, north)
        _draw_degrees(axes)
        _draw_sites(figure, axes, subject, rows)
        if without:
            lon, lat = [place.lon for place in without], [place.lat for place in without]
            axes.scatter(lon, lat, marker="x", s=30, color="black", linewidths=1, zorder=4)
        years = subject.period.years
        when = f"{years[0]}" if len(years) == 1 else f"average of {years[0]}–{years[-1]}"
        members = "one ensemble member" if subject.planned == 1 else f"{subject.planned} ensemble members"
        what = "sum" if subject.shown.summed else "mean"
        axes.set_title(f"{subject.model}: yearly {what}, {when}; {members}", color=GREY)
    return figure


def _draw_sites(figure: Figure, axes: Axes, subject: Subject, rows: Sequence[SiteSummary]) -> None:
    means = np.array([row.mean for row in rows])
    spreads = np.array([row.sd for row in rows])
    largest = float(np.nanmax(spreads, initial=0))
    most = float(np.clip(9000 / len(rows), 60, _MOST_AREA))
    areas = _areas(np.nan_to_num(spreads), largest, most)
    # the largest first, so that none is hidden
    order = np.argsort(-areas)
    norm, colours = _colours(means)
    units = pretty(subject.shown.yearly_units)
    drawn = axes.scatter(
        np.array([row.place.lon for row in rows])[order],
        np.array([row.place.lat for row in rows])[order],
        c=means[order],
        s=areas[order],
        cmap=colours,
        norm=norm,
        edgecolors="#262626",
        linewidths=0.5,
        zorder=3,
    )
    bar = figure.colorbar(drawn, ax=axes, shrink=0.9, aspect=28, pad=0.02)
    bar.set_label(f"mean {subject.variable.name} ({units}){direction(subject.variable.name)}")
    bar.outline.set_linewidth(0.5)
    if largest > 0:
        ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, largest)
        values = [value for value in ticks if 0 < value <= largest]
        handles = [
            axes.scatter([], [], s=float(area), color="#BFBFBF", edgecolors="#262626", linewidths=0.5)
            for area in _areas(np.array(values), largest, most)
        ]
        figure.legend(
            handles,
            [f"{value:g}" for value in values],
            title=f"standard deviation\n({units})",
            loc="outside right upper",
            alignment="left",
            labelspacing=0.9,
            fontsize=8.5,
            title_fontsize=8.5,
        )


def _areas(spreads: NDArray[np.float64], largest: float, most: float) -> NDArray[np.float64]:
    """Areas of markers (points squared): in proportion to the spread, but never too small to see the colour."""
    if largest <= 0:
        return np.full(len(spreads), most / 2)
    return np.maximum(_LEAST_AREA, most * spreads / largest)


def _colours(means: NDArray[np.float64]) -> tuple[Normalize, str]:
    """White is zero where there are values on both sides of it."""
    low, high = float(means.min()), float(means.max())
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-30):
        room = 0.01 * max(abs(low), 1e-6)
        return Normalize(low - room, high + room), _ONE_SIGN
    if low < 0 < high:
        limit = max(-low, high)
        return TwoSlopeNorm(0, -limit, limit), _ZERO_IS_MIDDLE
    return Normalize(low, high), _ONE_SIGN


def side_by_side(places: Sequence[Place]) -> list[Place]:
    """The places with longitudes that grow on beyond 180 degrees east where all of them fit into half of the globe that
    way, as at 179 and -179, and not the usual one."""
    lon = np.array([(place.lon + 180) % 360 - 180 for place in places])
    east_of = np.sort(lon)
    # the widest gap between neighbours is beside the map, and the place after it the most western
    gaps = np.diff(east_of, append=east_of[0] + 360)
    west = east_of[(int(np.argmax(gaps)) + 1) % len(lon)]
    if 360 - gaps.max() <= 180:
        lon = np.where(lon < west, lon + 360, lon)
    return [replace(place, lon=float(at)) for place, at in zip(places, lon, strict=True)]


def _extent(places: Sequence[Place]) -> tuple[float, float, float, float]:
    """West, east, south and north of a map with room around its places."""
    lon, lat = [place.lon for place in places], [place.lat for place in places]
    middle, centre = (min(lat) + max(lat)) / 2, (min(lon) + max(lon)) / 2
    aspect = _aspect(middle)
    across = min(1.12 * max(max(lon) - min(lon), 0.05), _WIDEST)
    up = 1.16 * max(max(lat) - min(lat), 0.05)
    # the shape of the figure: neither a column nor a strip
    across = max(across, up * aspect / 0.8)
    up = max(up, 0.35 * across / aspect)
    return centre - across / 2, centre + across / 2, max(-90.0, middle - up / 2), min(90.0, middle + up / 2)


def _aspect(latitude: float) -> float:
    """A degree of longitude is as long as cos(latitude) degrees of latitude."""
    return float(1 / max(0.2, np.cos(np.radians(latitude))))


def _draw_degrees(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 3, 5, 6, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 5, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _longitude(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _degree(value, "NS")))
    axes.set_xlabel("longitude")
    axes.set_ylabel("latitude")
    axes.grid(color="#D9D9D9", linewidth=0.5)
    axes.set_axisbelow(True)


def _longitude(value: float) -> str:
    turned = (value + 180) % 360 - 180
    return "180°" if round(turned, 4) == -180 else _degree(turned, "EW")


def _degree(value: float, letters: str) -> str:
    rounded = round(float(value), 4)
    return f"{abs(rounded):g}°" + ("" if rounded == 0 else f" {letters[rounded < 0]}")
