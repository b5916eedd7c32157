"""2,000 (short: 500) PecanWorkflows at once: when each has a first condition, and how often their statuses are written.

Their model is suspended and the namespace has no room for another pod, so that nothing else happens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from place import NOWHERE, Place
from report import Figure, most_in_a_second, one
from support import wait
from work import workflow

QUIET_SECONDS = 5.0


def measure(place: Place, long: bool) -> list[Figure]:
    place.apply_model("many", "many", {}, nodeSelector=NOWHERE, suspend=True)
    count = 2000 if long else 500
    names = [place.unique("many") for _ in range(count)]
    created: dict[str, float] = {}

    def create(name: str) -> None:
        created[name] = time.monotonic()
        place.create(workflow(name, "many", 1))

    with no_more_pods(place), place.watch("pecanworkflows", lambda obj: bool(obj.get("status"))) as watched:
        place.each(create, names)
        last_created = time.monotonic()
        told = watched.first(lambda change: change.value, count, 600, "workflows with a condition")
        wait(
            lambda: time.monotonic() - watched.changes[-1].at > QUIET_SECONDS, 300, lambda: "statuses are still written"
        )
        writes = [change.at for change in watched.changes if change.value and change.type != "DELETED"]
        place.delete_all("PecanWorkflow", 600)
    place.delete_all("PecanModel")
    return [
        one(f"creating {count:,}", "s", last_created - min(created.values())),
        one("last create to all have a condition", "s", max(told.values()) - last_created),
        Figure("from its creation to its condition", "s", [told[name] - created[name] for name in names]),
        one("status writes of a workflow", "writes", len(writes) / count),
        one("most status writes in any second", "writes/s", most_in_a_second(writes)),
    ]


@contextmanager
def no_more_pods(place: Place) -> Iterator[None]:
    """Nothing that is created meanwhile gets a pod."""
    where = ("v1", "ResourceQuota", place.namespace, "no-more-pods")
    api_version, kind, namespace, name = where
    hard = {"count/pods": str(len(place.kube.list("v1", "Pod", namespace)))}
    place.create({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": {"hard": hard}})
    try:
        wait(lambda: "hard" in ((place.kube.read(*where) or {}).get("status") or {}), 30, lambda: "no quota")
        yield
    finally:
        place.kube.delete(*where)
