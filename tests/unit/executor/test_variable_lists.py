"""<year>.nc.var: written where the model left none."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pecan_executor.plan import RunStatus
from pecan_executor.variable_lists import list_variables, variable_list
from pecan_operator.records import RunPlan, RunState

VARIABLES = {"GPP": ("kg C m-2 s-1", lambda _: 1.0), "LAI": ("m2 m-2", lambda _: 2.0)}
LISTED = "GPP long GPP\nLAI long LAI\n"


@pytest.fixture
def plan(tmp_path: Path, write_year: Any) -> RunPlan:
    write_year(tmp_path, date(1999, 12, 30), date(1999, 12, 31), VARIABLES)
    return RunPlan("1", "/run/1", str(tmp_path), ["1999.nc", "2000.nc", "notes.txt"], "ensemble", "772", "Loobos")


def states(state: RunState) -> dict[str, RunStatus]:
    return {"1": RunStatus(state, 1, 0, None)}


def test_a_line_for_each_variable_but_no_coordinate(plan: RunPlan, tmp_path: Path) -> None:
    list_variables([plan], states(RunState.SUCCEEDED))
    assert (tmp_path / "1999.nc.var").read_text() == LISTED
    assert {path.name for path in tmp_path.iterdir()} == {"1999.nc", "1999.nc.var"}


def test_what_the_model_wrote_is_left_alone(plan: RunPlan, tmp_path: Path) -> None:
    (tmp_path / "1999.nc.var").write_text("GPP of the model\n")
    list_variables([plan], states(RunState.SUCCEEDED))
    assert (tmp_path / "1999.nc.var").read_text() == "GPP of the model\n"


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
def test_a_run_that_did_not_succeed_gets_none(state: RunState, plan: RunPlan, tmp_path: Path) -> None:
    list_variables([plan], states(state))
    list_variables([plan], {})
    assert not (tmp_path / "1999.nc.var").exists()


def test_output_that_cannot_be_read_is_for_the_analysis_to_name(plan: RunPlan, tmp_path: Path) -> None:
    (tmp_path / "1999.nc").write_text("not netCDF")
    list_variables([plan], states(RunState.SUCCEEDED))
    assert not (tmp_path / "1999.nc.var").exists()


def test_a_long_name_stays_on_its_line(tmp_path: Path, write_year: Any) -> None:
    from netCDF4 import Dataset

    path = write_year(tmp_path, date(1999, 12, 31), date(1999, 12, 31), VARIABLES)
    with Dataset(path, "a") as dataset:
        dataset["GPP"].long_name = "gross\nprimary  production"
        del dataset["LAI"].long_name
    assert variable_list(path) == "GPP gross primary production\nLAI LAI\n"
