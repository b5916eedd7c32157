"""PecanModels: registered once, one a queue, as many workers as the work asks for."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import World
from objects import NAMESPACE, model_object, workflow_object

from pecan_operator.errors import NotYet, Unavailable, UserError
from pecan_operator.handlers.workqueue import Key

KEY = Key("PecanModel", NAMESPACE, "dalec")
COST = "controller.kubernetes.io/pod-deletion-cost"


def model_status(world: World, name: str = "dalec") -> dict[str, Any]:
    found = world.kube.get("PecanModel", name)
    assert found is not None
    return found.get("status") or {}


def condition(world: World, kind: str, name: str = "dalec") -> tuple[str, str, str]:
    (found,) = (each for each in model_status(world, name)["conditions"] if each["type"] == kind)
    return found["status"], found["reason"], found["message"]


def replicas(world: World) -> int:
    found = world.kube.get("Deployment", "dalec-worker")
    assert found is not None
    return int(found["spec"]["replicas"])


def settled(world: World, turns: int = 3) -> World:
    for _ in range(turns):
        world.turn()
    return world


def with_model(**spec: Any) -> World:
    world = World()
    world.kube.put(model_object(**spec))
    return settled(world)


def with_work(world: World, runs: int = 4, name: str = "loobos", **spec: Any) -> World:
    world.runs = runs
    world.kube.put(workflow_object(name, **spec))
    world.run_until(lambda: bool(world.broker.published) and replicas(world) > 0, turns=20)
    return world


# --- registration -----------------------------------------------------------------------------------------------------


def test_a_model_is_registered_before_its_first_worker() -> None:
    world = with_model(binary="/work/run")
    assert world.bety.models == [
        {"hostname": "docker", "model_type": "DALEC", "name": "DALEC", "revision": "ev", "binary": "/work/run"}
    ]
    calls = world.faults.calls
    assert calls.index("FakeBety.register_model") < calls.index("FakeKube.apply")
    assert "DALEC_ev" in world.broker.queues
    assert model_status(world)["modelId"] == 99_000_000_001
    assert model_status(world)["queue"] == "DALEC_ev"
    assert condition(world, "Registered")[0] == "True"


def test_registration_is_not_repeated_until_something_changes() -> None:
    world = settled(with_model(), turns=5)
    assert world.bety.calls == 1
    world.enqueue(KEY, 0.0)
    settled(world)
    assert world.bety.calls == 1
    world.broker.reconnect()
    world.enqueue(KEY, 0.0)
    settled(world)
    assert world.bety.calls == 2
    found = world.kube.get("PecanModel", "dalec")
    assert found is not None
    world.kube.put({**found, "spec": {**found["spec"], "run": {"timeoutSeconds": 10}}})
    settled(world)
    assert world.bety.calls == 3
    assert len(world.bety.models) == 1


def test_a_second_model_of_a_queue_is_told_so() -> None:
    world = with_model()
    world.kube.put(model_object("other"))
    settled(world)
    assert condition(world, "Ready", "other")[:2] == ("False", "QueueTaken")
    assert "PecanModel dalec" in condition(world, "Ready", "other")[2]
    assert model_status(world, "other")["phase"] == "Degraded"
    assert world.kube.get("Deployment", "other-worker") is None
    assert condition(world, "Ready")[0] == "True"


def test_a_second_model_of_a_queue_is_told_so_also_without_a_platform() -> None:
    world = World()
    world.installations.present.clear()
    world.kube.put(model_object())
    world.kube.put(model_object("other"))
    settled(world)
    assert condition(world, "Ready")[:2] == ("False", "PlatformNotReady")
    assert condition(world, "Ready", "other")[:2] == ("False", "QueueTaken")


def test_the_second_takes_over_when_the_first_goes() -> None:
    world = with_model()
    world.kube.put(model_object("other"))
    settled(world)
    world.kube.remove("PecanModel", "dalec")
    settled(world, turns=40)
    assert condition(world, "Ready", "other")[0] == "True"
    assert world.kube.get("Deployment", "other-worker") is not None


def test_two_names_of_one_queue_are_one_queue() -> None:
    world = World()
    world.kube.put(model_object(type="A_B", revision="C"))
    world.kube.put(model_object("other", type="A", revision="B_C"))
    settled(world)
    assert condition(world, "Ready", "other")[1] == "QueueTaken"


def test_a_queue_taken_is_not_withdrawn_by_who_never_had_it() -> None:
    world = with_work(with_model())
    world.kube.put(model_object("other"))
    settled(world, turns=1)
    world.kube.remove("PecanModel", "other")
    settled(world)
    assert not [each for each in world.broker.controls if each["command"] == "release"]


# --- what a user is told ----------------------------------------------------------------------------------------------


def test_without_a_platform_the_condition_says_where_to_look() -> None:
    world = World()
    world.installations.present.clear()
    world.kube.put(model_object())
    with pytest.raises(NotYet):
        world.models.reconcile(KEY)
    status, reason, message = condition(world, "Ready")
    assert (status, reason) == ("False", "PlatformNotReady")
    assert NAMESPACE in message
    assert model_status(world)["phase"] == "Pending"


def test_a_wrong_spec_is_named() -> None:
    world = World()
    world.kube.put(model_object(run={"timeoutSeconds": -1}))
    with pytest.raises(UserError):
        world.models.reconcile(KEY)
    status, reason, message = condition(world, "Ready")
    assert (status, reason) == ("False", "InvalidSpec")
    assert "timeoutSeconds" in message


def test_a_service_that_is_away_makes_ready_unknown() -> None:
    world = World()
    world.kube.put(model_object())
    world.broker.go_away("connection refused")
    with pytest.raises(Unavailable):
        world.models.reconcile(KEY)
    assert condition(world, "Ready")[:2] == ("Unknown", "BrokerUnavailable")


def test_an_operator_that_starts_while_the_broker_is_away_says_that_workers_are_held() -> None:
    world = with_work(with_model())
    before = {each["type"] for each in model_status(world)["conditions"]}
    world.start_operator()
    world.broker.go_away("connection refused")
    with pytest.raises(Unavailable):
        world.models.reconcile(KEY)
    assert {each["type"] for each in model_status(world)["conditions"]} == before
    assert condition(world, "ScalingActive")[:2] == ("False", "BrokerUnavailable")
    assert replicas(world) == 4


def test_an_idle_model() -> None:
    world = with_model()
    status = model_status(world)
    assert status["phase"] == "Idle"
    assert (status["replicas"], status["readyReplicas"], status["busyWorkers"], status["outstanding"]) == (0, 0, 0, 0)
    assert status["selector"] == "pecanproject.org/model=dalec,app.kubernetes.io/component=worker"
    assert [each["type"] for each in status["conditions"]] == [
        "Ready", "Registered", "QueueReady", "WorkersReady", "ScalingActive",
    ]  # fmt: skip


def test_a_working_model() -> None:
    world = settled(with_work(with_model(), runs=40), turns=3)
    status = model_status(world)
    assert status["phase"] == "Ready"
    assert status["replicas"] == status["readyReplicas"] == 10
    assert status["busyWorkers"] > 0
    assert 0 < status["outstanding"] < 40
    assert condition(world, "WorkersReady")[0] == "True"


def test_an_image_that_cannot_be_pulled_is_told() -> None:
    world = with_model()
    world._pods = lambda: None  # type: ignore[method-assign]
    with_work(world)
    deployment = world.kube.get("Deployment", "dalec-worker")
    assert deployment is not None
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    world.kube.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "dalec-worker-1", "namespace": NAMESPACE, "generateName": "dalec-worker",
                "labels": deployment["spec"]["template"]["metadata"]["labels"],
            },
            "spec": {"containers": [{"name": "worker", "image": "registry.example/dalec:1"}]},
            "status": {
                "phase": "Pending",
                "containerStatuses": [{"name": "worker", "image": "x", "state": {"waiting": waiting}}],
            },
        }
    )  # fmt: skip
    settled(world)
    assert condition(world, "Ready")[:2] == ("False", "ImageCannotBePulled")
    assert "registry.example/dalec:1" in condition(world, "WorkersReady")[2]
    assert model_status(world)["phase"] == "Degraded"


# --- scaling ----------------------------------------------------------------------------------------------------------


def test_up_at_once_within_the_limit() -> None:
    world = with_work(with_model(scaling={"maxReplicas": 3}), runs=50)
    assert replicas(world) == 3
    settled(world)
    assert len(world.kube.of_kind("Pod")) == 3


def test_workers_are_kept_warm() -> None:
    world = settled(with_model(scaling={"minReplicas": 2}))
    assert replicas(world) == 2
    assert model_status(world)["phase"] == "Ready"
    assert condition(world, "WorkersReady") == ("True", "Ready", "2 workers")


def test_down_to_nothing_after_idle_seconds() -> None:
    world = with_work(with_model(scaling={"idleSeconds": 20}))
    world.run_until(lambda: len(world.executed) == 4)
    began = world.seconds
    world.run_until(lambda: replicas(world) == 0)
    assert 15.0 <= world.seconds - began <= 25.0
    settled(world)
    assert model_status(world)["phase"] == "Idle"
    assert world.kube.of_kind("Pod") == []


def test_the_busy_stay_and_the_longest_idle_go_marked_before_replicas_are_lowered() -> None:
    world = with_work(with_model(scaling={"idleSeconds": 10}))
    world.run_until(lambda: any(worker.message for worker in world.workers.values()))
    # One run takes for ever: its worker is given no more turns.
    busy = next(pod for pod, worker in world.workers.items() if worker.message is not None)
    del world.workers[busy]
    world.run_until(lambda: replicas(world) == 1, turns=60)
    order = [(verb, kind, name) for verb, kind, name in world.kube.writes if kind in ("Pod", "Deployment")]
    lowered = max(at for at, (verb, kind, _) in enumerate(order) if (verb, kind) == ("apply", "Deployment"))
    marked = [at for at, (verb, kind, name) in enumerate(order) if (verb, kind) == ("patch", "Pod") and name != busy]
    assert len(marked) == 3
    assert max(marked) < lowered
    assert ("patch", "Pod", busy) not in order
    settled(world)
    assert [pod["metadata"]["name"] for pod in world.kube.of_kind("Pod")] == [busy]


def test_a_mark_is_taken_back_when_the_worker_stays() -> None:
    world = settled(with_model(scaling={"minReplicas": 1}))
    (pod,) = world.kube.of_kind("Pod")
    world.kube.put({**pod, "metadata": {**pod["metadata"], "annotations": {COST: "-1000"}}})
    settled(world)
    (pod,) = world.kube.of_kind("Pod")
    assert COST not in pod["metadata"]["annotations"]


def test_unknown_holds() -> None:
    world = with_work(with_model())
    assert replicas(world) == 4
    world.broker.go_away("connection refused")
    settled(world, turns=60)
    assert replicas(world) == 4
    status, reason, message = condition(world, "ScalingActive")
    assert (status, reason) == ("False", "BrokerUnavailable")
    assert "connection refused" in message
    assert condition(world, "Ready")[0] == "Unknown"
    assert "outstanding" not in model_status(world)
    world.broker.reconnect()
    world.run_until(lambda: replicas(world) == 0)


def test_after_a_restart_unknown_workers_stay_until_they_have_answered() -> None:
    world = with_work(with_model(scaling={"idleSeconds": 10}))
    settled(world, turns=2)
    before = set(world.workers)
    world.broker.controls.clear()
    world._controls_seen = 0
    world.kill_operator()
    world.operate()
    assert replicas(world) == len(before)
    world.run_until(lambda: replicas(world) == 0)


def test_a_suspended_model_has_no_workers_once_they_are_done() -> None:
    world = with_work(with_model(), runs=30)
    found = world.kube.get("PecanModel", "dalec")
    assert found is not None
    world.kube.put({**found, "spec": {**found["spec"], "suspend": True}})
    world.run_until(lambda: replicas(world) == 0, turns=10)
    settled(world, turns=8)
    assert model_status(world)["phase"] == "Suspended"
    done = len(world.executed)
    settled(world, turns=10)
    assert len(world.executed) == done < 30
    found = world.kube.get("PecanModel", "dalec")
    assert found is not None
    world.kube.put({**found, "spec": {**found["spec"], "suspend": False}})
    world.run_until(lambda: len(world.executed) == 30)


def test_of_workers_that_never_run_dry_those_beyond_max_replicas_go_after_their_run() -> None:
    world = with_work(with_model(scaling={"maxReplicas": 6}), runs=200)
    world.run_until(lambda: replicas(world) == 6 and all(worker.message for worker in world.workers.values()))
    found = world.kube.get("PecanModel", "dalec")
    assert found is not None
    world.kube.put({**found, "spec": {**found["spec"], "scaling": {"maxReplicas": 2}}})
    world.run_until(lambda: replicas(world) == 2, turns=8)
    world.run_until(lambda: len(world.executed) == 200)
    assert all(attempt == 1 for _, attempt in world.executed)


def test_an_evicted_pod_is_no_worker() -> None:
    world = settled(with_model(scaling={"minReplicas": 1}))
    (pod,) = world.kube.of_kind("Pod")
    world._pods = lambda: None  # type: ignore[method-assign]
    evicted = {**pod, "metadata": {**pod["metadata"], "name": "evicted"}, "status": {"phase": "Failed"}}
    world.kube.put(evicted)
    settled(world)
    assert model_status(world)["replicas"] == 1


def test_drift_by_hand_is_repaired() -> None:
    world = settled(with_model(scaling={"minReplicas": 1}))
    found = world.kube.get("Deployment", "dalec-worker")
    assert found is not None
    world.kube.put({**found, "spec": {**found["spec"], "replicas": 0}})
    settled(world)
    assert replicas(world) == 1
    world.kube.remove("Deployment", "dalec-worker")
    settled(world)
    assert replicas(world) == 1


def test_nothing_is_written_while_nothing_changes() -> None:
    world = settled(with_model(scaling={"minReplicas": 2}), turns=10)
    world.kube.writes.clear()
    for _ in range(10):
        world.enqueue(KEY, 0.0)
        world.turn()
    assert world.kube.writes == []


# --- going away -------------------------------------------------------------------------------------------------------


def test_a_deleted_model_calls_its_workers_back_and_the_workflow_says_why() -> None:
    world = with_work(with_model(), runs=40)
    world.kube.remove("PecanModel", "dalec")
    settled(world, turns=10)
    assert {"command": "release", "queue": "DALEC_ev"} in world.broker.controls
    assert world.kube.of_kind("Pod") == []
    counts = world.ledger.run_counts(next(iter(world.ledger.workflows)))
    assert (counts.queued, counts.running) == (0, 0)
    assert counts.planned > 0
    assert not world.broker.queues["DALEC_ev"]
    found = world.kube.get("PecanWorkflow", "loobos")
    assert found is not None
    (why,) = (each for each in found["status"]["conditions"] if each["type"] == "ModelReady")
    assert (why["status"], why["reason"]) == ("False", "ModelMissing")


def test_a_model_that_comes_back_goes_on() -> None:
    world = with_work(with_model(), runs=40)
    world.kube.remove("PecanModel", "dalec")
    settled(world, turns=10)
    world.kube.put(model_object())
    world.run_until(lambda: len(world.executed) == 40)
    assert {attempt for _, attempt in world.executed} == {1}


def test_a_model_replaced_under_its_name_is_another() -> None:
    world = with_work(with_model(), runs=40)
    world.kube.remove("PecanModel", "dalec")
    world.kube.put(model_object(image="registry.example/dalec:2"))
    world.run_until(lambda: len(world.executed) == 40)
    found = world.kube.get("Deployment", "dalec-worker")
    owner = world.kube.get("PecanModel", "dalec")
    assert found is not None
    assert owner is not None
    assert found["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]


def test_a_model_on_its_way_out_is_left_alone() -> None:
    world = with_model()
    found = world.kube.get("PecanModel", "dalec")
    assert found is not None
    world.kube.writes.clear()
    world.kube.put({**found, "metadata": {**found["metadata"], "deletionTimestamp": "2024-05-02T00:00:00Z"}})
    settled(world)
    assert world.kube.writes == []


def test_a_model_without_platform_can_be_deleted() -> None:
    world = with_model()
    world.installations.present.clear()
    world.kube.remove("PecanModel", "dalec")
    world.models.reconcile(KEY)


# --- what it costs, and what it tells -----------------------------------------------------------------------------------


def test_an_idle_model_that_is_looked_at_again_asks_the_api_server_nothing() -> None:
    world = settled(with_model(), turns=5)
    world.faults.calls.clear()
    for _ in range(10):
        world.enqueue(KEY, 0.0)
        world.turn()
    # A status that says the same is not sent.
    asked = {call for call in world.faults.calls if call.startswith("FakeKube")}
    assert asked <= {"FakeKube.apply_status"}


def test_a_program_that_was_deleted_is_there_again_soon() -> None:
    world = settled(with_model(), turns=5)
    world.kube.remove("ConfigMap", "dalec-worker")
    world.seconds += 31.0
    world.enqueue(KEY, 0.0)
    settled(world)
    assert world.kube.get("ConfigMap", "dalec-worker") is not None


def test_the_container_of_a_worker_that_was_killed_is_told_to_all_workers_once() -> None:
    world = with_work(with_model(), runs=20)
    world.run_until(lambda: bool(world.kube.of_kind("Pod")))
    pod = world.kube.of_kind("Pod")[0]
    killed = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2024-05-01T00:00:09Z"}
    container = {"name": "worker", "image": "i", "state": {"running": {}}, "lastState": {"terminated": killed}}
    world.kube.put({**pod, "status": {**pod["status"], "containerStatuses": [container]}})
    settled(world, turns=4)
    told = [each for each in world.broker.controls if each["command"] == "gone"]
    name = pod["metadata"]["name"]
    assert told == [{"command": "gone", "worker": name, "at": killed["finishedAt"], "reason": "OOMKilled"}]


def test_workers_that_were_missed_soon_after_they_went_stay_longer() -> None:
    world = with_model(scaling={"idleSeconds": 10, "maxReplicas": 1})

    def one_run(name: str) -> None:
        with_work(world, runs=1, name=name)
        world.run_until(lambda: (world.kube.get("PecanWorkflow", name) or {})["status"].get("finishedAt") is not None)

    def seconds_until_none() -> float:
        began = world.seconds
        world.run_until(lambda: replicas(world) == 0)
        return world.seconds - began

    one_run("first")
    assert seconds_until_none() <= 13
    settled(world, turns=5)
    one_run("second")
    assert 18 <= seconds_until_none() <= 23
    settled(world, turns=200)
    one_run("third")
    assert seconds_until_none() <= 13


def test_workers_asked_for_by_hand_were_not_missed() -> None:
    world = with_model(scaling={"idleSeconds": 10, "maxReplicas": 1})
    for _ in range(3):
        for least in (1, 0):
            found = world.kube.get("PecanModel", "dalec")
            assert found is not None
            world.kube.put({**found, "spec": {**found["spec"], "scaling": {"idleSeconds": 10, "minReplicas": least}}})
            began = world.seconds
            world.run_until(lambda: replicas(world) == least)  # noqa: B023
        assert world.seconds - began <= 13
        settled(world, turns=5)


def test_workflows_hear_of_their_model_only_what_they_show() -> None:
    world = with_model(scaling={"maxReplicas": 2})
    world.kube.put(workflow_object())
    settled(world)
    heard: list[Key] = []
    enqueue = world.enqueue
    object.__setattr__(world.context, "enqueue", lambda key, delay: heard.append(key) or enqueue(key, delay))
    world.kube.put({**(world.kube.get("PecanModel", "dalec") or {}), "status": {"phase": "?"}})
    world.models.reconcile(KEY)
    assert [key.kind for key in heard].count("PecanWorkflow") == 1
    heard.clear()
    world.broker.queues["DALEC_ev"].extend(["others"] * 5)  # type: ignore[list-item]
    world.loop.step()
    world.seconds += 1.0
    world.loop.step()
    world.models.reconcile(KEY)
    assert model_status(world)["outstanding"] >= 5
    assert [key.kind for key in heard].count("PecanWorkflow") == 0
