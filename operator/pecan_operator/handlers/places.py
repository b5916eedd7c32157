"""Places for Jobs of the executor: however many workflows come at once, only some of their pods start."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

from pecan_operator.handlers.workqueue import Key

Rank = tuple[int, int, int]


class Places:
    """Who has one of a namespace's places, and who waits for one. Thread-safe; all of it can be lost.

    A workflow whose Job is at work holds its place anew at each look, so after a start there may be some more for a
    while. `wake` has a key looked at again.
    """

    def __init__(self, number: int, wake: Callable[[Key, float], None]) -> None:
        self.number = number
        self._wake = wake
        self._lock = threading.Lock()
        self._held: dict[str, set[Key]] = defaultdict(set)
        self._waiting: dict[str, dict[Key, Rank]] = defaultdict(dict)

    def take(self, key: Key, rank: Rank) -> bool:
        """Whether the workflow may start a Job now; of those that wait the lowest rank comes first."""
        with self._lock:
            held, waiting = self._held[key.namespace], self._waiting[key.namespace]
            waiting[key] = rank
            if key not in held and (len(held) >= self.number or self._next(key.namespace) != [key]):
                return False
            del waiting[key]
            held.add(key)
        self._call_next(key.namespace)
        return True

    def hold(self, key: Key) -> None:
        """The workflow's Job is at work."""
        with self._lock:
            self._held[key.namespace].add(key)
            self._waiting[key.namespace].pop(key, None)

    def leave(self, key: Key) -> None:
        """The workflow has no Job at work and wants none."""
        with self._lock:
            held, waiting = self._held[key.namespace], self._waiting[key.namespace]
            if key not in held and key not in waiting:
                return
            held.discard(key)
            waiting.pop(key, None)
        self._call_next(key.namespace)

    def _call_next(self, namespace: str) -> None:
        with self._lock:
            following = self._next(namespace) if len(self._held[namespace]) < self.number else []
        for key in following:
            self._wake(key, 0.0)

    def _next(self, namespace: str) -> list[Key]:
        waiting = self._waiting[namespace]
        return [min(waiting, key=lambda key: (waiting[key], key))] if waiting else []
