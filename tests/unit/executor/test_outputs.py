"""Outputs are read as daily means, and refused when they are not whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from netCDF4 import Dataset

from pecan_executor import outputs
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


CLASSIC = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET")


def count_opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that netCDF4 opens."""
    opened: list[Path] = []

    def opening(path: Path) -> Any:
        opened.append(path)
        return Dataset(path)

    monkeypatch.setattr(outputs, "Dataset", opening)
    return opened


@pytest.mark.parametrize("form", CLASSIC)
@pytest.mark.parametrize(("steps", "bounds"), [(1, True), (1, False), (48, True)])
def test_only_the_first_file_of_a_header_is_opened_and_the_numbers_are_the_same(
    tmp_path: Path, write_year: Any, monkeypatch: pytest.MonkeyPatch, form: str, steps: int, bounds: bool
) -> None:
    for member in (1, 2, 3):
        variables = {
            "GPP": (FLUX, lambda t, member=member: member * 1e-8 * np.sin(t)),
            "LAI": ("m2 m-2", lambda t, member=member: t / member),
        }
        for days in (FIRST_YEAR, SECOND_YEAR):
            about = {"caveats": "not calibrated"}
            write_year(
                tmp_path / str(member), *days, variables, steps=steps, bounds=bounds, form=form, attributes=about
            )
    opened = count_opened(monkeypatch)
    reader = RunReader(["LAI", "GPP"], START, END)
    read = [reader.read(tmp_path / str(member)) for member in (1, 2, 3)]
    assert opened == [tmp_path / "1" / "1999.nc", tmp_path / "1" / "2000.nc"]
    for member, found in enumerate(read, start=1):
        alone = read_run(tmp_path / str(member), ["LAI", "GPP"], START, END)
        assert (found.variables, found.caveats) == (alone.variables, alone.caveats)
        for name in ("GPP", "LAI"):
            assert found.daily[name].tobytes() == alone.daily[name].tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 2},
        {"attributes": {"caveats": "another"}},
        {"bounds": False},
        {"form": "NETCDF4"},
        {"time_units": "days since 2000-01-01 00:00"},
    ],
)
def test_a_file_that_differs_in_more_than_its_values_is_opened(
    tmp_path: Path, write_year: Any, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    days = (date(2000, 1, 1), date(2000, 3, 1))
    write_year(tmp_path / "1", *days, ONE, form=CLASSIC[0])
    write_year(tmp_path / "2", *days, ONE, **{"form": CLASSIC[0], **change})
    opened = count_opened(monkeypatch)
    reader = RunReader(["GPP"], *days)
    reader.read(tmp_path / "1")
    found = reader.read(tmp_path / "2")
    assert opened == [tmp_path / "1" / "2000.nc", tmp_path / "2" / "2000.nc"]
    assert found.daily["GPP"].tolist() == read_run(tmp_path / "2", ["GPP"], *days).daily["GPP"].tolist()


@pytest.mark.parametrize("attributes", [{"scale_factor": 2.0}, {"valid_max": 50.0}])
def test_values_that_do_not_stand_for_themselves_are_left_to_netcdf4(
    tmp_path: Path, write_year: Any, attributes: dict[str, float]
) -> None:
    days = (date(2000, 1, 1), date(2000, 1, 31))
    reader = RunReader(["GPP"], *days)
    for member in ("1", "2"):
        path = write_year(tmp_path / member, *days, ONE, form=CLASSIC[0])
        with Dataset(path, "a") as dataset:
            dataset["GPP"].setncatts(attributes)
        factor = attributes.get("scale_factor", 1.0)
        assert reader.read(tmp_path / member).daily["GPP"].tolist() == [factor * day for day in range(31)]


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
@pytest.mark.parametrize("form", ["NETCDF4", *CLASSIC])
def test_broken_output_is_named_with_its_reason(tmp_path: Path, write_year: Any, form: str, how: str, why: str) -> None:
    """Also where the files of another run are whole."""
    write = partial(write_year, form=form)
    for run in ("whole", "broken"):
        for days in (FIRST_YEAR, SECOND_YEAR):
            write(tmp_path / run, *days, ONE)
    spoil(how)(tmp_path / "broken", write)
    reader = RunReader(["GPP"], START, END)
    reader.read(tmp_path / "whole")
    with pytest.raises(BrokenRun, match=why):
        reader.read(tmp_path / "broken")
