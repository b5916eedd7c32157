"""Labels and owner references, set in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pecan_operator.core.names import slug

GROUP = "pecanproject.org"
API_VERSION = f"{GROUP}/v1alpha1"
FIELD_MANAGER = "pecan-operator"
MANAGED_BY = {"app.kubernetes.io/managed-by": FIELD_MANAGER}
KIND_LABEL = {
    "PecanPlatform": f"{GROUP}/platform",
    "PecanModel": f"{GROUP}/model",
    "PecanWorkflow": f"{GROUP}/workflow",
}


def selector(kind: str, name: str, component: str | None = None) -> dict[str, str]:
    """Labels that find the children of one resource; safe as an immutable selector, for they never change."""
    found = {KIND_LABEL[kind]: slug(name)}
    if component is not None:
        found["app.kubernetes.io/component"] = component
    return found


def labels(kind: str, name: str, component: str) -> dict[str, str]:
    """All labels of a child."""
    return {"app.kubernetes.io/name": "pecan", **MANAGED_BY, **selector(kind, name, component)}


def for_platform(name: str, component: str) -> dict[str, str]:
    return labels("PecanPlatform", name, component)


def for_model(name: str, component: str) -> dict[str, str]:
    return labels("PecanModel", name, component)


def for_workflow(name: str, component: str) -> dict[str, str]:
    return labels("PecanWorkflow", name, component)


def owner_reference(owner: Mapping[str, Any]) -> dict[str, Any]:
    """A controlling owner reference that does not block the owner's deletion."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
