"""Collects what the runs wrote, site by site, and says which runs cannot be used and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pecan_executor.ensemble import Period, member_array, yearly
from pecan_executor.outputs import BrokenRun, RunOutput, RunReader, Variable, VariablesMissing, check_magnitudes
from pecan_executor.parallel import in_order, processes_for
from pecan_executor.plan import RunStatus
from pecan_executor.units import presentation
from pecan_operator.core.pecanxml import Ensemble, Settings, Site
from pecan_operator.errors import UserError
from pecan_operator.records import RunPlan, RunState

ALL_SITES = "all"
"""In place of a site id: the mean over all sites of every member that is whole at all of them."""


@dataclass(frozen=True)
class Place:
    """A site, or all of them together (then latitude and longitude are NaN)."""

    id: str
    name: str
    lat: float
    lon: float


@dataclass(frozen=True)
class LeftOut:
    """A planned run that the statistics do not contain, and why."""

    plan: RunPlan
    reason: str


@dataclass(frozen=True)
class Collected:
    """Whole members at one place (run ids are empty for all sites together) with their values by variable, a row a
    member: daily means in standard units, and years in the units in which years are shown."""

    place: Place
    members: tuple[int, ...]
    run_ids: tuple[str, ...]
    daily: dict[str, NDArray[np.float32]]
    yearly: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Refusal:
    """Why a run cannot be used; where variables are `missing` those that are `available`."""

    reason: str
    missing: tuple[str, ...] = ()
    available: tuple[str, ...] = ()


class Reader:
    """Reads runs of one part of a workflow and verifies them; `variables` and `caveats`, which parts share, grow with what
    they say."""

    def __init__(
        self,
        settings: Settings,
        states: Mapping[str, RunStatus],
        names: Sequence[str],
        period: Period,
        caveats: dict[str, None],
    ) -> None:
        self._first, self._states, self._period = settings.start_date, states, period
        self._runs = RunReader(names, settings.start_date, settings.end_date)
        self._lacking: Refusal | None = None
        self.variables: dict[str, Variable] = {}
        self.caveats = caveats

    def read(self, plans: Sequence[RunPlan]) -> Iterator[RunOutput | Refusal]:
        """The outputs of runs, cut to the period of the analysis, or why they cannot be used; in the order of the plans."""
        for outcome in in_order(self._attempt, plans, processes_for(len(plans))):
            if isinstance(outcome, Refusal):
                self._lacking = outcome if outcome.missing else self._lacking
                yield outcome
            else:
                yield self._admitted(outcome)

    def _attempt(self, plan: RunPlan) -> RunOutput | Refusal:
        """May be called in another process, where nothing that is kept here changes."""
        status = self._states.get(plan.run_id)
        if status is None:
            return Refusal("is not in the ledger")
        if status.state is not RunState.SUCCEEDED:
            return Refusal(f"{status.state}: {status.last_error}" if status.last_error else str(status.state))
        try:
            output = self._runs.read(Path(plan.outdir))
            check_magnitudes(output, self._first)
        except VariablesMissing as error:
            return Refusal(str(error), error.missing, error.available)
        except BrokenRun as error:
            return Refusal(str(error))
        start = (self._period.first - self._first).days
        cut = {name: values[start : start + self._period.days] for name, values in output.daily.items()}
        return RunOutput(output.variables, cut, output.caveats)

    def _admitted(self, output: RunOutput) -> RunOutput | Refusal:
        for name, variable in output.variables.items():
            known = self.variables.get(name, variable)
            if known.units != variable.units:
                return Refusal(f"gives {name} in {variable.units}, other runs in {known.units}")
        self.variables = output.variables | self.variables
        self.caveats.update(dict.fromkeys(output.caveats))
        return output

    def yearly(self, output: RunOutput, name: str) -> NDArray[np.float64]:
        """Values of a variable by year, in the units in which years are shown."""
        return yearly(output.daily[name], self._period, presentation(self.variables[name].units))

    def check_variables(self, part: str) -> None:
        """Raises UserError when a variable that a part (ensemble, sensitivityAnalysis) asks for was written by no run."""
        if self._lacking and not self.variables:
            missing, available = ", ".join(self._lacking.missing), ", ".join(sorted(self._lacking.available))
            raise UserError(
                "VariableMissing", f"{part}.variables: the model writes no {missing}; it writes {available}"
            )


@dataclass(frozen=True)
class Part:
    """The runs of an ensemble, or of a sensitivity analysis, and what is analysed of them."""

    ensemble_id: str
    plans: tuple[RunPlan, ...]
    reader: Reader
    period: Period


class Collector:
    """One pass over the runs of an ensemble; only one place's daily values are held at a time.

    `left_out` and what the reader knows grow as places are taken.
    """

    def __init__(self, settings: Settings, ensemble: Ensemble, part: Part, scratch: Path) -> None:
        self._settings, self._ensemble, self._plans = settings, ensemble, part.plans
        self._reader, self._period, self._scratch = part.reader, part.period, scratch
        self.left_out: list[LeftOut] = []

    def places(self) -> Iterator[Collected]:
        """Every site with at least one whole member, then all sites together when there are several.

        Raises UserError when a variable that was asked for was written by no run.
        """
        sites = self._settings.sites
        plans: dict[str, list[RunPlan]] = {site.id: [] for site in sites}
        for plan in self._plans:
            plans[plan.site_id].append(plan)
        mean = _Together(len(sites), self._ensemble, self._period, self._scratch) if len(sites) > 1 else None
        outcomes = self._reader.read(list(chain.from_iterable(plans.values())))
        for site in sites:
            collected = self._collect(place_of(site), plans[site.id], outcomes)
            if collected.members:
                if mean:
                    mean.add(collected)
                yield collected
        self._reader.check_variables("ensemble")
        if mean and (whole := mean.collected()).members:
            yield whole

    def _collect(self, place: Place, plans: Sequence[RunPlan], outcomes: Iterator[RunOutput | Refusal]) -> Collected:
        names = self._ensemble.variables
        daily = {name: member_array(len(plans), self._period.days, self._scratch) for name in names}
        years = {name: np.empty((len(plans), len(self._period.years))) for name in names}
        used: list[RunPlan] = []
        for plan, outcome in zip(plans, islice(outcomes, len(plans)), strict=True):
            if isinstance(outcome, Refusal):
                self.left_out.append(LeftOut(plan, outcome.reason))
                continue
            for name, values in outcome.daily.items():
                daily[name][len(used)] = values
                years[name][len(used)] = self._reader.yearly(outcome, name)
            used.append(plan)
        return Collected(
            place,
            tuple(plan.member or 1 for plan in used),
            tuple(plan.run_id for plan in used),
            {name: values[: len(used)] for name, values in daily.items()},
            {name: values[: len(used)] for name, values in years.items()},
        )


def place_of(site: Site) -> Place:
    """A site as a place."""
    return Place(site.id, site.name, site.lat, site.lon)


def together(sites: int) -> Place:
    """All sites as one place."""
    return Place(ALL_SITES, f"mean of {sites} sites", np.nan, np.nan)


class _Together:
    """Adds up members over the sites."""

    def __init__(self, sites: int, ensemble: Ensemble, period: Period, scratch: Path) -> None:
        size, names = ensemble.size, ensemble.variables
        self._sites = sites
        self._seen = np.zeros(size, dtype=int)
        self._daily = {name: member_array(size, period.days, scratch) for name in names}
        self._yearly = {name: np.zeros((size, len(period.years))) for name in names}

    def add(self, collected: Collected) -> None:
        for row, member in enumerate(collected.members):
            at = member - 1
            for name, daily in self._daily.items():
                daily[at] += collected.daily[name][row] / self._sites
                self._yearly[name][at] += collected.yearly[name][row] / self._sites
            self._seen[at] += 1

    def collected(self) -> Collected:
        """The mean over all sites of every member that is whole at all of them."""
        whole = np.flatnonzero(self._seen == self._sites)
        return Collected(
            together(self._sites),
            tuple((whole + 1).tolist()),
            ("",) * len(whole),
            {name: values[whole] for name, values in self._daily.items()},
            {name: values[whole] for name, values in self._yearly.items()},
        )
