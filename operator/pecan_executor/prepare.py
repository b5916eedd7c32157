"""Step prepare: from settings to run folders, BETY's rows and the plan."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pecan_executor.configs import write_run
from pecan_executor.files import WorkflowFolder, make_directory, replacing, write_text
from pecan_executor.plan import write_plan
from pecan_executor.sampling import Member, check_samples, draw_members, seed_of
from pecan_executor.traits import read_traits
from pecan_operator.core.pecanxml import Input, Settings
from pecan_operator.errors import UserError
from pecan_operator.records import RunPlan

RUN_TYPE = "ensemble"


class BetyRows(Protocol):
    """What prepare needs of BETY; every call finds the rows an earlier one made."""

    def site(self, *, name: str, lat: float, lon: float) -> int: ...

    def ensemble(self, *, workflow_id: int, runtype: str) -> int: ...

    def runs(self, ensemble_id: int, model_id: int, rows: Sequence[tuple[int, str, str, str, str]]) -> list[int]: ...


def prepare(settings: Settings, folder: WorkflowFolder, bety: BetyRows) -> list[RunPlan]:
    """Write the folders of all runs and the plan, and register sites, ensemble and runs in BETY.

    Runs are ordered by member, then by site, so that a workflow that ends early has whole members. The plan is written
    last: where it is, everything is. Killed at any line and repeated, it gives the same run ids and files.

    Raises:
        UserError: an input file on the data volume is missing, a file of traits is wrong, or a distribution gives no
            finite values.
        Unavailable: the database does not answer.
    """
    for tag, choice in settings.inputs.items():
        _check_input(tag, choice, settings, folder.data)
    traits = read_traits(settings)
    check_samples(settings, traits)
    members = draw_members(settings, traits)
    site_ids = [bety.site(name=site.name, lat=site.lat, lon=site.lon) for site in settings.sites]
    ensemble_id = bety.ensemble(workflow_id=settings.workflow_id, runtype=RUN_TYPE)
    start, end = settings.start_date.isoformat(), settings.end_date.isoformat()
    cells = [(member, index) for member in members for index in range(len(settings.sites))]
    rows = [(site_ids[index], start, end, _parameter_list(settings, member, index), "") for member, index in cells]
    run_ids = bety.runs(ensemble_id, settings.model.id, rows)
    make_directory(folder.run)
    make_directory(folder.out)
    expect = [f"{year}.nc" for year in range(settings.start_date.year, settings.end_date.year + 1)]
    plans = []
    for (member, index), run_id in zip(cells, run_ids, strict=True):
        site = settings.sites[index]
        plan = RunPlan(
            run_id=str(run_id),
            folder=str(folder.run / str(run_id)),
            outdir=str(folder.out / str(run_id)),
            expect=expect,
            run_type=RUN_TYPE,
            site_id=site.id,
            site_name=site.name,
            member=member.number,
            bety_run_id=run_id,
        )
        write_run(settings, ensemble_id, site, member, plan)
        plans.append(plan)
    _write_samples(folder.path / f"ensemble.samples.{ensemble_id}.csv", settings, members)
    write_text(folder.run_list, "".join(f"{plan.run_id}\n" for plan in plans))
    write_plan(folder.plan, plans)
    return plans


def _parameter_list(settings: Settings, member: Member, index: int) -> str:
    text = f"ensemble={member.number}"
    # two sites of one name and place share BETY's row, and BETY wants its runs distinct
    return text if len(settings.sites) == 1 else f"{text},site={settings.sites[index].id}"


def _check_input(tag: str, choice: Input, settings: Settings, data: Path) -> None:
    """Only files on the data volume can be seen from here; those inside the model image are checked by its adapter."""
    for path in map(Path, choice.paths):
        if not path.is_relative_to(data) or path.exists():
            continue
        years = range(settings.start_date.year, settings.end_date.year + 1)
        missing = [path.with_name(f"{path.name}.{year}.nc") for year in years]
        missing = [file for file in missing if not file.exists()]
        if tag != "met" or len(missing) == len(years):
            form = f", neither as a file nor as {path.name}.<year>.nc" if tag == "met" else ""
            raise UserError("InputMissing", f"inputs.{tag}: {path} does not exist{form}: put it on the data volume")
        if missing:
            raise UserError("InputMissing", f"inputs.{tag}: {missing[0]} does not exist, but the run needs that year")


def _write_samples(path: Path, settings: Settings, members: Sequence[Member]) -> None:
    columns = [(pft, trait) for pft, traits in members[0].traits.items() for trait in traits]
    tags = list(settings.inputs)
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["seed", "member", *(f"{pft}.{trait}" for pft, trait in columns), *(f"input.{tag}" for tag in tags)]
        )
        seed = seed_of(settings)
        writer.writerows(
            [seed, member.number, *(member.traits[p][t] for p, t in columns), *(member.inputs[tag] for tag in tags)]
            for member in members
        )
