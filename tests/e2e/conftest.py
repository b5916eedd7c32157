"""Fixtures of tests that need a cluster: which one they may touch, a client, and namespaces that go away again."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError
from support import Cluster, Release
from workflow_support.fixtures import model, site  # noqa: F401

from pecan_operator.api.crdgen import crds as crd_manifests

ROOT = Path(__file__).resolve().parents[2]
LOCAL_KUBECONFIG = ROOT / ".build" / "kubeconfig"
LOCAL_CONTEXT = "pecan-local"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder needs a cluster."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The kubeconfig of a cluster that tests may change; fails for any other."""
    path = Path(os.environ.get("KUBECONFIG") or LOCAL_KUBECONFIG)
    if not path.is_file():
        pytest.fail(f"there is no cluster: {path} does not exist. Run `make cluster` first", pytrace=False)
    _, active = config.list_kube_config_contexts(str(path))
    context = active["name"]
    allowed = os.environ.get("PECAN_E2E_CONTEXT")
    if context not in (LOCAL_CONTEXT, allowed) and not context.startswith("kind-"):
        pytest.fail(
            f"{path} is about {context!r}, which is neither the local cluster nor kind. These tests create and delete "
            f"namespaces: set PECAN_E2E_CONTEXT={context} if they may",
            pytrace=False,
        )
    return path


@pytest.fixture(scope="session")
def kube(kubeconfig: Path) -> DynamicClient:
    """A client with the rights of the kubeconfig's user."""
    return DynamicClient(config.new_client_from_config(str(kubeconfig)))


@pytest.fixture(scope="session")
def crds(kube: DynamicClient) -> None:
    """The kinds of this work tree are served."""
    definitions = kube.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    for manifest in crd_manifests():
        definitions.server_side_apply(body=manifest, field_manager="pecan-operator", force_conflicts=True)
    deadline = time.monotonic() + 30
    for manifest in crd_manifests():
        name = manifest["metadata"]["name"]
        while not _is_served(definitions.get(name=name).to_dict()):
            assert time.monotonic() < deadline, f"{name} is not served after 30 s"
            time.sleep(0.2)


def _is_served(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions", [])
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


@pytest.fixture(scope="session")
def make_namespace(kube: DynamicClient) -> Iterator[Callable[[], str]]:
    """Makes namespaces that are deleted at the end, when no fixture has done it before."""
    namespaces = kube.resources.get(api_version="v1", kind="Namespace")
    made: list[str] = []

    def make() -> str:
        name = f"pecan-test-{secrets.token_hex(4)}"
        namespaces.create(body={"metadata": {"name": name, "labels": {"pecanproject.org/test": "true"}}})
        made.append(name)
        return name

    yield make
    for name in made:
        with contextlib.suppress(NotFoundError):
            namespaces.delete(name=name)


@pytest.fixture
def namespace(make_namespace: Callable[[], str]) -> str:
    """A fresh namespace, deleted when all tests are over."""
    return make_namespace()


@pytest.fixture(scope="session")
def cluster(kubeconfig: Path) -> Cluster:
    """The cluster as its administrator sees it."""
    return Cluster(kubeconfig)


@pytest.fixture(scope="session")
def release(kubeconfig: Path, cluster: Cluster, crds: None) -> Release:
    """The operator of `make install`."""
    labels = {"app.kubernetes.io/component": "operator", "app.kubernetes.io/instance": "pecan"}
    found = cluster.kube.list("apps/v1", "Deployment", None, labels)
    if len(found) != 1:
        pytest.fail(f"{len(found)} releases named pecan are installed. Run `make install` first", pytrace=False)
    return Release(kubeconfig, cluster, "pecan", found[0]["metadata"]["namespace"])
