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


class WorkQueue:
    """Keys and the moment each is due. `handle` is called in one of `threads` threads, never twice at once for a key."""

    def __init__(
        self, handle: Callable[[Key], None], threads: int = 4, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._handle = handle
        self._clock = clock
        self._condition = threading.Condition()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._running: dict[Key, float] = {}
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
            due = self._clock() + delay_seconds
            if key in self._due and self._due[key] <= due:
                return
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))
            self._condition.notify()

    def longest_running_seconds(self) -> float:
        """How long the oldest handler call has been going on; 0 when none is."""
        with self._condition:
            return max((self._clock() - since for since in self._running.values()), default=0.0)

    def depth(self) -> int:
        with self._condition:
            return len(self._due)

    def _work(self) -> None:
        while True:
            key = self._take()
            if key is None:
                return
            retry = self._run(key)
            with self._condition:
                del self._running[key]
                self._condition.notify_all()
            if retry is not None:
                self.add(key, retry)

    def _take(self) -> Key | None:
        with self._condition:
            while not self._stopping:
                now = self._clock()
                postponed = []
                found = None
                while self._heap and self._heap[0][0] <= now:
                    due, order, key = heapq.heappop(self._heap)
                    if self._due.get(key) != due:
                        continue
                    if key in self._running:
                        postponed.append((due, order, key))
                        continue
                    found = key
                    break
                for entry in postponed:
                    heapq.heappush(self._heap, entry)
                if found is not None:
                    del self._due[found]
                    self._running[found] = now
                    return found
                self._condition.wait(self._seconds_to_next(now, bool(postponed)))
            return None

    def _seconds_to_next(self, now: float, waiting_for_running: bool) -> float | None:
        if not self._heap:
            return None
        if waiting_for_running:
            return 1.0
        return max(0.0, self._heap[0][0] - now)

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
