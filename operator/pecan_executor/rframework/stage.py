"""Step stages: tells the ledger which stage R is in, for as long as R is at work beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pecan_executor.files import WorkflowFolder
from pecan_executor.stages import Stages
from pecan_operator.errors import Unavailable

LOOK_SECONDS = 2.0
CONVERSION = "input conversion"
"""What R does before its first stage: it checks the settings, and gets and converts inputs."""


class StageLedger(Protocol):
    """What this step needs of the ledger."""

    def report_stage(self, workflow_id: int, stage: str | None) -> None: ...


def current_stage(folder: WorkflowFolder) -> str | None:
    """The stage at work, `input conversion` before the first; None between two."""
    stages = Stages(folder)
    at_work = stages.at_work()
    if at_work is not None:
        return at_work.value
    return None if stages.has_any() else CONVERSION


def report_stages(
    workflow_id: int, folder: WorkflowFolder, ledger: StageLedger, is_over: Callable[[float], bool]
) -> None:
    """Look every two seconds and report what has changed, until `is_over`, which waits for so many seconds, says so.

    A database that does not answer is asked again at the next look.
    """
    told: str | None = None
    while True:
        stage = current_stage(folder)
        if stage not in (None, told):
            try:
                ledger.report_stage(workflow_id, stage)
                told = stage
            except Unavailable:
                pass
        if is_over(LOOK_SECONDS):
            return
