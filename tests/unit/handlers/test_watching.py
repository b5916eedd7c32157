import asyncio
from typing import Any

import pytest
from objects import NAMESPACE, model_object, resource, workflow_object

from pecan_operator.core import labels
from pecan_operator.handlers.store import Store
from pecan_operator.handlers.watching import CHILDREN, KINDS, owners, registry, users, watch_settings
from pecan_operator.handlers.workqueue import Key


@pytest.fixture
def store() -> Store:
    return Store()


def deliver(store: Store, kind: str, obj: dict[str, Any], what: str | None = "ADDED") -> list[Key]:
    """Have the handler of a kind see an event; returns the keys it enqueues."""
    enqueued: list[Key] = []
    made = registry(store, lambda key, delay: enqueued.append(key))
    (handler,) = (each for each in made._watching._handlers if each.id == kind)
    bare = {key: value for key, value in obj.items() if key != "kind"}
    asyncio.run(handler.fn(event={"type": what, "object": bare}))  # type: ignore[call-arg, arg-type]
    return enqueued


def child(name: str, given: dict[str, str]) -> dict[str, Any]:
    return resource("Pod", name, {}, labels=given)


def test_a_resource_is_kept_and_looked_at(store: Store) -> None:
    obj = workflow_object()
    assert deliver(store, "PecanWorkflow", obj) == [Key("PecanWorkflow", NAMESPACE, "loobos")]
    kept = store.get("PecanWorkflow", NAMESPACE, "loobos")
    assert kept is not None
    assert kept["kind"] == "PecanWorkflow"
    assert kept["apiVersion"] == labels.API_VERSION


@pytest.mark.parametrize("what", [None, "ADDED", "MODIFIED"])
def test_the_first_listing_and_changes_are_alike(store: Store, what: str | None) -> None:
    assert deliver(store, "PecanModel", model_object(), what) == [Key("PecanModel", NAMESPACE, "dalec")]


def test_a_deleted_one_is_dropped_and_looked_at(store: Store) -> None:
    store.put("PecanWorkflow", workflow_object())
    assert deliver(store, "PecanWorkflow", workflow_object(), "DELETED") == [Key("PecanWorkflow", NAMESPACE, "loobos")]
    assert store.get("PecanWorkflow", NAMESPACE, "loobos") is None


def test_a_model_concerns_the_workflows_that_refer_to_it(store: Store) -> None:
    store.put("PecanWorkflow", workflow_object("a"))
    store.put("PecanWorkflow", workflow_object("b", modelRef={"name": "sipnet"}))
    store.put("PecanWorkflow", workflow_object("c", metadata={"namespace": "elsewhere"}))
    assert deliver(store, "PecanModel", model_object()) == [
        Key("PecanModel", NAMESPACE, "dalec"),
        Key("PecanWorkflow", NAMESPACE, "a"),
    ]
    assert users(Key("PecanModel", NAMESPACE, "sipnet"), store) == [Key("PecanWorkflow", NAMESPACE, "b")]


@pytest.mark.parametrize("name", ["loobos", "a.very." + "long." * 40 + "name", "1st"])
def test_a_child_concerns_its_owner_whatever_its_name(store: Store, name: str) -> None:
    store.put("PecanWorkflow", workflow_object(name))
    store.put("PecanWorkflow", workflow_object("another"))
    store.put("PecanModel", model_object(name))
    pod = child("pod", labels.for_workflow(name, "prepare"))
    assert owners(pod, store) == [Key("PecanWorkflow", NAMESPACE, name)]
    assert deliver(store, "Pod", pod) == [Key("PecanWorkflow", NAMESPACE, name)]
    assert store.get("Pod", NAMESPACE, "pod") is not None


def test_a_child_that_goes_concerns_its_owner_too(store: Store) -> None:
    store.put("PecanModel", model_object())
    pod = child("pod", labels.for_model("dalec", "worker"))
    store.put("Pod", pod)
    assert deliver(store, "Pod", pod, "DELETED") == [Key("PecanModel", NAMESPACE, "dalec")]
    assert store.get("Pod", NAMESPACE, "pod") is None


def test_a_child_of_nobody_concerns_nobody(store: Store) -> None:
    store.put("PecanModel", model_object())
    elsewhere = child("pod", labels.for_model("dalec", "worker"))
    elsewhere["metadata"]["namespace"] = "elsewhere"
    assert owners(elsewhere, store) == []
    assert owners(child("pod", {}), store) == []
    assert owners(resource("Pod", "pod", {}), store) == []


def test_everything_is_watched_and_nothing_handled_in_kopfs_own_way(store: Store) -> None:
    made = registry(store, lambda key, delay: None)
    assert {handler.id for handler in made._watching._handlers} == {*KINDS, *(child[-1] for child in CHILDREN)}
    for kept in (made._changing, made._spawning, made._indexing, made._webhooks):
        assert list(kept._handlers) == []


def test_kopf_writes_no_events_of_its_own() -> None:
    settings = watch_settings()
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True


def test_ten_thousand_objects_are_not_in_memory_at_once() -> None:
    settings = watch_settings()
    assert settings.watching.chunk_size is not None
    assert settings.queueing.idle_timeout < 1


def test_what_we_have_written_ourselves_is_no_news(store: Store) -> None:
    obj = model_object()
    store.put("PecanModel", obj)
    store.put("PecanWorkflow", workflow_object("a"))
    assert deliver(store, "PecanModel", obj, "MODIFIED") == []
