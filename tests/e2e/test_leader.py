"""Two operators: one works, and the other one goes on when that is killed or told to end. No run is counted twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from support import Release, wait
from workflow_support.manifests import journal_workflow
from workflow_support.site import Site, check_converged

pytestmark = pytest.mark.usefixtures("model", "two")

RUNS = 120
# The goals are 10 s, and 1 s when it is told to end; what it was is printed, for a busy machine is no failure.
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def two(release: Release) -> Iterator[None]:
    """Two operators, and one again afterwards."""
    release.scale(2)
    yield
    release.scale(1)


def killed_process(site: Site, release: Release, pod: str) -> float:
    return site.kill_process(pod, "pecan-operator", release.namespace)


def deleted_without_grace(site: Site, release: Release, pod: str) -> float:
    before = time.time()
    site.kill_pod(pod, release.namespace)
    return before


def told_to_end(site: Site, release: Release, pod: str) -> float:
    before = time.time()
    site.kube.delete("v1", "Pod", release.namespace, pod)
    return before


@pytest.mark.parametrize(
    "ended", [killed_process, pytest.param(deleted_without_grace, marks=pytest.mark.full), told_to_end]
)
def test_the_other_operator_goes_on_and_counts_no_run_twice(
    site: Site, release: Release, ended: Callable[[Site, Release, str], float]
) -> None:
    name = ended.__name__.replace("_", "-")
    # Both are ready before: an operator that waits for the lease is.
    release.scale(2)
    site.apply(journal_workflow(name, RUNS, {"sleep_seconds": 0.2}))
    workflow_id = site.workflow_id(name)
    site.wait_executing(workflow_id, 2)
    before, victim = release.lease(), release.leader()
    assert victim in release.pods()

    ended_at = ended(site, release, victim)

    def is_taken() -> bool:
        holder = release.lease()["holderIdentity"]
        return holder not in ("", before["holderIdentity"])

    wait(is_taken, PATIENCE_SECONDS, lambda: release.lease())
    after = release.lease()
    taken_at = datetime.fromisoformat(after["acquireTime"]).timestamp()
    print(f"MEASURED {name}: another operator has the lease after {taken_at - ended_at:.2f} s")
    assert after["leaseTransitions"] > before["leaseTransitions"]
    assert site.wait_finished(name)["phase"] == "Succeeded"
    (recorded,) = site.query(
        "SELECT extract(epoch FROM min(recorded_at))::float AS first FROM pecan_operator.run"
        f" WHERE workflow_id = {workflow_id} AND recorded_at > '{after['acquireTime']}'"
    )
    print(f"MEASURED {name}: it has recorded a run after {recorded['first'] - ended_at:.2f} s")
    runs = site.runs(workflow_id)
    assert check_converged(runs, site.journal(workflow_id), f"the leading operator: {name}") == 0
    assert [run.attempt for run in runs] == [1] * RUNS


def test_one_of_two_operators_leads_and_the_ledger_knows_which(site: Site, release: Release) -> None:
    release.scale(2)
    pods, leader = release.pods(), release.leader()
    assert len(pods) == 2
    assert leader in pods
    time.sleep(3)
    assert release.leader() == leader
    epochs = site.query("SELECT value FROM pecan_operator.setting WHERE key LIKE 'epoch of lease %'")
    assert epochs == [{"value": str(release.lease()["leaseTransitions"])}]
