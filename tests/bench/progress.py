"""How often the status of a workflow is written, of 10,000 runs (short: 1,000) on 8 warm workers."""

from __future__ import annotations

from ensemble import WORKERS, run
from place import Place
from report import Figure, most_in_a_second, one


def measure(place: Place, long: bool) -> list[Figure]:
    place.model(workers=WORKERS)
    size = 10_000 if long else 1000
    course = run(place, size)
    moments = [change.at for change in course.writes]
    seconds = moments[-1] - moments[0]
    return [
        one(f"status writes of a workflow of {size:,} runs", "writes", len(moments)),
        one(f"status writes of a workflow of {size:,} runs", "writes/s", len(moments) / seconds),
        one("most in any second", "writes/s", most_in_a_second(moments)),
    ]
