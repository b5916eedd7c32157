"""Wrong manifests are refused by the API server, with an answer that names the field and says what is wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiException
from kubernetes.dynamic import DynamicClient

from pecan_operator.api.base import API_VERSION
from pecan_operator.api.platform import PlatformSpec

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("platforms", "models", "workflows", "pecanxml")
STRICT = [("fieldValidation", "Strict")]

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A manifest that is wrong in one way. `before` is what exists when it is applied, if anything."""

    manifest: Manifest
    before: Manifest | None
    field: str
    says: str


def at(manifest: Manifest, path: str) -> tuple[Any, str | int]:
    """What holds the place a path leads to, and the key or index there."""
    *steps, last = path.split("/")
    place: Any = manifest
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    return (place, int(last)) if isinstance(place, list) else (place, last)


def changed(manifest: Manifest, values: dict[str, Any]) -> Manifest:
    """A copy with the values at those paths; an index after the last item appends."""
    result = copy.deepcopy(manifest)
    for path, value in values.items():
        place, key = at(result, path)
        if isinstance(place, list) and key == len(place):
            place.append(value)
        else:
            place[key] = value
    return result


def read_cases() -> Iterator[Any]:
    for table in TABLES:
        content = yaml.safe_load((ROOT / "tests/e2e/wrong_manifests" / f"{table}.yaml").read_text(encoding="utf-8"))
        base = yaml.safe_load((ROOT / content["base"]).read_text(encoding="utf-8"))
        for row in content["cases"]:
            before = changed(base, row["after"]) if "after" in row else None
            manifest = changed(before or base, row.get("set", {}))
            if "remove" in row:
                place, key = at(manifest, row["remove"])
                del place[key]
            what = row.get("set") or {"without": row["remove"]}
            name = f"{table}-{'update-' if before else ''}{json.dumps(what)}"
            yield pytest.param(Case(manifest, before, row["field"], row["says"]), id=name[:100])


CASES = list(read_cases())


class Cluster:
    """The API server, and the objects that wrong updates are tried on: each is made once."""

    def __init__(self, kube: DynamicClient, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace
        self.names: dict[str, tuple[Any, str]] = {}

    def kind(self, manifest: Manifest) -> Any:
        return self.kube.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])

    def create(self, manifest: Manifest) -> Manifest:
        """What the API server would make of a manifest."""
        options = {"dry_run": "All", "query_params": list(STRICT)}
        made: Manifest = self.kind(manifest).create(body=manifest, namespace=self.namespace, **options).to_dict()
        return made

    def existing(self, manifest: Manifest) -> str:
        """Name of an object with the spec of the manifest. A workflow is suspended, so that nothing comes of it."""
        key = json.dumps(manifest)
        if key not in self.names:
            name = f"wrong-{len(self.names)}"
            body = changed(manifest, {"metadata/name": name})
            if manifest["kind"] == "PecanWorkflow":
                body["spec"]["suspend"] = True
            kind = self.kind(manifest)
            kind.create(body=body, namespace=self.namespace, query_params=list(STRICT))
            self.names[key] = (kind, name)
        return self.names[key][1]

    def update(self, before: Manifest, after: Manifest) -> None:
        """Tries another spec on an existing object; as a patch, since the operator may write its status meanwhile."""
        self.kind(after).patch(
            body=[{"op": "replace", "path": "/spec", "value": after["spec"]}],
            name=self.existing(before),
            namespace=self.namespace,
            content_type="application/json-patch+json",
            dry_run="All",
            query_params=list(STRICT),
        )

    def clean(self) -> None:
        for kind, name in self.names.values():
            kind.delete(name=name, namespace=self.namespace)


@pytest.fixture(scope="module")
def cluster(kube: DynamicClient, crds: None, make_namespace: Callable[[], str]) -> Iterator[Cluster]:
    cluster = Cluster(kube, make_namespace())
    yield cluster
    cluster.clean()


def refused(change: Callable[[], Any]) -> str:
    """What the API server answers to a change that it must refuse."""
    with pytest.raises(ApiException) as refusal:
        change()
    assert refusal.value.status in (400, 422), refusal.value
    message: str = json.loads(refusal.value.body)["message"]
    return message


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 50


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_manifest_is_refused_naming_the_field(cluster: Cluster, case: Case) -> None:
    if case.before is None:
        message = refused(lambda: cluster.create(case.manifest))
    else:
        before = case.before
        message = refused(lambda: cluster.update(before, case.manifest))
    assert case.field in message, message
    assert case.says in message, message


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_accepted(cluster: Cluster, path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        cluster.create(manifest)


def test_an_empty_platform_gets_every_default(cluster: Cluster) -> None:
    made = cluster.create({"apiVersion": API_VERSION, "kind": "PecanPlatform", "metadata": {"name": "empty"}})
    assert made["spec"] == PlatformSpec().manifest() | {"storage": {"data": {"uid": 1001, "gid": 1001}}}


def test_what_may_change_in_a_workflow_can_be_changed(cluster: Cluster) -> None:
    ensemble = yaml.safe_load((ROOT / "examples/workflows/loobos-ensemble.yaml").read_text(encoding="utf-8"))
    analysis = {"quantiles": {"sigma": [-1, 1], "quantile": [0.1]}, "variables": ["GPP"]}
    mutable = {
        "suspend": False,
        "cancel": True,
        "priority": 5,
        "maxParallel": 10,
        "retry": {"maxAttempts": 2},
        "retryGeneration": 3,
        "folderPolicy": "Delete",
        "deadlineSeconds": 3600,
    }
    for base in (ensemble, changed(ensemble, {"spec/sensitivityAnalysis": analysis})):
        cluster.update(base, changed(base, {f"spec/{field}": value for field, value in mutable.items()}))


def test_scaling_a_model_keeps_that_many_workers_but_never_above_the_maximum(cluster: Cluster) -> None:
    base = yaml.safe_load((ROOT / "examples/models/dalec.yaml").read_text(encoding="utf-8"))
    name, kind = cluster.existing(base), cluster.kind(base)

    def scale(replicas: int, **options: str) -> None:
        kind.scale.patch(
            body={"spec": {"replicas": replicas}},
            name=name,
            namespace=cluster.namespace,
            content_type="application/merge-patch+json",
            **options,
        )

    scale(2)
    assert kind.get(name=name, namespace=cluster.namespace).spec.scaling.minReplicas == 2
    scale(0)
    assert "minReplicas must not be greater than maxReplicas" in refused(lambda: scale(5, dry_run="All"))
