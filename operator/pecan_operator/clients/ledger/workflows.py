"""Workflow rows: accepted, changed, cancelled, finished; and BETY's `workflows` row beside each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from psycopg2.extras import Json

from pecan_operator.clients.database import Cursor
from pecan_operator.clients.ledger.fence import Fence
from pecan_operator.errors import UserError
from pecan_operator.records import FailedRun, Outcome, RunCounts, WorkflowRequest, WorkflowRow

WORKFLOWS_FOLDER = "/data/workflows"
RESULTS_LIMIT_BYTES = 8 * 1024

_FIELDS = tuple(field.name for field in fields(WorkflowRow))
_COLUMNS = ", ".join(_FIELDS)

_ACCEPT = f"""
WITH fresh AS (
  SELECT id, %(root)s || '/PEcAn_' || id AS folder FROM nextval('public.workflows_id_seq') AS id
), bety AS (
  INSERT INTO public.workflows
    (id, folder, started_at, model_id, hostname, params, advanced_edit, start_date, end_date, notes)
  SELECT id, folder, now() AT TIME ZONE 'UTC', %(model_id)s, %(hostname)s, %(params)s, false,
    %(start_date)s::timestamp, %(end_date)s::timestamp, %(notes)s
  FROM fresh
)
INSERT INTO pecan_operator.workflow
  (workflow_id, uid, namespace, name, model_id, queue, folder, folder_policy, priority, max_parallel, max_attempts,
   stop_on_error, suspended, settings_ignored, framework)
SELECT id, %(uid)s, %(namespace)s, %(name)s, %(model_id)s, %(queue)s, folder, %(folder_policy)s, %(priority)s,
  %(max_parallel)s, %(max_attempts)s, %(stop_on_error)s, %(suspended)s, %(settings_ignored)s::text[],
  %(framework)s
FROM fresh
RETURNING {_COLUMNS}
"""

_CANCEL_RUNS = """
WITH chosen AS (
  SELECT run_id FROM pecan_operator.run
  WHERE workflow_id = %(workflow_id)s AND state = ANY(%(states)s)
  ORDER BY run_id FOR UPDATE
)
UPDATE pecan_operator.run SET state = 'cancelled', finished_at = now(), recorded_at = clock_timestamp()
FROM chosen WHERE run.workflow_id = %(workflow_id)s AND run.run_id = chosen.run_id
"""

_RETRY = """
UPDATE pecan_operator.workflow SET retry_generation = %(generation)s, losses = 0
WHERE uid = %(uid)s AND retry_generation < %(generation)s
  AND outcome IS DISTINCT FROM 'Cancelled' AND (cancelled_at IS NULL OR finished_at IS NOT NULL)
RETURNING workflow_id, outcome
"""

_REOPEN = """
WITH bety AS (UPDATE public.workflows SET finished_at = NULL WHERE id = %(workflow_id)s)
UPDATE pecan_operator.workflow SET analysed_at = NULL, results = '{}', cancelled_at = NULL, cancel_reason = NULL,
  finished_at = NULL, outcome = NULL, message = NULL
WHERE workflow_id = %(workflow_id)s
"""

_PLAN_AGAIN = """
WITH chosen AS (
  SELECT run_id FROM pecan_operator.run
  WHERE workflow_id = %(workflow_id)s AND state IN ('failed', 'cancelled')
  ORDER BY run_id FOR UPDATE
), bety AS (
  UPDATE public.runs SET finished_at = NULL
  FROM pecan_operator.run JOIN chosen USING (run_id)
  WHERE run.workflow_id = %(workflow_id)s AND runs.id = run.bety_run_id
)
UPDATE pecan_operator.run SET state = 'planned', attempt = attempt + 1, attempts_before = attempt,
  finished_at = NULL, recorded_at = NULL
FROM chosen WHERE run.workflow_id = %(workflow_id)s AND run.run_id = chosen.run_id
"""


class Workflows(Fence):
    """The part of the ledger that knows workflows; they are named by the uid of their PecanWorkflow."""

    def accept_workflow(self, request: WorkflowRequest) -> WorkflowRow:
        """The row of this uid, made together with BETY's when there is none. UserError when BETY refuses a value."""
        values = {
            "root": WORKFLOWS_FOLDER,
            **{field.name: getattr(request, field.name) for field in fields(request)},
            # BETY's check wants single blanks only; JSON writes every other white space as an escape.
            "params": " ".join(json.dumps(request.params, sort_keys=True).split()),
            "hostname": " ".join(request.hostname.split()),
            "settings_ignored": list(request.settings_ignored),
        }
        with self._fenced() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('workflow ' || %s, 0))", (request.uid,))
            known = _select(cursor, "uid = %s", (request.uid,))
            if known:
                return known[0]
            cursor.execute(_ACCEPT, values)
            return _row(cursor.fetchone() or ())

    def read_workflow(self, uid: str) -> WorkflowRow | None:
        """The workflow of this uid, finished or not."""
        with self._database.transaction() as cursor:
            rows = _select(cursor, "uid = %s", (uid,))
        return rows[0] if rows else None

    def read_workflows(self, uids: Sequence[str] | None = None, unfinished_only: bool = True) -> list[WorkflowRow]:
        """The workflows of these uids (None: all), oldest first."""
        where = ["true"]
        values: list[Any] = []
        if uids is not None:
            where.append("uid = ANY(%s)")
            values.append(list(uids))
        if unfinished_only:
            where.append("finished_at IS NULL")
        with self._database.transaction() as cursor:
            return _select(cursor, " AND ".join(where), values)

    def read_workflows_to_put_away(self) -> list[WorkflowRow]:
        """Workflows with something left to do when their resource is gone: runs to end, or a folder to remove."""
        with self._database.transaction() as cursor:
            return _select(cursor, "finished_at IS NULL OR folder_policy = 'Delete'", ())

    def forget_folder(self, uid: str) -> None:
        """The folder of a workflow whose resource is gone has been removed: nothing is left to do."""
        with self._fenced() as cursor:
            cursor.execute("UPDATE pecan_operator.workflow SET folder_policy = 'Retain' WHERE uid = %s", (uid,))

    def update_workflow(
        self,
        uid: str,
        *,
        priority: int,
        max_parallel: int | None,
        max_attempts: int,
        stop_on_error: bool,
        suspended: bool,
        folder_policy: str,
    ) -> None:
        """Takes over what a user may change in a workflow; writes nothing when it is so already."""
        values = (priority, max_parallel, max_attempts, stop_on_error, suspended, folder_policy)
        columns = "(priority, max_parallel, max_attempts, stop_on_error, suspended, folder_policy)"
        with self._fenced() as cursor:
            cursor.execute(
                f"UPDATE pecan_operator.workflow SET {columns} = (%s, %s::integer, %s, %s, %s, %s)"
                f" WHERE uid = %s AND {columns} IS DISTINCT FROM (%s, %s::integer, %s, %s, %s, %s)",
                (*values, uid, *values),
            )

    def cancel_workflow(self, uid: str, reason: str) -> None:
        """Cancels planned runs at once; queued and running ones stay open until their events come.

        The first reason stays. Safe to repeat, which also cancels what went back to planned since.
        """
        with self._fenced() as cursor:
            cursor.execute(
                "UPDATE pecan_operator.workflow SET cancelled_at = coalesce(cancelled_at, now()),"
                " cancel_reason = coalesce(cancel_reason, %s) WHERE uid = %s AND finished_at IS NULL"
                " RETURNING workflow_id",
                (reason, uid),
            )
            for (workflow_id,) in cursor.fetchall():
                cursor.execute(_CANCEL_RUNS, {"workflow_id": workflow_id, "states": ["planned"]})

    def close_cancelled(self, uid: str) -> int:
        """Cancels every open run of a cancelled workflow, for when no worker can answer any more; returns how many."""
        with self._fenced() as cursor:
            cursor.execute(
                "SELECT workflow_id FROM pecan_operator.workflow WHERE uid = %s AND cancelled_at IS NOT NULL"
                " FOR UPDATE",
                (uid,),
            )
            found = cursor.fetchone()
            if found is None:
                return 0
            cursor.execute(_CANCEL_RUNS, {"workflow_id": found[0], "states": ["planned", "queued", "running"]})
            return cursor.rowcount

    def finish_workflow(self, uid: str, outcome: Outcome, message: str | None) -> bool:
        """Ends the workflow here and in BETY. True when this call did it, so that it is told once."""
        with self._fenced() as cursor:
            cursor.execute(
                "UPDATE pecan_operator.workflow SET finished_at = now(), outcome = %s, message = %s"
                " WHERE uid = %s AND finished_at IS NULL RETURNING workflow_id",
                (outcome.value, message, uid),
            )
            found = cursor.fetchone()
            if found is None:
                return False
            cursor.execute(
                "UPDATE public.workflows SET finished_at = now() AT TIME ZONE 'UTC'"
                " WHERE id = %s AND finished_at IS NULL",
                found,
            )
            return True

    def retry_workflow(self, uid: str, generation: int) -> int | None:
        """Plans every failed or cancelled run again, in its next attempt and with all attempts before it; a workflow
        that has ended goes on if there are any, or if it had failed.

        Returns how many runs these are; None when nothing was done: it was done before, or the workflow is being
        cancelled or was cancelled.
        """
        with self._fenced() as cursor:
            # This lock keeps out events, which hold the row too: what is counted next stays so.
            cursor.execute(_RETRY, {"uid": uid, "generation": generation})
            found = cursor.fetchone()
            if found is None:
                return None
            workflow_id, outcome = found
            cursor.execute("SELECT failed + cancelled FROM pecan_operator.tally WHERE workflow_id = %s", (workflow_id,))
            runs: int = (cursor.fetchone() or (0,))[0]
            if runs or outcome == Outcome.FAILED:
                cursor.execute(_REOPEN, {"workflow_id": workflow_id})
            if runs:
                cursor.execute(_PLAN_AGAIN, {"workflow_id": workflow_id})
            return runs

    def count_loss(self, uid: str, job: str) -> bool:
        """A Job with R, named by its uid, was lost and is made again; the same one counts once: True when this call
        did."""
        with self._fenced() as cursor:
            cursor.execute(
                "UPDATE pecan_operator.workflow SET losses = losses + 1, lost_job = %s"
                " WHERE uid = %s AND lost_job IS DISTINCT FROM %s",
                (job, uid, job),
            )
            return cursor.rowcount > 0

    def report_stage(self, workflow_id: int, stage: str | None) -> None:
        """The stage that R is in; None before and between stages. Writes nothing when it is so already."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pecan_operator.workflow SET stage = %s WHERE workflow_id = %s AND stage IS DISTINCT FROM %s",
                (stage, workflow_id, stage),
            )

    def is_prepared(self, workflow_id: int) -> bool:
        """Whether the runs of a workflow are in the ledger: from then on they may be running."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT prepared_at IS NOT NULL FROM pecan_operator.workflow WHERE workflow_id = %s", (workflow_id,)
            )
            found = cursor.fetchone()
        if found is None:
            raise UserError("WorkflowUnknown", f"the ledger knows no workflow {workflow_id}")
        return bool(found[0])

    def report_settings(
        self, workflow_id: int, *, start_date: str, end_date: str, stop_on_error: bool, ignored: Sequence[str]
    ) -> None:
        """What the pecan.xml that is run says, where it was read after the workflow was accepted; inclusive UTC days (ISO
        8601). Repeating it changes nothing."""
        with self._fenced() as cursor:
            cursor.execute(
                "UPDATE pecan_operator.workflow SET stop_on_error = %s, settings_ignored = %s::text[]"
                " WHERE workflow_id = %s",
                (stop_on_error, list(ignored), workflow_id),
            )
            if cursor.rowcount == 0:
                raise UserError("WorkflowUnknown", f"the ledger knows no workflow {workflow_id}")
            cursor.execute(
                "UPDATE public.workflows SET start_date = %s::timestamp, end_date = %s::timestamp WHERE id = %s",
                (start_date, end_date, workflow_id),
            )

    def report_analysis(self, workflow_id: int, results: Mapping[str, Any]) -> None:
        """Sets analysed_at and keeps its headline numbers: finite numbers and text, 8 KiB of JSON at most."""
        try:
            text = json.dumps(results, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UserError("ResultsNotJson", f"headline numbers must be finite numbers and text: {error}") from None
        if len(text.encode()) > RESULTS_LIMIT_BYTES:
            raise UserError(
                "ResultsTooLarge",
                f"headline numbers take {len(text.encode())} bytes, {RESULTS_LIMIT_BYTES} is the limit",
            )
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pecan_operator.workflow SET analysed_at = now(), results = %s WHERE workflow_id = %s",
                (Json(results), workflow_id),
            )
            if cursor.rowcount == 0:
                raise UserError("WorkflowUnknown", f"the ledger knows no workflow {workflow_id}")

    def counts(self, uids: Sequence[str]) -> dict[str, RunCounts]:
        """Runs by state of each of these workflows; a workflow without runs counts zero."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT uid, planned, queued, running, succeeded, failed, cancelled"
                " FROM pecan_operator.workflow JOIN pecan_operator.tally USING (workflow_id) WHERE uid = ANY(%s)",
                (list(uids),),
            )
            found = {uid: RunCounts(*runs) for uid, *runs in cursor}
        return {uid: found.get(uid, RunCounts()) for uid in uids}

    def failures(self, uid: str, limit: int = 5) -> list[FailedRun]:
        """The first given-up runs of a workflow, in run order."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT run_id, attempt, exit_code, last_error FROM pecan_operator.run"
                " WHERE workflow_id = (SELECT workflow_id FROM pecan_operator.workflow WHERE uid = %s)"
                " AND state = 'failed' ORDER BY position LIMIT %s",
                (uid, limit),
            )
            return [FailedRun(*row) for row in cursor]


def _select(cursor: Cursor, where: str, values: Sequence[Any]) -> list[WorkflowRow]:
    cursor.execute(f"SELECT {_COLUMNS} FROM pecan_operator.workflow WHERE {where} ORDER BY workflow_id", values)
    return [_row(row) for row in cursor]


def _row(values: Sequence[Any]) -> WorkflowRow:
    columns = dict(zip(_FIELDS, values, strict=True))
    if columns["outcome"] is not None:
        columns["outcome"] = Outcome(columns["outcome"])
    columns["settings_ignored"] = tuple(columns["settings_ignored"])
    return WorkflowRow(**columns)
