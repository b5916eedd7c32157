"""Prepare and analyse of many sites by many members, with the model left out: runs a second, and peak memory.

By itself, without a cluster: `python tests/bench/executor_steps.py [--sites 50 198] [--members 20] [--years 8]
[--form NETCDF3_CLASSIC] [--repeat 1] [--cpus N]`; `--sites 50 200 500` shows how memory grows from 1,000 to 10,000 runs.
BETY answers from memory. The outputs are daily and as large as DALEC's, in the form that its image and PEcAn's R write
(NETCDF4: that of other models), different for each member and linked from site to site. `floor` is what netCDF4 takes, in
this very run and on one CPU, to open and close the files of a run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from netCDF4 import Dataset
from report import Figure, processor, table

from pecan_executor.analyse import analyse
from pecan_executor.files import WorkflowFolder
from pecan_executor.folder import make_folder
from pecan_executor.parallel import cpus
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


@dataclass(frozen=True)
class Cost:
    """Seconds of a step, CPU seconds of all its processes, peak memory (bytes) of it and of its largest other process."""

    seconds: float
    cpu: float
    memory: int
    others: int


def measured(step: Callable[[WorkflowFolder, Path], None], folder: WorkflowFolder, source: Path) -> Cost:
    """The cost of a step in a process of its own."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    # not a daemon, which could have no processes of its own
    process = context.Process(target=_measure, args=(theirs, step, folder, source))
    process.start()
    theirs.close()
    cost: Cost = ours.recv()
    process.join()
    return cost


def _measure(
    pipe: Connection, step: Callable[[WorkflowFolder, Path], None], folder: WorkflowFolder, source: Path
) -> None:
    begin, before = time.monotonic(), os.times()
    step(folder, source)
    seconds, after = time.monotonic() - begin, os.times()
    own, others = (resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    pipe.send(Cost(seconds, sum(after[:4]) - sum(before[:4]), own, others))


def floor(folder: WorkflowFolder, years: int, runs: int = 100) -> float:
    """CPU seconds that netCDF4 takes to open and close the files of one run."""
    plans = read_plan(folder)[:runs]
    begin = time.process_time()
    for plan in plans:
        for year in range(FIRST_YEAR, FIRST_YEAR + years):
            Dataset(Path(plan.outdir) / f"{year}.nc").close()
    return (time.process_time() - begin) / len(plans)


def measure(sites: int, members: int, years: int, form: str, repeat: int) -> list[Figure]:
    runs = sites * members
    prepared, analysed, opening = [], [], []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as directory:
            folder = WorkflowFolder(Path(directory) / "workflows" / f"PEcAn_{WORKFLOW_ID}")
            source = make_settings(folder, sites, members, years)
            prepared.append(measured(prepare_step, folder, source))
            write_outputs(folder, years, form)
            analysed.append(measured(analyse_step, folder, source))
            opening.append(floor(folder, years))
    figures = []
    for name, costs in (("prepare", prepared), ("analyse", analysed)):
        figures += [
            Figure(f"{runs:,} runs, {name}", "runs/s", [runs / cost.seconds for cost in costs]),
            Figure(f"{runs:,} runs, {name}: CPU of a run", "ms", [1e3 * cost.cpu / runs for cost in costs]),
            Figure(f"{runs:,} runs, {name}: memory", "MiB", [cost.memory / 2**20 for cost in costs]),
            Figure(f"{runs:,} runs, {name}: largest other process", "MiB", [cost.others / 2**20 for cost in costs]),
        ]
    ratios = [cost.cpu / runs / each for cost, each in zip(analysed, opening, strict=True)]
    return [
        *figures,
        Figure(f"{runs:,} runs, floor: netCDF4 opens a run's files", "ms", [1e3 * each for each in opening]),
        Figure(f"{runs:,} runs, analyse: CPU / floor", "", ratios),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="+", default=[50, 198])
    for name, number in (("members", 20), ("years", 8), ("repeat", 1)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--form", choices=("NETCDF3_CLASSIC", "NETCDF4"), default="NETCDF3_CLASSIC")
    parser.add_argument("--cpus", type=int, help="use no more of them")
    options = parser.parse_args()
    if options.cpus:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cpus])
    versions = {name: metadata.version(name) for name in ("numpy", "netCDF4", "matplotlib")}
    about = {"cpu": processor(), "cpus": cpus(), "python": platform.python_version(), **versions, "form": options.form}
    figures = []
    for sites in options.sites:
        measured_here = measure(sites, options.members, options.years, options.form, options.repeat)
        figures += [{"row": "executor_steps", **figure.summary()} for figure in measured_here]
    print(", ".join(f"{what} {version}" for what, version in about.items()))
    print(table(figures))
    print(json.dumps({"about": about, "figures": figures}))


if __name__ == "__main__":
    main()
