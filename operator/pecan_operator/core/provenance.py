"""What the operator knows of a workflow's origin, for provenance.json: images, their digests, versions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pecan_operator.api.model import PecanModel
from pecan_operator.api.workflow import PecanWorkflow

_DIGEST = re.compile(r"(?:.*@|[a-z-]+://)?(sha256:[0-9a-f]{64})")


def told(
    workflow: PecanWorkflow,
    model: PecanModel | None,
    executor_image: str,
    operator_version: str,
    *,
    r_image: str | None = None,
    prepare_pods: Iterable[Mapping[str, Any]],
    worker_pods: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """The operator's part of provenance.json. Digests are those of the pods that are there; a model that is gone has its
    name only. `r_image` is that of PEcAn's R where it is the framework."""
    prepare_pods = list(prepare_pods)
    of_model: dict[str, Any] = {"name": workflow.spec.model_ref.name}
    if model is not None:
        of_model |= {
            "type": model.spec.type,
            "revision": model.spec.revision,
            "image": model.spec.image,
            "digests": digests(worker_pods, "worker"),
        }
    return {
        "workflow": {"namespace": workflow.namespace, "name": workflow.name},
        "model": of_model,
        "executor": {"image": executor_image, "digests": digests(prepare_pods, "register")},
        "operator": {"version": operator_version},
        **({"r": {"image": r_image, "digests": digests(prepare_pods, "framework")}} if r_image else {}),
    }


def digests(pods: Iterable[Mapping[str, Any]], container: str) -> list[str]:
    """`sha256:...` of the images that a container of these pods runs, each once, in order.

    A node names an image that it pulled by the digest of its manifest, one that was loaded into it by that of its
    configuration.
    """
    found = set()
    for pod in pods:
        known = pod.get("status") or {}
        for status in [*(known.get("initContainerStatuses") or ()), *(known.get("containerStatuses") or ())]:
            match = _DIGEST.fullmatch(status.get("imageID") or "")
            if status["name"] == container and match:
                found.add(match[1])
    return sorted(found)
