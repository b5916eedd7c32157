"""When the progress of a workflow is worth a write to its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pecan_operator.records import RunCounts

SHORTEST_SECONDS = 1.0
STALE_SECONDS = 10.0
PROGRESS_CONDITIONS = frozenset({"Ready", "Prepared", "RunsFinished", "AllRunsSucceeded"})


@dataclass(frozen=True)
class Written:
    """What the status says of the runs, since when (monotonic), and when it began to say so."""

    counts: RunCounts
    at: float
    began: float


def progress_wait(written: Written, counts: RunCounts, now: float) -> float:
    """Seconds until these counts are to be written.

    One per cent of the runs has to end between two writes, and a second to pass. What moves more slowly is told after
    10 s, or after half the time that has passed since the first write, if that is longer: so 10,000 runs take about 100
    writes, and some ten more, whether they end in a minute or in a day.
    """
    since = now - written.at
    if _over(counts) - _over(written.counts) >= max(1, counts.total // 100):
        return max(0.0, SHORTEST_SECONDS - since)
    return max(0.0, max(STALE_SECONDS, (written.at - written.began) / 2) - since)


def shape(status: Mapping[str, Any]) -> dict[str, Any]:
    """A status without what moves as runs go on: where it changes, it is written at once."""
    kept = {key: value for key, value in status.items() if key not in ("runs", "progress", "conditions")}
    kept["conditions"] = [
        {
            key: value
            for key, value in condition.items()
            if key != "message" or condition["type"] not in PROGRESS_CONDITIONS
        }
        for condition in status.get("conditions") or ()
    ]
    return kept


def _over(counts: RunCounts) -> int:
    return counts.succeeded + counts.failed + counts.cancelled
