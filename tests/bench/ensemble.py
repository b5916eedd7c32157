"""Whole workflows of 1,000 and 10,000 (long: 100,000) runs that only write their output, on 8 warm workers.

Time by phase, cost of database and operator for each run: where these stay the same from size to size, it is linear.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from place import Place
from report import Figure, one
from watching import Change
from work import span, workflow
from workflow_support.manifests import Manifest

WORKERS = 8
PHASES = ("Preparing", "Running", "Analysing")


@dataclass(frozen=True)
class Course:
    """How a workflow went. `writes` are its statuses as a watch has seen them."""

    workflow_id: int
    seconds: dict[str, float]
    writes: list[Change]


def measure(place: Place, long: bool) -> list[Figure]:
    place.model(workers=WORKERS)
    return [figure for size in ((1000, 10_000, 100_000) if long else (1000,)) for figure in _measure(place, size)]


def _measure(place: Place, size: int) -> list[Figure]:
    before = place.database_seconds()
    with place.operator_memory() as memory:
        course = run(place, size)
    statements = place.database_seconds() - before
    _, started, finished = span(place, course.workflow_id)
    return [
        *(one(f"{size:,} runs: {phase}", "s", course.seconds[phase]) for phase in PHASES),
        one(f"{size:,} runs: first start to last end", "runs/s", size / (finished - started)),
        one(f"{size:,} runs: largest status", "bytes", max(change.value["bytes"] for change in course.writes)),
        one(f"{size:,} runs: operator's memory, peak", "MB", max(memory)),
        one(f"{size:,} runs: PostgreSQL, of a run", "ms", statements * 1e3 / size),
    ]


def run(place: Place, size: int) -> Course:
    """Create a workflow of the bench model and wait until it has succeeded."""
    return follow(place, workflow(place.unique("ensemble"), "bench", size), 120 + size / 10)


def follow(place: Place, manifest: Manifest, seconds: float) -> Course:
    """Create a workflow and wait, for so many seconds, until it has succeeded."""
    name = manifest["metadata"]["name"]
    with place.watch("pecanworkflows", _view) as watched:
        created = time.monotonic()
        place.site.apply(manifest)
        last = watched.wait(lambda change: change.name == name and change.value["finished"], seconds, f"end of {name}")
        changes = [change for change in watched.changes if change.name == name and change.value["phase"]]
    assert last.value["phase"] == "Succeeded", f"the workflow {name} is {last.value}"
    begins = {change.value["phase"]: change.at for change in reversed(changes)} | {PHASES[0]: created}
    # A phase that was over before anybody wrote of it took no time.
    seconds, end = {}, last.at
    for phase in reversed(PHASES):
        begin = begins.get(phase, end)
        seconds[phase], end = end - begin, begin
    return Course(int(last.value["id"]), seconds, changes)


def _view(obj: dict[str, object]) -> dict[str, object]:
    status = obj.get("status") or {}
    assert isinstance(status, dict)
    return {
        "id": status.get("workflowId"),
        "phase": status.get("phase"),
        "finished": status.get("finishedAt"),
        "bytes": len(json.dumps(status)),
    }
