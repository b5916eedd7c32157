"""The journal that the test model writes, and what must be true of it whatever happened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Execution:
    """One time that a run's job was started; times in seconds of the node's monotonic clock.

    `until` is when it was last alive; `exit_code` is None while it runs, and for one that was killed.
    """

    run: str
    member: int
    attempt: int
    pod: str
    began: float
    until: float
    exit_code: int | None


def parse_journal(text: str) -> list[Execution]:
    """The executions of a journal in the order in which they began."""
    lines: dict[str, list[dict[str, object]]] = {}
    for line in text.splitlines():
        entry = json.loads(line)
        lines.setdefault(entry["execution"], []).append(entry)
    return sorted((_execution(entries) for entries in lines.values()), key=lambda execution: execution.began)


def _execution(entries: Sequence[dict[str, object]]) -> Execution:
    first, last = entries[0], entries[-1]
    assert first["event"] == "start"
    code = last.get("exit_code")
    return Execution(
        run=str(first["run"]),
        member=int(str(first["member"])),
        attempt=int(str(first["attempt"])),
        pod=str(first["pod"]),
        began=float(str(first["monotonic"])),
        until=float(str(last["monotonic"])),
        exit_code=None if code is None else int(str(code)),
    )


def by_run(executions: Iterable[Execution]) -> dict[str, list[Execution]]:
    """Executions of each run, in their order."""
    found: dict[str, list[Execution]] = {}
    for execution in executions:
        found.setdefault(execution.run, []).append(execution)
    return found


def overlaps(executions: Iterable[Execution]) -> list[tuple[Execution, Execution]]:
    """Pairs of executions of one run that were alive at the same time."""
    return [
        (before, after)
        for of_run in by_run(executions).values()
        for before, after in pairwise(of_run)
        if after.began < before.until
    ]


def most_at_once(executions: Iterable[Execution]) -> int:
    """The largest number of executions that were alive at one moment."""
    moments = [(execution.began, 1) for execution in executions] + [(execution.until, -1) for execution in executions]
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most
