"""Step analyse: from the runs' outputs to ensemble statistics, figures and headline numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

from netCDF4 import Dataset

from pecan_executor.collect import Collected, Collector, LeftOut
from pecan_executor.ensemble import Period, summarise_array
from pecan_executor.files import WorkflowFolder, replacing, write_text
from pecan_executor.pictures import Pictures
from pecan_executor.plan import read_plan, read_states
from pecan_executor.report import headline, yearly_rows
from pecan_executor.units import presentation
from pecan_executor.writers import PlaceResult, Subject, VariableFiles
from pecan_operator.core.pecanxml import Settings
from pecan_operator.errors import UserError
from pecan_operator.records import RunPlan


def analyse(settings: Settings, folder: WorkflowFolder) -> tuple[dict[str, Any], list[LeftOut]]:
    """Verify all outputs and write statistics, figures and headline numbers; returns the last and the runs left out.

    Raises UserError when a variable that was asked for was written by no run, or when no run can be used.
    """
    plans = read_plan(folder)
    period = analysed_period(settings)
    collector = Collector(settings, plans, read_states(folder), period, folder.path)
    ensemble_id = _ensemble_id(plans)
    collector.caveats.update(dict.fromkeys(_met_caveats(settings)))
    places = collector.places()
    first = next(places)
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        outputs = []
        for variable in collector.variables.values():
            subject = Subject(
                folder=folder.path,
                ensemble_id=ensemble_id,
                variable=variable,
                shown=presentation(variable.units),
                period=period,
                model=f"{settings.model.type} {settings.model.revision}",
                workflow_id=settings.workflow_id,
                planned=settings.ensemble.size,
                caveats=tuple(collector.caveats),
            )
            files = stack.enter_context(VariableFiles(subject))
            outputs.append((subject, files, stack.enter_context(Pictures(subject))))
        for collected in chain((first,), places):
            for subject, files, pictures in outputs:
                result = _place_result(collected, subject.variable.name)
                files.write(result)
                pictures.draw(result, collected.daily[subject.variable.name])
                rows += yearly_rows(subject, result)
    _write_members(folder.path / f"ensemble.members.{ensemble_id}.csv", plans, collector.left_out)
    results = headline(ensemble_id, len(plans), len(collector.left_out), rows, collector.caveats)
    write_text(folder.results, json.dumps(results) + "\n")
    return results, collector.left_out


def analysed_period(settings: Settings) -> Period:
    """The days of the run that lie within the years of the analysis."""
    first_year = settings.ensemble.start_year or settings.start_date.year
    last_year = settings.ensemble.end_year or settings.end_date.year
    return Period(max(settings.start_date, date(first_year, 1, 1)), min(settings.end_date, date(last_year, 12, 31)))


def _place_result(collected: Collected, name: str) -> PlaceResult:
    return PlaceResult(
        place=collected.place,
        members=collected.members,
        run_ids=collected.run_ids,
        yearly=collected.yearly[name],
        yearly_statistics=summarise_array(collected.yearly[name]),
        daily_statistics=summarise_array(collected.daily[name]),
    )


def _ensemble_id(plans: Sequence[RunPlan]) -> str:
    config = Path(plans[0].folder) / "config.json"
    try:
        return str(json.loads(config.read_text())["ensemble_id"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError("PlanDamaged", f"{config} cannot be read ({error}): run the step prepare again") from None


def _met_caveats(settings: Settings) -> Iterator[str]:
    """What the weather files say against themselves, in their global attribute `caveats`."""
    for prefix in settings.inputs["met"].paths:
        for path in (Path(prefix), Path(f"{prefix}.{settings.start_date.year}.nc")):
            # weather that is gone or not netCDF has no caveats to tell
            with suppress(OSError), Dataset(path) as dataset:
                yield from (line.strip() for line in getattr(dataset, "caveats", "").splitlines() if line.strip())


def _write_members(path: Path, plans: Sequence[RunPlan], left_out: Sequence[LeftOut]) -> None:
    reasons = {item.plan.run_id: item.reason for item in left_out}
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run_id", "site_id", "member", "used", "reason"])
        for plan in plans:
            reason = reasons.get(plan.run_id)
            writer.writerow([plan.run_id, plan.site_id, plan.member, "no" if reason else "yes", reason or ""])
