"""Step register: the plan goes into the ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from pecan_executor import settings as pecan_settings
from pecan_executor.files import WorkflowFolder
from pecan_executor.plan import read_plan
from pecan_executor.stages import Stage, Stages
from pecan_operator.records import RunPlan


class RunLedger(Protocol):
    """What register needs of the ledger."""

    def report_settings(
        self, workflow_id: int, *, start_date: str, end_date: str, stop_on_error: bool, ignored: Sequence[str]
    ) -> None: ...

    def register_runs(self, workflow_id: int, runs: Sequence[RunPlan]) -> int: ...


def register(workflow_id: int, folder: WorkflowFolder, ledger: RunLedger) -> int:
    """Register all runs of the plan; returns how many there are. Repeating it changes nothing.

    What the operator could not read, for the user's pecan.xml is on the data volume, is reported first.
    """
    plans = read_plan(folder)
    Stages(folder).start(Stage.MODEL)
    if folder.ignored.exists():
        settings = pecan_settings.read(folder.settings)
        ledger.report_settings(
            workflow_id,
            start_date=settings.start_date.isoformat(),
            end_date=settings.end_date.isoformat(),
            stop_on_error=settings.stop_on_error,
            ignored=json.loads(folder.ignored.read_text()),
        )
    ledger.register_runs(workflow_id, plans)
    return len(plans)
