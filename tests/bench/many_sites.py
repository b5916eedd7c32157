"""198 sites x 20 members x 8 years of daily DALEC as one workflow (short: 20 sites x 5 members): wall time by phase and
against the sum of the model's own times, and the memory of the executor and the operator.

The weather is that of one place, Wageningen 1992 to 1999, so that sites differ in the length of their days alone. Wall time
over model time on the workers there are is 1 where nothing but the model takes time.
"""

from __future__ import annotations

import re

from ensemble import PHASES, follow
from place import Place
from report import Figure, one
from support import example
from work import span
from workflow_support.manifests import built_image

WORKERS = 8
FIRST_YEAR, LAST_YEAR = 1992, 1999
WEATHER, TABLE = "/data/bench/weather", "/data/bench/sites.csv"
_SITES = """
import sys
with open(sys.argv[1], "w") as file:
    file.write("id,name,lat,lon\\n")
    for at in range(int(sys.argv[2])):
        file.write(f"s{at},Site {at},{30 + at % 30},{-120 + at // 30 * 10}\\n")
"""


def measure(place: Place, long: bool) -> list[Figure]:
    sites, members = (198, 20) if long else (20, 5)
    prepare_data(place, sites)
    place.apply_model(
        "dalec",
        "ev",
        {"minReplicas": WORKERS, "maxReplicas": WORKERS},
        type="DALEC",
        image=built_image("model-dalec"),
        run={"timeoutSeconds": 300, "maxAttempts": 3},
        resources={"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    )
    name, runs = place.unique("many-sites"), sites * members
    manifest = example("workflows/many-sites.yaml", name=name)
    manifest["spec"] |= {
        "start": f"{FIRST_YEAR}-01-01",
        "end": f"{LAST_YEAR}-12-31",
        "sitesCsv": TABLE,
        "inputs": {"met": {"paths": [f"{WEATHER}/Loobos"]}},
        "ensemble": {"size": members, "variables": ["GPP", "NEE"], "seed": 3},
    }
    with place.operator_memory() as memory:
        course = follow(place, manifest, 600 + runs * 5)
    _, started, finished = span(place, course.workflow_id)
    times = place.query(
        "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM pecan_operator.run WHERE workflow_id = %s",
        course.workflow_id,
    )
    model, wall = sum(seconds for (seconds,) in times), sum(course.seconds.values())
    what = f"{sites} sites x {members} members"
    return [
        *(one(f"{what}: {phase}", "s", course.seconds[phase]) for phase in PHASES),
        one(f"{what}: all", "s", wall),
        Figure(f"{what}: a run of the model", "s", [seconds for (seconds,) in times]),
        one(f"{what}: sum of model times", "s", model),
        one(f"{what}: all / (sum of model times / {WORKERS} workers)", "", wall / (model / WORKERS)),
        one(f"{what}: first start to last end", "runs/s", runs / (finished - started)),
        *(figure for step in ("prepare", "analyse") for figure in executor_memory(place, name, step)),
        one(f"{what}: operator's memory, peak", "MB", max(memory)),
    ]


def prepare_data(place: Place, sites: int) -> None:
    """Put the weather and the table of sites on the data volume."""
    job = example("demo/weather.yaml", name=place.unique("weather"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container["command"] = ["/work/demo-weather", WEATHER, f"--start-year={FIRST_YEAR}", f"--end-year={LAST_YEAR}"]
    place.site.apply(job)
    place.site.wait_job(job["metadata"]["name"])
    place.python(_SITES, TABLE, str(sites))


def executor_memory(place: Place, name: str, step: str) -> list[Figure]:
    """What a step says of its own memory at its end; `executor_steps` says how it grows with the runs."""
    said = place.kubectl("logs", f"job/{name}-{step}", "--container=framework")
    found = re.search(r"memory: at most (\d+) MiB(?:, and (\d+) MiB in each of its other processes)?", said)
    assert found, f"{step} says nothing of its memory: {said[-500:]}"
    own, others = found.groups()
    figures = [one(f"{step}: memory, peak", "MiB", float(own))]
    return (
        [*figures, one(f"{step}: memory of its largest other process, peak", "MiB", float(others))]
        if others
        else figures
    )
