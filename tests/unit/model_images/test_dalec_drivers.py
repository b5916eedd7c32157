"""CF meteorology to daily drivers: what is read, and what is refused with the variable and the time."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netCDF4 import Dataset

from pecan_adapter.errors import BadData
from pecan_dalec.drivers import read_drivers

SHARED_DATA = Path(os.environ.get("PECAN_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
MET_CF = SHARED_DATA / "met-cf"
needs_met_cf = pytest.mark.skipif(not MET_CF.is_dir(), reason="needs the shared CF files (PECAN_SHARED_DATA)")

SHORTWAVE = "surface_downwelling_shortwave_flux_in_air"
CO2 = "mole_fraction_of_carbon_dioxide_in_air"
START = date(2000, 2, 27)


def write_met(
    path: Path,
    days: int = 4,
    steps: int = 4,
    variables: dict[str, Any] | None = None,
    units: dict[str, str] | None = None,
    order: tuple[str, ...] = ("time", "latitude", "longitude"),
    time_units: str = "days since 2000-02-27T00:00:00Z",
    time: Any = None,
    calendar: str = "standard",
) -> Path:
    """A met file from 27 February 2000; values are given per step, along time."""
    clock = np.arange(days * steps) / steps if time is None else np.asarray(time, dtype=float)
    content = {
        "air_temperature": 280.0 + np.arange(clock.size) % steps,
        SHORTWAVE: np.full(clock.size, 100.0),
    }
    all_units = {"air_temperature": "K", SHORTWAVE: "W m-2"} | (units or {})
    with Dataset(path, "w") as dataset:
        for name in ("latitude", "longitude"):
            dataset.createDimension(name, 1)
        dataset.createDimension("time", None)
        axis = dataset.createVariable("time", "f8", ("time",))
        axis.units, axis.calendar = time_units, calendar
        axis[:] = clock
        for name, values in (content | (variables or {})).items():
            if values is None:
                continue
            variable = dataset.createVariable(name, "f8", order, fill_value=-999.0)
            variable.units = all_units.get(name, "1")
            variable[:] = np.asarray(values, dtype=float).reshape(tuple(-1 if d == "time" else 1 for d in order))
    return path


@pytest.fixture
def met(tmp_path: Path) -> Callable[..., str]:
    return lambda **options: str(write_met(tmp_path / "met.nc", **options))


def test_maximum_minimum_and_sum_of_the_day(met: Callable[..., str]) -> None:
    drivers = read_drivers(met(), START, date(2000, 3, 1))
    assert [d.day for d in drivers] == [START + timedelta(days=n) for n in range(4)]
    assert drivers[2].day == date(2000, 2, 29)
    for day in drivers:
        assert (day.tmax, day.tmin) == (pytest.approx(9.85), pytest.approx(6.85))
        assert day.shortwave == pytest.approx(8.64)
        assert (day.co2, day.water_potential, day.hydraulic_resistance, day.leaf_nitrogen) == (400, -0.8, 1, 2.5)


@pytest.mark.parametrize("order", [("longitude", "latitude", "time"), ("latitude", "time", "longitude"), ("time",)])
def test_any_order_of_dimensions(met: Callable[..., str], order: tuple[str, ...]) -> None:
    assert read_drivers(met(order=order), START, START)[0].tmax == pytest.approx(9.85)


@pytest.mark.parametrize(
    ("time_units", "scale", "shift"),
    [
        ("hours since 2000-02-27", 24, 0),
        ("seconds since 1970-01-01 00:00:00", 86400, (START - date(1970, 1, 1)).days),
        ("days since 1700-01-01T00:00:00Z", 1, (START - date(1700, 1, 1)).days),
    ],
)
def test_time_in_other_units(met: Callable[..., str], time_units: str, scale: int, shift: int) -> None:
    time = (np.arange(16) / 4 + shift) * scale
    drivers = read_drivers(met(time_units=time_units, time=time), START, date(2000, 3, 1))
    assert [d.tmin for d in drivers] == pytest.approx([6.85] * 4)


@pytest.mark.parametrize("shift", [0.0, 0.125, 0.24])
def test_stamps_at_the_start_or_middle_of_a_step(met: Callable[..., str], shift: float) -> None:
    drivers = read_drivers(met(time=np.arange(16) / 4 + shift), START, date(2000, 3, 1))
    assert [d.tmax for d in drivers] == pytest.approx([9.85] * 4)


def test_co2_and_units(met: Callable[..., str]) -> None:
    variables = {CO2: np.linspace(370e-6, 370e-6, 16), "air_temperature": np.tile([1.0, 2.0, 3.0, 2.0], 4)}
    drivers = read_drivers(met(variables=variables, units={"air_temperature": "degC", CO2: "mol/mol"}), START, START)
    assert drivers[0].co2 == pytest.approx(370)
    assert (drivers[0].tmax, drivers[0].tmin) == (3, 1)


def test_yearly_files_by_prefix(tmp_path: Path) -> None:
    for year in (2000, 2001):
        days = 366 if year == 2000 else 365
        write_met(tmp_path / f"US-X.{year}.nc", days=days, time_units=f"days since {year}-01-01T00:00:00Z")
    drivers = read_drivers(str(tmp_path / "US-X"), date(2000, 12, 30), date(2001, 1, 2))
    assert [str(d.day) for d in drivers] == ["2000-12-30", "2000-12-31", "2001-01-01", "2001-01-02"]
    with pytest.raises(BadData, match=r"no data for 2002-01-01; the run needs every day from 2000-01-01 to 2002-03-01"):
        read_drivers(str(tmp_path / "US-X"), date(2000, 1, 1), date(2002, 3, 1))


def test_no_file_at_all_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither a file nor the prefix of a file such as .*none\.2000\.nc"):
        read_drivers(str(tmp_path / "none"), START, START)


def test_a_day_a_step_needs_the_range_of_the_day(met: Callable[..., str]) -> None:
    with pytest.raises(BadData, match="one step a day needs air_temperature_max"):
        read_drivers(met(steps=1), START, START)
    variables = {"air_temperature_max": [285.0] * 4, "air_temperature_min": [275.0] * 4, "air_temperature": None}
    units = {"air_temperature_max": "K", "air_temperature_min": "K"}
    day = read_drivers(met(steps=1, variables=variables, units=units), START, START)[0]
    assert (day.tmax, day.tmin) == (pytest.approx(11.85), pytest.approx(1.85))
    assert day.shortwave == pytest.approx(8.64)
    crossed = variables | {"air_temperature_max": [285.0, 274.0, 285.0, 285.0]}
    with pytest.raises(BadData, match="air_temperature_max is below air_temperature_min at 2000-02-28"):
        read_drivers(met(steps=1, variables=crossed, units=units), START, date(2000, 2, 29))


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("air_temperature", -999.0, "air_temperature at 2000-02-28T06:00:00Z is missing or not finite"),
        ("air_temperature", np.nan, "air_temperature at 2000-02-28T06:00:00Z is missing or not finite"),
        ("air_temperature", np.inf, "air_temperature at 2000-02-28T06:00:00Z is missing or not finite"),
        ("air_temperature", 12.0, "air_temperature at 2000-02-28T06:00:00Z is -261.15 degC, outside -90 to 60"),
        (SHORTWAVE, -5.0, "shortwave_flux_in_air at 2000-02-28T06:00:00Z is -5 W m-2, outside 0 to 1500"),
        (SHORTWAVE, 2000.0, "shortwave_flux_in_air at 2000-02-28T06:00:00Z is 2000 W m-2"),
        (CO2, 400.0, "carbon_dioxide_in_air at 2000-02-28T06:00:00Z is 4e[+]08 ppm, outside 220 to 2000"),
    ],
)
def test_bad_values_are_refused_by_variable_and_time(
    met: Callable[..., str], name: str, bad: float, message: str
) -> None:
    good = {"air_temperature": 280.0, SHORTWAVE: 100.0, CO2: 380e-6}[name]
    values = np.full(16, good)
    values[5] = bad
    path = met(variables={name: values})
    with pytest.raises(BadData, match=message):
        read_drivers(path, START, date(2000, 3, 1))
    # What lies outside the run does not matter.
    assert len(read_drivers(path, date(2000, 2, 29), date(2000, 3, 1))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variables": {SHORTWAVE: None}}, f"the variable {SHORTWAVE} is missing"),
        ({"units": {"air_temperature": "F"}}, "air_temperature has the unit 'F'"),
        ({"calendar": "noleap"}, "time has the calendar noleap"),
        ({"time_units": "days"}, "time has the unit 'days', not one like"),
        ({"time": np.r_[0:1.5:0.25, 2:4:0.25], "days": 4}, "2000-02-28 has 2 of 4 steps of 21600 s: fill the gap"),
        ({"time": np.r_[0:1:0.25, 2:4:0.25]}, "no data for 2000-02-28"),
        ({"time": np.r_[0:1:0.25, 0:1:0.25]}, "each later than the one before"),
        ({"time": np.arange(16) * 0.7}, "steps of 60480 s do not divide a day"),
        ({"time": np.arange(16) * 30.0}, "steps of 2.592e[+]06 s do not divide a day"),
        ({"time": [np.nan, 1.0]}, "time must have at least two steps"),
        ({"days": 2}, "no data for 2000-02-29"),
    ],
)
def test_what_is_no_weather_for_the_run_is_refused(
    met: Callable[..., str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadData, match=message):
        read_drivers(met(**options), START, date(2000, 3, 1))


def test_several_places_are_refused(tmp_path: Path) -> None:
    path = write_met(tmp_path / "grid.nc")
    with Dataset(path, "a") as dataset:
        dataset.renameVariable("air_temperature", "point")
        dataset.createDimension("two", 2)
        grid = dataset.createVariable("air_temperature", "f8", ("time", "two"))
        grid.units = "K"
        grid[:] = 280.0
    with pytest.raises(BadData, match="air_temperature has the dimensions time 16, two 2; give a file of one place"):
        read_drivers(str(path), START, START)


def test_a_file_that_is_no_netcdf_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "met.nc"
    path.write_text("not netCDF")
    with pytest.raises(OSError, match=r"met\.nc"):
        read_drivers(str(path), START, START)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([2, 4, 8, 24]), st.data())
def test_daily_values_do_not_depend_on_how_time_is_cut(
    tmp_path_factory: pytest.TempPathFactory, steps: int, data: st.DataObject
) -> None:
    shortwave = data.draw(st.lists(st.floats(0, 1500), min_size=2 * steps, max_size=2 * steps))
    path = write_met(tmp_path_factory.mktemp("met") / "m.nc", days=2, steps=steps, variables={SHORTWAVE: shortwave})
    drivers = read_drivers(str(path), START, date(2000, 2, 28))
    assert sum(d.shortwave for d in drivers) == pytest.approx(sum(shortwave) * 86400 / steps * 1e-6)


@needs_met_cf
def test_real_reanalysis_gives_what_pecan_makes_of_it() -> None:
    drivers = read_drivers(str(MET_CF / "CRUNCEP.UMBS.2000.nc"), date(2000, 1, 1), date(2000, 12, 31))
    rows = [line.split() for line in (MET_CF / "expected_CRUNCEP.UMBS.2000.dalec.dat").read_text().splitlines()]
    assert len(drivers) == len(rows) == 366
    for d, row in zip(drivers, rows, strict=True):
        day, _, tmax, tmin, shortwave, potential, co2, resistance, nitrogen = map(float, row)
        assert d.day.timetuple().tm_yday == day
        assert (d.tmax, d.tmin) == (pytest.approx(tmax, abs=2e-5), pytest.approx(tmin, abs=2e-5))
        assert d.shortwave == pytest.approx(shortwave, rel=1e-6)
        assert d[4:] == (co2, potential, resistance, nitrogen)


@needs_met_cf
def test_real_file_with_other_order_and_bounds() -> None:
    path = str(MET_CF / "urbana_subdaily_test.nc")
    assert len(read_drivers(path, date(1979, 1, 2), date(1979, 7, 1))) == 181
    with pytest.raises(BadData, match="1979-01-01 has 7 of 8 steps of 10800 s"):
        read_drivers(path, date(1979, 1, 1), date(1979, 7, 1))
