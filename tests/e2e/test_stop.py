"""Workflows that do not simply run through: failing members, cancel, suspend, deadlines, limits, deletion."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from support import wait
from workflow_support.journal import by_run, most_at_once, overlaps
from workflow_support.manifests import Manifest, journal_workflow
from workflow_support.site import Run, Site, check_converged

pytestmark = pytest.mark.usefixtures("model")

STOP_SECONDS = 5.0
# A look at the journal and at the ledger takes the test itself a moment.
LOOK_SECONDS = 1.5


def states(runs: list[Run]) -> dict[str, int]:
    return dict(Counter(run.state for run in runs))


def check_counts(site: Site, name: str) -> Manifest:
    """The status counts what the ledger has; returns it."""
    status = site.status(name)
    counted = {state: count for state, count in status["runs"].items() if count and state != "total"}
    assert counted == states(site.runs(status["workflowId"]))
    return status


def test_failing_runs_are_tried_again_and_given_up(site: Site) -> None:
    """Exit 1 is tried again, exit 65 never, and the workflow goes on without them unless it is to stop on errors."""
    failing = {"picked_every": 3}
    site.apply(journal_workflow("failing", 6, {**failing, "picked_exit_code": 1}))
    site.apply(journal_workflow("dying", 6, {**failing, "picked_exit_code": 137}, retry={"maxAttempts": 2}))
    site.apply(journal_workflow("refusing", 6, {**failing, "picked_exit_code": 65}))
    site.apply(journal_workflow("recovering", 6, {**failing, "picked_exit_code": 1, "picked_attempts": 2}))
    site.apply(
        journal_workflow("strict", 8, {"sleep_seconds": 6, "picked_every": 2, "picked_exit_code": 65}, stopOnError=True)
    )
    expected = {"failing": (3, "exit code 1"), "dying": (2, "killed by SIGKILL"), "refusing": (1, "exit code 65")}
    for name, (attempts, reason) in expected.items():
        assert site.wait_finished(name)["phase"] == "Succeeded"
        status = check_counts(site, name)
        runs, executions = site.runs(status["workflowId"]), site.journal(status["workflowId"])
        assert states(runs) == {"succeeded": 4, "failed": 2}
        given_up = [run for run in runs if run.state == "failed"]
        assert {run.member for run in given_up} == {3, 6}
        assert {run.attempt for run in given_up} == {attempts}
        assert {run: len(of_run) for run, of_run in by_run(executions).items()} == {
            run.run_id: run.attempt for run in runs
        }
        assert overlaps(executions) == []
        condition = site.condition(name, "AllRunsSucceeded")
        assert (condition["status"], condition["message"][:4]) == ("False", "4/6;")
        assert all(reason in str(run.last_error) for run in given_up)
        # Of several that failed in the same way the first is named.
        assert f"run {given_up[0].run_id} (attempt {attempts}): {given_up[0].last_error}" in condition["message"]
        results = status["results"]
        assert (results["runs"], results["used"]) == (6, 4)

    status = site.wait_finished("recovering")
    runs = site.runs(status["workflowId"])
    repeated = check_converged(runs, site.journal(status["workflowId"]), "two runs that fail twice")
    assert (status["phase"], repeated) == ("Succeeded", 4)
    assert {run.member: run.attempt for run in runs} == {1: 1, 2: 1, 3: 3, 4: 1, 5: 1, 6: 3}

    assert site.wait_finished("strict")["phase"] == "Failed"
    status = check_counts(site, "strict")
    runs = site.runs(status["workflowId"])
    assert status["runs"]["failed"] >= 1
    assert status["runs"]["cancelled"] >= 4
    message = site.condition("strict", "Ready")["message"]
    assert message.startswith("a run failed and stopOnError is true")
    assert "exit code 65" in message
    begun = {execution.run for execution in site.journal(status["workflowId"])}
    assert len(begun) < len(runs)


def test_failed_runs_are_run_again_when_they_are_asked_to(site: Site) -> None:
    """Of a workflow that succeeded without them; of one that stopped on an error, with those it called back; and none
    of one that was cancelled."""
    failing = {"picked_exit_code": 65, "picked_attempts": 1}
    site.apply(journal_workflow("retried", 6, {**failing, "picked_every": 3}, retry={"maxAttempts": 1}))
    site.apply(journal_workflow("resumed", 8, {**failing, "picked_every": 2, "sleep_seconds": 4}, stopOnError=True))
    site.apply(journal_workflow("called-off", 2, {}, cancel=True))
    names = ("retried", "resumed", "called-off")
    assert [site.wait_finished(name)["phase"] for name in names] == ["Succeeded", "Failed", "Cancelled"]
    first = check_counts(site, "retried")
    assert states(site.runs(first["workflowId"])) == {"succeeded": 4, "failed": 2}
    assert first["results"]["used"] == 4
    stopped = check_counts(site, "resumed")
    assert stopped["runs"]["cancelled"] >= 1

    for name in names:
        site.patch("PecanWorkflow", name, retryGeneration=1)
    for name, reason in zip(names, ("Retried", "Retried", "WorkflowCancelled"), strict=True):
        seconds = wait(
            lambda: site.condition(name, "Retried")["reason"] == reason,  # noqa: B023
            30,
            lambda: site.status(name),  # noqa: B023
        )
        print(f"MEASURED {name}: {reason} after {seconds:.1f} s")
    assert site.status("called-off")["phase"] == "Cancelled"
    for name in ("retried", "resumed"):
        assert site.wait_finished(name)["phase"] == "Succeeded"
        assert site.condition(name, "AllRunsSucceeded")["status"] == "True"

    again = check_counts(site, "retried")
    runs, executions = site.runs(again["workflowId"]), site.journal(again["workflowId"])
    assert check_converged(runs, executions, "two failed runs run again") == 2
    assert {run.member: run.attempt for run in runs} == {1: 1, 2: 1, 3: 2, 4: 1, 5: 1, 6: 2}
    assert again["results"]["used"] == 6
    assert again["finishedAt"] > first["finishedAt"]
    members = site.sh(f"cat {again['folder']}/ensemble.members.*.csv")
    assert members.count(",yes,") == 6

    resumed = check_counts(site, "resumed")
    runs, executions = site.runs(resumed["workflowId"]), site.journal(resumed["workflowId"])
    check_converged(runs, executions, "stopped on an error and run again")
    done = {execution.run: execution.attempt for execution in executions if execution.exit_code == 0}
    assert {run.run_id: run.attempt for run in runs} == done
    assert max(run.attempt for run in runs) == 2
    site.wait_no_messages()


def test_cancel_stops_what_runs_and_starts_nothing_more(site: Site) -> None:
    site.apply(journal_workflow("cancelled", 12, {"sleep_seconds": 60}))
    workflow_id = site.workflow_id("cancelled")
    site.wait_executing(workflow_id, 3)
    site.patch("PecanWorkflow", "cancelled", cancel=True)
    seconds = wait(
        lambda: all(execution.exit_code is not None for execution in site.journal(workflow_id)),
        STOP_SECONDS + LOOK_SECONDS,
        lambda: site.journal(workflow_id),
    )
    print(f"MEASURED running jobs stopped {seconds:.1f} s after cancel")
    assert site.wait_finished("cancelled", seconds=15)["phase"] == "Cancelled"
    status = check_counts(site, "cancelled")
    assert states(site.runs(workflow_id)) == {"cancelled": 12}
    executions = site.journal(workflow_id)
    assert [execution.exit_code for execution in executions] == [143] * 3
    assert site.condition("cancelled", "Ready")["message"] == "cancelled by spec.cancel"
    assert status["runs"]["total"] == 12
    site.wait_no_messages()

    begin = time.monotonic()
    site.apply(journal_workflow("next", 3, {}))
    assert site.wait_finished("next")["phase"] == "Succeeded"
    print(f"MEASURED the next workflow took {time.monotonic() - begin:.1f} s")
    assert {execution.exit_code for execution in site.journal(workflow_id)} == {143}
    assert len(site.journal(workflow_id)) == 3


@pytest.mark.parametrize("phase", ["Preparing", "Analysing"])
def test_cancel_outside_the_runs(site: Site, phase: str) -> None:
    name = f"cancelled-{phase.lower()}"
    site.apply(journal_workflow(name, 4, {}))
    site.wait_phase(name, phase)
    site.patch("PecanWorkflow", name, cancel=True)
    assert site.wait_finished(name, seconds=10)["phase"] == "Cancelled"
    component = {"Preparing": "prepare", "Analysing": "analyse"}[phase]
    wait(
        lambda: not site.pods(component, name, "PecanWorkflow"), 40, lambda: site.pods(component, name, "PecanWorkflow")
    )
    runs = site.runs(site.status(name)["workflowId"])
    assert set(states(runs)) <= {"cancelled"} if phase == "Preparing" else states(runs) == {"succeeded": 4}
    assert site.status(name)["phase"] == "Cancelled"


def test_suspend_limits_and_deadline(site: Site) -> None:
    """Two at a time, a break in the middle; and beside it a workflow that does not make it in time."""
    site.apply(journal_workflow("late", 4, {"sleep_seconds": 60}, maxParallel=1, deadlineSeconds=20))
    site.apply(journal_workflow("paced", 8, {"sleep_seconds": 2}, maxParallel=2))
    workflow_id = site.workflow_id("paced")
    site.wait_executing(workflow_id, 2)
    site.patch("PecanWorkflow", "paced", suspend=True)
    site.wait_phase("paced", "Suspended", seconds=STOP_SECONDS)
    wait(
        lambda: set(states(site.runs(workflow_id))) <= {"planned", "succeeded"},
        15,
        lambda: site.runs(workflow_id),
    )
    begun = len(site.journal(workflow_id))
    assert begun < 8
    time.sleep(3)
    assert len(site.journal(workflow_id)) == begun
    assert site.condition("paced", "Ready")["reason"] == "Suspended"
    site.patch("PecanWorkflow", "paced", suspend=False)

    assert site.wait_finished("late")["phase"] == "Failed"
    status = check_counts(site, "late")
    assert status["runs"]["cancelled"] == 4
    assert site.condition("late", "Ready")["message"] == "deadlineSeconds is over (20 s)"
    (late,) = site.journal(status["workflowId"])
    assert late.exit_code == 143
    assert late.until - late.began < 20 + STOP_SECONDS

    assert site.wait_finished("paced")["phase"] == "Succeeded"
    executions = site.journal(workflow_id)
    assert check_converged(site.runs(workflow_id), executions, "suspended and resumed") == 0
    assert most_at_once(executions) == 2


@pytest.mark.parametrize("phase", ["Preparing", "Running", "Analysing"])
def test_a_deleted_workflow_leaves_only_its_folder(site: Site, phase: str) -> None:
    name = f"deleted-{phase.lower()}"
    site.apply(journal_workflow(name, 6, {"sleep_seconds": 60 if phase == "Running" else 0}))
    workflow_id = site.workflow_id(name)
    site.wait_phase(name, phase)
    folder = f"/data/workflows/PEcAn_{workflow_id}"
    wait(lambda: site.exists(folder), 20, lambda: f"{folder} is not there")
    if phase == "Running":
        site.wait_executing(workflow_id, 3)
    site.delete("PecanWorkflow", name)
    check_put_away(site, name, workflow_id)
    executions = site.journal(workflow_id)
    assert all(execution.exit_code is not None for execution in executions)
    expected = {"Preparing": (0, None), "Running": (3, 143), "Analysing": (6, 0)}[phase]
    assert (len(executions), next(iter({execution.exit_code for execution in executions}), None)) == expected
    site.wait_no_messages()
    assert site.exists(folder)


@pytest.mark.parametrize("phase", ["Preparing", "Running"])
def test_a_folder_goes_with_its_workflow_if_it_asks_for_it(site: Site, phase: str) -> None:
    """Also when the operator does not see the deletion, because it is killed just before."""
    name = f"swept-{phase.lower()}"
    site.apply(journal_workflow(name, 6, {"sleep_seconds": 60}, folderPolicy="Delete"))
    workflow_id = site.workflow_id(name)
    site.wait_phase(name, phase)
    folder = f"/data/workflows/PEcAn_{workflow_id}"
    wait(lambda: site.exists(folder), 20, lambda: f"{folder} is not there")
    if phase == "Running":
        site.wait_executing(workflow_id, 3)
        site.kill_operator()
    site.delete("PecanWorkflow", name)
    check_put_away(site, name, workflow_id)
    seconds = wait(lambda: not site.exists(folder), 30, lambda: site.sh(f"find {folder} | head"))
    print(f"MEASURED folder gone after {seconds:.1f} s")
    time.sleep(3)
    assert not site.exists(folder)
    assert all(execution.exit_code == 143 for execution in site.journal(workflow_id))


def check_put_away(site: Site, name: str, workflow_id: int) -> None:
    """Nothing runs, nothing is queued, no Job is left, and both databases say that it is over."""

    def is_over() -> bool:
        (row,) = site.query(
            "SELECT workflow.outcome, workflows.finished_at FROM pecan_operator.workflow"
            f" JOIN workflows ON workflows.id = workflow_id WHERE workflow_id = {workflow_id}"
        )
        return row["outcome"] == "Cancelled" and row["finished_at"] is not None

    seconds = wait(is_over, 30, lambda: (site.runs(workflow_id), site.query("SELECT * FROM pecan_operator.workflow")))
    print(f"MEASURED {name} put away after {seconds:.1f} s")
    assert not {"planned", "queued", "running"} & set(states(site.runs(workflow_id)))

    def left() -> list[str]:
        return [
            str(pod["metadata"]["name"])
            for component in ("prepare", "analyse")
            for pod in site.pods(component, name, "PecanWorkflow")
        ]

    seconds = wait(lambda: not left(), 40, left)
    print(f"MEASURED no pod of {name} {seconds:.1f} s later")
    assert not {"planned", "queued", "running"} & set(states(site.runs(workflow_id)))


def test_a_workflow_without_its_model_says_so_and_goes_on_with_it(site: Site) -> None:
    site.apply(journal_workflow("early", 2, {}, modelRef={"name": "none"}))
    seconds = wait(
        lambda: site.condition("early", "Ready")["reason"] == "ModelMissing", 5, lambda: site.status("early")
    )
    print(f"MEASURED ModelMissing after {seconds:.1f} s")
    assert "PecanModel none" in site.condition("early", "Ready")["message"]
    assert "workflowId" not in site.status("early")
