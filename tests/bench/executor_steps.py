"""Prepare and analyse of many sites by many members, with the model left out: runs a second, and peak memory.

By itself, without a cluster: `python tests/bench/executor_steps.py [--sites 200] [--members 20] [--years 8]`. BETY answers
from memory. The outputs are daily, two variables a file, different for each member and linked from site to site.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from netCDF4 import Dataset

from pecan_executor.analyse import analyse
from pecan_executor.files import WorkflowFolder
from pecan_executor.folder import make_folder
from pecan_executor.plan import RunStatus, read_plan, write_states
from pecan_executor.prepare import prepare
from pecan_executor.settings import read
from pecan_operator.core.pecanxml import Ensemble, Input, Model, Pft, Prior, Settings, render
from pecan_operator.records import RunState

WORKFLOW_ID = 1
FIRST_YEAR = 1998
VARIABLES = ("GPP", "NEE")
WRITTEN = (*VARIABLES, *(f"other_{number}" for number in range(15)))
"""As many as DALEC writes."""


@dataclass
class Bety:
    """Numbers rows in the order in which they are asked for."""

    sites: list[str] = field(default_factory=list)

    def site(self, *, name: str, lat: float, lon: float) -> int:
        self.sites.append(name)
        return len(self.sites)

    def place_workflow(self, workflow_id: int, site_id: int) -> None: ...

    def ensemble(self, *, workflow_id: int, runtype: str) -> int:
        return 1

    def runs(self, ensemble_id: int, model_id: int, rows: Sequence[tuple[int, str, str, str, str]]) -> list[int]:
        return list(range(1, len(rows) + 1))


def make_settings(folder: WorkflowFolder, sites: int, members: int, years: int) -> Path:
    """A pecan.xml as the operator renders it, and the table of its sites."""
    table = folder.data / "sites.csv"
    rows = (f"s{at},Site {at},{25 + at % 40},{-120 + at % 50}\n" for at in range(sites))
    table.write_text("id,name,lat,lon\n" + "".join(rows))
    settings = Settings(
        workflow_id=WORKFLOW_ID,
        folder=str(folder.path),
        hostname="docker",
        queue="bench",
        model=Model(1, "BENCH", "v1", "/work/run"),
        sites=(),
        start_date=date(FIRST_YEAR, 1, 1),
        end_date=date(FIRST_YEAR + years - 1, 12, 31),
        inputs={"met": Input(("/met",))},
        pfts=(Pft("conifer", {"SLA": Prior("lnorm", 1.5, 0.2), "Vcmax": Prior("norm", 40.0, 5.0)}),),
        ensemble=Ensemble(members, VARIABLES, seed=1),
        stop_on_error=False,
        sites_csv=str(table),
    )
    source = folder.data / "rendered.xml"
    source.write_text(render(settings))
    return source


def prepare_step(folder: WorkflowFolder, source: Path) -> None:
    make_folder(folder, source, WORKFLOW_ID, "uid")
    prepare(read(folder.settings), folder, Bety())


def analyse_step(folder: WorkflowFolder, _: Path) -> None:
    _, left_out = analyse(read(folder.settings), folder)
    assert not left_out, left_out[0]


def write_outputs(folder: WorkflowFolder, years: int, form: str) -> None:
    plans = read_plan(folder)
    first: dict[int, Path] = {}
    for plan in plans:
        outdir = Path(plan.outdir)
        template = first.setdefault(plan.member or 1, outdir)
        for year in range(FIRST_YEAR, FIRST_YEAR + years):
            if template == outdir:
                _write_year(outdir / f"{year}.nc", year, plan.member or 1, form)
                continue
            for name in (f"{year}.nc", f"{year}.nc.var"):
                (outdir / name).unlink(missing_ok=True)
                os.link(template / name, outdir / name)
    write_states(folder, [(plan.run_id, RunStatus(RunState.SUCCEEDED, 1, 0, None)) for plan in plans])


def _write_year(path: Path, year: int, member: int, form: str) -> None:
    days = (date(year + 1, 1, 1) - date(year, 1, 1)).days
    start = np.arange(days, dtype=float)
    with Dataset(path, "w", format=form) as dataset:
        for name, size in (("lon", 1), ("lat", 1), ("time", None), ("hist_interval", 2)):
            dataset.createDimension(name, size)
        clock = {"units": f"days since {year}-01-01 00:00:00", "calendar": "standard"}
        for name, dimensions, values in (
            ("time", ("time",), start),
            ("time_bounds", ("time", "hist_interval"), np.stack((start, start + 1), axis=1)),
        ):
            variable = dataset.createVariable(name, "f8", dimensions)
            variable.setncatts(clock)
            variable[:] = values
        for at, name in enumerate(WRITTEN):
            variable = dataset.createVariable(name, "f8", ("time", "lat", "lon"), fill_value=-999.0)
            variable.setncatts({"units": "kg C m-2 s-1", "long_name": name, "missing_value": -999.0})
            variable[:] = 1e-8 * (member - 10 * at) * np.sin(np.arange(days) * np.pi / days).reshape(-1, 1, 1)
    path.with_name(f"{path.name}.var").write_text("".join(f"{name} {name}\n" for name in WRITTEN))


def measured(step: Callable[[WorkflowFolder, Path], None], folder: WorkflowFolder, source: Path) -> tuple[float, int]:
    """Seconds and peak memory (bytes) of a step in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, step, folder, source).result()


def _measure(step: Callable[[WorkflowFolder, Path], None], folder: WorkflowFolder, source: Path) -> tuple[float, int]:
    begin = time.monotonic()
    step(folder, source)
    return time.monotonic() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("sites", 200), ("members", 20), ("years", 8)):
        parser.add_argument(f"--{name}", type=int, default=number)
    options = parser.parse_args()
    runs = options.sites * options.members
    with tempfile.TemporaryDirectory() as directory:
        folder = WorkflowFolder(Path(directory) / "workflows" / f"PEcAn_{WORKFLOW_ID}")
        source = make_settings(folder, options.sites, options.members, options.years)
        for name, step in (("prepare", prepare_step), ("analyse", analyse_step)):
            if step is analyse_step:
                write_outputs(folder, options.years)
            seconds, memory = measured(step, folder, source)
            sys.stdout.write(
                f"{name}: {runs} runs in {seconds:.1f} s, {runs / seconds:.0f} runs/s, at most {memory / 2**20:.0f} MiB\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
