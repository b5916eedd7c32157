"""Weather: from a CSV to what models read, and whether a file is such."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_fakes import Run
from hypothesis import given
from hypothesis import strategies as st
from netCDF4 import Dataset

from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.met import quantities as q
from kubectl_pecan.met.check import check_file, check_files, met_files
from kubectl_pecan.met.csv_weather import Options, Weather, read_weather
from kubectl_pecan.met.netcdf import write_weather
from kubectl_pecan.met.quantities import QUANTITIES, normal_units
from pecan_dalec.drivers import read_drivers

SHARED_DATA = Path(os.environ.get("PECAN_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
MET_CF = SHARED_DATA / "met-cf"
HEADER = "date,tmin [degC],tmax [degC],rain [mm],srad [MJ m-2 d-1]"
NO_OPTIONS = Options({}, {})


def daily(header: str = HEADER, start: date = date(1998, 12, 30), days: int = 4, row: str = "-1.5,6,2.4,8.64") -> str:
    lines = [f"{start + timedelta(days=day)},{row}" for day in range(days)]
    return "\n".join([header, *lines]) + "\n"


def read(text: str, columns: Mapping[str, str] | None = None, **options: Any) -> Weather:
    return read_weather(text, Options(columns or {}, options.pop("units", {}), **options))


# units


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("W/m2", "W m-2"),
        ("W m^-2", "W m-2"),
        ("Wm-2", "W m-2"),
        ("W/m**2", "W m-2"),
        ("kg/m2/s", "kg m-2 s-1"),
        ("kg m-2 s-1", "kg m-2 s-1"),
        ("MJ/m2/day", "MJ m-2 d-1"),
        ("mm/day", "mm d-1"),
        ("Kelvin", "K"),
        ("°C", "degC"),
        ("degrees_Celsius", "degC"),
        ("Pascal", "Pa"),
        ("mbar", "hPa"),
        ("g/g", "1"),
        ("kg kg-1", "1"),
        ("mol/mol", "1"),
        ("g/kg", "g kg-1"),
        ("km/h", "km h-1"),
        ("m s-1", "m s-1"),
        ("1", "1"),
        ("%", "%"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_normal_units(given: str, normal: str) -> None:
    assert normal_units(given) == normal


@given(st.text(max_size=20))
def test_units_of_any_text_are_normal_once_and_for_all(text: str) -> None:
    assert normal_units(text) is not None
    for quantity in QUANTITIES.values():
        quantity.conversion(text)


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=lambda each: each.name)
def test_all_known_units_are_in_their_normal_form(quantity: q.Quantity) -> None:
    assert [normal_units(units) for units in quantity.conversions] == list(quantity.conversions)
    assert quantity.conversions[quantity.units].apply(np.array([7.0]), 86400.0)[0] == 7.0


@pytest.mark.parametrize(
    ("variable", "units", "given", "converted"),
    [
        (q.TEMPERATURE, "degC", 20.0, 293.15),
        (q.TEMPERATURE, "degF", 68.0, 293.15),
        (q.SHORTWAVE, "MJ m-2 d-1", 8.64, 100.0),
        (q.SHORTWAVE, "MJ m-2", 8.64, 100.0),
        (q.SHORTWAVE, "kJ/m2/d", 8640.0, 100.0),
        (q.RAIN, "mm", 86.4, 1e-3),
        (q.RAIN, "mm/day", 86.4, 1e-3),
        (q.RAIN, "mm/h", 3.6, 1e-3),
        (q.RAIN, "cm/d", 8.64, 1e-3),
        (q.PRESSURE, "hPa", 1013.25, 101325.0),
        (q.PRESSURE, "kPa", 101.325, 101325.0),
        (q.SPECIFIC_HUMIDITY, "g/kg", 8.0, 0.008),
        (q.RELATIVE_HUMIDITY, "1", 0.8, 80.0),
        (q.WIND, "km/h", 36.0, 10.0),
        (q.CO2, "ppm", 400.0, 4e-4),
    ],
)
def test_conversions(variable: str, units: str, given: float, converted: float) -> None:
    conversion = QUANTITIES[variable].conversion(units)
    assert conversion is not None
    assert conversion.apply(np.array([given]), 86400.0)[0] == pytest.approx(converted)


def test_humidity_formulas() -> None:
    # Saturation over water at 20 degrees Celsius: 2339 Pa (Smithsonian tables); Bolton is within 0.3 % between -30 and 35.
    assert q.saturation_vapour_pressure(np.array([293.15]))[0] == pytest.approx(2339, rel=3e-3)
    # The mixing ratio e / (p - e) * 0.622, as specific humidity r / (1 + r).
    ratio = 0.622 * 1000 / (100_000 - 1000)
    assert q.specific_humidity(np.array([1000.0]), np.array([100_000.0]))[0] == pytest.approx(
        ratio / (1 + ratio), rel=1e-4
    )
    # ISO 2533: 101325 Pa at sea level, 89875 Pa at 1000 m.
    assert q.standard_pressure(0) == pytest.approx(101_325)
    assert q.standard_pressure(1000) == pytest.approx(89_875, rel=1e-3)


# reading


def test_a_daily_csv() -> None:
    weather = read(daily())
    assert (weather.start, weather.step_seconds) == (datetime(1998, 12, 30, tzinfo=UTC), 86400)
    values = {name: found[0] for name, found in weather.variables.items()}
    assert values == {
        q.TEMPERATURE_MIN: pytest.approx(271.65),
        q.TEMPERATURE_MAX: pytest.approx(279.15),
        q.TEMPERATURE: pytest.approx(275.4),
        q.RAIN: pytest.approx(2.4 / 86400),
        q.SHORTWAVE: pytest.approx(100.0),
    }
    assert set(weather.comments) == set(values)


def test_names_units_and_times_are_taken_as_they_are_written() -> None:
    text = (
        "# a comment\n"
        "Station;Time;Tair (K);SW_in [W/m2]\n"
        "1;1998-06-01T00:00Z;283.15;0\n1;1998-06-01T06:00Z;288;400\n1;1998-06-01T12:00Z;290;300\n"
    )
    weather = read(text)
    assert weather.step_seconds == 6 * 3600
    assert weather.ignored == ("Station",)
    assert list(weather.variables) == [q.TEMPERATURE, q.SHORTWAVE]
    text = "when,A,B,C\n1998-06-01,1,9,100\n1998-06-02,2,8,100\n"
    columns = {"time": "when", q.TEMPERATURE_MIN: "A", q.TEMPERATURE_MAX: "B", q.SHORTWAVE: "C"}
    weather = read(text, columns, units={"A": "degC", "B": "degC", "C": "W m-2"})
    assert weather.variables[q.TEMPERATURE_MAX].tolist() == pytest.approx([282.15, 281.15])


def test_a_column_that_is_chosen_wins_over_one_that_is_called_so() -> None:
    text = daily(HEADER + ",rain_2 [mm]", row="-1.5,6,2.4,8.64,1.2")
    weather = read(text, {q.RAIN: "rain_2"})
    assert weather.variables[q.RAIN][0] == pytest.approx(1.2 / 86400)
    assert weather.ignored == ("rain",)


def test_humidity_becomes_specific_humidity() -> None:
    header, row = HEADER + ",rh [%]", "5,15,0,8.64,100"
    with pytest.raises(CliError, match="--elevation"):
        read(daily(header, row=row))
    weather = read(daily(header, row=row), elevation=0.0)
    saturated = q.saturation_vapour_pressure(np.array([283.15]))
    assert weather.variables[q.VAPOUR_PRESSURE][0] == pytest.approx(saturated[0])
    assert weather.variables[q.SPECIFIC_HUMIDITY][0] == pytest.approx(
        q.specific_humidity(saturated, np.array([101_325]))[0]
    )
    assert q.RELATIVE_HUMIDITY not in weather.variables
    assert "not measured" in weather.comments[q.PRESSURE]
    weather = read(daily(HEADER + ",ea [kPa],ps [hPa]", row="5,15,0,8.64,1.0,990"), elevation=0.0)
    assert weather.variables[q.PRESSURE][0] == 99_000
    assert weather.variables[q.SPECIFIC_HUMIDITY][0] == pytest.approx(0.622 * 1000 / (99_000 - 378))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs a header and at least two rows"),
        (daily(days=1), "at least two rows"),
        ("date,tmax [degC]\n1998-01-01,1\n1998-01-02\n", "line 3 has 1 columns, the header has 2"),
        (daily(row="-1.5,warm,2.4,8.64"), r"column tmax, line 2: 'warm' is not a number"),
        (daily(HEADER.replace(",", ";")).replace(",", ";").replace("-1.5", "-1,5"), "write a decimal point"),
        (daily(row="-1.5,1_0,2.4,8.64"), r"'1_0' is not a number"),
        (daily(row="-1.5,NA,2.4,8.64"), r"column tmax, line 2 \(1998-12-30\), line 3 .* and 1 more: no value"),
        (daily(row="-1.5,-9999,2.4,8.64"), "no value: nothing is filled in"),
        (daily(row="-1.5,,2.4,8.64"), "no value"),
        (daily(row="-1.5,inf,2.4,8.64"), "outside"),
        (daily(row="-1.5,-3,2.4,8.64"), r"column tmax, line 2 .*: below tmin"),
        (
            daily(row="-1.5,6,-0.1,8.64"),
            r"column rain, line 2 .*: -0.1 mm is -1.157e-06 kg m-2 s-1, outside 0 to 0.0232",
        ),
        (
            daily(row="-1.5,6,2.4,864"),
            r"column srad.*864 MJ m-2 d-1 is 1e\+04 W m-2, outside 0 to 560; in .*kJ m-2 d-1",
        ),
        (daily(row="-1.5,279,2.4,8.64"), "column tmax.*; in K all values would be plausible"),
        (daily(HEADER.replace("tmax [degC]", "tmax")), r"tmax has no units \(the values could be degC or degF\)"),
        (daily(HEADER.replace("tmax [degC]", "tmax []")), "tmax has no units"),
        (
            daily(HEADER.replace("tmax [degC]", "tmax [m]")),
            "units m are not known for air_temperature_max; known: K, degC",
        ),
        (daily(HEADER.replace("date", "when")), "no column is a date"),
        (daily(HEADER.replace("tmin", "tx")), "columns tx and tmax are both air_temperature_max"),
        (daily(HEADER.replace("rain [mm]", "day")), "columns date and day are both times"),
        (daily(HEADER.replace("srad", "x")), "no column is surface_downwelling_shortwave_flux_in_air"),
        (daily(HEADER.replace("tmin", "x")), "no column is air_temperature_min"),
        (daily().replace("1998-12-31", "1999-12-31"), "1998-12-31 is missing before 1999-12-31"),
        (daily().replace("1998-12-31", "1998-12-30"), "line 3: 1998-12-30 does not come after"),
        (daily().replace("1998-12-31", "31.12.1998"), "line 3: '31.12.1998' is not a date such as 1998-01-31"),
        (daily().replace("1998-12-31", "1998-12-31T00:00+02:00"), "not in UTC"),
        ("time,tair [K],sw [W m-2]\n1998-01-01T00:00,280,1\n1998-01-01T05:00,280,1\n", "18000 s do not divide a day"),
        ("date,tair [K]\n1998-01-01,1\n1998-01-08,1\n", "do not divide a day"),
    ],
)
def test_wrong_csvs_are_told_by_column_and_line(text: str, says: str) -> None:
    with pytest.raises(CliError, match=says) as caught:
        read(text)
    assert caught.value.code is ExitCode.INVALID


def test_one_odd_value_says_nothing_about_units() -> None:
    with pytest.raises(CliError, match=r"line 3 \(1998-12-31\): 864 MJ") as caught:
        read(daily().replace("1998-12-31,-1.5,6,2.4,8.64", "1998-12-31,-1.5,6,2.4,864"))
    assert "all values would be plausible" not in caught.value.message


def test_a_missing_day_is_named() -> None:
    lines = daily(days=5).splitlines()
    del lines[3]
    with pytest.raises(CliError, match="line 4: 1999-01-01 is missing before 1999-01-02"):
        read("\n".join(lines))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (Options({"warmth": "tmax"}, {}), "no such variable"),
        (Options({q.WIND: "u"}, {}), "--column wind_speed=u: the CSV has no such column"),
        (Options({}, {"u": "m"}), "--units u: the CSV has no such column"),
    ],
)
def test_wrong_options(options: Options, says: str) -> None:
    with pytest.raises(CliError, match=says):
        read_weather(daily(), options)


@given(st.text(alphabet="date,tminx []0123456789-.\n;\"'T:\t#", max_size=300))
def test_any_text_is_weather_or_refused_in_a_line(text: str) -> None:
    for csv in (text, daily() + text, f"{HEADER}\n{text}"):
        said = ""
        try:
            read_weather(csv, NO_OPTIONS)
        except CliError as error:
            said = error.message
        assert "\n" not in said


# writing


def write(weather: Weather, prefix: Path) -> list[Path]:
    return write_weather(weather, prefix, 52.17, 5.74, "a test", replace=False)


def test_dalec_reads_what_is_written(tmp_path: Path) -> None:
    paths = write(read(daily(HEADER + ",co2 [ppm]", row="-1.5,6,2.4,8.64,365")), tmp_path / "met" / "Loobos")
    assert [path.name for path in paths] == ["Loobos.1998.nc", "Loobos.1999.nc"]
    days = read_drivers(str(tmp_path / "met" / "Loobos"), date(1998, 12, 30), date(1999, 1, 2))
    assert len(days) == 4
    for day in days:
        assert (day.tmax, day.tmin) == (pytest.approx(6.0), pytest.approx(-1.5))
        assert day.shortwave == pytest.approx(8.64)
        assert day.co2 == pytest.approx(365)


def test_dalec_reads_steps_within_the_day(tmp_path: Path) -> None:
    rows = [
        f"1998-06-0{day}T{hour:02}:00Z,{10 + hour / 3:.3f},{400 if 6 <= hour < 18 else 0}"
        for day in (1, 2)
        for hour in range(0, 24, 3)
    ]
    write(read("\n".join(["time,tair [degC],sw [W m-2]", *rows])), tmp_path / "Loobos")
    (first, second) = read_drivers(str(tmp_path / "Loobos"), date(1998, 6, 1), date(1998, 6, 2))
    assert (first.tmax, first.tmin) == (pytest.approx(17.0), pytest.approx(10.0))
    assert second.shortwave == pytest.approx(400 * 12 * 3600 / 1e6)


def test_what_is_written_is_in_order(tmp_path: Path) -> None:
    header = HEADER + ",wind [m/s],rh [%],longwave [W/m2],vpd [hPa]"
    paths = write(read(daily(header, row="-1.5,6,2.4,8.64,3,85,300,2"), elevation=25.0), tmp_path / "Loobos")
    reports = check_files(met_files(tmp_path / "Loobos"))
    assert [report.path for report in reports] == [str(path) for path in paths]
    assert [report.problems for report in reports] == [(), ()]
    assert reports[0].begin == datetime(1998, 12, 30, tzinfo=UTC)
    assert reports[0].end == reports[1].begin == datetime(1999, 1, 1, tzinfo=UTC)
    assert {each.name for each in reports[0].variables} >= {q.SPECIFIC_HUMIDITY, q.WIND, q.DEFICIT, q.PRESSURE}
    with Dataset(paths[0]) as dataset:
        assert dataset["air_temperature_max"].cell_methods == "time: maximum"
        assert float(dataset["latitude"][0]) == 52.17
        assert dataset.source == "a test"


def test_files_that_are_there_stay(tmp_path: Path) -> None:
    weather = read(daily())
    write(weather, tmp_path / "Loobos")
    with pytest.raises(CliError, match=r"Loobos\.1998\.nc exists already"):
        write(weather, tmp_path / "Loobos")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Loobos.1998.nc", "Loobos.1999.nc"]


# checking


def edited(tmp_path: Path, edit: Any) -> tuple[str, ...]:
    """Problems of a file of four days after a change."""
    (path,) = write(read(daily(start=date(1998, 1, 1))), tmp_path / "Loobos")
    with Dataset(path, "a") as dataset:
        edit(dataset)
    return check_file(path).problems


def value(name: str, at: int, new: float) -> Any:
    def edit(dataset: Any) -> None:
        dataset[name][at] = new

    return edit


def units(name: str, new: str) -> Any:
    return lambda dataset: dataset[name].setncattr("units", new)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (value(q.SHORTWAVE, 2, math.nan), "at 1998-01-03T00:00Z is missing"),
        (
            value(q.TEMPERATURE_MAX, 0, 15.0),
            "at 1998-01-01T00:00Z is 15 K, outside 183.15 to 333.15 (1 of 4 values are)",
        ),
        (units(q.SHORTWAVE, "MJ"), "has the units 'MJ', which should be W m-2"),
        (units(q.SHORTWAVE, "MJ m-2 d-1"), "has the units 'MJ m-2 d-1', which should be W m-2"),
        (units(q.SHORTWAVE, "J m-2 s-1"), "has the units 'J m-2 s-1', which should be W m-2"),
        (units(q.TEMPERATURE_MAX, "degF"), "has the units 'degF', which should be K"),
        (units(q.RAIN, "mm d-1"), "has the units 'mm d-1', which should be kg m-2 s-1"),
        (units(q.RAIN, "mm"), "has the units 'mm', which should be kg m-2 s-1"),
        (units("time", "fortnights since yesterday"), "time has the units"),
        (lambda dataset: dataset["time"].setncattr("calendar", "noleap"), "calendar noleap"),
        (lambda dataset: dataset.renameVariable(q.SHORTWAVE, "sw"), f"{q.SHORTWAVE} is missing"),
        (lambda dataset: dataset.renameVariable(q.TEMPERATURE_MIN, "low"), f"{q.TEMPERATURE_MIN} is missing"),
        (lambda dataset: dataset.renameVariable("time", "when"), "the variable time is missing"),
        (value("time_bounds", 3, 7.0), "after 1998-01-03T00:00Z steps of 86400 s are missing"),
        (value("time_bounds", 3, 1.0), "does not go forward"),
        (value("time_bounds", 3, math.nan), "all with a value"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, edit: Any, says: str) -> None:
    problems = edited(tmp_path, edit)
    assert any(says in problem for problem in problems), problems


def test_files_that_do_not_follow_each_other(tmp_path: Path) -> None:
    write(read(daily(start=date(1998, 1, 1))), tmp_path / "Loobos")
    write(read(daily(start=date(1999, 1, 1))), tmp_path / "Loobos")
    first, second = check_files(met_files(tmp_path / "Loobos"))
    assert not first.problems
    assert second.problems == ("begins at 1999-01-01T00:00Z, the file before ends at 1998-01-05T00:00Z",)


def test_what_is_no_netcdf(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_text("no")
    assert "is not netCDF" in check_file(tmp_path / "a.nc").problems[0]
    with pytest.raises(CliError, match="neither a file nor the prefix") as caught:
        met_files(tmp_path / "b")
    assert caught.value.code is ExitCode.NOT_FOUND


def test_more_than_one_place_is_told(tmp_path: Path) -> None:
    with Dataset(tmp_path / "grid.nc", "w") as dataset:
        dataset.createDimension("time", 2)
        dataset.createDimension("x", 3)
        dataset.createVariable("time", "f8", ("time",)).units = "days since 1998-01-01"
        dataset["time"][:] = [0, 0.5]
        for name in (q.TEMPERATURE, q.SHORTWAVE):
            dataset.createVariable(name, "f8", ("time", "x")).units = QUANTITIES[name].units
            dataset[name][:] = 290
    assert len([each for each in check_file(tmp_path / "grid.nc").problems if "one place" in each]) == 2


@pytest.mark.skipif(not MET_CF.is_dir(), reason="needs the shared CF files (PECAN_SHARED_DATA)")
@pytest.mark.parametrize(("name", "step"), [("CRUNCEP.UMBS.2000.nc", 6 * 3600), ("urbana_subdaily_test.nc", 3 * 3600)])
def test_real_files_are_in_order(name: str, step: int) -> None:
    report = check_file(MET_CF / name)
    assert report.problems == ()
    assert report.step_seconds == step
    assert len(report.variables) >= 6


# commands


def test_from_csv_and_check(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "station.csv").write_text(daily(HEADER + ",snow [cm]", row="-1.5,6,2.4,8.64,0"))
    place = ("--lat", "52.17", "--lon", "5.74")
    said = run("met", "from-csv", "station.csv", "Loobos", *place)
    assert said.code == 0
    assert "columns not used: snow" in said.out
    assert "not written, as the CSV does not give it: air_pressure, specific_humidity, wind_speed" in said.out
    assert "Loobos.1998.nc is written" in said.out
    assert run("met", "from-csv", "station.csv", "Loobos", *place).code == ExitCode.INVALID
    again = run("met", "from-csv", "station.csv", "Loobos", *place, "--replace", "-o", "json").json()
    assert again == {
        "files": ["Loobos.1998.nc", "Loobos.1999.nc"],
        "ignored": ["snow"],
        "absent": ["air_pressure", "specific_humidity", "wind_speed"],
    }
    said = run("met", "check", "Loobos")
    assert said.code == 0
    assert said.out.count("in order") == 2
    (report, _) = run("met", "check", "Loobos", "-o", "json").json()
    assert (report["begin"], report["problems"]) == ("1998-12-30T00:00:00Z", [])


def test_wrong_weather_is_told_by_file_and_code(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "station.csv").write_text(daily(row="-1.5,NA,2.4,8.64"))
    place = ("--lat", "52.17", "--lon", "5.74")
    said = run("met", "from-csv", "station.csv", "Loobos", *place)
    assert said.code == ExitCode.INVALID
    assert said.err.startswith("error: station.csv: column tmax, line 2")
    assert not list(tmp_path.glob("*.nc"))
    assert run("met", "from-csv", "absent.csv", "Loobos", *place).code == ExitCode.NOT_FOUND
    assert run("met", "from-csv", "station.csv", "Loobos").code == ExitCode.USAGE
    said = run("met", "from-csv", "station.csv", "Loobos", *place, "--units", "tmax")
    assert (said.code, "write NAME=VALUE" in said.err) == (ExitCode.USAGE, True)
    (tmp_path / "a.nc").write_text("no")
    said = run("met", "check", "a.nc")
    assert (said.code, said.err) == (ExitCode.INVALID, "error: a.nc: 1 problem\n")
    assert "wrong: is not netCDF" in said.out
    assert run("met", "check", "b.nc").code == ExitCode.NOT_FOUND
