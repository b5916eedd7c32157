"""Resources as the API server gives them, for tests."""

from __future__ import annotations

import copy
import itertools
from typing import Any

from pecan_operator.core.model import DataVolume, Pulling

API_VERSION = "pecanproject.org/v1alpha1"
NAMESPACE = "forest"
_numbers = itertools.count(1)

DATA = DataVolume(claim="pecan-data", uid=1001, gid=1002)
PULLING = Pulling(policy="IfNotPresent", secrets=["registry"])

WORKFLOW_SPEC: dict[str, Any] = {
    "modelRef": {"name": "dalec"},
    "start": "1997-01-01",
    "end": "1999-12-31",
    "sites": [{"id": "NL-Loo", "name": "Loobos", "lat": 52.17, "lon": 5.74}],
    "inputs": {"met": {"paths": ["/data/met/loobos/Loobos"]}},
    "pfts": [
        {
            "name": "temperate.coniferous",
            "traits": {"leaf_turnover_rate": {"distn": "unif", "parama": 0.6, "paramb": 1.4}},
            "constants": {"SLA": 4.3},
        }
    ],
    "ensemble": {"size": 4, "variables": ["GPP"], "seed": 1},
}
MODEL_SPEC: dict[str, Any] = {"type": "DALEC", "revision": "ev", "image": "registry.example/dalec:1"}


def resource(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A new object: its own uid, created after all made before."""
    number = next(_numbers)
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{kind.lower()}-{number}",
            "generation": 1,
            "resourceVersion": str(number),
            "creationTimestamp": f"2024-05-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z",
            **metadata,
        },
        "spec": copy.deepcopy(spec),
    }


def workflow_object(name: str = "loobos", /, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return resource("PecanWorkflow", name, {**WORKFLOW_SPEC, **spec}, **(metadata or {}))


def model_object(name: str = "dalec", /, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return resource("PecanModel", name, {**MODEL_SPEC, **spec}, **(metadata or {}))


def platform_object(name: str = "pecan", /, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return resource("PecanPlatform", name, spec, **(metadata or {}))
