"""Whatever call fails, and wherever the operator is killed: the next one goes on, and all ends as if nothing had been.

Each case lives through a whole workflow once for every call that the operator makes on the way, in which that call fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes import Killed, World
from objects import model_object, workflow_object

from pecan_operator.errors import Unavailable
from pecan_operator.handlers import model as model_handler
from pecan_operator.records import FINAL_STATES, RunMessage

# What a call meets: (the failure, whether it has had its effect before).
FAILURES: list[tuple[BaseException, bool]] = [
    (Killed(), False),
    (Killed(), True),
    (Unavailable("Away", "no answer"), False),
    (Unavailable("Away", "no answer"), True),
]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(model_handler, "_worker_source", lambda: "print()")
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def status(world: World) -> dict[str, Any]:
    found = world.kube.get("PecanWorkflow", "loobos")
    return (found or {}).get("status") or {}


def begin(world: World, **spec: Any) -> None:
    world.kube.put(model_object())
    world.kube.put(workflow_object(**spec))


def until_it_ends(world: World) -> None:
    begin(world)
    world.run_until(lambda: "finishedAt" in status(world), turns=200)


def with_r_that_is_lost_twice(world: World) -> None:
    world.kube.put(model_object(interface="pecan", binary="/usr/local/bin/dalec"))
    world.kube.put(workflow_object(pfts=[{"name": "conifer", "constants": {"SLA": 4.3}}]))
    world.run_until(lambda: "finishedAt" in status(world), turns=200)


def cancelled_on_the_way(world: World) -> None:
    begin(world, maxParallel=1)
    world.run_until(lambda: world.ledger.runs and (world.seconds > 3), turns=200)
    found = world.kube.get("PecanWorkflow", "loobos")
    assert found is not None
    world.kube.put({**found, "spec": {**found["spec"], "cancel": True}})
    world.run_until(lambda: "finishedAt" in status(world), turns=200)


def retried(world: World) -> None:
    until_it_ends(world)
    found = world.kube.get("PecanWorkflow", "loobos")
    assert found is not None
    world.kube.put({**found, "spec": {**found["spec"], "retryGeneration": 1}})
    row = next(iter(world.ledger.workflows.values()))
    world.run_until(lambda: world.ledger.workflows[row.uid].retry_generation == 1, turns=200)
    world.run_until(lambda: "finishedAt" in status(world) and settled(world), turns=200)


def settled(world: World) -> bool:
    """The end that is told is that of after the retry."""
    return all(row.finished_at is not None for row in world.ledger.workflows.values()) and any(
        each["type"] == "Retried" and each["status"] == "True" for each in status(world)["conditions"]
    )


def deleted_on_the_way(world: World) -> None:
    begin(world, maxParallel=1, folderPolicy="Delete")
    world.run_until(lambda: world.seconds > 4, turns=200)
    world.kube.remove("PecanWorkflow", "loobos")
    world.run_until(lambda: bool(world.removed_folders) and not world.ledger.to_put_away(), turns=200)


def some_runs_fail(message: RunMessage) -> tuple[str, int | None]:
    if message.key.run_id.endswith("0"):
        return "failed", 65
    return ("failed", 1) if message.attempt == 1 else ("succeeded", 0)


def live(story: Callable[[World], None], world: World) -> World:
    story(world)
    for _ in range(3):
        world.turn()
    return world


def end_of(world: World) -> dict[str, Any]:
    """What must not depend on where it was interrupted: no times, no versions, no numbers of workers."""
    told = status(world)
    return {
        "phase": told.get("phase"),
        "runs": told.get("runs"),
        "results": told.get("results"),
        "conditions": [
            (each["type"], each["status"], each["reason"], each["message"]) for each in told.get("conditions", [])
        ],
        "ledger": sorted((key.run_id, run.state, run.attempt) for key, run in world.ledger.runs.items()),
        "workflows": [
            (row.name, row.outcome, row.message, row.folder_policy) for row in world.ledger.workflows.values()
        ],
        "executed": sorted(world.executed),
        "models": world.bety.models,
        "removed": world.removed_folders,
        "children": sorted(
            (kind, name) for kind, _, name in world.kube.objects if kind in ("Job", "ConfigMap", "Deployment")
        ),
    }


def interrupted(
    story: Callable[[World], None], step: int, since: str | None = None, **given: Any
) -> Iterator[tuple[World, str]]:
    """The story with each call failing, in one way or another; every `step`-th call only, where that is said already,
    and only from a little before the first call `since` on, where other stories begin in the same way."""
    live(story, calm := World(**given))
    first = 1 if since is None else calm.faults.calls.index(since) - 10
    for number, at in enumerate(range(first, calm.faults.count + 1, step)):
        error, after = FAILURES[number % len(FAILURES)]
        world = World(**given)
        world.faults.arm(at, error, after)
        yield live(story, world), f"call {at} ({calm.faults.calls[at - 1]}) {error!r} after={after}"


def test_a_workflow_that_succeeds() -> None:
    expected = end_of(live(until_it_ends, World(runs=2)))
    assert expected["phase"] == "Succeeded"
    cases = 0
    for world, where in interrupted(until_it_ends, step=1, runs=2):
        assert end_of(world) == expected, where
        cases += 1
    assert cases > 100


def test_a_workflow_whose_runs_fail() -> None:
    expected = end_of(live(until_it_ends, World(runs=2, outcome=some_runs_fail)))
    assert expected["executed"] == [("99000000100", 1), ("99000000101", 1), ("99000000101", 2)]
    for world, where in interrupted(until_it_ends, step=4, runs=2, outcome=some_runs_fail):
        assert end_of(world) == expected, where


def test_a_workflow_that_is_retried() -> None:
    expected = end_of(live(retried, World(runs=2, outcome=some_runs_fail)))
    assert expected["executed"] == [
        ("99000000100", 1), ("99000000100", 2), ("99000000101", 1), ("99000000101", 2),
    ]  # fmt: skip
    assert expected["ledger"][0] == ("99000000100", "failed", 2)
    for world, where in interrupted(retried, 2, "FakeLedger.retry_workflow", runs=2, outcome=some_runs_fail):
        assert end_of(world) == expected, where


def test_a_workflow_that_cannot_be_prepared() -> None:
    expected = end_of(live(until_it_ends, World(job_fails={"prepare": "no such trait"})))
    assert expected["phase"] == "Failed"
    for world, where in interrupted(until_it_ends, step=1, job_fails={"prepare": "no such trait"}):
        assert end_of(world) == expected, where


def test_a_workflow_whose_jobs_with_r_are_lost() -> None:
    given = {"runs": 2, "framework": "pecan", "job_losses": 2}
    expected = end_of(live(with_r_that_is_lost_twice, World(**given)))
    assert expected["phase"] == "Succeeded"
    for world, where in interrupted(with_r_that_is_lost_twice, step=1, **given):
        assert end_of(world) == expected, where
        assert [row.losses for row in world.ledger.workflows.values()] == [2], where


def test_a_workflow_that_is_deleted_with_its_folder() -> None:
    """How far it was is up to the interruption, so only what is left counts."""
    for world, where in interrupted(deleted_on_the_way, step=4, runs=3):
        assert {run.state for run in world.ledger.runs.values()} <= FINAL_STATES, where
        assert [row.outcome for row in world.ledger.workflows.values()] == ["Cancelled"], where
        assert not any(world.broker.queues.values()), where
        assert all(worker.message is None for worker in world.workers.values()), where
        assert not {name for kind, _, name in world.kube.objects if kind == "Job" and "cleanup" not in name}, where
        assert set(world.removed_folders) == {"/data/workflows/PEcAn_99000000001"}, where


def test_a_workflow_that_is_cancelled() -> None:
    for world, where in interrupted(cancelled_on_the_way, step=4, runs=3):
        told = status(world)
        assert told["phase"] in ("Cancelled", "Succeeded"), where
        assert told["runs"]["planned"] + told["runs"]["queued"] + told["runs"]["running"] == 0, where
        if told["phase"] == "Cancelled":
            assert world.kube.get("Job", "loobos-analyse") is None, where
        assert not any(world.broker.queues.values()), where
