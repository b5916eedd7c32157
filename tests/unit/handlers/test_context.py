from typing import Any

from fakes import FakeKube, World
from objects import NAMESPACE, model_object, resource

from pecan_operator.handlers.cluster import WORKERS, Cluster
from pecan_operator.handlers.context import key_of
from pecan_operator.handlers.store import Store
from pecan_operator.handlers.workqueue import Key

KEY = Key("PecanModel", NAMESPACE, "dalec")


def deployment(replicas: int = 1) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "dalec-worker", "namespace": NAMESPACE, "labels": {}},
        "spec": {"replicas": replicas},
    }


def test_what_the_watch_shows_is_not_asked_for() -> None:
    world = World()
    world.kube.put(model_object())
    before = len(world.faults.calls)
    found = world.context.find(KEY)
    assert found is not None
    assert key_of(found) == KEY
    assert world.faults.calls[before:] == []


def test_absence_is_believed_only_from_the_api_server() -> None:
    world = World()
    world.kube.watchers.clear()
    world.kube.put(model_object())
    assert world.context.find(KEY) is not None
    assert world.faults.calls == ["FakeKube.read"]
    assert world.context.find(KEY) is not None
    assert world.faults.calls == ["FakeKube.read"]
    assert world.context.find(Key("PecanModel", NAMESPACE, "none")) is None


def test_a_child_is_written_only_when_it_differs() -> None:
    world = World()
    context = world.context
    assert context.ensure(deployment())["spec"]["replicas"] == 1
    context.ensure(deployment())
    assert [verb for verb, _, _ in world.kube.writes] == ["apply"]
    assert context.ensure(deployment(2))["spec"]["replicas"] == 2
    live = world.kube.get("Deployment", "dalec-worker")
    assert live is not None
    world.kube.put({**live, "spec": {"replicas": 7}})
    assert context.ensure(deployment(2))["spec"]["replicas"] == 2
    assert [verb for verb, _, _ in world.kube.writes] == ["apply"] * 3


def test_what_was_applied_is_known_before_the_watch_shows_it() -> None:
    world = World()
    world.kube.watchers.clear()
    world.context.ensure(deployment(3))
    known = world.store.get("Deployment", NAMESPACE, "dalec-worker")
    assert known is not None
    assert known["spec"]["replicas"] == 3


def test_an_unchanged_child_that_went_meanwhile_does_not_come_back() -> None:
    world = World()
    context = world.context
    context.ensure(deployment())
    apply = context.children.apply

    def overtaken(desired: dict[str, Any], known: Any) -> Any:
        world.kube.remove("Deployment", "dalec-worker")
        return apply(desired, known)

    context.children.apply = overtaken  # type: ignore[method-assign]
    context.ensure(deployment())
    assert world.store.get("Deployment", NAMESPACE, "dalec-worker") is None


def worker(name: str, phase: str = "Running", **metadata: Any) -> dict[str, Any]:
    return {**resource("Pod", name, {}, labels=dict(WORKERS), **metadata), "status": {"phase": phase}}


def test_workers_the_watch_shows_need_no_question() -> None:
    kube, store = FakeKube(), Store()
    store.put("Pod", worker("w1"))
    assert Cluster(kube, store).gone_workers(NAMESPACE, ["w1"]) == set()
    assert Cluster(kube, store).gone_workers(NAMESPACE, []) == set()
    assert kube.faults.calls == []


def test_workers_the_watch_does_not_show_are_asked_for() -> None:
    kube, store = FakeKube(), Store()
    kube.put(worker("w1"))
    kube.put(worker("w2", phase="Failed"))
    store.put("Pod", worker("w3", phase="Succeeded"))
    assert Cluster(kube, store).gone_workers(NAMESPACE, ["w1", "w2", "w3", "w4"]) == {"w2", "w3", "w4"}
    assert kube.faults.calls == ["FakeKube.list"]


def test_queues_are_those_of_the_models_there_are() -> None:
    kube = FakeKube()
    kube.put(model_object())
    kube.put(model_object("sipnet", type="SIPNET", revision="1.2"))
    assert Cluster(kube, Store()).queues(NAMESPACE) == {"DALEC_ev", "SIPNET_1.2"}
    assert Cluster(kube, Store()).queues("elsewhere") == set()
