"""The ledger as the loop sees it that publishes and scales: what waits, what is out, what comes next."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2.extras import execute_values

from pecan_operator.clients.ledger.fence import Fence
from pecan_operator.records import Backlog, QueueCounts, RunKey, RunMessage

_MARKER = "broker-marker"

_BACKLOGS = """
SELECT workflow_id, planned, queued + running, priority, max_parallel
FROM pecan_operator.workflow JOIN pecan_operator.tally USING (workflow_id)
WHERE queue = %s AND planned > 0 AND NOT suspended AND cancelled_at IS NULL AND finished_at IS NULL
ORDER BY workflow_id
"""

_COUNTS = """
WITH outstanding AS (
  SELECT queue,
    sum(CASE WHEN suspended OR cancelled_at IS NOT NULL OR finished_at IS NOT NULL THEN 0
      ELSE greatest(0, least(planned, coalesce(max_parallel - queued - running, planned))) END) AS publishable,
    sum(queued) AS queued, sum(running) AS running
  FROM pecan_operator.tally JOIN pecan_operator.workflow USING (workflow_id)
  WHERE planned + queued + running > 0 AND {where} GROUP BY queue
), recent AS (
  SELECT queue, count(*) AS recent FROM pecan_operator.run
  WHERE recorded_at > now() - interval '0.5 s' AND {where} GROUP BY queue
)
SELECT queue, coalesce(publishable, 0)::integer, coalesce(queued, 0)::integer, coalesce(running, 0)::integer,
  coalesce(recent, 0)::integer
FROM outstanding FULL JOIN recent USING (queue)
"""

_TAKE = """
SELECT run_id, attempt, run.folder, outdir, expect, retry_generation
FROM pecan_operator.run JOIN pecan_operator.workflow USING (workflow_id)
WHERE workflow_id = %s AND run.queue = %s AND state = 'planned'
  AND NOT suspended AND cancelled_at IS NULL AND workflow.finished_at IS NULL
ORDER BY position LIMIT %s
"""

_MARK = """
WITH chosen AS (
  SELECT run.workflow_id, run.run_id
  FROM (VALUES %s) AS message (workflow_id, run_id, attempt)
    JOIN pecan_operator.run USING (workflow_id, run_id, attempt)
  WHERE run.state = 'planned' ORDER BY run.workflow_id, run.run_id FOR UPDATE OF run
)
UPDATE pecan_operator.run SET state = 'queued', published_at = now()
FROM chosen WHERE run.workflow_id = chosen.workflow_id AND run.run_id = chosen.run_id
"""

_HOLD = """
SELECT 1 FROM pecan_operator.workflow
WHERE workflow_id IN (SELECT workflow_id FROM pecan_operator.run WHERE state = ANY(%(states)s) AND {where})
ORDER BY workflow_id FOR SHARE
"""

_REQUEUE = """
WITH chosen AS (
  SELECT run.workflow_id, run.run_id, cancelled_at
  FROM pecan_operator.run JOIN pecan_operator.workflow USING (workflow_id)
  WHERE state = ANY(%(states)s) AND {where} ORDER BY run.workflow_id, run.run_id FOR UPDATE OF run
)
UPDATE pecan_operator.run SET
  state = CASE WHEN chosen.cancelled_at IS NULL THEN 'planned' ELSE 'cancelled' END,
  recorded_at = CASE WHEN chosen.cancelled_at IS NOT NULL THEN clock_timestamp() END
FROM chosen WHERE run.workflow_id = chosen.workflow_id AND run.run_id = chosen.run_id
"""


class Queues(Fence):
    """The part of the ledger that knows model queues."""

    def backlogs(self, queue: str) -> list[Backlog]:
        """Workflows with planned runs on this queue, neither suspended nor cancelled; oldest first."""
        with self._database.transaction() as cursor:
            cursor.execute(_BACKLOGS, (queue,))
            return [Backlog(*row) for row in cursor]

    def queue_counts(self, queues: Sequence[str] | None = None) -> dict[str, QueueCounts]:
        """Work of each of these queues; None: of every queue that has any."""
        where = "true" if queues is None else "queue = ANY(%(queues)s)"
        with self._database.transaction() as cursor:
            cursor.execute(
                _COUNTS.format(where=where),
                {"queues": None if queues is None else list(queues)},
            )
            counts = {queue: QueueCounts(*row) for queue, *row in cursor}
        return counts if queues is None else {queue: counts.get(queue, QueueCounts()) for queue in queues}

    def take_planned(self, workflow_id: int, queue: str, limit: int) -> list[RunMessage]:
        """The next runs to publish, in run order. Reads only: `mark_queued` is the claim."""
        with self._database.transaction() as cursor:
            cursor.execute(_TAKE, (workflow_id, queue, limit))
            return [
                RunMessage(RunKey(workflow_id, run_id), attempt, queue, folder, outdir, tuple(expect), generation)
                for run_id, attempt, folder, outdir, expect, generation in cursor
            ]

    def mark_queued(self, messages: Sequence[RunMessage]) -> None:
        """Planned -> queued for messages the broker has.

        A run that went on meanwhile, or is at another attempt, is left as it is.
        """
        if not messages:
            return
        with self._fenced() as cursor:
            execute_values(
                cursor,
                _MARK,
                [(message.key.workflow_id, message.key.run_id, message.attempt) for message in messages],
                template="(%s::bigint, %s, %s::integer)",
                page_size=len(messages),
            )

    def requeue_queued(self, queues: Sequence[str] | None = None) -> int:
        """Queued -> planned, same attempt, where no worker will take the messages; returns how many.

        Runs of cancelled workflows are cancelled instead.
        """
        return self._requeue(("queued",), queues)

    def requeue_all(self) -> int:
        """Queued and running -> planned, same attempt, after the broker lost its messages; returns how many.

        The message of a running one is lost too: a worker that gets it again waits for the job under way and answers
        from its result. Runs of cancelled workflows are cancelled instead.
        """
        return self._requeue(("queued", "running"), None)

    def _requeue(self, states: Sequence[str], queues: Sequence[str] | None) -> int:
        where = "true" if queues is None else "run.queue = ANY(%(queues)s)"
        values = {"queues": None if queues is None else list(queues), "states": list(states)}
        with self._fenced() as cursor:
            cursor.execute(_HOLD.format(where=where), values)
            cursor.execute(_REQUEUE.format(where=where), values)
            return cursor.rowcount

    def cancelling(self) -> list[tuple[int, int]]:
        """(id, retry generation) of cancelled workflows that still have open runs."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT workflow_id, retry_generation"
                " FROM pecan_operator.workflow JOIN pecan_operator.tally USING (workflow_id)"
                " WHERE cancelled_at IS NOT NULL AND finished_at IS NULL AND planned + queued + running > 0"
                " ORDER BY workflow_id"
            )
            return cursor.fetchall()

    def read_marker(self) -> str | None:
        """Name of the queue that tells whether the broker still has its data; None before the first one."""
        with self._database.transaction() as cursor:
            cursor.execute("SELECT value FROM pecan_operator.setting WHERE key = %s", (_MARKER,))
            found = cursor.fetchone()
        return found[0] if found else None

    def write_marker(self, name: str) -> None:
        """Keeps the name of the marker queue."""
        with self._fenced() as cursor:
            cursor.execute(
                "INSERT INTO pecan_operator.setting (key, value) VALUES (%s, %s)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (_MARKER, name),
            )
