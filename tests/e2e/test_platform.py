"""A PecanPlatform on a real cluster, in a namespace that admits restricted pods only, with the installed operator."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config
from kubernetes.client import CoreV1Api
from kubernetes.dynamic import DynamicClient
from kubernetes.stream import stream

from pecan_operator.clients.kube import Kube, Manifest
from pecan_operator.core.platform.base import decode
from pecan_operator.core.status import find

API_VERSION = "pecanproject.org/v1alpha1"
SECRETS = ("postgres", "bety", "ledger", "rabbitmq", "amqp")
CLAIMS = ("data", "postgres", "rabbitmq")
START_SECONDS = 180.0
# The promise is ten seconds after the fact; the fact itself takes the cluster a moment that the test cannot see.
REPORT_SECONDS = 15.0
REPAIR_SECONDS = 45.0


class Place:
    """One namespace, as a user and the tests see it."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._client = config.new_client_from_config(str(kubeconfig))
        self.kube = Kube(self._client)
        self.namespace = namespace
        self._resource = DynamicClient(self._client).resources.get(api_version=API_VERSION, kind="PecanPlatform")

    def apply(self, name: str = "pecan", **spec: Any) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        platform = {"apiVersion": API_VERSION, "kind": "PecanPlatform", "metadata": metadata, "spec": spec}
        self._resource.server_side_apply(body=platform, field_manager="pecan-test", force_conflicts=True)

    def delete(self, name: str = "pecan") -> None:
        self.kube.delete(API_VERSION, "PecanPlatform", self.namespace, name)

    def read(self, api_version: str, kind: str, name: str) -> Manifest | None:
        return self.kube.read(api_version, kind, self.namespace, name)

    def existing(self, api_version: str, kind: str, name: str) -> Manifest:
        found = self.read(api_version, kind, name)
        assert found is not None, f"{kind} {name} does not exist"
        return found

    def condition(self, condition: str, name: str = "pecan") -> Any:
        platform = self.read(API_VERSION, "PecanPlatform", name) or {}
        return find(platform.get("status"), condition) or {"status": None, "reason": None, "message": None}

    def wait_ready(self, name: str = "pecan", seconds: float = START_SECONDS) -> float:
        """Seconds until Ready; the conditions are in the message when it takes too long."""

        def is_ready() -> bool:
            platform = self.existing(API_VERSION, "PecanPlatform", name)
            ready = find(platform.get("status"), "Ready")
            generation = platform["metadata"]["generation"]
            return bool(ready and ready["status"] == "True" and ready["observedGeneration"] == generation)

        def conditions() -> str:
            return json.dumps(self.existing(API_VERSION, "PecanPlatform", name).get("status"), indent=1)

        return wait(is_ready, seconds, conditions)

    def wait_reason(self, condition: str, reason: str, seconds: float, name: str = "pecan") -> str:
        """The message with which a condition took this reason."""
        wait(
            lambda: self.condition(condition, name)["reason"] == reason,
            seconds,
            lambda: f"{condition} is {self.condition(condition, name)}",
        )
        return str(self.condition(condition, name)["message"])

    def run(self, pod: str, *command: str) -> str:
        """What a command prints in the container of a pod."""
        api = CoreV1Api(self._client)
        return str(
            stream(
                api.connect_get_namespaced_pod_exec,
                pod,
                self.namespace,
                command=list(command),
                stderr=True,
                stdout=True,
            )
        )

    def psql(self, statement: str, dbname: str = "bety") -> list[str]:
        command = ("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", dbname, "-c")
        return self.run("pecan-postgres-0", *command, statement).split()

    def secrets(self) -> dict[str, dict[str, str]]:
        return {suffix: decode(self.existing("v1", "Secret", f"pecan-{suffix}")) for suffix in SECRETS}

    def children(self) -> list[str]:
        kinds = (("apps/v1", "StatefulSet"), ("batch/v1", "Job"), ("v1", "Service"), ("v1", "ConfigMap"), ("v1", "Pod"))
        ours = {"app.kubernetes.io/managed-by": "pecan-operator"}
        return [
            f"{kind} {child['metadata']['name']}"
            for api_version, kind in kinds
            for child in self.kube.list(api_version, kind, self.namespace, ours)
        ]


def wait(happened: Callable[[], bool], seconds: float, tell: Callable[[], str]) -> float:
    """Seconds it took; fails after `seconds` with what `tell` says."""
    begin = time.monotonic()
    while not happened():
        assert time.monotonic() - begin < seconds, f"not within {seconds:g} s: {tell()}"
        time.sleep(0.3)
    return time.monotonic() - begin


@pytest.fixture(scope="module")
def place(kubeconfig: Path, crds: None, make_namespace: Callable[[], str]) -> Place:
    """A namespace with a ready platform, shared by the tests of this file."""
    made = restricted(Place(kubeconfig, make_namespace()))
    made.apply()
    print(f"platform ready after {made.wait_ready():.1f} s")
    return made


@pytest.fixture
def empty_place(kubeconfig: Path, crds: None, namespace: str) -> Iterator[Place]:
    """A namespace of its own, whose platforms are deleted at once afterwards."""
    made = restricted(Place(kubeconfig, namespace))
    yield made
    for platform in made.kube.list(API_VERSION, "PecanPlatform", namespace):
        made.delete(platform["metadata"]["name"])


def restricted(place: Place) -> Place:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    place.kube.patch("v1", "Namespace", None, place.namespace, label)
    return place


def test_every_service_is_ready_and_says_so(place: Place) -> None:
    status = place.existing(API_VERSION, "PecanPlatform", "pecan")["status"]
    assert status["phase"] == "Ready"
    assert (status["hostname"], status["dataClaim"]) == ("docker", "pecan-data")
    conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
    assert conditions == dict.fromkeys(
        ("Ready", "DataReady", "PostgresReady", "RabbitMQReady", "DatabaseReady"), "True"
    )


def test_the_broker_has_its_users_and_a_host_with_quorum_queues(place: Place) -> None:
    script = """
        rabbitmqctl --quiet list_vhosts name default_queue_type --no-table-headers
        rabbitmqctl --quiet list_users --no-table-headers
        rabbitmqctl --quiet list_policies -p pecan --no-table-headers | cut -f 2
    """
    said = [line.split("\t") for line in place.run("pecan-rabbitmq-0", "sh", "-c", script).splitlines()]
    assert said[0] == ["pecan", "quorum"]
    assert sorted(said[1:3]) == [["pecan", "[management]"], ["pecan-operator", "[management]"]]
    assert {"pecan-default", "pecan-own"} <= {line[0] for line in said[3:]}


def test_the_database_has_its_roles_tables_and_ids(place: Place) -> None:
    assert place.psql("select rolname from pg_roles where rolname in ('bety', 'pecan_operator') order by 1") == [
        "bety",
        "pecan_operator",
    ]
    assert place.psql("select hostname from machines") == ["docker"]
    assert place.psql("select count(*) > 0 from pecan_operator.migration") == ["t"]
    assert int(place.psql("select id from machines")[0]) > 99_000_000_000
    assert place.psql("select extname from pg_extension where extname = 'postgis'") == ["postgis"]


def test_the_data_volume_has_the_folders_of_pecan(place: Place) -> None:
    job = place.kube.list("batch/v1", "Job", place.namespace, {"app.kubernetes.io/component": "data"})[0]
    assert any(condition["type"] == "Complete" for condition in job["status"]["conditions"])


@pytest.mark.full
def test_an_idle_platform_is_not_written(place: Place) -> None:
    def versions() -> dict[str, str]:
        kinds = (
            ("apps/v1", "StatefulSet"),
            ("v1", "Service"),
            ("v1", "Secret"),
            ("v1", "ConfigMap"),
            ("batch/v1", "Job"),
        )
        found = {
            f"{kind} {child['metadata']['name']}": child["metadata"]["resourceVersion"]
            for api_version, kind in kinds
            for child in place.kube.list(api_version, kind, place.namespace)
        }
        platform = place.existing(API_VERSION, "PecanPlatform", "pecan")
        return {**found, "platform": platform["metadata"]["resourceVersion"]}

    before = versions()
    time.sleep(20)
    assert versions() == before


@pytest.mark.parametrize(
    ("api_version", "kind", "name", "patch", "path", "value"),
    [
        ("apps/v1", "StatefulSet", "pecan-rabbitmq", {"spec": {"replicas": 0}}, ("spec", "replicas"), 1),
        (
            "v1",
            "Service",
            "pecan-postgres",
            {"spec": {"selector": {"app.kubernetes.io/component": "none"}}},
            ("spec", "selector", "app.kubernetes.io/component"),
            "postgres",
        ),
    ],
)
def test_drift_made_by_hand_is_repaired(
    place: Place, api_version: str, kind: str, name: str, patch: Manifest, path: tuple[str, ...], value: Any
) -> None:
    def current() -> Any:
        found: Any = place.existing(api_version, kind, name)
        for key in path:
            found = found[key]
        return found

    place.kube.patch(api_version, kind, place.namespace, name, patch)
    assert current() != value
    print(
        f"{kind} repaired after {wait(lambda: current() == value, REPAIR_SECONDS, lambda: f'it is {current()}'):.1f} s"
    )
    place.wait_ready()


def test_what_is_deleted_by_hand_comes_back(place: Place) -> None:
    for name in ("pecan-postgres", "pecan-rabbitmq"):
        place.kube.delete("v1", "Service", place.namespace, name)
    wait(
        lambda: all(place.read("v1", "Service", name) for name in ("pecan-postgres", "pecan-rabbitmq")),
        REPAIR_SECONDS,
        lambda: "the Services are not back",
    )


def test_a_wrong_image_is_told_and_a_right_one_rolls_out_with_data_and_passwords_kept(place: Place) -> None:
    before = place.secrets()
    place.psql("create table proof (it text); insert into proof values ('still-here')", "postgres")
    place.apply(postgres={"image": "pecan.invalid/postgis:none", "resources": {"requests": {"memory": "200Mi"}}})

    def pod_says() -> bool:
        pod = place.read("v1", "Pod", "pecan-postgres-0") or {}
        states = [status["state"] for status in pod.get("status", {}).get("containerStatuses", [])]
        return any(state.get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff") for state in states)

    wait(pod_says, 120, lambda: "the pod does not try the image")
    begin = time.monotonic()
    message = place.wait_reason("PostgresReady", "ImageCannotBePulled", REPORT_SECONDS)
    print(f"told after {time.monotonic() - begin:.1f} s")
    assert "pecan.invalid/postgis:none" in message
    assert place.existing(API_VERSION, "PecanPlatform", "pecan")["status"]["phase"] == "Degraded"

    place.apply(postgres={"resources": {"requests": {"memory": "200Mi"}}})
    place.wait_ready()
    pod = place.existing("v1", "Pod", "pecan-postgres-0")
    assert pod["spec"]["containers"][0]["resources"]["requests"]["memory"] == "200Mi"
    assert place.psql("select it from proof", "postgres") == ["still-here"]
    assert place.secrets() == before


def test_a_refused_password_is_told_and_a_lost_secret_is_not_replaced(place: Place) -> None:
    right = place.existing("v1", "Secret", "pecan-postgres")
    wrong = {"data": {"password": "d3Jvbmc="}}
    place.kube.patch("v1", "Secret", place.namespace, "pecan-postgres", wrong)
    message = place.wait_reason("DatabaseReady", "PasswordRefused", 60 + REPORT_SECONDS)
    assert "password authentication failed" in message
    place.kube.delete("v1", "Secret", place.namespace, "pecan-postgres")
    message = place.wait_reason("PostgresReady", "CredentialsMissing", REPAIR_SECONDS)
    assert "Secret pecan-postgres" in message
    assert place.read("v1", "Secret", "pecan-postgres") is None
    metadata = {key: right["metadata"][key] for key in ("name", "namespace", "labels")}
    place.kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": right["data"]})
    place.wait_ready()


def test_a_second_platform_is_told_that_there_is_one(place: Place) -> None:
    place.apply("another")
    message = place.wait_reason("Ready", "PlatformExists", REPORT_SECONDS, "another")
    assert "pecan" in message
    assert place.read("apps/v1", "StatefulSet", "another-postgres") is None
    place.delete("another")


def test_retained_data_and_secrets_are_taken_up_by_a_new_platform(place: Place) -> None:
    secrets = place.secrets()
    claims = {
        name: place.existing("v1", "PersistentVolumeClaim", f"pecan-{name}")["metadata"]["uid"] for name in CLAIMS
    }
    place.psql("create table kept (it text); insert into kept values ('kept')", "postgres")
    place.delete()
    wait(lambda: not place.children(), 120, lambda: f"left: {place.children()}")
    assert place.secrets() == secrets
    # Less than is there: what exists is taken as it is.
    place.apply(storage={"data": {"size": "1Gi"}}, postgres={"storage": {"size": "1Gi"}})
    print(f"taken up after {place.wait_ready():.1f} s")
    assert place.psql("select it from kept", "postgres") == ["kept"]
    assert place.secrets() == secrets
    assert claims == {
        name: place.existing("v1", "PersistentVolumeClaim", f"pecan-{name}")["metadata"]["uid"] for name in CLAIMS
    }


def test_with_data_policy_delete_nothing_is_left(place: Place) -> None:
    place.apply(dataPolicy="Delete", storage={"data": {"size": "1Gi"}}, postgres={"storage": {"size": "1Gi"}})
    kept = [("Secret", suffix) for suffix in SECRETS] + [("PersistentVolumeClaim", suffix) for suffix in CLAIMS]

    def owned() -> list[bool]:
        return ["ownerReferences" in place.existing("v1", kind, f"pecan-{name}")["metadata"] for kind, name in kept]

    wait(lambda: all(owned()), REPAIR_SECONDS, lambda: f"owned: {owned()}")
    place.delete()

    def left() -> list[str]:
        return place.children() + [f"{kind} {name}" for kind, name in kept if place.read("v1", kind, f"pecan-{name}")]

    wait(lambda: not left(), 120, lambda: f"left: {left()}")


def test_a_volume_that_nobody_provides_is_told(empty_place: Place) -> None:
    empty_place.apply(storage={"data": {"storageClassName": "no-such-class"}})
    message = empty_place.wait_reason("DataReady", "VolumeUnbound", REPORT_SECONDS)
    assert "pecan-data" in message
    assert "no-such-class" in message
    assert empty_place.condition("PostgresReady")["reason"] == "Waiting"
    assert "DataReady" in empty_place.condition("Ready")["message"]


def test_a_claim_of_the_user_is_waited_for_and_then_used(empty_place: Place) -> None:
    empty_place.apply(storage={"data": {"existingClaim": "lab"}})
    message = empty_place.wait_reason("DataReady", "VolumeMissing", REPORT_SECONDS)
    assert "lab" in message
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "lab", "namespace": empty_place.namespace},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    empty_place.kube.create(claim)
    wait(
        lambda: empty_place.condition("DataReady")["status"] == "True",
        60,
        lambda: str(empty_place.condition("DataReady")),
    )
    empty_place.delete()
    wait(lambda: not empty_place.children(), 120, lambda: f"left: {empty_place.children()}")
    assert empty_place.read("v1", "PersistentVolumeClaim", "lab") is not None
