"""Step analyse: from the runs' outputs to ensemble statistics, sensitivities, figures and headline numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import date
from itertools import chain, islice
from pathlib import Path
from typing import Any

from netCDF4 import Dataset

from pecan_executor.analyse_sensitivity import analyse_sensitivity
from pecan_executor.collect import Collected, Collector, LeftOut, Part, Reader
from pecan_executor.configs import ENSEMBLE, RUN_TYPES, SENSITIVITY
from pecan_executor.ensemble import Period, Statistics, summarise_array
from pecan_executor.files import WorkflowFolder, write_text, writing_table
from pecan_executor.maps import SiteFiles
from pecan_executor.parallel import Apart, Writer, processes_for
from pecan_executor.pictures import Pictures, drawn_statistics
from pecan_executor.plan import RunStatus, read_plan, read_states
from pecan_executor.report import headline, yearly_rows
from pecan_executor.stages import Stage, Stages
from pecan_executor.variable_lists import list_variables
from pecan_executor.writers import PlaceResult, Subject, VariableFiles, subject_of
from pecan_operator.core.pecanxml import Ensemble, SensitivityAnalysis, Settings, Site, inputs_at
from pecan_operator.errors import UserError
from pecan_operator.records import RunPlan


def analyse(settings: Settings, folder: WorkflowFolder) -> tuple[dict[str, Any], list[LeftOut]]:
    """Verify all outputs and write statistics, figures and headline numbers; returns the last and the runs left out.

    A part (ensemble, sensitivity analysis) of which no run can be used is a caveat of the other. Raises UserError when a
    variable that was asked for was written by no run, or when no run of either part can be used.
    """
    stages = Stages(folder)
    plans, states = read_plan(folder), read_states(folder)
    stages.start(Stage.OUTPUT)
    list_variables(plans, states)
    stages.done(Stage.OUTPUT)
    caveats = dict.fromkeys(_met_caveats(settings))
    results: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    left_out: list[LeftOut] = []
    parts: dict[str, Part] = {}
    if settings.ensemble:
        stages.start(Stage.ENSEMBLE)
        part = parts[ENSEMBLE] = _part(settings, settings.ensemble, ENSEMBLE, plans, states, caveats)
        rows, missing = _analyse_ensemble(settings, settings.ensemble, folder, part)
        results["ensembleId"] = part.ensemble_id
        left_out += missing
        stages.done(Stage.ENSEMBLE)
    if settings.sensitivity_analysis:
        stages.start(Stage.SENSITIVITY)
        part = parts[SENSITIVITY] = _part(settings, settings.sensitivity_analysis, SENSITIVITY, plans, states, caveats)
        results["sensitivityAnalysis"], missing = analyse_sensitivity(settings, folder.path, part)
        left_out += missing
        stages.done(Stage.SENSITIVITY)
    unusable = _unusable(parts, left_out)
    results = headline(results, len(plans), len(left_out), rows, [*unusable, *caveats])
    write_text(folder.results, json.dumps(results) + "\n")
    return results, left_out


def _unusable(parts: Mapping[str, Part], left_out: Sequence[LeftOut]) -> list[str]:
    unusable = {run_type: part for run_type, part in parts.items() if not part.reader.variables}
    if len(unusable) == len(parts):
        example = left_out[0]
        raise UserError(
            "NoRunUsable",
            f"none of the {len(left_out)} runs can be analysed; run {example.plan.run_id}: {example.reason}",
        )
    return [
        f"none of the {len(part.plans)} runs of the {RUN_TYPES[run_type]} can be used"
        for run_type, part in unusable.items()
    ]


def _analyse_ensemble(
    settings: Settings, ensemble: Ensemble, folder: WorkflowFolder, part: Part
) -> tuple[list[dict[str, Any]], list[LeftOut]]:
    reader = part.reader
    collector = Collector(settings, ensemble, part, folder.path)
    places = collector.places()
    # the variables' units are known once a run is read
    first = list(islice(places, 1))
    subjects = [
        subject_of(settings, folder.path, part, variable, ensemble.size) for variable in reader.variables.values()
    ]
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        figures: Writer[list[_Shown]] = _Figures(subjects, settings.sites)
        if processes_for(len(part.plans)) > 1:
            figures = Apart(figures)
        stack.enter_context(figures)
        tables = [stack.enter_context(VariableFiles(subject)) for subject in subjects]
        for collected in chain(first, places):
            shown = []
            for subject, files in zip(subjects, tables, strict=True):
                name = subject.variable.name
                result = _place_result(collected, name)
                files.write(result)
                rows += yearly_rows(subject, result)
                shown.append((result, drawn_statistics(part.period, collected.daily[name])))
            figures.add(shown)
    _write_members(folder.path / f"ensemble.members.{part.ensemble_id}.csv", part.plans, collector.left_out)
    return rows, collector.left_out


_Shown = tuple[PlaceResult, Statistics]
"""A variable at one place, with what is drawn of it."""


class _Figures:
    """Figures of all variables, and what is beside each other of the sites; they appear when the block ends."""

    def __init__(self, subjects: Sequence[Subject], sites: Sequence[Site]) -> None:
        self._subjects, self._sites = subjects, sites

    def __enter__(self) -> _Figures:
        with ExitStack() as stack:
            self._files = [
                (
                    stack.enter_context(SiteFiles(subject, self._sites)),
                    stack.enter_context(Pictures(subject, len(self._sites))),
                )
                for subject in self._subjects
            ]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add(self, shown: Sequence[_Shown]) -> None:
        """Take up one place, in the order of the variables."""
        for (sites, pictures), (result, drawn) in zip(self._files, shown, strict=True):
            sites.add(result)
            pictures.draw(result, drawn)


def _part(
    settings: Settings,
    what: Ensemble | SensitivityAnalysis,
    run_type: str,
    plans: Sequence[RunPlan],
    states: Mapping[str, RunStatus],
    caveats: dict[str, None],
) -> Part:
    period = analysed_period(settings, what)
    own = tuple(plan for plan in plans if plan.run_type == run_type)
    return Part(_ensemble_id(own), own, Reader(settings, states, what.variables, period, caveats), period)


def analysed_period(settings: Settings, what: Ensemble | SensitivityAnalysis) -> Period:
    """The days of the run that lie within the years of the analysis."""
    first_year = what.start_year or settings.start_date.year
    last_year = what.end_year or settings.end_date.year
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
    sites = (inputs_at(settings, site)["met"].paths for site in settings.sites)
    for prefix in dict.fromkeys(chain.from_iterable(sites)):
        for path in (Path(prefix), Path(f"{prefix}.{settings.start_date.year}.nc")):
            # weather that is gone or not netCDF has no caveats to tell
            with suppress(OSError), Dataset(path) as dataset:
                yield from (line.strip() for line in getattr(dataset, "caveats", "").splitlines() if line.strip())


def _write_members(path: Path, plans: Sequence[RunPlan], left_out: Sequence[LeftOut]) -> None:
    reasons = {item.plan.run_id: item.reason for item in left_out}
    with writing_table(path) as writer:
        writer.writerow(["run_id", "site_id", "member", "used", "reason"])
        for plan in plans:
            reason = reasons.get(plan.run_id)
            writer.writerow([plan.run_id, plan.site_id, plan.member, "no" if reason else "yes", reason or ""])
