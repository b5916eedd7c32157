"""What every handler is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pecan_operator.clients.kube import Kube, Manifest
from pecan_operator.core import labels
from pecan_operator.core.status import Condition, all_but, conditions
from pecan_operator.errors import NotYet, OperatorError, UserError
from pecan_operator.handlers.children import Children
from pecan_operator.handlers.installation import Installations
from pecan_operator.handlers.store import Store
from pecan_operator.handlers.workqueue import Key
from pecan_operator.settings import Settings

Object = Mapping[str, Any]
WATCHED = frozenset({"Deployment", "StatefulSet", "Job"})


@dataclass(frozen=True)
class Context:
    """The operator's clients and memory. `enqueue` has a key looked at again within the given seconds."""

    kube: Kube
    children: Children
    settings: Settings
    store: Store
    installations: Installations
    enqueue: Callable[[Key, float], None]

    def now(self) -> datetime:
        return datetime.now(UTC)

    def find(self, key: Key) -> Object | None:
        """The resource as last seen; where the watch shows none, as the API server says, for absence has effects."""
        known = self.store.get(key.kind, key.namespace, key.name)
        if known is not None:
            return known
        found = self.kube.read(labels.API_VERSION, key.kind, key.namespace, key.name)
        if found is not None:
            self.store.put(key.kind, found)
        return found

    def ensure(self, desired: Manifest) -> Manifest:
        """Have a child as desired; nothing is written when it is so already."""
        metadata = desired["metadata"]
        live = self.store.get(desired["kind"], metadata["namespace"], metadata["name"])
        if live is None:
            live = self.kube.read(desired["apiVersion"], desired["kind"], metadata["namespace"], metadata["name"])
        made = self.children.apply(desired, live)
        if (live is None or _version(made) != _version(live)) and desired["kind"] in WATCHED:
            self.store.put(desired["kind"], made)
        return made

    def report_failure(self, obj: Object, error: OperatorError, phase: str, *changed: Condition) -> None:
        """Say in `Ready` why a resource cannot go on: False, or Unknown where a service does not answer. The rest of its
        status stays, and its conditions but for those `changed`."""
        before = obj.get("status") or {}
        generation = obj["metadata"].get("generation", 0)
        known = isinstance(error, (UserError, NotYet))
        ready = Condition("Ready", False if known else None, error.reason, error.message)
        kept = all_but(before, *(each.type for each in (ready, *changed)))
        found = conditions(before.get("conditions") or [], [ready, *kept, *changed], generation, self.now())
        self.write_status(obj, {**before, "phase": phase, "observedGeneration": generation, "conditions": found})

    def write_status(self, obj: Object, status: Mapping[str, Any]) -> None:
        """Make `status` the whole status of a custom resource, and know it at once."""
        made = self.kube.apply_status(obj, status)
        if made is not None:
            self.store.put(obj["kind"], {"apiVersion": obj["apiVersion"], **made, "kind": obj["kind"]})

    def pods(self, kind: str, namespace: str, name: str, component: str | None = None) -> list[Object]:
        return self.store.list("Pod", namespace, labels.selector(kind, name, component))


def _version(obj: Object) -> str | None:
    version: str | None = obj["metadata"].get("resourceVersion")
    return version


def key_of(obj: Object) -> Key:
    """The key of a custom resource."""
    return Key(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])


def users(model: Key, store: Store) -> list[Key]:
    """The workflows that refer to a model and are not over."""
    return [
        key_of(workflow)
        for workflow in store.list("PecanWorkflow", model.namespace)
        if ((workflow.get("spec") or {}).get("modelRef") or {}).get("name") == model.name
    ]
