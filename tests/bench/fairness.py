"""A workflow of 10 runs alone, and beside one of 10,000 (short: 1,000) of the same priority: 8 workers, runs of 0.3 s."""

from __future__ import annotations

import statistics

from ensemble import run
from place import Place
from report import Figure, one
from support import wait
from work import span, workflow

WORKERS, SMALL = 8, 10


def measure(place: Place, long: bool) -> list[Figure]:
    place.model(workers=WORKERS, sleep="0.3")
    repeats = 10 if long else 3
    alone = [_small(place) for _ in range(repeats)]
    size = 10_000 if long else 1000
    name = place.unique("big")
    place.site.apply(workflow(name, "bench", size))
    wait(lambda: _done(place, name) > WORKERS, 120 + size / 10, lambda: place.site.status(name))
    beside: list[float] = []
    while len(beside) < repeats and _done(place, name) < size:
        took = _small(place)
        if _done(place, name) < size:
            beside.append(took)
    place.site.delete("PecanWorkflow", name)
    assert beside, f"the workflow of {size} runs ended before a small one had"
    return [
        Figure("10 runs alone, first published to last end", "s", alone),
        Figure(f"10 runs beside {size:,}, first published to last end", "s", beside),
        one("ratio of medians", "", statistics.median(beside) / statistics.median(alone)),
    ]


def _small(place: Place) -> float:
    published, _, finished = span(place, run(place, SMALL).workflow_id)
    return finished - published


def _done(place: Place, name: str) -> int:
    return int((place.site.status(name).get("runs") or {}).get("succeeded", 0))
