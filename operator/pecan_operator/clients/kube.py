"""The Kubernetes API: server-side apply under one field manager, reads and deletes that take absence for granted."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import kubernetes
import urllib3
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ResourceNotFoundError

from pecan_operator.errors import NotYet, Unavailable, UserError

FIELD_MANAGER = "pecan-operator"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PAGE = 500
REQUEST_TIMEOUT_SECONDS = (3.0, 20.0)
LEASE_TIMEOUT_SECONDS = (1.0, 2.0)
Manifest = dict[str, Any]


def connect(for_lease: bool = False) -> Kube:
    """A client from the pod's service account, else from the kubeconfig.

    One for a Lease is told soon that there is no answer, and tries nothing twice by itself: an answer that comes late is
    worth nothing to it.

    Raises:
        UserError: there is neither.
    """
    try:
        kubernetes.config.load_incluster_config()
    except kubernetes.config.ConfigException:
        try:
            kubernetes.config.load_kube_config()
        except kubernetes.config.ConfigException as error:
            raise UserError(
                "NoCluster", f"no cluster is configured: neither a pod's service account nor a kubeconfig ({error})"
            ) from None
    if not for_lease:
        return Kube(kubernetes.client.ApiClient())
    configuration = kubernetes.client.Configuration.get_default_copy()
    configuration.retries = 0
    return Kube(kubernetes.client.ApiClient(configuration), LEASE_TIMEOUT_SECONDS)


class Kube:
    """Verbs over dict manifests.

    Raises:
        UserError: the API server refused what was sent (4xx).
        Unavailable: it did not answer, or answered 429 or 5xx.
    """

    def __init__(self, api_client: Any, timeout_seconds: tuple[float, float] = REQUEST_TIMEOUT_SECONDS) -> None:
        """`timeout_seconds` are for connecting and for each answer."""
        self._api_client = api_client
        self._timeout_seconds = timeout_seconds
        self._dynamic: DynamicClient | None = None
        self._lock = threading.Lock()
        self.requests: Counter[tuple[str, str]] = Counter()

    def discover(self, kinds: Iterable[tuple[str, str]]) -> None:
        """Find out how these kinds (apiVersion, kind) are reached, which takes many requests, before it matters.

        One that is not served yet, or an API server that does not answer, is passed over.
        """
        for api_version, kind in kinds:
            with contextlib.suppress(ResourceNotFoundError, ApiException, urllib3.exceptions.HTTPError, OSError):
                self._resource(api_version, kind)

    def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply; conflicts are taken over, for each field of ours has this one owner."""
        metadata = manifest["metadata"]
        return self._write(
            "patch",
            manifest,
            body=manifest,
            name=metadata["name"],
            content_type=APPLY,
            field_manager=FIELD_MANAGER,
            force_conflicts=True,
        )

    def create(self, manifest: Manifest) -> Manifest | None:
        """The created object, or None when one of that name exists."""
        try:
            return self._write("create", manifest, body=manifest, field_manager=FIELD_MANAGER)
        except _Refused as refused:
            if refused.status == 409:
                return None
            raise

    def replace(self, manifest: Manifest) -> Manifest | None:
        """The object as written in place of what has its `resourceVersion`; None when it has changed since, or is gone."""
        name = manifest["metadata"]["name"]
        try:
            return self._write("replace", manifest, body=manifest, name=name, field_manager=FIELD_MANAGER)
        except _Refused as refused:
            if refused.status in (404, 409):
                return None
            raise

    def read(self, api_version: str, kind: str, namespace: str | None, name: str) -> Manifest | None:
        return self._absent_is_none("get", {"apiVersion": api_version, "kind": kind}, namespace=namespace, name=name)

    def list(
        self, api_version: str, kind: str, namespace: str | None, selector: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        text = ",".join(f"{key}={value}" for key, value in (selector or {}).items())
        found = self._absent_is_none(
            "get", {"apiVersion": api_version, "kind": kind}, namespace=namespace, label_selector=text or None
        )
        items: list[Manifest] = (found or {}).get("items", [])
        for item in items:
            item.setdefault("apiVersion", api_version)
            item.setdefault("kind", kind)
        return items

    def list_metadata(self, api_version: str, kind: str, namespace: str | None) -> Iterator[Manifest]:
        """The metadata of all objects of a kind, page by page: however many there are, few are held at a time."""
        token: str | None = None
        while True:
            page = self._call(
                "get",
                {"apiVersion": api_version, "kind": kind},
                namespace=namespace,
                limit=PAGE,
                _continue=token,
                header_params={"Accept": METADATA_ONLY},
            )
            for item in page.get("items") or []:
                metadata: Manifest = item["metadata"]
                yield metadata
            token = page["metadata"].get("continue")
            if not token:
                return

    def delete(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        name: str,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Delete; what is absent already is deleted. With `uid`, only that very object."""
        options: Manifest = {"propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            self._write(
                "delete", {"apiVersion": api_version, "kind": kind}, namespace=namespace, name=name, body=options
            )
        except _Refused as refused:
            if refused.status not in (404, 409):
                raise

    def patch(self, api_version: str, kind: str, namespace: str | None, name: str, patch: Manifest) -> Manifest | None:
        """JSON merge patch; None when the object is gone."""
        try:
            return self._write(
                "patch",
                {"apiVersion": api_version, "kind": kind},
                namespace=namespace,
                name=name,
                body=patch,
                content_type=MERGE,
                field_manager=FIELD_MANAGER,
            )
        except _Refused as refused:
            if refused.status == 404:
                return None
            raise

    def apply_status(self, obj: Mapping[str, Any], status: Mapping[str, Any]) -> Manifest | None:
        """Make `status` the whole status of the object; the object as it is then.

        None when nothing was written: it is so already, or the object is gone.
        """
        if obj.get("status") == status:
            return None
        metadata = obj["metadata"]
        body = {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "status": dict(status),
        }
        try:
            return self._write(
                "patch",
                body,
                body=body,
                subresource="status",
                name=metadata["name"],
                content_type=APPLY,
                field_manager=FIELD_MANAGER,
                force_conflicts=True,
            )
        except _Refused as refused:
            if refused.status not in (404, 409):
                raise
            return None

    def event(self, obj: Mapping[str, Any], event_type: str, reason: str, message: str) -> None:
        """An event a user sees in `kubectl describe`; never a reason to fail."""
        metadata = obj["metadata"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name'][:50]}.", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": event_type,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": FIELD_MANAGER},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._write("create", manifest, body=manifest)
        except (UserError, Unavailable, NotYet):
            return

    def _write(self, verb: str, manifest: Mapping[str, Any], **arguments: Any) -> Manifest:
        return self._call(verb, manifest, **arguments)

    def _absent_is_none(self, verb: str, manifest: Mapping[str, Any], **arguments: Any) -> Manifest | None:
        try:
            return self._call(verb, manifest, **arguments)
        except _Refused as refused:
            if refused.status == 404:
                return None
            raise

    def _call(self, verb: str, manifest: Mapping[str, Any], **arguments: Any) -> Manifest:
        arguments.setdefault("namespace", manifest.get("metadata", {}).get("namespace"))
        subresource = arguments.pop("subresource", None)
        what = f"{manifest['kind']} {arguments.get('name') or ''}".strip()
        self.requests[verb, manifest["kind"]] += 1
        try:
            resource = self._resource(manifest["apiVersion"], manifest["kind"])
            if subresource is not None:
                resource = resource.subresources[subresource]
            answer = getattr(self._client(), verb)(
                resource, serialize=False, _request_timeout=self._timeout_seconds, **arguments
            )
            result: Manifest = json.loads(answer.data)
            return result
        except ResourceNotFoundError as error:
            raise NotYet("KindNotServed", f"the API server does not serve {manifest['apiVersion']} {what}") from error
        except ApiException as error:
            if error.status in (429, 0, None) or error.status >= 500:
                raise Unavailable(
                    "KubernetesUnavailable", f"the API server could not {verb} {what}: {error.reason}"
                ) from error
            raise _Refused(error.status, f"the API server refused to {verb} {what}: {_message_of(error)}") from error
        except (urllib3.exceptions.HTTPError, OSError, json.JSONDecodeError) as error:
            raise Unavailable(
                "KubernetesUnavailable", f"the API server did not answer ({verb} {what}): {type(error).__name__}"
            ) from error

    def _client(self) -> Any:
        with self._lock:
            if self._dynamic is None:
                self._dynamic = DynamicClient(self._api_client)
            return self._dynamic

    def _resource(self, api_version: str, kind: str) -> Any:
        client = self._client()
        with self._lock:
            return client.resources.get(api_version=api_version, kind=kind)


class _Refused(UserError):
    def __init__(self, status: int, message: str) -> None:
        super().__init__("RefusedByKubernetes", message)
        self.status = status


def _message_of(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
