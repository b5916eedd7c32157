"""What a model and its workflows are told while runs go on: suspend, scale, priorities; and a broker that stays away."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import ROOT, wait
from workflow_support.journal import most_at_once
from workflow_support.manifests import MODEL, Manifest, journal_model, journal_workflow
from workflow_support.site import PLATFORM, Site, check_converged

from pecan_operator.core.platform.rabbitmq import AMQP_PORT
from pecan_operator.core.status import find

BROKER = f"{PLATFORM}-rabbitmq-0"
# Only of AMQP: without the listener of the management API too, the broker's liveness probe would have it restarted.
AMQP_LISTENERS = f"{{acceptor, _, {AMQP_PORT}}} = Ref <- maps:keys(ranch:info())"
AWAY_SECONDS = 120.0


@pytest.fixture(autouse=True)
def as_before(site: Site, model: str) -> Iterator[None]:
    """The model is afterwards as `journal_model` has it, whoever changed what."""
    yield
    site.patch("PecanModel", model, suspend=False, scaling={"minReplicas": 0})


def deployment(site: Site) -> Manifest:
    found = site.kube.read("apps/v1", "Deployment", site.namespace, f"{MODEL}-worker")
    assert found is not None
    return found


def wait_workers(site: Site, count: int, seconds: float = 90.0) -> float:
    """Seconds until so many workers are there and have said so."""

    def is_so() -> bool:
        return len(site.workers()) == count == (site.status(MODEL, "PecanModel").get("readyReplicas") or 0)

    return wait(is_so, seconds, lambda: (site.workers(), site.status(MODEL, "PecanModel")))


def pod_status(site: Site, pod: str) -> Manifest:
    found = site.kube.read("v1", "Pod", site.namespace, pod)
    assert found is not None, f"pod {pod} is gone"
    status: Manifest = found["status"]
    return status


def restarts(site: Site, pod: str) -> int:
    return sum(status["restartCount"] for status in pod_status(site, pod)["containerStatuses"])


def prepare(site: Site, *manifests: Manifest) -> list[int]:
    """Ids of workflows whose runs wait for `start`, so that when they begin is not when each happens to be prepared."""
    names = [str(manifest["metadata"]["name"]) for manifest in manifests]
    for manifest in manifests:
        site.apply({**manifest, "spec": {**manifest["spec"], "suspend": True}})
    for name in names:
        site.wait_phase(name, "Suspended")
    return [site.workflow_id(name) for name in names]


def start(site: Site, *names: str) -> None:
    for name in names:
        site.patch("PecanWorkflow", name, suspend=False)


def test_a_suspended_model_finishes_what_runs_and_goes_on_when_it_is_resumed(site: Site) -> None:
    site.apply(journal_workflow("paused", 15, {"sleep_seconds": 6}))
    workflow_id = site.workflow_id("paused")
    site.wait_executing(workflow_id, 3)
    site.patch("PecanModel", MODEL, suspend=True)
    seconds = wait(lambda: not site.workers(), 90, lambda: (site.workers(), site.runs(workflow_id)))
    print(f"MEASURED no worker {seconds:.1f} s after the model was suspended")
    assert site.status(MODEL, "PecanModel")["phase"] == "Suspended"
    executions = site.journal(workflow_id)
    assert {execution.exit_code for execution in executions} == {0}
    wait(
        lambda: {run.state for run in site.runs(workflow_id)} == {"succeeded", "planned"},
        15,
        lambda: site.runs(workflow_id),
    )
    assert [run.state for run in site.runs(workflow_id)].count("succeeded") == len(executions)
    assert site.condition("paused", "ModelReady")["reason"] == "ModelSuspended"
    time.sleep(5)
    assert site.workers() == []
    assert len(site.journal(workflow_id)) == len(executions)

    site.patch("PecanModel", MODEL, suspend=False)
    assert site.wait_finished("paused")["phase"] == "Succeeded"
    runs = site.runs(workflow_id)
    assert check_converged(runs, site.journal(workflow_id), "the model suspended and resumed") == 0
    assert [run.attempt for run in runs] == [1] * 15
    site.wait_no_messages()


def test_kubectl_scale_keeps_workers_warm_and_lets_them_go(site: Site, kubeconfig: Path) -> None:
    """Also when the number is written again and again, as an autoscaler does."""

    def scale(replicas: int) -> None:
        kubectl = [str(ROOT / ".build/bin/kubectl"), f"--kubeconfig={kubeconfig}", f"--namespace={site.namespace}"]
        done = subprocess.run(
            [*kubectl, "scale", f"pmodel/{MODEL}", f"--replicas={replicas}"],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr

    wait_workers(site, 0)
    scale(2)
    print(f"MEASURED two warm workers {wait_workers(site, 2):.1f} s after kubectl scale")
    pods, generation = sorted(site.workers()), deployment(site)["metadata"]["generation"]
    until = time.monotonic() + 20
    while time.monotonic() < until:
        scale(2)
        assert site.read("PecanModel", MODEL)["spec"]["scaling"]["minReplicas"] == 2
        assert site.status(MODEL, "PecanModel")["replicas"] == 2
        assert deployment(site)["spec"]["replicas"] == 2
        assert sorted(site.workers()) == pods
        time.sleep(1)
    assert deployment(site)["metadata"]["generation"] == generation

    begin = time.monotonic()
    scale(0)
    wait_workers(site, 0)
    seconds = time.monotonic() - begin
    print(f"MEASURED warm workers gone {seconds:.1f} s after kubectl scale to 0, idleSeconds is 10")
    assert seconds > 9


@pytest.mark.full
def test_priorities_share_the_workers(site: Site) -> None:
    """Priorities 0 and 3 are weights 1 and 4 of what is in hand, as long as both have work."""
    orders = {"sleep_seconds": 1.0}
    low_id, high_id = prepare(
        site, journal_workflow("low", 40, orders), journal_workflow("high", 40, orders, priority=3)
    )
    start(site, "low", "high")
    for name in ("high", "low"):
        assert site.wait_finished(name)["phase"] == "Succeeded"
    low, high = site.journal(low_id), site.journal(high_id)
    both = (max(low[0].began, high[0].began), min(low[-1].began, high[-1].began))
    shares = [sum(both[0] <= execution.began <= both[1] for execution in each) for each in (low, high)]
    print(f"MEASURED while both had work, {shares[0]} runs of priority 0 and {shares[1]} of priority 3 began")
    assert sum(shares) >= 30
    assert 0.05 <= shares[0] / sum(shares) <= 0.4
    assert most_at_once([*low, *high]) <= 3


@pytest.mark.full
def test_max_parallel_binds_whatever_the_priority(site: Site) -> None:
    orders = {"sleep_seconds": 1.5}
    narrow_id, wide_id = prepare(
        site,
        journal_workflow("narrow", 6, orders, priority=3, maxParallel=1),
        journal_workflow("wide", 12, orders),
    )
    start(site, "narrow", "wide")
    out: list[int] = []

    def is_over() -> bool:
        out.append(sum(run.state in ("queued", "running") for run in site.runs(narrow_id)))
        return all(site.status(name).get("finishedAt") for name in ("narrow", "wide"))

    wait(is_over, 120, lambda: (site.status("narrow"), site.status("wide")))
    narrow, wide = site.journal(narrow_id), site.journal(wide_id)
    assert max(out) == 1
    assert most_at_once(narrow) == 1
    # What one may not have is the other's.
    assert most_at_once(wide) >= 2
    for name, workflow_id in (("narrow", narrow_id), ("wide", wide_id)):
        assert check_converged(site.runs(workflow_id), site.journal(workflow_id), name) == 0


def test_a_small_workflow_does_not_wait_behind_a_large_one(site: Site) -> None:
    site.apply(journal_model(minReplicas=3))
    wait_workers(site, 3)
    orders = {"sleep_seconds": 3.0}

    alone_id, large_id, small_id = prepare(
        site,
        journal_workflow("alone", 4, orders),
        journal_workflow("large", 60, orders),
        journal_workflow("small", 4, orders),
    )

    def seconds_of(name: str, workflow_id: int) -> float:
        """From its first run published to its last recorded, by the clock of the database."""
        assert site.wait_finished(name)["phase"] == "Succeeded"
        (row,) = site.query(
            "SELECT extract(epoch FROM max(recorded_at) - min(published_at)) AS seconds"
            f" FROM pecan_operator.run WHERE workflow_id = {workflow_id}"
        )
        return float(row["seconds"])

    start(site, "alone")
    alone = seconds_of("alone", alone_id)
    start(site, "large")
    site.wait_executing(large_id, 3)
    start(site, "small")
    beside = seconds_of("small", small_id)
    last = f"(SELECT max(recorded_at) FROM pecan_operator.run WHERE workflow_id = {small_id})"
    (row,) = site.query(
        "SELECT count(*) AS runs FROM pecan_operator.run"
        f" WHERE workflow_id = {large_id} AND (recorded_at IS NULL OR recorded_at > {last})"
    )
    print(f"MEASURED 4 runs took {alone:.1f} s alone, {beside:.1f} s beside 60, of which {row['runs']} were left then")
    assert row["runs"] >= 10
    assert beside <= 3 * alone


@contextmanager
def consumer_timeout(site: Site, milliseconds: int) -> Iterator[None]:
    """The broker's default, for queues whose policy says nothing."""

    def put(value: str) -> None:
        site.broker("eval", f"application:set_env(rabbit, consumer_timeout, {value}).")

    before = site.broker("eval", "{ok, Value} = application:get_env(rabbit, consumer_timeout), Value.").strip()
    put(str(milliseconds))
    try:
        yield
    finally:
        put(before)


@pytest.mark.full
def test_a_run_longer_than_the_brokers_consumer_timeout_is_executed_once(site: Site) -> None:
    with consumer_timeout(site, 60_000):
        manifest = journal_model()
        manifest["spec"]["run"]["timeoutSeconds"] = 300
        site.apply(manifest)
        # A worker of before knows nothing of the longer limit.
        wait_workers(site, 0)
        site.apply(journal_workflow("long", 1, {"sleep_seconds": 150}))
        workflow_id = site.workflow_id("long")
        (execution,) = site.wait_executing(workflow_id)
        workers: set[str] = set()

        def is_over() -> bool:
            workers.update(site.workers())
            return site.runs(workflow_id)[0].state not in ("queued", "running")

        seconds = wait(is_over, 240, lambda: site.runs(workflow_id))
        assert seconds > 120
        assert workers == {execution.pod}
        assert restarts(site, execution.pod) == 0
        (run,) = site.runs(workflow_id)
        assert check_converged([run], site.journal(workflow_id), "a run longer than the default consumer timeout") == 0
        assert (run.attempt, run.worker) == (1, execution.pod)
    assert site.wait_finished("long")["phase"] == "Succeeded"
    site.wait_no_messages()


@contextmanager
def broker_away(site: Site) -> Iterator[None]:
    """Nobody can connect to the broker, which goes on otherwise; connections that are there are closed."""
    site.broker(
        "eval",
        f'[ranch:suspend_listener(Ref) || {AMQP_LISTENERS}], rabbit_networking:close_all_connections("test").',
    )
    try:
        yield
    finally:
        site.broker("eval", f"[ranch:resume_listener(Ref) || {AMQP_LISTENERS}].")


@pytest.mark.full
def test_a_broker_that_cannot_be_reached_changes_nothing(site: Site) -> None:
    site.apply(journal_workflow("unheard", 24, {"sleep_seconds": 5}))
    workflow_id = site.workflow_id("unheard")
    site.wait_executing(workflow_id, 3)
    wait_workers(site, 3)
    workers, broker_restarts = sorted(site.workers()), restarts(site, BROKER)

    def told() -> tuple[str, str]:
        condition = site.condition(MODEL, "ScalingActive", "PecanModel")
        return condition["status"], condition["reason"]

    def is_ready() -> bool:
        return (find(pod_status(site, BROKER), "Ready") or {}).get("status") == "True"

    with broker_away(site):
        until = time.monotonic() + AWAY_SECONDS
        seconds = wait(lambda: told() == ("False", "BrokerUnavailable"), 30, told)
        print(f"MEASURED ScalingActive says BrokerUnavailable after {seconds:.1f} s")
        while time.monotonic() < until:
            assert deployment(site)["spec"]["replicas"] == 3
            assert sorted(site.workers()) == workers
            time.sleep(5)
        assert told() == ("False", "BrokerUnavailable")
        assert site.status("unheard")["phase"] == "Running"
        assert not is_ready()
    # Clients cannot know it before the readiness probe does: until then the Service leads nowhere.
    print(f"MEASURED the broker is ready {wait(is_ready, 30, is_ready):.1f} s after it listens again")
    seconds = wait(lambda: told()[0] == "True", 10, told)
    print(f"MEASURED ScalingActive again {seconds:.1f} s after the broker is ready")
    assert restarts(site, BROKER) == broker_restarts
    assert site.wait_finished("unheard")["phase"] == "Succeeded"
    runs = site.runs(workflow_id)
    assert check_converged(runs, site.journal(workflow_id), "the broker away for two minutes") == 0
    assert [run.attempt for run in runs] == [1] * 24
    site.wait_no_messages()
