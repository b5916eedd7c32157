"""PecanWorkflows: accepted once, prepared, run, analysed, finished; cancelled and deleted at any moment."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from fakes import World
from objects import NAMESPACE, model_object, resource, workflow_object

from pecan_operator.core.workflow import is_over, slim
from pecan_operator.errors import NotYet, Unavailable, UserError
from pecan_operator.handlers.workflow import WorkflowHandler
from pecan_operator.handlers.workqueue import Key
from pecan_operator.records import FINAL_STATES, Outcome, RunMessage, WorkflowRequest, WorkflowRow

KEY = Key("PecanWorkflow", NAMESPACE, "loobos")


def status(world: World) -> dict[str, Any]:
    found = world.kube.get("PecanWorkflow", "loobos")
    assert found is not None
    return found.get("status") or {}


def condition(world: World, kind: str) -> tuple[str, str, str]:
    (found,) = (each for each in status(world)["conditions"] if each["type"] == kind)
    return found["status"], found["reason"], found["message"]


def row(world: World) -> WorkflowRow:
    (only,) = world.ledger.workflows.values()
    return only


def begun(world: World | None = None, **spec: Any) -> World:
    world = world or World()
    world.kube.put(model_object())
    world.kube.put(workflow_object(**spec))
    return world


def until_phase(world: World, phase: str, turns: int = 200) -> World:
    world.run_until(lambda: status(world).get("phase") == phase, turns)
    return world


def change(world: World, **spec: Any) -> None:
    found = world.kube.get("PecanWorkflow", "loobos")
    assert found is not None
    world.kube.put({**found, "spec": {**found["spec"], **spec}})


def provenance(world: World, job: str) -> dict[str, Any]:
    """What the first container of a Job is told for provenance.json."""
    found = world.kube.get("Job", job)
    assert found is not None
    (first, *_) = found["spec"]["template"]["spec"]["initContainers"]
    (told,) = (each["value"] for each in first["env"] if each["name"] == "PECAN_PROVENANCE")
    read: dict[str, Any] = json.loads(told)
    return read


# --- the way of a workflow --------------------------------------------------------------------------------------------


def test_from_the_resource_to_the_results() -> None:
    world = until_phase(begun(), "Succeeded")
    told = status(world)
    assert told["progress"] == "4/4"
    assert told["runs"] == {
        "total": 4, "planned": 0, "queued": 0, "running": 0, "succeeded": 4, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    assert told["results"] == {"runs": 4}
    assert told["workflowId"] == 99_000_000_001
    assert told["folder"] == "/data/workflows/PEcAn_99000000001"
    assert told["seed"] == 1
    assert told["observedGeneration"] == 1
    assert told["startedAt"] <= told["finishedAt"]
    assert condition(world, "Ready")[:2] == ("True", "Succeeded")
    assert [reason for _, reason, _ in world.kube.events] == ["Running", "Analysing", "Succeeded"]
    assert [message.attempt for message in world.broker.published] == [1, 1, 1, 1]


def test_the_analysis_is_told_which_images_ran() -> None:
    world = until_phase(begun(), "Running")
    world.run_until(lambda: bool(world.kube.of_kind("Pod")))
    digest = "sha256:" + "a" * 64
    statuses = [{"name": "worker", "imageID": f"registry.example/dalec@{digest}"}]
    for pod in world.kube.of_kind("Pod"):
        world.kube.put({**pod, "status": {"phase": "Running", "containerStatuses": statuses}})
    until_phase(world, "Succeeded")
    assert provenance(world, "loobos-prepare")["model"]["digests"] == []
    told = provenance(world, "loobos-analyse")["model"]
    assert (told["image"], told["digests"]) == ("registry.example/dalec:1", [digest])


def test_the_analysis_does_without_a_model_that_is_gone() -> None:
    world = until_phase(begun(), "Running")
    world.run_until(lambda: {run.state for run in world.ledger.runs.values()} <= FINAL_STATES)
    assert world.kube.get("Job", "loobos-analyse") is None
    world.kube.remove("PecanModel", "dalec")
    until_phase(world, "Succeeded")
    assert provenance(world, "loobos-analyse")["model"] == {"name": "dalec"}


def test_a_seed_that_is_not_given_is_told_and_stays_when_the_operator_starts_anew() -> None:
    world = until_phase(begun(ensemble={"size": 4, "variables": ["GPP"]}), "Running")
    seed = status(world)["seed"]
    found = world.kube.get("ConfigMap", "loobos-settings")
    assert found is not None
    assert f"<seed>{seed}</seed>" in found["data"]["pecan.xml"]
    world.kill_operator()
    assert status(until_phase(world, "Succeeded"))["seed"] == seed
    other = until_phase(begun(ensemble={"size": 4, "variables": ["GPP"]}), "Running")
    assert status(other)["seed"] != seed, "another uid, another seed"


def test_what_the_ledger_is_asked_to_accept(monkeypatch: pytest.MonkeyPatch) -> None:
    world = begun(priority=7, maxParallel=3, retry={"maxAttempts": 5}, folderPolicy="Delete")
    asked = []
    accept = world.ledger.accept_workflow
    monkeypatch.setattr(world.ledger, "accept_workflow", lambda request: asked.append(request) or accept(request))
    until_phase(world, "Running")
    (request,) = asked
    assert (request.model_id, request.queue, request.hostname) == (99_000_000_001, "DALEC_ev", "docker")
    assert (request.start_date, request.end_date) == ("1997-01-01", "1999-12-31")
    assert (request.priority, request.max_parallel, request.max_attempts) == (7, 3, 5)
    assert (request.suspended, request.folder_policy) == (False, "Delete")


@pytest.mark.parametrize(
    ("size", "sites", "said", "stops"),
    [(1, 1, None, True), (2, 1, None, False), (1, 2, None, False), (1, 1, False, False), (9, 1, True, True)],
)
def test_stop_on_error_follows_pecans_rule(size: int, sites: int, said: bool | None, stops: bool) -> None:
    where = [{"id": f"s{n}", "name": f"Site {n}", "lat": 52.0, "lon": float(n)} for n in range(sites)]
    world = begun(
        ensemble={"size": size, "variables": ["GPP"]}, sites=where, **({} if said is None else {"stopOnError": said})
    )
    world.run_until(lambda: bool(world.ledger.workflows))
    assert row(world).stop_on_error is stops


def test_the_runs_of_a_sensitivity_analysis_do_not_stop_each_other() -> None:
    world = begun(ensemble={"size": 1, "variables": ["GPP"]}, sensitivityAnalysis={})
    world.run_until(lambda: bool(world.ledger.workflows))
    assert row(world).stop_on_error is False


def test_the_model_says_how_often_a_run_is_tried_unless_the_workflow_does() -> None:
    world = begun()
    world.run_until(lambda: bool(world.ledger.workflows))
    assert row(world).max_attempts == 3


def test_the_settings_come_before_the_job_that_reads_them() -> None:
    world = until_phase(begun(), "Running")
    config = world.kube.get("ConfigMap", "loobos-settings")
    assert config is not None
    assert "<id>99000000001</id>" in config["data"]["pecan.xml"]
    made = [(verb, kind) for verb, kind, name in world.kube.writes if name in ("loobos-settings", "loobos-prepare")]
    assert made == [("apply", "ConfigMap"), ("create", "Job")]


def test_each_job_is_made_once() -> None:
    world = until_phase(begun(), "Succeeded")
    jobs = [(verb, name) for verb, kind, name in world.kube.writes if kind == "Job"]
    assert jobs == [("create", "loobos-prepare"), ("create", "loobos-analyse")]


def test_a_finished_workflow_needs_its_jobs_no_more() -> None:
    world = until_phase(begun(), "Running")
    world.kube.remove("Job", "loobos-prepare")
    until_phase(world, "Succeeded")
    world.kube.remove("Job", "loobos-analyse")
    for _ in range(5):
        world.turn()
    assert world.kube.of_kind("Job") == []


def test_nothing_is_done_about_a_workflow_that_is_over() -> None:
    world = until_phase(begun(), "Succeeded")
    world.turn()
    before = len(world.faults.calls)
    world.workflows.reconcile(KEY)
    assert world.faults.calls[before:] == []


def test_failed_runs_are_tried_again_and_then_told() -> None:
    def outcome(message: RunMessage) -> tuple[str, int | None]:
        return ("failed", 1) if message.key.run_id.endswith("0") else ("succeeded", 0)

    world = until_phase(begun(World(outcome=outcome)), "Succeeded")
    assert status(world)["progress"] == "3/4"
    assert [attempt for run, attempt in world.executed if run.endswith("0")] == [1, 2, 3]
    assert condition(world, "AllRunsSucceeded")[:2] == ("False", "RunsFailed")
    assert "run 99000000100 (attempt 3): attempt 3" in condition(world, "AllRunsSucceeded")[2]


def test_bad_data_is_not_tried_again() -> None:
    world = until_phase(begun(World(outcome=lambda _: ("failed", 65))), "Failed")
    assert {attempt for _, attempt in world.executed} == {1}
    assert condition(world, "Ready")[1:] == (
        "Failed",
        "none of 4 runs succeeded; run 99000000100 (attempt 1): attempt 1",
    )


def test_stop_on_error_ends_at_the_first_given_up_run() -> None:
    world = begun(World(runs=30, outcome=lambda _: ("failed", 65)), stopOnError=True, maxParallel=1)
    until_phase(world, "Failed")
    assert condition(world, "Ready")[2].startswith("a run failed and stopOnError is true; run ")
    assert len(world.executed) < 5
    assert status(world)["runs"]["cancelled"] >= 25


@pytest.mark.parametrize("component", ["prepare", "analyse"])
def test_a_job_that_fails_is_told(component: str) -> None:
    world = until_phase(begun(World(job_fails={component: "no such trait: leafC"})), "Failed")
    assert "no such trait: leafC" in condition(world, "Ready")[2]
    assert condition(world, {"prepare": "Prepared", "analyse": "Analysed"}[component])[0] == "False"
    assert ("Warning", "Failed") in [(kind, reason) for kind, reason, _ in world.kube.events]


def test_a_jobs_trouble_is_told_while_it_lasts() -> None:
    world = begun()
    world._jobs = lambda: None  # type: ignore[method-assign]
    world.run_until(lambda: world.kube.get("Job", "loobos-prepare") is not None)
    job = world.kube.get("Job", "loobos-prepare")
    assert job is not None
    waiting = {"reason": "ErrImagePull", "message": "not found"}
    world.kube.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "loobos-prepare-x", "namespace": NAMESPACE, "generateName": "loobos-prepare",
                "labels": job["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [{"kind": "Job", "name": "loobos-prepare", "uid": job["metadata"]["uid"]}],
            },
            "spec": {"containers": [{"name": "folder", "image": "executor:1"}]},
            "status": {
                "phase": "Pending",
                "containerStatuses": [{"name": "folder", "image": "x", "state": {"waiting": waiting}}],
            },
        }
    )  # fmt: skip
    world.operate()
    assert condition(world, "Ready")[:2] == ("False", "ImageCannotBePulled")
    assert status(world)["phase"] == "Preparing"


# --- what is waited for -----------------------------------------------------------------------------------------------


def test_without_a_platform() -> None:
    world = begun()
    world.installations.present.clear()
    with pytest.raises(NotYet):
        world.workflows.reconcile(KEY)
    assert condition(world, "Ready")[:2] == ("False", "PlatformNotReady")
    assert status(world)["phase"] == "Pending"


def test_without_its_model() -> None:
    world = World()
    world.kube.put(workflow_object())
    world.operate()
    assert condition(world, "Ready")[:2] == ("False", "ModelMissing")
    assert "dalec" in condition(world, "Ready")[2]
    assert world.ledger.workflows == {}
    world.kube.put(model_object())
    until_phase(world, "Succeeded")
    assert len(world.ledger.workflows) == 1


def test_before_its_model_is_registered() -> None:
    world = World()
    world.kube.put(model_object())
    world.kube.put(workflow_object())
    with pytest.raises(NotYet):
        world.workflows.reconcile(KEY)
    assert condition(world, "Ready")[:2] == ("False", "ModelNotRegistered")


def test_no_runs_are_prepared_for_a_model_that_is_made_anew_and_not_registered_yet() -> None:
    world = begun()
    world._jobs = lambda: None  # type: ignore[method-assign]
    until_phase(world, "Preparing")
    world.kube.remove("Job", "loobos-prepare")
    world.kube.put(model_object())
    with pytest.raises(NotYet):
        world.workflows.reconcile(KEY)
    assert condition(world, "Ready")[:2] == ("False", "ModelNotRegistered")
    assert world.kube.get("Job", "loobos-prepare") is None


def test_a_wrong_spec_is_named() -> None:
    world = begun(end="1990-01-01", ensemble={"size": 0, "variables": ["GPP"]})
    with pytest.raises(UserError):
        world.workflows.reconcile(KEY)
    status_, reason, message = condition(world, "Ready")
    assert (status_, reason) == ("False", "InvalidSpec")
    assert "ensemble.size" in message


def test_a_database_that_is_away_makes_ready_unknown_and_keeps_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    world = until_phase(begun(World(runs=50), maxParallel=1), "Running")
    before = status(world)

    def unavailable(uid: str) -> None:
        raise Unavailable("DatabaseUnavailable", "PostgreSQL does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(world.ledger, "read_workflow", unavailable)
        with pytest.raises(Unavailable):
            world.workflows.reconcile(KEY)
    assert condition(world, "Ready") == ("Unknown", "DatabaseUnavailable", "PostgreSQL does not answer")
    assert condition(world, "Prepared")[0] == "True"
    assert (status(world)["phase"], status(world)["runs"]) == ("Running", before["runs"])
    world.workflows.reconcile(KEY)
    assert condition(world, "Ready")[:2] == ("False", "Running")


def test_a_finished_workflow_recovers_from_a_failure_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    world = until_phase(begun(), "Succeeded")
    change(world, priority=3)

    def unavailable(uid: str) -> None:
        raise Unavailable("DatabaseUnavailable", "PostgreSQL does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(world.ledger, "read_workflow", unavailable)
        world.operate()
    assert condition(world, "Ready")[0] == "Unknown"
    for _ in range(3):
        world.turn()
    assert condition(world, "Ready")[:2] == ("True", "Succeeded")
    assert status(world)["observedGeneration"] == 2


def test_the_model_is_told_of_while_runs_wait() -> None:
    world = until_phase(begun(World(runs=30), maxParallel=1), "Running")
    world.kube.remove("PecanModel", "dalec")
    world.turn()
    assert condition(world, "ModelReady")[:2] == ("False", "ModelMissing")
    world.kube.put(model_object(suspend=True))
    world.turn()
    world.turn()
    assert condition(world, "ModelReady")[:2] == ("False", "ModelSuspended")
    world.kube.remove("PecanModel", "dalec")
    world.kube.put(model_object(revision="other"))
    world.turn()
    world.turn()
    assert condition(world, "ModelReady")[:2] == ("False", "QueueChanged")


# --- changes on the way -----------------------------------------------------------------------------------------------


def test_suspend_and_go_on() -> None:
    world = until_phase(begun(World(runs=30), maxParallel=2), "Running")
    change(world, suspend=True)
    until_phase(world, "Suspended")
    for _ in range(3):
        world.turn()
    done = len(world.executed)
    for _ in range(10):
        world.turn()
    assert len(world.executed) == done < 30
    assert condition(world, "Ready")[:2] == ("False", "Suspended")
    change(world, suspend=False)
    until_phase(world, "Succeeded")
    assert len(world.executed) == 30


def test_limits_may_be_changed() -> None:
    world = until_phase(begun(World(runs=30), maxParallel=1), "Running")
    change(world, maxParallel=5, priority=9, retry={"maxAttempts": 1}, folderPolicy="Delete")
    world.turn()
    now = row(world)
    assert (now.max_parallel, now.priority, now.max_attempts, now.folder_policy) == (5, 9, 1, "Delete")


def test_cancel() -> None:
    world = until_phase(begun(World(runs=30), maxParallel=2), "Running")
    change(world, cancel=True)
    world.operate()
    assert status(world)["phase"] == "Cancelling"
    until_phase(world, "Cancelled", turns=10)
    assert condition(world, "Ready") == ("False", "Cancelled", "cancelled by spec.cancel")
    assert status(world)["runs"]["cancelled"] >= 25
    assert {run.state for run in world.ledger.runs.values()} <= FINAL_STATES
    assert not world.broker.queues["DALEC_ev"]
    assert world.kube.get("Job", "loobos-analyse") is None


def test_cancel_while_it_is_prepared() -> None:
    world = begun()
    world._jobs = lambda: None  # type: ignore[method-assign]
    until_phase(world, "Preparing")
    change(world, cancel=True)
    until_phase(world, "Cancelled", turns=5)
    assert world.kube.get("Job", "loobos-prepare") is None
    # The step that registers runs was under way all the same.
    world.ledger.register_runs(row(world).workflow_id, [])
    assert world.broker.published == []


def test_the_deadline() -> None:
    world = begun(World(runs=300), maxParallel=1, deadlineSeconds=20)
    until_phase(world, "Failed", turns=60)
    assert condition(world, "Ready")[2] == "deadlineSeconds is over (20 s)"
    finished = row(world).finished_at
    assert finished is not None
    assert 20.0 <= (finished - row(world).accepted_at).total_seconds() <= 26.0


def test_the_deadline_is_kept_although_nothing_happens() -> None:
    world = begun(World(runs=3), deadlineSeconds=45)
    world._jobs = lambda: None  # type: ignore[method-assign]
    until_phase(world, "Failed", turns=60)
    finished = row(world).finished_at
    assert finished is not None
    assert (finished - row(world).accepted_at).total_seconds() <= 50.0


# --- running failed runs again ----------------------------------------------------------------------------------------


def fail_until(attempt: int, ending: str = "0", runs: int = 4) -> World:
    """Runs whose id ends so fail before that attempt; each is tried once."""

    def outcome(message: RunMessage) -> tuple[str, int | None]:
        fails = message.key.run_id.endswith(ending) and message.attempt < attempt
        return ("failed", 1) if fails else ("succeeded", 0)

    return World(runs=runs, outcome=outcome)


def attempts(world: World) -> dict[str, int]:
    """Executions of each run, by the end of its id."""
    return dict(sorted(Counter(run[-1] for run, _ in world.executed).items()))


def test_only_the_failed_runs_are_run_again_and_all_are_analysed_again() -> None:
    world = until_phase(begun(fail_until(2), retry={"maxAttempts": 1}), "Succeeded")
    assert status(world)["progress"] == "3/4"
    first = world.kube.get("Job", "loobos-analyse")
    change(world, retryGeneration=1)
    until_phase(world, "Running", turns=5)
    assert "finishedAt" not in status(world)
    assert "results" not in status(world)
    until_phase(world, "Succeeded")
    assert status(world)["progress"] == "4/4"
    assert attempts(world) == {"0": 2, "1": 1, "2": 1, "3": 1}
    assert status(world)["results"] == {"runs": 4}
    assert condition(world, "AllRunsSucceeded")[0] == "True"
    assert condition(world, "Retried") == ("True", "Retried", "retryGeneration 1 has been carried out")
    assert ("Normal", "Retried", "retryGeneration 1: runs to run again: 1") in world.kube.events
    again = world.kube.get("Job", "loobos-analyse")
    assert first is not None
    assert again is not None
    assert again["metadata"]["uid"] != first["metadata"]["uid"]
    before = len(world.faults.calls)
    world.turn()
    world.workflows.reconcile(KEY)
    assert [call for call in world.faults.calls[before:] if "Ledger.read_workflow" in call] == []


def test_each_run_has_all_its_attempts_again() -> None:
    world = until_phase(begun(fail_until(9), retry={"maxAttempts": 3}), "Succeeded")
    assert attempts(world)["0"] == 3
    change(world, retryGeneration=1)
    until_phase(world, "Running", turns=5)
    until_phase(world, "Succeeded")
    assert attempts(world) == {"0": 6, "1": 1, "2": 1, "3": 1}
    assert condition(world, "AllRunsSucceeded")[2].startswith("3/4; run 99000000100 (attempt 6)")
    change(world, retryGeneration=2)
    until_phase(world, "Running", turns=5)
    until_phase(world, "Succeeded")
    assert attempts(world) == {"0": 9, "1": 1, "2": 1, "3": 1}
    assert status(world)["progress"] == "4/4"


def test_a_workflow_of_which_no_run_succeeded_is_taken_up() -> None:
    world = until_phase(begun(fail_until(2, ending=""), retry={"maxAttempts": 1}), "Failed")
    change(world, retryGeneration=1)
    until_phase(world, "Succeeded")
    assert attempts(world) == {"0": 2, "1": 2, "2": 2, "3": 2}


def test_while_others_run_the_failed_ones_are_run_again() -> None:
    world = begun(fail_until(2, runs=30), maxParallel=1, retry={"maxAttempts": 1})
    world.run_until(lambda: bool((status(world).get("runs") or {}).get("failed")))
    change(world, retryGeneration=1)
    until_phase(world, "Succeeded")
    ran = Counter(run for run, _ in world.executed)
    assert ran["99000000100"] == 2
    assert ran["99000000101"] == 1


@pytest.mark.parametrize("component", ["prepare", "analyse"])
def test_a_job_that_failed_is_done_again(component: str) -> None:
    world = until_phase(begun(World(job_fails={component: "Read-only file system"})), "Failed")
    ran = len(world.executed)
    world.job_fails = {}
    change(world, retryGeneration=1)
    until_phase(world, "Succeeded")
    assert len(world.executed) == 4
    assert ran in (0, 4)
    assert condition(world, "Analysed")[0] == "True"


def test_a_retry_waits_until_nothing_is_left_of_the_old_jobs() -> None:
    world = until_phase(begun(fail_until(2), retry={"maxAttempts": 1}), "Succeeded")
    job = world.kube.get("Job", "loobos-analyse")
    assert job is not None
    going = resource("Pod", "loobos-analyse-x", {"containers": []}, labels=job["metadata"]["labels"])
    going["metadata"]["generateName"] = "loobos-analyse"
    world._pods = lambda: None  # type: ignore[method-assign]
    world.kube.put(going)
    change(world, retryGeneration=1)
    with pytest.raises(NotYet):
        world.workflows.reconcile(KEY)
    assert world.kube.get("Job", "loobos-analyse") is None
    assert row(world).retry_generation == 0
    assert condition(world, "Ready")[:2] == ("False", "OldJob")
    world.kube.remove("Pod", "loobos-analyse-x")
    del world._pods  # type: ignore[method-assign]
    until_phase(world, "Running", turns=5)
    until_phase(world, "Succeeded")
    assert status(world)["progress"] == "4/4"


def test_a_job_of_before_the_retry_that_the_watch_still_shows_counts_for_nothing() -> None:
    world = until_phase(begun(World(job_fails={"analyse": "Read-only file system"})), "Failed")
    old = world.kube.get("Job", "loobos-analyse")
    assert old is not None
    world.job_fails = {}
    change(world, retryGeneration=1)
    world.workflows.reconcile(KEY)
    world.store.put("Job", old)
    world.workflows.reconcile(KEY)
    assert status(world)["phase"] == "Analysing"
    until_phase(world, "Succeeded")


def test_stop_on_error_takes_up_those_that_never_ran_too() -> None:
    world = begun(fail_until(2), stopOnError=True, maxParallel=1, retry={"maxAttempts": 1})
    until_phase(world, "Failed")
    assert status(world)["runs"]["cancelled"] == 3
    change(world, retryGeneration=1)
    until_phase(world, "Succeeded")
    assert status(world)["progress"] == "4/4"
    assert condition(world, "Ready")[:2] == ("True", "Succeeded")


def test_a_retry_asked_for_while_runs_are_being_stopped_comes_afterwards() -> None:
    world = begun(fail_until(2, runs=30), stopOnError=True, retry={"maxAttempts": 1})
    until_phase(world, "Cancelling")
    change(world, retryGeneration=1)
    until_phase(world, "Succeeded")
    assert status(world)["progress"] == "30/30"


def test_a_retry_is_not_forgotten_when_the_operator_is_killed_after_the_end_was_told() -> None:
    world = begun(fail_until(2, runs=30), stopOnError=True, retry={"maxAttempts": 1})
    until_phase(world, "Cancelling")
    change(world, retryGeneration=1)
    world.run_until(lambda: row(world).finished_at is not None, turns=20)
    world.kill_operator()
    until_phase(world, "Succeeded")


def test_a_cancelled_workflow_is_not_taken_up() -> None:
    world = until_phase(begun(World(runs=30), maxParallel=2), "Running")
    change(world, cancel=True)
    until_phase(world, "Cancelled", turns=10)
    change(world, retryGeneration=1)
    for _ in range(5):
        world.turn()
    assert status(world)["phase"] == "Cancelled"
    assert condition(world, "Retried")[:2] == ("False", "WorkflowCancelled")
    assert row(world).retry_generation == 0
    assert "finishedAt" in status(world)
    before = len(world.faults.calls)
    world.workflows.reconcile(KEY)
    assert world.faults.calls[before:] == []


def test_after_its_deadline_it_is_taken_up_only_with_a_later_one() -> None:
    world = begun(World(runs=30), maxParallel=1, deadlineSeconds=20)
    until_phase(world, "Failed", turns=60)
    change(world, retryGeneration=1)
    for _ in range(3):
        world.turn()
    assert status(world)["phase"] == "Failed"
    assert condition(world, "Retried")[:2] == ("False", "DeadlineOver")
    change(world, deadlineSeconds=1000)
    until_phase(world, "Succeeded")
    assert status(world)["progress"] == "30/30"


def test_a_retry_with_nothing_to_run_again_changes_nothing() -> None:
    world = until_phase(begun(), "Succeeded")
    before = row(world)
    change(world, retryGeneration=7)
    for _ in range(5):
        world.turn()
    assert replace(row(world), retry_generation=0) == before
    assert row(world).retry_generation == 7
    assert condition(world, "Retried")[0] == "True"
    assert attempts(world) == {"0": 1, "1": 1, "2": 1, "3": 1}


def test_a_new_workflow_may_have_a_retry_generation() -> None:
    world = until_phase(begun(retryGeneration=3), "Succeeded")
    assert row(world).retry_generation == 3
    assert attempts(world) == {"0": 1, "1": 1, "2": 1, "3": 1}


# --- deletion ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(9))
def test_deleted_at_any_moment_nothing_runs_on(turns: int) -> None:
    world = begun(World(runs=3), maxParallel=1)
    for _ in range(turns):
        world.turn()
    world.kube.remove("PecanWorkflow", "loobos")
    for _ in range(8):
        world.turn()
    assert {run.state for run in world.ledger.runs.values()} <= FINAL_STATES
    assert all(row.finished_at is not None for row in world.ledger.workflows.values())
    assert not world.broker.queues.get("DALEC_ev")
    assert world.kube.of_kind("Job") == []
    assert world.removed_folders == []


def test_a_folder_is_removed_if_that_was_the_last_word() -> None:
    world = until_phase(begun(World(runs=30), maxParallel=1), "Running")
    change(world, folderPolicy="Delete")
    world.turn()
    world.kube.remove("PecanWorkflow", "loobos")
    world.run_until(lambda: bool(world.removed_folders), turns=30)
    assert world.removed_folders == ["/data/workflows/PEcAn_99000000001"]
    assert {run.state for run in world.ledger.runs.values()} <= FINAL_STATES
    for _ in range(60):
        world.turn()
    assert len(world.removed_folders) == 1


def test_a_folder_is_kept_if_that_was_the_last_word() -> None:
    world = until_phase(begun(folderPolicy="Delete"), "Succeeded")
    change(world, folderPolicy="Retain")
    for _ in range(3):
        world.turn()
    world.kube.remove("PecanWorkflow", "loobos")
    for _ in range(40):
        world.turn()
    assert world.removed_folders == []


def test_a_finished_workflow_deleted_after_a_restart_takes_its_folder_along() -> None:
    world = until_phase(begun(folderPolicy="Delete"), "Succeeded")
    world.kill_operator()
    world.turn()
    world.kube.remove("PecanWorkflow", "loobos")
    world.run_until(lambda: bool(world.removed_folders), turns=15)


@pytest.mark.parametrize("phase", ["Running", "Succeeded"])
def test_deleted_while_nobody_looked(phase: str) -> None:
    world = until_phase(begun(World(runs=10), maxParallel=1, folderPolicy="Delete"), phase)
    world.kube.watchers.clear()
    world.kube.remove("PecanWorkflow", "loobos")
    world.kill_operator()
    world.run_until(lambda: bool(world.removed_folders), turns=60)
    assert row(world).outcome is (Outcome.CANCELLED if phase == "Running" else Outcome.SUCCEEDED)


def test_a_cleanup_that_fails_is_tried_again() -> None:
    world = until_phase(
        begun(World(job_fails={"cleanup": "Read-only file system"}), folderPolicy="Delete"), "Succeeded"
    )
    world.kube.remove("PecanWorkflow", "loobos")
    world.run_until(lambda: world.kube.get("Job", "loobos-cleanup99000000001") is not None, turns=10)
    for _ in range(20):
        world.turn()
    # The time to live of a finished Job.
    world.kube.remove("Job", "loobos-cleanup99000000001")
    world.job_fails = {}
    world.run_until(lambda: bool(world.removed_folders), turns=20)


def test_replaced_under_its_name_the_old_one_is_put_away_and_the_new_one_runs() -> None:
    world = until_phase(begun(World(runs=20), maxParallel=1), "Running")
    old = row(world)
    world.kube.remove("PecanWorkflow", "loobos")
    world.kube.put(workflow_object())
    until_phase(world, "Succeeded")
    world.run_until(lambda: world.ledger.workflows[old.uid].finished_at is not None, turns=120)
    assert world.ledger.workflows[old.uid].outcome is Outcome.CANCELLED
    assert [each.outcome for each in world.ledger.workflows.values() if each.uid != old.uid] == [Outcome.SUCCEEDED]


def test_a_job_of_an_earlier_namesake_is_removed_first() -> None:
    world = begun()
    stale = resource("Job", "loobos-prepare", {}, ownerReferences=[{"uid": "uid-of-another", "name": "loobos"}])
    stale["metadata"]["labels"] = {"app.kubernetes.io/component": "prepare"}
    stale["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    world.kube.put(stale)
    until_phase(world, "Succeeded")
    assert ("delete", "Job", "loobos-prepare") in world.kube.writes


def test_without_a_platform_a_deleted_workflow_is_put_away_later() -> None:
    world = until_phase(begun(World(runs=20), maxParallel=1), "Running")
    installation = world.installations.present.pop(NAMESPACE)
    world.kube.remove("PecanWorkflow", "loobos")
    world.workflows.reconcile(KEY)
    assert row(world).finished_at is None
    world.installations.present[NAMESPACE] = installation
    world.run_until(lambda: row(world).finished_at is not None, turns=60)


def test_one_that_is_on_its_way_out_is_left_alone() -> None:
    world = begun(metadata={"deletionTimestamp": "2024-05-02T00:00:00Z"})
    world.workflows.reconcile(KEY)
    assert world.ledger.workflows == {}


def test_a_handler_that_never_saw_it_does_nothing_about_its_absence() -> None:
    world = World()
    WorkflowHandler(world.context).reconcile(KEY)
    assert world.ledger.workflows == {}


# --- status -----------------------------------------------------------------------------------------------------------


def test_the_status_stays_small_and_quiet() -> None:
    world = until_phase(begun(World(runs=200, outcome=lambda _: ("failed", 65))), "Failed")
    assert len(str(status(world))) < 16 * 1024
    writes = [verb for verb, kind, name in world.kube.writes if (verb, kind) == ("status", "PecanWorkflow")]
    assert len(writes) <= world.seconds + 5


def test_progress_is_written_once_a_second_at_most() -> None:
    world = until_phase(begun(World(runs=100)), "Succeeded")
    for moment in (each["lastTransitionTime"] for each in status(world)["conditions"]):
        assert moment <= status(world)["finishedAt"]
    writes = [verb for verb, kind, name in world.kube.writes if (verb, kind) == ("status", "PecanWorkflow")]
    assert len(writes) <= world.seconds + 6


# --- many at once -----------------------------------------------------------------------------------------------------


def many(number: int, jobs: int) -> World:
    world = World(runs=1)
    world.workflows._places.number = jobs
    world.kube.put(model_object(suspend=True))
    for n in range(number):
        world.kube.put(workflow_object(f"w{n:02}"))
    return world


def test_only_some_jobs_are_at_work_and_the_others_wait_with_one_write() -> None:
    world = many(12, jobs=3)
    for _ in range(2):
        world.operate()
    assert len(world.kube.of_kind("Job")) == 3
    waiting = [
        each
        for each in world.kube.of_kind("PecanWorkflow")
        if any(c["reason"] == "Queued" for c in each["status"]["conditions"])
    ]
    assert len(waiting) == 9
    for each in waiting:
        name = each["metadata"]["name"]
        assert [verb for verb, kind, of in world.kube.writes if (kind, of) == ("PecanWorkflow", name)] == ["status"]
        (prepared,) = (c for c in each["status"]["conditions"] if c["type"] == "Prepared")
        assert prepared["message"].startswith("waits for its turn: 3 Jobs")


def test_every_waiting_workflow_is_prepared_in_the_end_also_after_a_new_start() -> None:
    world = many(12, jobs=3)
    world.operate()
    world.kill_operator()
    world.workflows._places.number = 3
    most = 0

    def at_work() -> int:
        return sum(1 for job in world.kube.of_kind("Job") if not (job.get("status") or {}).get("conditions"))

    for _ in range(60):
        world.operate()
        most = max(most, at_work())
        world.nature()
        world.seconds += 1.0
    assert all(row.prepared_at is not None for row in world.ledger.workflows.values())
    assert most <= 6


def test_a_finished_workflow_is_remembered_by_little() -> None:
    world = until_phase(begun(), "Succeeded")
    found = world.kube.get("PecanWorkflow", "loobos")
    assert found is not None
    assert is_over(found)
    small = slim(found)
    assert "spec" not in small
    assert is_over(small)
    assert slim(small) == small
    running = until_phase(begun(), "Running").kube.get("PecanWorkflow", "loobos")
    assert running is not None
    assert slim(running) is running


def test_an_ensemble_of_many_runs_takes_few_writes() -> None:
    world = until_phase(begun(World(runs=400)), "Succeeded", turns=3000)
    writes = [verb for verb, kind, name in world.kube.writes if (verb, kind) == ("status", "PecanWorkflow")]
    assert len(writes) <= 110


# --- given as a pecan.xml ---------------------------------------------------------------------------------------------


PECAN_XML = """<pecan>
  <pfts><pft><name>conifer</name><constants><SLA>12</SLA></constants></pft></pfts>
  <ensemble><size>4</size><variable>GPP</variable></ensemble>
  <benchmarking><id>1</id></benchmarking>
  <run>
    <site><id>772</id><name>Niwot</name><lat>40.03</lat><lon>-105.55</lon></site>
    <inputs><met><path>Niwot</path></met></inputs>
    <start.date>1999/01/01</start.date><end.date>2000/12/31</end.date>
    <stop_on_error>TRUE</stop_on_error>
  </run>
</pecan>
"""


def given_as(**source: Any) -> World:
    world = World()
    world.kube.put(model_object())
    spec = {"modelRef": {"name": "dalec"}, "pecanXml": {"baseDir": "/data/met", **source}}
    world.kube.put(resource("PecanWorkflow", "loobos", spec))
    return world


def config_map(text: str, key: str = "pecan.xml") -> dict[str, Any]:
    metadata = {"name": "almond", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: text}}


def settings_of(world: World) -> dict[str, str]:
    config = world.kube.get("ConfigMap", "loobos-settings")
    assert config is not None
    data: dict[str, str] = config["data"]
    return data


@pytest.mark.parametrize("where", ["inline", "configMap"])
def test_a_pecan_xml_is_run(where: str) -> None:
    world = given_as(**({"inline": PECAN_XML} if where == "inline" else {"configMap": {"name": "almond"}}))
    world.kube.put(config_map(PECAN_XML))
    until_phase(world, "Succeeded")
    xml = settings_of(world)["pecan.xml"]
    assert "<path>/data/met/Niwot</path>" in xml
    assert "<id>99000000001</id>" in xml
    assert "<queue>DALEC_ev</queue>" in xml
    assert row(world).stop_on_error is True
    message = "nodes of pecan.xml that have no effect: benchmarking"
    assert condition(world, "SettingsIgnored") == ("True", "NodesIgnored", message)


def test_the_ledger_is_told_what_a_pecan_xml_says(monkeypatch: pytest.MonkeyPatch) -> None:
    world = given_as(inline=PECAN_XML)
    asked = []
    accept = world.ledger.accept_workflow
    monkeypatch.setattr(world.ledger, "accept_workflow", lambda request: asked.append(request) or accept(request))
    until_phase(world, "Running")
    (request,) = asked
    assert (request.start_date, request.end_date) == ("1999-01-01", "2000-12-31")
    assert (request.stop_on_error, request.settings_ignored) == (True, ("benchmarking",))


def test_only_a_job_can_read_what_is_on_the_data_volume() -> None:
    world = until_phase(given_as(path="/data/almond/pecan.xml"), "Succeeded")
    assert list(settings_of(world)) == ["ours.json"]
    made = [each for each in world.kube.writes if each[1:] == ("Job", "loobos-prepare")]
    assert made == [("create", "Job", "loobos-prepare")]
    assert row(world).stop_on_error is False
    assert [each for each in status(world)["conditions"] if each["type"] == "SettingsIgnored"] == []


def test_without_ignored_nodes_there_is_no_condition_about_them() -> None:
    world = until_phase(given_as(inline=PECAN_XML.replace("<benchmarking><id>1</id></benchmarking>", "")), "Running")
    assert [each for each in status(world)["conditions"] if each["type"] == "SettingsIgnored"] == []


def until_ready_says(world: World, reason: str) -> str:
    """The message of the condition Ready once it has this reason."""
    world.run_until(lambda: bool(status(world)) and condition(world, "Ready")[1] == reason)
    return condition(world, "Ready")[2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "<benchmarking><id>1</id></benchmarking>",
            "<meta.analysis/>",
            "pecan.xml line 4: meta.analysis is not supported",
        ),
        ("<run>", "<model><type>ED2</type></model><run>", "model/type is 'ED2', but the model of modelRef has 'DALEC'"),
    ],
)
def test_a_wrong_pecan_xml_is_not_accepted(old: str, new: str, message: str) -> None:
    world = given_as(inline=PECAN_XML.replace(old, new))
    assert message in until_ready_says(world, "BadSettings")
    assert status(world)["phase"] == "Pending"
    assert not world.ledger.workflows


def test_the_ledger_is_told_what_a_config_map_says_when_it_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read again then, and what is run is what it says by then."""
    world = given_as(configMap={"name": "almond"})
    world.kube.put(config_map(PECAN_XML))
    accept = world.ledger.accept_workflow

    def accept_and_change(request: WorkflowRequest) -> WorkflowRow:
        changed = PECAN_XML.replace("2000/12/31", "1999/12/31").replace(">TRUE<", ">FALSE<")
        world.kube.put(config_map(changed.replace("benchmarking", "remote_process")))
        return accept(request)

    monkeypatch.setattr(world.ledger, "accept_workflow", accept_and_change)
    until_phase(world, "Preparing")
    assert "<end.date>1999-12-31</end.date>" in settings_of(world)["pecan.xml"]
    assert world.ledger.dates == {row(world).workflow_id: ("1999-01-01", "1999-12-31")}
    assert row(world).stop_on_error is False
    message = "nodes of pecan.xml that have no effect: remote_process"
    assert condition(world, "SettingsIgnored") == ("True", "NodesIgnored", message)


def test_a_config_map_may_come_later() -> None:
    world = given_as(configMap={"name": "almond", "key": "settings.xml"})
    assert until_ready_says(world, "PecanXmlMissing") == "there is no ConfigMap almond in namespace forest: apply it"
    world.kube.put(config_map(PECAN_XML))
    missing = "ConfigMap almond has no key settings.xml in its data: add it"
    world.run_until(lambda: condition(world, "Ready")[2] == missing)
    world.kube.put(config_map(PECAN_XML, "settings.xml"))
    until_phase(world, "Running")


# --- with PEcAn's R ---------------------------------------------------------------------------------------------------

R_PFTS = [{"name": "temperate.coniferous", "constants": {"SLA": 4.3}}]


def begun_with_r(world: World | None = None, **spec: Any) -> World:
    world = world or World(framework="pecan")
    world.kube.put(model_object(interface="pecan", binary="/usr/local/bin/dalec"))
    world.kube.put(workflow_object(**{"pfts": R_PFTS, **spec}))
    return world


def fail_r(world: World, job: str, code: int, message: str = "", phase: str = "Failed") -> None:
    """The Job fails, with a pod that tells how unless there is none (code 0)."""
    found = world.kube.get("Job", job)
    assert found is not None
    if code:
        ended = {"exitCode": code, "reason": "Error", "message": message}
        world.kube.put(
            {
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": f"{job}-pod", "namespace": NAMESPACE, "generateName": job,
                    "labels": found["metadata"]["labels"],
                    "ownerReferences": [{"kind": "Job", "name": job, "uid": found["metadata"]["uid"]}],
                },
                "spec": {"initContainers": [{"name": "framework", "image": "pecan/executor:1"}], "containers": []},
                "status": {
                    "phase": phase,
                    "initContainerStatuses": [{"name": "framework", "state": {"terminated": ended}}],
                },
            }
        )  # fmt: skip
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "x"}
    world.kube.put({**found, "status": {"conditions": [failed]}})


def by_hand(world: World) -> World:
    """Jobs do nothing by themselves, and pods of Jobs are nobody's workers."""
    world._jobs = lambda: None  # type: ignore[method-assign]
    world._pods = lambda: None  # type: ignore[method-assign]
    return world


def uid_of(world: World, job: str) -> str | None:
    found = world.kube.get("Job", job)
    return None if found is None else found["metadata"]["uid"]


def test_r_prepares_and_analyses() -> None:
    world = until_phase(begun_with_r(), "Succeeded")
    assert row(world).framework == "pecan"
    assert "seed" not in status(world)
    for job in ("loobos-prepare", "loobos-analyse"):
        found = world.kube.get("Job", job)
        assert found is not None
        assert found["spec"]["template"]["spec"]["initContainers"][2]["image"] == "pecan/executor:1"
    assert provenance(world, "loobos-analyse")["r"]["image"] == "pecan/executor:1"
    settings = world.kube.get("ConfigMap", "loobos-settings")
    assert settings is not None
    assert "<name>localhost</name>" in settings["data"]["pecan.xml"]
    assert "<dbfiles>/data/dbfiles</dbfiles>" in settings["data"]["pecan.xml"]
    assert condition(world, "SettingsIgnored")[2].endswith("ensemble/seed")


@pytest.mark.parametrize(("framework", "interface"), [("pecan", "run"), ("light", "pecan")])
def test_a_model_that_does_not_fit_the_framework_is_refused_before_anything_is_written(
    framework: str, interface: str
) -> None:
    world = World(framework=framework)
    world.kube.put(model_object(interface=interface, binary="/usr/local/bin/dalec"))
    world.kube.put(workflow_object(pfts=R_PFTS))
    world.run_until(lambda: bool(status(world).get("conditions")))
    assert condition(world, "Ready")[:2] == ("False", "FrameworkMismatch")
    assert f"interface {interface}" in condition(world, "Ready")[2]
    assert world.ledger.workflows == {}
    assert world.kube.of_kind("Job") == []


def test_priors_that_r_cannot_take_are_refused_before_anything_is_written() -> None:
    world = begun_with_r(pfts=workflow_object()["spec"]["pfts"])
    world.run_until(lambda: bool(status(world).get("conditions")))
    assert condition(world, "Ready")[1] == "NotForR"
    assert world.ledger.workflows == {}


def test_a_workflow_keeps_the_framework_that_it_was_accepted_with() -> None:
    world = until_phase(begun_with_r(), "Running")
    world.framework = "light"
    world.kill_operator()
    until_phase(world, "Succeeded")
    assert row(world).framework == "pecan"


def test_what_r_says_ends_the_workflow() -> None:
    world = by_hand(begun_with_r())
    world.run_until(lambda: uid_of(world, "loobos-prepare") is not None)
    fail_r(world, "loobos-prepare", 1, "R failed in stage CONFIG: SEVERE [f] : no binary")
    until_phase(world, "Failed", turns=5)
    assert condition(world, "Ready")[2].endswith("R failed in stage CONFIG: SEVERE [f] : no binary")
    assert row(world).losses == 0


def test_what_r_says_counts_also_when_the_watch_has_not_shown_it_yet() -> None:
    world = by_hand(begun_with_r())
    world.run_until(lambda: uid_of(world, "loobos-prepare") is not None)
    put = world.store.put
    world.store.put = lambda kind, obj: None if kind == "Pod" else put(kind, obj)  # type: ignore[method-assign]
    fail_r(world, "loobos-prepare", 1, "R failed in stage CONFIG: SEVERE [f] : no binary")
    until_phase(world, "Failed", turns=5)
    assert row(world).losses == 0


@pytest.mark.parametrize("code", [0, 137])
def test_a_job_whose_pod_was_killed_begins_anew_a_bounded_number_of_times(code: int) -> None:
    world = by_hand(begun_with_r())
    seen = []
    for _ in range(6):
        world.run_until(lambda: uid_of(world, "loobos-prepare") not in (None, *seen))
        seen.append(uid_of(world, "loobos-prepare"))
        fail_r(world, "loobos-prepare", code)
    until_phase(world, "Failed", turns=10)
    assert len(set(seen)) == 6
    assert row(world).losses == 5
    assert "after 5 other tries" in condition(world, "Ready")[2]
    assert [reason for _, reason, _ in world.kube.events].count("JobLost") == 5


def test_a_retry_gives_all_tries_again() -> None:
    world = by_hand(begun_with_r())
    for _ in range(6):
        known = uid_of(world, "loobos-prepare")
        world.run_until(lambda known=known: uid_of(world, "loobos-prepare") not in (None, known))  # type: ignore[misc]
        fail_r(world, "loobos-prepare", 0)
    until_phase(world, "Failed", turns=10)
    change(world, retryGeneration=1)
    world.run_until(lambda: row(world).finished_at is None)
    assert row(world).losses == 0


def test_another_try_waits_for_the_pods_of_the_one_before() -> None:
    world = by_hand(begun_with_r())
    world.run_until(lambda: uid_of(world, "loobos-prepare") is not None)
    first = world.kube.get("Job", "loobos-prepare")
    assert first is not None
    labels = first["metadata"]["labels"]
    world.kube.put(
        {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "still-ending", "namespace": NAMESPACE, "generateName": "x", "labels": labels},
            "spec": {"containers": []}, "status": {"phase": "Running"},
        }
    )  # fmt: skip
    fail_r(world, "loobos-prepare", 0)
    for _ in range(5):
        world.turn()
    assert uid_of(world, "loobos-prepare") is None
    assert condition(world, "Ready")[1] == "OldJob"
    world.kube.remove("Pod", "still-ending")
    world.run_until(lambda: uid_of(world, "loobos-prepare") is not None)
    assert row(world).losses == 1


def test_a_job_of_an_earlier_workflow_of_the_name_is_removed_with_its_pods() -> None:
    world = World(framework="pecan")
    labels = {"app.kubernetes.io/component": "prepare", "pecanproject.org/workflow": "loobos"}
    old = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "loobos-prepare", "namespace": NAMESPACE}}
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    made = world.kube.put({**old, "metadata": {**old["metadata"], "labels": labels}, "status": done})
    owner = {"kind": "Job", "name": "loobos-prepare", "uid": made["metadata"]["uid"]}
    pod = {"name": "old", "namespace": NAMESPACE, "generateName": "x", "labels": labels, "ownerReferences": [owner]}
    world.kube.put({"apiVersion": "v1", "kind": "Pod", "metadata": pod, "status": {"phase": "Succeeded"}})
    by_hand(begun_with_r(world))
    world.run_until(lambda: uid_of(world, "loobos-prepare") not in (None, made["metadata"]["uid"]), turns=10)
    assert world.kube.get("Pod", "old") is None


def test_the_stage_that_r_is_in_is_told_within_ten_seconds() -> None:
    world = by_hand(begun_with_r())
    world.run_until(lambda: uid_of(world, "loobos-prepare") is not None)
    world.ledger._change(row(world).uid, stage="TRAIT")
    world.run_until(lambda: condition(world, "Prepared")[2] == "PEcAn's R is at work: TRAIT", turns=15)
