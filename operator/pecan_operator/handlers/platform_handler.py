"""PecanPlatform: its services, and the connections the operator opens once they are ready."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from pecan_operator.api.platform import PecanPlatform
from pecan_operator.clients.kube import Manifest
from pecan_operator.core import labels, names
from pecan_operator.core.model import DataVolume, Pulling
from pecan_operator.core.platform import data_claim_name
from pecan_operator.core.platform.base import Platform, decode
from pecan_operator.core.platform.state import is_left_ready
from pecan_operator.errors import NotYet
from pecan_operator.handlers.context import Context, Object, key_of
from pecan_operator.handlers.installation import Connections, Installation
from pecan_operator.handlers.platform import reconcile_platform
from pecan_operator.handlers.workqueue import Key


@dataclass
class PlatformHandler:
    """Reconciles PecanPlatforms. `opened` is told of each new installation, for what went away while nobody looked."""

    context: Context
    opened: Callable[[str, Installation], None]
    _uids: dict[Key, str] = field(default_factory=dict)

    def reconcile(self, key: Key) -> None:
        context = self.context
        obj = context.find(key)
        known = self._uids.get(key)
        if known is not None and (obj is None or obj["metadata"]["uid"] != known):
            context.installations.remove(key.namespace, known)
            del self._uids[key]
        if obj is None:
            return
        is_new = key not in self._uids
        self._uids[key] = obj["metadata"]["uid"]
        if is_new and is_left_ready(obj, context.settings.images.operator):
            # Where one operator follows another, the runs do not wait until every service has been looked at.
            with suppress(NotYet):
                self._open(key, obj)
        result = reconcile_platform(obj, context.kube, context.settings, context.now(), context.children)
        if result.ready:
            self._open(key, obj)
        context.enqueue(key, result.retry_seconds)

    def _open(self, key: Key, obj: Object) -> None:
        context = self.context
        if not context.installations.ensure(key.namespace, self._connections(obj)):
            return
        for kind in ("PecanModel", "PecanWorkflow"):
            for dependent in context.store.list(kind, key.namespace):
                context.enqueue(key_of(dependent), 0.0)
        self.opened(key.namespace, context.installations.get(key.namespace))

    def _connections(self, obj: Object) -> Connections:
        resource = PecanPlatform.parse(obj)
        platform = Platform(
            resource.name,
            resource.namespace,
            labels.owner_reference(obj),
            resource.spec,
            self.context.settings.images,
        )
        worker = self._secret(platform, "amqp")
        return Connections(
            platform=resource.name,
            platform_uid=resource.uid,
            hostname=resource.spec.hostname,
            ledger=decode(self._secret(platform, "ledger")),
            rabbitmq=decode(self._secret(platform, "rabbitmq")),
            ledger_secret=platform.child("ledger"),
            bety_secret=platform.child("bety"),
            worker_secret=platform.child("amqp"),
            worker_secret_version=worker["metadata"]["uid"],
            data=DataVolume(data_claim_name(platform), resource.spec.storage.data.uid, resource.spec.storage.data.gid),
            pulling=Pulling(platform.pull_policy, tuple(platform.pull_secrets)),
        )

    def _secret(self, platform: Platform, suffix: str) -> Manifest:
        name = names.child(platform.name, suffix)
        secret = self.context.kube.read("v1", "Secret", platform.namespace, name)
        if secret is None:
            raise NotYet("CredentialsMissing", f"Secret {name} of PecanPlatform {platform.name} does not exist yet")
        return secret
