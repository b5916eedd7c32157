"""What state a shared service is in, as a condition, from the objects the API server shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pecan_operator.core.diagnosis import Diagnosis, diagnose, diagnose_job, job_condition
from pecan_operator.core.platform.base import Service
from pecan_operator.core.status import Condition, find

READY = "Ready"
WAITING = "Waiting"
RETRY_SECONDS = 60


def service_condition(
    service: Service,
    workload: Mapping[str, Any],
    claim: Mapping[str, Any] | None,
    pods: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
) -> Condition:
    """The condition of a service that has been applied. `pods` are those of its component."""
    if not needs_events(workload, claim):
        return Condition(service.condition, True, READY, f"{service.component} is ready")
    claims = [] if claim is None else [claim]
    found: Diagnosis | None
    if workload["kind"] == "Job":
        found = diagnose((), claims, events) or diagnose_job(workload, pods, events)
    else:
        found = diagnose(pods, claims, events, workload)
    if found is None:
        return Condition(service.condition, False, "Starting", f"{workload['metadata']['name']} is starting")
    return Condition(service.condition, False, found.reason, found.message)


def needs_events(workload: Mapping[str, Any], claim: Mapping[str, Any] | None) -> bool:
    """Whether the service is not ready, so that events may say why."""
    claim_is_there = claim is None or (
        claim.get("status", {}).get("phase") == "Bound" and not claim["metadata"].get("deletionTimestamp")
    )
    if workload["kind"] == "Job":
        return not claim_is_there or job_condition(workload, "Complete") is None
    return not claim_is_there or not _is_up(workload)


def ready_condition(services: Sequence[Condition]) -> Condition:
    """`Ready` from the conditions of the services: the first cause, not what only waits for it."""
    open_ones = [condition for condition in services if condition.status is not True]
    if not open_ones:
        return Condition("Ready", True, READY, "all services are ready")
    cause = next((condition for condition in open_ones if condition.reason != WAITING), open_ones[0])
    return Condition("Ready", False, cause.reason, f"{cause.type}: {cause.message}")


def phase(ready: Condition, previous_phase: str | None) -> str:
    """One word for people: a platform that was ready once and is not now is Degraded."""
    if ready.status is True:
        return "Ready"
    return "Degraded" if previous_phase in ("Ready", "Degraded") else "Progressing"


def is_left_ready(platform: Mapping[str, Any], operator_image: str) -> bool:
    """Whether an operator of the same image has found all that is asked of the platform ready: who takes over from it may
    work at once, and look at each service meanwhile."""
    status = platform.get("status") or {}
    ready = find(status, "Ready")
    return bool(
        not platform["metadata"].get("deletionTimestamp")
        and status.get("operatorImage") == operator_image
        and status.get("observedGeneration") == platform["metadata"].get("generation", 0)
        and ready is not None
        and ready["status"] == "True"
    )


def is_to_be_retried(job: Mapping[str, Any], now: datetime) -> bool:
    """Whether a Job failed a minute ago: what it stumbled over may be repaired by now, and nothing else would tell."""
    failed = job_condition(job, "Failed")
    if failed is None:
        return False
    since = datetime.fromisoformat(failed["lastTransitionTime"])
    return now - since >= timedelta(seconds=RETRY_SECONDS)


def _is_up(stateful_set: Mapping[str, Any]) -> bool:
    status = stateful_set.get("status", {})
    return bool(
        status.get("observedGeneration", 0) >= stateful_set["metadata"].get("generation", 0)
        and status.get("updatedReplicas") == 1
        and status.get("readyReplicas") == 1
    )
