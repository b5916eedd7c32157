"""Runs of 0.3 s and of 1.3 s on 8 warm workers, against what they would take if nothing but the runs took time."""

from __future__ import annotations

from place import Place
from report import Figure, one
from work import Planned, span

WORKERS = 8


def measure(place: Place, long: bool) -> list[Figure]:
    model_id = place.model(workers=WORKERS)
    figures = []
    for seconds, runs in ((0.3, 1000 if long else 320), (1.3, 1000 if long else 96)):
        planned = Planned(place, model_id=model_id)
        planned.plan(runs, f"exec sleep {seconds}")
        committed = planned.run(runs * seconds / WORKERS * 5 + 60)
        _, started, finished = span(place, planned.row.workflow_id)
        took = finished + place.database_second() - committed
        ideal = runs * seconds / WORKERS
        figures += [
            one(f"{runs} runs of {seconds} s, from first start", "s", finished - started),
            one(f"{runs} runs of {seconds} s, start to end / ideal", "", (finished - started) / ideal),
            one(f"{runs} runs of {seconds} s, planned to end / ideal", "", took / ideal),
        ]
    return figures
