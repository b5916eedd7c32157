from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, get_args

import pytest

from pecan_operator.api import workflow as api
from pecan_operator.core.status import Condition
from pecan_operator.core.workflow import (
    Facts,
    JobState,
    JobView,
    Plan,
    Step,
    conditions,
    decide_plan,
    is_over,
    phase,
    progress_message,
)
from pecan_operator.records import FailedRun, Outcome, RunCounts, WorkflowRow

T0 = datetime(2024, 5, 1, tzinfo=UTC)
ACTIVE, DONE = JobView(JobState.ACTIVE), JobView(JobState.SUCCEEDED)
LOST = JobView(JobState.LOST, "Failed", "container framework ended with exit code 137", uid="j1")
BROKEN = JobView(JobState.FAILED, "Crashing", "container framework ended with exit code 65: no such trait")
ROW = WorkflowRow(
    workflow_id=99_000_000_001, uid="u1", namespace="forest", name="loobos", queue="DALEC_ev",
    folder="/data/workflows/PEcAn_99000000001", folder_policy="Retain", priority=0, max_parallel=None, max_attempts=3,
    stop_on_error=False, suspended=False, accepted_at=T0, prepared_at=None, analysed_at=None, cancelled_at=None,
    cancel_reason=None, finished_at=None, outcome=None, message=None, results={}, retry_generation=0,
)  # fmt: skip
FACTS = Facts(
    row=ROW, counts=RunCounts(), cancel=False, suspend=False, retry_generation=0, deadline_seconds=None,
    prepare=JobView(), analyse=JobView(), now=T0 + timedelta(seconds=100),
)  # fmt: skip
OPEN, ALL_WELL = RunCounts(planned=3, queued=2, running=1, succeeded=4), RunCounts(succeeded=10)
SOME, NONE = RunCounts(succeeded=9, failed=1), RunCounts(failed=10)


ROW_COLUMNS = ("stop_on_error", "cancel_reason", "message", "framework", "stage", "losses", "lost_job")


def facts(counts: RunCounts = RunCounts(), **given: Any) -> Facts:  # noqa: B008
    """`prepared`, `analysed`, `cancelled`, `finished` set the time of that; `retried` is the ledger's retry generation;
    other fields of the row by their name."""
    columns = {name: given.pop(name) for name in list(given) if name in ROW_COLUMNS}
    columns["retry_generation"] = given.pop("retried", 0)
    for name in ("prepared", "analysed", "cancelled", "finished"):
        if given.pop(name, False):
            columns[f"{name}_at"] = T0 + timedelta(seconds=50)
    outcome = given.pop("outcome", None)
    return replace(FACTS, row=replace(ROW, outcome=outcome, **columns), counts=counts, **given)


@pytest.mark.parametrize(
    ("known", "plan"),
    [
        pytest.param(facts(), Plan(Step.PREPARE), id="accepted: prepare"),
        pytest.param(facts(prepare=ACTIVE), Plan(Step.PREPARE), id="being prepared"),
        pytest.param(facts(suspend=True), Plan(Step.PREPARE), id="suspended: is prepared all the same"),
        pytest.param(
            facts(prepare=BROKEN),
            Plan(Step.FINISH, Outcome.FAILED, f"preparing failed: {BROKEN.message}"),
            id="cannot be prepared",
        ),
        pytest.param(facts(prepare=LOST), Plan(Step.REPEAT, job="j1"), id="lost while it was prepared"),
        pytest.param(
            facts(prepare=LOST, losses=5, lost_job="j1"), Plan(Step.REPEAT, job="j1"), id="counted, but not removed yet"
        ),
        pytest.param(
            facts(prepare=LOST, losses=5, lost_job="j0"),
            Plan(Step.FINISH, Outcome.FAILED, f"preparing failed, after 5 other tries: {LOST.message}"),
            id="lost too often",
        ),
        pytest.param(
            facts(SOME, prepared=True, analyse=LOST, losses=4, lost_job="j0"),
            Plan(Step.REPEAT, job="j1"),
            id="lost while it was analysed",
        ),
        pytest.param(
            facts(cancel=True, prepare=LOST), Plan(Step.CANCEL, message="cancelled by spec.cancel"), id="lost, cancel"
        ),
        pytest.param(facts(OPEN, prepared=True), Plan(Step.RUN), id="runs are open"),
        pytest.param(facts(OPEN, prepared=True, prepare=BROKEN), Plan(Step.RUN), id="prepared all the same"),
        pytest.param(
            facts(NONE, prepared=True), Plan(Step.FINISH, Outcome.FAILED, "none of 10 runs succeeded"), id="all failed"
        ),
        pytest.param(facts(SOME, prepared=True), Plan(Step.ANALYSE), id="runs are over: analyse"),
        pytest.param(facts(SOME, prepared=True, analyse=ACTIVE), Plan(Step.ANALYSE), id="being analysed"),
        pytest.param(
            facts(SOME, prepared=True, analyse=BROKEN),
            Plan(Step.FINISH, Outcome.FAILED, f"the analysis failed: {BROKEN.message}"),
            id="cannot be analysed",
        ),
        pytest.param(
            facts(SOME, prepared=True, analysed=True, analyse=BROKEN),
            Plan(Step.FINISH, Outcome.SUCCEEDED, "9 of 10 runs succeeded"),
            id="analysed all the same",
        ),
        pytest.param(facts(cancel=True), Plan(Step.CANCEL, message="cancelled by spec.cancel"), id="cancel"),
        pytest.param(
            facts(OPEN, prepared=True, cancelled=True, cancel_reason="why"),
            Plan(Step.CANCEL, message="why"),
            id="cancelled: runs still open",
        ),
        pytest.param(
            facts(SOME, prepared=True, cancelled=True, cancel_reason="cancelled by spec.cancel"),
            Plan(Step.FINISH, Outcome.CANCELLED, "cancelled by spec.cancel"),
            id="cancelled: nothing is open",
        ),
        pytest.param(
            facts(cancelled=True, cancel_reason="cancelled by spec.cancel", prepare=BROKEN),
            Plan(Step.FINISH, Outcome.CANCELLED, "cancelled by spec.cancel"),
            id="cancelled before it was prepared",
        ),
        pytest.param(
            facts(RunCounts(failed=1, running=1), prepared=True, stop_on_error=True),
            Plan(Step.CANCEL, message="a run failed and stopOnError is true"),
            id="stopOnError",
        ),
        pytest.param(
            facts(RunCounts(succeeded=9, failed=1), prepared=True, stop_on_error=True),
            Plan(Step.CANCEL, message="a run failed and stopOnError is true"),
            id="stopOnError, the last one",
        ),
        pytest.param(
            facts(SOME, prepared=True, cancelled=True, cancel_reason="a run failed and stopOnError is true"),
            Plan(Step.FINISH, Outcome.FAILED, "a run failed and stopOnError is true"),
            id="stopOnError ends as failed",
        ),
        pytest.param(facts(OPEN, prepared=True, deadline_seconds=100), Plan(Step.RUN), id="at the deadline"),
        pytest.param(
            facts(OPEN, prepared=True, deadline_seconds=99),
            Plan(Step.CANCEL, message="deadlineSeconds is over (99 s)"),
            id="after the deadline",
        ),
        pytest.param(
            facts(cancelled=True, cancel_reason="deadlineSeconds is over (99 s)"),
            Plan(Step.FINISH, Outcome.FAILED, "deadlineSeconds is over (99 s)"),
            id="the deadline ends as failed",
        ),
        pytest.param(
            facts(OPEN, finished=True, outcome=Outcome.CANCELLED, cancel=True, deadline_seconds=1),
            Plan(Step.NOTHING),
            id="finished: nothing for ever",
        ),
        pytest.param(
            facts(SOME, prepared=True, finished=True, outcome=Outcome.SUCCEEDED, retry_generation=1),
            Plan(Step.RETRY),
            id="retry: finished",
        ),
        pytest.param(facts(OPEN, prepared=True, retry_generation=1), Plan(Step.RETRY), id="retry: under way"),
        pytest.param(facts(OPEN, prepared=True, retry_generation=2, retried=2), Plan(Step.RUN), id="retry: done"),
        pytest.param(
            facts(SOME, prepared=True, finished=True, outcome=Outcome.FAILED, retry_generation=2, retried=2),
            Plan(Step.NOTHING),
            id="retry: done and finished again",
        ),
        pytest.param(
            facts(RunCounts(failed=1, running=1), prepared=True, stop_on_error=True, retry_generation=1),
            Plan(Step.RETRY),
            id="retry: comes before stopOnError",
        ),
        pytest.param(
            facts(OPEN, prepared=True, cancelled=True, cancel_reason="why", retry_generation=1),
            Plan(Step.CANCEL, message="why"),
            id="retry: not while it is being stopped",
        ),
        pytest.param(
            facts(finished=True, outcome=Outcome.CANCELLED, retry_generation=1),
            Plan(Step.NOTHING),
            id="retry: cancelled",
        ),
        pytest.param(
            facts(SOME, finished=True, outcome=Outcome.SUCCEEDED, cancel=True, retry_generation=1),
            Plan(Step.NOTHING),
            id="retry: finished, and to be cancelled all the same",
        ),
        pytest.param(
            facts(OPEN, prepared=True, cancel=True, retry_generation=1),
            Plan(Step.CANCEL, message="cancelled by spec.cancel"),
            id="retry: to be cancelled",
        ),
        pytest.param(
            facts(NONE, finished=True, outcome=Outcome.FAILED, deadline_seconds=99, retry_generation=1),
            Plan(Step.NOTHING),
            id="retry: after the deadline",
        ),
        pytest.param(
            facts(NONE, finished=True, outcome=Outcome.FAILED, deadline_seconds=101, retry_generation=1),
            Plan(Step.RETRY),
            id="retry: the deadline was raised",
        ),
    ],
)
def test_plan(known: Facts, plan: Plan) -> None:
    assert decide_plan(known) == plan


def carried_out(known: Facts, well: bool) -> Facts:
    """The world after a step: Jobs end (well or not), runs end, the ledger keeps what it is told."""
    plan, row, counts, now = decide_plan(known), known.row, known.counts, known.now
    if plan.step is Step.PREPARE:
        if not well:
            return replace(known, prepare=BROKEN)
        return replace(known, row=replace(row, prepared_at=now), counts=RunCounts(planned=10), prepare=DONE)
    if plan.step is Step.RUN:
        counts = replace(counts, planned=0, queued=0, running=0, succeeded=counts.succeeded + 1) if well else NONE
        return replace(known, counts=counts)
    if plan.step is Step.ANALYSE:
        return replace(known, row=replace(row, analysed_at=now)) if well else replace(known, analyse=BROKEN)
    if plan.step is Step.CANCEL:
        closed = replace(counts, planned=0, queued=0, running=0, cancelled=counts.cancelled + counts.open)
        row = replace(row, cancelled_at=row.cancelled_at or now, cancel_reason=row.cancel_reason or plan.message)
        return replace(known, row=row, counts=closed)
    if plan.step is Step.RETRY:
        again = counts.failed + counts.cancelled
        row = replace(row, retry_generation=known.retry_generation)
        if again or row.outcome is Outcome.FAILED:
            row = replace(
                row,
                analysed_at=None,
                cancelled_at=None,
                cancel_reason=None,
                finished_at=None,
                outcome=None,
                message=None,
            )
        counts = replace(counts, planned=counts.planned + again, failed=0, cancelled=0)
        return replace(known, row=row, counts=counts, prepare=JobView(), analyse=JobView())
    assert plan.step is Step.FINISH
    return replace(known, row=replace(row, finished_at=now, outcome=plan.outcome, message=plan.message))


EVERYTHING = [
    facts(
        counts, cancel=cancel, suspend=suspend, deadline_seconds=deadline, prepare=prepare, analyse=analyse,
        stop_on_error=stop, prepared=prepared, analysed=analysed, cancelled=cancelled,
        cancel_reason="why" if cancelled else None, retry_generation=retry,
    )
    for counts, cancel, suspend, deadline, prepare, analyse, stop, (prepared, analysed), cancelled, retry in product(
        (RunCounts(), OPEN, ALL_WELL, SOME, NONE), (False, True), (False, True), (None, 1, 1000),
        (JobView(), ACTIVE, DONE, BROKEN), (JobView(), ACTIVE, BROKEN), (False, True),
        ((False, False), (True, False), (True, True)), (False, True), (0, 1),
    )
    if counts.total or not analysed
]  # fmt: skip


@pytest.mark.parametrize("well", [True, False], ids=["all goes well", "all goes wrong"])
def test_every_combination_reaches_an_end(well: bool) -> None:
    for known in EVERYTHING:
        now = known
        for _ in range(8):
            if decide_plan(now).step is Step.NOTHING:
                break
            now = carried_out(now, well)
        assert decide_plan(now) == Plan(Step.NOTHING), known
        assert now.row.outcome is not None


def test_no_success_without_a_run_that_succeeded_and_an_analysis() -> None:
    for known in EVERYTHING:
        plan = decide_plan(known)
        if plan.outcome is Outcome.SUCCEEDED:
            assert known.counts.succeeded
            assert not known.counts.open
            assert known.row.analysed_at is not None
            assert known.row.cancelled_at is None


def test_every_phase_is_one_the_api_server_takes() -> None:
    allowed = set(get_args(api.WorkflowPhase))
    for known in EVERYTHING:
        assert phase(known) in allowed
        finished = replace(known, row=replace(known.row, finished_at=T0, outcome=Outcome.FAILED))
        assert phase(finished) == "Failed"


@pytest.mark.parametrize(
    ("known", "word"),
    [
        (facts(), "Preparing"),
        (facts(OPEN, prepared=True), "Running"),
        (facts(OPEN, prepared=True, suspend=True), "Suspended"),
        (facts(SOME, prepared=True, suspend=True), "Analysing"),
        (facts(SOME, prepared=True, analysed=True), "Analysing"),
        (facts(OPEN, prepared=True, cancel=True), "Cancelling"),
        (facts(OPEN, prepared=True, cancelled=True), "Cancelling"),
        (facts(ALL_WELL, finished=True, outcome=Outcome.SUCCEEDED, cancel=True), "Succeeded"),
    ],
)
def test_phase(known: Facts, word: str) -> None:
    assert phase(known) == word


def told(known: Facts, failures: list[FailedRun] | None = None) -> dict[str, tuple[bool | None, str, str]]:
    return {each.type: (each.status, each.reason, each.message) for each in conditions(known, failures or [])}


TYPES = ["Ready", "Accepted", "Prepared", "RunsFinished", "AllRunsSucceeded", "Analysed"]


def test_conditions_come_in_one_order_and_ready_first() -> None:
    for known in EVERYTHING:
        found = conditions(known, [])
        assert [each.type for each in found] == TYPES + ["Retried"] * known.retry_generation
        assert all(each.reason for each in found)
        assert found[0].message or known.row.outcome


def test_ready_says_what_is_waited_for() -> None:
    assert told(facts())["Ready"] == (False, "Waiting", "the Job that prepares runs has not started")
    assert told(facts(prepare=ACTIVE))["Ready"] == (False, "Preparing", "the Job is at work (preparing)")
    pulling = JobView(JobState.ACTIVE, "ImageCannotBePulled", "image x cannot be pulled: not found")
    assert told(facts(prepare=pulling))["Ready"] == (
        False,
        "ImageCannotBePulled",
        "image x cannot be pulled: not found",
    )
    running = told(facts(OPEN, prepared=True))["Ready"]
    assert running == (False, "Running", "4 succeeded, 1 running, 2 queued, 3 planned of 10")
    suspended = told(facts(OPEN, prepared=True, suspend=True))["Ready"]
    assert suspended[:2] == (False, "Suspended")
    assert "3 planned of 10" in suspended[2]
    assert told(facts(SOME, prepared=True, suspend=True))["Ready"][1] == "Waiting"
    assert told(facts(SOME, prepared=True, analyse=ACTIVE))["Ready"][1] == "Analysing"
    assert told(facts(SOME, prepared=True, analysed=True))["Ready"] == (False, "Finishing", "the results are there")


def test_ready_says_how_it_ended() -> None:
    done = facts(ALL_WELL, prepared=True, analysed=True, finished=True, outcome=Outcome.SUCCEEDED, message="10 of 10")
    assert told(done)["Ready"] == (True, "Succeeded", "10 of 10")
    failed = facts(finished=True, outcome=Outcome.FAILED, message="preparing failed", prepare=BROKEN)
    assert told(failed)["Ready"] == (False, "Failed", "preparing failed")
    assert told(failed)["Prepared"] == (False, "Crashing", BROKEN.message)


@pytest.mark.parametrize(
    ("known", "condition"),
    [
        (
            facts(OPEN, prepared=True, retry_generation=1),
            (False, "Waiting", "the failed runs are about to be planned again"),
        ),
        (
            facts(OPEN, prepared=True, retry_generation=2, retried=2),
            (True, "Retried", "retryGeneration 2 has been carried out"),
        ),
        (
            facts(OPEN, cancelled=True, retry_generation=1),
            (False, "Waiting", "waits until what still runs has been stopped"),
        ),
        (
            facts(OPEN, cancel=True, retry_generation=1),
            (False, "WorkflowCancelled", "a cancelled workflow cannot be taken up again: make a new PecanWorkflow"),
        ),
        (
            facts(NONE, finished=True, outcome=Outcome.FAILED, deadline_seconds=99, retry_generation=1),
            (False, "DeadlineOver", "deadlineSeconds is over (99 s): raise it for the failed runs to be run again"),
        ),
        (
            facts(OPEN, cancel=True, retry_generation=1, retried=1),
            (True, "Retried", "retryGeneration 1 has been carried out"),
        ),
    ],
    ids=["asked for", "done", "being stopped", "cancelled", "too late", "done, then cancelled"],
)
def test_what_became_of_a_retry(known: Facts, condition: tuple[bool, str, str]) -> None:
    assert told(known)["Retried"] == condition


@pytest.mark.parametrize(
    ("reason", "over"),
    [("Retried", True), ("WorkflowCancelled", True), ("DeadlineOver", True), ("Waiting", False), (None, False)],
)
def test_a_finished_workflow_is_over_when_nothing_comes_of_a_retry(reason: str | None, over: bool) -> None:
    retried = [] if reason is None else [{"type": "Retried", "reason": reason}]
    status = {"phase": "Failed", "finishedAt": "2024-05-01T00:00:00Z", "observedGeneration": 2}
    status |= {"conditions": [{"type": "Ready", "reason": "Failed"}, *retried]}
    found: dict[str, Any] = {"metadata": {"generation": 2}, "spec": {"retryGeneration": 1}, "status": status}
    assert is_over(found) is over
    assert is_over({**found, "spec": {"retryGeneration": 0}})


def test_failed_runs_are_named() -> None:
    failures = [FailedRun(str(n), 3, 1, f"job {n} says no") for n in range(5)]
    known = told(facts(SOME, prepared=True), failures)["AllRunsSucceeded"]
    assert known[:2] == (False, "RunsFailed")
    assert known[2].startswith("9/10; run 0 (attempt 3): job 0 says no; run 1")
    assert "job 3" not in known[2]
    assert told(facts(ALL_WELL, prepared=True))["AllRunsSucceeded"] == (True, "AllSucceeded", "10/10")
    assert told(facts(OPEN, prepared=True))["AllRunsSucceeded"] == (None, "Running", "4/10")
    assert told(facts(RunCounts(cancelled=2), prepared=True))["AllRunsSucceeded"] == (False, "RunsFailed", "0/2")


def test_one_error_is_told_once() -> None:
    failures = [FailedRun(str(n), 1, 65, "no such trait") for n in range(3)]
    message = told(facts(SOME, prepared=True), failures)["AllRunsSucceeded"][2]
    assert message == "9/10; run 0 (attempt 1): no such trait"


def test_a_failed_workflow_says_why_first() -> None:
    failed = facts(RunCounts(failed=2), prepared=True, outcome=Outcome.FAILED, message="none of 2 runs succeeded")
    known = told(failed, [FailedRun("7", 1, 65, "no such trait")])
    assert known["Ready"] == (False, "Failed", "none of 2 runs succeeded; run 7 (attempt 1): no such trait")
    assert known["Analysed"] == (False, "Ended", "the workflow has ended without it")


def test_a_model_that_is_not_ready_is_named_while_runs_wait() -> None:
    model = Condition("ModelReady", False, "ImageCannotBePulled", "PecanModel dalec: no such image")
    ready, *others = conditions(facts(OPEN, prepared=True), [], [model])
    assert ready.message == f"{progress_message(OPEN)}; PecanModel dalec: no such image"
    assert others[-1] is model
    assert "PecanModel" not in conditions(facts(), [], [model])[0].message


def test_progress_leaves_zeros_out() -> None:
    assert progress_message(RunCounts()) == "no runs of 0"
    assert progress_message(RunCounts(succeeded=97, failed=3)) == "97 succeeded, 3 failed of 100"


def test_a_condition_is_a_value() -> None:
    assert conditions(facts(), [])[1] == Condition("Accepted", True, "Accepted", "workflow 99000000001")


# --- with PEcAn's R ---------------------------------------------------------------------------------------------------


def prepared_condition(**given: Any) -> tuple[str, str]:
    (found,) = (each for each in conditions(facts(**given), []) if each.type == "Prepared")
    return found.reason, found.message


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"framework": "pecan", "stage": "TRAIT"}, "PEcAn's R is at work: TRAIT"),
        ({"framework": "pecan", "stage": "input conversion"}, "PEcAn's R is at work: input conversion"),
        ({"framework": "pecan"}, "the Job is at work (preparing)"),
        ({}, "the Job is at work (preparing)"),
    ],
)
def test_a_condition_names_the_stage_that_r_is_in(given: dict[str, Any], said: str) -> None:
    assert prepared_condition(prepare=ACTIVE, **given) == ("Preparing", said)


def test_a_job_that_begins_anew_says_so() -> None:
    assert prepared_condition(prepare=LOST, framework="pecan") == ("JobLost", f"begins anew: {LOST.message}")
    assert phase(facts(prepare=LOST, framework="pecan")) == "Preparing"
