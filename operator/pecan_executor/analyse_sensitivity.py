"""The sensitivity analysis of a workflow: from the runs' outputs to tables and figures, by variable, site and PFT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pecan_executor.collect import ALL_SITES, LeftOut, Part, Place, Refusal, place_of, together
from pecan_executor.design import MEDIAN
from pecan_executor.files import make_directory, writing_table
from pecan_executor.outputs import RunOutput
from pecan_executor.pictures import MOST_PAGES, Pages
from pecan_executor.sensitivity import Effect, Response, decompose
from pecan_executor.sensitivity_plots import curves_figure, decomposition_figure
from pecan_executor.varied import Varied, read_varied
from pecan_executor.writers import Subject, subject_of
from pecan_operator.core.pecanxml import Settings
from pecan_operator.records import RunPlan

RESULT_COLUMNS = ("cv", "sensitivity", "elasticity", "variance", "partial_variance")

Key = tuple[str | None, str | None, str]


@dataclass(frozen=True)
class _Outcome:
    """What became of a run: its output by variable, the mean over the years, or why there is none."""

    run_id: str
    outputs: Mapping[str, float]
    reason: str = ""


@dataclass(frozen=True)
class _Observed:
    """The runs at one place, by (PFT, trait, quantile)."""

    place: Place
    outcomes: Mapping[Key, _Outcome]


def analyse_sensitivity(settings: Settings, folder: Path, part: Part) -> tuple[dict[str, int | str], list[LeftOut]]:
    """Write tables and figures of all variables, sites and PFTs; returns counts for the headline and the runs left out.

    Traits that cannot be analysed at a site are named and left out. Raises UserError when a variable that was asked for
    was written by no run, or when what the runs were prepared with is missing.
    """
    left_out: list[LeftOut] = []
    observed = list(_observe(settings, part, left_out))
    part.reader.check_variables("sensitivityAnalysis")
    varied = read_varied(folder, part.ensemble_id)
    without: set[tuple[str, str]] = set()
    for variable in part.reader.variables.values():
        subject = subject_of(settings, folder, part, variable, len(part.plans) // len(settings.sites))
        with _VariableFiles(subject, varied) as files:
            for place in observed:
                effects = decompose(list(_responses(varied, place, variable.name)))
                without |= {(one.response.pft, one.response.trait) for one in effects if one.spline is None}
                files.write(place, effects)
    return {
        "ensembleId": part.ensemble_id,
        "runs": len(part.plans),
        "used": len(part.plans) - len(left_out),
        "traits": len(varied.values),
        "traitsLeftOut": len(without) if part.reader.variables else len(varied.values),
    }, left_out


def _observe(settings: Settings, part: Part, left_out: list[LeftOut]) -> Iterator[_Observed]:
    """Every site, then all sites together when there are several."""
    sites: dict[str, dict[Key, _Outcome]] = {site.id: {} for site in settings.sites}
    for plan, found in zip(part.plans, part.reader.read(part.plans), strict=True):
        outcome = _outcome(part, plan, found)
        if outcome.reason:
            left_out.append(LeftOut(plan, outcome.reason))
        sites[plan.site_id][plan.pft, plan.trait, plan.quantile or MEDIAN] = outcome
    for site in settings.sites:
        yield _Observed(place_of(site), sites[site.id])
    if len(sites) > 1:
        everywhere = list(sites.values())
        yield _Observed(together(len(sites)), {key: _mean([one[key] for one in everywhere]) for key in everywhere[0]})


def _outcome(part: Part, plan: RunPlan, found: RunOutput | Refusal) -> _Outcome:
    if isinstance(found, Refusal):
        return _Outcome(plan.run_id, {}, found.reason)
    return _Outcome(plan.run_id, {name: float(part.reader.yearly(found, name).mean()) for name in found.daily})


def _mean(outcomes: Sequence[_Outcome]) -> _Outcome:
    missing = [outcome.run_id for outcome in outcomes if outcome.reason]
    if missing:
        return _Outcome("", {}, f"not usable at {len(missing)} of {len(outcomes)} sites, such as run {missing[0]}")
    names = outcomes[0].outputs
    return _Outcome("", {name: float(np.mean([outcome.outputs[name] for outcome in outcomes])) for name in names})


def _outcome_at(observed: _Observed, pft: str, trait: str, quantile: str) -> _Outcome:
    return observed.outcomes[(None, None, MEDIAN) if quantile == MEDIAN else (pft, trait, quantile)]


def _responses(varied: Varied, observed: _Observed, variable: str) -> Iterator[Response]:
    for (pft, trait), values in varied.values.items():
        outcomes = [_outcome_at(observed, pft, trait, name) for name in varied.names]
        outputs = np.array([outcome.outputs.get(variable, np.nan) for outcome in outcomes])
        yield Response(pft, trait, values, outputs, varied.names.index(MEDIAN), varied.draws[pft, trait])


class _VariableFiles:
    """Tables of one variable, and a pair of picture files for each PFT; they appear when the block ends."""

    def __init__(self, subject: Subject, varied: Varied) -> None:
        self._subject, self._names = subject, varied.names
        self._pfts = list(dict.fromkeys(pft for pft, _ in varied.values))
        self._stack = ExitStack()
        self._drawn = 0

    def __enter__(self) -> _VariableFiles:
        with ExitStack() as stack:
            self._results = self._csv(
                stack, "results", ["site_id", "pft", "trait", "runs", "units", *RESULT_COLUMNS, "left_out"]
            )
            self._outputs = self._csv(
                stack,
                "output",
                ["site_id", "pft", "trait", "quantile", "value", "run_id", "units", "output", "left_out"],
            )
            self._curves = {pft: stack.enter_context(self._pages(pft, "analysis", "sensitivity")) for pft in self._pfts}
            self._shares = {
                pft: stack.enter_context(self._pages(pft, "decomposition", "variance")) for pft in self._pfts
            }
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, observed: _Observed, effects: Sequence[Effect]) -> None:
        """Add one place to all files."""
        units, place = self._subject.shown.yearly_units, observed.place
        for effect in effects:
            response = effect.response
            numbers = [_cell(getattr(effect, column)) for column in RESULT_COLUMNS]
            runs = int(np.isfinite(response.outputs).sum())
            self._results.writerow([place.id, response.pft, response.trait, runs, units, *numbers, effect.reason])
            for at, name in enumerate(self._names):
                outcome = _outcome_at(observed, response.pft, response.trait, name)
                cells = [response.values[at], outcome.run_id, units, _cell(response.outputs[at]), outcome.reason]
                self._outputs.writerow([place.id, response.pft, response.trait, name, *cells])
        if self._drawn < MOST_PAGES or place.id == ALL_SITES:
            self._draw(place, effects)

    def _draw(self, place: Place, effects: Sequence[Effect]) -> None:
        for pft in self._pfts:
            own = [effect for effect in effects if effect.response.pft == pft]
            if any(effect.spline for effect in own):
                self._curves[pft].add(curves_figure(self._subject, place, own))
                self._shares[pft].add(decomposition_figure(self._subject, place, own))
        self._drawn += 1

    def _csv(self, stack: ExitStack, kind: str, header: list[str]) -> Any:
        writer = stack.enter_context(writing_table(self._subject.path(kind, ".csv", "sensitivity")))
        writer.writerow(header)
        return writer

    def _pages(self, pft: str, kind: str, family: str) -> Pages:
        folder = self._subject.folder / "pft" / pft
        make_directory(folder)
        subject = replace(self._subject, folder=folder)
        return Pages(subject.path(kind, ".pdf", family), subject.path(kind, ".png", family))


def _cell(value: float) -> float | str:
    return float(value) if np.isfinite(value) else ""
