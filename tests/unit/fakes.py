"""A small world in memory behind the operator's own interfaces: API server, ledger, broker, and what goes on by itself.

Every call of a fake counts, and can be made to fail before or after it has had its effect: see `Faults`.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from objects import DATA, NAMESPACE, PULLING

from pecan_operator.api.base import Resources
from pecan_operator.clients.amqp import EventBatch, PublishResult
from pecan_operator.core.labels import KIND_LABEL
from pecan_operator.core.names import slug
from pecan_operator.core.rframework import RExecutor
from pecan_operator.errors import NotYet, OperatorError, Unavailable, UserError
from pecan_operator.handlers.children import Children
from pecan_operator.handlers.cluster import Cluster
from pecan_operator.handlers.context import Context
from pecan_operator.handlers.installation import Connections
from pecan_operator.handlers.model import ModelHandler
from pecan_operator.handlers.runs import RunLoop
from pecan_operator.handlers.store import Store
from pecan_operator.handlers.workflow import WorkflowHandler
from pecan_operator.handlers.workqueue import Key, Schedule
from pecan_operator.records import (
    OPEN_STATES,
    Backlog,
    EventKind,
    FailedRun,
    Outcome,
    QueueCounts,
    RunChange,
    RunCounts,
    RunKey,
    RunMessage,
    RunPlan,
    RunRow,
    RunState,
    WorkerEvent,
    WorkflowRequest,
    WorkflowRow,
)
from pecan_operator.settings import read_settings

START = datetime(2024, 5, 1, tzinfo=UTC)
CONTROLLED = frozenset({"Deployment", "StatefulSet", "Job", "Pod", "PecanPlatform", "PecanModel", "PecanWorkflow"})


class Killed(BaseException):
    """The process is gone: nothing of ours catches this."""


# What these would raise, the real ones keep to themselves.
NEVER_RAISE = ("FakeKube.event", "FakeBroker.control", "FakeBroker.take_events", "FakeBroker.ack")


class Faults:
    """Makes the n-th call fail; `after` lets it have its effect first."""

    def __init__(self) -> None:
        self.count = 0
        self.at: int | None = None
        self.after = False
        self.error: BaseException = Killed()
        self.calls: list[str] = []

    def arm(self, at: int, error: BaseException, after: bool) -> None:
        self.count, self.at, self.error, self.after = 0, at, error, after

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        self.count += 1
        self.calls.append(name)
        now = self.count == self.at and (isinstance(self.error, Killed) or name not in NEVER_RAISE)
        if now and not self.after:
            raise self.error
        result = call()
        if now:
            raise self.error
        return result


def faulty(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        return self.faults.around(f"{type(self).__name__}.{method.__name__}", lambda: method(self, *arguments, **named))

    return counted


class FakeKube:
    """Objects by kind, namespace and name, never changed in place. Apply merges; what is owned goes with its owner."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.objects: dict[tuple[str, str | None, str], dict[str, Any]] = {}
        self.events: list[tuple[str, str, str]] = []
        self.writes: list[tuple[str, str, str]] = []
        self.watchers: list[Callable[[str, dict[str, Any], bool], None]] = []
        self._versions = itertools.count(1000)

    def put(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """As a user or a controller writes it: the generation follows the spec, the watch is told."""
        made = {**obj, "metadata": dict(obj["metadata"])}
        place = self._place(made)
        known = self.objects.get(place)
        if known == made:
            return made
        metadata = made["metadata"]
        number = next(self._versions)
        metadata["resourceVersion"] = str(number)
        metadata.setdefault("uid", f"uid-{number}")
        metadata.setdefault("creationTimestamp", f"2024-05-02T00:00:00.{number:06}Z")
        if known is not None and known.get("spec") != made.get("spec"):
            metadata["generation"] = known["metadata"].get("generation", 1) + 1
        self.objects[place] = made
        self._tell(made, gone=False)
        return made

    def remove(self, kind: str, name: str, namespace: str | None = NAMESPACE) -> None:
        gone = self.objects.pop((kind, namespace, name), None)
        if gone is None:
            return
        self._tell(gone, gone=True)
        uid = gone["metadata"]["uid"]
        for obj in list(self.objects.values()):
            if any(owner["uid"] == uid for owner in obj["metadata"].get("ownerReferences") or ()):
                self.remove(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace"))

    def get(self, kind: str, name: str, namespace: str | None = NAMESPACE) -> dict[str, Any] | None:
        return self.objects.get((kind, namespace, name))

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [
            obj for (each, _, _), obj in sorted(self.objects.items(), key=lambda item: str(item[0])) if each == kind
        ]

    def discover(self, kinds: Sequence[tuple[str, str]]) -> None: ...

    @faulty
    def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._note("apply", manifest)
        known = self.objects.get(self._place(manifest))
        return self.put(manifest if known is None else _merged(known, manifest))

    @faulty
    def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        self._note("create", manifest)
        return None if self._place(manifest) in self.objects else self.put(manifest)

    @faulty
    def replace(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        known = self.objects.get(self._place(manifest))
        if known is None or known["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
            return None
        return self.put(manifest)

    @faulty
    def read(self, api_version: str, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        return self.get(kind, name, namespace)

    @faulty
    def list(
        self, api_version: str, kind: str, namespace: str | None, selector: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        return [
            obj
            for obj in self.of_kind(kind)
            if namespace in (None, obj["metadata"]["namespace"])
            and (selector or {}).items() <= (obj["metadata"].get("labels") or {}).items()
        ]

    @faulty
    def list_metadata(self, api_version: str, kind: str, namespace: str | None) -> list[dict[str, Any]]:
        return [obj["metadata"] for obj in self.of_kind(kind) if namespace in (None, obj["metadata"]["namespace"])]

    @faulty
    def delete(
        self, api_version: str, kind: str, namespace: str | None, name: str, uid: str | None = None,
        propagation: str = "Background",
    ) -> None:  # fmt: skip
        known = self.get(kind, name, namespace)
        if known is not None and uid in (None, known["metadata"]["uid"]):
            self._note("delete", known)
            self.remove(kind, name, namespace)

    @faulty
    def patch(
        self, api_version: str, kind: str, namespace: str | None, name: str, patch: dict[str, Any]
    ) -> dict[str, Any] | None:
        known = self.get(kind, name, namespace)
        if known is None:
            return None
        self._note("patch", known)
        return self.put(_merged(known, patch))

    @faulty
    def apply_status(self, obj: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any] | None:
        if obj.get("status") == status:
            return None
        known = self.objects.get(self._place(obj))
        if known is None or known["metadata"]["uid"] != obj["metadata"]["uid"]:
            return None
        self._note("status", known)
        return self.put({**known, "status": dict(status)})

    @faulty
    def event(self, obj: Mapping[str, Any], event_type: str, reason: str, message: str) -> None:
        self.events.append((event_type, reason, message))

    def _note(self, verb: str, obj: Mapping[str, Any]) -> None:
        self.writes.append((verb, obj["kind"], obj["metadata"]["name"]))

    def _tell(self, obj: dict[str, Any], gone: bool) -> None:
        for watcher in self.watchers:
            watcher(obj["kind"], obj, gone)

    @staticmethod
    def _place(obj: Mapping[str, Any]) -> tuple[str, str | None, str]:
        return obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]


def _unversioned(obj: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    version = known["metadata"].get("resourceVersion")
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}


def _merged(known: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(known)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged


@dataclass
class Run:
    """A row of the ledger's table of runs."""

    plan: RunPlan
    queue: str
    state: RunState = RunState.PLANNED
    attempt: int = 1
    exit_code: int | None = None
    worker: str | None = None
    last_error: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts_before: int = 0


class FakeLedger:
    """The ledger's methods over dictionaries; `now` is the database's clock."""

    def __init__(self, faults: Faults | None = None, now: Callable[[], datetime] = lambda: START) -> None:
        self.faults = faults or Faults()
        self.now = now
        self.workflows: dict[str, WorkflowRow] = {}
        self.dates: dict[int, tuple[str | None, str | None]] = {}
        self.runs: dict[RunKey, Run] = {}
        self.marker: str | None = None
        self.refuses: set[str] = set()

    @faulty
    def accept_workflow(self, request: WorkflowRequest) -> WorkflowRow:
        if request.uid not in self.workflows:
            workflow_id = 99_000_000_001 + len(self.workflows)
            given = {
                each.name: getattr(request, each.name) for each in fields(WorkflowRow) if hasattr(request, each.name)
            }
            self.dates[workflow_id] = (request.start_date, request.end_date)
            empty = {each.name: None for each in fields(WorkflowRow)}
            self.workflows[request.uid] = WorkflowRow(
                **{
                    **empty,
                    **given,
                    "workflow_id": workflow_id,
                    "folder": f"/data/workflows/PEcAn_{workflow_id}",
                    "accepted_at": self.now(),
                    "results": {},
                    "retry_generation": 0,
                    "losses": 0,
                }
            )
        return self.workflows[request.uid]

    @faulty
    def read_workflow(self, uid: str) -> WorkflowRow | None:
        return self.workflows.get(uid)

    @faulty
    def read_workflows_to_put_away(self) -> list[WorkflowRow]:
        return self.to_put_away()

    def to_put_away(self) -> list[WorkflowRow]:
        return [row for row in self.workflows.values() if row.finished_at is None or row.folder_policy == "Delete"]

    @faulty
    def forget_folder(self, uid: str) -> None:
        self._change(uid, folder_policy="Retain")

    @faulty
    def report_settings(
        self, workflow_id: int, *, start_date: str, end_date: str, stop_on_error: bool, ignored: Sequence[str]
    ) -> None:
        self.dates[workflow_id] = (start_date, end_date)
        (uid,) = (row.uid for row in self.workflows.values() if row.workflow_id == workflow_id)
        self._change(uid, stop_on_error=stop_on_error, settings_ignored=tuple(ignored))

    @faulty
    def update_workflow(self, uid: str, **given: Any) -> None:
        self._change(uid, **given)

    @faulty
    def cancel_workflow(self, uid: str, reason: str) -> None:
        row = self.workflows[uid]
        if row.finished_at is None:
            self._change(uid, cancelled_at=row.cancelled_at or self.now(), cancel_reason=row.cancel_reason or reason)
            for run in self._of(uid).values():
                if run.state is RunState.PLANNED:
                    run.state = RunState.CANCELLED

    @faulty
    def finish_workflow(self, uid: str, outcome: Outcome, message: str | None) -> bool:
        if self.workflows[uid].finished_at is not None:
            return False
        self._change(uid, finished_at=self.now(), outcome=outcome, message=message)
        return True

    @faulty
    def retry_workflow(self, uid: str, generation: int) -> int | None:
        row = self.workflows[uid]
        stopping = row.cancelled_at is not None and row.finished_at is None
        if row.retry_generation >= generation or row.outcome is Outcome.CANCELLED or stopping:
            return None
        again = [run for run in self._of(uid).values() if run.state in (RunState.FAILED, RunState.CANCELLED)]
        for run in again:
            run.state, run.attempts_before, run.attempt, run.finished_at = (
                RunState.PLANNED, run.attempt, run.attempt + 1, None,
            )  # fmt: skip
        self._change(uid, retry_generation=generation, losses=0)
        if again or row.outcome is Outcome.FAILED:
            cleared = ("analysed_at", "cancelled_at", "cancel_reason", "finished_at", "outcome", "message")
            self._change(uid, results={}, **dict.fromkeys(cleared))
        return len(again)

    @faulty
    def count_loss(self, uid: str, job: str) -> bool:
        row = self.workflows[uid]
        if row.lost_job == job:
            return False
        self._change(uid, losses=row.losses + 1, lost_job=job)
        return True

    @faulty
    def counts(self, uids: Sequence[str]) -> dict[str, RunCounts]:
        return {uid: self.run_counts(uid) for uid in uids}

    @faulty
    def failures(self, uid: str, limit: int = 5) -> list[FailedRun]:
        failed = [(key, run) for key, run in self._of(uid).items() if run.state is RunState.FAILED]
        return [FailedRun(key.run_id, run.attempt, run.exit_code, run.last_error) for key, run in failed[:limit]]

    @faulty
    def backlogs(self, queue: str) -> list[Backlog]:
        found = []
        for row in self._publishable():
            mine = [run for run in self._of(row.uid).values() if run.queue == queue]
            planned = sum(run.state is RunState.PLANNED for run in mine)
            in_flight = sum(run.state in (RunState.QUEUED, RunState.RUNNING) for run in mine)
            if planned:
                found.append(Backlog(row.workflow_id, planned, in_flight, row.priority, row.max_parallel))
        return found

    @faulty
    def queue_counts(self, queues: Sequence[str] | None = None) -> dict[str, QueueCounts]:
        made: dict[str, QueueCounts] = {}
        living = {row.workflow_id for row in self._publishable()}
        for row in self.workflows.values():
            mine = [run for run in self._of(row.uid).values() if run.state in OPEN_STATES]
            if not mine:
                continue
            states = [run.state for run in mine]
            planned, queued, running = (
                states.count(state) for state in (RunState.PLANNED, RunState.QUEUED, RunState.RUNNING)
            )
            room = planned if row.max_parallel is None else max(0, row.max_parallel - queued - running)
            before = made.get(row.queue, QueueCounts())
            made[row.queue] = QueueCounts(
                before.publishable + (min(planned, room) if row.workflow_id in living else 0),
                before.queued + queued,
                before.running + running,
            )
        return made

    @faulty
    def take_planned(self, workflow_id: int, queue: str, limit: int) -> list[RunMessage]:
        if workflow_id not in {row.workflow_id for row in self._publishable()}:
            return []
        (generation,) = (row.retry_generation for row in self.workflows.values() if row.workflow_id == workflow_id)
        planned = [
            RunMessage(
                key, run.attempt, run.queue, run.plan.folder, run.plan.outdir, tuple(run.plan.expect), generation
            )
            for key, run in self.runs.items()
            if key.workflow_id == workflow_id and run.queue == queue and run.state is RunState.PLANNED
        ]
        return planned[:limit]

    @faulty
    def mark_queued(self, messages: Sequence[RunMessage]) -> None:
        for message in messages:
            run = self.runs[message.key]
            if run.state is RunState.PLANNED and run.attempt == message.attempt:
                run.state = RunState.QUEUED

    @faulty
    def lock_runs(self, cursor: object, keys: Sequence[RunKey]) -> dict[RunKey, RunRow]:
        return {key: self.row(key) for key in keys if key in self.runs}

    @faulty
    def write_runs(self, cursor: object, changes: Sequence[RunChange]) -> set[str]:
        for change in changes:
            if change.last_error in self.refuses:
                raise ValueError("A string literal cannot contain NUL (0x00) characters.")
            run = self.runs[change.key]
            run.state, run.attempt = change.state, change.attempt
            for name in ("exit_code", "worker", "last_error", "started_at", "finished_at"):
                if getattr(change, name) is not None:
                    setattr(run, name, getattr(change, name))
        ids = {change.key.workflow_id for change in changes}
        return {row.uid for row in self.workflows.values() if row.workflow_id in ids}

    @faulty
    def overdue_runs(self, queue: str, started_before: datetime, limit: int = 1000) -> list[RunRow]:
        return [row for row in self._running(queue) if row.started_at is not None and row.started_at < started_before]

    @faulty
    def running_runs(self, queue: str, limit: int = 1000) -> list[RunRow]:
        return self._running(queue)

    @faulty
    def requeue_queued(self, queues: Sequence[str] | None = None) -> int:
        return self._requeue({RunState.QUEUED}, queues)

    @faulty
    def requeue_all(self) -> int:
        return self._requeue({RunState.QUEUED, RunState.RUNNING}, None)

    def _requeue(self, states: Set[RunState], queues: Sequence[str] | None) -> int:
        cancelled = {row.workflow_id for row in self.workflows.values() if row.cancelled_at is not None}
        back = [
            (key, run)
            for key, run in self.runs.items()
            if run.state in states and (queues is None or run.queue in queues)
        ]
        for key, run in back:
            run.state = RunState.CANCELLED if key.workflow_id in cancelled else RunState.PLANNED
        return len(back)

    @faulty
    def cancelling(self) -> list[tuple[int, int]]:
        return [
            (row.workflow_id, row.retry_generation)
            for row in self.workflows.values()
            if row.cancelled_at is not None and row.finished_at is None and self.run_counts(row.uid).open
        ]

    @faulty
    def raise_epoch(self) -> None: ...

    @faulty
    def read_marker(self) -> str | None:
        return self.marker

    @faulty
    def write_marker(self, name: str) -> None:
        self.marker = name

    def register_runs(self, workflow_id: int, plans: Sequence[RunPlan]) -> None:
        """What the Job `prepare` does."""
        (row,) = (row for row in self.workflows.values() if row.workflow_id == workflow_id)
        self._change(row.uid, prepared_at=row.prepared_at or self.now())
        state = RunState.PLANNED if row.cancelled_at is None else RunState.CANCELLED
        for plan in plans:
            self.runs.setdefault(RunKey(workflow_id, plan.run_id), Run(plan, row.queue, state))

    def report_analysis(self, workflow_id: int, results: Mapping[str, Any]) -> None:
        """What the Job `analyse` does."""
        (row,) = (row for row in self.workflows.values() if row.workflow_id == workflow_id)
        self._change(row.uid, analysed_at=self.now(), results=dict(results))

    def run_counts(self, uid: str) -> RunCounts:
        states = [run.state.value for run in self._of(uid).values()]
        return RunCounts(**{state: states.count(state) for state in set(states)})

    def row(self, key: RunKey) -> RunRow:
        run = self.runs[key]
        (workflow,) = (row for row in self.workflows.values() if row.workflow_id == key.workflow_id)
        return RunRow(
            key, workflow.uid, run.queue, run.plan.folder, run.plan.outdir, tuple(run.plan.expect), run.state, run.attempt,
            workflow.max_attempts, workflow.cancelled_at is not None, run.worker, run.started_at, run.attempts_before,
            workflow.retry_generation,
        )  # fmt: skip

    def _change(self, uid: str, **given: Any) -> None:
        self.workflows[uid] = replace(self.workflows[uid], **given)

    def _of(self, uid: str) -> dict[RunKey, Run]:
        workflow_id = self.workflows[uid].workflow_id
        return {key: run for key, run in self.runs.items() if key.workflow_id == workflow_id}

    def _publishable(self) -> list[WorkflowRow]:
        return [
            row
            for row in self.workflows.values()
            if not row.suspended and row.cancelled_at is None and row.finished_at is None
        ]

    def _running(self, queue: str) -> list[RunRow]:
        return [self.row(key) for key, run in self.runs.items() if run.queue == queue and run.state is RunState.RUNNING]


class FakeDatabase:
    """A transaction over the runs of a FakeLedger."""

    def __init__(self, ledger: FakeLedger) -> None:
        self._ledger = ledger

    @contextmanager
    def transaction(self) -> Iterator[object]:
        before = {key: replace(run) for key, run in self._ledger.runs.items()}
        try:
            yield object()
        except BaseException:
            self._ledger.runs = before
            raise


class FakeBroker:
    """Queues in memory. Like the real one it hands out an event once a connection, until it is acknowledged."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.connected = True
        self.connections = 1
        self.last_error: str | None = None
        self.wait_connected = lambda timeout: self.connected
        self.queues: dict[str, deque[RunMessage]] = {}
        self.controls: list[dict[str, Any]] = []
        self.published: list[RunMessage] = []
        self.loses_answers = False
        self._events: list[tuple[int, WorkerEvent, bool]] = []
        self._handed_out = 0
        self._tags = itertools.count(1)

    def say(self, *events: WorkerEvent, dead: bool = False) -> None:
        """A worker publishes events."""
        self._events += [(next(self._tags), event, dead) for event in events]

    def unacknowledged(self) -> list[WorkerEvent]:
        return [event for _, event, _ in self._events]

    def reconnect(self) -> None:
        self.connected, self.last_error = True, None
        self.connections += 1
        self._handed_out = 0

    def go_away(self, reason: str = "connection refused") -> None:
        self.connected, self.last_error = False, reason

    def lose_data(self) -> None:
        self.queues.clear()
        self._events.clear()
        self.reconnect()

    @faulty
    def declare_topology(self) -> None:
        self._answer()

    @faulty
    def declare_queues(self, names: Sequence[str]) -> None:
        self._answer()
        for name in names:
            self.queues.setdefault(name, deque())

    @faulty
    def ready(self, names: Sequence[str]) -> dict[str, int | None]:
        self._answer()
        return {name: len(self.queues[name]) if name in self.queues else None for name in names}

    @faulty
    def exists(self, name: str) -> bool:
        self._answer()
        return name in self.queues

    @faulty
    def recall(self, name: str) -> None:
        self._answer()
        self.queues.get(name, deque()).clear()

    @faulty
    def publish(self, messages: Sequence[RunMessage]) -> PublishResult:
        self._answer()
        result = PublishResult()
        for message in messages:
            if message.queue in self.queues:
                self.queues[message.queue].append(message)
                self.published.append(message)
                (result.unknown if self.loses_answers else result.confirmed).append(message)
            else:
                result.returned.append(message)
        return result

    @faulty
    def control(self, command: Mapping[str, Any]) -> None:
        if self.connected:
            self.controls.append(dict(command))

    @faulty
    def take_events(self, limit: int = 1000, timeout: float = 0.5) -> EventBatch:
        taken = self._events[self._handed_out : self._handed_out + limit]
        self._handed_out += len(taken)
        if not taken:
            return EventBatch()
        return EventBatch(
            events=[event for _, event, dead in taken if not dead],
            dead=[event for _, event, dead in taken if dead],
            token=(self.connections, taken[-1][0]),
        )

    @faulty
    def ack(self, batch: EventBatch) -> None:
        if batch.token is not None and batch.token[0] == self.connections:
            before = len(self._events)
            self._events = [each for each in self._events if each[0] > batch.token[1]]
            self._handed_out -= before - len(self._events)

    def _answer(self) -> None:
        if not self.connected:
            raise Unavailable("BrokerUnavailable", f"RabbitMQ does not answer: {self.last_error}")


class FakeBety:
    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.models: list[dict[str, str]] = []
        self.calls = 0

    @faulty
    def register_model(self, **given: str) -> int:
        self.calls += 1
        if given not in self.models:
            self.models.append(given)
        return 99_000_000_001 + self.models.index(given)


class FakeManagement:
    def __init__(self) -> None:
        self.totals: dict[str, tuple[int, int]] = {}

    def queue_totals(self) -> dict[str, tuple[int, int]]:
        return self.totals


class FakeInstallations:
    """What `Installations` is to handlers."""

    def __init__(self) -> None:
        self.present: dict[str, Any] = {}

    def get(self, namespace: str) -> Any:
        if namespace not in self.present:
            raise NotYet("PlatformNotReady", f"namespace {namespace} has no ready PecanPlatform")
        return self.present[namespace]

    def all(self) -> dict[str, Any]:
        return dict(self.present)


CONNECTIONS = Connections(
    platform="pecan", platform_uid="uid-platform", hostname="docker", ledger={}, rabbitmq={},
    ledger_secret="pecan-ledger", bety_secret="pecan-bety", worker_secret="pecan-amqp", worker_secret_version="v1",
    data=DATA, pulling=PULLING, framework="light", user_code=False,
    r=RExecutor("pecan/executor:1", Resources(), "docker", "pecan-amqp"),
)  # fmt: skip


@dataclass
class FakeWorker:
    """A worker pod's process: takes a message, says `started`, ends it a turn later, takes the next.

    `cancelled` are the workflows it was told to cancel, with the latest retry generation that this was about.
    """

    pod: str
    queue: str
    message: RunMessage | None = None
    paused_until: float | None = None
    is_to_retire: bool = False
    cancelled: dict[int, int] = field(default_factory=dict)

    def unwanted(self, message: RunMessage) -> bool:
        return self.cancelled.get(message.key.workflow_id, -1) >= message.generation


@dataclass
class World:
    """Cluster, services and operator of one namespace. A turn is a second.

    `outcome` says how an attempt ends: (state, exit code); `runs` how many runs `prepare` lays out; `job_losses` how many
    Jobs are lost with their pods before the first one succeeds.
    """

    faults: Faults = field(default_factory=Faults)
    runs: int = 4
    outcome: Callable[[RunMessage], tuple[str, int | None]] = lambda _: ("succeeded", 0)
    job_fails: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    executed: list[tuple[str, int]] = field(default_factory=list)
    removed_folders: list[str] = field(default_factory=list)
    errors: list[OperatorError] = field(default_factory=list)
    framework: str = "light"
    user_code: bool = False
    job_losses: int = 0

    def __post_init__(self) -> None:
        self.kube = FakeKube(self.faults)
        self.ledger = FakeLedger(self.faults, self.now)
        self.broker = FakeBroker(self.faults)
        self.bety = FakeBety(self.faults)
        self.management = FakeManagement()
        self.workers: dict[str, FakeWorker] = {}
        self._pod_numbers = itertools.count(1)
        self._controls_seen = 0
        self._lost_jobs = 0
        self.start_operator()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def start_operator(self) -> None:
        """A new process: it remembers nothing, and lists what there is."""
        world = self
        self.store = Store()
        self.schedule = Schedule()
        self.installations = FakeInstallations()

        class TimedContext(Context):
            def now(self) -> datetime:
                return world.now()

        context = TimedContext(
            self.kube, Children(self.kube), read_settings({}), self.store, self.installations, self.enqueue
        )  # type: ignore[arg-type]
        self.context = context
        self.models = ModelHandler(context, clock=lambda: self.seconds)
        self.workflows = WorkflowHandler(context, clock=lambda: self.seconds)
        self.loop = RunLoop(
            NAMESPACE, FakeDatabase(self.ledger), self.ledger, self.broker, Cluster(self.kube, self.store), self.enqueue,
            clock=lambda: self.seconds, now=self.now,
        )  # type: ignore[arg-type]  # fmt: skip
        self.installation = SimpleNamespace(
            connections=replace(CONNECTIONS, framework=self.framework, user_code=self.user_code),
            ledger=self.ledger, bety=self.bety, broker=self.broker, management=self.management, loop=self.loop,
        )  # fmt: skip
        self.installations.present[NAMESPACE] = self.installation
        self.kube.watchers = [self._watch]
        for obj in list(self.kube.objects.values()):
            self._watch(obj["kind"], obj, gone=False)
        self.resync_due = self.seconds

    def kill_operator(self) -> None:
        self.broker.reconnect()
        self.start_operator()

    def enqueue(self, key: Key, delay_seconds: float) -> None:
        self.schedule.add(key, self.seconds + delay_seconds)

    def reconcile(self, key: Key) -> None:
        {"PecanModel": self.models.reconcile, "PecanWorkflow": self.workflows.reconcile}[key.kind](key)

    def turn(self) -> None:
        """Everybody does what is due, then a second passes."""
        self.operate()
        self.nature()
        self.seconds += 1.0

    def operate(self) -> None:
        """The operator's part of a turn; being killed anywhere in it ends in a new process."""
        try:
            self._operate()
        except Killed:
            self.kill_operator()

    def run_until(self, done: Callable[[], bool], turns: int = 400) -> None:
        for _ in range(turns):
            if done():
                return
            self.turn()
        raise AssertionError(f"not reached after {turns} turns; last errors: {self.errors[-3:]}")

    def _operate(self) -> None:
        if self.seconds >= self.resync_due:
            self.resync_due = self.seconds + 30.0
            try:
                self.workflows.put_away_absent(NAMESPACE, self.installation)
            except OperatorError as error:
                self.errors.append(error)
        for _ in range(100):
            key = self.schedule.take(self.seconds)
            if key is None:
                break
            try:
                self.reconcile(key)
            except OperatorError as error:
                self.errors.append(error)
                self.schedule.add(key, self.seconds + (error.retry_seconds if isinstance(error, NotYet) else 1.0))
            self.schedule.done(key)
        else:
            raise AssertionError("a key is enqueued again and again without end")
        for _ in range(2):
            try:
                self.loop.step()
            except Unavailable as error:
                self.loop._unknown(error)
                self.errors.append(error)

    def nature(self) -> None:
        self._jobs()
        self._pods()
        self._control()
        self._work()

    def _watch(self, kind: str, obj: dict[str, Any], gone: bool) -> None:
        metadata = obj["metadata"]
        known = self.store.get(kind, metadata["namespace"], metadata["name"]) if kind in CONTROLLED else None
        # The operator knows what it wrote itself before the watch shows it.
        is_echo = known is not None and not gone and {**known, "status": 0} == {**_unversioned(obj, known), "status": 0}
        if kind in CONTROLLED:
            if gone:
                self.store.drop(kind, metadata["namespace"], metadata["name"])
            else:
                self.store.put(kind, obj)
        if kind in ("PecanModel", "PecanWorkflow"):
            if is_echo:
                return
            self.enqueue(Key(kind, metadata["namespace"], metadata["name"]), 0.0)
            if kind == "PecanModel":
                for workflow in self.store.list("PecanWorkflow", metadata["namespace"]):
                    self.enqueue(Key("PecanWorkflow", metadata["namespace"], workflow["metadata"]["name"]), 0.0)
            return
        labels = metadata.get("labels") or {}
        for owner, label in KIND_LABEL.items():
            for each in self.store.list(owner, metadata["namespace"]) if label in labels else ():
                if slug(each["metadata"]["name"]) == labels[label] and owner != "PecanPlatform":
                    self.enqueue(Key(owner, metadata["namespace"], each["metadata"]["name"]), 0.0)

    def _jobs(self) -> None:
        for job in self.kube.of_kind("Job"):
            if (job.get("status") or {}).get("conditions"):
                continue
            component = job["metadata"]["labels"]["app.kubernetes.io/component"]
            if self._lost_jobs < self.job_losses:
                self._lost_jobs += 1
                self.kube.put({**job, "status": {"conditions": [{"type": "Failed", "status": "True"}]}})
                continue
            if component in self.job_fails:
                failed = {
                    "type": "Failed",
                    "status": "True",
                    "reason": "PodFailurePolicy",
                    "message": self.job_fails[component],
                }
                self.kube.put({**job, "status": {"conditions": [failed]}})
                continue
            pod = job["spec"]["template"]["spec"]["containers"][0]
            environment = {variable["name"]: variable["value"] for variable in pod["env"]}
            workflow_id = int(environment["PECAN_WORKFLOW_ID"])
            if component == "prepare":
                self.ledger.register_runs(
                    workflow_id, [_plan(environment["PECAN_FOLDER"], n) for n in range(self.runs)]
                )
            elif component == "analyse":
                self.ledger.report_analysis(workflow_id, {"runs": self.runs})
            else:
                self.removed_folders.append(environment["PECAN_FOLDER"])
            self.kube.put({**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}})

    def _pods(self) -> None:
        deployments = {each["metadata"]["name"]: each for each in self.kube.of_kind("Deployment")}
        for name, deployment in deployments.items():
            pods = [pod for pod in self.kube.of_kind("Pod") if pod["metadata"]["generateName"] == name]
            wanted = deployment["spec"]["replicas"]
            for _ in range(wanted - len(pods)):
                self._start_pod(name, deployment)
            cost = "controller.kubernetes.io/pod-deletion-cost"
            pods.sort(key=lambda pod: int((pod["metadata"].get("annotations") or {}).get(cost, "0")))
            for pod in pods[: max(0, len(pods) - wanted)]:
                self.stop_pod(pod["metadata"]["name"])
        for pod in self.kube.of_kind("Pod"):
            if pod["metadata"]["generateName"] not in deployments:
                self.stop_pod(pod["metadata"]["name"])

    def _start_pod(self, name: str, deployment: dict[str, Any]) -> None:
        pod = f"{name}-{next(self._pod_numbers)}"
        template = deployment["spec"]["template"]
        self.kube.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": pod, "namespace": NAMESPACE, "generateName": name,
                    "labels": template["metadata"]["labels"], "annotations": {},
                },
                "status": {"phase": "Running"},
            }
        )  # fmt: skip
        queue = self.kube.of_kind("PecanModel")[0]["status"]["queue"] if self.kube.of_kind("PecanModel") else "?"
        self.workers[pod] = FakeWorker(pod, queue)
        self._say(self.workers[pod], EventKind.READY)

    def stop_pod(self, pod: str) -> None:
        """SIGTERM: the job is finished first."""
        worker = self.workers.pop(pod, None)
        if worker is not None:
            if worker.message is not None:
                self._finish(worker)
            self._say(worker, EventKind.STOPPED)
        self.kube.remove("Pod", pod)

    def kill_pod(self, pod: str) -> RunMessage | None:
        """SIGKILL: nothing is said, and the broker gives its message to another worker."""
        worker = self.workers.pop(pod)
        if worker.message is not None and worker.queue in self.broker.queues:
            self.broker.queues[worker.queue].appendleft(worker.message)
        self.kube.remove("Pod", pod)
        return worker.message

    def _control(self) -> None:
        commands = self.broker.controls[self._controls_seen :]
        self._controls_seen = len(self.broker.controls)
        for command in commands:
            for worker in self.workers.values():
                if command["command"] == "report" and worker.paused_until is None:
                    self._say(worker, EventKind.READY if worker.message is None else EventKind.STARTED)
                elif command["command"] == "retire" and worker.pod in command["workers"]:
                    worker.is_to_retire = True
                    self._retire(worker)
                elif command["command"] == "resume" and worker.pod in command["workers"] and worker.paused_until:
                    worker.paused_until, worker.is_to_retire = None, False
                    self._say(worker, EventKind.READY)
                elif command["command"] == "release" and command["queue"] in (None, worker.queue) and worker.message:
                    message = worker.message
                    self._finish(worker, "released", None)
                    self.broker.queues[worker.queue].appendleft(message)
                elif command["command"] == "cancel":
                    worker.cancelled[int(command["workflow"])] = command["generation"]
                    if worker.message and worker.unwanted(worker.message):
                        self._finish(worker, "cancelled", None)
                    self._answer_cancelled(worker)

    def _retire(self, worker: FakeWorker) -> None:
        if worker.is_to_retire and worker.message is None:
            worker.paused_until, worker.is_to_retire = self.seconds + 60.0, False
            self._say(worker, EventKind.RETIRED)

    def _answer_cancelled(self, worker: FakeWorker) -> None:
        queue = self.broker.queues.get(worker.queue, deque())
        for message in [message for message in queue if worker.unwanted(message)]:
            queue.remove(message)
            worker.message = message
            self._finish(worker, "cancelled", None)

    def _work(self) -> None:
        if not self.broker.connected:
            return
        for worker in self.workers.values():
            if worker.message is not None:
                self._finish(worker)
                self._retire(worker)
            queue = self.broker.queues.get(worker.queue)
            if worker.paused_until is not None and worker.paused_until <= self.seconds:
                worker.paused_until = None
                self._say(worker, EventKind.READY)
            self._answer_cancelled(worker)
            if queue and worker.paused_until is None:
                worker.message = queue.popleft()
                self._say(worker, EventKind.STARTED)

    def _finish(self, worker: FakeWorker, state: str | None = None, code: int | None = None) -> None:
        message = worker.message
        assert message is not None
        if state is None:
            state, code = self._result_of(message)
        self._say(worker, EventKind.FINISHED, state=state, exit_code=code)
        worker.message = None

    def _result_of(self, message: RunMessage) -> tuple[str, int | None]:
        """A run that succeeded, and an attempt that has a result, are answered from the result file."""
        results: dict[Any, tuple[str, int | None]] = self.__dict__.setdefault("results", {})
        if message.key in results:
            return results[message.key]
        if (message.key, message.attempt) in results:
            return results[(message.key, message.attempt)]
        self.executed.append((message.key.run_id, message.attempt))
        result = self.outcome(message)
        results[message.key if result[0] == "succeeded" else (message.key, message.attempt)] = result
        return result

    def _say(self, worker: FakeWorker, kind: EventKind, state: str | None = None, exit_code: int | None = None) -> None:
        about = worker.message if kind in (EventKind.STARTED, EventKind.FINISHED) else None
        self.broker.say(
            WorkerEvent(
                kind=kind, worker=worker.pod, queue=worker.queue, key=about.key if about else None,
                attempt=about.attempt if about else 0, folder=about.folder if about else None, state=state,
                exit_code=exit_code, reason=None if state in (None, "succeeded") else f"attempt {about and about.attempt}",
                started_at=self.now(), finished_at=self.now() if state else None, at=self.now(),
            )
        )  # fmt: skip


def _plan(folder: str, number: int) -> RunPlan:
    run_id = str(99_000_000_100 + number)
    return RunPlan(
        run_id=run_id, folder=f"{folder}/run/{run_id}", outdir=f"{folder}/out/{run_id}", expect=["1997.nc"],
        run_type="ensemble", site_id="NL-Loo", site_name="Loobos", member=number + 1, bety_run_id=int(run_id),
    )  # fmt: skip


__all__ = ["FakeBety", "FakeBroker", "FakeDatabase", "FakeKube", "FakeLedger", "FakeManagement", "Faults", "Killed",
           "Run", "UserError", "World"]  # fmt: skip
