"""What the figures of a sensitivity analysis show, and what they say of the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pecan_executor.collect import Place
from pecan_executor.ensemble import Period
from pecan_executor.outputs import Variable
from pecan_executor.sensitivity import Response, decompose
from pecan_executor.sensitivity_plots import MOST_PANELS, MOST_ROWS, curves_figure, decomposition_figure
from pecan_executor.units import presentation
from pecan_executor.writers import Subject

UNITS = "kg C m-2 s-1"
SUBJECT = Subject(
    folder=Path("/nowhere"),
    ensemble_id="50",
    variable=Variable("NEE", UNITS, "Net Ecosystem Exchange", None),
    shown=presentation(UNITS),
    period=Period(date(1997, 1, 1), date(1998, 12, 31)),
    model="DALEC ev",
    workflow_id=1,
    planned=7,
    caveats=("not calibrated",),
)
PLACE = Place("NL-Loo", "Loobos", 52.17, 5.74)
Z = np.array([-2.0, -1, 0, 1, 2])


def response(trait: str, slope: float, scale: float = 1.0) -> Response:
    draws = np.random.default_rng(1).normal(size=200)
    return Response("conifer", trait, scale * (5 + Z), -20 + slope * Z, 2, scale * (5 + draws))


def labels(figure: Any) -> list[str]:
    return [axes.get_xlabel() for axes in figure.axes]


def test_traits_stand_in_the_order_of_their_shares_and_those_left_out_are_named() -> None:
    lost = replace(response("leaf_width", 1), outputs=np.array([np.nan, np.nan, -20, np.nan, np.nan]))
    effects = decompose([response("r_fract", 1), lost, response("leaf_turnover_rate", -3)])
    curves, shares = curves_figure(SUBJECT, PLACE, effects), decomposition_figure(SUBJECT, PLACE, effects)
    assert labels(curves) == ["leaf turnover rate", "r fract"]
    assert [axes.get_title(loc="left") for axes in curves.axes] == ["90 % of the variance", "10 % of the variance"]
    assert [text.get_text() for text in shares.axes[0].get_yticklabels()] == ["leaf turnover rate", "r fract"]
    assert labels(shares) == ["coefficient of variation (%)", "elasticity", "partial variance (%)"]
    for figure in (curves, shares):
        assert figure.get_suptitle().strip() == "Net Ecosystem Exchange (NEE), Loobos (52.17° N, 5.74° E), conifer"
        below = figure.get_supxlabel()
        assert "left out: leaf width (1 of 5 runs can be used" in below
        assert "DALEC ev: yearly sum, average of 1997–1998" in below
        assert below.endswith("not calibrated")


def test_of_very_many_traits_the_largest_are_drawn() -> None:
    effects = decompose([response(f"trait_{at}", at) for at in range(60)])
    curves, shares = curves_figure(SUBJECT, PLACE, effects), decomposition_figure(SUBJECT, PLACE, effects)
    assert labels(curves) == [f"trait {at}" for at in range(59, 59 - MOST_PANELS, -1)]
    assert f"the {60 - MOST_PANELS} traits with the smallest shares" in curves.get_supxlabel()
    assert len(shares.axes[0].get_yticks()) == MOST_ROWS
    assert curves.get_figheight() < 20


@pytest.mark.parametrize(
    ("scale", "label"),
    [(1e-6, "SLA (× 10⁻⁶)"), (1e5, "SLA (× 10⁵)"), (0.01, "SLA"), (100.0, "SLA"), (-1e-6, "SLA (× 10⁻⁶)")],
)
def test_small_and_large_trait_values_have_their_power_of_ten_in_the_label(
    scale: float, label: str, tmp_path: Path
) -> None:
    figure = curves_figure(SUBJECT, PLACE, decompose([response("SLA", 1, scale)]))
    assert labels(figure) == [label]
    figure.savefig(tmp_path / "figure.png")
    assert all(len(text.get_text()) < 6 for text in figure.axes[0].get_xticklabels())


def test_an_output_that_never_changes_can_be_drawn(tmp_path: Path) -> None:
    effects = decompose([response("SLA", 0)])
    figure = curves_figure(SUBJECT, PLACE, effects)
    assert figure.axes[0].get_title(loc="left") == "none of the variance"
    decomposition_figure(SUBJECT, PLACE, effects).savefig(tmp_path / "figure.png")
