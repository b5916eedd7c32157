"""What a PecanWorkflow needs next, and its phase, from the facts of the ledger and its Jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pecan_operator.core.rframework import MOST_LOSSES, PECAN
from pecan_operator.core.status import Condition, find
from pecan_operator.records import FailedRun, Outcome, RunCounts, WorkflowRow


class Step(StrEnum):
    """What has to happen next."""

    PREPARE = "prepare"
    RUN = "run"
    ANALYSE = "analyse"
    REPEAT = "repeat"
    CANCEL = "cancel"
    RETRY = "retry"
    FINISH = "finish"
    NOTHING = "nothing"


class JobState(StrEnum):
    """State of one of a workflow's Jobs. QUEUED: it may not be made yet. LOST: it failed, but another try may not."""

    ABSENT = "absent"
    QUEUED = "queued"
    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True)
class JobView:
    """A Job and, where it failed or does not get on, why; `uid` is that of the Kubernetes object."""

    state: JobState = JobState.ABSENT
    reason: str | None = None
    message: str | None = None
    uid: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of a workflow. `cancel` and `retry_generation` are the user's wish; times are UTC."""

    row: WorkflowRow
    counts: RunCounts
    cancel: bool
    suspend: bool
    retry_generation: int
    deadline_seconds: int | None
    prepare: JobView
    analyse: JobView
    now: datetime


@dataclass(frozen=True)
class Plan:
    """The next step; with FINISH the outcome, with CANCEL the reason to keep, with REPEAT the uid of the lost Job."""

    step: Step
    outcome: Outcome | None = None
    message: str = ""
    job: str | None = None


def queued(places: int) -> JobView:
    """A Job that waits until there are fewer."""
    return JobView(
        JobState.QUEUED, "Queued", f"waits for its turn: {places} Jobs of this namespace are at work, which is the most"
    )


CANCELLED_BY_USER = "cancelled by spec.cancel"
STOPPED_ON_ERROR = "a run failed and stopOnError is true"
DEADLINE = "deadlineSeconds is over"
RETRIED = "Retried"
RETRY_WAITS = "Waiting"
MOST_NAMED = 20


def is_over(obj: Mapping[str, Any]) -> bool:
    """Whether a PecanWorkflow has finished and says so in full: nothing can change any more."""
    status = obj.get("status") or {}
    ready = find(status, "Ready") or {}
    return (
        status.get("finishedAt") is not None
        and status.get("observedGeneration") == obj["metadata"].get("generation")
        and status.get("phase") == ready.get("reason")
        and status.get("phase") in {outcome.value for outcome in Outcome}
        and (not obj.get("spec", {}).get("retryGeneration") or _is_retry_settled(find(status, RETRIED)))
    )


def slim(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """A PecanWorkflow as it is worth remembering: of one that is over what says so, however many there are."""
    if not is_over(obj):
        return obj
    metadata, status = obj["metadata"], obj["status"]
    kept = ("name", "namespace", "uid", "generation", "resourceVersion", "creationTimestamp", "deletionTimestamp")
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "status": {
            "phase": status["phase"],
            "observedGeneration": status["observedGeneration"],
            "finishedAt": status["finishedAt"],
            "conditions": [{"type": "Ready", "reason": status["phase"]}],
        },
    }


def decide_plan(facts: Facts) -> Plan:
    """The one next step of a workflow. Called again after every step; ends at FINISH, then NOTHING until a RETRY."""
    row, counts = facts.row, facts.counts
    if _is_retry_asked(facts) and _retry_hindrance(facts) is None:
        return Plan(Step.RETRY)
    if row.finished_at is not None:
        return Plan(Step.NOTHING)
    if row.cancelled_at is None:
        reason = _cancel_reason(facts)
        if reason is not None:
            return Plan(Step.CANCEL, message=reason)
    elif counts.open:
        return Plan(Step.CANCEL, message=row.cancel_reason or "")
    else:
        return _after_cancel(row)
    if row.prepared_at is None:
        return _job_plan(Step.PREPARE, facts.prepare, row, "preparing failed")
    if counts.open:
        return Plan(Step.RUN)
    if counts.succeeded == 0:
        return Plan(Step.FINISH, Outcome.FAILED, f"none of {counts.total} runs succeeded")
    if row.analysed_at is None:
        return _job_plan(Step.ANALYSE, facts.analyse, row, "the analysis failed")
    return Plan(Step.FINISH, Outcome.SUCCEEDED, f"{counts.succeeded} of {counts.total} runs succeeded")


def _job_plan(step: Step, view: JobView, row: WorkflowRow, failed: str) -> Plan:
    if view.state is JobState.FAILED:
        return Plan(Step.FINISH, Outcome.FAILED, f"{failed}: {view.message}")
    if view.state is JobState.LOST:
        # The last one that counts may have been counted, but not yet removed.
        if row.losses < MOST_LOSSES or view.uid == row.lost_job:
            return Plan(Step.REPEAT, job=view.uid)
        return Plan(Step.FINISH, Outcome.FAILED, f"{failed}, after {row.losses} other tries: {view.message}")
    return Plan(step)


def _is_retry_asked(facts: Facts) -> bool:
    """Whether spec.retryGeneration has been raised since the latest retry."""
    return facts.retry_generation > facts.row.retry_generation


def _retry_hindrance(facts: Facts) -> tuple[str, str] | None:
    """Why the failed runs cannot be run again now: reason and sentence."""
    row = facts.row
    if facts.cancel or row.outcome is Outcome.CANCELLED:
        return "WorkflowCancelled", "a cancelled workflow cannot be taken up again: make a new PecanWorkflow"
    if _is_late(facts):
        return "DeadlineOver", f"{DEADLINE} ({facts.deadline_seconds} s): raise it for the failed runs to be run again"
    if row.cancelled_at is not None and row.finished_at is None:
        return RETRY_WAITS, "waits until what still runs has been stopped"
    return None


def _is_late(facts: Facts) -> bool:
    limit = facts.deadline_seconds
    return limit is not None and facts.now > facts.row.accepted_at + timedelta(seconds=limit)


def _cancel_reason(facts: Facts) -> str | None:
    if facts.cancel:
        return CANCELLED_BY_USER
    if _is_late(facts):
        return f"{DEADLINE} ({facts.deadline_seconds} s)"
    if facts.row.stop_on_error and facts.counts.failed:
        return STOPPED_ON_ERROR
    return None


def _after_cancel(row: WorkflowRow) -> Plan:
    reason = row.cancel_reason or ""
    if reason.startswith((STOPPED_ON_ERROR, DEADLINE)):
        return Plan(Step.FINISH, Outcome.FAILED, reason)
    return Plan(Step.FINISH, Outcome.CANCELLED, reason)


def phase(facts: Facts) -> str:
    """One word for people."""
    row = facts.row
    if row.outcome is not None:
        return row.outcome.value
    if row.cancelled_at is not None or facts.cancel:
        return "Cancelling"
    if row.prepared_at is None:
        return "Preparing"
    if facts.counts.open:
        return "Suspended" if facts.suspend else "Running"
    return "Analysing"


def conditions(facts: Facts, failures: Sequence[FailedRun], model: Sequence[Condition] = ()) -> list[Condition]:
    """Ready first, then one for each stage; each says what is waited for or what went wrong.

    `model` is the condition ModelReady of a workflow that has not ended.
    """
    stages = [_prepared(facts), _runs_finished(facts), _all_succeeded(facts, failures), _analysed(facts)]
    return [
        _ready(facts, stages, failures, model),
        Condition("Accepted", True, "Accepted", f"workflow {facts.row.workflow_id}"),
        *stages,
        *_retried(facts),
        *_settings_ignored(facts.row.settings_ignored),
        *model,
    ]


def _ready(
    facts: Facts, stages: Sequence[Condition], failures: Sequence[FailedRun], model: Sequence[Condition]
) -> Condition:
    row = facts.row
    if row.outcome is not None:
        message = row.message or ""
        if row.outcome is Outcome.FAILED and failures:
            message += f"; {_example(failures[0])}"
        return Condition("Ready", row.outcome is Outcome.SUCCEEDED, row.outcome.value, message)
    if facts.suspend and facts.counts.open:
        return Condition(
            "Ready", False, "Suspended", f"suspended: nothing new is started; {progress_message(facts.counts)}"
        )
    for stage in stages:
        if stage.type != "AllRunsSucceeded" and stage.status is not True:
            hindered = [each.message for each in model if each.status is False and stage.type == "RunsFinished"]
            return Condition("Ready", False, stage.reason, "; ".join([stage.message, *hindered]))
    return Condition("Ready", False, "Finishing", "the results are there")


def _job_condition(kind: str, done: str | None, facts: Facts, view: JobView, verb: str, waiting: str) -> Condition:
    if done is not None:
        return Condition(kind, True, kind, done)
    if view.state is JobState.FAILED:
        return Condition(kind, False, view.reason or "JobFailed", view.message or "the Job failed")
    if view.state is JobState.LOST:
        return Condition(kind, False, "JobLost", f"begins anew: {view.message or 'the Job was lost'}")
    if view.message:
        return Condition(kind, False, view.reason or verb, view.message)
    if view.state is JobState.ACTIVE:
        return Condition(kind, False, verb, _at_work(facts.row, verb))
    if facts.row.outcome is not None:
        return Condition(kind, False, "Ended", "the workflow has ended without it")
    return Condition(kind, False, "Waiting", waiting)


def _at_work(row: WorkflowRow, verb: str) -> str:
    if row.framework == PECAN and row.stage is not None:
        return f"PEcAn's R is at work: {row.stage}"
    return f"the Job is at work ({verb.lower()})"


def _prepared(facts: Facts) -> Condition:
    done = None if facts.row.prepared_at is None else f"{facts.counts.total} runs in {facts.row.folder}/run"
    waiting = "the Job that prepares runs has not started"
    return _job_condition("Prepared", done, facts, facts.prepare, "Preparing", waiting)


def _analysed(facts: Facts) -> Condition:
    done = None if facts.row.analysed_at is None else f"the results are in {facts.row.folder}"
    runs_are_over = facts.row.prepared_at is not None and not facts.counts.open
    waiting = "the Job that analyses the runs has not started" if runs_are_over else "the analysis waits for the runs"
    return _job_condition("Analysed", done, facts, facts.analyse, "Analysing", waiting)


def _runs_finished(facts: Facts) -> Condition:
    counts = facts.counts
    if facts.row.prepared_at is None:
        return Condition("RunsFinished", False, "NotPrepared", "the runs are not prepared")
    if counts.open:
        return Condition("RunsFinished", False, "Running", progress_message(counts))
    return Condition("RunsFinished", True, "Finished", progress_message(counts))


def _all_succeeded(facts: Facts, failures: Sequence[FailedRun]) -> Condition:
    counts = facts.counts
    if facts.row.prepared_at is None or counts.total == 0:
        return Condition("AllRunsSucceeded", None, "NotPrepared", "the runs are not prepared")
    said = f"{counts.succeeded}/{counts.total}"
    if counts.failed or counts.cancelled:
        by_error: dict[str | None, FailedRun] = {}
        for run in failures:
            by_error.setdefault(run.last_error, run)
        examples = "; ".join(_example(run) for run in list(by_error.values())[:3])
        return Condition("AllRunsSucceeded", False, "RunsFailed", f"{said}; {examples}" if examples else said)
    if counts.open:
        return Condition("AllRunsSucceeded", None, "Running", said)
    return Condition("AllRunsSucceeded", True, "AllSucceeded", said)


def _retried(facts: Facts) -> list[Condition]:
    if facts.retry_generation == 0:
        return []
    if _is_retry_asked(facts):
        reason, message = _retry_hindrance(facts) or (RETRY_WAITS, "the failed runs are about to be planned again")
        return [Condition(RETRIED, False, reason, message)]
    return [Condition(RETRIED, True, RETRIED, f"retryGeneration {facts.retry_generation} has been carried out")]


def _settings_ignored(nodes: Sequence[str]) -> list[Condition]:
    if not nodes:
        return []
    more = f" and {len(nodes) - MOST_NAMED} more" if len(nodes) > MOST_NAMED else ""
    named = ", ".join(nodes[:MOST_NAMED]) + more
    return [Condition("SettingsIgnored", True, "NodesIgnored", f"nodes of pecan.xml that have no effect: {named}")]


def _is_retry_settled(condition: Mapping[str, Any] | None) -> bool:
    """Whether the condition Retried, as it is in a status, says that nothing comes of spec.retryGeneration any more."""
    return condition is not None and condition["reason"] != RETRY_WAITS


def _example(run: FailedRun) -> str:
    return f"run {run.run_id} (attempt {run.attempt}): {run.last_error}"


def progress_message(counts: RunCounts) -> str:
    """Counts in words, without zeros."""
    parts = [
        f"{number} {state}"
        for state, number in (
            ("succeeded", counts.succeeded),
            ("failed", counts.failed),
            ("cancelled", counts.cancelled),
            ("running", counts.running),
            ("queued", counts.queued),
            ("planned", counts.planned),
        )
        if number
    ]
    return f"{', '.join(parts) or 'no runs'} of {counts.total}"
