"""Step register: the plan goes into the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pecan_executor.files import WorkflowFolder
from pecan_executor.plan import read_plan
from pecan_operator.records import RunPlan


class RunLedger(Protocol):
    """What register needs of the ledger."""

    def register_runs(self, workflow_id: int, runs: Sequence[RunPlan]) -> int: ...


def register(workflow_id: int, folder: WorkflowFolder, ledger: RunLedger) -> int:
    """Register all runs of the plan; returns how many there are. Repeating it changes nothing."""
    plans = read_plan(folder)
    ledger.register_runs(workflow_id, plans)
    return len(plans)
