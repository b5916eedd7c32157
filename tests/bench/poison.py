"""300 runs of 0.5 s on 8 workers beside a run that kills its worker each time, and the same without it."""

from __future__ import annotations

from place import Place
from report import Figure, one
from work import Planned, span

WORKERS, SECONDS = 8, 0.5
POISON = "0"


def measure(place: Place, long: bool) -> list[Figure]:
    model_id = place.model(workers=WORKERS)
    runs = 1000 if long else 300
    alone = Planned(place, model_id=model_id)
    alone.plan(1, "exec true")
    beside = Planned(place, model_id=model_id)
    note = f"/data/bench/poison-{beside.row.workflow_id}"
    beside.plan(1, f"echo >> {note}; kill -9 $PPID; exec sleep 60")
    took = []
    for planned in (alone, beside):
        planned.plan(runs, f"exec sleep {SECONDS}")
        planned.run(runs * SECONDS + 300)
        _, started, finished = span(place, planned.row.workflow_id, but=POISON)
        took.append(finished - started)
    ((state, attempts),) = place.query(
        "SELECT state, attempt FROM pecan_operator.run WHERE workflow_id = %s AND run_id = %s",
        beside.row.workflow_id,
        POISON,
    )
    assert state == "failed", f"the run that kills its worker is {state}"
    executions = place.sh(f"wc -l < {note}")
    return [
        one("executions of the poison run", "", int(executions)),
        one("attempts in the ledger", "", attempts),
        one(f"{runs} other runs, alone", "s", took[0]),
        one(f"{runs} other runs, beside it", "s", took[1]),
        one("throughput beside it / alone", "", took[0] / took[1]),
    ]
