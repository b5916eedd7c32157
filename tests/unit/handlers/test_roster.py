"""What workers have said of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from pecan_operator.handlers.roster import ENDINGS_KEPT, Roster
from pecan_operator.records import EventKind, RunKey, RunRow, RunState, WorkerEvent

KEY = RunKey(7, "1")


def said(kind: str, worker: str = "w1", **given: Any) -> WorkerEvent:
    return WorkerEvent(EventKind(kind), worker, "Q", **given)


def row(worker: str | None) -> RunRow:
    return RunRow(KEY, "u", "Q", "/f", "/o", (), RunState.RUNNING, 1, 3, False, worker)


def test_idle_busy_retired_and_gone() -> None:
    seconds = [10.0]
    roster = Roster(lambda: seconds[0])
    roster.note([said("ready"), said("started", "w2")])
    assert roster.of("Q") == {"w1": 10.0, "w2": None}
    seconds[0] = 20.0
    roster.note([said("ready"), said("finished", "w2", state="succeeded")])
    assert roster.of("Q") == {"w1": 10.0, "w2": 20.0}
    seconds[0] = 30.0
    roster.note([said("finished", "w2", state="succeeded")])
    assert roster.of("Q") == {"w1": 10.0, "w2": 30.0}
    roster.note([said("retired")])
    assert roster.retired("Q") == {"w1"}
    roster.note([said("ready")])
    assert roster.retired("Q") == frozenset()
    roster.note([said("retired")])
    roster.strike(["w1"])
    assert (roster.of("Q"), roster.retired("Q")) == ({"w2": 30.0}, frozenset())
    roster.note([said("stopped", "w2")])
    assert roster.all() == {"Q": {}}
    assert roster.of("other") == {}


@pytest.mark.parametrize(
    ("event", "worker", "reason"),
    [
        pytest.param(said("finished", "w2", key=KEY, state="lost", reason="gone"), "w1", "gone (OOMKilled)", id="lost"),
        pytest.param(
            said("finished", "w2", key=KEY, state="lost"), "w1", "worker w1 disappeared (OOMKilled)", id="no reason"
        ),
        pytest.param(
            said("finished", "w2", key=KEY, state="lost", reason="it was OOMKilled"),
            "w1",
            "it was OOMKilled",
            id="said",
        ),
        pytest.param(said("finished", "w2", key=KEY, state="lost", reason="gone"), "w3", "gone", id="another ended"),
        pytest.param(said("finished", "w2", key=KEY, state="lost", reason="gone"), None, "gone", id="nobody had it"),
        pytest.param(said("finished", key=KEY, state="failed", reason="bad"), "w1", "bad", id="not lost"),
    ],
)
def test_a_lost_attempt_says_how_its_worker_ended(event: WorkerEvent, worker: str | None, reason: str) -> None:
    roster = Roster(lambda: 0.0)
    roster.end("w1", "OOMKilled")
    assert roster.explain(event, {KEY: row(worker)}).reason == reason


def test_only_the_latest_endings_are_kept() -> None:
    roster = Roster(lambda: 0.0)
    for number in range(ENDINGS_KEPT + 1):
        roster.end(f"w{number}", "exit code 137")
    lost = said("finished", "x", key=KEY, state="lost", reason="gone")
    assert roster.explain(lost, {KEY: row("w0")}).reason == "gone"
    assert roster.explain(lost, {KEY: row("w1")}).reason == "gone (exit code 137)"
