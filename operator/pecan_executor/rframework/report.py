"""Step report: what R made of the runs, as far as it can be told without reading R's own files."""

from __future__ import annotations

from typing import Any

from pecan_executor.files import WorkflowFolder
from pecan_executor.plan import read_states
from pecan_executor.report import ResultLedger
from pecan_executor.stages import Stage, Stages
from pecan_operator.errors import UserError
from pecan_operator.records import RunState

PATTERNS = ("ensemble.*", "sensitivity.*", "variance.decomposition.*")
MOST_FILES = 40
MOST_NAME = 80


def report(workflow_id: int, folder: WorkflowFolder, ledger: ResultLedger) -> dict[str, Any]:
    """Put into the ledger how many runs there are and succeeded, and the names of R's result files; returns it.

    Raises UserError when STATUS does not say that R finished.
    """
    if not Stages(folder).is_done(Stage.FINISHED):
        raise UserError("NotFinished", "PEcAn's R ended, but STATUS does not say FINISHED: see workflow2.Rout")
    states = read_states(folder).values()
    files = sorted({path.name for pattern in PATTERNS for path in folder.path.glob(pattern)})
    shown = [name for name in files if len(name) <= MOST_NAME][:MOST_FILES]
    results = {
        "framework": "pecan",
        "runs": len(states),
        "used": sum(status.state is RunState.SUCCEEDED for status in states),
        "caveats": ["PEcAn's R has the numbers in its own files"],
        "files": shown,
        "yearly": [],
        "omitted": len(files) - len(shown),
    }
    ledger.report_analysis(workflow_id, results)
    return results
