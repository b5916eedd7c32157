"""What the watches have shown: the latest form of each object, and whether a watch has fallen silent."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]


class Store:
    """Latest objects by kind, namespace and name, from watches and from answers of the API server. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}

    def put(self, kind: str, obj: Object) -> None:
        """Keep an object, unless a later version of it is known: an answer may be overtaken by the watch."""
        metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
        kept = {**obj, "metadata": metadata}
        place = (metadata["namespace"], metadata["name"])
        with self._lock:
            objects = self._objects.setdefault(kind, {})
            known = objects.get(place)
            if known is None or not _is_later(known, kept):
                objects[place] = kept

    def drop(self, kind: str, namespace: str, name: str) -> None:
        with self._lock:
            self._objects.get(kind, {}).pop((namespace, name), None)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        with self._lock:
            return self._objects.get(kind, {}).get((namespace, name))

    def list(self, kind: str, namespace: str | None = None, selector: Mapping[str, str] | None = None) -> list[Object]:
        """Objects of a kind, oldest first."""
        with self._lock:
            found = [
                obj
                for (space, _), obj in self._objects.get(kind, {}).items()
                if namespace is None or space == namespace
            ]
        if selector:
            found = [obj for obj in found if _matches(obj, selector)]
        return sorted(
            found, key=lambda obj: (obj["metadata"].get("creationTimestamp", ""), obj["metadata"].get("uid", ""))
        )


def _is_later(one: Object, other: Object) -> bool:
    """Whether `one` is a later version of the same object than `other`."""
    if one["metadata"].get("uid") != other["metadata"].get("uid"):
        return False
    versions = [str(each["metadata"].get("resourceVersion", "")) for each in (one, other)]
    return all(version.isdecimal() for version in versions) and int(versions[0]) > int(versions[1])


def _matches(obj: Object, selector: Mapping[str, str]) -> bool:
    given = obj["metadata"].get("labels") or {}
    return all(given.get(key) == value for key, value in selector.items())


class WatchMonitor:
    """Finds a hung watch: a listing shows a version that the watch has not delivered in `limit_seconds`.

    Nothing needs to be written for it, and a cluster in which nothing changes is not mistaken for a hung watch.
    """

    def __init__(self, limit_seconds: float = 60.0) -> None:
        self._limit_seconds = limit_seconds
        self._behind: dict[str, tuple[str | None, float]] = {}
        self._observed = 0.0
        self._lock = threading.Lock()

    def observe(self, listed: Mapping[str, str], seen: Mapping[str, str], now: float) -> None:
        """`listed` and `seen` give the resourceVersion by uid; `now` is monotonic."""
        with self._lock:
            self._observed = now
            for uid in [uid for uid in self._behind if uid not in listed]:
                del self._behind[uid]
            for uid, version in listed.items():
                shown = seen.get(uid)
                if shown == version:
                    self._behind.pop(uid, None)
                elif uid not in self._behind or self._behind[uid][0] != shown:
                    self._behind[uid] = (shown, now)

    def lag_seconds(self) -> float:
        """How long, up to the last listing, the watch has been behind; without listings nothing is known."""
        with self._lock:
            return max((self._observed - since for _, since in self._behind.values()), default=0.0)

    def is_hung(self) -> bool:
        return self.lag_seconds() > self._limit_seconds
