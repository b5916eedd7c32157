"""Whatever is killed while a workflow runs: every run succeeds once, and no two workers are in one folder at a time.

The ledger and the journal that the job itself writes are compared; COUNTED lines are the figures.
"""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from kubernetes.client.exceptions import ApiException
from support import wait
from workflow_support.journal import Execution
from workflow_support.manifests import MODEL, journal_model, journal_workflow
from workflow_support.site import Site, check_converged

pytestmark = pytest.mark.usefixtures("model")


def test_killed_workers_cost_one_repeated_run_each(site: Site) -> None:
    """One pod deleted without grace, and one worker process killed, in the middle of their runs."""
    site.apply(journal_workflow("killed", 9, {"sleep_seconds": 3}))
    workflow_id = site.workflow_id("killed")
    victims: list[Execution] = []

    def two_are_young() -> bool:
        now = {execution.pod: execution for execution in site.wait_executing(workflow_id, 2)}
        victims[:] = list(now.values())[-2:]
        return len(victims) == 2

    wait(two_are_young, 30, lambda: site.journal(workflow_id))
    site.kill_pod(victims[0].pod)
    site.kill_worker_process(victims[1].pod)
    site.wait_finished("killed")

    runs, executions = site.runs(workflow_id), site.journal(workflow_id)
    repeated = check_converged(runs, executions, "a pod and a worker process killed")
    assert site.status("killed")["phase"] == "Succeeded"
    killed = [execution for execution in executions if execution.exit_code is None]
    assert 1 <= len(killed) <= 2
    assert repeated == len(killed)
    again = {execution.run for execution in killed}
    assert {run.run_id: run.attempt for run in runs if run.attempt > 1} == dict.fromkeys(again, 2)
    restarts = [
        status["restartCount"]
        for pod in site.pods("worker", MODEL)
        if pod["metadata"]["name"] == victims[1].pod
        for status in pod["status"]["containerStatuses"]
    ]
    assert restarts in ([], [1])


def test_the_operator_killed_in_each_phase_costs_nothing(site: Site) -> None:
    site.apply(journal_workflow("headless", 12, {"sleep_seconds": 1}))
    for phase in ("Preparing", "Running", "Analysing"):
        site.wait_phase("headless", phase)
        if phase == "Running":
            site.wait_executing(site.workflow_id("headless"))
        killed = site.kill_operator()
        seconds = site.wait_operator(killed)
        print(f"MEASURED operator killed in phase {phase}, the next one is ready after {seconds:.1f} s")
    status = site.wait_finished("headless")
    assert status["phase"] == "Succeeded"
    workflow_id = status["workflowId"]
    runs = site.runs(workflow_id)
    assert check_converged(runs, site.journal(workflow_id), "the operator killed three times") == 0
    assert [run.attempt for run in runs] == [1] * 12
    jobs = [
        job["metadata"]["name"]
        for job in site.kube.list("batch/v1", "Job", site.namespace, {"pecanproject.org/workflow": "headless"})
    ]
    assert sorted(jobs) == ["headless-analyse", "headless-prepare"]


def test_a_worker_cut_off_in_the_middle_of_a_job_goes_on_with_it(site: Site) -> None:
    """The broker gives the message to the other worker at once; that one has to leave the run alone."""
    site.apply(journal_workflow("cut", 4, {"sleep_seconds": 1, "picked_every": 4, "picked_sleep_seconds": 14}))
    workflow_id = site.workflow_id("cut")
    wait(
        lambda: (
            sorted((each.member, each.exit_code) for each in site.journal(workflow_id))
            == [(1, 0), (2, 0), (3, 0), (4, None)]
        ),
        60,
        lambda: site.journal(workflow_id),
    )
    (execution,) = site.wait_executing(workflow_id)
    cut = site.cut_connections(execution.pod)
    cut_at = time.monotonic()
    assert cut == 1
    print(f"cut {execution.pod} off {execution.until - execution.began:.1f} s after its job began")
    status = site.wait_finished("cut")
    assert status["phase"] == "Succeeded"
    runs, executions = site.runs(workflow_id), site.journal(workflow_id)
    assert check_converged(runs, executions, "a worker's connection cut in the middle of a job") == 0
    assert [run.attempt for run in runs] == [1] * 4
    assert time.monotonic() - cut_at > 3
    assert {run.run_id: run.worker for run in runs} == {each.run: each.pod for each in executions}
    site.wait_no_messages()


def test_a_broker_killed_during_the_runs_costs_nothing(site: Site) -> None:
    site.apply(journal_workflow("brokerless", 9, {"sleep_seconds": 2}))
    workflow_id = site.workflow_id("brokerless")
    site.wait_executing(workflow_id, 2)
    site.kill_pod("pecan-rabbitmq-0")
    status = site.wait_finished("brokerless", seconds=180)
    assert status["phase"] == "Succeeded"
    runs = site.runs(workflow_id)
    assert check_converged(runs, site.journal(workflow_id), "the broker killed") == 0
    assert [run.attempt for run in runs] == [1] * 9


@pytest.mark.full
def test_a_database_killed_during_the_runs_costs_nothing(site: Site) -> None:
    site.apply(journal_workflow("dataless", 9, {"sleep_seconds": 2}))
    workflow_id = site.workflow_id("dataless")
    site.wait_executing(workflow_id, 2)
    site.kill_pod("pecan-postgres-0")
    status = site.wait_finished("dataless", seconds=180)
    assert status["phase"] == "Succeeded"
    runs = site.runs(workflow_id)
    assert check_converged(runs, site.journal(workflow_id), "the database killed") == 0
    assert [run.attempt for run in runs] == [1] * 9


def test_a_busy_worker_stays_when_idle_ones_go(site: Site) -> None:
    # A changed model forgets that workers were missed by the tests before, for which idle ones would stay longer.
    site.apply(journal_model(idleSeconds=11))
    site.apply(journal_workflow("busy", 6, {"picked_every": 5, "picked_sleep_seconds": 35}))
    workflow_id = site.workflow_id("busy")
    (execution,) = site.wait_executing(workflow_id)
    assert wait(lambda: len(site.workers()) == 3, 20, lambda: site.workers()) < 20
    seconds = wait(lambda: site.workers() == [execution.pod], 40, lambda: site.workers())
    print(f"MEASURED idle workers gone after {seconds:.1f} s, the busy one stays")
    assert [run.state for run in site.runs(workflow_id)].count("running") == 1
    status = site.wait_finished("busy")
    assert status["phase"] == "Succeeded"
    runs = site.runs(workflow_id)
    assert check_converged(runs, site.journal(workflow_id), "scaled down around a busy worker") == 0
    assert [run.attempt for run in runs] == [1] * 6


@pytest.mark.full
def test_a_model_deleted_and_applied_again_loses_no_run(site: Site) -> None:
    site.apply(journal_workflow("orphaned", 8, {"sleep_seconds": 4}))
    workflow_id = site.workflow_id("orphaned")
    site.wait_executing(workflow_id, 2)
    site.delete("PecanModel", MODEL)
    seconds = wait(
        lambda: site.condition("orphaned", "ModelReady")["reason"] == "ModelMissing",
        10,
        lambda: site.status("orphaned"),
    )
    print(f"MEASURED ModelMissing after {seconds:.1f} s")
    assert MODEL in site.condition("orphaned", "ModelReady")["message"]
    seconds = wait(lambda: not site.workers(), 30, lambda: site.workers())
    print(f"MEASURED workers gone {seconds:.1f} s later")
    wait(
        lambda: not [run for run in site.runs(workflow_id) if run.state == "running"],
        30,
        lambda: site.runs(workflow_id),
    )
    assert site.status("orphaned")["phase"] == "Running"
    site.apply(journal_model())
    begin = time.monotonic()
    site.wait_executing(workflow_id)
    print(f"MEASURED the first run {time.monotonic() - begin:.1f} s after the model was applied again")
    assert site.wait_finished("orphaned")["phase"] == "Succeeded"
    runs, executions = site.runs(workflow_id), site.journal(workflow_id)
    check_converged(runs, executions, "the model deleted and applied again")
    assert [run.attempt for run in runs] == [1] * 8
    assert {execution.exit_code for execution in executions} <= {0, 143}
    site.wait_no_messages()


@pytest.mark.full
def test_killed_jobs_of_a_workflow_are_repeated(site: Site) -> None:
    site.apply(journal_workflow("repeated", 6, {}))
    for phase, component in (("Preparing", "prepare"), ("Analysing", "analyse")):
        site.wait_phase("repeated", phase)
        wait(lambda: site.pods(component, "repeated", "PecanWorkflow"), 10, lambda: f"no pod {component}")  # noqa: B023
        time.sleep(1)
        site.kill_pod(site.pods(component, "repeated", "PecanWorkflow")[0]["metadata"]["name"])
    status = site.wait_finished("repeated")
    assert status["phase"] == "Succeeded"
    workflow_id = status["workflowId"]
    assert check_converged(site.runs(workflow_id), site.journal(workflow_id), "both Jobs killed") == 0
    found = site.query(
        f"SELECT count(*) AS runs FROM runs JOIN ensembles ON ensembles.id = ensemble_id WHERE workflow_id = {workflow_id}"
    )
    assert found == [{"runs": 6}]


@pytest.mark.full
def test_a_broker_that_lost_its_data_costs_nothing(site: Site) -> None:
    site.apply(journal_workflow("forgotten", 12, {"sleep_seconds": 3}))
    workflow_id = site.workflow_id("forgotten")
    site.wait_executing(workflow_id, 3)
    site.run("pecan-rabbitmq-0", "sh", "-c", "rm -rf /var/lib/rabbitmq/*")
    site.kill_pod("pecan-rabbitmq-0")
    assert site.wait_finished("forgotten", seconds=240)["phase"] == "Succeeded"
    runs = site.runs(workflow_id)
    assert check_converged(runs, site.journal(workflow_id), "the broker killed and its data lost") == 0
    assert [run.attempt for run in runs] == [1] * 12
    site.wait_no_messages()


@pytest.mark.full
def test_a_storm_of_kills_costs_a_repeated_run_for_each_killed_worker_at_most(site: Site) -> None:
    site.apply(journal_workflow("storm", 60, {"sleep_seconds": 3}, retry={"maxAttempts": 20}))
    workflow_id = site.workflow_id("storm")
    site.wait_executing(workflow_id, 2)
    wait(lambda: site.status("storm")["phase"] == "Running", 30, lambda: site.status("storm"))
    dice = random.Random(1)
    killed: Counter[str] = Counter()
    while site.status("storm")["phase"] == "Running" and killed.total() < 14:
        what = dice.choice(["operator", "worker", "worker", "connection", "connection", "broker", "database"])
        victims = [
            pod["metadata"]["name"] for pod in site.pods("worker", MODEL) if pod["status"].get("phase") == "Running"
        ]
        try:
            if what == "operator":
                site.kill_operator()
            elif what == "worker" and victims:
                site.kill_pod(dice.choice(victims))
            elif what == "connection" and victims:
                site.cut_connections(dice.choice(victims))
            elif what == "broker":
                site.kill_pod("pecan-rabbitmq-0")
            elif what == "database":
                site.kill_pod("pecan-postgres-0")
            killed[what] += 1
        except (AssertionError, ApiException) as error:
            print(f"could not kill a {what}: {str(error)[:200]}")
        time.sleep(dice.uniform(0.5, 6))
    assert site.wait_finished("storm", seconds=400)["phase"] == "Succeeded"
    repeated = check_converged(site.runs(workflow_id), site.journal(workflow_id), f"a storm of kills {dict(killed)}")
    assert killed.total() >= 5
    assert repeated <= killed["worker"]
