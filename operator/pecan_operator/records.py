"""The plain values that core, clients and the executor exchange: rows of the ledger, messages and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

MOST_RUNS = 100_000
"""Runs that a workflow may have."""


class RunState(StrEnum):
    """State of a run in the ledger; the last three are final."""

    PLANNED = "planned"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_STATES = frozenset({RunState.PLANNED, RunState.QUEUED, RunState.RUNNING})
FINAL_STATES = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})


@dataclass(frozen=True)
class Epoch:
    """Which leader wrote: the Lease it held, by uid, and how often that had changed hands. A new Lease counts anew."""

    lease: str
    number: int


class Outcome(StrEnum):
    """How a workflow ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


@dataclass(frozen=True)
class RunKey:
    """Run ids are text and may repeat between workflows (PEcAn without BETY names them ENS-00001-<site>)."""

    workflow_id: int
    run_id: str


@dataclass(frozen=True)
class RunPlan:
    """A run as `prepare` lays it out; `expect` are file names that must exist in `outdir` after success."""

    run_id: str
    folder: str
    outdir: str
    expect: Sequence[str]
    run_type: str
    site_id: str
    site_name: str
    member: int | None = None
    pft: str | None = None
    trait: str | None = None
    quantile: str | None = None
    bety_run_id: int | None = None


@dataclass(frozen=True)
class RunDescription:
    """A run as BETY has it: runs.id, ensembles.runtype, runs.parameter_list, the site, and the calendar years (UTC) in which
    it begins and ends."""

    run_id: int
    runtype: str
    parameter_list: str
    site_id: int
    site_name: str
    first_year: int
    last_year: int


@dataclass(frozen=True)
class RunRow:
    """A run in the ledger, with what a decision about it needs of its workflow.

    `attempts_before` are those before the latest retry of the workflow: they do not count for `max_attempts`.
    """

    key: RunKey
    workflow_uid: str
    queue: str
    folder: str
    outdir: str
    expect: tuple[str, ...]
    state: RunState
    attempt: int
    max_attempts: int
    workflow_cancelled: bool
    worker: str | None = None
    started_at: datetime | None = None
    attempts_before: int = 0
    retry_generation: int = 0


@dataclass(frozen=True)
class RunChange:
    """What becomes of a row: the new state and attempt; None leaves a column as it is."""

    key: RunKey
    state: RunState
    attempt: int
    exit_code: int | None = None
    worker: str | None = None
    last_error: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True)
class RunCounts:
    """Runs of one workflow by state."""

    planned: int = 0
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.planned + self.queued + self.running + self.succeeded + self.failed + self.cancelled

    @property
    def open(self) -> int:
        return self.planned + self.queued + self.running


@dataclass(frozen=True)
class FailedRun:
    """A given-up run, for a message to the user."""

    run_id: str
    attempt: int
    exit_code: int | None
    last_error: str | None


@dataclass(frozen=True)
class WorkflowRequest:
    """What a PecanWorkflow asks the ledger to accept; dates are inclusive UTC days (ISO 8601), None when only a file on
    the data volume tells them. `settings_ignored` are nodes of a user's pecan.xml that have no effect."""

    uid: str
    namespace: str
    name: str
    model_id: int
    queue: str
    hostname: str
    start_date: str | None
    end_date: str | None
    params: Mapping[str, Any]
    notes: str
    priority: int
    max_parallel: int | None
    max_attempts: int
    stop_on_error: bool
    suspended: bool
    folder_policy: str
    settings_ignored: tuple[str, ...] = ()
    framework: str = "light"


@dataclass(frozen=True)
class WorkflowRow:
    """A workflow in the ledger. `outcome` is set together with `finished_at`; `retry_generation` is the latest
    spec.retryGeneration that was carried out. With framework `pecan`, `stage` is the one that R is in, `losses` how many
    Jobs were lost since that retry, and `lost_job` the uid of the last of these."""

    workflow_id: int
    uid: str
    namespace: str
    name: str
    queue: str
    folder: str
    folder_policy: str
    priority: int
    max_parallel: int | None
    max_attempts: int
    stop_on_error: bool
    suspended: bool
    accepted_at: datetime
    prepared_at: datetime | None
    analysed_at: datetime | None
    cancelled_at: datetime | None
    cancel_reason: str | None
    finished_at: datetime | None
    outcome: Outcome | None
    message: str | None
    results: Mapping[str, Any]
    retry_generation: int
    settings_ignored: tuple[str, ...] = ()
    framework: str = "light"
    stage: str | None = None
    losses: int = 0
    lost_job: str | None = None


@dataclass(frozen=True)
class Backlog:
    """What one workflow could publish on one queue; `in_flight` = queued + running."""

    workflow_id: int
    planned: int
    in_flight: int
    priority: int
    max_parallel: int | None


@dataclass(frozen=True)
class QueueCounts:
    """Work of one queue in the ledger. `publishable`: planned runs of workflows neither suspended nor cancelled, within
    their maxParallel. `recent`: completions of the last 0.5 s."""

    publishable: int = 0
    queued: int = 0
    running: int = 0
    recent: int = 0


@dataclass(frozen=True)
class RunMessage:
    """One attempt of a run on its way to a model queue; `generation` is its workflow's retry_generation."""

    key: RunKey
    attempt: int
    queue: str
    folder: str
    outdir: str
    expect: tuple[str, ...]
    generation: int = 0

    @property
    def message_id(self) -> str:
        return f"{self.key.workflow_id}.{self.key.run_id}.{self.attempt}"


class EventKind(StrEnum):
    """What a worker says. READY, RETIRED (it takes nothing more, as it was asked to) and STOPPED carry no run."""

    READY = "ready"
    STARTED = "started"
    FINISHED = "finished"
    RETIRED = "retired"
    STOPPED = "stopped"


@dataclass(frozen=True)
class WorkerEvent:
    """An event of a worker; `key` is None for work that others published (body-only messages).

    `state` of a finished event: succeeded, failed, cancelled, lost (the claim went stale), released (given back, costs
    no attempt) or refused (bad message; never retried).
    """

    kind: EventKind
    worker: str
    queue: str
    key: RunKey | None = None
    attempt: int = 0
    folder: str | None = None
    state: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    at: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
