"""What the shared services have in common: the platform they belong to, and the shape of a service."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pecan_operator.api.platform import DataVolume, PlatformSpec, ServiceVolume
from pecan_operator.core import labels, names, pods
from pecan_operator.settings import Images

Manifest = dict[str, Any]
CONFIG_HASH = f"{labels.GROUP}/config-hash"
JOB_DEADLINE_SECONDS = 3600
PASSWORD_LENGTH = 32
# What cannot be misread in a URI, a shell or PEcAn's R code.
PASSWORD_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Platform:
    """One PecanPlatform as the builders of its services need it. `owner` is its owner reference."""

    name: str
    namespace: str
    owner: Manifest
    spec: PlatformSpec
    images: Images

    @property
    def selector(self) -> dict[str, str]:
        """Labels of everything that belongs to this platform."""
        return {**labels.MANAGED_BY, **labels.selector("PecanPlatform", self.name)}

    @property
    def pull_policy(self) -> str:
        return self.spec.images.pull_policy or self.images.pull_policy

    @property
    def pull_secrets(self) -> list[str]:
        return list(dict.fromkeys([*(each.name for each in self.spec.images.pull_secrets), *self.images.pull_secrets]))

    def child(self, suffix: str) -> str:
        return names.child(self.name, suffix)

    def host(self, suffix: str) -> str:
        """A Service's name as it resolves from every namespace: the operator lives in another one."""
        return f"{self.child(suffix)}.{self.namespace}.svc"

    def metadata(self, component: str, suffix: str | None = None) -> Manifest:
        """Of a child that goes with its platform."""
        return {**self.kept_metadata(component, suffix), "ownerReferences": [self.owner]}

    def kept_metadata(self, component: str, suffix: str | None = None) -> Manifest:
        """Of a volume claim or a generated Secret: they go with the platform only under `dataPolicy: Delete`."""
        kept = self.spec.data_policy == "Retain"
        return {
            "name": self.child(suffix or component),
            "namespace": self.namespace,
            "labels": labels.for_platform(self.name, component),
            **({} if kept else {"ownerReferences": [self.owner]}),
        }


@dataclass(frozen=True)
class Kept:
    """What outlives the pods, and under `dataPolicy: Retain` the platform too.

    Attributes:
        secrets: the values of the generated Secrets, by suffix (`postgres`, `amqp`, ...).
        claims: the uids of the volume claims by component; another uid means another, empty volume.
    """

    secrets: Mapping[str, Mapping[str, str]]
    claims: Mapping[str, str]


@dataclass(frozen=True)
class Service:
    """One shared service.

    Attributes:
        component: its label, and what other services name in `after`.
        condition: the type of its condition.
        workload: (API version, kind) of the one manifest whose state is the service's state.
        manifests: what goes with the platform and is applied at each reconcile.
        claim: the volume claim with its data, made once; None when it has none, or the user's.
        generated: suffixes of the Secrets made once for it; its data cannot be used without them.
        generate: those Secrets; takes a function that draws a new password.
        after: services that must be ready before this one is first started.
    """

    component: str
    condition: str
    workload: tuple[str, str]
    manifests: Callable[[Platform, Kept], list[Manifest]]
    claim: Callable[[Platform], Manifest | None] = field(default=lambda _platform: None)
    generated: Sequence[str] = ()
    generate: Callable[[Platform, Callable[[], str]], list[Manifest]] = field(default=lambda _platform, _draw: [])
    after: Sequence[str] = ()


def volume_claim(
    platform: Platform, component: str, claim: DataVolume | ServiceVolume, access_modes: Sequence[str]
) -> Manifest:
    """A claim of its own, not a StatefulSet's template: it has to be kept, or to go, as `dataPolicy` says."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": platform.kept_metadata(component),
        "spec": {
            "accessModes": list(access_modes),
            "resources": {"requests": {"storage": claim.size}},
            **({} if claim.storage_class_name is None else {"storageClassName": claim.storage_class_name}),
        },
    }


def generated_secret(platform: Platform, component: str, suffix: str, values: Mapping[str, str]) -> Manifest:
    """A Secret that is created once and never applied over."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": platform.kept_metadata(component, suffix),
        "type": "Opaque",
        "data": encode(values),
    }


def encode(values: Mapping[str, str]) -> dict[str, str]:
    """Values as a Secret's `data`."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def decode(secret: Mapping[str, Any]) -> dict[str, str]:
    """The values of a Secret; what is not text is left out."""
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in (secret.get("data") or {}).items()}


def service(platform: Platform, component: str, ports: Mapping[str, int]) -> Manifest:
    """A ClusterIP Service of the one pod of a component."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": platform.metadata(component),
        "spec": {
            "selector": labels.selector("PecanPlatform", platform.name, component),
            "ports": [{"name": name, "port": port, "targetPort": name} for name, port in ports.items()],
        },
    }


def stateful_set(platform: Platform, component: str, pod: Manifest, config: Any = None) -> Manifest:
    """One pod. A change of `config`, which is what the pod reads from elsewhere when it starts, replaces it."""
    selector = labels.selector("PecanPlatform", platform.name, component)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": platform.metadata(component),
        "spec": {
            "replicas": 1,
            "serviceName": platform.child(component),
            "selector": {"matchLabels": selector},
            # In order, a pod that never gets ready would not be replaced by its repaired template.
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "template": {
                "metadata": {
                    "labels": labels.for_platform(platform.name, component),
                    **({} if config is None else {"annotations": {CONFIG_HASH: short_hash(config)}}),
                },
                "spec": pod,
            },
        },
    }


def job(platform: Platform, component: str, suffix: str, pod: Manifest, config: Any) -> Manifest:
    """A Job whose name ends in a hash of what it does and of `config`: a Job cannot be changed, only replaced.

    Its deadline is a backstop, as it runs while an image cannot be pulled too, and ends all pods that could tell why.
    """
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": platform.metadata(component, f"{suffix}{short_hash([pod, config])}"),
        "spec": {
            "backoffLimit": 4,
            "activeDeadlineSeconds": JOB_DEADLINE_SECONDS,
            "template": {
                "metadata": {"labels": labels.for_platform(platform.name, component)},
                "spec": {"restartPolicy": "Never", **pod},
            },
        },
    }


def pod(
    platform: Platform, uid: int, gid: int, container: Manifest, volumes: Sequence[Manifest], **more: Any
) -> Manifest:
    """A restricted pod of one container that may write to nothing but its volumes and /tmp."""
    return {
        **pods.restricted_pod(uid, gid, platform.pull_secrets),
        "containers": [
            {
                "imagePullPolicy": platform.pull_policy,
                "securityContext": pods.restricted_container(),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                **container,
                "volumeMounts": [*container.get("volumeMounts", []), {"name": "tmp", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}],
        **more,
    }


def short_hash(value: Any) -> str:
    """Eight hexadecimal digits that stand for a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
