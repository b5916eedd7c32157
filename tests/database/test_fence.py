"""Two operators on one ledger: the earlier one writes nothing once the later one has come."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pecan_operator.clients.ledger import Ledger
from pecan_operator.errors import Superseded
from pecan_operator.records import Epoch, Outcome, RunChange, RunCounts, RunKey, RunState

pytestmark = pytest.mark.database


@pytest.fixture
def first(ledger, ledger_database):
    return Ledger(ledger_database, Epoch("lease", 9))


@pytest.fixture
def second(ledger, ledger_database):
    return Ledger(ledger_database, Epoch("lease", 10))


@pytest.fixture
def workflow(ledger, request_for, plans):
    made = ledger.accept_workflow(request_for("a"))
    ledger.register_runs(made.workflow_id, plans(made, 4))
    return made


def record(ledger, database, key):
    with database.transaction() as cursor:
        ledger.lock_runs(cursor, [key])
        return ledger.write_runs(cursor, [RunChange(key, RunState.SUCCEEDED, 1)])


def writes(ledger, database, workflow, request_for):
    """All an operator writes, by name."""
    settings = {"priority": 7, "max_parallel": 1, "max_attempts": 1, "stop_on_error": True, "suspended": True}
    messages = ledger.take_planned(workflow.workflow_id, workflow.queue, 1)
    return {
        "mark_queued": lambda: ledger.mark_queued(messages),
        "lock_runs": lambda: record(ledger, database, RunKey(workflow.workflow_id, "2")),
        "requeue_queued": lambda: ledger.requeue_queued(),
        "requeue_all": lambda: ledger.requeue_all(),
        "write_marker": lambda: ledger.write_marker("pecan.marker.1"),
        "accept_workflow": lambda: ledger.accept_workflow(request_for("b")),
        "update_workflow": lambda: ledger.update_workflow("a", **settings, folder_policy="Delete"),
        "forget_folder": lambda: ledger.forget_folder("a"),
        "cancel_workflow": lambda: ledger.cancel_workflow("a", "no more"),
        "close_cancelled": lambda: ledger.close_cancelled("a"),
        "retry_workflow": lambda: ledger.retry_workflow("a", 1),
        "finish_workflow": lambda: ledger.finish_workflow("a", Outcome.FAILED, None),
    }


def test_whatever_the_earlier_one_writes_is_refused_and_changes_nothing(
    first, second, workflow, ledger, ledger_database, request_for
):
    first.raise_epoch()
    second.raise_epoch()
    before = (ledger.read_workflows(), ledger.counts(["a"]), ledger.read_marker())
    for name, write in writes(first, ledger_database, workflow, request_for).items():
        print(name)
        with pytest.raises(Superseded, match="operator number 10 has taken over from number 9"):
            write()
    assert (ledger.read_workflows(), ledger.counts(["a"]), ledger.read_marker()) == before


def test_the_later_one_and_the_jobs_write(first, second, workflow, ledger, ledger_database, request_for, plans):
    first.raise_epoch()
    second.raise_epoch()
    for write in writes(second, ledger_database, workflow, request_for).values():
        write()
    assert ledger.register_runs(workflow.workflow_id, plans(workflow, 5)) == 1
    assert ledger.counts(["a"])["a"].succeeded == 1


def test_an_epoch_is_only_raised(first, second, workflow, ledger_database):
    second.raise_epoch()
    second.raise_epoch()
    with pytest.raises(Superseded):
        first.raise_epoch()
    record(second, ledger_database, RunKey(workflow.workflow_id, "0"))


def test_a_lease_made_anew_counts_anew(second, workflow, ledger_database):
    second.raise_epoch()
    other = Ledger(ledger_database, Epoch("another lease", 0))
    other.raise_epoch()
    record(other, ledger_database, RunKey(workflow.workflow_id, "0"))


def test_who_takes_over_waits_for_what_is_being_recorded(first, second, workflow, ledger, ledger_database):
    first.raise_epoch()
    key = RunKey(workflow.workflow_id, "0")
    raised = threading.Event()

    def take_over():
        second.raise_epoch()
        raised.set()

    with ThreadPoolExecutor() as pool:
        with ledger_database.transaction() as cursor:
            first.lock_runs(cursor, [key])
            done = pool.submit(take_over)
            assert not raised.wait(0.5)
            first.write_runs(cursor, [RunChange(key, RunState.SUCCEEDED, 1)])
        done.result(10.0)
    assert ledger.counts(["a"])["a"] == RunCounts(planned=3, succeeded=1)
    with pytest.raises(Superseded):
        record(first, ledger_database, RunKey(workflow.workflow_id, "1"))
    assert ledger.counts(["a"])["a"] == RunCounts(planned=3, succeeded=1)


def test_several_record_at_the_same_time(first, workflow, ledger_database):
    first.raise_epoch()
    with ledger_database.transaction() as one, ledger_database.transaction() as other:
        assert first.lock_runs(one, [RunKey(workflow.workflow_id, "0")])
        assert first.lock_runs(other, [RunKey(workflow.workflow_id, "1")])
