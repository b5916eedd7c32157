"""Run rows: registered by the executor, locked and written when events come, read back for the analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from psycopg2.extras import execute_values

from pecan_operator.clients.database import Cursor
from pecan_operator.clients.ledger.fence import Fence
from pecan_operator.errors import UserError
from pecan_operator.records import RunChange, RunKey, RunPlan, RunRow, RunState

REGISTER_PAGE = 2000

_PLAN_FIELDS = tuple(field.name for field in fields(RunPlan))
_PLAN_COLUMNS = ", ".join(_PLAN_FIELDS)

_ROW_COLUMNS = """
run.workflow_id, run.run_id, workflow.uid, run.queue, run.folder, run.outdir, run.expect, run.state, run.attempt,
workflow.max_attempts, workflow.cancelled_at IS NOT NULL, run.worker, run.started_at, run.attempts_before,
workflow.retry_generation
"""

_WRITE = """
WITH change (workflow_id, run_id, state, attempt, exit_code, worker, last_error, started_at, finished_at) AS (
  VALUES %s
), changed AS (
  UPDATE pecan_operator.run SET
    state = change.state,
    attempt = change.attempt,
    exit_code = coalesce(change.exit_code, run.exit_code),
    worker = coalesce(change.worker, run.worker),
    last_error = coalesce(change.last_error, run.last_error),
    started_at = coalesce(change.started_at, run.started_at),
    finished_at = coalesce(change.finished_at, run.finished_at),
    recorded_at = CASE WHEN change.state IN ('succeeded', 'failed', 'cancelled') THEN clock_timestamp() END
  FROM change WHERE run.workflow_id = change.workflow_id AND run.run_id = change.run_id
  RETURNING run.workflow_id, run.bety_run_id, change.started_at,
    CASE WHEN run.state IN ('succeeded', 'failed', 'cancelled') THEN coalesce(run.finished_at, now()) END AS finished_at
), stamped AS (
  UPDATE public.runs SET
    started_at = coalesce(changed.started_at AT TIME ZONE 'UTC', runs.started_at),
    finished_at = coalesce(changed.finished_at AT TIME ZONE 'UTC', runs.finished_at)
  FROM changed
  WHERE runs.id = changed.bety_run_id AND (changed.started_at IS NOT NULL OR changed.finished_at IS NOT NULL)
)
SELECT DISTINCT workflow.uid FROM changed JOIN pecan_operator.workflow USING (workflow_id)
"""
_WRITE_TYPES = "(%s::bigint, %s, %s, %s::integer, %s::integer, %s, %s, %s::timestamptz, %s::timestamptz)"


class Runs(Fence):
    """The part of the ledger that knows single runs."""

    def register_runs(self, workflow_id: int, runs: Sequence[RunPlan]) -> int:
        """Puts the run list of a workflow in the ledger, in this order, and marks the workflow as prepared.

        A run that is there already stays as it is; runs of a workflow that was cancelled meanwhile are cancelled from
        the start. Returns how many are new.
        """
        if not runs:
            raise UserError("NoRuns", f"workflow {workflow_id} was prepared without a single run")
        if len({run.run_id for run in runs}) < len(runs):
            raise UserError("RunIdsRepeat", f"the run list of workflow {workflow_id} names a run id twice")
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pecan_operator.workflow SET prepared_at = coalesce(prepared_at, now())"
                " WHERE workflow_id = %s RETURNING queue, cancelled_at IS NOT NULL",
                (workflow_id,),
            )
            found = cursor.fetchone()
            if found is None:
                raise UserError("WorkflowUnknown", f"the ledger knows no workflow {workflow_id}")
            queue, cancelled = found
            state = RunState.CANCELLED if cancelled else RunState.PLANNED
            new = execute_values(
                cursor,
                f"INSERT INTO pecan_operator.run (workflow_id, queue, state, position, {_PLAN_COLUMNS}) VALUES %s"
                " ON CONFLICT (workflow_id, run_id) DO NOTHING RETURNING 1",
                [(workflow_id, queue, state.value, position, *_plan_values(run)) for position, run in enumerate(runs)],
                page_size=REGISTER_PAGE,
                fetch=True,
            )
            return len(new)

    def run_states(self, workflow_id: int) -> list[tuple[RunPlan, RunState, int, int | None, str | None]]:
        """(plan, state, attempt, exit code, last error) of each run, in run order."""
        with self._database.transaction() as cursor:
            cursor.execute(
                f"SELECT {_PLAN_COLUMNS}, state, attempt, exit_code, last_error FROM pecan_operator.run"
                " WHERE workflow_id = %s ORDER BY position, run_id",
                (workflow_id,),
            )
            width = len(_PLAN_FIELDS)
            return [(RunPlan(*row[:width]), RunState(row[width]), *row[width + 1 :]) for row in cursor]

    def last_run_finished_at(self, workflow_id: int) -> datetime | None:
        """When the last of the runs came to its end; None when none did."""
        with self._database.transaction() as cursor:
            cursor.execute("SELECT max(finished_at) FROM pecan_operator.run WHERE workflow_id = %s", (workflow_id,))
            (found,) = cursor.fetchone() or (None,)
        last: datetime | None = found
        return last

    def lock_runs(self, cursor: Cursor, keys: Sequence[RunKey]) -> dict[RunKey, RunRow]:
        """Rows of these runs, held until the transaction of `cursor` ends; an unknown key is left out.

        The workflow rows are held too (shared), so that no cancel comes between the decision and its writing.
        """
        if not keys:
            return {}
        self._hold_epoch(cursor)
        cursor.execute(
            "SELECT 1 FROM pecan_operator.workflow WHERE workflow_id = ANY(%s) ORDER BY workflow_id FOR SHARE",
            (sorted({key.workflow_id for key in keys}),),
        )
        rows = execute_values(
            cursor,
            f"SELECT {_ROW_COLUMNS} FROM (VALUES %s) AS key (workflow_id, run_id)"
            " JOIN pecan_operator.run USING (workflow_id, run_id) JOIN pecan_operator.workflow USING (workflow_id)"
            " ORDER BY run.workflow_id, run.run_id FOR UPDATE OF run",
            sorted({(key.workflow_id, key.run_id) for key in keys}),
            template="(%s::bigint, %s)",
            page_size=len(keys),
            fetch=True,
        )
        return {row.key: row for row in map(_run_row, rows)}

    def write_runs(self, cursor: Cursor, changes: Sequence[RunChange]) -> set[str]:
        """Writes what was decided about rows held by `lock_runs`, at most one change a run, and stamps BETY's runs.

        Returns the uids of the workflows touched.
        """
        if not changes:
            return set()
        rows = execute_values(
            cursor,
            _WRITE,
            [
                (
                    change.key.workflow_id,
                    change.key.run_id,
                    change.state.value,
                    change.attempt,
                    change.exit_code,
                    change.worker,
                    change.last_error,
                    change.started_at,
                    change.finished_at,
                )
                for change in changes
            ],
            template=_WRITE_TYPES,
            page_size=len(changes),
            fetch=True,
        )
        return {uid for (uid,) in rows}

    def overdue_runs(self, queue: str, started_before: datetime, limit: int = 1000) -> list[RunRow]:
        """Running rows of a queue that started before this time, the longest running first."""
        return self._running(queue, "run.started_at < %s", (started_before,), limit)

    def running_runs(self, queue: str, limit: int = 1000) -> list[RunRow]:
        """Running rows of a queue, the longest running first."""
        return self._running(queue, "true", (), limit)

    def _running(self, queue: str, where: str, values: Sequence[Any], limit: int) -> list[RunRow]:
        with self._database.transaction() as cursor:
            cursor.execute(
                f"SELECT {_ROW_COLUMNS} FROM pecan_operator.run JOIN pecan_operator.workflow USING (workflow_id)"
                f" WHERE run.queue = %s AND run.state = 'running' AND {where} ORDER BY run.started_at LIMIT %s",
                (queue, *values, limit),
            )
            return [_run_row(row) for row in cursor]


def _plan_values(run: RunPlan) -> tuple[Any, ...]:
    values = {name: getattr(run, name) for name in _PLAN_FIELDS}
    values["expect"] = list(run.expect)
    return tuple(values.values())


def _run_row(values: Sequence[Any]) -> RunRow:
    workflow_id, run_id, uid, queue, folder, outdir, expect, state, *rest = values
    return RunRow(RunKey(workflow_id, run_id), uid, queue, folder, outdir, tuple(expect), RunState(state), *rest)
