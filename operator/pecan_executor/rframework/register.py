"""Step register: the runs that R wrote go into the ledger, and STATUS says that models are at work."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from defusedxml.ElementTree import fromstring

from pecan_executor.configs import ENSEMBLE, RUN_TYPES, SENSITIVITY
from pecan_executor.files import PRIVATE_MODE, WorkflowFolder
from pecan_executor.plan import write_plan
from pecan_executor.register import RunLedger
from pecan_executor.stages import Stage, Stages
from pecan_operator.core import rsettings
from pecan_operator.errors import UserError
from pecan_operator.records import MOST_RUNS, RunDescription, RunPlan

_MEMBER = re.compile(r"ensemble=([0-9]+)")
_QUANTILE = re.compile(r"quantile=([^,]*),trait=([^,]*),pft=(.*)")


class RunsInBety(Protocol):
    """What this step needs of BETY."""

    def described_runs(self, workflow_id: int) -> Sequence[RunDescription]: ...


def register(workflow_id: int, folder: WorkflowFolder, ledger: RunLedger, bety: RunsInBety) -> int:
    """Register the runs of run/runs.txt, described by BETY's rows or, where R wrote none, by their README.txt; returns how
    many there are.

    Raises UserError when R has not written them all: STATUS, run/runs.txt or a run's job.sh is missing.
    """
    root: ET.Element = fromstring(folder.settings.read_bytes())
    _check_stages(folder, root)
    for file in folder.saved_settings():
        file.chmod(PRIVATE_MODE)
    described = {str(row.run_id): row for row in bety.described_runs(workflow_id)}
    asked = rsettings.asked(ET.tostring(root, encoding="unicode"), None)
    years = int(asked.start_date[:4]), int(asked.end_date[:4])
    plans = [_plan(folder, run_id, described.get(run_id), years) for run_id in _run_ids(folder)]
    stages = Stages(folder)
    stages.done(Stage.ADVANCED)
    stages.start(Stage.MODEL)
    # Where the plan is, R is not begun anew.
    write_plan(folder.plan, plans)
    if folder.ignored.exists():
        ledger.report_settings(
            workflow_id,
            start_date=asked.start_date,
            end_date=asked.end_date,
            stop_on_error=asked.stop_on_error,
            ignored=json.loads(folder.ignored.read_text()),
        )
    ledger.register_runs(workflow_id, plans)
    return len(plans)


def before_model(root: ET.Element) -> list[Stage]:
    """The stages that R has done before models are at work, by its pecan.xml."""
    meta = [Stage.META] if root.find("meta.analysis") is not None else []
    return [Stage.TRAIT, *meta, Stage.CONFIG, Stage.ADVANCED]


def _check_stages(folder: WorkflowFolder, root: ET.Element) -> None:
    """R leaves ADVANCED, its last word, unfinished."""
    stages = Stages(folder)
    missing = [stage for stage in before_model(root)[:-1] if not stages.is_done(stage)]
    if missing:
        raise UserError(
            "RunsNotWritten", f"PEcAn's R ended, but STATUS does not say that {missing[0]} is done: see workflow.Rout"
        )
    if stages.at_work() not in (Stage.ADVANCED, Stage.MODEL):
        raise UserError("RunsNotWritten", "PEcAn's R ended, but not after it had written the runs: see workflow.Rout")


def _run_ids(folder: WorkflowFolder) -> list[str]:
    try:
        ids = [line.strip() for line in folder.run_list.read_text().splitlines() if line.strip()]
    except FileNotFoundError:
        raise UserError("RunsNotWritten", f"PEcAn's R wrote no {folder.run_list}: see workflow.Rout") from None
    if len(ids) > MOST_RUNS:
        raise UserError("TooManyRuns", f"{folder.run_list} has {len(ids)} runs; {MOST_RUNS} is the most")
    for run_id in ids:
        if Path(run_id).name != run_id or not (folder.run / run_id / "job.sh").is_file():
            raise UserError("RunsNotWritten", f"PEcAn's R wrote no {folder.run / run_id / 'job.sh'}: see workflow.Rout")
    return ids


def _plan(folder: WorkflowFolder, run_id: str, row: RunDescription | None, years: tuple[int, int]) -> RunPlan:
    if row is not None:
        run_type, labels = row.runtype, _labels(row.parameter_list)
        site_id, site_name, years = str(row.site_id), row.site_name, (row.first_year, row.last_year)
    else:
        readme = _readme(folder.run / run_id / "README.txt")
        run_type = readme.get("runtype") or RUN_TYPES[SENSITIVITY if run_id.startswith("SA-") else ENSEMBLE]
        labels = _labels_of_readme(readme)
        site_id = readme.get("site id") or run_id.rpartition("-")[2]
        site_name = readme.get("site") or site_id
        years = _year(readme.get("start date"), years[0]), _year(readme.get("end date"), years[1])
    return RunPlan(
        run_id=run_id,
        folder=str(folder.run / run_id),
        outdir=str(folder.out / run_id),
        expect=[f"{year}.nc" for year in range(years[0], years[1] + 1)],
        run_type=SENSITIVITY if run_type == RUN_TYPES[SENSITIVITY] else ENSEMBLE,
        site_id=site_id,
        site_name=site_name,
        bety_run_id=None if row is None else row.run_id,
        **labels,
    )


def _labels(parameter_list: str) -> dict[str, Any]:
    """What BETY's runs.parameter_list says, as in light workflows: the shared median run has none."""
    if member := _MEMBER.match(parameter_list):
        return {"member": int(member[1])}
    if (varied := _QUANTILE.match(parameter_list)) and varied[1] != "MEDIAN":
        return {"quantile": varied[1], "trait": varied[2], "pft": varied[3]}
    return {}


def _labels_of_readme(readme: dict[str, str]) -> dict[str, Any]:
    member = readme.get("run", "").partition("/")[0].strip()
    if member.isdecimal():
        return {"member": int(member)}
    quantile, trait, pft = (readme.get(key) for key in ("quantile", "trait", "pft name"))
    return {} if quantile in (None, "MEDIAN") else {"quantile": quantile, "trait": trait, "pft": pft}


def _readme(path: Path) -> dict[str, str]:
    try:
        rows = [line.partition(":") for line in path.read_text(errors="replace").splitlines()]
    except FileNotFoundError:
        return {}
    return {" ".join(key.split()): value.strip() for key, _, value in rows}


def _year(text: str | None, otherwise: int) -> int:
    return int(text[:4]) if text and text[:4].isdecimal() else otherwise
