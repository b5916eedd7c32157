"""The children of a PecanModel: the worker's program and the Deployment of workers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pecan_operator.api.model import PecanModel
from pecan_operator.core import labels, pods
from pecan_operator.core.names import child

Manifest = dict[str, Any]

GRACE_EXTRA_SECONDS = 60
"""What a worker gets beyond the longest run to finish it and to report."""
GRACE_MAX_SECONDS = 100
"""More than a busy worker needs to give up when its namespace goes (45 s), and little enough for the namespace: after its
first look at pods the namespace controller comes back when half the longest grace period is over, and no sooner."""
WORKER_FOLDER = "/opt/pecan-operator"
PROGRAM = f"{labels.GROUP}/program"
CREDENTIALS = f"{labels.GROUP}/credentials"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
VICTIM_COST = "-1000"


@dataclass(frozen=True)
class DataVolume:
    """The volume behind /data and whose files it holds."""

    claim: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Pulling:
    """How images are pulled, as the platform and the operator say."""

    policy: str
    secrets: Sequence[str]


def worker_name(model: PecanModel) -> str:
    return child(model.name, "worker")


def grace_seconds(model: PecanModel) -> int:
    """terminationGracePeriodSeconds: a worker told to go may finish its run if that does not take long."""
    return min(model.spec.run.timeout_seconds + GRACE_EXTRA_SECONDS, GRACE_MAX_SECONDS)


def worker_program(model: PecanModel, owner: Mapping[str, Any], source: str) -> Manifest:
    """The ConfigMap that brings worker.py into any image with Python and pika."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(model, owner),
        "data": {"worker.py": source},
    }


def worker_deployment(
    model: PecanModel,
    owner: Mapping[str, Any],
    replicas: int,
    *,
    source: str,
    credentials_secret: str,
    credentials_version: str,
    data: DataVolume,
    pulling: Pulling,
) -> Manifest:
    """The Deployment of workers; its `replicas` is the scaling decision and nobody else's.

    There is no readiness probe: a pod that is not ready would be ended before any deletion cost counts.
    """
    spec = model.spec
    grace = grace_seconds(model)
    template_labels = labels.for_model(model.name, "worker")
    environment = {"HOME": "/tmp", **{variable.name: variable.value for variable in spec.env}}
    pod: Manifest = {
        "terminationGracePeriodSeconds": grace,
        # The worker is not process 1 then, so that a SIGTERM ends it also before it has a handler for it.
        "shareProcessNamespace": True,
        **pods.restricted_pod(data.uid, data.gid, pulling.secrets),
        "containers": [
            {
                "name": "worker",
                "image": spec.image,
                "imagePullPolicy": spec.image_pull_policy or pulling.policy,
                "command": ["python3", f"{WORKER_FOLDER}/worker.py"],
                "workingDir": "/work",
                "env": [
                    pods.secret_variable("RABBITMQ_URI", credentials_secret, "RABBITMQ_URI"),
                    {"name": "PECAN_WORKER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "PECAN_QUEUE", "value": spec.queue},
                    {"name": "PECAN_RUN_TIMEOUT_SECONDS", "value": str(spec.run.timeout_seconds)},
                    {"name": "PECAN_GRACE_SECONDS", "value": str(grace)},
                    *({"name": name, "value": value} for name, value in environment.items()),
                ],
                "resources": spec.resources.model_dump(by_alias=True, exclude_none=True),
                "securityContext": pods.restricted_container(),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "worker", "mountPath": WORKER_FOLDER, "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
            }
        ],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": data.claim}},
            {"name": "worker", "configMap": {"name": worker_name(model)}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    if spec.node_selector:
        pod["nodeSelector"] = dict(spec.node_selector)
    if spec.tolerations:
        pod["tolerations"] = [
            toleration.model_dump(by_alias=True, exclude_none=True) for toleration in spec.tolerations
        ]
    if spec.priority_class_name:
        pod["priorityClassName"] = spec.priority_class_name
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(model, owner),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": labels.selector("PecanModel", model.name, "worker")},
            # maxReplicas bounds the workers of a rollout too.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}},
            "template": {
                "metadata": {
                    "labels": template_labels,
                    "annotations": {
                        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                        PROGRAM: hashlib.sha256(source.encode()).hexdigest()[:16],
                        CREDENTIALS: credentials_version,
                    },
                },
                "spec": pod,
            },
        },
    }


def keep_program(desired: Manifest, live: Mapping[str, Any]) -> None:
    """Leave the pods of a live Deployment the worker program they have, if nothing else changes.

    Pods made later read the new one from the ConfigMap all the same.
    """
    annotations = live["spec"]["template"]["metadata"].get("annotations") or {}
    if PROGRAM in annotations:
        desired["spec"]["template"]["metadata"]["annotations"][PROGRAM] = annotations[PROGRAM]


def _metadata(model: PecanModel, owner: Mapping[str, Any]) -> Manifest:
    return {
        "name": worker_name(model),
        "namespace": model.namespace,
        "labels": labels.for_model(model.name, "worker"),
        "ownerReferences": [labels.owner_reference(owner)],
    }
