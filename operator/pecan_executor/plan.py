"""The list of runs that prepare leaves for the ledger, and the states that resume leaves for the analysis."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pecan_executor.files import WorkflowFolder, replacing, write_text
from pecan_operator.errors import UserError
from pecan_operator.records import RunPlan, RunState


@dataclass(frozen=True)
class RunStatus:
    """How a run stands in the ledger."""

    state: RunState
    attempt: int
    exit_code: int | None
    last_error: str | None


def write_plan(path: Path, plans: Iterable[RunPlan]) -> None:
    """Write run/plan.jsonl: one RunPlan a line, in the order in which runs are to be published."""
    with replacing(path) as temporary, temporary.open("w") as file:
        for plan in plans:
            file.write(json.dumps(vars(plan)) + "\n")


def read_plan(folder: WorkflowFolder) -> list[RunPlan]:
    """The runs of a prepared folder.

    Raises UserError when there is none (prepare has not finished) or it is damaged.
    """
    try:
        lines = folder.plan.read_text().splitlines()
    except FileNotFoundError:
        raise UserError("PlanMissing", f"{folder.plan} is missing: run the step prepare first") from None
    try:
        return [RunPlan(**json.loads(line)) for line in lines]
    except (TypeError, ValueError) as error:
        raise UserError("PlanDamaged", f"{folder.plan} is damaged ({error}): run the step prepare again") from None


def write_states(folder: WorkflowFolder, states: Sequence[tuple[str, RunStatus]]) -> None:
    """Write the state of every run, by run id."""
    document = {run_id: vars(status) for run_id, status in states}
    write_text(folder.states, json.dumps(document, indent=0) + "\n")


def read_states(folder: WorkflowFolder) -> dict[str, RunStatus]:
    """The state of every run, by run id; raises UserError when resume has not written it."""
    try:
        document = json.loads(folder.states.read_text())
    except FileNotFoundError:
        raise UserError("StatesMissing", f"{folder.states} is missing: run the step resume first") from None
    return {
        run_id: RunStatus(RunState(row["state"]), row["attempt"], row["exit_code"], row["last_error"])
        for run_id, row in document.items()
    }
