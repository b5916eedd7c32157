"""How many workers a model should have, and which of them may go."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """`spec.scaling` of a PecanModel; a suspended model takes nothing new."""

    min_replicas: int
    max_replicas: int
    runs_per_worker: int
    idle_seconds: float
    suspended: bool = False


@dataclass(frozen=True)
class Observation:
    """What is known of one model's work and workers. None means unknown.

    `publishable`, `queued`, `running` are the ledger's; `ready` the broker's; `busy` counts workers with a job by their
    events, work published by others included; `unknown` counts started workers that have not said anything yet;
    `replicas` is what the Deployment asks for now (None: no Deployment);
    `seconds_below` tells how long fewer workers than that would have been enough.
    """

    publishable: int | None
    queued: int | None
    running: int | None
    ready: int | None
    busy: int
    unknown: int
    replicas: int | None
    seconds_below: float


@dataclass(frozen=True)
class Decision:
    """The number of replicas, and why."""

    replicas: int
    reason: str
    message: str
    outstanding: int | None
    wanted: int | None


def decide_replicas(observation: Observation, limits: Limits) -> Decision:
    """Up at once; down only as far as no busy worker has to go, and only after `idle_seconds`; unknown is never zero."""
    current = observation.replicas
    outstanding = _outstanding(observation)
    if outstanding is None:
        fewest = 0 if limits.suspended else limits.min_replicas
        held = fewest if current is None else current
        return Decision(held, "WorkUnknown", f"what is outstanding is unknown: {held} workers are held", None, None)
    if limits.suspended:
        wanted = 0
        why = "the model is suspended"
    else:
        needed = math.ceil(outstanding / limits.runs_per_worker)
        wanted = min(max(needed, limits.min_replicas), limits.max_replicas)
        why = f"{outstanding} runs outstanding"
    if current is None or wanted > current:
        return Decision(wanted, "ScaledToWork", f"{why}: {wanted} workers", outstanding, wanted)
    if wanted == current:
        return Decision(current, "ScaledToWork", f"{why}: {current} workers", outstanding, wanted)
    if observation.seconds_below < limits.idle_seconds and current <= limits.max_replicas and not limits.suspended:
        return Decision(
            current,
            "Idle",
            f"{why}: {current} workers stay until {limits.idle_seconds:g} s have passed",
            outstanding,
            wanted,
        )
    target = min(max(wanted, observation.busy + observation.unknown), current)
    if target > wanted:
        return Decision(target, "BusyWorkers", f"{why}: {target} workers stay while they are busy", outstanding, wanted)
    return Decision(target, "ScaledToWork", f"{why}: {target} workers", outstanding, wanted)


def _outstanding(observation: Observation) -> int | None:
    if observation.publishable is None or observation.queued is None or observation.running is None:
        return None
    if observation.ready is None:
        return None
    in_flight = max(observation.queued + observation.running, observation.ready + observation.busy)
    return observation.publishable + in_flight


@dataclass(frozen=True)
class Worker:
    """A worker pod that is not being deleted.

    `known` says whether it has been heard of; `idle_since` (any monotonic clock) is None for a busy or unknown one.
    """

    pod: str
    started: bool
    known: bool
    idle_since: float | None
    marked: bool


@dataclass(frozen=True)
class Marks:
    """Pods to be given a low deletion cost, and pods to have it taken back."""

    give: tuple[str, ...]
    take: tuple[str, ...]


def decide_marks(workers: Sequence[Worker], surplus: int) -> Marks:
    """The victims when `surplus` workers are to go: the longest idle.

    The ReplicaSet controller ends pods that have not started before any deletion cost counts, so they need no mark.
    """
    unstarted = sum(1 for worker in workers if not worker.started)
    count = max(0, surplus - unstarted)
    idle = sorted(
        (worker for worker in workers if worker.started and worker.idle_since is not None),
        key=lambda worker: (worker.idle_since, worker.pod),
    )
    victims = {worker.pod for worker in idle[:count]}
    return Marks(
        give=tuple(worker.pod for worker in idle[:count] if not worker.marked),
        take=tuple(worker.pod for worker in workers if worker.marked and worker.pod not in victims),
    )


def publish_window(replicas: int, recent_completions: int, maximum: int = 1000) -> int:
    """How many published runs may wait on a queue: enough that no worker ever waits for the operator.

    `recent_completions` are those of the last 0.5 s.
    """
    return min(max(2 * replicas, recent_completions, 2), maximum)


def count_busy(workers: Iterable[Worker]) -> int:
    """Workers that have said that they have a job."""
    return sum(1 for worker in workers if worker.known and worker.idle_since is None)


def count_unknown(workers: Iterable[Worker]) -> int:
    """Workers that run but have not said anything yet: they may have a job."""
    return sum(1 for worker in workers if worker.started and not worker.known)
