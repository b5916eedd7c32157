"""How far a workflow is, how fast it goes and when it will be through, from statuses seen one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ENDED = ("Succeeded", "Failed", "Cancelled")
STATES = ("succeeded", "failed", "cancelled", "running", "queued", "planned")
_FINAL = ("succeeded", "failed", "cancelled")
WINDOW_SECONDS = 60.0
LEAST_FINISHED = 10


@dataclass(frozen=True)
class Counts:
    """Runs by state, as in `status.runs`."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    running: int = 0
    queued: int = 0
    planned: int = 0

    @classmethod
    def of(cls, workflow: Mapping[str, Any]) -> Counts:
        """Of a PecanWorkflow; zeros before it is prepared."""
        runs = (workflow.get("status") or {}).get("runs") or {}
        return cls(**{name: int(runs.get(name, 0)) for name in ("total", *STATES)})

    @property
    def finished(self) -> int:
        """Runs that nothing more is done about."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def open(self) -> int:
        """Runs that are still to finish."""
        return max(0, self.total - self.finished)

    def cells(self, width: int) -> dict[str, int]:
        """How many of `width` cells of a bar each state gets, in the order of STATES: its share, but a state that there is
        has one at least (while there are cells enough for that)."""
        present = {state: getattr(self, state) for state in STATES if getattr(self, state)}
        given = dict.fromkeys(list(present)[:width], 1)
        whole = sum(present.values())
        for _ in range(width - len(given) if present else 0):
            neediest = max(given, key=lambda state: present[state] * width / whole - given[state])
            given[neediest] += 1
        return given

    def words(self) -> str:
        """Without zeros: 43 succeeded, 4 running."""
        said = [f"{getattr(self, state)} {state}" for state in STATES if getattr(self, state)]
        return ", ".join(said) or "no runs yet"


@dataclass
class Pace:
    """The rate at which runs finish, over about the last minute; over longer when fewer than ten finished in it.

    `times` are seconds of one clock that never goes back.
    """

    _seen: list[tuple[float, int]] = field(default_factory=list)

    def add(self, time: float, finished: int) -> None:
        """One look. Fewer finished than before, as after a retry, begins anew."""
        if self._seen and finished < self._seen[-1][1]:
            self._seen.clear()
        # Looks without news are not kept, but the latest, which says that time went by.
        if len(self._seen) > 1 and self._seen[-1][1] == self._seen[-2][1] == finished:
            self._seen.pop()
        self._seen.append((time, finished))
        while len(self._seen) > 2 and self._may_forget(self._seen[1]):
            self._seen.pop(0)

    def _may_forget(self, second: tuple[float, int]) -> bool:
        time, finished = self._seen[-1]
        return time - second[0] >= WINDOW_SECONDS and finished - second[1] >= LEAST_FINISHED

    @property
    def rate(self) -> float | None:
        """Runs a second; None while none has finished since the first look."""
        if not self._seen:
            return None
        (begin, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - begin) if after > before and end > begin else None

    def seconds_left(self, still_open: int) -> float | None:
        """Seconds until that many runs have finished at this rate; None when the rate is not known."""
        rate = self.rate
        return None if rate is None else still_open / rate


def duration(seconds: float) -> str:
    """Such as 0:04:07 or 3 d 01:30:00."""
    days, rest = divmod(round(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{days} d {hours:02}:{minutes:02}:{rest:02}" if days else f"{hours}:{minutes:02}:{rest:02}"


def rate_words(rate: float | None) -> str:
    """In the unit that gives a number one can read."""
    if rate is None:
        return "-"
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        if rate * seconds >= 1:
            return f"{rate * seconds:.3g} runs/{unit}"
    return f"{rate * 86400:.3g} runs/d"


def condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """A condition of an object; empty when it is not there."""
    found = (obj.get("status") or {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})


def has_ended(workflow: Mapping[str, Any]) -> bool:
    """Whether the status is that of the end, as the operator sees it, and of the present spec: while a retry is still to
    begin, phase and finishedAt are those of before."""
    status = workflow.get("status") or {}
    return (
        status.get("finishedAt") is not None
        and status.get("phase") in ENDED
        and status["phase"] == condition(workflow, "Ready").get("reason")
        and status.get("observedGeneration") == workflow["metadata"].get("generation")
        and (
            not workflow["spec"].get("retryGeneration")
            or condition(workflow, "Retried").get("reason") not in (None, "Waiting")
        )
    )
