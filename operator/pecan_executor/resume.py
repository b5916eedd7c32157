"""Step resume: what became of the runs, for the analysis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pecan_executor.files import WorkflowFolder, make_directory
from pecan_executor.plan import RunStatus, write_states
from pecan_executor.stages import Stages
from pecan_operator.records import RunPlan, RunState


class StateLedger(Protocol):
    """What resume needs of the ledger."""

    def run_states(self, workflow_id: int) -> Sequence[tuple[RunPlan, RunState, int, int | None, str | None]]: ...

    def last_run_finished_at(self, workflow_id: int) -> datetime | None: ...


def resume(workflow_id: int, folder: WorkflowFolder, ledger: StateLedger) -> int:
    """What the light executor needs to analyse; returns how many runs succeeded."""
    succeeded = record_states(workflow_id, folder, ledger)
    if (last := ledger.last_run_finished_at(workflow_id)) is not None:
        Stages(folder).models_ran(last)
    return succeeded


def record_states(workflow_id: int, folder: WorkflowFolder, ledger: StateLedger) -> int:
    """Write the states of all runs; returns how many succeeded.

    Output of runs that were given up moves to out/<id>/failed/, so that nobody takes half a run for a whole one.
    """
    states = []
    for plan, state, attempt, exit_code, last_error in ledger.run_states(workflow_id):
        states.append((plan.run_id, RunStatus(state, attempt, exit_code, last_error)))
        if state in (RunState.FAILED, RunState.CANCELLED):
            _set_aside(Path(plan.outdir))
    write_states(folder, states)
    return sum(status.state is RunState.SUCCEEDED for _, status in states)


def _set_aside(outdir: Path) -> None:
    leftovers = [*outdir.glob("*.nc"), *outdir.glob("*.nc.var")]
    if leftovers:
        make_directory(outdir / "failed")
    for file in leftovers:
        file.replace(outdir / "failed" / file.name)
