"""10,000 (short: 2,000) finished workflows of ten runs each: what the operator does with them when nothing happens.

They are made while the operator is away, as it would have left them, and it is started again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from place import Place
from psycopg2.extras import execute_values
from report import Figure, one
from watching import Watched
from work import workflow
from workflow_support.manifests import Manifest

from pecan_operator.core.status import conditions, timestamp
from pecan_operator.core.workflow import Facts, JobView, phase
from pecan_operator.core.workflow import conditions as workflow_conditions
from pecan_operator.records import RunCounts, WorkflowRow

RUNS = 10
SETTLE_SECONDS = 10.0
_WORKFLOWS = """
INSERT INTO pecan_operator.workflow
  (workflow_id, uid, namespace, name, model_id, queue, folder, folder_policy, priority, max_attempts, stop_on_error,
   suspended, prepared_at, analysed_at, finished_at, outcome, message)
SELECT nextval('public.workflows_id_seq'), uid, namespace, name, model_id, 'BENCH_1', '/data/workflows/' || uid, 'Retain',
  100, 3, false, false, now(), now(), now(), 'Succeeded', '10 of 10 runs succeeded'
FROM (VALUES %s) AS given (uid, namespace, name, model_id)
"""
_RUNS = """
INSERT INTO pecan_operator.run
  (workflow_id, run_id, position, queue, folder, outdir, expect, state, run_type, site_id, site_name, published_at,
   started_at, finished_at, recorded_at)
SELECT workflow_id, number::text, number, queue, folder || '/run/' || number, folder || '/out/' || number, '{1998.nc}',
  'succeeded', 'ensemble', 'NL-Loo', 'Loobos', now(), now(), now(), now()
FROM pecan_operator.workflow, generate_series(1, %s) AS number WHERE uid = ANY(%s)
"""


def measure(place: Place, long: bool) -> list[Figure]:
    model_id = place.model()
    count = 10_000 if long else 2000
    with place.release.stopped():
        objects = place.each(place.create, [workflow(place.unique("finished"), "bench", RUNS) for _ in range(count)])
        rows = _write_ledger(place, model_id, objects)
        place.each(lambda obj: place.kube.apply_status(obj, _status(rows[obj["metadata"]["uid"]])), objects)
        begin = time.monotonic()
    ready = time.monotonic() - begin
    place.cluster.wait_ready("PecanModel", place.namespace, "bench")
    time.sleep(SETTLE_SECONDS)
    with ExitStack() as stack:
        watches = [stack.enter_context(place.watch(f"pecan{kind}s", str)) for kind in ("platform", "model", "workflow")]
        leases = Watched(place.cluster.client, "coordination.k8s.io/v1", "leases", place.release.namespace, str)
        watches.append(stack.enter_context(leases))
        before, begin = place.metrics(), time.monotonic()
        time.sleep(60.0 if long else 30.0)
        after, seconds = place.metrics(), time.monotonic() - begin
        writes = sum(len(watched.changes) for watched in watches)
    place.delete_all("PecanWorkflow", 900)
    cpu = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
    return [
        one(f"{count:,} finished: start of the operator", "s", ready),
        one(f"{count:,} finished: operator's memory", "MB", after["process_resident_memory_bytes"] / 1e6),
        one(f"{count:,} finished: operator's share of a core", "%", 100 * cpu / seconds),
        one(f"{count:,} finished: changes of our kinds and leases", "1/s", writes / seconds),
        *place.requests(before, after, seconds),
    ]


def _write_ledger(place: Place, model_id: int, objects: Sequence[Manifest]) -> dict[str, WorkflowRow]:
    metadata = [obj["metadata"] for obj in objects]
    values: list[tuple[Any, ...]] = [(each["uid"], each["namespace"], each["name"], model_id) for each in metadata]
    uids = [each["uid"] for each in metadata]
    with place.database.transaction() as cursor:
        execute_values(cursor, _WORKFLOWS, values, template="(%s, %s, %s, %s::bigint)", page_size=len(values))
        cursor.execute(_RUNS, (RUNS, uids))
    return {row.uid: row for row in place.ledger.read_workflows(uids, unfinished_only=False)}


def _status(row: WorkflowRow) -> Manifest:
    assert row.finished_at is not None
    facts = Facts(
        row=row,
        counts=RunCounts(succeeded=RUNS),
        cancel=False,
        suspend=False,
        deadline_seconds=None,
        retry_generation=0,
        prepare=JobView(),
        analyse=JobView(),
        now=row.finished_at,
    )
    return {
        "phase": phase(facts),
        "observedGeneration": 1,
        "workflowId": row.workflow_id,
        "folder": row.folder,
        "runs": {
            "total": RUNS,
            "planned": 0,
            "queued": 0,
            "running": 0,
            "succeeded": RUNS,
            "failed": 0,
            "cancelled": 0,
        },
        "progress": f"{RUNS}/{RUNS}",
        "startedAt": timestamp(row.accepted_at),
        "finishedAt": timestamp(row.finished_at),
        "conditions": conditions([], workflow_conditions(facts, []), 1, row.finished_at),
    }
