"""Why pods are not running, in one reason and one sentence, from what the API server shows of them.

The causes come in the order in which they hide one another: without a volume there is no pod to schedule, without an
image no container that could crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]

MESSAGE_MAX = 500
IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
START_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
MOUNT_EVENTS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"})
CLAIM_EVENTS = frozenset({"ProvisioningFailed", "FailedBinding", "ClaimMisbound", "ClaimLost"})
# What a program says when it ends, and the cause a user can act on.
KNOWN_ENDINGS = (
    ("password authentication failed", "PasswordRefused"),
    ("no space left on device", "VolumeFull"),
)


@dataclass(frozen=True)
class Diagnosis:
    """A CamelCase `reason` and a sentence for a condition."""

    reason: str
    message: str


def diagnose(
    pods: Iterable[Manifest],
    claims: Iterable[Manifest] = (),
    events: Sequence[Manifest] = (),
    workload: Manifest | None = None,
) -> Diagnosis | None:
    """The first thing that keeps these pods from being ready; None when nothing is wrong (so far).

    Args:
        pods: of one workload. Ready ones and those on their way out are passed over.
        claims: the PersistentVolumeClaims these pods mount.
        events: of the namespace; others than those of the objects above are passed over.
        workload: the StatefulSet, Deployment or Job that makes the pods, to tell why it cannot.
    """
    for claim in claims:
        if found := _of_claim(claim, events):
            return found
    living = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    for pod in living:
        if found := _of_pod(pod, events):
            return found
    if workload is not None and not living:
        return _of_workload(workload, events)
    return None


def diagnose_job(job: Manifest, pods: Iterable[Manifest], events: Sequence[Manifest] = ()) -> Diagnosis | None:
    """Why a Job has not succeeded: how its last failed pod ended (also while it is tried again), else what keeps its
    pod from running."""
    mine = [pod for pod in pods if _is_owned(pod, job)]
    ended = _last_failed(mine)
    failed = job_condition(job, "Failed")
    if ended and not is_late(job) and (found := _of_failed_pod(ended)):
        return found
    if failed is not None:
        return Diagnosis(failed.get("reason") or "JobFailed", _short(failed.get("message") or "the Job failed"))
    if job_condition(job, "Complete") is not None:
        return None
    return diagnose([pod for pod in mine if _phase(pod) != "Failed"], events=events, workload=job)


def is_late(job: Manifest) -> bool:
    """Whether a Job failed by its deadline: then its pods were killed for it."""
    failed = job_condition(job, "Failed")
    return failed is not None and failed.get("reason") == "DeadlineExceeded"


def failed_container(job: Manifest, pods: Iterable[Manifest]) -> tuple[str, Manifest] | None:
    """The container by which the last failed pod of a Job failed, and its state `terminated`; None when no pod tells."""
    pod = _last_failed(pod for pod in pods if _is_owned(pod, job))
    return None if pod is None else _failed_container(pod)


def job_condition(job: Manifest, condition_type: str) -> Manifest | None:
    """The condition Complete or Failed of a Job, if it holds."""
    for condition in job.get("status", {}).get("conditions") or ():
        if condition["type"] == condition_type and condition["status"] == "True":
            found: Manifest = condition
            return found
    return None


@dataclass(frozen=True)
class Ending:
    """The last time a container of a pod was killed or failed: when (RFC 3339, by its node's clock) and how."""

    at: str
    how: str


def container_ending(pod: Manifest) -> Ending | None:
    """How a container of a pod that may run again ended last; None when none has, or only as it was told to."""
    found = []
    for container in _containers(pod):
        for state in ("state", "lastState"):
            ended = (container.get(state) or {}).get("terminated")
            if ended and ended.get("exitCode") != 0 and ended.get("finishedAt"):
                oom = ended.get("reason") == "OOMKilled"
                found.append(Ending(ended["finishedAt"], "OOMKilled" if oom else f"exit code {ended.get('exitCode')}"))
    return max(found, key=lambda ending: ending.at, default=None)


def last_line(text: str | None) -> str:
    """The last line with something on it: where our programs say in a sentence what went wrong."""
    lines = [line.strip() for line in (text or "").replace("\0", "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _of_claim(claim: Manifest, events: Sequence[Manifest]) -> Diagnosis | None:
    name = claim["metadata"]["name"]
    if claim["metadata"].get("deletionTimestamp"):
        return Diagnosis("VolumeTerminating", f"volume claim {name} is being deleted; waiting until it is gone")
    phase = claim.get("status", {}).get("phase")
    if phase == "Lost":
        return Diagnosis("VolumeLost", f"the volume of claim {name} is gone and its data with it")
    if phase == "Bound":
        return None
    said = _latest(events, claim, CLAIM_EVENTS)
    storage_class = claim.get("spec", {}).get("storageClassName")
    asked = f"storage class {storage_class}" if storage_class else "the default storage class"
    modes = ", ".join(claim.get("spec", {}).get("accessModes") or ())
    return Diagnosis(
        "VolumeUnbound",
        _short(f"volume claim {name} ({asked}, {modes}) has no volume yet{f': {said}' if said else ''}"),
    )


def _of_pod(pod: Manifest, events: Sequence[Manifest]) -> Diagnosis | None:
    phase = _phase(pod)
    if phase == "Succeeded" or _is_ready(pod):
        return None
    if phase == "Failed":
        return _of_failed_pod(pod)
    name = pod["metadata"]["name"]
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Diagnosis(
                "Unschedulable", _short(f"no node takes pod {name}: {condition.get('message') or 'no reason given'}")
            )
    for container in _containers(pod):
        if found := _of_container(container):
            return found
    said = _latest(events, pod, MOUNT_EVENTS)
    if phase == "Pending" and said:
        return Diagnosis("PodCannotStart", _short(f"pod {name} cannot start: {said}"))
    return None


def _of_container(container: Manifest) -> Diagnosis | None:
    name, image = container["name"], container["image"]
    waiting = container.get("state", {}).get("waiting") or {}
    reason = waiting.get("reason")
    if reason in IMAGE_REASONS:
        said = waiting.get("message") or reason
        return Diagnosis("ImageCannotBePulled", _short(f"image {image} cannot be pulled: {said}"))
    if reason in START_REASONS:
        return Diagnosis(
            "ContainerCannotStart", _short(f"container {name} cannot start: {waiting.get('message') or reason}")
        )
    ended = container.get("state", {}).get("terminated")
    # A container that crashes runs now and then: until it is ready, how it ended the last time is what keeps it.
    if ended is None and not container.get("ready"):
        ended = container.get("lastState", {}).get("terminated")
    if ended is None or (ended.get("exitCode") == 0 and reason != "CrashLoopBackOff"):
        return None
    return _of_ending(name, ended, "Crashing")


def _of_ending(container: str, ended: Manifest, otherwise: str) -> Diagnosis:
    if ended.get("reason") == "OOMKilled":
        return Diagnosis("OutOfMemory", f"container {container} used more memory than its limit and was killed")
    said = last_line(ended.get("message"))
    reason = next((cause for words, cause in KNOWN_ENDINGS if words in said.lower()), otherwise)
    code = ended.get("exitCode")
    return Diagnosis(
        reason, _short(f"container {container} ended with exit code {code}{f': {said}' if said else ''}", keep_end=True)
    )


def _last_failed(pods: Iterable[Manifest]) -> Manifest | None:
    return max((pod for pod in pods if _phase(pod) == "Failed"), key=_created, default=None)


def _failed_container(pod: Manifest) -> tuple[str, Manifest] | None:
    """A sidecar ends because the pod does, never the other way round."""
    sidecars = {
        each["name"]
        for each in pod.get("spec", {}).get("initContainers") or ()
        if each.get("restartPolicy") == "Always"
    }
    for container in _containers(pod):
        ended = container.get("state", {}).get("terminated")
        if ended is not None and ended.get("exitCode") != 0 and container["name"] not in sidecars:
            return container["name"], ended
    return None


def _of_failed_pod(pod: Manifest) -> Diagnosis | None:
    if (found := _failed_container(pod)) is not None:
        return _of_ending(*found, "Failed")
    status = pod.get("status", {})
    if status.get("reason"):
        return Diagnosis(status["reason"], _short(f"pod {pod['metadata']['name']}: {status.get('message') or ''}"))
    return None


def _of_workload(workload: Manifest, events: Sequence[Manifest]) -> Diagnosis | None:
    name = workload["metadata"]["name"]
    for condition in workload.get("status", {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return Diagnosis("PodsRefused", _short(f"no pod can be made for {name}: {condition.get('message')}"))
    said = _latest(events, workload, {"FailedCreate"})
    return Diagnosis("PodsRefused", _short(f"no pod can be made for {name}: {said}")) if said else None


def _containers(pod: Manifest) -> Iterator[Manifest]:
    """The statuses of init containers and containers, in the order they start, with the image the pod asks for."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    asked = {each["name"]: each["image"] for key in ("initContainers", "containers") for each in spec.get(key) or ()}
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(key) or ():
            yield {**container, "image": asked.get(container["name"], container.get("image", "?"))}


def _is_ready(pod: Manifest) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _is_owned(pod: Manifest, owner: Manifest) -> bool:
    uid = owner["metadata"].get("uid")
    return any(reference.get("uid") == uid for reference in pod["metadata"].get("ownerReferences") or ())


def _latest(events: Sequence[Manifest], subject: Manifest, reasons: Set[str]) -> str | None:
    """The newest message of these reasons about an object; by uid, so that a namesake's past is not told."""
    uid = subject["metadata"].get("uid")
    about = [
        event
        for event in events
        if event.get("reason") in reasons and uid is not None and event.get("involvedObject", {}).get("uid") == uid
    ]
    if not about:
        return None
    newest = max(about, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    return str(newest.get("message") or newest["reason"]).strip()


def _phase(pod: Manifest) -> str | None:
    phase: str | None = pod.get("status", {}).get("phase")
    return phase


def _created(pod: Manifest) -> str:
    return str(pod["metadata"].get("creationTimestamp") or "")


def _short(text: str, *, keep_end: bool = False) -> str:
    """At most 500 characters; the end is kept of what a program said, the beginning of what Kubernetes says."""
    if len(text) <= MESSAGE_MAX:
        return text
    return f"{text[:120]} … {text[-(MESSAGE_MAX - 123) :]}" if keep_end else f"{text[: MESSAGE_MAX - 1]}…"
