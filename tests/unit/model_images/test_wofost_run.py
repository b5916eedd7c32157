"""`run` as a worker calls it. pcse is only in the image: where it is missing, something that gives days stands for it.

With `pip install pcse==6.0.13` in the environment of the tests WOFOST itself is run too.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from netCDF4 import Dataset

from pecan_executor.outputs import RunReader
from pecan_wofost.adapter import main
from pecan_wofost.parameters import Parameters
from pecan_wofost.standard_output import OUTPUT_VARIABLES, VARIABLES

IMAGES = Path(__file__).parents[3] / "model-images"
SCHEMA = json.loads((IMAGES / "base" / "pecan-run-1.schema.json").read_text())
START, END = date(1999, 12, 30), date(2000, 3, 1)
DAYS = (END - START).days + 1


def write_met(path: Path) -> None:
    values = {
        "air_temperature_max": ("K", 290.0),
        "air_temperature_min": ("K", 280.0),
        "surface_downwelling_shortwave_flux_in_air": ("W m-2", 150.0),
        "precipitation_flux": ("kg m-2 s-1", 1e-5),
        "wind_speed": ("m s-1", 3.0),
        "water_vapor_partial_pressure_in_air": ("Pa", 900.0),
    }
    with Dataset(path, "w") as dataset:
        dataset.createDimension("time", DAYS)
        time = dataset.createVariable("time", "f8", ("time",))
        time.units = f"days since {START}"
        time[:] = np.arange(DAYS)
        for name, (units, value) in values.items():
            variable = dataset.createVariable(name, "f8", ("time",))
            variable.units, variable[:] = units, value


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    write_met(tmp_path / "met.nc")
    return {
        "schema": "pecan-run/1",
        "workflow_id": "99000000001",
        "run_id": "ENS-00001-ES",
        "ensemble_id": "99000000003",
        "run_type": "ensemble",
        "model": {"type": "WOFOST", "revision": "7.2"},
        "site": {"id": "ES", "name": "Andalusia", "lat": 37.64, "lon": -6.09},
        "start_date": str(START),
        "end_date": str(END),
        "inputs": {"met": {"path": str(tmp_path / "met.nc"), "format": "cf"}},
        "pfts": [{"name": "winter_wheat", "traits": {"SLA": 21.0}, "constants": {"ELEV": 47}}],
        "rundir": str(tmp_path / "run"),
        "outdir": str(tmp_path / "out" / "ENS-00001-ES"),
        "delete_raw": False,
    }


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands for pcse: a crop that stands from the third day on; keeps what it was called with."""
    called = SimpleNamespace(weather=None, parameters=None)

    def weather_provider(weather: Any, *place: float) -> Any:
        called.weather, called.place = weather, place
        return weather

    def simulate(parameters: Parameters, weather: Any, start: date, end: date) -> Any:
        called.parameters, called.days = parameters, (start, end)
        bare: dict[str, float | None] = dict.fromkeys(OUTPUT_VARIABLES) | {"SM": 0.2, "EVS": 0.1}
        crop: dict[str, float | None] = dict.fromkeys(OUTPUT_VARIABLES, 1.0)
        rows = [bare, bare, *[crop] * (len(weather) - 1)]
        return SimpleNamespace(rows=rows, saturated=0.4, seasons=["season: a line of it"])

    module = ModuleType("pecan_wofost.engine")
    module.__dict__.update(weather_provider=weather_provider, simulate=simulate)
    monkeypatch.setitem(sys.modules, "pecan_wofost.engine", module)
    return called


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Any], tuple[int, str]]:
    """Run in this process; gives the exit code and what was said on stderr."""

    def run_it(config: Any) -> tuple[int, str]:
        rundir = tmp_path / "run"
        rundir.mkdir(exist_ok=True)
        (rundir / "config.json").write_text(json.dumps(config))
        code = main([str(rundir)])
        return code, capsys.readouterr().err

    return run_it


def test_a_whole_run(config: dict[str, Any], run: Callable[[Any], tuple[int, str]], engine: SimpleNamespace) -> None:
    jsonschema.validate(config, SCHEMA)
    assert run(config) == (0, "")
    outdir = Path(config["outdir"])
    names = ["1999.nc", "1999.nc.var", "2000.nc", "2000.nc.var", "logfile.txt"]
    assert sorted(path.name for path in outdir.iterdir()) == names

    assert engine.parameters == Parameters("winter_wheat", tables={"SLATB": pytest.approx(0.0021)}, elevation=47.0)
    assert engine.place == (37.64, -6.09, 47.0)
    assert engine.days == (START, END)
    assert [day.day for day in engine.weather] == [START + timedelta(days=n) for n in range(DAYS)]

    # What the executor makes of it.
    output = RunReader([variable.name for variable in VARIABLES], START, END).read(outdir)
    assert {name: variable.units for name, variable in output.variables.items()} == {v.name: v.units for v in VARIABLES}
    assert output.daily["LAI"].tolist() == [0.0] + [1.0] * (DAYS - 1)
    said = " ".join(output.caveats)
    for caveat in ("nothing is calibrated for the site", "crops that were not ripe", "where no crop stands"):
        assert caveat in said

    log = (outdir / "logfile.txt").read_text()
    assert "winter_wheat, water-limited production" in log
    assert "SLA = 21 m2 kg-1" in log
    assert "season: a line of it" in log
    assert log.splitlines()[-1] == "MODEL FINISHED: WOFOST run ENS-00001-ES"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"type": "DALEC", "revision": "ev"}}, "model.type is 'DALEC', but this image runs WOFOST"),
        (
            {"inputs": {"met": {"path": "/x", "format": "cf"}, "soil": {"path": "/y"}}},
            "WOFOST does not read the input soil",
        ),
        ({"pfts": [{"name": "winter_wheat", "traits": {"Vcmax": 1}, "constants": {}}]}, "WOFOST has no trait Vcmax"),
        ({"pfts": [{"name": "oak", "traits": {"SLA": 20}, "constants": {}}]}, "PFT oak: WOFOST knows no such crop"),
        ({"end_date": "2000-03-02"}, "no data for 2000-03-02"),
    ],
)
def test_bad_data_is_refused_before_pcse_is_needed(
    config: dict[str, Any],
    run: Callable[[Any], tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setitem(sys.modules, "pecan_wofost.engine", None)
    code, said = run(config | change)
    assert code == 65
    assert len(said.splitlines()) == 1
    assert message in said


def test_an_image_without_pcse_is_a_fault_of_the_image(
    config: dict[str, Any], run: Callable[[Any], tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pecan_wofost.engine", None)
    code, said = run(config)
    assert code == 70
    assert "the WOFOST adapter failed" in said


@pytest.mark.skipif(importlib.util.find_spec("pcse") is None, reason="needs pcse, which is in the image only")
def test_wofost_itself(tmp_path: Path) -> None:
    environment = {**os.environ, "PCSE_HOME": str(tmp_path)}
    selftest = IMAGES / "wofost" / "selftest"
    done = subprocess.run([sys.executable, selftest], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("are the benchmark's") == 12
