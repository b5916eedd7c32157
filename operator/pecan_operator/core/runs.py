"""What an event makes of a run: the state machine of the ledger.

planned -> queued (published, confirmed) -> running -> succeeded | failed | cancelled; a failed or lost attempt goes back to
planned with the next attempt until `max_attempts`. Only a retry of the workflow takes up what is final.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime

from pecan_operator.records import OPEN_STATES, EventKind, RunChange, RunKey, RunRow, RunState, WorkerEvent

EXIT_BAD_DATA = 65
"""EX_DATAERR of sysexits.h: the model refuses its input; trying again cannot help."""


def decide_change(row: RunRow, event: WorkerEvent) -> RunChange | None:
    """The change an event makes to its row, or None when it is old news.

    Events come at least once and may come late: a final state never changes, an event of an earlier attempt counts only
    when it says succeeded.
    """
    if row.state not in OPEN_STATES:
        return None
    if event.kind is EventKind.STARTED:
        return _started(row, event)
    if event.kind is not EventKind.FINISHED:
        return None
    if event.state == "succeeded":
        return _final(row, event, RunState.SUCCEEDED)
    if event.attempt != row.attempt:
        return None
    if event.state == "released":
        return _released(row, event)
    if row.workflow_cancelled or event.state == "cancelled":
        return _final(row, event, RunState.CANCELLED)
    tried = row.attempt - row.attempts_before
    if event.state == "refused" or event.exit_code == EXIT_BAD_DATA or tried >= row.max_attempts:
        return _final(row, event, RunState.FAILED)
    return RunChange(
        key=row.key,
        state=RunState.PLANNED,
        attempt=row.attempt + 1,
        exit_code=event.exit_code,
        worker=_runner(row, event),
        last_error=_reason(event),
    )


def decide_changes(rows: Mapping[RunKey, RunRow], events: Iterable[WorkerEvent]) -> list[RunChange]:
    """One change a run for a batch of events in their order: each event meets the row as the one before left it."""
    current = dict(rows)
    changes: dict[RunKey, RunChange] = {}
    for event in events:
        row = current.get(event.key) if event.key is not None else None
        if row is None:
            continue
        change = decide_change(row, event)
        if change is None:
            continue
        worker = change.worker or row.worker
        current[row.key] = replace(row, state=change.state, attempt=change.attempt, worker=worker)
        before = changes.get(row.key)
        changes[row.key] = change if before is None else _merge(before, change)
    return list(changes.values())


def lost(row: RunRow, reason: str, now: datetime) -> WorkerEvent:
    """The event for an attempt of which nothing will be heard any more."""
    return WorkerEvent(
        kind=EventKind.FINISHED,
        worker=row.worker or "unknown",
        queue=row.queue,
        key=row.key,
        attempt=row.attempt,
        folder=row.folder,
        state="lost",
        reason=reason,
        finished_at=now,
        at=now,
    )


def _started(row: RunRow, event: WorkerEvent) -> RunChange | None:
    if event.attempt != row.attempt:
        return None
    if row.state is RunState.RUNNING and row.worker == event.worker:
        return None
    return RunChange(
        key=row.key,
        state=RunState.RUNNING,
        attempt=row.attempt,
        worker=event.worker,
        started_at=event.started_at or event.at,
    )


def _released(row: RunRow, event: WorkerEvent) -> RunChange | None:
    if row.workflow_cancelled:
        return _final(row, event, RunState.CANCELLED)
    if row.state is not RunState.RUNNING or row.worker != event.worker:
        return None
    return RunChange(key=row.key, state=RunState.QUEUED, attempt=row.attempt)


def _final(row: RunRow, event: WorkerEvent, state: RunState) -> RunChange:
    return RunChange(
        key=row.key,
        state=state,
        attempt=row.attempt,
        exit_code=event.exit_code,
        worker=_runner(row, event),
        last_error=None if state is RunState.SUCCEEDED else _reason(event),
        started_at=event.started_at,
        finished_at=event.finished_at or event.at,
    )


def _runner(row: RunRow, event: WorkerEvent) -> str:
    """Who ran the attempt: after a lost connection another worker may answer from its result."""
    if row.state is RunState.RUNNING and row.attempt == event.attempt and row.worker is not None:
        return row.worker
    return event.worker


def _reason(event: WorkerEvent) -> str:
    if event.reason:
        return event.reason
    if event.exit_code is not None:
        return f"job.sh ended with exit code {event.exit_code}"
    return f"the attempt was {event.state}"


def _merge(before: RunChange, after: RunChange) -> RunChange:
    kept = {
        column.name: getattr(before, column.name)
        for column in fields(RunChange)
        if getattr(after, column.name) is None and getattr(before, column.name) is not None
    }
    return replace(after, **kept)
