"""Step prepare: from settings to run folders, BETY's rows and the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pecan_executor.configs import ENSEMBLE, RUN_TYPES, SENSITIVITY, RunContents, write_run
from pecan_executor.datafiles import inside
from pecan_executor.design import Point, design_of, draws
from pecan_executor.files import WorkflowFolder, make_directory, write_text, writing_table
from pecan_executor.plan import write_plan
from pecan_executor.sampling import Member, check_samples, draw_members, seed_of
from pecan_executor.saved_settings import save_configs
from pecan_executor.stages import Stage, Stages
from pecan_executor.traits import read_traits
from pecan_executor.varied import Varied, write_varied
from pecan_operator.core.pecanxml import Settings, inputs_at
from pecan_operator.errors import UserError
from pecan_operator.records import RunPlan


class BetyRows(Protocol):
    """What prepare needs of BETY; every call finds the rows an earlier one made."""

    def site(self, *, name: str, lat: float, lon: float) -> int: ...

    def place_workflow(self, workflow_id: int, site_id: int) -> None: ...

    def ensemble(self, *, workflow_id: int, runtype: str) -> int: ...

    def runs(self, ensemble_id: int, model_id: int, rows: Sequence[tuple[int, str, str, str, str]]) -> list[int]: ...


def prepare(settings: Settings, folder: WorkflowFolder, bety: BetyRows) -> list[RunPlan]:
    """Write the folders of all runs and the plan, and register sites, ensemble and runs in BETY.

    Those of a sensitivity analysis come first, as in PEcAn. Runs are ordered by member, then by site, so that a workflow
    that ends early has whole members. The plan is written last: where it is, everything is. Killed at any line and
    repeated, it gives the same run ids and files.

    Raises:
        UserError: an input file on the data volume is missing, a file of traits is wrong, a distribution gives no finite
            values, or there are more runs than a workflow may have.
        Unavailable: the database does not answer.
    """
    make_directory(folder.path)
    stages = Stages(folder)
    stages.start(Stage.TRAIT)
    for tag, path in dict.fromkeys(_paths(settings)):
        _check_input(tag, Path(path), settings, folder.data)
    traits = read_traits(settings)
    check_samples(settings, traits)
    analysis, members = settings.sensitivity_analysis, draw_members(settings, traits)
    design = design_of(settings, analysis, traits) if analysis else None
    drawn = draws(settings, traits) if design else {}
    stages.done(Stage.TRAIT)
    stages.start(Stage.CONFIG)
    site_ids = [bety.site(name=site.name, lat=site.lat, lon=site.lon) for site in settings.sites]
    if len(site_ids) == 1:
        bety.place_workflow(settings.workflow_id, site_ids[0])
    plans: list[RunPlan] = []
    ensemble_ids: dict[str, int] = {}
    if design:
        batch = _Batch(settings, folder, bety, site_ids, SENSITIVITY)
        ensemble_ids[SENSITIVITY] = batch.ensemble_id
        plans += batch.write([_varied(settings, point) for point in design.points()])
        varied = Varied(tuple(design.probabilities), design.values, drawn)
        write_varied(folder.path, str(batch.ensemble_id), varied)
    if settings.ensemble:
        batch = _Batch(settings, folder, bety, site_ids, ENSEMBLE)
        ensemble_ids[ENSEMBLE] = batch.ensemble_id
        plans += batch.write([_drawn(member) for member in members])
        _write_samples(folder.path / f"ensemble.samples.{batch.ensemble_id}.csv", settings, members)
    write_text(folder.run_list, "".join(f"{plan.run_id}\n" for plan in plans))
    save_configs(folder, settings, ensemble_ids)
    write_plan(folder.plan, plans)
    stages.done(Stage.CONFIG)
    return plans


@dataclass(frozen=True)
class _Variant:
    """A run at every site: BETY's parameter_list, what is in it, and what the plan says of it."""

    parameter_list: str
    contents: RunContents
    labels: dict[str, Any]


def _drawn(member: Member) -> _Variant:
    return _Variant(f"ensemble={member.number}", member, {"member": member.number})


def _varied(settings: Settings, point: Point) -> _Variant:
    if point.trait is None:
        text = f"quantile=MEDIAN,trait=all,pft={','.join(pft.name for pft in settings.pfts)}"
    else:
        text = f"quantile={point.quantile},trait={point.trait},pft={point.pft}"
    return _Variant(text, point, {"pft": point.pft, "trait": point.trait, "quantile": point.quantile})


class _Batch:
    """The runs of one of BETY's ensembles: those of the ensemble, or those of the sensitivity analysis."""

    def __init__(
        self, settings: Settings, folder: WorkflowFolder, bety: BetyRows, site_ids: Sequence[int], run_type: str
    ) -> None:
        self._settings, self._folder, self._bety = settings, folder, bety
        self._site_ids, self._run_type = site_ids, run_type
        self._sharing = Counter(site_ids)
        self.ensemble_id = bety.ensemble(workflow_id=settings.workflow_id, runtype=RUN_TYPES[run_type])

    def write(self, variants: Sequence[_Variant]) -> list[RunPlan]:
        """Register all variants at all sites and write their folders."""
        settings, folder = self._settings, self._folder
        start, end = settings.start_date.isoformat(), settings.end_date.isoformat()
        cells = [(variant, index) for variant in variants for index in range(len(settings.sites))]
        rows = [
            (self._site_ids[index], start, end, self._parameter_list(variant, index), "") for variant, index in cells
        ]
        run_ids = self._bety.runs(self.ensemble_id, settings.model.id, rows)
        make_directory(folder.run)
        make_directory(folder.out)
        expect = [f"{year}.nc" for year in range(settings.start_date.year, settings.end_date.year + 1)]
        plans = []
        for (variant, index), run_id in zip(cells, run_ids, strict=True):
            site = settings.sites[index]
            plan = RunPlan(
                run_id=str(run_id),
                folder=str(folder.run / str(run_id)),
                outdir=str(folder.out / str(run_id)),
                expect=expect,
                run_type=self._run_type,
                site_id=site.id,
                site_name=site.name,
                bety_run_id=run_id,
                **variant.labels,
            )
            write_run(settings, self.ensemble_id, site, variant.contents, plan)
            plans.append(plan)
        return plans

    def _parameter_list(self, variant: _Variant, index: int) -> str:
        """As PEcAn writes it, but where sites of one name and place share BETY's row: BETY wants its runs distinct."""
        text, shared = variant.parameter_list, self._sharing[self._site_ids[index]] > 1
        return f"{text},site={self._settings.sites[index].id}" if shared else text


def _paths(settings: Settings) -> Iterator[tuple[str, str]]:
    """The paths of all input tags at all sites."""
    for site in settings.sites:
        for tag, choice in inputs_at(settings, site).items():
            for path in choice.paths:
                yield tag, path


def _check_input(tag: str, path: Path, settings: Settings, data: Path) -> None:
    """Only files on the data volume can be seen from here; those inside the model image are checked by its adapter."""
    if not path.is_relative_to(data) or inside(path, data).exists():
        return
    years = range(settings.start_date.year, settings.end_date.year + 1)
    missing = [path.with_name(f"{path.name}.{year}.nc") for year in years]
    missing = [file for file in missing if not inside(file, data).exists()]
    if tag != "met" or len(missing) == len(years):
        form = f", neither as a file nor as {path.name}.<year>.nc" if tag == "met" else ""
        raise UserError("InputMissing", f"inputs.{tag}: {path} does not exist{form}: put it on the data volume")
    if missing:
        raise UserError("InputMissing", f"inputs.{tag}: {missing[0]} does not exist, but the run needs that year")


def _write_samples(path: Path, settings: Settings, members: Sequence[Member]) -> None:
    columns = [(pft, trait) for pft, traits in members[0].traits.items() for trait in traits]
    tags = list(settings.inputs)
    with writing_table(path) as writer:
        writer.writerow(
            ["seed", "member", *(f"{pft}.{trait}" for pft, trait in columns), *(f"input.{tag}" for tag in tags)]
        )
        seed = seed_of(settings)
        writer.writerows(
            [seed, member.number, *(member.traits[p][t] for p, t in columns), *(member.inputs[tag] for tag in tags)]
            for member in members
        )
