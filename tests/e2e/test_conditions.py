"""What only the operator can know to be wrong, it says in a condition within 5 s."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.dynamic import DynamicClient

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 5.0

Manifest = dict[str, Any]


def example(path: str, name: str) -> Manifest:
    manifest: Manifest = yaml.safe_load((ROOT / "examples" / path).read_text(encoding="utf-8"))
    manifest["metadata"]["name"] = name
    return manifest


@pytest.fixture(scope="module", autouse=True)
def operator(kube: DynamicClient) -> None:
    """The operator is running; these tests are about what it answers."""
    deployments = kube.resources.get(api_version="apps/v1", kind="Deployment")
    found = deployments.get(label_selector="app.kubernetes.io/name=pecan-operator").items
    if not any((deployment.status.readyReplicas or 0) > 0 for deployment in found):
        pytest.fail("no operator is running: `helm install` it first (`make e2e` does)", pytrace=False)


def create(kube: DynamicClient, namespace: str, manifest: Manifest) -> Any:
    kind = kube.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
    kind.create(body=manifest, namespace=namespace)
    return kind


def refusal(kube: DynamicClient, namespace: str, manifest: Manifest) -> Manifest:
    """The condition Ready=False that a new object gets in time."""
    kind = create(kube, namespace, manifest)
    name = manifest["metadata"]["name"]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        obj = kind.get(name=name, namespace=namespace).to_dict()
        for condition in obj.get("status", {}).get("conditions", []):
            if condition["type"] == "Ready":
                assert condition["status"] == "False", condition
                assert condition["observedGeneration"] == obj["metadata"]["generation"]
                refused: Manifest = condition
                return refused
        time.sleep(0.1)
    pytest.fail(f"{manifest['kind']} {name} has no condition Ready after {DEADLINE_SECONDS:g} s")


def test_a_workflow_in_a_namespace_without_platform(kube: DynamicClient, namespace: str) -> None:
    condition = refusal(kube, namespace, example("workflows/two-sites.yaml", "lost"))
    assert "PecanPlatform" in condition["message"]


def test_a_model_in_a_namespace_without_platform(kube: DynamicClient, namespace: str) -> None:
    condition = refusal(kube, namespace, example("models/dalec.yaml", "lonely"))
    assert "PecanPlatform" in condition["message"]


def test_a_second_model_on_the_same_queue(kube: DynamicClient, namespace: str) -> None:
    create(kube, namespace, example("models/dalec.yaml", "first"))
    time.sleep(1.1)
    condition = refusal(kube, namespace, example("models/dalec.yaml", "second"))
    assert condition["reason"] == "QueueTaken"
    assert "DALEC_ev" in condition["message"]
    assert "first" in condition["message"]


def test_a_second_platform_in_a_namespace(kube: DynamicClient, namespace: str) -> None:
    first = example("platform.yaml", "first")
    first["spec"]["storage"] = {"data": {"existingClaim": "not-there"}}
    create(kube, namespace, first)
    time.sleep(1.1)
    condition = refusal(kube, namespace, example("platform.yaml", "second"))
    assert condition["reason"] == "PlatformExists"
    assert "first" in condition["message"]
