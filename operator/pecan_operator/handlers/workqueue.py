"""The queue of what to reconcile: one reconcile at a time per key, early calls coalesced, back-off per key on failure."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pecan_operator.errors import NotYet, OperatorError

BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Key:
    """A custom resource by kind and place; the handler finds out whether it is still there."""

    kind: str
    namespace: str
    name: str


class Schedule:
    """When each key is due, and which are being handled; times are of one monotonic clock. Not thread-safe.

    A key is never handed out while it is being handled; what is asked of it meanwhile waits until that is done.
    """

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._running: dict[Key, float] = {}
        self._again: dict[Key, float] = {}

    def add(self, key: Key, due: float) -> None:
        """Have `key` handled at `due` at the latest; an earlier appointment stands."""
        if key in self._running:
            self._again[key] = min(due, self._again.get(key, due))
        elif key not in self._due or due < self._due[key]:
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))

    def take(self, now: float) -> Key | None:
        """The key that has been due the longest; it counts as being handled until `done`."""
        next_due = self.next_due()
        if next_due is None or next_due > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
        self._running[key] = now
        return key

    def done(self, key: Key) -> None:
        del self._running[key]
        due = self._again.pop(key, None)
        if due is not None:
            self.add(key, due)

    def next_due(self) -> float | None:
        """When the next key can be taken; None when there is none, or only such as are being handled."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def oldest_running(self) -> float | None:
        """Since when the oldest call has been going on."""
        return min(self._running.values(), default=None)


class WorkQueue:
    """Has keys handled when they are due, in one of `threads` threads, never twice at once for a key."""

    def __init__(
        self, handle: Callable[[Key], None], threads: int = 8, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._handle = handle
        self._clock = clock
        self._condition = threading.Condition()
        self._schedule = Schedule()
        self._failures: dict[Key, int] = {}
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"reconcile-{n}", daemon=True) for n in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, deadline_seconds: float = 10.0) -> None:
        """Let what is running finish, take up nothing more."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        until = self._clock() + deadline_seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, until - self._clock()))

    def add(self, key: Key, delay_seconds: float = 0.0) -> None:
        """Have `key` handled in `delay_seconds` at the latest; an earlier appointment stands."""
        with self._condition:
            self._schedule.add(key, self._clock() + delay_seconds)
            self._condition.notify()

    def longest_running_seconds(self) -> float:
        """How long the oldest handler call has been going on; 0 when none is."""
        with self._condition:
            since = self._schedule.oldest_running()
            return 0.0 if since is None else self._clock() - since

    def _work(self) -> None:
        while (key := self._take()) is not None:
            retry_seconds = self._run(key)
            with self._condition:
                if retry_seconds is not None:
                    self._schedule.add(key, self._clock() + retry_seconds)
                self._schedule.done(key)
                self._condition.notify()

    def _take(self) -> Key | None:
        with self._condition:
            while not self._stopping:
                now = self._clock()
                key = self._schedule.take(now)
                if key is not None:
                    return key
                due = self._schedule.next_due()
                self._condition.wait(None if due is None else due - now)
            return None

    def _run(self, key: Key) -> float | None:
        try:
            self._handle(key)
        except NotYet as waiting:
            self._failures.pop(key, None)
            return waiting.retry_seconds
        except OperatorError as error:
            _log.warning("%s %s/%s: %s", key.kind, key.namespace, key.name, error)
            return self._backoff(key)
        except Exception:
            _log.exception("%s %s/%s: reconcile failed", key.kind, key.namespace, key.name)
            return self._backoff(key)
        self._failures.pop(key, None)
        return None

    def _backoff(self, key: Key) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        return float(min(BACKOFF_FIRST_SECONDS * 2 ** min(failures - 1, 10), BACKOFF_MAX_SECONDS))
