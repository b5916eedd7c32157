"""What the watches have shown: the latest form of each object, and whether a watch has fallen silent."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from pecan_operator.core import labels
from pecan_operator.core.names import slug

Object = Mapping[str, Any]
Objects = list[Object]
Names = list[str]


class Store:
    """Latest objects by kind, namespace and name, from watches and from answers of the API server. Thread-safe.

    What belongs to one custom resource is found without a look at everything else, however many objects there are.
    `slim` may return a smaller form of an object to keep.
    """

    def __init__(self, slim: Callable[[str, Object], Object] = lambda _, obj: obj) -> None:
        self._lock = threading.Lock()
        self._slim = slim
        self._objects: dict[str, dict[str, dict[str, Object]]] = defaultdict(lambda: defaultdict(dict))
        self._tagged: dict[tuple[str, str, str, str], set[str]] = defaultdict(set)

    def put(self, kind: str, obj: Object) -> bool:
        """Keep an object, unless this or a later version of it is known: an answer may be overtaken by the watch.

        True when it is news.
        """
        metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
        kept = self._slim(kind, {**obj, "metadata": metadata})
        namespace, name = metadata["namespace"], metadata["name"]
        with self._lock:
            objects = self._objects[kind][namespace]
            known = objects.get(name)
            if known is not None and not _is_later(kept, known):
                return False
            if known is not None:
                self._unlist(kind, known)
            objects[name] = kept
            for tag in _tags(kind, kept):
                self._tagged[kind, namespace, *tag].add(name)
            return True

    def drop(self, kind: str, namespace: str, name: str) -> None:
        with self._lock:
            known = self._objects[kind][namespace].pop(name, None)
            if known is not None:
                self._unlist(kind, known)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        with self._lock:
            return self._objects[kind][namespace].get(name)

    def list(self, kind: str, namespace: str | None = None, selector: Mapping[str, str] | None = None) -> list[Object]:
        """Objects of a kind, oldest first."""
        with self._lock:
            found = self._candidates(kind, namespace, selector or {})
        found = [obj for obj in found if _matches(obj, selector or {})]
        return sorted(
            found, key=lambda obj: (obj["metadata"].get("creationTimestamp", ""), obj["metadata"].get("uid", ""))
        )

    def owners(self, kind: str, namespace: str, value: str) -> Names:
        """Names of the custom resources of a kind to which children with this value of its label belong."""
        with self._lock:
            return sorted(self._tagged.get((kind, namespace, labels.KIND_LABEL[kind], value), ()))

    def _candidates(self, kind: str, namespace: str | None, selector: Mapping[str, str]) -> Objects:
        if namespace is None:
            return [obj for objects in self._objects[kind].values() for obj in objects.values()]
        objects = self._objects[kind][namespace]
        for label in _TAGS & selector.keys():
            return [objects[name] for name in self._tagged.get((kind, namespace, label, selector[label]), ())]
        return list(objects.values())

    def _unlist(self, kind: str, known: Object) -> None:
        metadata = known["metadata"]
        for tag in _tags(kind, known):
            place = (kind, metadata["namespace"], *tag)
            self._tagged[place].discard(metadata["name"])
            if not self._tagged[place]:
                del self._tagged[place]


_TAGS = frozenset(labels.KIND_LABEL.values())


def _tags(kind: str, obj: Object) -> list[tuple[str, str]]:
    """Label and value that join children and their custom resource."""
    if kind in labels.KIND_LABEL:
        return [(labels.KIND_LABEL[kind], slug(obj["metadata"]["name"]))]
    given = obj["metadata"].get("labels") or {}
    return [(label, given[label]) for label in _TAGS & given.keys()]


def _is_later(one: Object, other: Object) -> bool:
    """Whether `one` is news after `other`: another object of this name, or a later or unknown version of the same."""
    if one["metadata"].get("uid") != other["metadata"].get("uid"):
        return True
    versions = [str(each["metadata"].get("resourceVersion", "")) for each in (one, other)]
    if all(version.isdecimal() for version in versions):
        return int(versions[0]) > int(versions[1])
    return one != other


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
