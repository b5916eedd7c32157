"""Workflow rows of the ledger, on a real server."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from pecan_operator.clients.ledger import Ledger
from pecan_operator.errors import UserError
from pecan_operator.records import Outcome, RunChange, RunCounts, RunKey, RunState

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


def test_dates_that_only_a_job_can_read_come_later(ledger, ledger_database, request_for):
    unread = ledger.accept_workflow(request_for("a", start_date=None, end_date=None))
    bety = bety_row(ledger_database, unread.workflow_id)
    assert (bety["start_date"], bety["end_date"]) == (None, None)
    said = {"start_date": "1999-01-01", "end_date": "2000-12-31", "stop_on_error": True, "ignored": ["a/b", "c, 'd'"]}
    for _ in range(2):
        ledger.report_settings(unread.workflow_id, **said)
    row = ledger.read_workflow("a")
    assert (row.stop_on_error, row.settings_ignored) == (True, ("a/b", "c, 'd'"))
    bety = bety_row(ledger_database, unread.workflow_id)
    assert (str(bety["start_date"]), str(bety["end_date"])) == ("1999-01-01 00:00:00", "2000-12-31 00:00:00")
    with pytest.raises(UserError, match="the ledger knows no workflow 4711"):
        ledger.report_settings(4711, **said)


def test_what_a_pecan_xml_says_in_vain_is_kept(ledger, request_for):
    ignored = ("benchmarking", "run/inputs/met/source")
    assert ledger.accept_workflow(request_for("a", settings_ignored=ignored)).settings_ignored == ignored
    assert ledger.accept_workflow(request_for("b")).settings_ignored == ()


def test_the_framework_is_kept_with_the_workflow(ledger, request_for):
    assert ledger.accept_workflow(request_for("a")).framework == "light"
    assert ledger.accept_workflow(request_for("b", framework="pecan")).framework == "pecan"
    assert ledger.read_workflow("b").framework == "pecan"


def test_a_lost_job_counts_once_and_a_retry_begins_to_count_anew(ledger, request_for):
    ledger.accept_workflow(request_for("a", framework="pecan"))
    assert [ledger.count_loss("a", job) for job in ("j1", "j1", "j2")] == [True, False, True]
    row = ledger.read_workflow("a")
    assert (row.losses, row.lost_job) == (2, "j2")
    ledger.finish_workflow("a", Outcome.FAILED, "no")
    ledger.retry_workflow("a", 1)
    assert ledger.read_workflow("a").losses == 0


def test_the_stage_of_r_is_told(ledger, request_for):
    row = ledger.accept_workflow(request_for("a", framework="pecan"))
    assert row.stage is None
    for stage in ("TRAIT", "TRAIT", None, "CONFIG"):
        ledger.report_stage(row.workflow_id, stage)
        assert ledger.read_workflow("a").stage == stage


def test_whether_runs_are_there_is_told(ledger, request_for, plans):
    row = ledger.accept_workflow(request_for("a"))
    assert not ledger.is_prepared(row.workflow_id)
    ledger.register_runs(row.workflow_id, plans(row, 1))
    assert ledger.is_prepared(row.workflow_id)
    with pytest.raises(UserError, match="knows no workflow 4711"):
        ledger.is_prepared(4711)


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
    assert ledger.cancelling() == [(row.workflow_id, 0)]
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


class Ended:
    """A workflow `a` of five runs that has ended: 0 and 1 succeeded, 2 failed in its attempt 3, 3 and 4 as given."""

    def __init__(self, ledger, row, plans, write, runs, others=RunState.SUCCEEDED):
        self.ledger, self.row = ledger, row
        planned = [replace(plan, bety_run_id=run) for plan, run in zip(plans(row, 5), runs, strict=True)]
        ledger.register_runs(row.workflow_id, planned)
        states = [RunState.SUCCEEDED, RunState.SUCCEEDED, RunState.FAILED, others, others]
        for number, state in enumerate(states):
            write(self.key(number), state, 3, exit_code=int(state is RunState.FAILED))

    def key(self, number):
        return RunKey(self.row.workflow_id, str(number))

    def states(self):
        return [(state, attempt) for _, state, attempt, *_ in self.ledger.run_states(self.row.workflow_id)]


@pytest.fixture
def ended(ledger, request_for, plans, write, bety_run):
    row = ledger.accept_workflow(request_for("a"))
    made = Ended(ledger, row, plans, write, [None, None, bety_run(row), None, None])
    ledger.report_analysis(row.workflow_id, {"used": 4})
    ledger.finish_workflow("a", Outcome.SUCCEEDED, "4 of 5")
    return made


def attempts_before(ledger_database):
    with ledger_database.transaction() as cursor:
        cursor.execute("SELECT attempts_before FROM pecan_operator.run ORDER BY position")
        return [before for (before,) in cursor]


def bety_ends(ledger_database):
    """finished_at of BETY's workflows and of its one run."""
    with ledger_database.transaction() as cursor:
        cursor.execute(
            "SELECT workflows.finished_at, runs.finished_at FROM pecan_operator.run AS run"
            " JOIN public.runs ON runs.id = bety_run_id JOIN public.workflows ON workflows.id = workflow_id"
        )
        return cursor.fetchone()


def test_a_retry_plans_failed_runs_again_and_takes_the_workflow_up(ledger, ledger_database, ended):
    assert None not in bety_ends(ledger_database)
    assert ledger.retry_workflow("a", 1) == 1
    assert ended.states() == [(RunState.SUCCEEDED, 3)] * 2 + [(RunState.PLANNED, 4)] + [(RunState.SUCCEEDED, 3)] * 2
    assert attempts_before(ledger_database) == [0, 0, 3, 0, 0]
    row = ledger.read_workflow("a")
    assert (row.retry_generation, row.results) == (1, {})
    assert (row.finished_at, row.outcome, row.message, row.analysed_at) == (None,) * 4
    assert bety_ends(ledger_database) == (None, None)
    assert ledger.counts(["a"])["a"] == RunCounts(planned=1, succeeded=4)
    [message] = ledger.take_planned(row.workflow_id, row.queue, 9)
    assert (message.key.run_id, message.attempt, message.generation) == ("2", 4, 1)
    with ledger_database.transaction() as cursor:
        locked = ledger.lock_runs(cursor, [ended.key(2)])[ended.key(2)]
    assert (locked.attempt, locked.attempts_before, locked.retry_generation) == (4, 3, 1)


def test_a_retry_happens_once(ledger, ended):
    results = []
    threads = [threading.Thread(target=lambda: results.append(ledger.retry_workflow("a", 1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=str) == [1, None, None, None]
    assert ended.states()[2] == (RunState.PLANNED, 4)
    assert ledger.retry_workflow("a", 0) is None
    assert ledger.retry_workflow("a", 2) == 0
    assert ledger.read_workflow("a").retry_generation == 2


def test_a_retry_of_what_was_stopped_takes_cancelled_runs_too(ledger, request_for, plans, write, ledger_database):
    row = ledger.accept_workflow(request_for("a", stop_on_error=True))
    made = Ended(ledger, row, plans, write, [None] * 5, others=RunState.CANCELLED)
    ledger.cancel_workflow("a", "a run failed")
    assert ledger.retry_workflow("a", 1) is None
    ledger.finish_workflow("a", Outcome.FAILED, "a run failed")
    assert ledger.retry_workflow("a", 1) == 3
    assert made.states() == [(RunState.SUCCEEDED, 3)] * 2 + [(RunState.PLANNED, 4)] * 3
    row = ledger.read_workflow("a")
    assert (row.cancelled_at, row.cancel_reason, row.finished_at) == (None, None, None)
    assert ledger.queue_counts([row.queue])[row.queue].publishable == 3


def test_a_retry_of_a_cancelled_workflow_changes_nothing(ledger, request_for, plans, write):
    row = ledger.accept_workflow(request_for("a"))
    made = Ended(ledger, row, plans, write, [None] * 5, others=RunState.CANCELLED)
    ledger.cancel_workflow("a", "asked for")
    ledger.finish_workflow("a", Outcome.CANCELLED, "asked for")
    before = (ledger.read_workflow("a"), made.states())
    assert ledger.retry_workflow("a", 1) is None
    assert (ledger.read_workflow("a"), made.states()) == before


@pytest.mark.parametrize(("outcome", "again"), [(Outcome.FAILED, True), (Outcome.SUCCEEDED, False)])
def test_a_retry_without_failed_runs_takes_up_what_had_failed(ledger, ledger_database, request_for, outcome, again):
    row = ledger.accept_workflow(request_for("a"))
    ledger.finish_workflow("a", outcome, "the analysis")
    assert ledger.retry_workflow("a", 1) == 0
    assert (ledger.read_workflow("a").finished_at is None) is again
    assert (bety_row(ledger_database, row.workflow_id)["finished_at"] is None) is again


def test_a_retry_of_an_unknown_workflow(ledger):
    assert ledger.retry_workflow("a", 1) is None


def test_a_retry_waits_for_a_decision_under_way_and_takes_its_run_along(ledger, ended, write, ledger_database):
    write(ended.key(4), RunState.RUNNING, 3)
    results = []
    retry = threading.Thread(target=lambda: results.append(ledger.retry_workflow("a", 1)))
    with ledger_database.transaction() as cursor:
        ledger.lock_runs(cursor, [ended.key(4)])
        retry.start()
        time.sleep(0.1)
        assert retry.is_alive()
        ledger.write_runs(cursor, [RunChange(ended.key(4), RunState.FAILED, 3)])
    retry.join(5)
    assert results == [2]
    assert [state for state, _ in ended.states()].count(RunState.PLANNED) == 2


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
