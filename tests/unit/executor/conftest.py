"""A small workflow: two members' worth of settings, a database that remembers, and outputs of known values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from netCDF4 import Dataset

from pecan_executor.files import WorkflowFolder
from pecan_operator.core.pecanxml import Ensemble, Input, Model, Pft, Prior, Settings, Site

WORKFLOW_ID = 99000000001


@dataclass
class Bety:
    """Finds the rows it has made before, as the real one does."""

    site_ids: dict[tuple[str, float, float], int] = field(default_factory=dict)
    ensembles: dict[tuple[int, str], int] = field(default_factory=dict)
    run_ids: dict[tuple[Any, ...], int] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)

    @property
    def parameter_lists(self) -> list[str]:
        return [row[5] for row in self.run_ids]

    def site(self, *, name: str, lat: float, lon: float) -> int:
        return self.site_ids.setdefault((name, lat, lon), 700 + len(self.site_ids))

    def place_workflow(self, workflow_id: int, site_id: int) -> None:
        self.places[workflow_id] = site_id

    def ensemble(self, *, workflow_id: int, runtype: str) -> int:
        return self.ensembles.setdefault((workflow_id, runtype), 50 + len(self.ensembles))

    def runs(self, ensemble_id: int, model_id: int, rows: Sequence[tuple[int, str, str, str, str]]) -> list[int]:
        assert len({row[:4] for row in rows}) == len(rows), "BETY's unique key on runs"
        return [self.run_ids.setdefault((ensemble_id, model_id, *row), 9000 + len(self.run_ids)) for row in rows]


@pytest.fixture
def bety() -> Bety:
    return Bety()


@pytest.fixture
def folder(tmp_path: Path) -> WorkflowFolder:
    met = tmp_path / "data" / "met"
    met.mkdir(parents=True)
    for year in (1999, 2000):
        (met / f"Loobos.{year}.nc").touch()
    return WorkflowFolder(tmp_path / "data" / "workflows" / f"PEcAn_{WORKFLOW_ID}")


@pytest.fixture
def settings(folder: WorkflowFolder) -> Settings:
    return Settings(
        workflow_id=WORKFLOW_ID,
        folder=str(folder.path),
        hostname="docker",
        queue="DALEC_ev",
        model=Model(99000000002, "DALEC", "ev", "/work/run"),
        sites=(Site("NL-Loo", "Loobos", 52.17, 5.74),),
        start_date=date(1999, 12, 1),
        end_date=date(2000, 12, 31),
        inputs={"met": Input((str(folder.data / "met" / "Loobos"),))},
        pfts=(Pft("conifer", {"SLA": Prior("lnorm", 1.5, 0.2)}, {"leaf_carbon_content": 0.06}),),
        ensemble=Ensemble(4, ("GPP",), seed=7),
        stop_on_error=False,
    )


WriteYear = Callable[..., Path]


@pytest.fixture
def write_year() -> WriteYear:
    """Writes `<outdir>/<year>.nc` from functions of the day, with `steps` steps a day."""

    def write(
        outdir: Path,
        first: date,
        last: date,
        variables: Mapping[str, tuple[str, Callable[[float], float]]],
        *,
        steps: int = 1,
        bounds: bool = True,
        attributes: Mapping[str, str] | None = None,
        time_units: str | None = None,
        form: str = "NETCDF4",
    ) -> Path:
        outdir.mkdir(parents=True, exist_ok=True)
        start = (first - date(first.year, 1, 1)).days
        times = start + np.arange(((last - first) / timedelta(days=1) + 1) * steps) / steps
        path = outdir / f"{first.year}.nc"
        with Dataset(path, "w", format=form) as dataset:
            dataset.setncatts(dict(attributes or {}))
            for name, size in (("lon", 1), ("lat", 1), ("time", None), ("hist_interval", 2)):
                dataset.createDimension(name, size)
            time = dataset.createVariable("time", "f8", ("time",))
            time.units = time_units or f"days since {first.year}-01-01 00:00:00"
            time.calendar = "standard"
            time[:] = times
            if bounds:
                edges = dataset.createVariable("time_bounds", "f8", ("time", "hist_interval"))
                edges[:] = np.stack((times, times + 1 / steps), axis=1)
            for name, (units, value) in variables.items():
                variable = dataset.createVariable(name, "f8", ("time", "lat", "lon"), fill_value=-999.0)
                variable.setncatts({"units": units, "long_name": f"long {name}"})
                variable[:] = np.array([value(t) for t in times]).reshape(-1, 1, 1)
        return path

    return write
