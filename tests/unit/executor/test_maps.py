"""All sites beside each other: the table, and what the map shows."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import PathCollection

from pecan_executor.collect import Place, place_of, together
from pecan_executor.ensemble import Period, summarise_array
from pecan_executor.maps import SiteFiles, SiteSummary, _areas, _colours, _extent, map_figure, side_by_side
from pecan_executor.outputs import Variable
from pecan_executor.units import presentation
from pecan_executor.writers import PlaceResult, Subject
from pecan_operator.core.pecanxml import Site

SITES = tuple(Site(f"s{at}", f"Site {at}", 40.0 + at, -100.0 + 2 * at) for at in range(5))
STEM = "50.NEE.1999.2000"


def subject_in(folder: Path) -> Subject:
    variable = Variable("NEE", "kg C m-2 s-1", "Net ecosystem exchange", None)
    period = Period(date(1999, 1, 1), date(2000, 12, 31))
    return Subject(folder, "50", variable, presentation(variable.units), period, "DALEC ev", 1, 3, ())


def result(place: Place, values: list[list[float]]) -> PlaceResult:
    yearly = np.array(values)
    statistics = summarise_array(yearly)
    return PlaceResult(place, tuple(range(1, len(values) + 1)), ("",) * len(values), yearly, statistics, statistics)


def write(folder: Path, sites: int, usable: int) -> None:
    with SiteFiles(subject_in(folder), SITES[:sites]) as files:
        for at, site in enumerate(SITES[:usable]):
            files.add(result(place_of(site), [[100.0 * at, 100.0 * at + 20], [100.0 * at - 40, 100.0 * at]]))
        if usable == sites > 1:
            files.add(result(together(sites), [[1.0, 3.0], [5.0, 7.0]]))


def test_the_table_has_the_average_year_of_each_site_and_of_all(tmp_path: Path) -> None:
    write(tmp_path, 2, 2)
    with (tmp_path / f"ensemble.sites.{STEM}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["site_id"], row["lat"], row["lon"], row["units"], row["n"]) for row in rows] == [
        ("s0", "40.0", "-100.0", "g C m-2 yr-1", "2"),
        ("s1", "41.0", "-98.0", "g C m-2 yr-1", "2"),
        ("all", "", "", "g C m-2 yr-1", "2"),
    ]
    # members' averages over the years: 10 and -20, then 110 and 80, then 2 and 6
    assert [float(row["mean"]) for row in rows] == [-5, 95, 4]
    assert [float(row["sd"]) for row in rows] == pytest.approx([30 / 2**0.5, 30 / 2**0.5, 4 / 2**0.5])


@pytest.mark.parametrize(
    ("sites", "usable", "made"), [(1, 1, []), (3, 3, ["sites"]), (4, 4, ["map", "sites"]), (5, 1, ["map", "sites"])]
)
def test_a_map_is_drawn_of_more_than_three_sites(tmp_path: Path, sites: int, usable: int, made: list[str]) -> None:
    write(tmp_path, sites, usable)
    names = {path.name for path in tmp_path.iterdir()}
    suffixes = {"sites": ("csv",), "map": ("pdf", "png")}
    assert names == {f"ensemble.{kind}.{STEM}.{suffix}" for kind in made for suffix in suffixes[kind]}


def test_nothing_appears_after_an_error(tmp_path: Path) -> None:
    files = SiteFiles(subject_in(tmp_path), SITES)
    files.add(result(place_of(SITES[0]), [[1.0, 2.0]]))
    with pytest.raises(RuntimeError), files:
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_map_shows_mean_spread_and_sites_without_a_run(tmp_path: Path) -> None:
    rows = [
        SiteSummary(place_of(site), (3, mean, sd, *[0.0] * 5))
        for site, mean, sd in zip(SITES, (-200.0, 100.0, 0.0), (10.0, 40.0, 20.0), strict=False)
    ]
    figure = map_figure(subject_in(tmp_path), rows, [place_of(SITES[3])])
    axes = figure.axes[0]
    markers, *_, crosses = (each for each in axes.collections if isinstance(each, PathCollection))
    # the largest spread first, below the others
    assert np.asarray(markers.get_offsets()).tolist() == [[-98.0, 41.0], [-96.0, 42.0], [-100.0, 40.0]]
    assert markers.get_sizes()[0] == pytest.approx(4 * markers.get_sizes()[2])
    assert markers.get_clim() == (-200, 200), "zero is in the middle"
    assert np.asarray(crosses.get_offsets()).tolist() == [[-94.0, 43.0]]
    assert figure.axes[1].get_ylabel() == "mean NEE (g C m⁻² yr⁻¹)\n> 0: to the atmosphere"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("longitude", "latitude")
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "standard deviation\n(g C m⁻² yr⁻¹)"
    assert [text.get_text() for text in legend.get_texts()] == ["10", "20", "30", "40"]


def test_a_single_member_has_no_spread_to_show(tmp_path: Path) -> None:
    rows = [SiteSummary(place_of(site), (1, 5.0, np.nan, *[5.0] * 5)) for site in SITES]
    figure = map_figure(subject_in(tmp_path), rows, [])
    (markers,) = figure.axes[0].collections
    assert isinstance(markers, PathCollection)
    assert len(set(markers.get_sizes())) == 1
    assert not figure.legends


def test_colours_of_one_sign_use_the_whole_range() -> None:
    norm, _ = _colours(np.array([2.0, 4.0]))
    assert (norm.vmin, norm.vmax) == (2, 4)
    norm, _ = _colours(np.array([3.0, 3.0]))
    assert norm.vmin is not None
    assert norm.vmax is not None
    assert norm.vmin < 3 < norm.vmax


@pytest.mark.parametrize("means", [(0.0, 0.0), (-1e-310, 1e-310), (1e-310, 2e-310), (1e29, -1e29)])
def test_a_map_of_next_to_nothing_or_of_huge_numbers_is_drawn(tmp_path: Path, means: tuple[float, float]) -> None:
    rows = [
        SiteSummary(place_of(site), (2, mean, 0.0, *[0.0] * 5)) for site, mean in zip(SITES, means * 2, strict=False)
    ]
    map_figure(subject_in(tmp_path), rows, []).savefig(tmp_path / "map.png")


def test_areas_are_in_proportion_and_never_too_small() -> None:
    areas = _areas(np.array([0.0, 1.0, 2.0]), 2.0, 200.0)
    assert areas[2] == 2 * areas[1] == 200
    assert areas[0] > 0


@pytest.mark.parametrize(
    ("given", "drawn"),
    [
        ((179.0, -179.0), [179, 181]),
        ((-179.0, 179.0, 178.0), [181, 179, 178]),
        ((5.0, 10.0), [5, 10]),
        ((-5.0, 5.0), [-5, 5]),
        ((350.0, 5.0), [-10, 5]),
        ((190.0, 179.0), [190, 179]),
        ((180.0, -180.0), [-180, -180]),
        ((7.0,), [7]),
        # all around the globe: as on every other map
        ((-120.0, -60.0, 0.0, 100.0, 175.0), [-120, -60, 0, 100, 175]),
        ((-170.0, 5.0, 170.0), [-170, 5, 170]),
        # across the Pacific, in half of the globe
        ((140.0, -155.0, -120.0), [140, 205, 240]),
    ],
)
def test_places_on_both_sides_of_180_degrees_are_beside_each_other(
    given: tuple[float, ...], drawn: list[float]
) -> None:
    assert [place.lon for place in side_by_side([Place("s", "S", 0.0, lon) for lon in given])] == drawn


def test_a_map_across_180_degrees_is_narrow_and_names_both_sides(tmp_path: Path) -> None:
    sites = [Site(f"f{lon}", "Fiji", lat, lon) for lat, lon in ((-17, 178.0), (-18, -179.5), (-16, 179.5), (-17, -178))]
    rows = [SiteSummary(place_of(site), (3, 1.0 + at, 1.0, *[0.0] * 5)) for at, site in enumerate(sites[:3])]
    axes = map_figure(subject_in(tmp_path), rows, [place_of(sites[3])]).axes[0]
    west, east = axes.get_xlim()
    assert east - west < 10
    assert west < 178 < 182 < east
    label = axes.xaxis.get_major_formatter()
    assert [label(at, None) for at in (178, 180, 181.5, -180, 0, -0.5)] == [
        "178° E", "180°", "178.5° W", "180°", "0°", "0.5° W",
    ]  # fmt: skip


places = st.builds(Place, st.just("s"), st.just("S"), st.floats(-90, 90), st.floats(-180, 180))


@given(st.lists(places, min_size=1, max_size=20))
def test_all_places_are_on_the_map_which_is_no_strip(found: list[Place]) -> None:
    found = side_by_side(found)
    west, east, south, north = _extent(found)
    assert all(west < place.lon < east and south <= place.lat <= north for place in found)
    assert -90 <= south < north <= 90
    assert east - west < 370, "no degree of longitude is there twice"
