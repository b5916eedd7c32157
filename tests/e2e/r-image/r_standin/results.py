"""The stages OUTPUT, ENSEMBLE, SENSITIVITY and PDA: what the second pass leaves.

Source: PEcAn, modules/uncertainty/R/{get.results,run.ensemble.analysis,run.sensitivity.analysis}.R, names as in
get.analysis.filenames.r; modules/assim.batch/R/pda.emulator.R.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

from r_standin.bety import Bety
from r_standin.broker import Broker
from r_standin.configs import ENSEMBLE, PDA, SENSITIVITY, RunPlan, write_runs
from r_standin.logger import error, info, severe, warn
from r_standin.netcdf import NotReadable, mean
from r_standin.rdata import save
from r_standin.settings import Settings

RUNTYPES = {"ensemble": ENSEMBLE, "sensitivity.analysis": SENSITIVITY}
STEMS = {"ensemble": "ensemble", "sensitivity.analysis": "sensitivity"}
PDF = "%PDF-1.4\n% made by a stand-in of PEcAn's R\n%%EOF\n"
LOOK_SECONDS = 0.5


def output(settings: Settings) -> None:
    """get.results: the mean of each variable over the years of the analysis, of each run; NA where a file is not there."""
    runs = _runs(settings)
    for kind, stem in STEMS.items():
        for variable in _variables(settings, kind):
            of_kind = runs.get((RUNTYPES[kind], _id(settings, kind)), [])
            values = {run_id: _mean(settings, kind, run_id, variable) for run_id in of_kind}
            member = {str(number): value for number, value in enumerate(values.values(), 1)}
            save(_file(settings, kind, f"{stem}.output", variable, "Rdata"), **{f"{stem}__output": member})


def ensemble(settings: Settings) -> None:
    """run.ensemble.analysis: histogram and time series of each variable."""
    for variable in _variables(settings, "ensemble"):
        for stem in ("ensemble.analysis", "ensemble.ts"):
            _file(settings, "ensemble", stem, variable, "pdf").write_text(PDF)
        save(_file(settings, "ensemble", "ensemble.ts", variable, "Rdata"), ensemble__ts={"none": 0.0})


def sensitivity(settings: Settings) -> None:
    """run.sensitivity.analysis: results, sensitivities and variance decomposition of each variable."""
    for variable in _variables(settings, "sensitivity.analysis"):
        kind = "sensitivity.analysis"
        save(_file(settings, kind, "sensitivity.results", variable, "Rdata"), sensitivity__results={"none": 0.0})
        for stem in ("sensitivity.analysis", "variance.decomposition"):
            _file(settings, kind, stem, variable, "pdf").write_text(PDF)


def pda(settings: Settings, bety: Bety, broker: Broker) -> None:
    """assim.batch: makes runs of its own, overwriting runs.txt, publishes them and waits for their answers, however long."""
    size = int(settings.get("assim.batch/n.knot") or 1)
    run = settings.runs()[0]
    plans = [RunPlan(f"ensemble={knot}", {"run": f"{knot} / {size}"}, {}, knot) for knot in range(1, size + 1)]
    (settings.outdir / "run" / "runs.txt").write_text("")
    _, ids = write_runs(settings, run, PDA, plans, bety)
    for run_id in ids:
        broker.publish(settings.outdir / "run" / run_id)
    for run_id in ids:
        _wait(settings.outdir / "run" / run_id, settings.get("run/stop_on_error").upper() == "TRUE")


def _wait(folder: Path, stop_on_error: bool) -> None:
    answer = folder / "rabbitmq.out"
    while not answer.exists():
        time.sleep(LOOK_SECONDS)
    lines = answer.read_text().splitlines()
    info("start_model_runs", f"run {folder.name}: {lines[1:]}")
    if lines[1:] != ["ERROR"]:
        return
    if stop_on_error:
        raise severe("start_model_runs", f"Run {folder.name} has an ERROR executing")
    error("start_model_runs", f"Run {folder.name} has an ERROR executing")


def _variables(settings: Settings, kind: str) -> list[str]:
    return settings.all(f"{kind}/variable")


def _id(settings: Settings, kind: str) -> str:
    return settings.get(f"{kind}/ensemble.id")


def _runs(settings: Settings) -> Mapping[tuple[str, str], list[str]]:
    """Runs by run type and ensemble, as their README.txt has them; R reads them of ensemble.samples.<id>.Rdata."""
    found: dict[tuple[str, str], list[str]] = {}
    for readme in sorted((settings.outdir / "run").glob("*/README.txt")):
        lines = dict(line.strip().split(":", 1) for line in readme.read_text().splitlines() if ":" in line)
        told = {key.strip(): value.strip() for key, value in lines.items()}
        found.setdefault((told["runtype"], told["ensemble id"]), []).append(told["run id"])
    return found


def _mean(settings: Settings, kind: str, run_id: str, variable: str) -> float:
    years = range(int(settings.get(f"{kind}/start.year")), int(settings.get(f"{kind}/end.year")) + 1)
    try:
        means = [mean(settings.outdir / "out" / run_id / f"{year}.nc", variable) for year in years]
    except NotReadable as problem:
        warn("read.output", str(problem))
        return math.nan
    return sum(means) / len(means)


def _file(settings: Settings, kind: str, stem: str, variable: str, suffix: str) -> Path:
    years = f"{settings.get(f'{kind}/start.year')}.{settings.get(f'{kind}/end.year')}"
    return settings.outdir / f"{stem}.{_id(settings, kind)}.{variable}.{years}.{suffix}"
