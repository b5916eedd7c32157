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
    """The number of replicas, and why. `overdue` of them stay only until their runs have ended."""

    replicas: int
    reason: str
    message: str
    outstanding: int | None
    wanted: int | None
    overdue: int = 0


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
        message = f"{why}: {target} workers stay while they are busy"
        return Decision(target, "BusyWorkers", message, outstanding, wanted, target - wanted)
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

    `known` says whether it has been heard of; `idle_since` (any monotonic clock) is None for a busy or unknown one;
    `retired` that it takes nothing more; `marked` that its pod has the low deletion cost.
    """

    pod: str
    started: bool
    known: bool
    idle_since: float | None
    retired: bool
    marked: bool


@dataclass(frozen=True)
class Departure:
    """How surplus workers go: `ask` them to retire; `give` those that have a low deletion cost, and `take` it back from
    those that stay; `resume` retired ones that stay; `kept` more replicas are needed until the idle ones asked have
    retired."""

    ask: tuple[str, ...]
    give: tuple[str, ...]
    take: tuple[str, ...]
    resume: tuple[str, ...]
    kept: int


def decide_departure(workers: Sequence[Worker], surplus: int, overdue: int = 0) -> Departure:
    """Who goes when `surplus` workers are to go: those that have retired already, then the longest idle. Of the busy ones
    `overdue` are asked besides: they retire when their runs have ended.

    No pod is ended that could have a job: replicas are lowered only by workers that have said that they take nothing
    more, and pods that have not started, which the ReplicaSet controller ends before any deletion cost counts.
    """
    unstarted = sum(1 for worker in workers if not worker.started)
    count = max(0, surplus - unstarted)
    idle = sorted(
        (worker for worker in workers if worker.started and worker.idle_since is not None),
        key=lambda worker: (not worker.retired, worker.idle_since, worker.pod),
    )
    going = idle[:count]
    busy = sorted(worker.pod for worker in workers if worker.known and worker.idle_since is None)
    victims = {worker.pod for worker in going if worker.retired}
    return Departure(
        ask=(*(worker.pod for worker in going if not worker.retired), *busy[: max(0, overdue)]),
        give=tuple(worker.pod for worker in going if worker.retired and not worker.marked),
        take=tuple(worker.pod for worker in workers if worker.marked and worker.pod not in victims),
        resume=tuple(worker.pod for worker in workers if worker.retired and worker.pod not in victims),
        kept=sum(1 for worker in going if not worker.retired),
    )


MAX_REGRETS = 2


def regrets_after_growth(regrets: int, seconds_since_down: float | None, idle_seconds: float) -> int:
    """How often workers have gone too early in a row, when they are asked for again.

    That they are missed within three times the time they had waited says that the wait was too short for how the work
    comes; after a longer rest it tells nothing. None: none have gone yet.
    """
    if seconds_since_down is None or seconds_since_down > 3 * patience(idle_seconds, regrets):
        return 0
    return min(regrets + 1, MAX_REGRETS)


def patience(idle_seconds: float, regrets: int) -> float:
    """Seconds that idle workers are kept: twice as long for each time that they were missed soon after, so that work
    that trickles in does not have workers come and go."""
    return float(idle_seconds * 2**regrets)


def publish_window(replicas: int, recent_completions: int, queued: int = 0, maximum: int = 1000) -> int:
    """How many published runs may wait on a queue: enough that no worker ever waits for the operator.

    `recent_completions` are those of the last 0.5 s, and `queued` what waits now. When next to nothing does, workers may
    have been short of runs, and fewer have ended than could have: the window opens further.
    """
    window = max(2 * replicas, recent_completions, 2)
    return min(4 * window if recent_completions and is_short(queued, window) else window, maximum)


def is_short(queued: int, window: int) -> bool:
    """Whether so little waits that workers could soon wait for the operator."""
    return 4 * queued <= window


def count_busy(workers: Iterable[Worker]) -> int:
    """Workers that have said that they have a job."""
    return sum(1 for worker in workers if worker.known and worker.idle_since is None)


def count_unknown(workers: Iterable[Worker]) -> int:
    """Workers that run but have not said anything yet: they may have a job."""
    return sum(1 for worker in workers if worker.started and not worker.known)
