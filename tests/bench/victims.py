"""Workers ended by scaling under load: short jobs without a pause while maxReplicas goes up and down.

No execution may be stopped or repeated for it, however many pods end.
"""

from __future__ import annotations

import json
import time

from place import Place
from report import Figure, one
from support import wait
from work import Planned

MOST, LEAST = 10, 2
RUNS = 2000
_COUNT = """
import json, pathlib, sys
starts = ends = repeated = 0
for base in sys.argv[1:]:
    for run in pathlib.Path(base, "run").iterdir():
        lines = {name: len((run / name).read_text()) if (run / name).exists() else 0 for name in ("starts", "ends")}
        starts, ends = starts + lines["starts"], ends + lines["ends"]
        repeated += max(0, lines["starts"] - 1)
print(json.dumps([starts, starts - ends, repeated]))
"""


def measure(place: Place, long: bool) -> list[Figure]:
    model_id = place.apply_model("bench", "1", {"minReplicas": LEAST, "maxReplicas": MOST})
    wanted = 1000 if long else 50
    stream: list[Planned] = []
    victims, lowered = 0, []
    while victims < wanted:
        if not stream or _count(place, stream[-1], "planned") < RUNS / 2:
            stream.append(Planned(place, model_id=model_id))
            stream[-1].plan(RUNS, "echo >> starts; sleep 0.3; echo >> ends")
            stream[-1].register()
        before = _scale(place, MOST)
        begin = time.monotonic()
        victims += len(before - _scale(place, LEAST))
        lowered.append(time.monotonic() - begin)
    for planned in stream:
        place.site.patch("PecanWorkflow", planned.row.name, suspend=True)
    for planned in stream:
        wait(lambda planned=planned: _count(place, planned, "queued + running") == 0, 120, lambda: "runs do not end")
    executions, stopped, repeated = json.loads(place.python(_COUNT, *(planned.row.folder for planned in stream)))
    for planned in stream:
        planned.drop()
    ((attempts,),) = place.query(
        "SELECT sum(attempt - 1)::integer FROM pecan_operator.run WHERE workflow_id = ANY(%s)",
        [planned.row.workflow_id for planned in stream],
    )
    return [
        one("workers ended", "pods", victims),
        Figure(f"from {MOST} to {LEAST} workers under load", "s", lowered),
        one("executions", "", executions),
        one("of these stopped", "", stopped),
        one("of these repeated", "", repeated),
        one("attempts beyond the first", "", attempts),
    ]


def _count(place: Place, planned: Planned, states: str) -> int:
    statement = f"SELECT {states} FROM pecan_operator.tally WHERE workflow_id = %s"
    return int(place.query(statement, planned.row.workflow_id)[0][0])


def _scale(place: Place, workers: int) -> set[str]:
    """Have so many workers; returns the pods there are then."""
    place.site.patch("PecanModel", "bench", scaling={"maxReplicas": workers})

    def there() -> bool:
        ready = place.site.status("bench", "PecanModel").get("readyReplicas", 0)
        return len(place.workers()) == workers and ready == workers

    wait(there, 180, lambda: f"{workers} workers: {place.site.status('bench', 'PecanModel')}")
    return set(place.workers())
