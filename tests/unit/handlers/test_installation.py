"""One open installation a namespace; platforms open and close it."""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from fakes import CONNECTIONS, World
from objects import NAMESPACE, model_object, platform_object, resource, workflow_object

from pecan_operator.errors import NotYet
from pecan_operator.handlers import installation as module
from pecan_operator.handlers import platform_handler
from pecan_operator.handlers.installation import LOOP_SILENT_SECONDS, Connections, Installations
from pecan_operator.handlers.platform import Result
from pecan_operator.handlers.platform_handler import PlatformHandler
from pecan_operator.handlers.workqueue import Key
from pecan_operator.records import Epoch

LEDGER = {"PGHOST": "h", "PGPORT": "5432", "PGUSER": "u", "PGPASSWORD": "hush", "PGDATABASE": "bety"}
RABBITMQ = {"uri": "amqp://u:hush@h/pecan", "management-uri": "http://h:15672", "username": "u", "password": "hush"}
READY = replace(CONNECTIONS, ledger=LEDGER, rabbitmq=RABBITMQ)
KEY = Key("PecanPlatform", NAMESPACE, "pecan")
OPENED = ["Broker.start", "Loop.start", "Notifications.start", "Broker.wait_connected"]


class Part:
    """Stands for a database, broker or run loop; notes what is done with it."""

    log: list[str]

    def __init__(self, *given: Any, **named: Any) -> None:
        self.given = given
        self.beat = time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return lambda *given: Part.log.append(f"{type(self).__name__}.{name}")


class Database(Part): ...


class Broker(Part): ...


class Loop(Part): ...


class Notifications(Part): ...


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    Part.log = []
    monkeypatch.setattr(module, "Database", Database)
    monkeypatch.setattr(module, "Broker", Broker)
    monkeypatch.setattr(module, "RunLoop", Loop)
    monkeypatch.setattr(module, "Notifications", Notifications)
    return Part.log


def made() -> Installations:
    return Installations(lambda key, delay: None, None)  # type: ignore[arg-type]


def test_a_namespace_without_platform_says_where_to_look() -> None:
    with pytest.raises(NotYet, match=f"kubectl get pecanplatforms -n {NAMESPACE}") as missing:
        made().get(NAMESPACE)
    assert missing.value.reason == "PlatformNotReady"


def test_it_is_opened_once(parts: list[str]) -> None:
    installations = made()
    assert installations.ensure(NAMESPACE, READY) is True
    assert installations.ensure(NAMESPACE, replace(READY)) is False
    assert installations.get(NAMESPACE).connections == READY
    assert parts == OPENED
    assert list(installations.all()) == [NAMESPACE]


def test_whoever_needs_one_that_is_being_opened_waits_for_its_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    connected, found = threading.Event(), threading.Event()
    monkeypatch.setattr(Broker, "wait_connected", lambda self, seconds: connected.wait(seconds), raising=False)
    installations = made()
    opening = threading.Thread(target=installations.ensure, args=(NAMESPACE, READY))
    opening.start()
    while not installations.all():
        time.sleep(0.001)

    def need() -> None:
        installations.get(NAMESPACE)
        found.set()

    needing = threading.Thread(target=need)
    needing.start()
    assert not found.wait(0.1)
    connected.set()
    needing.join(10.0)
    opening.join(10.0)
    assert found.is_set()


def test_other_credentials_replace_it_and_the_old_one_is_closed_first(parts: list[str]) -> None:
    installations = made()
    installations.ensure(NAMESPACE, READY)
    old = installations.get(NAMESPACE)
    parts.clear()
    assert installations.ensure(NAMESPACE, replace(READY, ledger={**LEDGER, "PGPASSWORD": "new"})) is True
    closed = ["Notifications.stop", "Loop.stop", "Broker.stop", "Database.close"]
    assert parts == [*closed, *OPENED]
    assert installations.get(NAMESPACE) is not old


def test_a_platform_that_goes_calls_its_workers_back_before_the_connection_closes(parts: list[str]) -> None:
    installations = made()
    installations.ensure(NAMESPACE, READY)
    parts.clear()
    installations.remove(NAMESPACE, "uid-of-another")
    assert parts == []
    installations.remove(NAMESPACE, READY.platform_uid)
    assert parts == ["Loop.release_all", "Notifications.stop", "Loop.stop", "Broker.stop", "Database.close"]
    with pytest.raises(NotYet):
        installations.get(NAMESPACE)
    installations.remove(NAMESPACE)


def test_its_ledger_writes_as_the_leader_it_is_at_that_time() -> None:
    epochs = [Epoch("lease", 7)]
    installations = Installations(lambda key, delay: None, None, lambda: epochs[-1])  # type: ignore[arg-type]
    epochs.append(Epoch("lease", 8))
    installations.ensure(NAMESPACE, READY)
    assert installations.get(NAMESPACE).ledger._epoch == Epoch("lease", 8)


def test_stopping_closes_all(parts: list[str]) -> None:
    installations = made()
    installations.ensure("one", READY)
    installations.ensure("two", READY)
    parts.clear()
    installations.stop()
    assert parts.count("Loop.stop") == parts.count("Database.close") == 2


def test_a_loop_that_does_not_turn_is_named() -> None:
    installations = made()
    installations.ensure(NAMESPACE, READY)
    assert installations.stalled() is None
    installations.get(NAMESPACE).loop.beat -= LOOP_SILENT_SECONDS + 1
    said = installations.stalled()
    assert said is not None
    assert f"namespace {NAMESPACE} has not turned" in said


def test_no_password_shows() -> None:
    assert "hush" not in repr(READY)


# --- the platform handler ---------------------------------------------------------------------------------------------


def secret(name: str, values: dict[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {**resource("Secret", name, {}, uid=f"uid-{name}"), "apiVersion": "v1", "data": data}


class Recorder:
    """What `Installations` is to the platform handler."""

    def __init__(self) -> None:
        self.ensured: list[Connections] = []
        self.removed: list[str | None] = []

    def ensure(self, namespace: str, connections: Connections) -> bool:
        changed = self.ensured[-1:] != [connections]
        self.ensured.append(connections)
        return changed

    def get(self, namespace: str) -> str:
        return f"the installation of {namespace}"

    def remove(self, namespace: str, platform_uid: str | None = None) -> None:
        self.removed.append(platform_uid)


class Platform:
    """A namespace with a platform, whose services are as `ready` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World()
        self.ready = True
        self.recorder = Recorder()
        self.opened: list[tuple[str, Any]] = []
        context = replace(self.world.context, installations=self.recorder)
        self.handler = PlatformHandler(context, lambda *given: self.opened.append(given))
        monkeypatch.setattr(
            platform_handler, "reconcile_platform", lambda *_: Result(self.ready, 30.0 if self.ready else 3.0)
        )
        self.obj = self.world.kube.put(platform_object(hostname="pecan.example"))
        for name, values in (("pecan-ledger", LEDGER), ("pecan-rabbitmq", RABBITMQ), ("pecan-amqp", {})):
            self.world.kube.put(secret(name, values))
        while self.world.schedule.take(1e9) is not None:
            pass

    def enqueued(self) -> dict[Key, float]:
        schedule = self.world.schedule
        return dict(schedule._due)


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    return Platform(monkeypatch)


def test_a_ready_platform_is_opened_with_its_credentials(platform: Platform) -> None:
    platform.handler.reconcile(KEY)
    (connections,) = platform.recorder.ensured
    assert connections.ledger == LEDGER
    assert connections.rabbitmq == RABBITMQ
    assert connections.hostname == "pecan.example"
    assert connections.platform_uid == platform.obj["metadata"]["uid"]
    assert (connections.ledger_secret, connections.bety_secret, connections.worker_secret) == (
        "pecan-ledger", "pecan-bety", "pecan-amqp",
    )  # fmt: skip
    assert connections.worker_secret_version == "uid-pecan-amqp"
    assert (connections.data.claim, connections.data.uid, connections.data.gid) == ("pecan-data", 1001, 1001)
    assert platform.opened == [(NAMESPACE, f"the installation of {NAMESPACE}")]


def test_models_and_workflows_look_again_when_it_opens_and_only_then(platform: Platform) -> None:
    platform.world.kube.put(model_object())
    platform.world.kube.put(workflow_object())
    while (key := platform.world.schedule.take(1e9)) is not None:
        platform.world.schedule.done(key)
    platform.handler.reconcile(KEY)
    assert platform.enqueued() == {
        Key("PecanModel", NAMESPACE, "dalec"): 0.0,
        Key("PecanWorkflow", NAMESPACE, "loobos"): 0.0,
        KEY: 30.0,
    }
    while (key := platform.world.schedule.take(1e9)) is not None:
        platform.world.schedule.done(key)
    platform.handler.reconcile(KEY)
    assert platform.enqueued() == {KEY: 30.0}
    assert len(platform.opened) == 1


def test_a_platform_that_is_not_ready_opens_nothing_and_is_looked_at_soon(platform: Platform) -> None:
    platform.ready = False
    platform.handler.reconcile(KEY)
    assert platform.recorder.ensured == []
    assert platform.enqueued() == {KEY: 3.0}


def left_ready(platform: Platform, **status: Any) -> None:
    """The platform as an operator of the same image has left it, but for `status`."""
    image = platform.world.context.settings.images.operator
    generation = platform.obj["metadata"]["generation"]
    ready = {"type": "Ready", "status": "True"}
    left = {"observedGeneration": generation, "operatorImage": image, "conditions": [ready], **status}
    platform.world.kube.put({**platform.obj, "status": left})


def test_one_that_another_operator_left_ready_is_opened_before_its_services_are_looked_at(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_ready(platform)
    at_the_look: list[int] = []

    def look(*_: Any) -> Result:
        at_the_look.append(len(platform.opened))
        return Result(False, 3.0)

    monkeypatch.setattr(platform_handler, "reconcile_platform", look)
    platform.handler.reconcile(KEY)
    platform.handler.reconcile(KEY)
    assert at_the_look == [1, 1]
    assert len(platform.recorder.ensured) == 1


@pytest.mark.parametrize(
    "status",
    [
        {"operatorImage": "another:1"},
        {"observedGeneration": 0},
        {"conditions": [{"type": "Ready", "status": "False"}]},
        {"conditions": []},
    ],
)
def test_one_that_was_left_otherwise_is_looked_at_first(platform: Platform, status: dict[str, Any]) -> None:
    left_ready(platform, **status)
    platform.ready = False
    platform.handler.reconcile(KEY)
    assert platform.recorder.ensured == []


def test_one_that_is_going_is_not_opened_again(platform: Platform) -> None:
    platform.obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    left_ready(platform)
    platform.ready = False
    platform.handler.reconcile(KEY)
    assert platform.recorder.ensured == []


def test_one_left_ready_whose_secret_has_gone_is_looked_at(platform: Platform) -> None:
    left_ready(platform)
    platform.world.kube.remove("Secret", "pecan-rabbitmq")
    platform.ready = False
    platform.handler.reconcile(KEY)
    assert platform.enqueued() == {KEY: 3.0}


def test_an_open_one_stays_open_while_a_service_is_away(platform: Platform) -> None:
    platform.handler.reconcile(KEY)
    platform.ready = False
    platform.handler.reconcile(KEY)
    assert platform.recorder.removed == []


def test_a_missing_secret_is_named(platform: Platform) -> None:
    platform.world.kube.remove("Secret", "pecan-rabbitmq")
    with pytest.raises(NotYet, match="Secret pecan-rabbitmq"):
        platform.handler.reconcile(KEY)


def test_a_deleted_platform_closes_its_own(platform: Platform) -> None:
    platform.handler.reconcile(KEY)
    uid = platform.obj["metadata"]["uid"]
    platform.world.kube.remove("PecanPlatform", "pecan")
    platform.handler.reconcile(KEY)
    assert platform.recorder.removed == [uid]
    platform.handler.reconcile(KEY)
    assert platform.recorder.removed == [uid]


def test_a_platform_replaced_under_its_name_closes_the_old_one_first(platform: Platform) -> None:
    platform.handler.reconcile(KEY)
    old = platform.obj["metadata"]["uid"]
    platform.world.kube.remove("PecanPlatform", "pecan")
    new = platform.world.kube.put(platform_object())
    for name, values in (("pecan-ledger", LEDGER), ("pecan-rabbitmq", RABBITMQ), ("pecan-amqp", {})):
        platform.world.kube.put(secret(name, values))
    platform.handler.reconcile(KEY)
    assert platform.recorder.removed == [old]
    assert platform.recorder.ensured[-1].platform_uid == new["metadata"]["uid"]
