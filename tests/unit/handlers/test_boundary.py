"""Keys meet their handlers; what no watch has shown is found by listing."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import World
from objects import NAMESPACE, model_object, platform_object, workflow_object

from pecan_operator.errors import Unavailable
from pecan_operator.handlers import boundary
from pecan_operator.handlers.boundary import Boundary
from pecan_operator.handlers.workqueue import Key

PLATFORM = Key("PecanPlatform", NAMESPACE, "pecan")
MODEL, WORKFLOW = Key("PecanModel", NAMESPACE, "dalec"), Key("PecanWorkflow", NAMESPACE, "loobos")


class Resync:
    """An operator whose watch shows nothing: only what is listed is known."""

    def __init__(self) -> None:
        self.world = World()
        self.world.kube.watchers.clear()
        self.world.installations.present.clear()
        self.boundary = Boundary(self.world.context)

    def enqueued(self) -> set[Key]:
        keys = set()
        while (key := self.world.schedule.take(1e9)) is not None:
            self.world.schedule.done(key)
            keys.add(key)
        return keys

    def resync(self, full: bool = False) -> set[Key]:
        self.boundary.resync(full)
        return self.enqueued()


@pytest.fixture
def case() -> Resync:
    return Resync()


def test_what_the_watch_missed_is_taken_up(case: Resync) -> None:
    case.world.kube.put(model_object())
    assert case.resync() == {MODEL}
    assert case.world.store.get("PecanModel", NAMESPACE, "dalec") is not None
    assert case.resync() == set()


def test_platforms_come_first_so_that_models_need_not_say_that_there_is_none(case: Resync) -> None:
    case.world.kube.put(platform_object())
    case.world.kube.put(model_object())
    case.boundary.resync(full=True)
    now = case.world.seconds
    assert [case.world.schedule.take(now) for _ in range(2)] == [PLATFORM, None]
    assert case.world.schedule.take(now + boundary.PLATFORM_FIRST_SECONDS) == MODEL


def test_what_is_new_where_the_platform_is_open_is_looked_at_at_once(case: Resync) -> None:
    case.world.installations.present[NAMESPACE] = case.world.installation
    case.world.kube.put(model_object())
    case.boundary.resync(full=True)
    assert case.world.schedule.take(case.world.seconds) == MODEL


def test_a_full_resync_looks_at_everything(case: Resync) -> None:
    case.world.kube.put(model_object())
    case.world.kube.put(workflow_object())
    case.resync()
    assert case.resync(full=True) == {MODEL, WORKFLOW}


def test_a_full_resync_of_very_many_leaves_room_for_what_changes(case: Resync) -> None:
    for number in range(200):
        case.world.kube.put(workflow_object(f"w{number}"))
    case.resync()
    case.boundary.resync(True)
    now = case.world.seconds
    due = 0
    while (key := case.world.schedule.take(now + 1.0)) is not None:
        case.world.schedule.done(key)
        due += 1
    assert 0 < due <= boundary.LOOKS_A_SECOND
    assert len(case.enqueued()) == 200 - due


def test_what_is_gone_is_put_away(case: Resync) -> None:
    case.world.kube.put(workflow_object())
    case.resync()
    case.world.kube.remove("PecanWorkflow", "loobos")
    assert case.resync() == {WORKFLOW}
    assert case.world.store.get("PecanWorkflow", NAMESPACE, "loobos") is None


def test_what_only_the_listing_lacks_is_not_gone(case: Resync, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made between the listing and the comparison."""
    case.world.store.put("PecanWorkflow", case.world.kube.put(workflow_object()))
    monkeypatch.setattr(case.world.kube, "list_metadata", lambda *_: [])
    assert case.resync() == set()
    assert case.world.store.get("PecanWorkflow", NAMESPACE, "loobos") is not None


def test_a_watch_that_shows_nothing_new_is_found(case: Resync, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 30.0, 61.0])
    monkeypatch.setattr(boundary, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    found = case.world.kube.put(model_object())
    case.world.store.put("PecanModel", found)
    case.world.kube.put({**found, "spec": {**found["spec"], "suspend": True}})
    for hung in (False, False, True):
        case.resync()
        assert case.boundary.monitor.is_hung() is hung


def test_only_the_named_namespaces_are_listed(case: Resync, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    monkeypatch.setattr(
        case.world.kube, "list_metadata", lambda version, kind, namespace: asked.append(namespace) or []
    )
    case.resync()
    assert set(asked) == {None}
    asked.clear()
    object.__setattr__(case.world.context.settings, "watch_namespaces", ("north", "south"))
    case.resync()
    assert set(asked) == {"north", "south"}


def test_workflows_that_went_while_nobody_looked_are_put_away(case: Resync) -> None:
    world = World()
    world.kube.put(model_object())
    world.kube.put(workflow_object(maxParallel=1))
    world.run_until(lambda: bool(world.broker.published))
    world.kube.watchers.clear()
    world.kube.remove("PecanWorkflow", "loobos")
    world.start_operator()
    restarted = Boundary(world.context)
    restarted.resync(full=False)
    assert world.schedule.take(world.seconds) is not None
    restarted.handle(WORKFLOW)
    (row,) = world.ledger.workflows.values()
    assert row.cancel_reason == "its PecanWorkflow was deleted"


def test_a_namespace_whose_database_is_away_does_not_stop_the_others(case: Resync) -> None:
    class Away:
        def __getattr__(self, name: str) -> Any:
            raise Unavailable("DatabaseUnavailable", "no answer")

    case.world.installations.present = {"a": Away(), "b": case.world.installation}
    case.world.kube.put(model_object())
    assert case.resync() == {MODEL}
    assert "FakeLedger.read_workflows_to_put_away" in case.world.faults.calls


def test_it_is_synced_after_the_first_listing_that_succeeds(case: Resync, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    outcomes: list[Exception | None] = [Unavailable("Away", "no"), RuntimeError("a bug"), None]
    seen: list[tuple[bool, bool]] = []

    def resync(full: bool) -> None:
        seen.append((full, case.boundary.synced.is_set()))
        error = outcomes.pop(0)
        if error is not None:
            raise error

    monkeypatch.setattr(case.boundary, "resync", resync)
    monkeypatch.setattr(stop, "wait", lambda seconds: stop.set() if not outcomes else None)
    case.boundary.resync_forever(stop)
    assert seen == [(True, False), (True, False), (True, False)]
    assert case.boundary.synced.is_set()


def test_a_key_goes_to_the_handler_of_its_kind(case: Resync) -> None:
    for key in (MODEL, WORKFLOW, Key("PecanPlatform", NAMESPACE, "pecan")):
        case.boundary.handle(key)
