"""What kopf is for here: watches that fill the store and say which key to look at. Nothing is written to the objects."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import kopf

from pecan_operator.core import labels
from pecan_operator.handlers.context import Object, key_of, users
from pecan_operator.handlers.store import Store
from pecan_operator.handlers.workqueue import Key

KINDS = ("PecanPlatform", "PecanModel", "PecanWorkflow")
CHILDREN = (
    ("apps", "v1", "deployments", "Deployment"),
    ("apps", "v1", "statefulsets", "StatefulSet"),
    ("batch", "v1", "jobs", "Job"),
    ("", "v1", "pods", "Pod"),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
)


def owners(child: Object, store: Store) -> list[Key]:
    """The custom resources a child belongs to, by its labels."""
    metadata = child["metadata"]
    given = metadata.get("labels") or {}
    return [
        Key(kind, metadata["namespace"], name)
        for kind, label in labels.KIND_LABEL.items()
        if label in given
        for name in store.owners(kind, metadata["namespace"], given[label])
    ]


def registry(store: Store, enqueue: Callable[[Key, float], None]) -> kopf.OperatorRegistry:
    """The handlers: each event goes into the store, and the key it concerns into the queue."""
    made = kopf.OperatorRegistry()

    @kopf.on.login(registry=made)
    def login(**given: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)

    def note(kind: str, event: Any) -> Object | None:
        """The object, if the event is news: not what we have written and kept ourselves."""
        obj: dict[str, Any] = dict(event["object"])
        obj["kind"] = kind
        if event["type"] == "DELETED":
            store.drop(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
            return obj
        return obj if store.put(kind, obj) else None

    def watch_kind(kind: str) -> None:
        @kopf.on.event(labels.GROUP, "v1alpha1", f"{kind.lower()}s", registry=made, id=kind)
        async def changed(event: Any, **_: Any) -> None:
            obj = note(kind, event)
            if obj is None:
                return
            enqueue(key_of(obj), 0.0)
            if kind == "PecanModel":
                for workflow in users(key_of(obj), store):
                    enqueue(workflow, 0.0)

    def watch_children(group: str, version: str, plural: str, kind: str) -> None:
        @kopf.on.event(group, version, plural, labels=labels.MANAGED_BY, registry=made, id=kind)
        async def changed(event: Any, **_: Any) -> None:
            obj = note(kind, event)
            for key in owners(obj, store) if obj is not None else ():
                enqueue(key, 0.0)

    for kind in KINDS:
        watch_kind(kind)
    for child in CHILDREN:
        watch_children(*child)
    return made


def watch_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 5.0
    settings.watching.connect_timeout = 5.0
    settings.watching.server_timeout = 300
    # Of ten thousand objects few are in memory at a time: a listing comes in pieces, and what handles an event ends soon.
    settings.watching.chunk_size = 200
    settings.queueing.idle_timeout = 0.1
    return settings


def watch(
    store: Store, enqueue: Callable[[Key, float], None], namespaces: tuple[str, ...], stop: threading.Event
) -> None:
    """Watch until `stop` is set."""
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    kopf.run(
        registry=registry(store, enqueue),
        settings=watch_settings(),
        standalone=True,
        identity="pecan-operator",  # type: ignore[arg-type]  # by default the login name, which a uid of its own lacks
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
