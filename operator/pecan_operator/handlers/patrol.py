"""What no event announces: runs whose worker or message is gone, and queued runs that nobody will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pecan_operator.clients.amqp import Broker
from pecan_operator.clients.ledger import Ledger
from pecan_operator.core.runs import lost
from pecan_operator.handlers.workqueue import Key
from pecan_operator.records import QueueCounts, RunRow, WorkerEvent

ORPHAN_SECONDS = 45.0
STALLED_SECONDS = 60.0
OVERDUE_MARGIN_SECONDS = 60.0


@dataclass(frozen=True)
class Served:
    """A model as the loop needs it: `replicas` is the latest decision."""

    key: Key
    replicas: int
    suspended: bool
    timeout_seconds: float
    grace_seconds: float


@dataclass(frozen=True)
class Sight:
    """What the loop knows at one moment, by queue. `workers`: since when each is idle, None while it has a job."""

    served: Mapping[str, Served]
    counts: Mapping[str, QueueCounts]
    ready: Mapping[str, int]
    workers: Mapping[str, Mapping[str, float | None]]


class Cluster(Protocol):
    """What is asked about the cluster; see handlers/cluster.py."""

    def gone_workers(self, namespace: str, workers: Iterable[str]) -> set[str]: ...

    def queues(self, namespace: str) -> set[str]: ...


class Patrol:
    """Goes round every few seconds. What it finds must last before it counts: it remembers since when."""

    def __init__(
        self,
        namespace: str,
        ledger: Ledger,
        broker: Broker,
        cluster: Cluster,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._namespace = namespace
        self._ledger = ledger
        self._broker = broker
        self._cluster = cluster
        self._clock = clock
        self._now = now
        self._since: dict[str, dict[Hashable, float]] = {}

    def lost_runs(self, sight: Sight) -> list[WorkerEvent]:
        """Attempts of which nothing will be heard any more, as events."""
        now = self._now()
        events = []
        for queue, model in sight.served.items():
            limit = timedelta(seconds=model.timeout_seconds + model.grace_seconds + OVERDUE_MARGIN_SECONDS)
            overdue = self._ledger.overdue_runs(queue, now - limit)
            events += [lost(row, "no word of it since its time ran out", now) for row in overdue]
        for queue in sight.counts:
            events += [lost(row, reason, now) for row, reason in self._orphans(queue, sight)]
        return events

    def gone_workers(self, sight: Sight) -> set[str]:
        """Known workers whose pod is gone."""
        known = {worker for workers in sight.workers.values() for worker in workers}
        return self._cluster.gone_workers(self._namespace, known)

    def take_back(self, sight: Sight) -> bool:
        """Make queued runs planned again, or cancelled if their workflow is, where nobody will take them: on queues
        without a model or without workers, and where the messages are gone. True when there were any."""
        waiting = {queue for queue, count in sight.counts.items() if count.queued and not count.running}
        deserted = self._deserted(sight)
        for queue in deserted:
            self._broker.control({"command": "release", "queue": queue})
        idle = {queue for queue in sight.served if not sight.workers.get(queue)} if self._ledger.cancelling() else set()
        # The window would keep busy workers of a suspended model at work for as long again, and twice.
        suspended = {queue for queue, model in sight.served.items() if model.suspended}
        resting = {queue for queue, count in sight.counts.items() if count.queued and queue in suspended}
        recalled = (waiting & (deserted | idle)) | resting
        for queue in recalled:
            self._broker.recall(queue)
        silent = {
            queue
            for queue in waiting & sight.served.keys() - recalled
            if not sight.ready.get(queue) and None not in sight.workers.get(queue, {}).values()
        }
        vanished = self._lasting("queues without messages", silent, STALLED_SECONDS)
        back = [queue for queue in sight.counts if queue in recalled or queue in vanished]
        return bool(back and self._ledger.requeue_queued(back))

    def _deserted(self, sight: Sight) -> set[str]:
        """Queues with work and without a model. After a start no model is served yet, so the API server is asked."""
        unserved = sight.counts.keys() - sight.served.keys()
        return unserved - self._cluster.queues(self._namespace) if unserved else set()

    def _orphans(self, queue: str, sight: Sight) -> list[tuple[RunRow, str]]:
        """Running rows whose worker has been gone so long that another one would have reported them, or has been idle
        since: then the broker lost what it said."""
        running = {row.key: row for row in self._ledger.running_runs(queue)}
        workers = {row.worker for row in running.values() if row.worker is not None}
        gone = self._cluster.gone_workers(self._namespace, workers)
        idle = {worker for worker, since in sight.workers.get(queue, {}).items() if since is not None}
        reasons = {
            key: "its worker pod is gone" if row.worker in gone else "its worker is idle and has said nothing of it"
            for key, row in running.items()
            if row.worker in gone | idle
        }
        lasting = self._lasting(f"orphans of {queue}", reasons, ORPHAN_SECONDS)
        return [(running[key], reason) for key, reason in reasons.items() if key in lasting]

    def _lasting(self, what: str, found: Iterable[Hashable], seconds: float) -> set[Hashable]:
        """Those of `found` that every call for `seconds` has found."""
        now = self._clock()
        before = self._since.get(what, {})
        since = self._since[what] = {each: before.get(each, now) for each in found}
        return {each for each, moment in since.items() if now - moment >= seconds}
