"""`run` as a worker calls it: a folder with config.json in, standard output and an exit code out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from netCDF4 import Dataset, num2date

from pecan_adapter.config import read_config
from pecan_adapter.errors import BadData
from pecan_dalec.adapter import main
from pecan_dalec.drivers import read_drivers
from pecan_dalec.model import Parameters, State, simulate
from pecan_dalec.wageningen import WeatherDay
from pecan_dalec.weather import write_met

IMAGES = Path(__file__).parents[3] / "model-images"
RUN = IMAGES / "dalec" / "run"
SCHEMA = json.loads((IMAGES / "base" / "pecan-run-1.schema.json").read_text())

PECAN_DALEC_VARIABLES = {
    "AutoResp", "HeteroResp", "GPP", "NEE", "NPP", "leaf_litter_carbon_flux", "WoodyLitter",
    "subsurface_litter_carbon_flux", "leaf_carbon_content", "wood_carbon_content", "root_carbon_content",
    "litter_carbon_content", "soil_carbon_content", "TotalResp", "TotLivBiom", "TotSoilCarb", "LAI",
}  # fmt: skip


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("weather")
    for year in (1999, 2000):
        first = date(year, 1, 1)
        days = [
            WeatherDay(first + timedelta(days=n), 9000 + 8000 * np.sin(n / 58), 2 + n % 5, 9 + n % 7, 0.8, 3, 1)
            for n in range((date(year + 1, 1, 1) - first).days)
        ]
        write_met(days, directory)
    return directory / "Loobos"


@pytest.fixture
def config(tmp_path: Path, weather: Path) -> dict[str, Any]:
    return {
        "schema": "pecan-run/1",
        "workflow_id": "99000000001",
        "run_id": "ENS-00001-NL-Loo",
        "ensemble_id": "99000000003",
        "run_type": "ensemble",
        "model": {"type": "DALEC", "revision": "ev"},
        "site": {"id": "NL-Loo", "name": "Loobos", "lat": 52.17, "lon": 5.74},
        "start_date": "1999-11-01",
        "end_date": "2000-12-31",
        "inputs": {"met": {"path": str(weather), "format": "cf"}},
        "pfts": [{"name": "pine", "traits": {"SLA": 4.8}, "constants": {"leaf_carbon_content": 0.2}}],
        "rundir": str(tmp_path / "run"),
        "outdir": str(tmp_path / "out" / "ENS-00001-NL-Loo"),
        "delete_raw": False,
    }


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Any], tuple[int, str]]:
    """Run in this process; gives the exit code and what was said on stderr."""

    def run_it(config: Any) -> tuple[int, str]:
        rundir = tmp_path / "run"
        rundir.mkdir(exist_ok=True)
        (rundir / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        code = main([str(rundir)])
        return code, capsys.readouterr().err

    return run_it


def test_a_whole_run_as_a_command(config: dict[str, Any], tmp_path: Path, weather: Path) -> None:
    jsonschema.validate(config, SCHEMA)
    rundir = tmp_path / "run"
    rundir.mkdir()
    (rundir / "config.json").write_text(json.dumps(config))
    result = subprocess.run([sys.executable, RUN], cwd=rundir, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "MODEL FINISHED: DALEC run ENS-00001-NL-Loo\n"

    outdir = Path(config["outdir"])
    names = ["1999.nc", "1999.nc.var", "2000.nc", "2000.nc.var", "logfile.txt"]
    assert sorted(p.name for p in outdir.iterdir()) == names
    log = (outdir / "logfile.txt").read_text()
    assert "SLA = 4.8 m2 kg-1" in log
    assert "2000: 366 days, GPP " in log

    state = State(leaf=200.0)
    drivers = read_drivers(str(weather), date(1999, 11, 1), date(2000, 12, 31))
    days = list(simulate(Parameters(specific_leaf_area=0.01), state, 52.17, drivers))
    for year, first, count in ((1999, date(1999, 11, 1), 61), (2000, date(2000, 1, 1), 366)):
        expected = [day for day in days if day.day.year == year]
        with Dataset(outdir / f"{year}.nc") as nc:
            assert {n for n, v in nc.variables.items() if v.ndim == 3} == PECAN_DALEC_VARIABLES
            assert nc.dimensions["time"].isunlimited()
            assert "not calibrated here and not spun up" in nc.caveats
            time = nc.variables["time"]
            assert (time.units, time.calendar, time.bounds) == (
                f"days since {year}-01-01 00:00:00", "standard", "time_bounds",
            )  # fmt: skip
            stamps = num2date(time[:], time.units, only_use_cftime_datetimes=False, only_use_python_datetimes=True)
            assert [stamp.date() for stamp in stamps] == [first + timedelta(days=n) for n in range(count)]
            assert nc.variables["time_bounds"].dimensions == ("time", "hist_interval")
            assert (nc.variables["time_bounds"][:] == np.stack((time[:], time[:] + 1), axis=1)).all()
            assert (nc.variables["lat"][0], nc.variables["lon"][0]) == (52.17, 5.74)
            v = {name: nc.variables[name][:, 0, 0].data for name in PECAN_DALEC_VARIABLES}
            for name in PECAN_DALEC_VARIABLES:
                variable = nc.variables[name]
                assert variable.dimensions == ("time", "lat", "lon")
                assert (variable.dtype, variable._FillValue) == (np.float64, -999)
            assert (nc.variables["GPP"].units, nc.variables["LAI"].units) == ("kg C m-2 s-1", "m2 m-2")
            assert nc.variables["leaf_carbon_content"].units == "kg C m-2"
        assert v["GPP"] == pytest.approx([day.gpp * 1e-3 / 86400 for day in expected], rel=1e-12)
        assert v["LAI"] == pytest.approx([day.leaf * 0.01 for day in expected], rel=1e-12)
        assert v["soil_carbon_content"] == pytest.approx([day.som * 1e-3 for day in expected], rel=1e-12)
        assert v["NEE"] == pytest.approx(v["TotalResp"] - v["GPP"], abs=1e-18)
        assert v["NPP"] == pytest.approx(v["GPP"] - v["AutoResp"], abs=1e-18)
        assert v["TotalResp"] == pytest.approx(v["AutoResp"] + v["HeteroResp"], abs=1e-18)
        assert np.diff(v["TotLivBiom"] + v["TotSoilCarb"]) == pytest.approx(-v["NEE"][1:] * 86400, abs=1e-9)
        listed = (outdir / f"{year}.nc.var").read_text().splitlines()
        assert {line.split(" ", 1)[0] for line in listed} == PECAN_DALEC_VARIABLES
        assert "GPP Gross Primary Productivity" in listed


def test_the_same_config_gives_the_same_bytes(config: dict[str, Any], run: Callable[[Any], tuple[int, str]]) -> None:
    outdir = Path(config["outdir"])
    assert run(config)[0] == 0
    first = {p.name: p.read_bytes() for p in outdir.iterdir()}
    assert run(config)[0] == 0
    assert {p.name: p.read_bytes() for p in outdir.iterdir()} == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "pecan-run/2"}, "schema is 'pecan-run/2'; this image reads 'pecan-run/1'"),
        ({"schema": None}, "schema must be text"),
        ({"site": {"id": "x", "name": "y", "lat": 91, "lon": 0}}, "site.lat must be a number from -90 to 90, not 91"),
        ({"site": {"id": "x", "name": "y", "lat": "52", "lon": 0}}, "site.lat must be a number"),
        ({"site": {"id": "x", "name": "y", "lat": 5}}, "site.lon is missing"),
        ({"site": []}, "site must be an object"),
        ({"start_date": "1999-02-30"}, "start_date must be a calendar day"),
        ({"end_date": "1999-10-01"}, "end_date 1999-10-01 is before start_date 1999-11-01"),
        ({"model": {"type": "SIPNET", "revision": "git"}}, "model.type is 'SIPNET', but this image runs DALEC"),
        ({"inputs": {}}, "inputs.met is missing"),
        ({"inputs": {"met": {"path": "/x", "format": "clim"}}}, "inputs.met.format must be 'cf'"),
        ({"inputs": {"met": {"path": "/x", "format": "cf"}, "poolinitcond": {"path": "/y"}}}, "the input poolinitcond"),
        ({"pfts": []}, "pfts must be a list with at least one entry"),
        ({"pfts": [{"name": "p", "traits": {"SLA": "4"}, "constants": {}}]}, r"pfts[0].traits.SLA must be a number"),
        ({"pfts": [{"name": "p", "traits": {"SLA": True}, "constants": {}}]}, r"pfts[0].traits.SLA must be a number"),
        ({"pfts": [{"name": "p", "traits": {}}]}, r"pfts[0].constants is missing"),
        ({"pfts": [{"name": "p", "traits": {"Vcmax": 1}, "constants": {}}]}, "PFT p: DALEC has no trait Vcmax"),
        (
            {"pfts": [{"name": "p", "traits": {"litter_respiration_rate": 0.5}, "constants": {}}], "run_id": "7"},
            "litter pool would turn negative",
        ),
        ({"end_date": "2001-01-01"}, "no data for 2001-01-01"),
    ],
)
def test_bad_data_is_refused_in_one_line_and_never_retried(
    config: dict[str, Any], run: Callable[[Any], tuple[int, str]], change: dict[str, Any], message: str, weather: Path
) -> None:
    if change.get("run_id") == "7":
        hot = [WeatherDay(date(2003, 1, 1) + timedelta(days=n), 9000, 20, 35, 0.8, 3, 1) for n in range(365)]
        write_met(hot, weather.parent)
        change = change | {"start_date": "2003-06-01", "end_date": "2003-07-01"}
    code, said = run(config | change)
    assert code == 65
    assert len(said.splitlines()) == 1
    assert message in said
    outdir = Path(config["outdir"])
    if outdir.exists():
        assert [p.name for p in outdir.iterdir()] == ["logfile.txt"]
        assert message in (outdir / "logfile.txt").read_text()


def test_a_file_that_is_not_there_may_be_tried_again(
    config: dict[str, Any], run: Callable[[Any], tuple[int, str]], tmp_path: Path
) -> None:
    code, said = run(config | {"inputs": {"met": {"path": str(tmp_path / "gone"), "format": "cf"}}})
    assert code == 74
    assert "neither a file nor the prefix" in said
    (tmp_path / "run" / "config.json").unlink()
    assert main([str(tmp_path / "run")]) == 74


def test_broken_json_and_wrong_use(run: Callable[[Any], tuple[int, str]]) -> None:
    code, said = run("{")
    assert code == 65
    assert "is not JSON" in said
    assert main(["--help"]) == main(["a", "b"]) == 2


def test_a_folder_that_cannot_be_written_is_said(
    config: dict[str, Any], run: Callable[[Any], tuple[int, str]], tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    code, said = run(config)
    assert code == 74
    assert "ERROR IN MODEL RUN" in said.splitlines()[-1]


@pytest.mark.parametrize("field", SCHEMA["required"])
def test_schema_and_reader_agree_on_what_is_needed(config: dict[str, Any], tmp_path: Path, field: str) -> None:
    del config[field]
    with pytest.raises(jsonschema.ValidationError, match=field):
        jsonschema.validate(config, SCHEMA)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    not_needed_here = {"workflow_id", "ensemble_id", "run_type", "rundir", "delete_raw"}
    if field in not_needed_here:
        assert read_config(path, "DALEC")
    else:
        with pytest.raises(BadData, match=f"{field} is missing"):
            read_config(path, "DALEC")
