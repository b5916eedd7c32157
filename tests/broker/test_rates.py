"""How fast one worker is when the job takes no time; prints the figures."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import pairwise
from statistics import median, quantiles
from typing import Any

import pytest

RUNS = 300


@pytest.mark.full
def test_short_jobs_follow_each_other_at_once(model: Any) -> None:
    folders = [model.run("true", run=str(number)) for number in range(RUNS)]
    for folder in folders:
        model.publish(folder)
    began = time.monotonic()
    model.worker()
    model.wait_for("finished", count=RUNS, seconds=60)
    times = sorted(
        (datetime.fromisoformat(event["started_at"]), datetime.fromisoformat(event["finished_at"]))
        for event in model.told("finished", state="succeeded")
    )
    assert len(times) == RUNS
    gaps = [(after[0] - before[1]).total_seconds() * 1000 for before, after in pairwise(times)]
    seconds = (times[-1][1] - times[0][0]).total_seconds()
    job = median((finished - started).total_seconds() * 1000 for started, finished in times)
    print(
        f"\n{RUNS / seconds:.0f} runs/s ({time.monotonic() - began:.1f} s with the start of the worker); "
        f"job p50 {job:.2f} ms; from one job's end to the next one's start p50 {median(gaps):.2f} ms, "
        f"p99 {quantiles(gaps, n=100)[98]:.2f} ms"
    )
    assert median(gaps) < 50
