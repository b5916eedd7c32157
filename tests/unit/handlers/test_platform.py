"""Reconciling against an API server in memory: what is written, when, and what the conditions say."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pecan_operator.core.platform.base import decode
from pecan_operator.core.status import find
from pecan_operator.errors import Unavailable, UserError
from pecan_operator.handlers.children import Children, project
from pecan_operator.handlers.platform import draw_password, reconcile_platform
from pecan_operator.settings import read_settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONDITIONS = ["Ready", "DataReady", "PostgresReady", "RabbitMQReady", "DatabaseReady"]
Key = tuple[str, str]


class Cluster:
    """The API server as the handler sees it: objects of one namespace, and how often they were written."""

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.writes: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.refuse: dict[Key, str] = {}
        self.applied: dict[Key, set[tuple[str, ...]]] = {}
        self._uids = itertools.count(1)
        self.platform: dict[str, Any] = {}

    def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        key = self._write("apply", manifest)
        live = self.objects.setdefault(key, self._new(manifest))
        fields = set(_leaves(manifest))
        for gone in self.applied.get(key, set()) - fields:
            _remove(live, gone)
        self.applied[key] = fields
        _merge(live, copy.deepcopy(manifest))
        return copy.deepcopy(live)

    def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        key = self._write("create", manifest)
        if key in self.objects:
            return None
        self.objects[key] = _merge(self._new(manifest), copy.deepcopy(manifest))
        return copy.deepcopy(self.objects[key])

    def read(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return copy.deepcopy(self.objects.get((kind, name)))

    def list(
        self, api_version: str, kind: str, namespace: str, selector: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        return [
            copy.deepcopy(obj)
            for (of_kind, _), obj in self.objects.items()
            if of_kind == kind and (selector or {}).items() <= (obj["metadata"].get("labels") or {}).items()
        ]

    def delete(self, api_version: str, kind: str, namespace: str, name: str, uid: str) -> None:
        assert self.objects[kind, name]["metadata"]["uid"] == uid
        self.writes.append(f"delete {kind} {name}")
        del self.objects[kind, name]

    def apply_status(self, obj: dict[str, Any], status: dict[str, Any]) -> None:
        if obj.get("status") != status:
            self.writes.append("status")
            self.objects["PecanPlatform", obj["metadata"]["name"]]["status"] = status

    def event(self, obj: dict[str, Any], event_type: str, reason: str, message: str) -> None:
        self.events.append((event_type, reason))

    def _write(self, verb: str, manifest: dict[str, Any]) -> Key:
        key = (manifest["kind"], manifest["metadata"]["name"])
        if key in self.refuse:
            raise UserError("RefusedByKubernetes", self.refuse[key])
        self.writes.append(f"{verb} {key[0]} {key[1]}")
        return key

    def _new(self, manifest: dict[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": manifest["apiVersion"],
            "kind": manifest["kind"],
            "metadata": {"uid": f"uid-{next(self._uids)}", "generation": 1},
        }

    # What the rest of the cluster does.

    def only(self, kind: str, prefix: str) -> dict[str, Any]:
        (found,) = [obj for (of_kind, name), obj in self.objects.items() if of_kind == kind and name.startswith(prefix)]
        return found

    def bind(self) -> None:
        for (kind, _), obj in self.objects.items():
            if kind == "PersistentVolumeClaim":
                obj["status"] = {"phase": "Bound"}

    def finish_jobs(self) -> None:
        for (kind, _), obj in self.objects.items():
            if kind == "Job":
                obj["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

    def start_sets(self) -> None:
        for (kind, _), obj in self.objects.items():
            if kind == "StatefulSet":
                obj["status"] = {"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": 1}

    def everything(self) -> None:
        self.bind()
        self.finish_jobs()
        self.start_sets()


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Any:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path


def _merge(live: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(live.get(key), dict):
            _merge(live[key], value)
        else:
            live[key] = value
    return live


def _remove(live: dict[str, Any], path: tuple[str, ...]) -> None:
    for key in path[:-1]:
        live = live.get(key, {})
    live.pop(path[-1], None)


class Operator:
    """One process: what it remembers is gone with it."""

    def __init__(self, cluster: Cluster, now: datetime = NOW, **environment: str) -> None:
        self.cluster = cluster
        self.now = now
        self.settings = read_settings(environment)
        self.children = Children(cluster)

    def look(self, name: str = "pecan") -> Any:
        obj = copy.deepcopy(self.cluster.objects["PecanPlatform", name])
        return reconcile_platform(obj, self.cluster, self.settings, self.now, self.children)

    def settle(self, name: str = "pecan") -> Any:
        for _ in range(4):
            result = self.look(name)
            self.cluster.everything()
        return result


def add_platform(cluster: Cluster, name: str = "pecan", created: str = "2026-01-01T00:00:00Z", **spec: Any) -> str:
    obj = {
        "apiVersion": "pecanproject.org/v1alpha1",
        "kind": "PecanPlatform",
        "metadata": {"name": name, "namespace": "forest", "creationTimestamp": created},
        "spec": spec,
    }
    made = cluster.create(obj)
    assert made is not None
    cluster.writes.clear()
    return made["metadata"]["uid"]


def says(cluster: Cluster, condition: str, name: str = "pecan") -> tuple[str, str]:
    found = find(cluster.objects["PecanPlatform", name]["status"], condition)
    assert found is not None
    return found["status"], found["reason"]


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    add_platform(made)
    return made


def test_services_start_one_after_the_other(cluster):
    operator = Operator(cluster)

    operator.look()
    assert {kind for kind, _ in cluster.objects} == {"PecanPlatform", "PersistentVolumeClaim", "Job"}
    assert says(cluster, "DataReady") == ("False", "VolumeUnbound")
    assert says(cluster, "PostgresReady") == ("False", "Waiting")

    cluster.bind()
    operator.look()
    assert says(cluster, "DataReady") == ("False", "Starting")

    cluster.finish_jobs()
    operator.look()
    cluster.bind()
    operator.look()
    assert says(cluster, "DataReady") == ("True", "Ready")
    assert says(cluster, "PostgresReady") == ("False", "Starting")
    assert says(cluster, "RabbitMQReady") == ("False", "Starting")
    assert says(cluster, "DatabaseReady") == ("False", "Waiting")

    cluster.start_sets()
    operator.look()
    assert says(cluster, "DatabaseReady") == ("False", "Starting")
    assert cluster.objects["PecanPlatform", "pecan"]["status"]["phase"] == "Progressing"

    cluster.finish_jobs()
    result = operator.look()
    assert result.ready
    status = cluster.objects["PecanPlatform", "pecan"]["status"]
    assert [condition["type"] for condition in status["conditions"]] == CONDITIONS
    assert (status["phase"], status["hostname"], status["dataClaim"]) == ("Ready", "docker", "pecan-data")
    assert cluster.events == [("Normal", "Ready")]


def test_secrets_are_there_before_the_claim_they_belong_to(cluster):
    Operator(cluster).settle()
    created = [write for write in cluster.writes if write.startswith("create")]
    assert created.index("create PersistentVolumeClaim pecan-postgres") > created.index("create Secret pecan-ledger")
    assert created.index("create PersistentVolumeClaim pecan-rabbitmq") > created.index("create Secret pecan-amqp")


def test_an_idle_platform_is_not_written(cluster):
    operator = Operator(cluster)
    operator.settle()
    cluster.writes.clear()
    for _ in range(3):
        assert operator.look().ready
    assert cluster.writes == []


def test_a_new_process_changes_nothing(cluster):
    Operator(cluster).settle()
    before = copy.deepcopy(cluster.objects)
    assert Operator(cluster).look().ready
    assert cluster.objects == before


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("StatefulSet", "pecan-postgres", ("spec", "replicas"), 0),
        ("Service", "pecan-rabbitmq", ("spec", "selector"), {"app": "mine"}),
        ("ConfigMap", "pecan-rabbitmq", ("data", "rabbitmq.conf"), "loopback_users = none"),
        ("Secret", "pecan-definitions", ("data", "definitions.json"), "e30="),
        ("Secret", "pecan-ledger", ("metadata", "labels"), {}),
        ("PersistentVolumeClaim", "pecan-data", ("metadata", "labels"), {"mine": "too"}),
    ],
)
def test_drift_made_by_hand_is_repaired(cluster, kind, name, path, value):
    operator = Operator(cluster)
    operator.settle()
    before = copy.deepcopy(cluster.objects[kind, name])
    outer = cluster.objects[kind, name]
    for key in path[:-1]:
        outer = outer[key]
    outer[path[-1]] = value
    operator.look()
    repaired = cluster.objects[kind, name]
    for key in path:
        before, repaired = before[key], repaired[key]
    assert project(before, repaired) == before


def test_what_is_deleted_by_hand_comes_back(cluster):
    operator = Operator(cluster)
    operator.settle()
    gone = [("StatefulSet", "pecan-rabbitmq"), ("Service", "pecan-postgres"), ("ConfigMap", "pecan-rabbitmq")]
    for key in gone:
        del cluster.objects[key]
    operator.look()
    assert all(key in cluster.objects for key in gone)


def test_a_changed_image_rolls_out_and_the_old_job_goes(cluster):
    Operator(cluster).settle()
    old = cluster.only("Job", "pecan-database")["metadata"]["name"]
    cluster.objects["PecanPlatform", "pecan"]["spec"] = {"postgres": {"image": "my/postgis:2"}}
    Operator(cluster, PECAN_IMAGE_OPERATOR="operator:2").settle()
    pod = cluster.objects["StatefulSet", "pecan-postgres"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "my/postgis:2"
    job = cluster.only("Job", "pecan-database")
    assert job["metadata"]["name"] != old
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "operator:2"


def test_a_platform_that_was_ready_is_degraded(cluster):
    operator = Operator(cluster)
    operator.settle()
    operator.look()
    cluster.objects["StatefulSet", "pecan-rabbitmq"]["status"]["readyReplicas"] = 0
    result = operator.look()
    assert (result.ready, result.retry_seconds <= 3) == (False, True)
    assert cluster.objects["PecanPlatform", "pecan"]["status"]["phase"] == "Degraded"
    assert says(cluster, "RabbitMQReady") == ("False", "Starting")
    assert says(cluster, "PostgresReady") == ("True", "Ready")


def test_the_reason_of_a_pod_becomes_the_reason_of_its_service_and_of_ready(cluster):
    operator = Operator(cluster)
    operator.settle()
    postgres = cluster.objects["StatefulSet", "pecan-postgres"]
    postgres["status"]["readyReplicas"] = 0
    cluster.objects["Pod", "pecan-postgres-0"] = {
        "metadata": {"name": "pecan-postgres-0", "uid": "p", "labels": postgres["metadata"]["labels"]},
        "spec": {"containers": [{"name": "postgres", "image": "wrong:1"}]},
        "status": {
            "phase": "Pending",
            "containerStatuses": [
                {"name": "postgres", "image": "", "state": {"waiting": {"reason": "ErrImagePull", "message": "404"}}}
            ],
        },
    }
    operator.look()
    assert says(cluster, "PostgresReady") == ("False", "ImageCannotBePulled")
    assert says(cluster, "Ready") == ("False", "ImageCannotBePulled")
    message = find(cluster.objects["PecanPlatform", "pecan"]["status"], "Ready")["message"]
    assert message == "PostgresReady: image wrong:1 cannot be pulled: 404"
    assert cluster.events[-1] == ("Warning", "ImageCannotBePulled")


def test_passwords_are_never_made_anew(cluster):
    Operator(cluster).settle()
    suffixes = ("postgres", "bety", "ledger", "rabbitmq", "amqp")
    before = {suffix: decode(cluster.objects["Secret", f"pecan-{suffix}"]) for suffix in suffixes}
    assert (
        len({password for secret in before.values() for key, password in secret.items() if "pass" in key.lower()}) == 5
    )
    for _ in range(2):
        Operator(cluster).settle()
    assert {suffix: decode(cluster.objects["Secret", f"pecan-{suffix}"]) for suffix in suffixes} == before


@pytest.mark.parametrize(
    ("secret", "condition"), [("ledger", "PostgresReady"), ("postgres", "PostgresReady"), ("amqp", "RabbitMQReady")]
)
def test_a_lost_secret_is_reported_and_not_replaced_while_its_data_lives(cluster, secret, condition):
    operator = Operator(cluster)
    operator.settle()
    del cluster.objects["Secret", f"pecan-{secret}"]
    before = copy.deepcopy(cluster.objects)
    operator.look()
    assert says(cluster, condition) == ("False", "CredentialsMissing")
    message = find(cluster.objects["PecanPlatform", "pecan"]["status"], condition)["message"]
    assert f"Secret pecan-{secret}" in message
    assert set(cluster.objects) == set(before)


def test_secrets_left_half_made_are_completed_while_there_is_no_data(cluster):
    operator = Operator(cluster)
    operator.settle()
    del cluster.objects["PersistentVolumeClaim", "pecan-postgres"]
    del cluster.objects["Secret", "pecan-ledger"]
    kept = copy.deepcopy(cluster.objects["Secret", "pecan-postgres"]["data"])
    operator.settle()
    assert ("Secret", "pecan-ledger") in cluster.objects
    assert cluster.objects["Secret", "pecan-postgres"]["data"] == kept


DATA = [
    *(("Secret", f"pecan-{suffix}") for suffix in ("postgres", "bety", "ledger", "rabbitmq", "amqp")),
    *(("PersistentVolumeClaim", f"pecan-{suffix}") for suffix in ("data", "postgres", "rabbitmq")),
]


def owners(cluster: Cluster, key: Key) -> list[str]:
    return [reference["uid"] for reference in cluster.objects[key]["metadata"].get("ownerReferences") or []]


def test_the_data_policy_decides_on_owners_and_may_change(cluster):
    uid = cluster.objects["PecanPlatform", "pecan"]["metadata"]["uid"]
    operator = Operator(cluster)
    operator.settle()
    assert [owners(cluster, key) for key in DATA] == [[]] * len(DATA)
    for policy, expected in (("Delete", [uid]), ("Retain", [])):
        cluster.objects["PecanPlatform", "pecan"]["spec"] = {"dataPolicy": policy}
        before = {key: copy.deepcopy(cluster.objects[key].get("data")) for key in DATA}
        operator.look()
        assert [owners(cluster, key) for key in DATA] == [expected] * len(DATA)
        assert {key: cluster.objects[key].get("data") for key in DATA} == before
    assert all(owners(cluster, key) == [uid] for key in cluster.objects if key[0] in ("StatefulSet", "Job", "Service"))


def test_a_new_platform_takes_up_what_was_retained(cluster):
    Operator(cluster).settle()
    data = {key: copy.deepcopy(cluster.objects[key]) for key in DATA}
    cluster.objects = copy.deepcopy(data)
    cluster.applied.clear()
    add_platform(cluster, storage={"data": {"size": "1Gi"}})
    Operator(cluster).settle()
    for key, before in data.items():
        now = cluster.objects[key]
        assert now["metadata"]["uid"] == before["metadata"]["uid"]
        assert (now.get("data"), now.get("spec")) == (before.get("data"), before.get("spec"))
    assert says(cluster, "Ready") == ("True", "Ready")


def test_data_that_goes_with_a_deleted_platform_is_waited_for(cluster):
    cluster.objects["PecanPlatform", "pecan"]["spec"] = {"dataPolicy": "Delete"}
    Operator(cluster).settle()
    del cluster.objects["PecanPlatform", "pecan"]
    add_platform(cluster)
    operator = Operator(cluster)
    operator.look()
    assert says(cluster, "DataReady") == ("False", "DataGoing")
    for key in [key for key in cluster.objects if key[0] != "PecanPlatform"]:
        del cluster.objects[key]
    operator.settle()
    assert says(cluster, "Ready") == ("True", "Ready")


def test_the_oldest_platform_wins_and_the_next_follows_it(cluster):
    add_platform(cluster, "another", created="2026-01-01T00:00:01Z")
    operator = Operator(cluster)
    operator.settle()
    operator.settle("another")
    assert says(cluster, "Ready") == ("True", "Ready")
    assert says(cluster, "Ready", "another") == ("False", "PlatformExists")
    assert not [name for _, name in cluster.objects if name.startswith("another-")]
    del cluster.objects["PecanPlatform", "pecan"]
    operator.settle("another")
    assert says(cluster, "Ready", "another") == ("True", "Ready")


def test_the_claim_of_the_user_has_to_exist(cluster):
    cluster.objects["PecanPlatform", "pecan"]["spec"] = {"storage": {"data": {"existingClaim": "lab"}}}
    operator = Operator(cluster)
    operator.look()
    assert says(cluster, "DataReady") == ("False", "VolumeMissing")
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "lab", "namespace": "forest"}}
    cluster.create(claim)
    operator.settle()
    assert says(cluster, "Ready") == ("True", "Ready")
    assert "labels" not in cluster.objects["PersistentVolumeClaim", "lab"]["metadata"]
    assert cluster.objects["PecanPlatform", "pecan"]["status"]["dataClaim"] == "lab"


def test_what_the_api_server_refuses_is_said_and_the_rest_goes_on(cluster):
    operator = Operator(cluster)
    operator.settle()
    cluster.refuse["Service", "pecan-rabbitmq"] = "exceeded quota"
    del cluster.objects["Service", "pecan-rabbitmq"]
    operator.look()
    assert says(cluster, "RabbitMQReady") == ("False", "RefusedByKubernetes")
    assert says(cluster, "DatabaseReady") == ("True", "Ready")
    assert ("StatefulSet", "pecan-rabbitmq") in cluster.objects


def test_a_failed_job_is_tried_again_after_a_minute(cluster):
    operator = Operator(cluster)
    operator.settle()
    job = cluster.only("Job", "pecan-database")
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "no luck"}
    job["status"] = {"conditions": [{**failed, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    operator.look()
    assert says(cluster, "DatabaseReady") == ("False", "BackoffLimitExceeded")
    assert cluster.only("Job", "pecan-database")["metadata"]["uid"] == job["metadata"]["uid"]
    operator.now = NOW + timedelta(seconds=61)
    operator.look()
    operator.look()
    assert cluster.only("Job", "pecan-database")["metadata"]["uid"] != job["metadata"]["uid"]
    operator.settle()
    assert says(cluster, "Ready") == ("True", "Ready")


def test_an_emptied_data_volume_is_checked_again(cluster):
    operator = Operator(cluster)
    operator.settle()
    before = cluster.only("Job", "pecan-datacheck")["metadata"]["name"]
    del cluster.objects["PersistentVolumeClaim", "pecan-data"]
    operator.settle()
    assert cluster.only("Job", "pecan-datacheck")["metadata"]["name"] != before


def test_a_wrong_spec_is_reported_and_touches_nothing(cluster):
    Operator(cluster).settle()
    cluster.writes.clear()
    cluster.objects["PecanPlatform", "pecan"]["spec"] = {"hostname": "Not a host"}
    Operator(cluster).look()
    assert says(cluster, "Ready") == ("False", "InvalidSpec")
    assert cluster.writes == ["status"]


def test_a_platform_on_its_way_out_is_left_alone(cluster):
    cluster.objects["PecanPlatform", "pecan"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    Operator(cluster).look()
    assert cluster.writes == ["status"]
    assert cluster.objects["PecanPlatform", "pecan"]["status"]["phase"] == "Deleting"


def test_children_of_others_are_never_pruned(cluster):
    operator = Operator(cluster)
    operator.settle()
    labels = cluster.objects["StatefulSet", "pecan-postgres"]["metadata"]["labels"]
    mine = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "mine", "namespace": "forest", "labels": labels},
    }
    cluster.create(mine)
    operator.look()
    assert ("ConfigMap", "mine") in cluster.objects


def test_an_api_server_that_does_not_answer_is_not_reported_as_anything(cluster):
    def silent(*_: Any) -> None:
        raise Unavailable("KubernetesUnavailable", "no answer")

    cluster.list = silent
    with pytest.raises(Unavailable):
        Operator(cluster).look()
    assert cluster.writes == []


def test_passwords_need_no_quoting_anywhere():
    drawn = {draw_password() for _ in range(100)}
    assert len(drawn) == 100
    assert all(len(password) == 32 and password.isalnum() and password.isascii() for password in drawn)


@pytest.mark.parametrize(
    ("desired", "live", "part"),
    [
        ({"a": 1}, {"a": 2, "b": 3}, {"a": 2}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": None}}),
        ([{"a": 1}], [{"a": 1, "b": 2}], [{"a": 1}]),
        ([{"a": 1}], [{"a": 1, "b": 2}, {"c": 3}], [{"a": 1, "b": 2}, {"c": 3}]),
        ({"a": {"b": 1}}, {}, {"a": None}),
        ("1000m", "1", "1"),
    ],
)
def test_project(desired, live, part):
    assert project(desired, live) == part
