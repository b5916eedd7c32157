"""Step report: what R made of the runs: the members' means that R computed, and which files it left."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pecan_executor.files import WorkflowFolder
from pecan_executor.plan import read_states
from pecan_executor.report import ResultLedger, numbers_of
from pecan_executor.stages import Stage, Stages
from pecan_operator.errors import UserError
from pecan_operator.records import RunState

PATTERNS = ("ensemble.*", "sensitivity.*", "variance.decomposition.*")
MOST_FILES = 20
MOST_NAME = 80
MOST_ROWS = 8

_OUTPUT = re.compile(r"ensemble\.output\.([^.]+)\.(.+)\.([0-9]+)\.([0-9]+)\.Rdata")
_OBJECT = "ensemble.output"


def report(workflow_id: int, folder: WorkflowFolder, ledger: ResultLedger) -> dict[str, Any]:
    """Put into the ledger how many runs there are and succeeded, statistics of the members' means, and the names of R's
    result files; returns it. A file of R's that cannot be read is a caveat.

    Raises UserError when STATUS does not say that R finished.
    """
    if not Stages(folder).is_done(Stage.FINISHED):
        raise UserError("NotFinished", "PEcAn's R ended, but STATUS does not say FINISHED: see workflow2.Rout")
    states = read_states(folder).values()
    files = sorted({path.name for pattern in PATTERNS for path in folder.path.glob(pattern)})
    shown = [name for name in files if len(name) <= MOST_NAME][:MOST_FILES]
    rows, caveats = _statistics(folder)
    results = {
        "framework": "pecan",
        "runs": len(states),
        "used": sum(status.state is RunState.SUCCEEDED for status in states),
        "caveats": caveats[:3],
        "ensemble": rows[:MOST_ROWS],
        "files": shown,
        "yearly": [],
        "omitted": len(files) - len(shown),
    }
    ledger.report_analysis(workflow_id, results)
    return results


def _statistics(folder: WorkflowFolder) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each of R's ensembles and variables, and what could not be read.

    The numbers are those of the members' means over all years, in the unit in which the model wrote the variable. Source:
    PEcAn, modules/uncertainty/R/get.results.R.
    """
    rows, caveats = [], []
    for path in sorted(folder.path.glob("ensemble.output.*.Rdata")):
        if not (name := _OUTPUT.fullmatch(path.name)):
            continue
        try:
            values = list(_members(path, folder.data))
        except UserError as error:
            caveats.append(error.message[:200])
            continue
        described = {"variable": name[2], "ensembleId": name[1], "startYear": int(name[3]), "endYear": int(name[4])}
        if any(map(math.isfinite, values)):
            rows.append(described | _numbers([value for value in values if math.isfinite(value)]))
        else:
            caveats.append(f"{name[2]}: no member has a value")
    return rows, caveats


def _members(path: Path, data: Path) -> Iterator[float]:
    """The members' means: R has a list of them, or a vector."""
    import numpy as np

    from pecan_executor.rdatafiles import read_objects

    found = read_objects(path, data, (_OBJECT,)).get(_OBJECT, ())
    parts: Iterable[Any] = found.values() if isinstance(found, Mapping) else [found]
    for part in parts:
        values = np.asarray(part)
        if values.dtype.kind not in "fiu":
            raise UserError("ResultsNotRead", f"{path}: {_OBJECT} holds more than numbers")
        yield from map(float, values.ravel())


def _numbers(values: Sequence[float]) -> dict[str, Any]:
    import numpy as np

    from pecan_executor.ensemble import summarise_array

    (numbers,) = numbers_of(summarise_array(np.reshape(values, (-1, 1))))
    return numbers
