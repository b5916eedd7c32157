"""Run rows of the ledger, on a real server."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest

from pecan_operator.errors import Unavailable, UserError
from pecan_operator.records import FailedRun, Outcome, RunChange, RunCounts, RunKey, RunPlan, RunState

pytestmark = pytest.mark.database

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def workflow(ledger, request_for):
    return ledger.accept_workflow(request_for("a"))


def test_register_keeps_every_field_and_the_order(ledger, workflow):
    runs = [
        RunPlan("SA-median", "/data/r/1", "/data/o/1", ("1997.nc",), "sensitivity analysis", "772", "Loobos", None,
                "conifer", "SLA", "15.866", None),
        RunPlan("ENS-00001-772", "/data/r/2", "/data/o/2", ("1997.nc", "1998.nc"), "ensemble", "772", "Loobos 'x' %s", 1,
                None, None, None, 99000000001),
        RunPlan("1", "/data/r/3", "/data/o/3", (), "ensemble", "772", "", 2),
    ]  # fmt: skip
    assert ledger.register_runs(workflow.workflow_id, runs) == 3
    found = ledger.run_states(workflow.workflow_id)
    assert [replace(plan, expect=tuple(plan.expect)) for plan, *_ in found] == runs
    assert [rest for _, *rest in found] == [[RunState.PLANNED, 1, None, None]] * 3
    assert ledger.read_workflow("a").prepared_at is not None


def test_register_again_changes_nothing(ledger, workflow, plans):
    runs = plans(workflow, 5)
    assert ledger.register_runs(workflow.workflow_id, runs[:3]) == 3
    prepared = ledger.read_workflow("a").prepared_at
    ledger.mark_queued(ledger.take_planned(workflow.workflow_id, workflow.queue, 1))
    assert ledger.last_run_finished_at(workflow.workflow_id) is None
    assert ledger.register_runs(workflow.workflow_id, runs) == 2
    assert ledger.register_runs(workflow.workflow_id, runs) == 0
    assert ledger.read_workflow("a").prepared_at == prepared
    assert ledger.counts(["a"])["a"] == RunCounts(planned=4, queued=1)


def test_register_more_than_a_page(ledger, workflow, plans):
    assert ledger.register_runs(workflow.workflow_id, plans(workflow, 4500)) == 4500
    assert [plan.run_id for plan, *_ in ledger.run_states(workflow.workflow_id)] == [str(n) for n in range(4500)]


@pytest.mark.parametrize(("count", "twice", "reason"), [(0, False, "NoRuns"), (2, True, "RunIdsRepeat")])
def test_register_nonsense(ledger, workflow, plans, count, twice, reason):
    runs = plans(workflow, count)
    with pytest.raises(UserError) as raised:
        ledger.register_runs(workflow.workflow_id, runs + runs if twice else runs)
    assert raised.value.reason == reason
    assert ledger.read_workflow("a").prepared_at is None


def test_register_for_an_unknown_workflow(ledger, workflow, plans):
    with pytest.raises(UserError, match="no workflow 5"):
        ledger.register_runs(5, plans(workflow, 1))


def test_runs_of_a_cancelled_workflow_start_cancelled(ledger, workflow, plans):
    ledger.cancel_workflow("a", "while it was prepared")
    ledger.register_runs(workflow.workflow_id, plans(workflow, 3))
    assert ledger.counts(["a"])["a"] == RunCounts(cancelled=3)


def test_one_run_from_planned_to_succeeded(ledger, workflow, plans, ledger_database, bety_run):
    run_id = bety_run(workflow)
    key = RunKey(workflow.workflow_id, str(run_id))
    ledger.register_runs(workflow.workflow_id, [replace(plans(workflow, 1)[0], run_id=str(run_id), bety_run_id=run_id)])
    [message] = ledger.take_planned(workflow.workflow_id, workflow.queue, 10)
    assert message.message_id == f"{workflow.workflow_id}.{run_id}.1"
    ledger.mark_queued([message])

    def write(change):
        with ledger_database.transaction() as cursor:
            row = ledger.lock_runs(cursor, [key])[key]
            return row, ledger.write_runs(cursor, [change])

    row, touched = write(RunChange(key, RunState.RUNNING, 1, worker="pod-1", started_at=NOON))
    assert (row.state, row.attempt, row.max_attempts, row.workflow_uid) == (RunState.QUEUED, 1, 3, "a")
    assert touched == {"a"}
    row, _ = write(RunChange(key, RunState.PLANNED, 2, exit_code=1, last_error="no weather"))
    assert (row.state, row.worker, row.started_at) == (RunState.RUNNING, "pod-1", NOON)
    assert ledger.failures("a") == []
    later = NOON + timedelta(minutes=5)
    write(RunChange(key, RunState.RUNNING, 2, worker="pod-2", started_at=later))
    write(RunChange(key, RunState.SUCCEEDED, 2, exit_code=0, finished_at=later + timedelta(seconds=3)))
    assert ledger.last_run_finished_at(workflow.workflow_id) == later + timedelta(seconds=3)
    [(_, state, attempt, exit_code, last_error)] = ledger.run_states(workflow.workflow_id)
    assert (state, attempt, exit_code, last_error) == (RunState.SUCCEEDED, 2, 0, "no weather")
    with ledger_database.transaction() as cursor:
        cursor.execute("SELECT started_at, finished_at FROM public.runs WHERE id = %s", (run_id,))
        assert cursor.fetchone() == (datetime(2024, 6, 1, 12, 5), datetime(2024, 6, 1, 12, 5, 3))


def test_bety_is_not_stamped_as_finished_by_a_failed_attempt(ledger, workflow, plans, ledger_database, bety_run):
    run_id = bety_run(workflow)
    key = RunKey(workflow.workflow_id, str(run_id))
    ledger.register_runs(workflow.workflow_id, [replace(plans(workflow, 1)[0], run_id=str(run_id), bety_run_id=run_id)])
    with ledger_database.transaction() as cursor:
        ledger.write_runs(cursor, [RunChange(key, RunState.PLANNED, 2, finished_at=NOON)])
    with ledger_database.transaction() as cursor:
        cursor.execute("SELECT finished_at FROM public.runs WHERE id = %s", (run_id,))
        assert cursor.fetchone() == (None,)


def test_lock_leaves_out_unknown_runs_and_finds_the_same_id_in_two_workflows(
    ledger, workflow, request_for, plans, ledger_database
):
    other = ledger.accept_workflow(request_for("b", max_attempts=7))
    for row in (workflow, other):
        ledger.register_runs(row.workflow_id, plans(row, 2))
    ledger.cancel_workflow("b", "x")
    keys = [RunKey(other.workflow_id, "1"), RunKey(workflow.workflow_id, "1"), RunKey(workflow.workflow_id, "none")]
    with ledger_database.transaction() as cursor:
        rows = ledger.lock_runs(cursor, keys + keys)
        assert ledger.lock_runs(cursor, []) == {}
        assert ledger.write_runs(cursor, []) == set()
    assert set(rows) == set(keys[:2])
    assert (rows[keys[0]].max_attempts, rows[keys[0]].workflow_cancelled) == (7, True)
    assert (rows[keys[1]].max_attempts, rows[keys[1]].workflow_cancelled) == (3, False)


def test_a_batch_touches_many_workflows(ledger, request_for, plans, ledger_database):
    workflows = [ledger.accept_workflow(request_for(uid)) for uid in "abc"]
    for row in workflows:
        ledger.register_runs(row.workflow_id, plans(row, 10))
    changes = [
        RunChange(RunKey(row.workflow_id, str(n)), RunState.FAILED, 3, exit_code=n, last_error=f"error {n}")
        for row in workflows[:2]
        for n in range(10)
    ]
    with ledger_database.transaction() as cursor:
        assert ledger.write_runs(cursor, changes) == {"a", "b"}
    assert ledger.counts(["a", "b", "c"]) == {
        "a": RunCounts(failed=10),
        "b": RunCounts(failed=10),
        "c": RunCounts(planned=10),
    }
    assert ledger.failures("b", 2) == [FailedRun("0", 3, 0, "error 0"), FailedRun("1", 3, 1, "error 1")]


def test_a_cancel_waits_for_a_decision_under_way(ledger, workflow, plans, write, ledger_database):
    """Else a failed run could go back to planned in a workflow that was cancelled between decision and writing."""
    ledger.register_runs(workflow.workflow_id, plans(workflow, 1))
    key = RunKey(workflow.workflow_id, "0")
    write(key, RunState.RUNNING)
    cancel = threading.Thread(target=ledger.cancel_workflow, args=("a", "now"))
    with ledger_database.transaction() as cursor:
        assert not ledger.lock_runs(cursor, [key])[key].workflow_cancelled
        cancel.start()
        time.sleep(0.1)
        assert cancel.is_alive()
        ledger.write_runs(cursor, [RunChange(key, RunState.PLANNED, 2)])
    cancel.join(5)
    assert ledger.counts(["a"])["a"] == RunCounts(cancelled=1)


def test_everything_at_once_never_deadlocks(ledger, request_for, plans, ledger_database):
    workflows = [ledger.accept_workflow(request_for(uid)) for uid in "abc"]
    for row in workflows:
        ledger.register_runs(row.workflow_id, plans(row, 60))
    keys = [RunKey(row.workflow_id, str(n)) for row in workflows for n in range(60)]
    until = time.monotonic() + 1.0
    failures, rounds = [], []

    def repeat(work):
        while time.monotonic() < until:
            try:
                work()
                rounds.append(1)
            except Unavailable as error:
                failures.append(error.message)

    def record():
        some = random.sample(keys, 40)
        with ledger_database.transaction() as cursor:
            rows = list(ledger.lock_runs(cursor, some).values())
            random.shuffle(rows)
            ledger.write_runs(cursor, [RunChange(row.key, RunState.PLANNED, row.attempt) for row in rows])

    def retry():
        generation = ledger.read_workflow("c").retry_generation + 1
        ledger.cancel_workflow("c", "x")
        ledger.close_cancelled("c")
        ledger.retry_workflow("c", generation)

    def publish():
        messages = [m for row in workflows for m in ledger.take_planned(row.workflow_id, row.queue, 30)]
        random.shuffle(messages)
        ledger.mark_queued(messages)

    works = [
        record,
        record,
        publish,
        publish,
        ledger.requeue_queued,
        lambda: ledger.cancel_workflow("b", "x"),
        lambda: ledger.close_cancelled("b"),
        retry,
        lambda: ledger.finish_workflow("c", Outcome.FAILED, "x"),
    ]
    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rounds) > 50
    with ledger_database.transaction() as cursor:
        cursor.execute("SELECT workflow_id, state, count(*) FROM pecan_operator.run GROUP BY workflow_id, state")
        counted = {(workflow_id, state): runs for workflow_id, state, runs in cursor}
    tallied = ledger.counts("abc")
    assert counted == {
        (row.workflow_id, state): runs for row in workflows for state, runs in asdict(tallied[row.uid]).items() if runs
    }


def test_running_and_overdue_runs(ledger, workflow, plans, write):
    ledger.register_runs(workflow.workflow_id, plans(workflow, 3))
    for minute in (2, 0, 1):
        write(RunKey(workflow.workflow_id, str(minute)), RunState.RUNNING, started_at=NOON + timedelta(minutes=minute))
    running = ledger.running_runs(workflow.queue)
    assert [row.key.run_id for row in running] == ["0", "1", "2"]
    assert [row.key.run_id for row in ledger.running_runs(workflow.queue, limit=1)] == ["0"]
    overdue = ledger.overdue_runs(workflow.queue, NOON + timedelta(minutes=1, seconds=30))
    assert overdue == running[:2]
    assert ledger.running_runs("other_queue") == []
    assert ledger.overdue_runs("other_queue", NOON + timedelta(days=1)) == []
