from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pecan_operator.core.runs import EXIT_BAD_DATA, decide_change, decide_changes, lost
from pecan_operator.messages import FINISHED_STATES
from pecan_operator.records import FINAL_STATES, EventKind, RunChange, RunKey, RunRow, RunState, WorkerEvent

KEY = RunKey(99_000_000_001, "7")
T0 = datetime(2024, 5, 1, tzinfo=UTC)
PLANNED, QUEUED, RUNNING = RunState.PLANNED, RunState.QUEUED, RunState.RUNNING
SUCCEEDED, FAILED, CANCELLED = RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED


def row(state: RunState = QUEUED, **given: Any) -> RunRow:
    values: dict[str, Any] = {
        "key": KEY,
        "workflow_uid": "u1",
        "queue": "DALEC_ev",
        "folder": "/data/workflows/PEcAn_1/run/7",
        "outdir": "/data/workflows/PEcAn_1/out/7",
        "expect": ("1997.nc",),
        "state": state,
        "attempt": 1,
        "max_attempts": 3,
        "workflow_cancelled": False,
    }
    return RunRow(**{**values, **given})


def event(state: str | None = None, **given: Any) -> WorkerEvent:
    kind = EventKind.STARTED if state is None else EventKind.FINISHED
    values: dict[str, Any] = {"kind": kind, "worker": "w1", "queue": "DALEC_ev", "key": KEY, "attempt": 1}
    return WorkerEvent(**{**values, "state": state, "at": T0, **given})


@pytest.mark.parametrize(
    ("before", "said", "after"),
    [
        pytest.param(row(QUEUED), event(), (RUNNING, 1), id="started"),
        pytest.param(row(PLANNED), event(), (RUNNING, 1), id="started before the ledger knew it was published"),
        pytest.param(row(RUNNING, worker="w1"), event(), None, id="started, told twice"),
        pytest.param(row(RUNNING, worker="w0"), event(), (RUNNING, 1), id="started by another worker"),
        pytest.param(row(PLANNED, attempt=2), event(), None, id="started, an earlier attempt"),
        pytest.param(row(RUNNING), event("succeeded"), (SUCCEEDED, 1), id="succeeded"),
        pytest.param(row(PLANNED, attempt=3), event("succeeded"), (SUCCEEDED, 3), id="an earlier attempt succeeded"),
        pytest.param(
            row(RUNNING, workflow_cancelled=True), event("succeeded"), (SUCCEEDED, 1), id="succeeded despite the cancel"
        ),
        pytest.param(row(RUNNING), event("failed", exit_code=1), (PLANNED, 2), id="failed: tried again"),
        pytest.param(row(RUNNING), event("lost"), (PLANNED, 2), id="lost: tried again"),
        pytest.param(row(QUEUED), event("lost"), (PLANNED, 2), id="its message was given up"),
        pytest.param(row(RUNNING, attempt=3), event("failed", attempt=3), (FAILED, 3), id="failed: given up"),
        pytest.param(row(RUNNING, attempt=3), event("lost", attempt=3), (FAILED, 3), id="lost: given up"),
        pytest.param(
            row(RUNNING, attempt=5, attempts_before=3),
            event("failed", attempt=5),
            (PLANNED, 6),
            id="retried: tried again",
        ),
        pytest.param(
            row(RUNNING, attempt=6, attempts_before=3), event("lost", attempt=6), (FAILED, 6), id="retried: given up"
        ),
        pytest.param(
            row(PLANNED, attempt=4, attempts_before=3), event("failed", attempt=3), None, id="retried: told before"
        ),
        pytest.param(
            row(PLANNED, attempt=2, attempts_before=1), event("cancelled"), None, id="retried: cancelled before"
        ),
        pytest.param(row(RUNNING, attempt=2), event("failed"), None, id="an earlier attempt failed"),
        pytest.param(row(RUNNING, attempt=2), event("cancelled"), None, id="an earlier attempt was cancelled"),
        pytest.param(row(RUNNING), event("failed", exit_code=65), (FAILED, 1), id="bad data is never retried"),
        pytest.param(row(QUEUED), event("refused"), (FAILED, 1), id="a refused message is never retried"),
        pytest.param(row(RUNNING, worker="w1"), event("released"), (QUEUED, 1), id="released costs no attempt"),
        pytest.param(row(RUNNING, worker="w2"), event("released"), None, id="released by who does not have it"),
        pytest.param(row(QUEUED), event("released"), None, id="released, told twice"),
        pytest.param(
            row(RUNNING, worker="w1", workflow_cancelled=True),
            event("released"),
            (CANCELLED, 1),
            id="released, unwanted",
        ),
        pytest.param(
            row(RUNNING, workflow_cancelled=True), event("failed", exit_code=1), (CANCELLED, 1), id="failed, unwanted"
        ),
        pytest.param(row(QUEUED), event("cancelled"), (CANCELLED, 1), id="cancelled"),
        pytest.param(row(SUCCEEDED), event("failed"), None, id="a success stays"),
        pytest.param(row(SUCCEEDED), event(), None, id="a success is not running"),
        pytest.param(row(FAILED, attempt=3), event("succeeded", attempt=3), None, id="a given-up run stays"),
        pytest.param(row(CANCELLED), event("succeeded"), None, id="a cancelled run stays"),
        pytest.param(row(QUEUED), event(kind=EventKind.READY, key=None), None, id="ready is about no run"),
        pytest.param(row(QUEUED), event(kind=EventKind.STOPPED, key=None), None, id="nor is stopped"),
    ],
)
def test_transitions(before: RunRow, said: WorkerEvent, after: tuple[RunState, int] | None) -> None:
    change = decide_change(before, said)
    assert (None if change is None else (change.state, change.attempt)) == after


def test_a_started_run_keeps_who_and_when() -> None:
    change = decide_change(row(), event(started_at=T0))
    assert change == RunChange(KEY, RUNNING, 1, worker="w1", started_at=T0)
    later = T0 + timedelta(seconds=1)
    assert decide_change(row(), event(at=later)) == RunChange(KEY, RUNNING, 1, worker="w1", started_at=later)


def test_a_success_keeps_its_times_and_says_no_error() -> None:
    later = T0 + timedelta(seconds=9)
    change = decide_change(row(RUNNING), event("succeeded", exit_code=0, started_at=T0, finished_at=later))
    assert change == RunChange(KEY, SUCCEEDED, 1, exit_code=0, worker="w1", started_at=T0, finished_at=later)


@pytest.mark.parametrize(
    ("before", "worker"),
    [(row(RUNNING, worker="w0"), "w0"), (row(QUEUED), "w1"), (row(RUNNING, attempt=2, worker="w2"), "w1")],
    ids=["it ran elsewhere", "no start was seen", "a later attempt runs elsewhere"],
)
def test_a_success_is_of_the_worker_that_ran_it(before: RunRow, worker: str) -> None:
    change = decide_change(before, event("succeeded", exit_code=0))
    assert change is not None
    assert (change.state, change.worker) == (SUCCEEDED, worker)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (event("failed", exit_code=3, reason="no drivers"), "no drivers"),
        (event("failed", exit_code=3), "job.sh ended with exit code 3"),
        (event("lost"), "the attempt was lost"),
    ],
    ids=["its own words", "the exit code", "the state"],
)
def test_a_failure_says_why(said: WorkerEvent, kept: str) -> None:
    change = decide_change(row(RUNNING), said)
    assert change is not None
    assert change.last_error == kept


def test_a_lost_attempt_is_of_the_row_as_it_was() -> None:
    gone = row(RUNNING, attempt=2, worker="w9")
    said = lost(gone, "its worker pod is gone", T0)
    assert (said.key, said.attempt, said.worker, said.finished_at) == (KEY, 2, "w9", T0)
    change = decide_change(gone, said)
    assert change is not None
    assert (change.state, change.attempt, change.last_error) == (PLANNED, 3, "its worker pod is gone")
    assert decide_change(replace(gone, attempt=3), said) is None


any_event = st.builds(
    event,
    state=st.none() | st.sampled_from(sorted(FINISHED_STATES)),
    kind=st.sampled_from(EventKind),
    attempt=st.integers(1, 12),
    worker=st.sampled_from(["w1", "w2"]),
    exit_code=st.none() | st.sampled_from([0, 1, EXIT_BAD_DATA]),
    reason=st.none() | st.just("because"),
    key=st.sampled_from([KEY, RunKey(KEY.workflow_id, "8"), None]),
    started_at=st.none() | st.just(T0),
    finished_at=st.none() | st.just(T0 + timedelta(seconds=5)),
)


def store(columns: dict[str, Any], change: RunChange) -> dict[str, Any]:
    """As the ledger writes a change: what is None stays."""
    given = {each.name: getattr(change, each.name) for each in fields(RunChange)}
    return {**columns, **{name: value for name, value in given.items() if value is not None}}


@given(
    st.lists(any_event, max_size=12),
    st.sampled_from(RunState),
    st.sampled_from(RunState),
    st.integers(1, 3),
    st.booleans(),
)
def test_a_batch_is_its_events_one_by_one(
    events: list[WorkerEvent], one: RunState, other: RunState, attempt: int, cancelled: bool
) -> None:
    rows = {
        KEY: row(one, attempt=attempt, workflow_cancelled=cancelled),
        RunKey(KEY.workflow_id, "8"): row(other, key=RunKey(KEY.workflow_id, "8"), worker="w2"),
    }
    folded, columns = dict(rows), {key: {"worker": each.worker} for key, each in rows.items()}
    for each in events:
        if each.key in folded and (change := decide_change(folded[each.key], each)) is not None:
            now = folded[each.key]
            folded[each.key] = replace(
                now, state=change.state, attempt=change.attempt, worker=change.worker or now.worker
            )
            columns[each.key] = store(columns[each.key], change)
    changes = decide_changes(rows, events)
    assert len({change.key for change in changes}) == len(changes)
    at_once = {key: {"worker": each.worker} for key, each in rows.items()}
    for change in changes:
        at_once[change.key] = store(at_once[change.key], change)
    assert at_once == columns


def test_events_of_unknown_runs_and_of_others_are_passed_over() -> None:
    assert decide_changes({}, [event(), event("succeeded"), event(key=None)]) == []


class Ledger(RuleBasedStateMachine):
    """One run under any events in any order: doubled, late, of earlier attempts, of workers that never had it."""

    def __init__(self) -> None:
        super().__init__()
        self.row = row(PLANNED)
        self.ended: RunRow | None = None
        self.told_success = False
        self.successes = 0

    @rule()
    def publish(self) -> None:
        if self.row.state is PLANNED:
            self.row = replace(self.row, state=QUEUED)

    @rule()
    def broker_loses_its_data(self) -> None:
        if self.row.state is QUEUED:
            self.row = replace(self.row, state=CANCELLED if self.row.workflow_cancelled else PLANNED)

    @precondition(lambda self: not self.row.workflow_cancelled)
    @rule()
    def cancel(self) -> None:
        state = CANCELLED if self.row.state is PLANNED else self.row.state
        self.row = replace(self.row, workflow_cancelled=True, state=state)

    @precondition(lambda self: self.row.state in (FAILED, CANCELLED) and self.row.attempt < 10)
    @rule()
    def retry(self) -> None:
        before = self.row.attempt
        self.row = replace(
            self.row, state=PLANNED, attempt=before + 1, attempts_before=before, workflow_cancelled=False
        )
        self.ended = None

    @rule(said=any_event)
    def hear(self, said: WorkerEvent) -> None:
        said = replace(said, key=KEY)
        before = self.row
        change = decide_change(before, said)
        finished = said.kind is EventKind.FINISHED
        if finished and said.state == "succeeded" and before.state not in FINAL_STATES:
            self.told_success = True
        if change is None:
            return
        self.row = replace(before, state=change.state, attempt=change.attempt, worker=change.worker or before.worker)
        self.successes += change.state is SUCCEEDED
        if change.attempt != before.attempt:
            assert finished
            assert said.attempt == before.attempt
            assert change.state is PLANNED
            assert said.exit_code != EXIT_BAD_DATA
            assert said.state not in ("released", "cancelled", "refused", "succeeded")
            assert not before.workflow_cancelled

    @invariant()
    def attempts_are_bounded(self) -> None:
        assert 1 <= self.row.attempt - self.row.attempts_before <= self.row.max_attempts

    @invariant()
    def an_end_is_an_end(self) -> None:
        if self.ended is not None:
            assert (self.row.state, self.row.attempt) == (self.ended.state, self.ended.attempt)
        elif self.row.state in FINAL_STATES:
            self.ended = self.row

    @invariant()
    def a_success_is_never_lost_and_never_doubled(self) -> None:
        assert self.successes <= 1
        assert (self.row.state is SUCCEEDED) == self.told_success

    @invariant()
    def what_was_cancelled_does_not_wait_to_be_published(self) -> None:
        assert not (self.row.workflow_cancelled and self.row.state is PLANNED)


TestLedger = Ledger.TestCase
TestLedger.settings = settings(stateful_step_count=20)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[str], list[int]]:
    """How each attempt goes, and which of all events told so far is told again after each."""
    ends = draw(st.lists(st.sampled_from(["released", "failed", "lost", "succeeded", "bad data"]), max_size=8))
    return [*ends, "succeeded"], draw(st.lists(st.integers(0, 50), min_size=40, max_size=40))


@given(histories())
def test_the_ledger_converges_whatever_is_told_twice(history: tuple[list[str], list[int]]) -> None:
    ends, again = history
    now, told, expected = row(PLANNED), [], None
    attempt = 1
    for turn, end in enumerate(ends):
        now = replace(now, state=QUEUED) if now.state is PLANNED else now
        code = {"succeeded": 0, "bad data": EXIT_BAD_DATA}.get(end, 1)
        state = "failed" if end == "bad data" else end
        worker = f"w{turn}"
        for said in (
            event(attempt=attempt, worker=worker),
            event(state, attempt=attempt, worker=worker, exit_code=code),
        ):
            told.append(said)
            for each in (said, told[again[turn] % len(told)]):
                for change in decide_changes({KEY: now}, [each]):
                    now = replace(now, state=change.state, attempt=change.attempt, worker=change.worker or now.worker)
        if expected is None:
            if end == "succeeded":
                expected = (SUCCEEDED, attempt)
            elif end == "bad data" or (end in ("failed", "lost") and attempt == now.max_attempts):
                expected = (FAILED, attempt)
            elif end != "released":
                attempt += 1
    assert (now.state, now.attempt) == expected
