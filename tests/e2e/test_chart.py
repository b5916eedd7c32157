"""The life of a release: upgraded from older CRDs; a second one for named namespaces installed, changed, uninstalled."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import (
    API_VERSION,
    CRD,
    GROUP,
    OPERATOR_AT_HOME,
    OPERATOR_IN_A_NAMESPACE,
    PLURALS,
    Cluster,
    Release,
    example,
    older_crd,
)

from pecan_operator.clients.kube import Manifest

UNINSTALL_SECONDS = 60.0
SMALL = {"storage": {"data": {"size": "1Gi"}}}


@dataclass(frozen=True)
class Second:
    """A release of its own, which works in `home`, where it has made platform `lab`, and in `named`, not in `other`."""

    release: Release
    values: Manifest
    home: str
    named: str
    other: str


@pytest.fixture(scope="module")
def brought_up_to_date(cluster: Cluster, release: Release) -> Iterator[bool]:
    """Upgrades the installed release from older CRDs, to no pods, which would do the same when they start.

    Whether the upgrade alone brought the CRDs up to date. Without pods it also leaves the second release in peace.
    """
    values = release.values()
    try:
        with older_crd(cluster, "pecanmodels", "priorityClassName") as is_back:
            release.upgrade({**values, "replicas": 0})
            done = is_back()
        yield done
    finally:
        release.upgrade(values)


@pytest.fixture(scope="module")
def second(
    kubeconfig: Path, cluster: Cluster, release: Release, brought_up_to_date: bool, make_namespace: Callable[[], str]
) -> Iterator[Second]:
    home, named, other = make_namespace(), make_namespace(), make_namespace()
    restricted = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    cluster.kube.patch("v1", "Namespace", None, home, restricted)
    values = copy.deepcopy(release.values())
    values["replicas"] = 1
    values["watchNamespaces"] = [home, named]
    values["crds"] = {"manage": False}
    values["platform"] = {"create": True, "name": "lab", "spec": SMALL}
    made = Release(kubeconfig, cluster, "pecan-two", home)
    begin = time.monotonic()
    made.upgrade(values)
    print(f"installed in {time.monotonic() - begin:.1f} s")
    for namespace in (named, other):
        cluster.kube.apply(example("platform.yaml", namespace=namespace))
    yield Second(made, values, home, named, other)
    made.helm("uninstall", made.name, "--ignore-not-found")
    for namespace in (home, named, other):
        cluster.kube.delete("v1", "Namespace", None, namespace)


def test_an_upgrade_brings_older_crds_up_to_date_and_leaves_nothing(
    cluster: Cluster, release: Release, brought_up_to_date: bool
) -> None:
    assert brought_up_to_date
    kinds = (("batch/v1", "Job"), ("v1", "ServiceAccount"), ("v1", "Pod"))
    found = [obj["metadata"]["name"] for kind in kinds for obj in cluster.kube.list(*kind, release.namespace)] + [
        obj["metadata"]["name"] for obj in cluster.kube.list("rbac.authorization.k8s.io/v1", "ClusterRole", None)
    ]
    assert [name for name in found if name.endswith("-crds")] == []


def test_it_works_in_the_named_namespaces_and_in_no_other(cluster: Cluster, second: Second) -> None:
    print(f"platform ready after {cluster.wait_ready('PecanPlatform', second.named, 'pecan', 90):.1f} s")
    cluster.wait_ready("PecanPlatform", second.home, "lab")
    untouched = cluster.kube.read(API_VERSION, "PecanPlatform", second.other, "pecan") or {}
    assert "status" not in untouched
    assert cluster.kube.list("v1", "PersistentVolumeClaim", second.other) == []
    assert cluster.pods(second.other) == []


def test_it_has_rights_in_the_named_namespaces_and_in_no_other(cluster: Cluster, second: Second) -> None:
    user = second.release.account
    assert cluster.rights_of(user, second.named) == OPERATOR_IN_A_NAMESPACE
    assert cluster.rights_of(user, second.home) == OPERATOR_IN_A_NAMESPACE | OPERATOR_AT_HOME
    assert cluster.rights_of(user, second.other) == set()
    assert cluster.rights_of(user, "kube-system") == set()


def test_a_changed_value_rolls_out_and_the_services_run_on(cluster: Cluster, second: Second) -> None:
    cluster.wait_ready("PecanPlatform", second.named, "pecan")
    before, services = second.release.pod(), _services(cluster, second.named)
    second.release.upgrade({**second.values, "logLevel": "WARNING"})
    after = second.release.pod()
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    (container,) = after["spec"]["containers"]
    assert {"name": "PECAN_LOG_LEVEL", "value": "WARNING"} in container["env"]
    assert cluster.ready("PecanPlatform", second.named, "pecan")
    assert _services(cluster, second.named) == services


def test_uninstalling_is_quick_and_keeps_what_users_have(cluster: Cluster, release: Release, second: Second) -> None:
    cluster.wait_ready("PecanPlatform", second.named, "pecan")
    cluster.kube.apply(example("models/dalec.yaml", namespace=second.named))
    cluster.wait_ready("PecanModel", second.named, "dalec", 30)
    cluster.kube.apply(example("workflows/loobos-ensemble.yaml", namespace=second.named))
    services = _services(cluster, second.named)
    begin = time.monotonic()
    second.release.helm("uninstall", second.release.name, "--wait")
    seconds = time.monotonic() - begin
    print(f"uninstalled in {seconds:.1f} s")
    assert seconds < UNINSTALL_SECONDS

    for plural in PLURALS:
        assert cluster.kube.read(*CRD, f"{plural}.{GROUP}") is not None
    kept = [
        ("PecanPlatform", second.home, "lab"),
        ("PecanPlatform", second.named, "pecan"),
        ("PecanModel", second.named, "dalec"),
        ("PecanWorkflow", second.named, "loobos-ensemble"),
    ]
    for kind, namespace, name in kept:
        found = cluster.kube.read(API_VERSION, kind, namespace, name)
        assert found is not None, f"{kind} {name} is gone"
        assert found["metadata"].keys().isdisjoint({"deletionTimestamp", "finalizers"})
    for namespace in (second.home, second.named):
        claims = cluster.kube.list("v1", "PersistentVolumeClaim", namespace)
        assert len(claims) == 3
        assert all(claim["status"]["phase"] == "Bound" for claim in claims)
    assert _services(cluster, second.named) == services

    ours = {"app.kubernetes.io/instance": second.release.name}
    rbac = "rbac.authorization.k8s.io/v1"
    kinds = [("apps/v1", "Deployment"), ("v1", "ServiceAccount"), ("v1", "Secret"), (rbac, "Role")]
    kinds += [(rbac, "RoleBinding"), (rbac, "ClusterRole"), (rbac, "ClusterRoleBinding")]
    assert [obj["metadata"]["name"] for kind in kinds for obj in cluster.kube.list(*kind, None, ours)] == []
    assert cluster.kube.list(rbac, "ClusterRole", None, {"app.kubernetes.io/instance": release.name})


def _services(cluster: Cluster, namespace: str) -> set[str]:
    """The pods of database and broker, by uid."""
    pods = [pod for component in ("postgres", "rabbitmq") for pod in cluster.pods(namespace, component=component)]
    assert len(pods) == 2
    return {pod["metadata"]["uid"] for pod in pods}
