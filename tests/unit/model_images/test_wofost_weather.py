"""CF meteorology to WOFOST's daily weather: units, what may stand for what, what is refused."""

from __future__ import annotations

import math
import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from netCDF4 import Dataset

from pecan_adapter.errors import BadData
from pecan_wofost.weather import read_weather

SHARED_DATA = Path(os.environ.get("PECAN_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
CRUNCEP = SHARED_DATA / "met-cf" / "CRUNCEP.UMBS.2000.nc"

START = date(2000, 2, 28)
DAYS, STEPS = 2, 4

GIVEN: dict[str, tuple[str, Any]] = {
    "air_temperature": ("K", 283.15 + np.array([0, 2, 8, 4, -3, 0, 5, 1])),
    "surface_downwelling_shortwave_flux_in_air": ("W m-2", [0.0, 200.0, 300.0, 0.0, 0.0, 100.0, 0.0, 0.0]),
    "precipitation_flux": ("kg m-2 s-1", [0.0, 1e-4, 0.0, 2e-4, 0.0, 0.0, 0.0, 0.0]),
    "wind_speed": ("m s-1", [2.0, 4.0, 4.0, 2.0, 1.0, 1.0, 1.0, 1.0]),
    "water_vapor_partial_pressure_in_air": ("Pa", [900.0, 1000.0, 1100.0, 1000.0, 800.0, 800.0, 800.0, 800.0]),
}


def write_met(path: Path, **changes: tuple[str, Any] | None) -> str:
    """GIVEN with some variables changed, added, or left out (None)."""
    with Dataset(path, "w") as dataset:
        dataset.createDimension("time", DAYS * STEPS)
        time = dataset.createVariable("time", "f8", ("time",))
        time.units = "days since 2000-02-28"
        time[:] = np.arange(DAYS * STEPS) / STEPS
        for name, given in (GIVEN | changes).items():
            if given is not None:
                variable = dataset.createVariable(name, "f8", ("time",))
                variable.units, variable[:] = given
    return str(path)


def read(met: str, wind_height: float = 2.0) -> list[Any]:
    return list(read_weather(met, START, START + timedelta(days=DAYS - 1), wind_height))


def test_days_are_in_units_of_pcse(tmp_path: Path) -> None:
    first, second = read(write_met(tmp_path / "met.nc"))
    assert (first.day, second.day) == (START, START + timedelta(days=1))
    assert first.irradiation == pytest.approx(500 * 21600)  # J m-2 d-1
    assert (first.tmin, first.tmax) == (pytest.approx(10.0), pytest.approx(18.0))
    assert (second.tmin, second.tmax) == (pytest.approx(7.0), pytest.approx(15.0))
    assert first.vapour_pressure == pytest.approx(10.0)  # hPa
    assert first.wind_speed == pytest.approx(3.0)
    assert first.rain == pytest.approx(3e-4 * 21600 / 10)  # cm d-1
    assert second.rain == 0


def test_wind_is_brought_to_two_metres(tmp_path: Path) -> None:
    first, _ = read(write_met(tmp_path / "met.nc"), wind_height=10.0)
    assert first.wind_speed == pytest.approx(
        3.0 * math.log10(2 / 0.033) / math.log10(10 / 0.033)
    )  # as pcse's wind10to2


def test_wind_may_be_two_components(tmp_path: Path) -> None:
    components = {"eastward_wind": ("m s-1", [-3.0] * 8), "northward_wind": ("m/s", [4.0] * 8)}
    first, _ = read(write_met(tmp_path / "met.nc", wind_speed=None, **components))
    assert first.wind_speed == pytest.approx(5.0)
    with pytest.raises(BadData, match="the variable northward_wind is missing"):
        read(write_met(tmp_path / "half.nc", wind_speed=None, eastward_wind=("m s-1", [1.0] * 8)))


@pytest.mark.parametrize(
    ("humidity", "expected"),
    [
        ({"specific_humidity": ("kg kg-1", [0.00622] * 8), "air_pressure": ("hPa", [1000.0] * 8)}, 9.9623),
        ({"relative_humidity": ("%", [50.0] * 8), "air_temperature": ("degC", [20.0] * 8)}, 11.686),
        ({"relative_humidity": ("1", [0.5] * 8), "air_temperature": ("K", [293.15] * 8)}, 11.686),
        ({"relative_humidity": ("%", [105.0] * 8), "air_temperature": ("degC", [20.0] * 8)}, 23.372),
    ],
)
def test_humidity_may_be_given_otherwise(tmp_path: Path, humidity: dict[str, Any], expected: float) -> None:
    first, _ = read(write_met(tmp_path / "met.nc", water_vapor_partial_pressure_in_air=None, **humidity))
    assert first.vapour_pressure == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"water_vapor_partial_pressure_in_air": None},
            "WOFOST needs the air's humidity: .*specific_humidity and air_pres",
        ),
        (
            {"water_vapor_partial_pressure_in_air": None, "specific_humidity": ("kg kg-1", [0.005] * 8)},
            "WOFOST needs the air's humidity",
        ),
        ({"precipitation_flux": None}, "the variable precipitation_flux is missing"),
        ({"precipitation_flux": ("mm/day", [1.0] * 8)}, "precipitation_flux has the unit 'mm/day'"),
        ({"precipitation_flux": ("kg m-2 s-1", [-1e-5] * 8)}, "precipitation_flux at .* is -1e-05 kg m-2 s-1, outside"),
        ({"wind_speed": None}, "the variable wind_speed is missing"),
        ({"wind_speed": ("m s-1", [np.nan] * 8)}, "wind_speed at 2000-02-28T00:00:00Z is missing or not finite"),
        ({"water_vapor_partial_pressure_in_air": ("hPa", [900.0] * 8)}, "is 90000 Pa, outside 0 to 20000"),
    ],
)
def test_what_is_no_weather_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadData, match=message):
        read(write_met(tmp_path / "met.nc", **changes))


@pytest.mark.skipif(not CRUNCEP.is_file(), reason="needs the shared CF files (PECAN_SHARED_DATA)")
def test_real_reanalysis_is_read() -> None:
    days = read_weather(str(CRUNCEP), date(2000, 1, 1), date(2000, 12, 31), 10.0)
    assert len(days) == 366
    # Northern Michigan: 600 to 1,200 mm of rain, 3 to 6 GJ m-2 of sun, humid air of 2 to 30 hPa.
    assert 60 < sum(day.rain for day in days) < 120
    assert 3e9 < sum(day.irradiation for day in days) < 6e9
    assert all(0.1 < day.vapour_pressure < 35 for day in days)
    assert all(0 <= day.wind_speed < 20 for day in days)
