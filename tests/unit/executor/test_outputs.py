"""Outputs are read as daily means, and refused when they are not whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from netCDF4 import Dataset

from pecan_executor.outputs import BrokenRun, RunOutput, RunReader, VariablesMissing

FLUX = "kg C m-2 s-1"
START, END = date(1999, 12, 30), date(2000, 3, 2)
FIRST_YEAR, SECOND_YEAR = (START, date(1999, 12, 31)), (date(2000, 1, 1), END)
ONE = {"GPP": (FLUX, lambda t: t)}


def read_run(outdir: Path, names: list[str], start: date, end: date) -> RunOutput:
    return RunReader(names, start, end).read(outdir)


@pytest.mark.parametrize("steps", [1, 8, 48])
@pytest.mark.parametrize("bounds", [True, False])
def test_daily_means_over_a_leap_year(tmp_path: Path, write_year: Any, steps: int, bounds: bool) -> None:
    for days in (FIRST_YEAR, SECOND_YEAR):
        write_year(tmp_path, *days, ONE, steps=steps, bounds=bounds)
    daily = read_run(tmp_path, ["GPP"], START, END).daily["GPP"]
    middle = (steps - 1) / steps / 2
    np.testing.assert_allclose(daily, np.array([363.0, 364.0, *range(62)]) + middle, rtol=1e-12)


def test_longer_steps_weigh_more(tmp_path: Path) -> None:
    with Dataset(tmp_path / "2000.nc", "w") as dataset:
        dataset.createDimension("time", None)
        dataset.createDimension("hist_interval", 2)
        time = dataset.createVariable("time", "f8", ("time",))
        time.units = "hours since 2000-01-01T00:00:00Z"
        time[:] = [0, 18]
        dataset.createVariable("time_bounds", "f8", ("hist_interval", "time"))[:] = [[0, 18], [18, 24]]
        dataset.createVariable("GPP", "f8", ("time",))[:] = [1.0, 5.0]
    output = read_run(tmp_path, ["GPP"], date(2000, 1, 1), date(2000, 1, 1))
    assert output.daily["GPP"].tolist() == [2.0]


def test_output_beyond_the_run_is_ignored(tmp_path: Path, write_year: Any) -> None:
    write_year(tmp_path, date(2000, 1, 1), date(2000, 12, 31), ONE)
    daily = read_run(tmp_path, ["GPP"], date(2000, 2, 1), date(2000, 2, 3)).daily["GPP"]
    assert daily.tolist() == [31.0, 32.0, 33.0]


def test_says_what_the_model_says(tmp_path: Path, write_year: Any) -> None:
    for days in (FIRST_YEAR, SECOND_YEAR):
        write_year(tmp_path, *days, ONE, attributes={"caveats": "not calibrated\nno spin-up"})
    output = read_run(tmp_path, ["GPP"], START, END)
    assert output.caveats == ("not calibrated", "no spin-up")
    assert (output.variables["GPP"].units, output.variables["GPP"].long_name) == (FLUX, "long GPP")


def test_missing_variables_are_named_with_those_there_are(tmp_path: Path, write_year: Any) -> None:
    write_year(tmp_path, *FIRST_YEAR, ONE)
    with pytest.raises(VariablesMissing, match=r"1999\.nc has no variable NPP, LAI") as caught:
        read_run(tmp_path, ["NPP", "GPP", "LAI"], START, END)
    assert caught.value.available == ("GPP",)


def spoil(name: str) -> Callable[[Path, Any], None]:
    def empty(path: Path, write_year: Any) -> None:
        (path / "2000.nc").write_bytes(b"")

    def truncated(path: Path, write_year: Any) -> None:
        data = (path / "2000.nc").read_bytes()
        (path / "2000.nc").write_bytes(data[: len(data) // 2])

    def absent(path: Path, write_year: Any) -> None:
        (path / "2000.nc").unlink()

    def short(path: Path, write_year: Any) -> None:
        write_year(path, date(2000, 1, 1), date(2000, 3, 1), ONE)

    def nan(path: Path, write_year: Any) -> None:
        write_year(path, *SECOND_YEAR, {"GPP": (FLUX, lambda t: np.nan if t == 40 else t)})

    def missing_value(path: Path, write_year: Any) -> None:
        write_year(path, *SECOND_YEAR, {"GPP": (FLUX, lambda t: -999.0 if t == 40 else t)})

    def units(path: Path, write_year: Any) -> None:
        write_year(path, *SECOND_YEAR, {"GPP": ("g m-2", lambda t: t)})

    def epoch(path: Path, write_year: Any) -> None:
        write_year(path, *SECOND_YEAR, ONE, time_units="months since 2000-01-01")

    def layers(path: Path, write_year: Any) -> None:
        with Dataset(path / "2000.nc", "w") as dataset:
            dataset.createDimension("time", 1)
            dataset.createDimension("depth", 3)
            dataset.createVariable("GPP", "f8", ("time", "depth"))[:] = 1.0
            time = dataset.createVariable("time", "f8", ("time",))
            time.units = "days since 2000-01-01"
            time[:] = 0
            dataset["time"].setncattr("x", "y")

    def backwards(path: Path, write_year: Any) -> None:
        with Dataset(path / "2000.nc", "a") as dataset:
            dataset["time_bounds"][5] = [3, 4]

    return locals()[name]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("absent", r"2000\.nc is missing"),
        ("empty", r"2000\.nc cannot be read"),
        ("truncated", r"2000\.nc cannot be read"),
        ("short", r"2000\.nc has no value for 2000-03-02"),
        ("nan", r"2000\.nc has a GPP that is missing or not finite on 2000-02-10"),
        ("missing_value", r"2000\.nc has a GPP that is missing or not finite on 2000-02-10"),
        ("units", r"2000\.nc gives GPP in g m-2, the year before in kg C m-2 s-1"),
        ("epoch", r"2000\.nc has time in 'months since 2000-01-01'.* not understood"),
        ("layers", r"2000\.nc has (no value|GPP with dimension depth \(3\))"),
        ("backwards", r"2000\.nc has times that do not increase"),
    ],
)
def test_broken_output_is_named_with_its_reason(tmp_path: Path, write_year: Any, how: str, why: str) -> None:
    for days in (FIRST_YEAR, SECOND_YEAR):
        write_year(tmp_path, *days, ONE)
    spoil(how)(tmp_path, write_year)
    with pytest.raises(BrokenRun, match=why):
        read_run(tmp_path, ["GPP"], START, END)
