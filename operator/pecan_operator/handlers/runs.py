"""The loop of one namespace that publishes runs, records what workers say, and keeps the ledger and the broker in step."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pecan_operator.clients.amqp import Broker, EventBatch
from pecan_operator.clients.database import Database
from pecan_operator.clients.ledger import Ledger
from pecan_operator.core.fairness import allocate
from pecan_operator.core.pace import Pace
from pecan_operator.core.runs import decide_changes
from pecan_operator.core.scaling import is_short, publish_window
from pecan_operator.errors import OperatorError, Unavailable
from pecan_operator.handlers import metrics
from pecan_operator.handlers.depths import Depths
from pecan_operator.handlers.patrol import Cluster, Patrol, Served, Sight
from pecan_operator.handlers.roster import Roster
from pecan_operator.handlers.workqueue import Key
from pecan_operator.messages import cancel_command
from pecan_operator.records import EventKind, QueueCounts, RunKey, RunMessage, RunRow, WorkerEvent

EVENT_BATCH = 1000
# A turn takes what came together meanwhile; the first ones after a rest come at once.
TURNS_A_SECOND = 20
TURNS_AT_ONCE = 10
LOOK_SECONDS = 0.1
REFRESH_SECONDS = 1.0
CONTROL_SECONDS = 1.0
PATROL_SECONDS = 5.0
PROGRESS_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueView:
    """What the loop knows of one queue. `counts` or `ready` None: the database or the broker does not answer.

    `workers` maps a pod to the moment (monotonic) since when it is idle, or None while it has a job; those in `retired`
    have said that they take nothing more; `grew_at` is when (monotonic) more work was seen last.
    """

    counts: QueueCounts | None
    ready: int | None
    workers: Mapping[str, float | None]
    retired: frozenset[str]
    broker_error: str | None
    grew_at: float | None = None


class RunLoop:
    """One thread. Other threads tell it what is served and followed, and read its views."""

    def __init__(
        self,
        namespace: str,
        database: Database,
        ledger: Ledger,
        broker: Broker,
        cluster: Cluster,
        enqueue: Callable[[Key, float], None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._namespace = namespace
        self._database = database
        self._ledger = ledger
        self._broker = broker
        self._patrol = Patrol(namespace, ledger, broker, cluster, clock, now)
        self._enqueue = enqueue
        self._clock = clock
        self._lock = threading.Lock()
        self._served: dict[str, Served] = {}
        self._followed: dict[str, Key] = {}
        self._roster = Roster(clock)
        self._depths = Depths(namespace, broker, clock)
        self._counts: dict[str, QueueCounts] | None = None
        self._work: dict[str, int] = {}
        self._grew_at: dict[str, float] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._due: dict[str, float] = {}
        self._connection = 0
        self._is_short = False
        self._pace = Pace(TURNS_A_SECOND, TURNS_AT_ONCE)
        self._unrecorded: EventBatch | None = None
        self._thread = threading.Thread(target=self._run, name=f"runs-{namespace}", daemon=True)
        self.beat = clock()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def serve(self, queue: str, served: Served) -> None:
        """A model takes runs from `queue`."""
        with self._lock:
            changed = self._served.get(queue) != served
            self._served[queue] = served
        if changed:
            self._wake.set()

    def withdraw(self, queue: str, key: Key) -> None:
        """The model of `queue` is gone: its workers give back what they hold; what waits is taken back soon."""
        with self._lock:
            if queue in self._served and self._served[queue].key != key:
                return
            self._served.pop(queue, None)
            self._work.pop(queue, None)
        self._broker.control({"command": "release", "queue": queue})

    def retire(self, workers: Sequence[str]) -> None:
        """Ask workers to take nothing more; the idle ones say that they have retired, and do so for a minute."""
        self._broker.control({"command": "retire", "workers": list(workers)})

    def resume(self, workers: Sequence[str]) -> None:
        """Retired workers are needed after all."""
        self._broker.control({"command": "resume", "workers": list(workers)})

    def report_ending(self, worker: str, at: str, how: str) -> None:
        """The container of a worker ended (`at` in ISO 8601): nobody has to wait until its claims have gone stale."""
        self._roster.end(worker, how)
        self._broker.control({"command": "gone", "worker": worker, "at": at, "reason": how})

    def cancel(self, workflow_id: int, retry_generation: int) -> None:
        """Workers stop what they run of the workflow, and begin nothing more of it; said again until none is open."""
        self._broker.control(cancel_command(workflow_id, retry_generation))
        self.wake()

    def release_all(self) -> None:
        """The platform is going: every worker gives back what it holds."""
        self._broker.control({"command": "release", "queue": None})

    def follow(self, uid: str, key: Key) -> None:
        """Have `key` reconciled when runs of the workflow `uid` change."""
        with self._lock:
            self._followed[uid] = key

    def unfollow(self, uid: str) -> None:
        with self._lock:
            self._followed.pop(uid, None)

    def wake(self) -> None:
        """There may be something to record or to publish: a turn is due."""
        self._wake.set()

    def view(self, queue: str) -> QueueView:
        with self._lock:
            counts = None if self._counts is None else self._counts.get(queue, QueueCounts())
            grew_at = self._grew_at.get(queue)
        workers, retired = self._roster.of(queue), self._roster.retired(queue)
        return QueueView(counts, self._depths.of(queue), workers, retired, self._broker.last_error, grew_at)

    def views(self) -> dict[str, tuple[QueueView, int]]:
        """Of all that is served: what is known, and the replicas decided on last."""
        with self._lock:
            served = dict(self._served)
        return {queue: (self.view(queue), model.replicas) for queue, model in served.items()}

    def _run(self) -> None:
        # A first turn without connection would cost a second, which counts when one operator follows another.
        self._broker.wait_connected(1.0)
        while not self._stopping.is_set():
            self.beat = self._clock()
            try:
                self.step()
            except Unavailable as error:
                self._unknown(error)
                self._stopping.wait(1.0)
            except Exception:
                _log.exception("run loop of namespace %s", self._namespace)
                self._stopping.wait(1.0)
            if not self._is_short:
                self._rest()
            self._wake.wait(LOOK_SECONDS)

    def _rest(self) -> None:
        while not self._stopping.is_set() and (seconds := self._pace.wait(self._clock())):
            self._stopping.wait(seconds)

    def step(self) -> None:
        """One turn: record events, publish, look at the queues; slower duties when they are due."""
        woken = self._wake.is_set()
        self._wake.clear()
        self._check_connection()
        moved = self._record_events()
        if moved or woken or self._is_due("refresh", REFRESH_SECONDS):
            self._refresh()
            if self._publish():
                self._wake.set()
        if self._is_due("look", LOOK_SECONDS):
            self._look()
        if self._is_due("control", CONTROL_SECONDS):
            self._control()
        if self._is_due("patrol", PATROL_SECONDS):
            try:
                self._go_round()
            except OperatorError as error:
                # What is known of queues stays known: the API server may be away.
                _log.warning("namespace %s: %s", self._namespace, error)

    def _is_due(self, duty: str, seconds: float) -> bool:
        now = self._clock()
        if now < self._due.get(duty, now):
            return False
        self._due[duty] = now + seconds
        return True

    def _check_connection(self) -> None:
        if not self._broker.connected:
            raise Unavailable("BrokerUnavailable", self._broker.last_error or "RabbitMQ does not answer")
        if self._broker.connections == self._connection:
            return
        connection = self._broker.connections
        self._depths.forget()
        self._ledger.raise_epoch()
        self._broker.declare_topology()
        with self._lock:
            queues = list(self._served)
        self._broker.declare_queues(queues)
        marker = self._ledger.read_marker()
        if marker is None or not self._broker.exists(marker):
            if marker is not None:
                count = self._ledger.requeue_all()
                _log.warning("RabbitMQ of namespace %s lost its data: %d runs are queued again", self._namespace, count)
            marker = f"pecan.marker.{secrets.token_hex(8)}"
            self._broker.declare_queues([marker])
            self._ledger.write_marker(marker)
        self._broker.control({"command": "report"})
        self._connection = connection

    def _record_events(self) -> bool:
        # The broker brings a batch once a connection: it is kept until the database has taken it.
        batch = self._unrecorded = self._unrecorded or self._broker.take_events(EVENT_BATCH, 0.0)
        for dead in batch.dead:
            _log.warning("namespace %s: %s", self._namespace, dead.reason)
        self.record([*batch.events, *batch.dead])
        self._roster.note(batch.events)
        self._tell_models(batch.events)
        self._unrecorded = None
        if batch.token is not None:
            self._broker.ack(batch)
        return bool(batch.events or batch.dead)

    def record(self, events: Sequence[WorkerEvent]) -> None:
        """Bring a batch of events into the ledger in one transaction, and tell who has to look again.

        An event that the ledger cannot take is dropped: it would hold up all others for ever.
        """
        if not events:
            return
        try:
            self._record(events)
        except Unavailable:
            raise
        except Exception:
            if len(events) == 1:
                _log.exception("namespace %s: an event of %s is dropped", self._namespace, events[0].worker)
                return
            for event in events:
                self.record([event])

    def _record(self, events: Sequence[WorkerEvent]) -> None:
        keys = sorted(
            {event.key for event in events if event.key is not None}, key=lambda key: (key.workflow_id, key.run_id)
        )
        if not keys:
            return
        touched: set[str] = set()
        with self._database.transaction() as cursor:
            rows = self._ledger.lock_runs(cursor, keys)
            changes = decide_changes(rows, [self._roster.explain(event, rows) for event in events])
            if changes:
                touched = self._ledger.write_runs(cursor, changes)
        for change in changes:
            metrics.RUNS.labels(self._namespace, rows[change.key].queue, change.state.value).inc()
        for workflow_id, generation in _unwanted(rows, events):
            self.cancel(workflow_id, generation)
        with self._lock:
            followers = [self._followed[uid] for uid in touched if uid in self._followed]
        for key in followers:
            self._enqueue(key, PROGRESS_SECONDS)

    def _tell_models(self, events: Iterable[WorkerEvent]) -> None:
        told = {event.queue: event.kind for event in events}
        with self._lock:
            models = [(self._served[queue].key, told[queue]) for queue in told.keys() & self._served.keys()]
        for key, kind in models:
            self._enqueue(key, 0.0 if kind is EventKind.RETIRED else PROGRESS_SECONDS)

    def _look(self) -> None:
        with self._lock:
            queues, counts = list(self._served), dict(self._counts or {})
        changed = self._depths.look(queues, counts.keys())
        if self._counts is not None:
            self._compare(changed)

    def _refresh(self) -> None:
        counts = self._ledger.queue_counts()
        with self._lock:
            self._counts = counts
            queues = list(self._served)
        self._compare(queues)

    def _compare(self, queues: Iterable[str]) -> None:
        """Have models looked at whose work has changed: at once when there is more of it."""
        depths = self._depths.known()
        now = self._clock()
        with self._lock:
            counts = self._counts or {}
            served = {queue: self._served[queue].key for queue in queues if queue in self._served}
            work = {queue: _work(counts.get(queue), depths[queue]) for queue in served if queue in depths}
            before = {queue: self._work.get(queue, -1) for queue in work}
            self._work.update(work)
            self._grew_at.update({queue: now for queue in work if work[queue] > before[queue]})
        for queue, amount in work.items():
            if amount != before[queue]:
                self._enqueue(served[queue], 0.0 if amount > before[queue] else PROGRESS_SECONDS)

    def _unknown(self, error: Unavailable) -> None:
        with self._lock:
            newly = self._counts is not None
            self._counts = None
            self._work = {}
            models = [served.key for served in self._served.values()]
        self._depths.forget()
        if newly:
            _log.warning("namespace %s: %s", self._namespace, error)
            for key in models:
                self._enqueue(key, 0.0)

    def _publish(self) -> bool:
        with self._lock:
            served = dict(self._served)
            counts = dict(self._counts or {})
        published = self._is_short = False
        for queue, model in served.items():
            count = counts.get(queue, QueueCounts())
            window = publish_window(model.replicas, count.recent, count.queued)
            slots = window - count.queued
            if model.suspended or count.publishable == 0 or slots <= 0:
                continue
            if self._publish_on(queue, slots):
                published = True
                self._is_short = self._is_short or is_short(count.queued, window)
        return published

    def _publish_on(self, queue: str, slots: int) -> bool:
        shares = allocate(self._ledger.backlogs(queue), slots)
        messages: list[RunMessage] = []
        for workflow_id, share in shares.items():
            messages.extend(self._ledger.take_planned(workflow_id, queue, share))
        if not messages:
            return False
        result = self._broker.publish(messages)
        self._ledger.mark_queued(result.confirmed)
        with self._lock:
            self._counts = _after_publishing(self._counts or {}, queue, len(result.confirmed))
        metrics.PUBLISHED.labels(self._namespace, queue).inc(len(result.confirmed))
        if result.returned:
            self._broker.declare_queues([queue])
        return bool(result.confirmed)

    def _control(self) -> None:
        for workflow_id, generation in self._ledger.cancelling():
            self.cancel(workflow_id, generation)

    def _go_round(self) -> None:
        with self._lock:
            if self._counts is None:
                return
            sight = Sight(dict(self._served), self._counts, self._depths.known(), self._roster.all())
        events = self._patrol.lost_runs(sight)
        self.record(events)
        self._roster.strike(self._patrol.gone_workers(sight))
        if self._patrol.take_back(sight):
            with self._lock:
                followers = list(self._followed.values())
            for key in followers:
                self._enqueue(key, 0.0)
            self._wake.set()
        if events:
            self._wake.set()


def _unwanted(rows: Mapping[RunKey, RunRow], events: Iterable[WorkerEvent]) -> set[tuple[int, int]]:
    """Cancelled workflows (id, retry generation) of which a worker has begun a run: its message was on its way when the
    workflow was cancelled."""
    begun = {event.key for event in events if event.kind is EventKind.STARTED}
    return {
        (key.workflow_id, row.retry_generation) for key, row in rows.items() if row.workflow_cancelled and key in begun
    }


def _after_publishing(counts: Mapping[str, QueueCounts], queue: str, number: int) -> dict[str, QueueCounts]:
    """Counts as the ledger would give them now: what waits in the queue must not be counted as publishable too."""
    before = counts.get(queue, QueueCounts())
    after = replace(before, publishable=max(0, before.publishable - number), queued=before.queued + number)
    return {**counts, queue: after}


def _work(counts: QueueCounts | None, ready: int) -> int:
    """How much there is to do on a queue, to tell whether it grew."""
    counts = counts or QueueCounts()
    return counts.publishable + max(counts.queued + counts.running, ready)
