"""What a run loop asks about the cluster. Absence has effects, so the API server is asked before it is believed."""

from __future__ import annotations

from collections.abc import Iterable

from pecan_operator.clients.kube import Kube
from pecan_operator.core import labels
from pecan_operator.handlers.context import Object
from pecan_operator.handlers.store import Store

WORKERS = {**labels.MANAGED_BY, "app.kubernetes.io/component": "worker"}


class Cluster:
    """Methods raise Unavailable when it has to be asked and does not answer."""

    def __init__(self, kube: Kube, store: Store) -> None:
        self._kube = kube
        self._store = store

    def gone_workers(self, namespace: str, workers: Iterable[str]) -> set[str]:
        """Which of these worker pods do not run any more."""
        missing = set(workers) - _living(self._store.list("Pod", namespace, WORKERS))
        if missing:
            missing -= _living(self._kube.list("v1", "Pod", namespace, WORKERS))
        return missing

    def queues(self, namespace: str) -> set[str]:
        """The queues that PecanModels name."""
        models = self._kube.list(labels.API_VERSION, "PecanModel", namespace)
        return {f"{model['spec'].get('type')}_{model['spec'].get('revision')}" for model in models}


def _living(pods: Iterable[Object]) -> set[str]:
    ended = ("Succeeded", "Failed")
    return {pod["metadata"]["name"] for pod in pods if (pod.get("status") or {}).get("phase") not in ended}
