"""Many sites: each has a panel, on pages of their own axes."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from pecan_executor import pictures
from pecan_executor.collect import Place, together
from pecan_executor.ensemble import Period, summarise_array
from pecan_executor.outputs import Variable
from pecan_executor.panels import PANELS, Panel, panels_figure
from pecan_executor.pictures import MOST_PAGES, Pictures, drawn_statistics
from pecan_executor.plots import bins_of
from pecan_executor.units import presentation
from pecan_executor.writers import PlaceResult, Subject

PERIOD = Period(date(1999, 1, 1), date(2000, 12, 31))


def subject_in(folder: Path, planned: int = 3) -> Subject:
    variable = Variable("NEE", "kg C m-2 s-1", "Net ecosystem exchange", None)
    return Subject(folder, "50", variable, presentation(variable.units), PERIOD, "DALEC ev", 1, planned, ())


def panel_of(place: Place, members: int = 3, scale: float = 1.0) -> Panel:
    """Members 1, 2, ... g C m-2 d-1 times `scale`."""
    daily = np.outer(np.arange(1, members + 1), np.full(PERIOD.days, scale * 1e-3 / 86400)).astype(np.float32)
    yearly = np.outer(np.arange(1, members + 1), [365.0 * scale, 366.0 * scale])
    numbers = summarise_array(yearly)
    result = PlaceResult(place, tuple(range(1, members + 1)), ("",) * members, yearly, numbers, numbers)
    return Panel(result, drawn_statistics(PERIOD, daily))


def site(number: int) -> Place:
    return Place(f"s{number}", f"Site {number}", 50.0, 5.0)


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("sites", [MOST_PAGES, MOST_PAGES + 1, 2 * PANELS, 2 * PANELS + 1])
def test_no_site_is_left_out_of_the_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sites: int) -> None:
    pages: list[str] = []

    def add(self: Any, figure: Figure) -> None:
        title = figure.get_suptitle()
        pages.append(title.split("), ", 1)[1].split(" (")[0])

    monkeypatch.setattr(pictures.Pages, "add", add)
    with Pictures(subject_in(tmp_path), sites) as drawing:
        for place in (*map(site, range(sites)), together(sites)):
            one = panel_of(place)
            drawing.draw(one.result, one.drawn)
    if sites <= MOST_PAGES:
        expected = [f"Site {number}" for number in range(sites)]
    else:
        starts = range(0, sites, PANELS)
        expected = [f"sites {at + 1} to {min(at + PANELS, sites)} of {sites}" for at in starts]
    assert pages == [*expected, f"mean of {sites} sites"]


def test_sites_that_are_not_whole_together_are_drawn_too(tmp_path: Path) -> None:
    with Pictures(subject_in(tmp_path), MOST_PAGES + 1) as drawing:
        for number in range(MOST_PAGES + 1):
            one = panel_of(site(number))
            drawing.draw(one.result, one.drawn)
    assert {path.suffix for path in tmp_path.iterdir()} == {".pdf", ".png"}
    assert next(tmp_path.glob("*.pdf")).read_bytes().count(b"/Type /Page ") == 2


def test_a_panel_says_whose_it_is_and_what_a_year_is(tmp_path: Path) -> None:
    panels = [panel_of(site(0)), panel_of(Place("s1", "A" * 50, 0.0, 0.0), members=2)]
    texts = texts_of(panels_figure(subject_in(tmp_path), bins_of(PERIOD), panels, 1, 2))
    assert "Site 0" in texts
    # 365.5 times 1, 2, 3, and times 1, 2
    assert "731 ± 366" in texts
    assert "548 ± 258 (n = 2)" in texts
    (shortened,) = [text for text in texts if text.startswith("AA")]
    assert shortened.endswith("…")
    assert len(shortened) < 50
    assert "NEE (g C m⁻² d⁻¹)\n> 0: to the atmosphere" in texts


def test_panels_share_their_axes_and_lie_beside_each_other(tmp_path: Path) -> None:
    panels = [panel_of(site(number), scale=scale) for number, scale in enumerate((1.0, 2.0, 1.0, 1.0, -1.0))]
    figure = panels_figure(subject_in(tmp_path), bins_of(PERIOD), panels, 1, 5)
    axes = figure.axes[0]
    zeros, medians, frames = (each for each in axes.collections if isinstance(each, LineCollection))
    heights = [
        float(line[0, 1] - zero[0, 1]) for line, zero in zip(medians.get_segments(), zeros.get_segments(), strict=True)
    ]
    # the median of one, twice that, and less than nothing
    assert heights[1] == pytest.approx(2 * heights[0])
    assert heights[4] == pytest.approx(-heights[0])
    assert len(frames.get_segments()) % len(panels) == 0
    bands = [
        path.get_extents() for each in axes.collections if isinstance(each, PolyCollection) for path in each.get_paths()
    ]
    width, height = figure.get_size_inches()
    assert all(0 < band.x0 < band.x1 < width and 0 < band.y0 < band.y1 < height for band in bands)
    lefts = sorted({round(float(band.x0), 6) for band in bands})
    assert len(lefts) == 4


def test_a_single_member_has_no_bands_to_explain(tmp_path: Path) -> None:
    figure = panels_figure(subject_in(tmp_path, 1), bins_of(PERIOD), [panel_of(site(0), members=1)], 1, 1)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["the one member"]
    assert "366" in texts_of(figure)
