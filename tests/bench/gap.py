"""From result to result of one warm worker whose job is `true`, beside what any worker must spend on it: starting the job
and writing two files, done by a bare loop in the same pod."""

from __future__ import annotations

import itertools
import json
import statistics

from place import Place
from report import Figure
from work import Planned

RUNS = 200
_BARE = """
import json, os, subprocess, sys, time

def replace(path, content):
    with open(path + ".part", "wb") as file:
        file.write(content)
    os.replace(path + ".part", path)

samples = []
for number in range(int(sys.argv[2])):
    folder = f"{sys.argv[1]}/run/{number}"
    begin = time.monotonic()
    with open(f"{folder}/job.log", "wb") as log:
        subprocess.run(
            ["/bin/sh", "-c", "exec ./job.sh"], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, check=True,
        )
    replace(f"{folder}/.pecan-result.json", json.dumps({"run": str(number), "state": "succeeded"}).encode())
    replace(f"{folder}/rabbitmq.out", b"b''\\nOK\\n")
    samples.append((time.monotonic() - begin) * 1e3)
print(json.dumps(samples))
"""
_CYCLES = """
import itertools, json, os, sys
stamps = sorted(os.stat(f"{sys.argv[1]}/run/{number}/rabbitmq.out").st_mtime_ns for number in range(int(sys.argv[2])))
print(json.dumps([(after - before) / 1e6 for before, after in itertools.pairwise(stamps)]))
"""


def measure(place: Place, long: bool) -> list[Figure]:
    # A processor of its own, as a model has: with a small share it would wait for database and broker.
    model_id = place.model(workers=1, resources={"requests": {"cpu": "800m", "memory": "32Mi"}})
    (worker,) = place.workers()
    cycles: list[list[float]] = []
    bare: list[list[float]] = []
    for _ in range(20 if long else 5):
        planned = Planned(place, model_id=model_id)
        planned.plan(RUNS, "exec true")
        bare.append(json.loads(place.python(_BARE, planned.row.folder, str(RUNS), pod=worker)))
        planned.run(120)
        cycles.append(json.loads(place.python(_CYCLES, planned.row.folder, str(RUNS))))
    return [
        Figure("from result to result", "ms", list(itertools.chain(*cycles))),
        Figure("bare cost", "ms", list(itertools.chain(*bare))),
        Figure(
            "ratio of medians",
            "",
            [statistics.median(ours) / statistics.median(least) for ours, least in zip(cycles, bare, strict=True)],
        ),
    ]
