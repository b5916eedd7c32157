"""How fast one worker is when the job takes no time; prints the figures."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest

# `python -m pytest -s -m full tests/broker/test_rates.py`; more rounds, in turn with the bare loop, tell more.
ROUNDS = int(os.environ.get("PECAN_RATE_ROUNDS", "6"))
RUNS = 60


def bare(python: str, folders: Sequence[Path]) -> list[float]:
    """When each run had ended in a loop that does no more than start jobs and write files."""
    program = Path(__file__).with_name("bare.py")
    done = subprocess.run([python, program, *folders], check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout))


def finished_at(folder: Path) -> float:
    result = json.loads((folder / ".pecan-result.json").read_text())
    assert result["state"] == "succeeded"
    return datetime.fromisoformat(result["finished_at"]).timestamp()


def gaps(ends: Sequence[float]) -> list[float]:
    """Milliseconds from one run's end to the next one's."""
    return [(after - before) * 1000 for before, after in pairwise(sorted(ends))]


def figures(name: str, values: Sequence[float]) -> tuple[float, float]:
    middle, high = median(values), quantiles(values, n=100)[98]
    rate = 1000 * len(values) / sum(values)
    print(f"{name:<8} n {len(values)}  p50 {middle:.2f} ms  p99 {high:.2f} ms  {rate:.0f} runs/s")
    return middle, high


@pytest.mark.full
def test_short_jobs_follow_each_other_at_once(model: Any) -> None:
    plain: list[float] = []
    served: list[float] = []
    worker = model.worker()
    for round_ in range(ROUNDS):
        folders = [model.run("true", run=f"{round_}-bare-{number}") for number in range(RUNS)]
        plain += gaps(bare(worker.python, folders))
        folders = [model.run("true", run=f"{round_}-{number}") for number in range(RUNS)]
        for folder in folders:
            model.publish(folder)
        # Looked at seldom: this process shares the processors with the worker.
        deadline = time.monotonic() + 60
        while not (folders[-1] / "rabbitmq.out").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        model.wait_for("finished", count=RUNS * (round_ + 1))
        served += gaps([finished_at(folder) for folder in folders])
    print()
    (least, least_high), (middle, high) = figures("bare", plain), figures("worker", served)
    print(f"worker above bare: p50 {middle - least:.2f} ms, p99 {high - least_high:.2f} ms")
    assert middle - least < 50
