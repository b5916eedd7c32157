"""Workers follow the work: up at once, down by those that are idle, never by one that is busy; what kills them is given up.

MEASURED and COUNTED lines are the figures; no time is asserted but such as a user would call broken.
"""

from __future__ import annotations

import json
import random
import time
from itertools import groupby, pairwise

import pytest
from support import sampled, wait
from workflow_support.journal import by_run, overlaps
from workflow_support.manifests import MODEL, QUEUE, journal_workflow
from workflow_support.site import Site, check_converged

pytestmark = pytest.mark.usefixtures("model")

WORKER_DEPLOYMENT = f"{MODEL}-worker"


def replicas(site: Site) -> int:
    deployment = site.kube.read("apps/v1", "Deployment", site.namespace, WORKER_DEPLOYMENT) or {}
    return int(deployment.get("spec", {}).get("replicas", -1))


def publish_by_others(site: Site, folders: list[str]) -> None:
    """As PEcAn's own programs do: a message with nothing but the folder, by the management API."""
    for folder in folders:
        body = json.dumps({"folder": folder})
        message = {
            "properties": {"delivery_mode": 2},
            "routing_key": QUEUE,
            "payload": body,
            "payload_encoding": "string",
        }
        site.publish(message)


def test_work_that_others_publish_gets_workers_and_is_done(site: Site) -> None:
    wait(lambda: replicas(site) == 0, 90, lambda: replicas(site))
    folders = [f"/data/journal/others/run/{number}" for number in range(6)]
    script = "; ".join(
        f"mkdir -p {folder} && printf '#!/bin/sh\\nsleep 1\\n' > {folder}/job.sh && chmod +x {folder}/job.sh"
        for folder in folders
    )
    site.sh(script)
    began = time.monotonic()
    publish_by_others(site, folders)
    asked = wait(lambda: replicas(site) == 3, 5, lambda: replicas(site))
    print(f"MEASURED 3 workers asked for {asked:.2f} s after 6 messages of others were published")
    wait(
        lambda: all(site.exists(f"{folder}/rabbitmq.out") for folder in folders),
        60,
        lambda: site.sh("ls /data/journal/others/run/*"),
    )
    print(f"MEASURED all done after {time.monotonic() - began:.1f} s")
    assert {site.sh(f"tail -n 1 {folder}/rabbitmq.out").strip() for folder in folders} == {"OK"}
    gone = wait(lambda: replicas(site) == 0, 60, lambda: replicas(site))
    print(f"MEASURED no worker {gone:.1f} s after that")


def test_a_job_that_kills_its_worker_is_given_up_and_the_others_go_on(site: Site) -> None:
    """The ledger counts the attempts, however often the broker delivers; containers are started again by Kubernetes."""
    site.apply(journal_workflow("poison", 30, {"sleep_seconds": 0.5, "picked_every": 30, "picked_kills_worker": 1}))
    status = site.wait_finished("poison", seconds=240)
    assert status["phase"] == "Succeeded"
    runs, executions = site.runs(status["workflowId"]), site.journal(status["workflowId"])
    (poison,) = [run for run in runs if run.state == "failed"]
    assert (poison.member, poison.attempt) == (30, 3)
    assert "137" in str(poison.last_error)
    of_run = by_run(executions)
    assert len(of_run[poison.run_id]) == 3
    assert overlaps(executions) == []
    # The claim of a killed container's worker is known to be dead: nobody waits until it has stood still for 15 s.
    attempts = of_run[poison.run_id]
    waits = [after.began - before.until for before, after in pairwise(attempts)]
    print(f"MEASURED seconds from a killed worker to the next attempt: {', '.join(f'{each:.1f}' for each in waits)}")
    others = [run for run in runs if run is not poison]
    assert {(run.state, run.attempt) for run in others} == {("succeeded", 1)}
    assert all(len(of_run[run.run_id]) == 1 for run in others)
    assert poison.run_id in site.condition("poison", "AllRunsSucceeded")["message"]


def test_a_job_that_takes_too_much_memory_is_given_up_as_such(site: Site) -> None:
    orders = {"sleep_seconds": 0.2, "picked_every": 6, "picked_memory_mib": 600}
    site.apply(journal_workflow("greedy", 6, orders, retry={"maxAttempts": 2}))
    status = site.wait_finished("greedy", seconds=240)
    assert status["phase"] == "Succeeded"
    runs = site.runs(status["workflowId"])
    (greedy,) = [run for run in runs if run.state == "failed"]
    assert (greedy.member, greedy.attempt) == (6, 2)
    assert "OOMKilled" in str(greedy.last_error)
    assert "OOMKilled" in site.condition("greedy", "AllRunsSucceeded")["message"]
    assert {run.attempt for run in runs if run is not greedy} == {1}


@pytest.mark.full
def test_a_trickle_does_not_make_workers_come_and_go(site: Site) -> None:
    """A run each 20 s with idleSeconds 10: the pause ends the worker once, then it stays."""
    wait(lambda: replicas(site) == 0, 90, lambda: replicas(site))
    with sampled(lambda: replicas(site), 0.2) as looked:
        for number in range(6):
            began = time.monotonic()
            site.apply(journal_workflow(f"drop-{number}", 1, {"sleep_seconds": 0.5}))
            site.wait_finished(f"drop-{number}")
            time.sleep(max(0.0, 20.0 - (time.monotonic() - began)))
    seen = [value for value, _ in groupby(looked)]
    print(f"COUNTED replicas while six runs trickled in: {seen}")
    assert len(seen) - 1 <= 3
    wait(lambda: replicas(site) == 0, 60, lambda: replicas(site))


@pytest.mark.full
def test_no_busy_worker_is_ended_by_scaling(site: Site) -> None:
    """Again and again the workers of a long stream of short runs run dry, five of six are to go, and at that moment, a
    little sooner or later, there is work again: 50 workers are ended, and no run notices."""
    # No more in the queue than there are workers: they run dry as soon as nothing more is published.
    stream = journal_workflow("stream", 1500, {"sleep_seconds": 0.3}, retry={"maxAttempts": 1}, maxParallel=6)
    site.apply(stream)
    workflow_id = site.workflow_id("stream")
    site.wait_executing(workflow_id, seconds=120)
    dice = random.Random(1)
    ended: set[str] = set()
    known: set[str] = set()

    def look(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pods = set(site.workers())
            ended.update(known - pods)
            known.update(pods)
            time.sleep(0.3)

    def set_most(workers: int) -> None:
        site.patch("PecanModel", MODEL, scaling={"minReplicas": 0, "maxReplicas": workers})

    began = time.monotonic()
    while len(ended) < 50 and time.monotonic() - began < 300 and site.status("stream")["phase"] != "Analysing":
        set_most(6)
        look(5.0)
        site.patch("PecanWorkflow", "stream", suspend=True)
        time.sleep(0.4)
        set_most(1)
        time.sleep(dice.uniform(0.0, 1.0))
        site.patch("PecanWorkflow", "stream", suspend=False)
        look(2.5)
    set_most(6)
    assert site.wait_finished("stream", seconds=600)["phase"] == "Succeeded"
    runs, executions = site.runs(workflow_id), site.journal(workflow_id)
    assert check_converged(runs, executions, f"{len(ended)} workers ended by scaling") == 0
    assert len(ended) >= 50
