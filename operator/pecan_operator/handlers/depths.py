"""How many messages wait in each queue, as the broker said last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Set

from pecan_operator.clients.amqp import Broker
from pecan_operator.core.rounds import next_round
from pecan_operator.handlers import metrics


class Depths:
    """Asks in rounds. Whoever publishes on a queue is seen by it, the operator or others. Thread-safe to read."""

    def __init__(self, namespace: str, broker: Broker, clock: Callable[[], float]) -> None:
        self._namespace = namespace
        self._broker = broker
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[str, float | None] = {}
        self._ready: dict[str, int] = {}

    def look(self, queues: Iterable[str], active: Set[str]) -> set[str]:
        """Ask about some of these queues; those whose depth has changed. Raises Unavailable."""
        asked = {queue: self._asked.get(queue) for queue in queues}
        chosen = next_round(asked, active | {queue for queue, depth in self._ready.items() if depth})
        found = self._broker.ready(chosen) if chosen else {}
        metrics.BROKER_REQUESTS.labels(self._namespace).inc(len(chosen))
        now = self._clock()
        with self._lock:
            changed = {queue for queue in chosen if self._ready.get(queue) != (found[queue] or 0)}
            self._ready = {queue: depth for queue, depth in self._ready.items() if queue in asked}
            self._ready.update({queue: found[queue] or 0 for queue in chosen})
            self._asked = {**asked, **dict.fromkeys(chosen, now)}
        return changed

    def forget(self) -> None:
        """Nothing is known any more."""
        with self._lock:
            self._asked, self._ready = {}, {}

    def known(self) -> Mapping[str, int]:
        """Messages by queue; a queue that has not been asked about is left out. A queue that does not exist has none."""
        with self._lock:
            return dict(self._ready)

    def of(self, queue: str) -> int | None:
        with self._lock:
            return self._ready.get(queue)
