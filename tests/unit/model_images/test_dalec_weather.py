"""The demo's weather: three-hour steps that give back the daily record."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from netCDF4 import Dataset

from pecan_adapter.errors import BadData
from pecan_dalec.drivers import read_drivers
from pecan_dalec.wageningen import WeatherDay, read_year
from pecan_dalec.weather import STEPS, sun_course, three_hourly, warmth_course

DEMO_WEATHER = Path(__file__).parents[3] / "model-images" / "dalec" / "demo-weather"

HEADER = """*---------------------------------------------------------*
*   Station: Wageningen
** WCCFORMAT=2
   5.67  51.97     7.  -0.18 -0.55
-999 1990   1     3      1     1       1     1     1
"""

weather_days = st.builds(
    lambda tmin, span, **rest: WeatherDay(tmin=tmin, tmax=tmin + span, **rest),
    day=st.dates(date(1950, 1, 1), date(2050, 12, 31)),
    irradiation=st.floats(0, 35_000),
    tmin=st.floats(-30, 30),
    span=st.floats(0, 25),
    vapour_pressure=st.floats(0.05, 4),
    wind_speed=st.floats(0, 20),
    precipitation=st.floats(0, 80),
)


def write_record(directory: Path, year: int, leave_out: tuple[int, ...] = (), missing: tuple[int, ...] = ()) -> None:
    days = (date(year + 1, 1, 1) - date(year, 1, 1)).days
    rows = []
    for n in range(1, days + 1):
        rain = "-99.0" if n in missing else f"{n % 3:.1f}"
        if n not in leave_out:
            sun, cold, warm = 1000 + 50 * (n % 180), n % 9 - 4, n % 9 + 3
            rows.append(f"   1 {year} {n:3d}  {sun:.0f}.  {cold:5.1f} {warm:5.1f}   0.560   2.5  {rain}")
    (directory / f"NL1.{year % 1000:03d}").write_text(HEADER + "\n".join(rows) + "\n")


@given(st.lists(weather_days, min_size=1, max_size=5), st.floats(-60, 60), st.floats(-180, 180))
def test_the_steps_of_a_day_give_back_the_record(days: list[WeatherDay], latitude: float, longitude: float) -> None:
    made = {name: values.reshape(-1, STEPS) for name, values in three_hourly(days, latitude, longitude).items()}
    for n, day in enumerate(days):
        celsius = made["air_temperature"][n] - 273.15
        assert celsius.max() == pytest.approx(day.tmax, abs=1e-9)
        assert celsius.min() == pytest.approx(day.tmin, abs=1e-9)
        assert made["surface_downwelling_shortwave_flux_in_air"][n].sum() * 10.8 == pytest.approx(day.irradiation)
        assert (made["surface_downwelling_shortwave_flux_in_air"][n] >= 0).all()
        assert made["precipitation_flux"][n].sum() * 10800 == pytest.approx(day.precipitation)
        assert made["wind_speed"][n].mean() == pytest.approx(day.wind_speed)
        assert made["water_vapor_partial_pressure_in_air"][n].mean() == pytest.approx(day.vapour_pressure * 1000)
        assert (made["water_vapor_saturation_deficit"][n] >= 0).all()


def test_the_course_of_a_day_is_plausible() -> None:
    warmth = warmth_course()
    assert (warmth.argmin(), warmth.argmax()) == (1, 4)
    assert (warmth.min(), warmth.max()) == (0, 1)
    midsummer, midwinter = (sun_course(day, 52.17, 5.74) for day in (date(1997, 6, 21), date(1997, 12, 21)))
    assert midsummer.argmax() == midwinter.argmax() == 3 or midsummer.argmax() == 4
    assert midsummer[0] == midwinter[0] == 0
    assert midsummer[1] > 0
    assert midwinter[1] == midwinter[6] == midwinter[7] == 0


@given(st.dates(date(1950, 1, 1), date(2050, 12, 31)), st.floats(-60, 60))
def test_noon_follows_the_longitude(day: date, latitude: float) -> None:
    greenwich = sun_course(day, latitude, 0.0)
    assert np.allclose(greenwich, greenwich[::-1])
    # 45 degrees to the east the sun is three hours, one step, earlier.
    assert np.allclose(np.roll(sun_course(day, latitude, 45.0), 1), greenwich, atol=1e-12)


def test_record_is_read_in_leap_years_too(tmp_path: Path) -> None:
    write_record(tmp_path, 1996)
    days = read_year(tmp_path, 1996)
    assert len(days) == 366
    assert days[59].day == date(1996, 2, 29)
    assert days[0] == WeatherDay(date(1996, 1, 1), 1050, -3, 4, 0.56, 2.5, 1)


@pytest.mark.parametrize(
    ("gap", "message"),
    [
        ({"leave_out": (32, 33)}, "gap of 2 days in 1997 .the first is 1997-02-01, the last 1997-02-02"),
        ({"missing": (365,)}, "gap of 1 days in 1997 .the first is 1997-12-31"),
    ],
)
def test_gaps_are_named_not_filled(tmp_path: Path, gap: dict[str, tuple[int, ...]], message: str) -> None:
    write_record(tmp_path, 1997, **gap)
    with pytest.raises(BadData, match=message):
        read_year(tmp_path, 1997)


def demo_weather(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, DEMO_WEATHER, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_demo_weather_makes_years_that_the_model_reads_and_is_safe_to_repeat(tmp_path: Path) -> None:
    record, out = tmp_path / "record", tmp_path / "a" / "weather"
    record.mkdir()
    for year in (1996, 1997):
        write_record(record, year)
    arguments = (out, "--start-year", 1996, "--end-year", 1997, "--record", record)
    first = demo_weather(*arguments)
    assert first.returncode == 0, first.stderr
    assert sorted(p.name for p in out.iterdir()) == ["Loobos.1996.nc", "Loobos.1997.nc"]
    content = {p.name: p.read_bytes() for p in out.iterdir()}
    assert demo_weather(*arguments).returncode == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == content

    with Dataset(out / "Loobos.1996.nc") as met:
        assert met.variables["time"].size == 366 * 8
        assert met.variables["air_temperature"].units == "K"
        assert "not of the site itself" in met.caveats
        assert all(len(line) <= 200 for line in met.caveats.splitlines())
    drivers = read_drivers(str(out / "Loobos"), date(1996, 1, 1), date(1997, 12, 31))
    wanted = read_year(record, 1996) + read_year(record, 1997)
    assert [d.day for d in drivers] == [date(1996, 1, 1) + timedelta(days=n) for n in range(731)]
    for made, measured in zip(drivers, wanted, strict=True):
        assert made.tmax == pytest.approx(measured.tmax, abs=1e-9)
        assert made.tmin == pytest.approx(measured.tmin, abs=1e-9)
        assert made.shortwave == pytest.approx(measured.irradiation / 1000, rel=1e-12)
        assert made.co2 == pytest.approx(365)


def test_demo_weather_says_what_is_missing_and_leaves_nothing(tmp_path: Path) -> None:
    write_record(tmp_path, 1997)
    write_record(tmp_path, 1998, leave_out=(1,))
    refused = demo_weather(tmp_path / "out", "--start-year", 1997, "--end-year", 1998, "--record", tmp_path)
    assert refused.returncode == 65
    assert "the first is 1998-01-01" in refused.stderr
    assert list((tmp_path / "out").iterdir()) == []
    unknown = demo_weather(tmp_path / "out", "--start-year", 2005, "--end-year", 2005, "--record", tmp_path)
    assert unknown.returncode == 65
    assert "no weather of 2005" in unknown.stderr
