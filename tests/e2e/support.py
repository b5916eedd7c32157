"""What several tests on a real cluster need: waiting, commands in pods, and the operator's release."""

from __future__ import annotations

import copy
import itertools
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kubernetes import config
from kubernetes.client import ApiClient, CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

from pecan_operator.clients.kube import Kube, Manifest
from pecan_operator.core.status import find
from pecan_operator.errors import OperatorError

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "pecan-operator"
GROUP = "pecanproject.org"
API_VERSION = f"{GROUP}/v1alpha1"
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None)
RBAC = "rbac.authorization.k8s.io"
PLURALS = ("pecanplatforms", "pecanmodels", "pecanworkflows")
PLATFORM_SECONDS = 180.0
Right = tuple[str, str, str, str]


def rights(*verbs: str, resources: tuple[str, ...], group: str = "", name: str = "") -> set[Right]:
    """Each of the verbs on each of the resources of a group, limited to a name or not."""
    return set(itertools.product((group,), resources, verbs, (name,)))


OPERATOR_IN_A_NAMESPACE = (
    rights("get", "list", "watch", resources=PLURALS, group=GROUP)
    | rights("get", "patch", resources=tuple(f"{each}/status" for each in PLURALS), group=GROUP)
    | rights(
        "get", "list", "watch", "create", "patch", "delete", resources=("deployments", "statefulsets"), group="apps"
    )
    | rights("get", "list", "watch", "create", "patch", "delete", resources=("jobs",), group="batch")
    | rights("get", "list", "create", "patch", "delete", resources=("services", "configmaps", "secrets"))
    | rights("get", "list", "watch", "create", "patch", resources=("persistentvolumeclaims",))
    | rights("get", "list", "watch", "patch", resources=("pods",))
    | rights("list", "create", "patch", resources=("events",))
)
OPERATOR_AT_HOME = rights("get", "create", "update", "patch", resources=("leases",), group="coordination.k8s.io")


def wait(happened: Callable[[], bool], seconds: float, tell: Callable[[], Any]) -> float:
    """Seconds it took; fails after `seconds` with what `tell` says."""
    begin = time.monotonic()
    while not happened():
        assert time.monotonic() - begin < seconds, f"not within {seconds:g} s: {tell()}"
        time.sleep(0.3)
    return time.monotonic() - begin


def example(path: str, **metadata: Any) -> Manifest:
    """A manifest of examples/, with the images of this work tree."""
    printed = subprocess.run(
        [str(ROOT / "hack/manifests"), str(ROOT / "examples" / path)], capture_output=True, text=True, check=True
    )
    manifest: Manifest = yaml.safe_load(printed.stdout)
    manifest["metadata"].update(metadata)
    return manifest


class Cluster:
    """The cluster as its administrator sees it."""

    def __init__(self, kubeconfig: Path) -> None:
        self.client: ApiClient = config.new_client_from_config(str(kubeconfig))
        self.kube = Kube(self.client)

    def ready(self, kind: str, namespace: str, name: str) -> bool:
        """Whether the present form of a resource is Ready."""
        obj = self.kube.read(API_VERSION, kind, namespace, name) or {}
        condition = find(obj.get("status"), "Ready") or {}
        return condition.get("status") == "True" and condition["observedGeneration"] == obj["metadata"]["generation"]

    def status(self, kind: str, namespace: str, name: str) -> str:
        obj = self.kube.read(API_VERSION, kind, namespace, name) or {}
        return json.dumps(obj.get("status"), indent=1)

    def wait_ready(self, kind: str, namespace: str, name: str, seconds: float = PLATFORM_SECONDS) -> float:
        return wait(
            lambda: self.ready(kind, namespace, name), seconds, lambda: f"{kind}: {self.status(kind, namespace, name)}"
        )

    def run(self, namespace: str, pod: str, *command: str) -> str:
        """What a command prints in a pod's container, errors too."""
        # A client of its own: stream() turns every call of the client it is given into a WebSocket.
        api = CoreV1Api(ApiClient(self.client.configuration))
        arguments = {"command": list(command), "stdout": True, "stderr": True}
        return str(stream(api.connect_get_namespaced_pod_exec, pod, namespace, **arguments))

    def get(self, namespace: str, pod: str, port: int, path: str) -> tuple[int, str]:
        """Status and body of an HTTP GET of a pod."""
        try:
            body = CoreV1Api(self.client).connect_get_namespaced_pod_proxy_with_path(
                f"{pod}:{port}", namespace, path.lstrip("/")
            )
            return 200, str(body)
        except ApiException as error:
            return int(error.status or 0), str(error.body)

    def pods(self, namespace: str, **labels: str) -> list[Manifest]:
        """Pods by label (`component` for app.kubernetes.io/component), those that are going left out."""
        selector = {f"app.kubernetes.io/{key}": value for key, value in labels.items()}
        found = self.kube.list("v1", "Pod", namespace, selector)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def impersonate(self, user: str) -> Kube:
        """The same cluster as another user sees it."""
        client = ApiClient(self.client.configuration)
        client.set_default_header("Impersonate-User", user)
        return Kube(client)

    def rights_of(self, user: str, namespace: str) -> set[Right]:
        """All a user may do in a namespace, besides what everybody may who is known to the cluster."""
        return self._rules(user, namespace) - self._rules("system:serviceaccount:default:nobody", namespace)

    def _rules(self, user: str, namespace: str) -> set[Right]:
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "metadata": {}}
        answer = self.impersonate(user).create({**review, "spec": {"namespace": namespace}}) or {}
        assert not answer["status"]["incomplete"]
        return {
            right
            for rule in answer["status"]["resourceRules"]
            for right in itertools.product(
                rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames") or [""]
            )
        }

    def can(self, user: str, verb: str, resource: str, namespace: str) -> bool:
        """Whether a user may do that to one of our kinds, or to a subresource (pecanmodels/scale)."""
        resource, _, subresource = resource.partition("/")
        asked = {"group": GROUP, "verb": verb, "resource": resource, "subresource": subresource, "namespace": namespace}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}}
        answer = self.kube.create({**review, "spec": {"user": user, "resourceAttributes": asked}}) or {}
        return bool(answer["status"]["allowed"])

    def bind(self, namespace: str, role: str, user: str) -> None:
        """Give a user one of the cluster's roles in a namespace."""
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": user, "namespace": namespace},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
        }
        self.kube.create(binding)

    def warnings_of_label(self, namespace: str, label: str, value: str) -> list[str]:
        """What the API server warns of when a namespace would get a label."""
        body = {"metadata": {"labels": {label: value}}}
        _, _, headers = CoreV1Api(self.client).patch_namespace_with_http_info(namespace, body, dry_run="All")
        return [text for text in [headers.get("Warning")] if text]

    def is_gone(self, namespace: str) -> bool:
        return self.kube.read("v1", "Namespace", None, namespace) is None


@contextmanager
def older_crd(cluster: Cluster, plural: str, field: str) -> Iterator[Callable[[], bool]]:
    """With the CRD of before a field of the spec was there; called, it says whether the field is there again."""
    name = f"{plural}.{GROUP}"

    def properties(crd: Manifest) -> Manifest:
        (version,) = crd["spec"]["versions"]
        found: Manifest = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        return found

    def present() -> bool:
        return field in properties(cluster.kube.read(*CRD, name) or {})

    older = cluster.kube.read(*CRD, name)
    assert older is not None
    versions = copy.deepcopy(older["spec"]["versions"])
    del properties(older)[field]
    cluster.kube.patch(*CRD, name, {"spec": {"versions": older["spec"]["versions"]}})
    try:
        assert not present()
        yield present
    finally:
        if not present():
            cluster.kube.patch(*CRD, name, {"spec": {"versions": versions}})


class Release:
    """A release of the chart."""

    def __init__(self, kubeconfig: Path, cluster: Cluster, name: str, namespace: str) -> None:
        self._kubeconfig = kubeconfig
        self._kube = cluster.kube
        self._cluster = cluster
        self.name = name
        self.namespace = namespace
        self.deployment = f"{name}-pecan-operator"
        self.account = f"system:serviceaccount:{namespace}:{self.deployment}"

    def helm(self, *arguments: str, given: str | None = None) -> str:
        command = [str(ROOT / "hack/helm"), f"--kubeconfig={self._kubeconfig}", f"--namespace={self.namespace}"]
        done = subprocess.run([*command, *arguments], input=given, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def values(self) -> Manifest:
        """The values the release was made with."""
        found: Manifest = json.loads(self.helm("get", "values", self.name, "--output=json")) or {}
        return found

    def upgrade(self, values: Manifest, *arguments: str) -> None:
        """Install the release, or change it, and wait until its pods are ready."""
        command = ("upgrade", "--install", self.name, str(CHART), "--values=-", "--wait", "--timeout=2m")
        self.helm(*command, *arguments, given=json.dumps(values))

    def pod(self) -> Manifest:
        """The one pod of the operator, once it is ready and alone."""

        def pods() -> list[Manifest]:
            return self._cluster.pods(self.namespace, instance=self.name, component="operator")

        def available() -> bool:
            conditions = [each for pod in pods() for each in pod["status"].get("conditions", [])]
            return len(pods()) == 1 and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

        wait(available, 60, lambda: f"{self.deployment} has {len(pods())} pods, or one that is not ready")
        return pods()[0]

    def pods(self) -> list[str]:
        """Names of the operator's pods that are not going."""
        found = self._cluster.pods(self.namespace, instance=self.name, component="operator")
        return [pod["metadata"]["name"] for pod in found]

    def lease(self) -> Manifest:
        """What the lease says by which one pod is the leader."""
        found = self._kube.read("coordination.k8s.io/v1", "Lease", self.namespace, self.deployment) or {}
        spec: Manifest = found["spec"]
        return spec

    def leader(self) -> str:
        """The pod that holds the lease; empty when none does."""
        return str(self.lease()["holderIdentity"]).rpartition("_")[0]

    def scale(self, replicas: int) -> None:
        """Start the operator, or stop it, and wait until that is so."""
        where = ("apps/v1", "Deployment", self.namespace, self.deployment)
        self._kube.patch(*where, {"spec": {"replicas": replicas}})
        labels = {"app.kubernetes.io/instance": self.name, "app.kubernetes.io/component": "operator"}

        def done() -> bool:
            deployment = self._kube.read(*where) or {}
            pods = self._kube.list("v1", "Pod", self.namespace, labels)
            return (deployment["status"].get("readyReplicas") or 0) == replicas == len(pods)

        wait(done, 120, lambda: f"{self.deployment} does not have {replicas} pods")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Without this operator; afterwards it works again."""
        self.scale(0)
        try:
            yield
        finally:
            self.scale(1)


@contextmanager
def sampled(look: Callable[[], T], seconds: float) -> Iterator[list[T]]:
    """The values of `look`, called each so many seconds while the block goes on; a call that fails gives none."""
    seen: list[T] = []
    over = threading.Event()

    def follow() -> None:
        while not over.wait(seconds):
            with suppress(AssertionError, OSError, OperatorError):
                seen.append(look())

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
