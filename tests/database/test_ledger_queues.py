"""The ledger as the publishing loop sees it, on a real server."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pecan_operator.records import Backlog, Outcome, QueueCounts, RunCounts, RunKey, RunState

pytestmark = pytest.mark.database

WORKFLOWS = st.lists(
    st.fixed_dictionaries(
        {
            "queue": st.sampled_from(["A_1", "B_1"]),
            "suspended": st.booleans(),
            "cancelled": st.booleans(),
            "finished": st.booleans(),
            "max_parallel": st.none() | st.integers(1, 5),
            "states": st.lists(st.sampled_from(list(RunState)), max_size=8),
        }
    ),
    max_size=5,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WORKFLOWS)
def test_counts_and_backlogs_agree_with_the_rows(ledger, ledger_database, request_for, plans, described):
    expected = {queue: Counter() for queue in ("A_1", "B_1")}
    backlogs = {"A_1": [], "B_1": []}
    with ledger_database.transaction() as cursor:
        cursor.execute("TRUNCATE pecan_operator.workflow, pecan_operator.run, pecan_operator.tally")
    for number, one in enumerate(described):
        queue, states = one["queue"], one["states"]
        wanted = request_for(
            str(number), queue=queue, suspended=one["suspended"], max_parallel=one["max_parallel"], priority=number
        )
        row = ledger.accept_workflow(wanted)
        if states:
            ledger.register_runs(row.workflow_id, plans(row, len(states)))
        with ledger_database.transaction() as cursor:
            for position, state in enumerate(states):
                cursor.execute(
                    "UPDATE pecan_operator.run SET state = %s WHERE workflow_id = %s AND position = %s",
                    (state.value, row.workflow_id, position),
                )
            if one["cancelled"]:
                cursor.execute(
                    "UPDATE pecan_operator.workflow SET cancelled_at = now() WHERE workflow_id = %s", (row.workflow_id,)
                )
        if one["finished"]:
            ledger.finish_workflow(str(number), Outcome.FAILED, None)
        count = Counter(states)
        in_flight = count[RunState.QUEUED] + count[RunState.RUNNING]
        planned = count[RunState.PLANNED]
        expected[queue]["queued"] += count[RunState.QUEUED]
        expected[queue]["running"] += count[RunState.RUNNING]
        if not (one["suspended"] or one["cancelled"] or one["finished"]):
            limit = planned if one["max_parallel"] is None else max(0, one["max_parallel"] - in_flight)
            expected[queue]["publishable"] += min(planned, limit)
            if planned:
                backlogs[queue].append(Backlog(row.workflow_id, planned, in_flight, number, one["max_parallel"]))
        assert ledger.counts([str(number)])[str(number)] == RunCounts(**{s.value: n for s, n in count.items()})
    found = ledger.queue_counts(["A_1", "B_1"])
    assert found == {queue: QueueCounts(**counter) for queue, counter in expected.items()}
    everywhere = ledger.queue_counts()
    assert {q: c for q, c in found.items() if c.queued + c.running} == {
        q: c for q, c in everywhere.items() if c.queued + c.running
    }
    for queue in found:
        assert ledger.backlogs(queue) == backlogs[queue]


@pytest.fixture
def workflow(ledger, request_for, plans):
    row = ledger.accept_workflow(request_for("a"))
    ledger.register_runs(row.workflow_id, plans(row, 12))
    return row


def test_take_planned_reads_only_and_in_order(ledger, workflow):
    first = ledger.take_planned(workflow.workflow_id, workflow.queue, 5)
    assert [message.key.run_id for message in first] == ["0", "1", "2", "3", "4"]
    assert first == ledger.take_planned(workflow.workflow_id, workflow.queue, 5)
    assert first[0].expect == ("1997.nc", "1998.nc")
    assert ledger.take_planned(workflow.workflow_id, "other", 5) == []


def test_mark_queued_moves_on(ledger, workflow):
    messages = ledger.take_planned(workflow.workflow_id, workflow.queue, 5)
    ledger.mark_queued(messages)
    ledger.mark_queued(messages)
    ledger.mark_queued([])
    assert ledger.counts(["a"])["a"] == RunCounts(planned=7, queued=5)
    assert [m.key.run_id for m in ledger.take_planned(workflow.workflow_id, workflow.queue, 3)] == ["5", "6", "7"]


def test_mark_queued_never_takes_a_run_back(ledger, workflow, write):
    """The worker's events can be recorded before the publisher has noted its confirm."""
    messages = ledger.take_planned(workflow.workflow_id, workflow.queue, 3)
    write(messages[0].key, RunState.SUCCEEDED)
    write(messages[1].key, RunState.PLANNED, attempt=2)
    ledger.mark_queued(messages)
    states = {plan.run_id: (state, attempt) for plan, state, attempt, *_ in ledger.run_states(workflow.workflow_id)}
    assert states["0"] == (RunState.SUCCEEDED, 1)
    assert states["1"] == (RunState.PLANNED, 2)
    assert states["2"] == (RunState.QUEUED, 1)
    ledger.mark_queued([replace(messages[1], attempt=2)])
    assert ledger.counts(["a"])["a"] == RunCounts(planned=9, queued=2, succeeded=1)


@pytest.mark.parametrize("stop", ["suspend", "cancel", "finish"])
def test_nothing_is_taken_of_a_workflow_that_stands_still(ledger, workflow, stop):
    if stop == "suspend":
        ledger.update_workflow(
            "a", priority=0, max_parallel=None, max_attempts=3, stop_on_error=False, suspended=True,
            folder_policy="Retain",
        )  # fmt: skip
    elif stop == "cancel":
        ledger.cancel_workflow("a", "x")
    else:
        ledger.finish_workflow("a", Outcome.FAILED, None)
    assert ledger.take_planned(workflow.workflow_id, workflow.queue, 5) == []
    assert ledger.backlogs(workflow.queue) == []
    assert ledger.queue_counts([workflow.queue])[workflow.queue].publishable == 0


def test_recent_counts_completions(ledger, workflow, write):
    write(RunKey(workflow.workflow_id, "0"), RunState.SUCCEEDED)
    write(RunKey(workflow.workflow_id, "1"), RunState.FAILED)
    write(RunKey(workflow.workflow_id, "2"), RunState.RUNNING)
    counts = ledger.queue_counts()[workflow.queue]
    assert (counts.recent, counts.running, counts.publishable) == (2, 1, 9)


def test_requeue_all_after_the_broker_lost_its_data(ledger, workflow, request_for, plans, write):
    other = ledger.accept_workflow(request_for("b", queue="SIPNET_git"))
    ledger.register_runs(other.workflow_id, plans(other, 3))
    for row in (workflow, other):
        ledger.mark_queued(ledger.take_planned(row.workflow_id, row.queue, 3))
        write(RunKey(row.workflow_id, "0"), RunState.RUNNING)
        write(RunKey(row.workflow_id, "1"), RunState.SUCCEEDED)
    ledger.cancel_workflow("b", "x")
    assert ledger.requeue_all() == 4
    expected = {"a": RunCounts(planned=11, succeeded=1), "b": RunCounts(succeeded=1, cancelled=2)}
    assert ledger.counts(["a", "b"]) == expected


def test_requeue_of_what_nobody_will_take(ledger, workflow, request_for, plans, write):
    other = ledger.accept_workflow(request_for("b", queue="SIPNET_git"))
    ledger.register_runs(other.workflow_id, plans(other, 2))
    for row in (workflow, other):
        ledger.mark_queued(ledger.take_planned(row.workflow_id, row.queue, 2))
    write(RunKey(workflow.workflow_id, "0"), RunState.RUNNING)
    assert ledger.requeue_queued(["SIPNET_git"]) == 2
    assert ledger.requeue_queued([]) == 0
    assert ledger.counts(["a", "b"]) == {"a": RunCounts(planned=10, queued=1, running=1), "b": RunCounts(planned=2)}
    ledger.cancel_workflow("a", "x")
    assert ledger.requeue_queued() == 1
    assert ledger.counts(["a"])["a"] == RunCounts(running=1, cancelled=11)


def test_marker(ledger):
    assert ledger.read_marker() is None
    ledger.write_marker("pecan.marker.1")
    ledger.write_marker("pecan.marker.2")
    assert ledger.read_marker() == "pecan.marker.2"
