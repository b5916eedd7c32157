"""Workflow rows of the ledger, on a real server."""

from __future__ import annotations

import threading

import pytest

from pecan_operator.clients.ledger import Ledger
from pecan_operator.errors import UserError
from pecan_operator.records import Outcome, RunCounts, RunKey, RunState

pytestmark = pytest.mark.database


def bety_row(ledger_database, workflow_id):
    with ledger_database.transaction() as cursor:
        cursor.execute("SELECT * FROM public.workflows WHERE id = %s", (workflow_id,))
        return dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))


def test_accept_makes_both_rows(ledger, ledger_database, request_for):
    row = ledger.accept_workflow(
        request_for("a", params={"text": "two  blanks\nand a line", "n": 1}, notes="any  text\n", max_parallel=3)
    )
    assert 99_000_000_001 <= row.workflow_id <= 99_999_999_999
    assert row.folder == f"/data/workflows/PEcAn_{row.workflow_id}"
    assert (row.uid, row.queue, row.max_parallel, row.results, row.outcome) == ("a", "DALEC_ev", 3, {}, None)
    assert ledger.read_workflow("a") == row
    bety = bety_row(ledger_database, row.workflow_id)
    assert (bety["folder"], bety["hostname"], bety["advanced_edit"]) == (row.folder, "docker", False)
    assert bety["params"] == '{"n": 1, "text": "two blanks\\nand a line"}'
    assert (str(bety["start_date"]), str(bety["end_date"])) == ("1997-01-01 00:00:00", "1999-12-31 00:00:00")
    assert abs(bety["started_at"] - row.accepted_at.replace(tzinfo=None)).total_seconds() < 1
    assert bety["finished_at"] is None


def test_accept_is_idempotent(ledger, request_for):
    row = ledger.accept_workflow(request_for("a"))
    assert ledger.accept_workflow(request_for("a", priority=9)) == row
    assert ledger.accept_workflow(request_for("b")).workflow_id != row.workflow_id


def test_two_operators_at_once_accept_one_row(ledger, prepared, ledger_database, request_for):
    other = Ledger(prepared.database("pecan_operator", prepared.settings().ledger_password))
    barrier = threading.Barrier(8)
    ids = []

    def accept(one):
        barrier.wait()
        ids.append(one.accept_workflow(request_for("same")).workflow_id)

    threads = [threading.Thread(target=accept, args=([ledger, other][n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    with ledger_database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM public.workflows WHERE id >= %s", (ids[0],))
        assert cursor.fetchone() == (1,)


def test_what_bety_refuses_leaves_no_row(ledger, request_for):
    with pytest.raises(UserError, match="fk_workflows_models_1"):
        ledger.accept_workflow(request_for("a", model_id=4711))
    assert ledger.read_workflow("a") is None


def test_reads_by_uid_and_state(ledger, request_for):
    rows = [ledger.accept_workflow(request_for(uid)) for uid in "abc"]
    ledger.finish_workflow("b", Outcome.FAILED, "no")
    assert ledger.read_workflows() == [rows[0], rows[2]]
    assert [row.uid for row in ledger.read_workflows(unfinished_only=False)] == ["a", "b", "c"]
    assert [row.uid for row in ledger.read_workflows(["c", "b"], unfinished_only=False)] == ["b", "c"]
    assert ledger.read_workflows([]) == []


def test_update_writes_only_changes(ledger, ledger_database, request_for):
    def version():
        with ledger_database.transaction() as cursor:
            cursor.execute("SELECT xmin::text FROM pecan_operator.workflow")
            return cursor.fetchone()

    ledger.accept_workflow(request_for("a"))
    same = {"priority": 0, "max_parallel": None, "max_attempts": 3, "stop_on_error": False, "suspended": False}
    same["folder_policy"] = "Retain"
    before = version()
    ledger.update_workflow("a", **same)
    assert version() == before
    ledger.update_workflow("a", **{**same, "max_parallel": 2, "suspended": True, "priority": 5})
    row = ledger.read_workflow("a")
    assert (row.priority, row.max_parallel, row.suspended, row.max_attempts) == (5, 2, True, 3)


def test_what_is_left_to_put_away(ledger, request_for):
    for uid in "abc":
        ledger.accept_workflow(request_for(uid))
    same = {"priority": 0, "max_parallel": None, "max_attempts": 3, "stop_on_error": False, "suspended": False}
    ledger.update_workflow("c", **same, folder_policy="Delete")
    for uid in "bc":
        ledger.finish_workflow(uid, Outcome.SUCCEEDED, "1 of 1")
    assert [row.uid for row in ledger.read_workflows_to_put_away()] == ["a", "c"]
    ledger.forget_folder("c")
    assert [row.uid for row in ledger.read_workflows_to_put_away()] == ["a"]


def test_finish_happens_once_and_in_bety_too(ledger, ledger_database, request_for):
    row = ledger.accept_workflow(request_for("a"))
    won = []
    threads = [
        threading.Thread(target=lambda: won.append(ledger.finish_workflow("a", Outcome.SUCCEEDED, "100 of 100")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False, False, False, True]
    finished = ledger.read_workflow("a")
    assert (finished.outcome, finished.message) == (Outcome.SUCCEEDED, "100 of 100")
    stamp = bety_row(ledger_database, row.workflow_id)["finished_at"]
    assert stamp == finished.finished_at.replace(tzinfo=None)


def test_cancel_ends_what_was_not_published(ledger, request_for, plans, write):
    row = ledger.accept_workflow(request_for("a"))
    ledger.register_runs(row.workflow_id, plans(row, 5))
    ledger.mark_queued(ledger.take_planned(row.workflow_id, row.queue, 2))
    write(RunKey(row.workflow_id, "0"), RunState.RUNNING)
    ledger.cancel_workflow("a", "asked for")
    first = ledger.read_workflow("a")
    ledger.cancel_workflow("a", "asked for again")
    assert ledger.read_workflow("a") == first
    assert first.cancel_reason == "asked for"
    assert ledger.counts(["a"]) == {"a": RunCounts(queued=1, running=1, cancelled=3)}
    assert ledger.cancelling() == [row.workflow_id]
    assert ledger.backlogs(row.queue) == []
    assert ledger.close_cancelled("a") == 2
    assert ledger.close_cancelled("a") == 0
    assert ledger.counts(["a"])["a"].open == 0
    assert ledger.cancelling() == []


def test_only_a_cancelled_workflow_is_closed(ledger, request_for, plans):
    row = ledger.accept_workflow(request_for("a"))
    ledger.register_runs(row.workflow_id, plans(row, 2))
    assert ledger.close_cancelled("a") == 0
    assert ledger.counts(["a"])["a"].planned == 2


def test_a_finished_workflow_is_not_cancelled(ledger, request_for):
    ledger.accept_workflow(request_for("a"))
    ledger.finish_workflow("a", Outcome.SUCCEEDED, None)
    ledger.cancel_workflow("a", "too late")
    assert ledger.read_workflow("a").cancelled_at is None


def test_results(ledger, request_for):
    row = ledger.accept_workflow(request_for("a"))
    ledger.report_analysis(row.workflow_id, {"GPP": [561.6, 685.26], "name": "Loobos"})
    found = ledger.read_workflow("a")
    assert found.results == {"GPP": [561.6, 685.26], "name": "Loobos"}
    assert found.analysed_at is not None
    ledger.report_analysis(row.workflow_id, {})
    assert ledger.read_workflow("a").results == {}


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ({"x": float("nan")}, "ResultsNotJson"),
        ({"x": object()}, "ResultsNotJson"),
        ({"x": "y" * 8200}, "ResultsTooLarge"),
    ],
)
def test_results_that_cannot_be_kept(ledger, request_for, results, reason):
    row = ledger.accept_workflow(request_for("a"))
    with pytest.raises(UserError) as raised:
        ledger.report_analysis(row.workflow_id, results)
    assert raised.value.reason == reason
    assert ledger.read_workflow("a").analysed_at is None


def test_results_of_an_unknown_workflow(ledger):
    with pytest.raises(UserError, match="no workflow 5"):
        ledger.report_analysis(5, {})


def test_counts_of_a_workflow_without_runs(ledger, request_for):
    ledger.accept_workflow(request_for("a"))
    assert ledger.counts(["a", "unknown"]) == {"a": RunCounts(), "unknown": RunCounts()}
