"""Pods, the broker, the API server and the operator itself fail in any order; the ensemble ends all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakes import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from objects import model_object, workflow_object

from pecan_operator.handlers import model as model_handler
from pecan_operator.records import RunMessage, RunState

RUNS = 12


@pytest.fixture(autouse=True)
def short_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_handler, "_worker_source", lambda: "print()")


def kill_a_worker(world: World) -> None:
    busy = [pod for pod, worker in world.workers.items() if worker.message is not None]
    for pod in busy[:1]:
        world.kill_pod(pod)


def away_and_back(world: World) -> None:
    world.broker.go_away()
    for _ in range(3):
        world.turn()
    world.broker.reconnect()


def suspend_for_a_while(world: World) -> None:
    for suspend in (True, False):
        found = world.kube.get("PecanModel", "dalec")
        if found is not None:
            world.kube.put({**found, "spec": {**found["spec"], "suspend": suspend}})
        for _ in range(8):
            world.turn()


def replace_the_model(world: World) -> None:
    world.kube.remove("PecanModel", "dalec")
    for _ in range(3):
        world.turn()
    world.kube.put(model_object())


def purge(world: World) -> None:
    for queue in world.broker.queues.values():
        queue.clear()


EVENTS: dict[str, Callable[[World], Any]] = {
    "a worker is killed": kill_a_worker,
    "the operator is killed": World.kill_operator,
    "the connection is lost": lambda world: world.broker.reconnect(),
    "the broker is away": away_and_back,
    "the broker loses its data": lambda world: world.broker.lose_data(),
    "a queue is purged by hand": purge,
    "the Deployment is deleted": lambda world: world.kube.remove("Deployment", "dalec-worker"),
    "the model is suspended": suspend_for_a_while,
    "the model is replaced": replace_the_model,
}


def fails_once(message: RunMessage) -> tuple[str, int | None]:
    return ("failed", 1) if fails_once_result(message.key.run_id, message.attempt) == "failed" else ("succeeded", 0)


@given(st.lists(st.tuples(st.sampled_from(sorted(EVENTS)), st.integers(0, 3)), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_run_succeeds_exactly_once(story: list[tuple[str, int]]) -> None:
    world = World(runs=RUNS, outcome=fails_once)
    world.kube.put(model_object(scaling={"maxReplicas": 3, "idleSeconds": 10}, run={"maxAttempts": 20}))
    world.kube.put(workflow_object())
    for _ in range(3):
        world.turn()
    for event, turns in story:
        EVENTS[event](world)
        for _ in range(turns):
            world.turn()

    def ended() -> bool:
        found = world.kube.get("PecanWorkflow", "loobos")
        return found is not None and (found.get("status") or {}).get("phase") == "Succeeded"

    world.run_until(ended, turns=600)
    assert [run.state for run in world.ledger.runs.values()] == [RunState.SUCCEEDED] * RUNS
    ran = [run for run, attempt in world.executed if fails_once_result(run, attempt) == "succeeded"]
    assert sorted(ran) == sorted(set(ran)), "a run succeeded twice"
    assert len(ran) == RUNS
    world.run_until(lambda: world.kube.of_kind("Pod") == [], turns=120)


def fails_once_result(run: str, attempt: int) -> str:
    return "failed" if attempt == 1 and run.endswith("3") else "succeeded"
