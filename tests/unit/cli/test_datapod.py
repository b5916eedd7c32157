"""The pod at the data: what it is made of, and that it goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import FakeApi, check_job, platform

from kubectl_pecan import datapod
from kubectl_pecan.datapod import check_job_of, data_job, data_volume, platform_of, running, trouble
from kubectl_pecan.errors import CliError, ExitCode
from pecan_operator.api.platform import PlatformSpec
from pecan_operator.core.labels import owner_reference
from pecan_operator.core.platform import Platform, data
from pecan_operator.settings import Images


def waiting(reason: str, message: str) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}}


def test_the_job_is_like_the_operators_check_and_goes_by_itself() -> None:
    check = check_job(platform("Ready"))
    job = data_job(check, "kubectl-pecan-1")
    theirs, mine = check["spec"]["template"]["spec"], job["spec"]["template"]["spec"]
    for field in ("automountServiceAccountToken", "enableServiceLinks", "securityContext", "volumes"):
        assert mine[field] == theirs[field]
    (container,) = mine["containers"]
    for field in ("image", "imagePullPolicy", "securityContext", "volumeMounts"):
        assert container[field] == theirs["containers"][0][field]
    assert job["spec"]["activeDeadlineSeconds"] == 24 * 3600
    assert job["spec"]["ttlSecondsAfterFinished"] == 60
    assert job["spec"]["backoffLimit"] == 0
    assert mine["restartPolicy"] == "Never"
    # The operator watches its own children by label.
    assert "labels" not in job["spec"]["template"].get("metadata", {})
    assert len(container["env"][0]["value"]) < 32 * 1024


def test_the_oldest_platform_counts() -> None:
    first, second = platform("Ready"), platform("Pending")
    assert platform_of([second, first]) is first
    with pytest.raises(CliError, match="no PecanPlatform"):
        platform_of([])


def test_the_latest_check_of_this_platform_is_taken() -> None:
    home, other = platform("Ready"), platform("Ready")
    old, new = check_job(home), check_job(home)
    new["metadata"]["creationTimestamp"] = "2026-06-01T08:00:00Z"
    assert check_job_of(home, [old, new, check_job(other)]) is new
    with pytest.raises(CliError, match="kubectl pecan platform"):
        check_job_of(home, [check_job(other)])


def without_controller(job: dict[str, Any]) -> None:
    job["metadata"]["ownerReferences"][0]["controller"] = False


def without_label(job: dict[str, Any]) -> None:
    del job["metadata"]["labels"]["app.kubernetes.io/managed-by"]


def with_another_name(job: dict[str, Any]) -> None:
    job["metadata"]["name"] = "pecan-cleanup1"


def at_another_claim(job: dict[str, Any]) -> None:
    job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = "old"


def with_the_claim_elsewhere(job: dict[str, Any]) -> None:
    job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = "/data/met"


def with_a_second_container(job: dict[str, Any]) -> None:
    job["spec"]["template"]["spec"]["containers"].append({"name": "more", "image": "any"})


@pytest.mark.parametrize(
    "change",
    [
        without_controller,
        without_label,
        with_another_name,
        at_another_claim,
        with_the_claim_elsewhere,
        with_a_second_container,
    ],
)
def test_no_other_job_is_taken_for_the_check(change: Callable[[dict[str, Any]], None]) -> None:
    home = platform("Ready")
    check, other = check_job(home), check_job(home)
    other["metadata"]["creationTimestamp"] = "2026-06-01T08:00:00Z"
    assert check_job_of(home, [check, other]) is other
    change(other)
    assert check_job_of(home, [check, other]) is check


def test_the_check_that_the_operator_makes_is_known() -> None:
    home = platform("Ready")
    images = Images("op:1", "ex:1", "pg:1", "mq:1", "IfNotPresent", ())
    theirs = Platform("pecan", "forest", owner_reference(home), PlatformSpec(), images)
    made = data.check_job(theirs, "uid-of-claim")
    made["metadata"]["creationTimestamp"] = "2026-05-01T08:00:00Z"
    assert home["status"]["dataClaim"] == data.data_claim_name(theirs)
    assert check_job_of(home, [made]) is made
    assert data_job(made, "kubectl-pecan-1")["spec"]["template"]["spec"]["containers"][0]["image"] == "ex:1"


@pytest.mark.parametrize(
    ("pods", "says"),
    [
        ([], "no pod was made"),
        ([{"status": {}}], "being made"),
        ([waiting("ContainerCreating", "")], "being made"),
        ([waiting("ImagePullBackOff", "no such image")], "ImagePullBackOff: no such image"),
        (
            [
                {
                    "status": {
                        "conditions": [
                            {
                                "type": "PodScheduled",
                                "status": "False",
                                "reason": "Unschedulable",
                                "message": "too little memory",
                            }
                        ]
                    }
                }
            ],
            "Unschedulable: too little memory",
        ),
        ([{"status": {"phase": "Failed", "message": "evicted"}}], "it ended: evicted"),
    ],
)
def test_trouble(pods: list[dict[str, Any]], says: str) -> None:
    assert says in trouble(pods)
    assert running(pods) is None


def test_a_pod_that_does_not_start_is_told_and_removed(tmp_path: Path) -> None:
    home = platform("Ready")
    api = FakeApi(tmp_path, home, check_job(home))
    api.pod_status = waiting("ImagePullBackOff", "no such image")["status"]
    slept: list[float] = []
    with pytest.raises(CliError, match="ImagePullBackOff: no such image") as caught, data_volume(api, slept.append):
        pass
    assert caught.value.code is ExitCode.NOT_READY
    assert sum(slept) == pytest.approx(datapod.START_SECONDS, abs=1)
    assert not api.pods_left()


@pytest.mark.parametrize("end", [KeyboardInterrupt, CliError(ExitCode.INVALID, "wrong"), ValueError])
def test_the_pod_goes_whatever_the_end(tmp_path: Path, end: Any) -> None:
    home = platform("Ready")
    api = FakeApi(tmp_path, home, check_job(home))
    with pytest.raises(BaseException) as caught, data_volume(api):  # noqa: PT011
        raise end
    assert caught.type is (end if isinstance(end, type) else type(end))
    assert api.created
    assert not api.pods_left()


def test_a_lost_session_lets_the_pod_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubectl_pecan import pod_program

    session = tmp_path / "session"
    monkeypatch.setattr(pod_program, "ALIVE", str(session))
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)

    monkeypatch.setattr(pod_program.time, "sleep", sleep)
    monkeypatch.setattr(pod_program.time, "time", lambda: session.stat().st_mtime + 10 * len(looks))
    pod_program.wait()
    assert len(looks) == pod_program.LOST_SECONDS / 10
