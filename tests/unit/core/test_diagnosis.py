from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.core.diagnosis import (
    MESSAGE_MAX,
    Diagnosis,
    Ending,
    container_ending,
    diagnose,
    diagnose_job,
    last_line,
)

WARNING = {"type": "Warning", "lastTimestamp": "2026-01-01T00:00:00Z"}


def pod(
    name: str = "p-0", *, containers: Any = (), init: Any = (), phase: str = "Pending", **more: Any
) -> dict[str, Any]:
    status = {"phase": phase, "containerStatuses": list(containers), "initContainerStatuses": list(init)}
    names = [status["name"] for status in (*containers, *init)]
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", **more.pop("metadata", {})},
        "spec": {"containers": [{"name": name, "image": "registry/image:1"} for name in names]},
        "status": {**status, **more},
    }


def container(state: Any = None, *, last: Any = None, ready: bool = False, name: str = "c") -> dict[str, Any]:
    return {"name": name, "image": "sha256:abc", "ready": ready, "state": state or {}, "lastState": last or {}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "message": message, "reason": reason}}


RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
READY = [{"type": "Ready", "status": "True"}]
CRASHED = ended(1, "starting\ncannot open /data/x\n\n")

PODS = {
    "nothing yet": (pod(), None),
    "starting": (pod(containers=[container(waiting("ContainerCreating"))]), None),
    "init running": (pod(init=[container(RUNNING)], containers=[container(waiting("PodInitializing"))]), None),
    "running, not ready yet": (pod(phase="Running", containers=[container(RUNNING)]), None),
    "ready": (pod(phase="Running", conditions=READY, containers=[container(RUNNING, last=CRASHED, ready=True)]), None),
    "succeeded": (pod(phase="Succeeded", containers=[container(ended(0, reason="Completed"))]), None),
    "image": (
        pod(containers=[container(waiting("ErrImagePull", "not found"))]),
        Diagnosis("ImageCannotBePulled", "image registry/image:1 cannot be pulled: not found"),
    ),
    "image, backing off": (
        pod(containers=[container(waiting("ImagePullBackOff", "back-off"))]),
        Diagnosis("ImageCannotBePulled", "image registry/image:1 cannot be pulled: back-off"),
    ),
    "image of an init container": (
        pod(
            init=[container(waiting("InvalidImageName"))], containers=[container(waiting("PodInitializing"), name="d")]
        ),
        Diagnosis("ImageCannotBePulled", "image registry/image:1 cannot be pulled: InvalidImageName"),
    ),
    "secret missing": (
        pod(containers=[container(waiting("CreateContainerConfigError", 'secret "x" not found'))]),
        Diagnosis("ContainerCannotStart", 'container c cannot start: secret "x" not found'),
    ),
    "crash loop": (
        pod(phase="Running", containers=[container(waiting("CrashLoopBackOff"), last=CRASHED)]),
        Diagnosis("Crashing", "container c ended with exit code 1: cannot open /data/x"),
    ),
    "between two crashes": (
        pod(phase="Running", containers=[container(RUNNING, last=CRASHED)]),
        Diagnosis("Crashing", "container c ended with exit code 1: cannot open /data/x"),
    ),
    "ends well again and again": (
        pod(phase="Running", containers=[container(waiting("CrashLoopBackOff"), last=ended(0))]),
        Diagnosis("Crashing", "container c ended with exit code 0"),
    ),
    "memory": (
        pod(phase="Running", containers=[container(waiting("CrashLoopBackOff"), last=ended(137, reason="OOMKilled"))]),
        Diagnosis("OutOfMemory", "container c used more memory than its limit and was killed"),
    ),
    "password": (
        pod(phase="Failed", containers=[container(ended(1, 'FATAL:  password authentication failed for user "bety"'))]),
        Diagnosis(
            "PasswordRefused",
            'container c ended with exit code 1: FATAL:  password authentication failed for user "bety"',
        ),
    ),
    "disk": (
        pod(phase="Running", containers=[container(ended(1, "PANIC: write: No space left on device"))]),
        Diagnosis("VolumeFull", "container c ended with exit code 1: PANIC: write: No space left on device"),
    ),
    "unschedulable": (
        pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: insufficient cpu"}]),
        Diagnosis("Unschedulable", "no node takes pod p-0: 0/1 nodes: insufficient cpu"),
    ),
    "ended, for good": (
        pod(phase="Failed", containers=[container(CRASHED)]),
        Diagnosis("Failed", "container c ended with exit code 1: cannot open /data/x"),
    ),
    "evicted": (
        pod(phase="Failed", reason="Evicted", message="low on memory"),
        Diagnosis("Evicted", "pod p-0: low on memory"),
    ),
    "on its way out": (
        pod(metadata={"deletionTimestamp": "now"}, containers=[container(waiting("ErrImagePull"))]),
        None,
    ),
}


@pytest.mark.parametrize("case", PODS)
def test_pods(case):
    given_pod, found = PODS[case]
    assert diagnose([given_pod]) == found


def claim(phase: str = "Pending", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p-data", "uid": "uid-claim", **metadata},
        "spec": {"storageClassName": "nfs", "accessModes": ["ReadWriteMany"]},
        "status": {"phase": phase},
    }


def event(uid: str, reason: str, message: str, at: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {"involvedObject": {"uid": uid}, "reason": reason, "message": message, "lastTimestamp": at}


def test_an_unbound_claim_hides_what_follows_from_it():
    unschedulable = PODS["unschedulable"][0]
    found = diagnose([unschedulable], [claim()])
    assert found == Diagnosis(
        "VolumeUnbound", "volume claim p-data (storage class nfs, ReadWriteMany) has no volume yet"
    )
    assert diagnose([unschedulable], [claim("Bound")]).reason == "Unschedulable"


def test_the_newest_word_of_the_provisioner_is_told_and_no_other_objects():
    events = [
        event("uid-claim", "ProvisioningFailed", "first", "2026-01-01T00:00:00Z"),
        event("uid-claim", "ProvisioningFailed", "no RWX here", "2026-01-01T00:01:00Z"),
        event("uid-claim", "WaitForFirstConsumer", "waiting", "2026-01-01T00:02:00Z"),
        event("uid-other", "ProvisioningFailed", "of a namesake", "2026-01-01T00:03:00Z"),
    ]
    assert diagnose([], [claim()], events).message.endswith("has no volume yet: no RWX here")


@pytest.mark.parametrize(
    ("given_claim", "reason"),
    [
        (claim("Lost"), "VolumeLost"),
        (claim("Bound", deletionTimestamp="now"), "VolumeTerminating"),
        (claim("Bound"), None),
    ],
)
def test_claims(given_claim, reason):
    found = diagnose([], [given_claim])
    assert (found.reason if found else None) == reason


def test_a_claim_without_class_names_the_default():
    unnamed = claim()
    del unnamed["spec"]["storageClassName"]
    assert "the default storage class" in diagnose([], [unnamed]).message


def test_a_volume_that_cannot_be_mounted():
    stuck = pod(containers=[container(waiting("ContainerCreating"))])
    found = diagnose([stuck], events=[event("uid-p-0", "FailedMount", "mount.nfs: access denied")])
    assert found == Diagnosis("PodCannotStart", "pod p-0 cannot start: mount.nfs: access denied")


WORKLOAD = {"metadata": {"name": "p-worker", "uid": "uid-workload"}}


def test_pods_that_are_refused():
    refused = Diagnosis("PodsRefused", "no pod can be made for p-worker: violates PodSecurity")
    events = [event("uid-workload", "FailedCreate", "violates PodSecurity")]
    assert diagnose([], [], events, WORKLOAD) == refused
    failure = {"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}
    assert diagnose([], [], [], {**WORKLOAD, "status": {"conditions": [failure]}}) == refused
    assert diagnose([], [], [], WORKLOAD) is None
    assert diagnose([pod()], [], events, WORKLOAD) is None


JOB = {"metadata": {"name": "p-database", "uid": "uid-job"}}
OWNED = {"ownerReferences": [{"uid": "uid-job"}]}


def job_with(condition: str, **more: str) -> dict[str, Any]:
    return {**JOB, "status": {"conditions": [{"type": condition, "status": "True", **more}]}}


def failed_pod(name: str, created: str, message: str, owner: Any = OWNED) -> dict[str, Any]:
    metadata = {"creationTimestamp": created, **owner}
    return pod(name, phase="Failed", containers=[container(ended(1, message))], metadata=metadata)


def test_a_job_tells_how_its_last_pod_ended_while_it_is_tried_again():
    pods = [
        failed_pod("a", "2026-01-01T00:02:00Z", "second"),
        failed_pod("b", "2026-01-01T00:01:00Z", "first"),
        failed_pod("c", "2026-01-01T00:03:00Z", "of another Job", {"ownerReferences": [{"uid": "other"}]}),
        pod("d", metadata=OWNED, containers=[container(waiting("ContainerCreating"))]),
    ]
    assert diagnose_job(JOB, pods).message == "container c ended with exit code 1: second"


def test_a_job_that_failed_without_pods():
    failed = job_with("Failed", reason="DeadlineExceeded", message="Job was active longer than specified deadline")
    late = Diagnosis("DeadlineExceeded", "Job was active longer than specified deadline")
    assert diagnose_job(failed, []) == late
    # that its pod was killed follows from it
    assert diagnose_job(failed, [failed_pod("a", "2026-01-01T00:00:00Z", "terminated")]) == late


def test_a_job_is_well_when_complete_or_running():
    assert diagnose_job(job_with("Complete"), [pod(metadata=OWNED, phase="Succeeded")]) is None
    assert diagnose_job(JOB, [pod(metadata=OWNED, phase="Running", containers=[container(RUNNING)])]) is None


def test_a_job_whose_pod_cannot_start():
    stuck = pod(metadata=OWNED, containers=[container(waiting("ErrImagePull", "no"))])
    assert diagnose_job(JOB, [stuck]).reason == "ImageCannotBePulled"


@pytest.mark.parametrize(
    ("text", "line"), [(None, ""), ("", ""), ("\n \n", ""), ("one", "one"), ("one\n two \n\n", "two")]
)
def test_last_line(text, line):
    assert last_line(text) == line


@given(st.integers(0, 3000).map(lambda length: "x" * length))
def test_messages_are_bounded_and_keep_what_a_program_said_last(said):
    crashed = pod(
        phase="Running", containers=[container(waiting("CrashLoopBackOff"), last=ended(1, said + " the end"))]
    )
    found = diagnose([crashed])
    assert len(found.message) <= MESSAGE_MAX
    assert found.message.endswith("the end")


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        pytest.param([], None, id="no container yet"),
        pytest.param([{"state": {"running": {}}}], None, id="it runs"),
        pytest.param([{"state": {"terminated": {"exitCode": 0, "finishedAt": "T1"}}}], None, id="it ended well"),
        pytest.param(
            [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "T1"}}}],
            Ending("T1", "OOMKilled"),
            id="out of memory",
        ),
        pytest.param(
            [
                {
                    "state": {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": "T2"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "T1"}},
                }
            ],
            Ending("T2", "exit code 137"),
            id="the last of several",
        ),
        pytest.param(
            [{"state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1, "finishedAt": "T1"}}}],
            Ending("T1", "exit code 1"),
            id="it was started again",
        ),
    ],
)
def test_how_a_container_ended(statuses: list[dict[str, Any]], expected: Ending | None) -> None:
    named = [{"name": "worker", "image": "i", **status} for status in statuses]
    assert container_ending({"metadata": {"name": "p"}, "status": {"containerStatuses": named}}) == expected
