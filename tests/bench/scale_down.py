"""From the last completion to no workers with idleSeconds 10; and how often workers come and go for one job in 20 s.

A changed model has forgotten when its workers were missed: so each time it is calm.
"""

from __future__ import annotations

import itertools
import time

from place import Place
from report import Figure, one
from work import QUEUE, Planned, publish_plain, span

RUNS, WORKERS = 16, 4
EVERY_SECONDS = 20.0


def measure(place: Place, long: bool) -> list[Figure]:
    model_id = place.apply_model("bench", "1", {"minReplicas": 0, "maxReplicas": WORKERS})
    with place.watch_replicas() as watched:
        to_zero = []
        for turn in range(20 if long else 3):
            limits = {"timeoutSeconds": 61 + turn, "maxAttempts": 3}
            place.apply_model("bench", "1", {"minReplicas": 0, "maxReplicas": WORKERS}, run=limits)
            planned = Planned(place, model_id=model_id)
            planned.plan(RUNS, "exec sleep 0.3")
            begin = len(watched.changes)
            planned.register()
            watched.wait(lambda change: change.value == WORKERS, 60, f"{WORKERS} workers", begin)
            begin = len(watched.changes)
            gone = watched.wait(lambda change: change.value == 0, 180, "0 workers", begin)
            _, _, finished = span(place, planned.row.workflow_id)
            to_zero.append(gone.at - (finished + place.database_second()))
        begin = len(watched.changes)
        folders = Planned(place, model_id=model_id)
        jobs = 15 if long else 6
        folders.plan(jobs, "exec true")
        for plan in folders.plans:
            publish_plain(place.broker_uri, QUEUE, [plan.folder])
            time.sleep(EVERY_SECONDS)
        folders.drop()
        asked = [0, *(change.value for change in watched.changes[begin:])]
    changes = sum(1 for before, after in itertools.pairwise(asked) if before != after)
    return [
        Figure("last completion to 0 replicas", "s", to_zero),
        one(f"changes of replicas, {jobs} jobs {EVERY_SECONDS:g} s apart", "changes", changes),
    ]
