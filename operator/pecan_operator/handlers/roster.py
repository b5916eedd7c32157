"""What the workers of a namespace have said of themselves, and how those ended that said nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from pecan_operator.records import EventKind, RunKey, RunRow, WorkerEvent

ENDINGS_KEPT = 1000


class Roster:
    """By queue and pod: since when (monotonic) a worker is idle, None while it has a job. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._workers: dict[str, dict[str, float | None]] = {}
        self._retired: set[str] = set()
        self._endings: dict[str, str] = {}

    def note(self, events: Iterable[WorkerEvent]) -> None:
        now = self._clock()
        with self._lock:
            for event in events:
                workers = self._workers.setdefault(event.queue, {})
                if event.kind is EventKind.STARTED:
                    workers[event.worker] = None
                elif event.kind is EventKind.STOPPED:
                    workers.pop(event.worker, None)
                elif event.kind is EventKind.FINISHED or workers.get(event.worker) is None:
                    # Of a very short job only the end is told.
                    workers[event.worker] = now
                if event.kind is EventKind.RETIRED:
                    self._retired.add(event.worker)
                else:
                    self._retired.discard(event.worker)

    def strike(self, gone: Iterable[str]) -> None:
        """These pods are no more."""
        with self._lock:
            for worker in gone:
                self._retired.discard(worker)
                for workers in self._workers.values():
                    workers.pop(worker, None)

    def end(self, worker: str, how: str) -> None:
        """The container of a worker has ended; another may be started in its place."""
        with self._lock:
            self._endings[worker] = how
            while len(self._endings) > ENDINGS_KEPT:
                del self._endings[next(iter(self._endings))]

    def of(self, queue: str) -> dict[str, float | None]:
        with self._lock:
            return dict(self._workers.get(queue, {}))

    def all(self) -> dict[str, dict[str, float | None]]:
        with self._lock:
            return {queue: dict(workers) for queue, workers in self._workers.items()}

    def retired(self, queue: str) -> frozenset[str]:
        with self._lock:
            return frozenset(self._retired & self._workers.get(queue, {}).keys())

    def explain(self, event: WorkerEvent, rows: Mapping[RunKey, RunRow]) -> WorkerEvent:
        """A lost attempt with how its worker ended, where that is known and not said yet."""
        row = rows.get(event.key) if event.key is not None else None
        if event.state != "lost" or row is None or row.worker is None:
            return event
        with self._lock:
            how = self._endings.get(row.worker)
        if how is None or how in (event.reason or ""):
            return event
        return replace(event, reason=f"{event.reason or f'worker {row.worker} disappeared'} ({how})")
