"""Manifests of the tests: the journal model and its workflows, and pods that look at a namespace from within."""

from __future__ import annotations

import json
from typing import Any

from support import API_VERSION, ROOT

from pecan_operator.core.pods import restricted_container, restricted_pod

MODEL = "journal"
QUEUE = "JOURNAL_1"
DATA_UID = 1001

Manifest = dict[str, Any]


def built_image(name: str) -> str:
    """The reference of an image of `hack/images build`."""
    file = ROOT / ".build" / "images.json"
    known: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
    assert name in known, f"image {name} is not built: run `make install`"
    return known[name]


def resource(kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def journal_model(**scaling: int) -> Manifest:
    return resource(
        "PecanModel",
        MODEL,
        {
            "type": "JOURNAL",
            "revision": "1",
            "image": built_image("model-journal"),
            "scaling": {"maxReplicas": 3, "idleSeconds": 10, **scaling},
            "run": {"timeoutSeconds": 120, "maxAttempts": 3},
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        },
    )


def journal_workflow(name: str, size: int, orders: dict[str, float], **spec: Any) -> Manifest:
    """A workflow of the test model; `orders` are explained in tests/e2e/model-image/run."""
    return resource(
        "PecanWorkflow",
        name,
        {
            "modelRef": {"name": MODEL},
            "start": "1998-01-01",
            "end": "1998-12-31",
            "sites": [{"id": "NL-Loo", "name": "Loobos", "lat": 52.17, "lon": 5.74}],
            "inputs": {"met": {"paths": ["/data/journal/met"]}},
            "pfts": [{"name": "orders", "constants": {"sleep_seconds": 0.0, **orders}}],
            "ensemble": {"size": size, "variables": ["GPP"]},
            **spec,
        },
    )


def data_pod(name: str, image: str, claim: str) -> Manifest:
    """A restricted pod that sees /data."""
    container = {
        "name": "data",
        "image": image,
        "command": ["python3", "-c", "import signal; signal.pause()"],
        "securityContext": restricted_container(),
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            **restricted_pod(DATA_UID, DATA_UID),
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [volume],
        },
    }


def node_pod(name: str, image: str) -> Manifest:
    """A privileged pod that sees the processes of its node: a container's first process can only be killed from there."""
    container = {
        "name": "node",
        "image": image,
        "command": ["python3", "-c", "import signal; signal.pause()"],
        "securityContext": {"privileged": True, "runAsUser": 0},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"hostPID": True, "terminationGracePeriodSeconds": 0, "containers": [container]},
    }
