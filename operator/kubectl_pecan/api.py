"""What the plugin asks of the API server, and nothing else: objects of a namespace, and programs in its pods."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from kubectl_pecan.errors import CliError, ExitCode
from pecan_operator.api.base import API_VERSION

Manifest = dict[str, Any]

API_VERSIONS = {
    "PecanPlatform": API_VERSION,
    "PecanModel": API_VERSION,
    "PecanWorkflow": API_VERSION,
    "Job": "batch/v1",
    "Pod": "v1",
}
FIELD_MANAGER = "kubectl-pecan"
TIMEOUT_SECONDS = (10.0, 30.0)
_MERGE = "application/merge-patch+json"
_SILENT_SECONDS = 300.0


class Channel(Protocol):
    """Standard input and output of a program in a pod."""

    def send(self, data: bytes) -> None:
        """Raises CliError UNAVAILABLE when the connection is gone."""

    def receive(self) -> bytes:
        """At least one byte. Raises CliError UNAVAILABLE when the program or the connection has ended."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Api(Protocol):
    """The API server, in one namespace. Every method raises CliError."""

    namespace: str

    def get(self, kind: str, name: str) -> Manifest: ...

    def list(self, kind: str, selector: Mapping[str, str] | None = None) -> list[Manifest]: ...

    def create(self, manifest: Manifest, dry_run: bool = False) -> Manifest: ...

    def patch(self, kind: str, name: str, spec: Mapping[str, Any]) -> Manifest:
        """Change fields of a spec (JSON merge patch)."""

    def delete(self, kind: str, name: str) -> None:
        """With its children; what is gone already is deleted."""

    def run(self, pod: str, command: Sequence[str]) -> Channel: ...


def connect(namespace: str | None, context: str | None) -> Api:
    """The cluster of the kubeconfig's (or the given) context; the namespace is the context's unless given."""
    import kubernetes
    import urllib3
    import yaml

    logging.getLogger("urllib3").setLevel(logging.ERROR)
    try:
        contexts, active = kubernetes.config.list_kube_config_contexts()
        chosen = next((one for one in contexts if one["name"] == context), None) if context else active
        if chosen is None:
            known = ", ".join(one["name"] for one in contexts) or "none"
            raise CliError(ExitCode.UNAVAILABLE, f"the kubeconfig has no context {context}; it has: {known}")
        configuration = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(context=context, client_configuration=configuration)
    except (kubernetes.config.ConfigException, yaml.YAMLError, OSError, TypeError, KeyError) as error:
        raise CliError(
            ExitCode.UNAVAILABLE, f"no cluster is configured ({error}): set KUBECONFIG, or try `kubectl config view`"
        ) from None
    configuration.retries = urllib3.Retry(0)
    client = kubernetes.client.ApiClient(configuration)
    return KubeApi(client, namespace or chosen.get("context", {}).get("namespace") or "default")


class KubeApi:
    """The real one."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self._dynamic: Any = None
        self.namespace = namespace

    def get(self, kind: str, name: str) -> Manifest:
        return self._call("get", kind, name=name)

    def list(self, kind: str, selector: Mapping[str, str] | None = None) -> list[Manifest]:
        text = ",".join(f"{key}={value}" for key, value in (selector or {}).items())
        found: list[Manifest] = self._call("get", kind, label_selector=text or None)["items"]
        return found

    def create(self, manifest: Manifest, dry_run: bool = False) -> Manifest:
        name = manifest["metadata"].get("name", "")
        more = {"dry_run": "All"} if dry_run else {}
        return self._call("create", manifest["kind"], body=manifest, shown=name, field_manager=FIELD_MANAGER, **more)

    def patch(self, kind: str, name: str, spec: Mapping[str, Any]) -> Manifest:
        body = {"spec": dict(spec)}
        return self._call("patch", kind, name=name, body=body, content_type=_MERGE, field_manager=FIELD_MANAGER)

    def delete(self, kind: str, name: str) -> None:
        try:
            self._call("delete", kind, name=name, body={"propagationPolicy": "Background"})
        except CliError as error:
            if error.code is not ExitCode.NOT_FOUND:
                raise

    def run(self, pod: str, command: Sequence[str]) -> Channel:
        from kubernetes.client import ApiClient, CoreV1Api
        from kubernetes.client.exceptions import ApiException
        from kubernetes.stream import stream

        # A client of its own: stream() turns calls of the client it is given into WebSockets.
        exec_api = CoreV1Api(ApiClient(self._client.configuration))
        try:
            session = stream(
                exec_api.connect_get_namespaced_pod_exec,
                pod,
                self.namespace,
                command=[*command],
                stdin=True,
                stdout=True,
                stderr=True,
                binary=True,
                _preload_content=False,
            )
        except ApiException as error:
            # The library makes one of whatever ends the opening.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            if " 403 " in f" {error.reason} ":
                raise CliError(
                    ExitCode.FORBIDDEN, f"you may not run a program in pod {pod}: create on pods/exec is needed"
                ) from None
            raise CliError(
                ExitCode.UNAVAILABLE, f"the connection to pod {pod} could not be opened: {error.reason}"
            ) from None
        # It keeps a copy of all that comes, for read_all(), and stream() passes on no wish to the contrary.
        session._all = _Nowhere()
        return _PodChannel(session, pod)

    def _call(self, verb: str, kind: str, shown: str = "", **arguments: Any) -> Manifest:
        import urllib3
        from kubernetes.client.exceptions import ApiException
        from kubernetes.dynamic import DynamicClient
        from kubernetes.dynamic.exceptions import ResourceNotFoundError

        what = f"{kind} {arguments.get('name') or shown}".strip()
        try:
            if self._dynamic is None:
                self._dynamic = DynamicClient(self._client)
            resource = self._dynamic.resources.get(api_version=API_VERSIONS[kind], kind=kind)
            answer = getattr(self._dynamic, verb)(
                resource, namespace=self.namespace, serialize=False, _request_timeout=TIMEOUT_SECONDS, **arguments
            )
            result: Manifest = json.loads(answer.data)
            return result
        except ResourceNotFoundError:
            raise CliError(
                ExitCode.NOT_FOUND, f"this cluster knows no {kind}: pecan-operator is not installed in it"
            ) from None
        except ApiException as error:
            raise refusal(error.status, error.body, verb, what, self.namespace) from None
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            host = self._client.configuration.host
            raise CliError(
                ExitCode.UNAVAILABLE, f"the cluster at {host} does not answer ({type(error).__name__})"
            ) from None


def refusal(status: int | None, body: bytes | str | None, verb: str, what: str, namespace: str) -> CliError:
    """What an HTTP status and the Status object of the API server mean for the user."""
    try:
        said = str(json.loads(body or "")["message"])
    except (ValueError, KeyError, TypeError):
        said = f"HTTP status {status}"
    if status == 401:
        return CliError(ExitCode.FORBIDDEN, "the cluster does not know you: log in again")
    if status == 403:
        return CliError(ExitCode.FORBIDDEN, f"you may not {verb} {what} in namespace {namespace}: {said}")
    if status == 404:
        return CliError(ExitCode.NOT_FOUND, f"there is no {what} in namespace {namespace}")
    if status == 409 and verb == "create":
        return CliError(ExitCode.INVALID, f"{what} exists already in namespace {namespace}: give it another name")
    if status is not None and 400 <= status < 500 and status != 429:
        return CliError(ExitCode.INVALID, f"the API server refused to {verb} {what}: {said}")
    return CliError(ExitCode.UNAVAILABLE, f"the API server could not {verb} {what}: {said}")


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, _data: bytes) -> None:
        return


class _PodChannel:
    """A channel over the WebSocket of `exec`."""

    def __init__(self, session: Any, pod: str) -> None:
        self._session = session
        self._pod = pod

    def send(self, data: bytes) -> None:
        from websocket import WebSocketException

        try:
            self._session.write_stdin(data)
        except (WebSocketException, OSError) as error:
            raise self._broken(type(error).__name__) from None

    def receive(self) -> bytes:
        from websocket import WebSocketException

        try:
            while True:
                data: bytes = self._session.read_stdout(timeout=_SILENT_SECONDS)
                if data:
                    return data
                if not self._session.is_open():
                    raise self._broken(self._session.read_stderr(timeout=0).decode(errors="replace") or "it ended")
        except (WebSocketException, OSError) as error:
            raise self._broken(type(error).__name__) from None

    def _broken(self, why: str) -> CliError:
        return CliError(
            ExitCode.UNAVAILABLE,
            f"the connection to pod {self._pod} broke ({why.strip()[-300:]}): give the same command again, it goes on "
            "where it was",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from contextlib import suppress

        with suppress(Exception):
            self._session.close()
