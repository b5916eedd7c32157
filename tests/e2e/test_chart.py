"""Upgrading and uninstalling the operator that is installed in the cluster; afterwards it is there as it was before."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config

from pecan_operator.clients.kube import Kube, Manifest

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "pecan-operator"
API_VERSION = "pecanproject.org/v1alpha1"
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
OLDER_LACKS = "maxParallel"


@dataclass(frozen=True)
class Release:
    """The installed release, with the values it was installed with."""

    kubeconfig: Path
    name: str
    namespace: str
    values: Path

    def helm(self, *arguments: str) -> str:
        command = [
            ROOT / "hack" / "helm",
            f"--kubeconfig={self.kubeconfig}",
            f"--namespace={self.namespace}",
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def upgrade(self, *arguments: str) -> None:
        self.helm("upgrade", "--install", self.name, str(CHART), f"--values={self.values}", "--wait", *arguments)


@pytest.fixture(scope="module")
def release(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    listing = [ROOT / "hack" / "helm", f"--kubeconfig={kubeconfig}", "list", "--all-namespaces", "--output=json"]
    listed = json.loads(subprocess.run(listing, capture_output=True, text=True, check=True).stdout)
    (installed,) = [each for each in listed if each["chart"].startswith("pecan-operator-")]
    values = tmp_path_factory.mktemp("release") / "values.yaml"
    found = Release(kubeconfig, installed["name"], installed["namespace"], values)
    values.write_text(found.helm("get", "values", found.name, "--output=yaml"))
    yield found
    found.upgrade()


@pytest.fixture(scope="module")
def cluster(kubeconfig: Path) -> Kube:
    return Kube(config.new_client_from_config(str(kubeconfig)))


def wait(happened: Callable[[], bool], seconds: float, what: str) -> float:
    begin = time.monotonic()
    while not happened():
        assert time.monotonic() - begin < seconds, f"{what}: not within {seconds:g} s"
        time.sleep(0.3)
    return time.monotonic() - begin


def fields(crd: Manifest) -> dict[str, Any]:
    """The properties of the spec, in the one version."""
    properties: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "properties"
    ]
    return properties


def example(folder: str, kind: str, namespace: str) -> Manifest:
    """The first example of a kind."""
    for file in sorted((ROOT / "examples" / folder).glob("*.yaml")):
        for manifest in yaml.safe_load_all(file.read_text()):
            if manifest and manifest["kind"] == kind:
                manifest["metadata"]["namespace"] = namespace
                found: Manifest = manifest
                return found
    raise AssertionError(f"examples/{folder} has no {kind}")


def test_an_upgrade_brings_older_crds_up_to_date(release: Release, cluster: Kube) -> None:
    name = "pecanworkflows.pecanproject.org"
    older = cluster.read(*CRD, None, name)
    assert older is not None
    del fields(older)[OLDER_LACKS]
    schema = older["spec"]["versions"]
    cluster.patch(*CRD, None, name, {"spec": {"versions": schema}})
    assert OLDER_LACKS not in fields(cluster.read(*CRD, None, name) or {})
    # Without an operator, which would do it too when it starts.
    release.upgrade("--set=replicas=0")
    assert OLDER_LACKS in fields(cluster.read(*CRD, None, name) or {})
    left = [
        found["metadata"]["name"]
        for api_version, kind in (("batch/v1", "Job"), ("v1", "ServiceAccount"))
        for found in cluster.list(api_version, kind, release.namespace)
        if found["metadata"]["name"].endswith("-crds")
    ]
    assert left == []


def test_the_rights_in_named_namespaces_are_enough_and_reach_no_further(
    release: Release, cluster: Kube, crds: None, make_namespace: Callable[[], str]
) -> None:
    named, other = make_namespace(), make_namespace()
    release.upgrade(f"--set=watchNamespaces={{{named}}}")
    for space in (named, other):
        metadata = {"name": "pecan", "namespace": space}
        cluster.create({"apiVersion": API_VERSION, "kind": "PecanPlatform", "metadata": metadata})

    def is_ready() -> bool:
        (platform,) = cluster.list(API_VERSION, "PecanPlatform", named)
        return any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in (platform.get("status") or {}).get("conditions", [])
        )

    wait(is_ready, 180, "the platform in the named namespace is ready")
    assert cluster.list("v1", "PersistentVolumeClaim", other) == []
    for space in (named, other):
        cluster.delete(API_VERSION, "PecanPlatform", space, "pecan")


def test_uninstalling_never_hangs_and_keeps_what_users_have(
    release: Release, cluster: Kube, crds: None, make_namespace: Callable[[], str]
) -> None:
    namespace, doomed = make_namespace(), make_namespace()
    release.upgrade(
        "--set=platform.create=true", "--set=platform.name=of-the-release", "--set=platform.spec.dataPolicy=Delete"
    )
    for space in (namespace, doomed):
        platform = {
            "apiVersion": API_VERSION,
            "kind": "PecanPlatform",
            "metadata": {"name": "pecan", "namespace": space},
        }
        cluster.create(platform)
        cluster.create(example("models", "PecanModel", space))
        cluster.create(example("workflows", "PecanWorkflow", space))
        wait(lambda space=space: bool(cluster.list("v1", "PersistentVolumeClaim", space)), 30, "a volume claim")

    begin = time.monotonic()
    release.helm("uninstall", release.name, "--wait")
    print(f"uninstalled in {time.monotonic() - begin:.1f} s")
    try:
        assert time.monotonic() - begin < 60
        for kind in ("PecanPlatform", "PecanModel", "PecanWorkflow"):
            (kept,) = cluster.list(API_VERSION, kind, namespace)
            assert "deletionTimestamp" not in kept["metadata"]
            assert not kept["metadata"].get("finalizers")
        assert cluster.list("v1", "PersistentVolumeClaim", namespace)
        assert cluster.read(API_VERSION, "PecanPlatform", release.namespace, "of-the-release") is not None

        cluster.delete("v1", "Namespace", None, doomed)
        took = wait(lambda: cluster.read("v1", "Namespace", None, doomed) is None, 90, "the namespace is gone")
        print(f"a namespace without its operator was gone in {took:.1f} s")
    finally:
        cluster.delete(API_VERSION, "PecanPlatform", release.namespace, "of-the-release")
        release.upgrade()

    def is_looked_after() -> bool:
        (platform,) = cluster.list(API_VERSION, "PecanPlatform", namespace)
        return bool((platform.get("status") or {}).get("conditions"))

    wait(is_looked_after, 30, "the operator is back at work")
