"""A watch that remembers when it saw what."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from kubernetes.client import ApiClient, CustomObjectsApi
from kubernetes.watch import Watch
from urllib3.exceptions import HTTPError

Manifest = dict[str, Any]


class Change(NamedTuple):
    """`at` is time.monotonic(); `value` what was asked for of the object."""

    at: float
    type: str
    name: str
    version: str
    value: Any


class Watched:
    """Changes of one kind in a namespace from now on, in their order; use it in a `with` statement."""

    def __init__(
        self, client: ApiClient, api_version: str, plural: str, namespace: str, value: Callable[[Manifest], Any]
    ) -> None:
        group, version = api_version.split("/")
        # A client of its own: a stream that is left open holds up the connections of the others.
        api = CustomObjectsApi(ApiClient(client.configuration))
        self._list = lambda **given: api.list_namespaced_custom_object(group, version, namespace, plural, **given)
        self._value = value
        self._news = threading.Condition()
        self._watch = Watch()
        self._over = False
        self.changes: list[Change] = []

    def __enter__(self) -> Watched:
        since = self._list(limit=1)["metadata"]["resourceVersion"]
        threading.Thread(target=self._follow, args=(since,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._watch.stop()

    def _follow(self, since: str) -> None:
        while not self._over:
            # A connection that breaks off is made again; the last one breaks off because of `__exit__`.
            with contextlib.suppress(HTTPError, OSError):
                self._note(since)
            since = self._watch.resource_version or since

    def _note(self, since: str) -> None:
        for event in self._watch.stream(self._list, resource_version=since):
            now, obj = time.monotonic(), event["object"]
            metadata = obj["metadata"]
            change = Change(now, event["type"], metadata["name"], metadata["resourceVersion"], self._value(obj))
            with self._news:
                self.changes.append(change)
                self._news.notify_all()

    def wait(self, wanted: Callable[[Change], bool], seconds: float, what: str, begin: int = 0) -> Change:
        """The first change that is wanted, of those from number `begin` on; fails after `seconds`, naming `what`."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                while begin < len(self.changes):
                    if wanted(self.changes[begin]):
                        return self.changes[begin]
                    begin += 1
                left = deadline - time.monotonic()
                assert left > 0, f"not within {seconds:g} s: {what}"
                self._news.wait(left)

    def first(self, wanted: Callable[[Change], bool], count: int, seconds: float, what: str) -> dict[str, float]:
        """When each of `count` objects had its first wanted change; fails after `seconds`, naming `what`."""
        deadline = time.monotonic() + seconds
        found: dict[str, float] = {}
        looked = 0
        with self._news:
            while True:
                for change in self.changes[looked:]:
                    if wanted(change):
                        found.setdefault(change.name, change.at)
                if len(found) >= count:
                    return found
                looked = len(self.changes)
                left = deadline - time.monotonic()
                assert left > 0, f"not within {seconds:g} s: {count} {what}, there are {len(found)}"
                self._news.wait(left)
