"""Reconciling a PecanPlatform: its services are brought up in their order, kept as they should be, and reported on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from pecan_operator.api.platform import PecanPlatform
from pecan_operator.clients.kube import Kube, Manifest
from pecan_operator.core import labels, status
from pecan_operator.core.platform import DATA, SERVICES, Kept, Platform, Service, data_claim_name
from pecan_operator.core.platform.base import PASSWORD_ALPHABET, PASSWORD_LENGTH, decode
from pecan_operator.core.platform.state import (
    WAITING,
    is_to_be_retried,
    needs_events,
    phase,
    ready_condition,
    service_condition,
)
from pecan_operator.core.status import Condition
from pecan_operator.errors import NotYet, UserError
from pecan_operator.handlers.children import Children
from pecan_operator.settings import Settings

# Soon enough that a condition tells a fault within ten seconds, also of what no watch shows (events, volumes).
RETRY_SECONDS = 3.0
RESYNC_SECONDS = 30.0
# What every platform goes through while it starts: a condition says so, an event would only alarm.
PASSING_REASONS = frozenset({"Starting", "VolumeUnbound", WAITING})
# Kinds of which a platform has children that go with it, in the order in which left-over ones are removed.
PRUNED_KINDS = (
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
)


@dataclass(frozen=True)
class Result:
    """When to look again at the latest."""

    ready: bool
    retry_seconds: float


def reconcile_platform(
    obj: Mapping[str, Any], kube: Kube, settings: Settings, now: datetime, children: Children
) -> Result:
    """Bring the services of one platform closer to what it asks for, and say in its status how far they are.

    Safe to be stopped anywhere and called again.

    Raises:
        Unavailable: the API server does not answer; nothing is known, so nothing is reported.
    """
    if obj["metadata"].get("deletionTimestamp"):
        going = Condition("Ready", False, "Deleting", "the platform is being deleted")
        return _report(obj, kube, now, [going], "Deleting")
    try:
        resource = PecanPlatform.parse(obj)
        if (older := _older_platform(obj, kube)) is not None:
            text = f"PecanPlatform {older} is the platform of this namespace; a namespace has one. Delete either"
            return _report(obj, kube, now, [Condition("Ready", False, "PlatformExists", text)], "Pending")
    except UserError as error:
        return _report(obj, kube, now, [Condition("Ready", False, error.reason, error.message)], "Pending")

    platform = Platform(resource.name, resource.namespace, labels.owner_reference(obj), resource.spec, settings.images)
    reconcile = _Reconcile(platform, kube, children, now)
    found = [reconcile.service(service) for service in SERVICES]
    reconcile.prune()
    ready = ready_condition(found)
    return _report(
        obj,
        kube,
        now,
        [ready, *found],
        phase(ready, (obj.get("status") or {}).get("phase")),
        hostname=resource.spec.hostname,
        dataClaim=data_claim_name(platform),
        operatorImage=settings.images.operator,
    )


class _Reconcile:
    """One pass over the services of one platform."""

    def __init__(self, platform: Platform, kube: Kube, children: Children, now: datetime) -> None:
        self._platform = platform
        self._kube = kube
        self._children = children
        self._now = now
        self._live = {
            (*kind, child["metadata"]["name"]): child
            for kind in PRUNED_KINDS
            for child in kube.list(*kind, platform.namespace, platform.selector)
        }
        self._secrets: dict[str, Mapping[str, str]] = {}
        self._claims: dict[str, str] = {}
        self._ready: set[str] = set()
        self._left_alone: set[str] = set()
        self._wanted: set[tuple[str, str, str]] = set()

    def service(self, service: Service) -> Condition:
        """Keep, apply and look at one service."""
        waits_for = next((name for name in service.after if name not in self._ready), None)
        if waits_for is not None and (waits_for in self._left_alone or not self._is_started(service)):
            self._left_alone.add(service.component)
            return Condition(service.condition, False, WAITING, f"waits until {waits_for} is ready")
        try:
            claim = self._keep(service)
            workload = self._apply(service)
        except (UserError, NotYet) as error:
            self._left_alone.add(service.component)
            return Condition(service.condition, False, error.reason, error.message)
        is_open = needs_events(workload, claim)
        pods = [pod for pod in self._pods if _component(pod) == service.component] if is_open else []
        condition = service_condition(service, workload, claim, pods, self._events if is_open else [])
        if condition.status:
            self._ready.add(service.component)
        return condition

    def prune(self) -> None:
        """Remove what the services have left behind (Jobs of an earlier hash); not of those left alone this time."""
        cared_for = {service.component for service in SERVICES} - self._left_alone
        for key, child in self._live.items():
            if key not in self._wanted and _component(child) in cared_for and self._is_owned(child):
                metadata = child["metadata"]
                self._kube.delete(key[0], key[1], metadata["namespace"], metadata["name"], metadata["uid"])

    def _is_started(self, service: Service) -> bool:
        return any(
            key[:2] == service.workload and _component(child) == service.component for key, child in self._live.items()
        )

    def _keep(self, service: Service) -> Manifest | None:
        """Secrets first, then the claim: a claim without its Secrets has lost them. Returns the claim."""
        wanted = service.claim(self._platform)
        claim_name = wanted["metadata"]["name"] if wanted else None
        claim = self._read("PersistentVolumeClaim", claim_name) if claim_name else self._claim_of_user(service)
        found = {suffix: self._read("Secret", self._platform.child(suffix)) for suffix in service.generated}
        missing = [self._platform.child(suffix) for suffix, secret in found.items() if secret is None]
        if missing and claim is not None:
            raise UserError(
                "CredentialsMissing",
                f"volume claim {claim_name} holds data, but Secret {', '.join(missing)} with its passwords is missing: "
                "restore the Secret, or delete the claim with all its data to start anew",
            )
        if missing:
            for generated in service.generate(self._platform, draw_password):
                self._kube.create(generated)
            found = {suffix: self._read("Secret", self._platform.child(suffix)) for suffix in service.generated}
        if wanted is not None and claim is None:
            self._kube.create(wanted)
            claim = self._read("PersistentVolumeClaim", wanted["metadata"]["name"])
        for suffix, secret in found.items():
            self._adopt(service, secret, suffix)
            self._secrets[suffix] = decode(secret or {})
        if wanted is not None:
            self._adopt(service, claim, service.component)
        if claim is not None:
            self._claims[service.component] = claim["metadata"]["uid"]
        return claim

    def _claim_of_user(self, service: Service) -> Manifest | None:
        """The claim for /data that the user names; other services have theirs made, or none."""
        if service is not DATA:
            return None
        name = data_claim_name(self._platform)
        claim = self._read("PersistentVolumeClaim", name)
        if claim is None:
            raise NotYet("VolumeMissing", f"volume claim {name} (storage.data.existingClaim) does not exist: create it")
        return claim

    def _adopt(self, service: Service, kept: Manifest | None, suffix: str) -> None:
        """Give a kept object its labels and, as `dataPolicy` says, its owner; never touch its content."""
        if kept is None:
            raise NotYet("DataGoing", f"{self._platform.child(suffix)} has just been deleted")
        metadata = kept["metadata"]
        others = [
            reference["uid"]
            for reference in metadata.get("ownerReferences") or ()
            if reference["kind"] == "PecanPlatform" and reference["uid"] != self._platform.owner["uid"]
        ]
        if others or (metadata.get("deletionTimestamp") and kept["kind"] == "Secret"):
            raise NotYet(
                "DataGoing",
                f"{kept['kind']} {metadata['name']} belongs to a deleted platform and is being deleted with it; "
                "waiting until it is gone",
            )
        self._wanted.add((kept["apiVersion"], kept["kind"], metadata["name"]))
        self._children.apply(
            {
                "apiVersion": kept["apiVersion"],
                "kind": kept["kind"],
                "metadata": self._platform.kept_metadata(service.component, suffix),
            },
            kept,
        )

    def _apply(self, service: Service) -> Manifest:
        """Apply what goes with the platform; returns the workload."""
        workload: Manifest = {}
        for manifest in service.manifests(self._platform, Kept(self._secrets, self._claims)):
            key = (manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
            self._wanted.add(key)
            made = self._children.apply(manifest, self._live.get(key))
            if key[:2] == service.workload:
                workload = made
        if is_to_be_retried(workload, self._now):
            metadata = workload["metadata"]
            self._kube.delete(*service.workload, metadata["namespace"], metadata["name"], metadata["uid"])
        return workload

    def _read(self, kind: str, name: str) -> Manifest | None:
        return self._kube.read("v1", kind, self._platform.namespace, name)

    def _is_owned(self, child: Mapping[str, Any]) -> bool:
        owners = child["metadata"].get("ownerReferences") or ()
        return any(reference["uid"] == self._platform.owner["uid"] for reference in owners)

    @cached_property
    def _pods(self) -> list[Manifest]:
        return self._kube.list("v1", "Pod", self._platform.namespace, self._platform.selector)

    @cached_property
    def _events(self) -> list[Manifest]:
        return self._kube.list("v1", "Event", self._platform.namespace)


def draw_password() -> str:
    """A new password: 190 bits from the system's random source."""
    return "".join(secrets.choice(PASSWORD_ALPHABET) for _ in range(PASSWORD_LENGTH))


def _component(child: Mapping[str, Any]) -> str | None:
    component: str | None = (child["metadata"].get("labels") or {}).get("app.kubernetes.io/component")
    return component


def _older_platform(obj: Mapping[str, Any], kube: Kube) -> str | None:
    """The name of the platform that came first in this namespace, if it is another."""
    metadata = obj["metadata"]
    found = kube.list(labels.API_VERSION, "PecanPlatform", metadata["namespace"])
    oldest = min(found, key=_age, default=obj)
    return None if _age(obj) <= _age(oldest) else oldest["metadata"]["name"]


def _age(obj: Mapping[str, Any]) -> tuple[str, str]:
    return obj["metadata"]["creationTimestamp"], obj["metadata"]["uid"]


def _report(
    obj: Mapping[str, Any], kube: Kube, now: datetime, found: Sequence[Condition], phase: str, **more: str
) -> Result:
    before = obj.get("status") or {}
    ready = found[0]
    generation = obj["metadata"].get("generation", 0)
    kube.apply_status(
        obj,
        {
            "phase": phase,
            "observedGeneration": generation,
            **more,
            "conditions": status.conditions(before.get("conditions") or [], found, generation, now),
        },
    )
    was = status.find(before, "Ready")
    if was is not None and was["reason"] != ready.reason and ready.reason not in PASSING_REASONS:
        kube.event(obj, "Normal" if ready.status else "Warning", ready.reason, ready.message)
    return Result(ready.status is True, RESYNC_SECONDS if ready.status else RETRY_SECONDS)
