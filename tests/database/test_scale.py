"""What 100,000 runs cost; prints the figures (`pytest -s`). The bounds are many times what a slow machine needs."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest

from pecan_operator.clients.bety import Bety
from pecan_operator.records import RunChange, RunKey, RunPlan, RunState

pytestmark = [pytest.mark.database, pytest.mark.full]

RUNS = 100_000


@contextmanager
def timed(what, at_most, repeat=1):
    started = time.perf_counter()
    yield
    seconds = (time.perf_counter() - started) / repeat
    print(f"{what:64} {seconds * 1000:10.1f} ms")
    assert seconds < at_most, what


def test_a_hundred_thousand_runs(prepared, ledger, ledger_database, bety_database, request_for, model_id):
    row = ledger.accept_workflow(request_for("big"))
    bety = Bety(bety_database)
    site = bety.site(name="Loobos", lat=52.17, lon=5.74)
    ensemble = bety.ensemble(workflow_id=row.workflow_id, runtype="ensemble")
    print()
    rows = [(site, "1997-01-01", "1999-12-31", f"ensemble={n}", "") for n in range(RUNS)]
    with timed("BETY: 100,000 runs", 60):
        ids = bety.runs(ensemble, model_id, rows)
    runs = [
        RunPlan(
            run_id=str(run_id),
            folder=f"{row.folder}/run/{run_id}",
            outdir=f"{row.folder}/out/{run_id}",
            expect=("1997.nc", "1998.nc", "1999.nc"),
            run_type="ensemble",
            site_id="772",
            site_name="Loobos",
            member=n + 1,
            bety_run_id=run_id,
        )
        for n, run_id in enumerate(ids)
    ]
    with timed("register_runs: 100,000", 60):
        assert ledger.register_runs(row.workflow_id, runs) == RUNS
    with timed("register_runs again", 60):
        assert ledger.register_runs(row.workflow_id, runs) == 0
    for what, seconds in (("fresh", 1.0), ("vacuumed", 0.5)):
        with timed(f"queue_counts, 100,000 planned, {what}", seconds, 5):
            for _ in range(5):
                assert ledger.queue_counts()["DALEC_ev"].publishable == RUNS
        with timed(f"backlogs, 100,000 planned, {what}", seconds, 5):
            for _ in range(5):
                ledger.backlogs("DALEC_ev")
        with closing(prepared.connect()) as connection:
            connection.autocommit = True
            connection.cursor().execute("VACUUM ANALYZE pecan_operator.run")
    with timed("take_planned: 1,000", 1):
        messages = ledger.take_planned(row.workflow_id, row.queue, 1000)
    with timed("mark_queued: 1,000", 2):
        ledger.mark_queued(messages)

    now = datetime.now(UTC)

    def batch(keys, state, **columns):
        with ledger_database.transaction() as cursor:
            ledger.lock_runs(cursor, keys)
            ledger.write_runs(cursor, [RunChange(key, state, 1, **columns) for key in keys])

    with timed("lock + write 1,000 started events", 2):
        batch([message.key for message in messages], RunState.RUNNING, worker="pod", started_at=now)
    batches = RUNS // 1000
    with timed("lock + write 1,000 finished events, mean of 100", 2, batches):
        for start in range(0, RUNS, 1000):
            keys = [RunKey(row.workflow_id, plan.run_id) for plan in runs[start : start + 1000]]
            batch(keys, RunState.SUCCEEDED, exit_code=0, finished_at=now)
    with closing(prepared.connect()) as connection:
        connection.autocommit = True
        connection.cursor().execute("VACUUM ANALYZE pecan_operator.run")
    time.sleep(0.6)
    with timed("queue_counts, 100,000 finished", 0.05, 20):
        for _ in range(20):
            assert ledger.queue_counts() == {}
    with timed("backlogs, 100,000 finished", 0.05, 20):
        for _ in range(20):
            assert ledger.backlogs("DALEC_ev") == []
    with timed("counts of the workflow, 100,000 finished", 0.5, 5):
        for _ in range(5):
            assert ledger.counts(["big"])["big"].succeeded == RUNS
    with timed("failures, cancelling, running_runs", 0.1):
        ledger.failures("big")
        ledger.cancelling()
        ledger.running_runs("DALEC_ev")
