"""The run loop, turn by turn, over fakes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from fakes import START, FakeBroker, FakeDatabase, FakeLedger, _plan
from objects import NAMESPACE

from pecan_operator.core.runs import lost
from pecan_operator.errors import Superseded, Unavailable
from pecan_operator.handlers.patrol import ORPHAN_SECONDS, OVERDUE_MARGIN_SECONDS, STALLED_SECONDS, Served
from pecan_operator.handlers.runs import RunLoop
from pecan_operator.handlers.workqueue import Key
from pecan_operator.records import EventKind, RunKey, RunState, WorkerEvent, WorkflowRequest

QUEUE = "DALEC_ev"
MODEL = Key("PecanModel", NAMESPACE, "dalec")
PLANNED, QUEUED, RUNNING = RunState.PLANNED, RunState.QUEUED, RunState.RUNNING
SUCCEEDED, CANCELLED = RunState.SUCCEEDED, RunState.CANCELLED


@dataclass
class FakeCluster:
    pods: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=lambda: {QUEUE})
    asked: int = 0

    def gone_workers(self, namespace: str, workers: Iterable[str]) -> set[str]:
        return set(workers) - self.pods

    def queues(self, namespace: str) -> set[str]:
        self.asked += 1
        return self.models


class Bench:
    """A loop with its model served, and a workflow `a` of planned runs."""

    def __init__(self, runs: int = 4, served: bool = True) -> None:
        self.seconds = 1000.0
        self.ledger = FakeLedger(now=self.now)
        self.broker = FakeBroker()
        self.broker.queues[QUEUE] = deque()
        self.cluster = FakeCluster()
        self.enqueued: list[tuple[Key, float]] = []
        self.start()
        if runs:
            self.workflow("a", runs)
        if served:
            self.serve()

    def start(self) -> None:
        """A new process."""
        self.loop = RunLoop(
            NAMESPACE, FakeDatabase(self.ledger), self.ledger, self.broker, self.cluster, self.enqueue,
            clock=lambda: self.seconds, now=self.now,
        )  # type: ignore[arg-type]  # fmt: skip

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def enqueue(self, key: Key, delay: float) -> None:
        self.enqueued.append((key, delay))

    def workflow(self, uid: str, runs: int, **given: Any) -> int:
        values: dict[str, Any] = {
            "uid": uid, "namespace": NAMESPACE, "name": uid, "model_id": 1, "queue": QUEUE, "hostname": "docker",
            "start_date": "1997-01-01", "end_date": "1999-12-31", "params": {}, "notes": "", "priority": 0,
            "max_parallel": None, "max_attempts": 3, "stop_on_error": False, "suspended": False,
            "folder_policy": "Retain",
        }  # fmt: skip
        row = self.ledger.accept_workflow(WorkflowRequest(**{**values, **given}))
        self.ledger.register_runs(row.workflow_id, [_plan(row.folder, n) for n in range(runs)])
        self.loop.follow(uid, Key("PecanWorkflow", NAMESPACE, uid))
        return row.workflow_id

    def serve(self, replicas: int = 10, suspended: bool = False, queue: str = QUEUE) -> None:
        self.loop.serve(queue, Served(MODEL, replicas, suspended, timeout_seconds=300, grace_seconds=360))

    def key(self, number: int = 0, workflow_id: int = 99_000_000_001) -> RunKey:
        return RunKey(workflow_id, str(99_000_000_100 + number))

    def say(self, kind: str, number: int | None = None, worker: str = "w1", attempt: int = 1, **given: Any) -> None:
        key = None if number is None else self.key(number)
        self.broker.say(
            WorkerEvent(EventKind(kind), worker, QUEUE, key, attempt, at=self.now(), started_at=self.now(), **given)
        )

    def step(self, seconds: float = 0.0, times: int = 1) -> None:
        for _ in range(times):
            self.seconds += seconds
            self.loop.step()

    def states(self) -> list[RunState]:
        return [run.state for run in self.ledger.runs.values()]

    def commands(self, command: str) -> list[dict[str, Any]]:
        return [each for each in self.broker.controls if each["command"] == command]


# --- connecting -------------------------------------------------------------------------------------------------------


def test_a_new_connection_declares_asks_and_leaves_a_marker() -> None:
    bench = Bench(runs=0)
    del bench.broker.queues[QUEUE]
    bench.step()
    assert QUEUE in bench.broker.queues
    assert bench.ledger.marker is not None
    assert bench.ledger.marker in bench.broker.queues
    assert bench.commands("report") == [{"command": "report"}]
    bench.step(times=3)
    assert len(bench.commands("report")) == 1


def superseded(*given: Any) -> None:
    raise Superseded("operator number 2 has taken over")


def test_an_operator_that_was_replaced_does_nothing_with_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    monkeypatch.setattr(bench.ledger, "raise_epoch", superseded)
    with pytest.raises(Superseded):
        bench.step()
    assert (bench.ledger.marker, bench.broker.controls) == (None, [])
    assert bench.states() == [RunState.PLANNED] * 4


def test_an_operator_that_is_replaced_ends_and_leaves_the_events_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.step()
    bench.say("started", 0)
    bench.say("started", 1)
    monkeypatch.setattr(bench.ledger, "lock_runs", superseded)
    with pytest.raises(Superseded):
        bench.step()
    monkeypatch.undo()
    bench.broker.reconnect()
    bench.start()
    bench.step()
    assert bench.states()[:2] == [RunState.RUNNING] * 2


def test_a_broker_that_keeps_its_data_changes_nothing() -> None:
    bench = Bench()
    bench.step()
    marker = bench.ledger.marker
    bench.broker.reconnect()
    bench.step()
    assert bench.ledger.marker == marker
    assert bench.states() == [QUEUED] * 4
    assert len(bench.broker.published) == 4
    assert len(bench.commands("report")) == 2


def test_a_broker_that_lost_its_data_gets_all_open_runs_again() -> None:
    bench = Bench()
    bench.step()
    bench.say("started", 0)
    bench.step()
    marker = bench.ledger.marker
    bench.broker.lose_data()
    bench.step()
    assert bench.ledger.marker not in (None, marker)
    assert bench.states() == [QUEUED] * 4
    assert [run.attempt for run in bench.ledger.runs.values()] == [1, 1, 1, 1]
    assert len(bench.broker.queues[QUEUE]) == 4


def test_the_first_marker_is_no_loss() -> None:
    bench = Bench()
    for run in bench.ledger.runs.values():
        run.state = QUEUED
    bench.step()
    assert bench.states() == [QUEUED] * 4


# --- publishing -------------------------------------------------------------------------------------------------------


def test_a_queue_is_filled_up_to_its_window() -> None:
    bench = Bench(runs=50)
    bench.serve(replicas=3)
    bench.step(times=3)
    assert len(bench.broker.queues[QUEUE]) == 6
    assert bench.states().count(QUEUED) == 6
    for number in range(2):
        bench.say("started", number)
    bench.step(times=2)
    assert bench.states().count(QUEUED) == 6


def test_places_are_shared_between_workflows() -> None:
    bench = Bench(runs=100)
    small = bench.workflow("b", 3)
    limited = bench.workflow("c", 9, max_parallel=1)
    bench.serve(replicas=5)
    bench.step(times=3)
    published = [message.key.workflow_id for message in bench.broker.published]
    assert published.count(small) == 3
    assert published.count(limited) == 1
    assert len(published) == 10


@pytest.mark.parametrize(
    "hinder",
    [
        pytest.param(lambda bench: bench.serve(suspended=True), id="the model is suspended"),
        pytest.param(lambda bench: bench.ledger.update_workflow("a", suspended=True), id="the workflow is suspended"),
        pytest.param(lambda bench: bench.ledger.cancel_workflow("a", "why"), id="the workflow is cancelled"),
    ],
)
def test_what_is_not_published(hinder: Any) -> None:
    bench = Bench()
    hinder(bench)
    bench.step(times=3)
    assert bench.broker.published == []


def test_a_queue_without_model_gets_nothing() -> None:
    bench = Bench(served=False)
    bench.step(times=3)
    assert bench.broker.published == []


def test_a_message_tells_the_worker_all_it_needs() -> None:
    bench = Bench(runs=1)
    bench.step()
    (message,) = bench.broker.published
    assert message.message_id == "99000000001.99000000100.1"
    assert message.folder == "/data/workflows/PEcAn_99000000001/run/99000000100"
    assert message.outdir == "/data/workflows/PEcAn_99000000001/out/99000000100"
    assert message.expect == ("1997.nc",)


def test_a_queue_that_is_gone_is_made_again() -> None:
    bench = Bench()
    bench.step()
    bench.ledger.requeue_queued()
    del bench.broker.queues[QUEUE]
    bench.step(seconds=1.0, times=3)
    assert len(bench.broker.queues[QUEUE]) == 4
    assert bench.states() == [QUEUED] * 4


def test_messages_without_answer_are_sent_again() -> None:
    bench = Bench(runs=2)
    bench.broker.loses_answers = True
    bench.step()
    assert bench.states() == [PLANNED] * 2
    bench.broker.loses_answers = False
    bench.step(seconds=1.0)
    assert bench.states() == [QUEUED] * 2
    assert len(bench.broker.published) == 4


def test_a_later_attempt_is_published_as_such() -> None:
    bench = Bench(runs=1)
    bench.step()
    bench.say("started", 0)
    bench.say("finished", 0, state="failed", exit_code=1)
    bench.step()
    assert [message.attempt for message in bench.broker.published] == [1, 2]


# --- recording --------------------------------------------------------------------------------------------------------


def test_events_reach_the_ledger_and_are_acknowledged() -> None:
    bench = Bench(runs=2)
    bench.step()
    bench.enqueued.clear()
    bench.say("started", 0)
    bench.say("started", 1, worker="w2")
    bench.say("finished", 0, state="succeeded", exit_code=0)
    bench.step()
    assert bench.states() == [SUCCEEDED, RUNNING]
    assert bench.broker.unacknowledged() == []
    assert (Key("PecanWorkflow", NAMESPACE, "a"), 1.0) in bench.enqueued


def test_nothing_is_acknowledged_before_it_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(runs=2)
    bench.step()
    bench.say("started", 0)
    with monkeypatch.context() as broken:
        broken.setattr(bench.ledger, "write_runs", _unavailable)
        for _ in range(3):
            with pytest.raises(Unavailable):
                bench.step()
    assert bench.states() == [QUEUED, QUEUED]
    assert len(bench.broker.unacknowledged()) == 1
    # The database is back: the batch is still known, though the broker does not bring it again.
    bench.say("started", 1)
    bench.step(times=2)
    assert bench.states() == [RUNNING, RUNNING]
    assert bench.broker.unacknowledged() == []


def test_what_was_recorded_but_not_acknowledged_comes_again_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(runs=1)
    bench.step()
    bench.say("started", 0)
    bench.say("finished", 0, state="failed", exit_code=1)
    monkeypatch.setattr(bench.broker, "ack", lambda batch: None)
    bench.step()
    assert bench.ledger.runs[bench.key()].attempt == 2
    monkeypatch.undo()
    bench.broker.reconnect()
    bench.start()
    bench.serve()
    bench.step()
    assert bench.ledger.runs[bench.key()].attempt == 2
    assert bench.broker.unacknowledged() == []


def test_an_event_that_the_ledger_cannot_take_does_not_hold_up_the_others() -> None:
    bench = Bench(runs=3)
    bench.step()
    bench.ledger.refuses.add("\0")
    for number in range(3):
        bench.say("finished", number, state="failed", exit_code=65, reason="\0" if number == 1 else "no drivers")
    bench.step()
    assert bench.states() == [RunState.FAILED, QUEUED, RunState.FAILED]
    assert bench.broker.unacknowledged() == []


def test_what_the_broker_gave_up_is_a_lost_attempt_of_no_worker() -> None:
    bench = Bench(runs=1)
    bench.step()
    dead = lost(bench.ledger.row(bench.key()), "the broker gave up message", bench.now())
    bench.broker.say(dead, dead=True)
    bench.step()
    run = bench.ledger.runs[bench.key()]
    assert (run.attempt, run.last_error) == (2, "the broker gave up message")
    assert bench.loop.view(QUEUE).workers == {}
    assert bench.broker.unacknowledged() == []


def test_work_of_others_is_seen_but_not_recorded() -> None:
    bench = Bench(runs=0)
    bench.cluster.pods.add("w1")
    bench.say("started")
    bench.step()
    assert bench.loop.view(QUEUE).workers == {"w1": None}
    assert bench.ledger.runs == {}


def test_a_run_of_a_cancelled_workflow_that_begins_is_called_back_at_once() -> None:
    bench = Bench(runs=1)
    bench.step()
    bench.ledger.runs[bench.key()].state = PLANNED
    bench.ledger.cancel_workflow("a", "why")
    bench.say("started", 0)
    bench.step()
    assert {"command": "cancel", "workflow": "99000000001", "generation": 0} in bench.broker.controls
    assert bench.states() == [CANCELLED]


# --- workers ----------------------------------------------------------------------------------------------------------


def test_who_is_busy_and_who_is_idle_since_when() -> None:
    bench = Bench(runs=2)
    bench.cluster.pods |= {"w1", "w2", "w3"}
    bench.say("ready", worker="w1")
    bench.say("started", 0, worker="w2")
    bench.say("ready", worker="w3")
    bench.say("stopped", worker="w3")
    bench.step()
    assert bench.loop.view(QUEUE).workers == {"w1": 1000.0, "w2": None}
    bench.say("ready", worker="w1")
    bench.say("finished", 0, worker="w2", state="succeeded")
    bench.step(seconds=5.0)
    assert bench.loop.view(QUEUE).workers == {"w1": 1000.0, "w2": 1005.0}


def test_the_model_hears_of_its_workers() -> None:
    bench = Bench(runs=0)
    bench.step()
    bench.enqueued.clear()
    bench.say("ready")
    bench.step()
    assert (MODEL, 1.0) in bench.enqueued


def test_workers_whose_pod_is_gone_are_forgotten() -> None:
    bench = Bench(runs=0)
    bench.cluster.pods |= {"w1"}
    bench.say("ready", worker="w1")
    bench.say("started", worker="w2")
    bench.step()
    assert set(bench.loop.view(QUEUE).workers) == {"w1"}


def running(bench: Bench, worker: str = "w1") -> None:
    bench.step()
    bench.say("started", 0, worker=worker)
    bench.step()


def test_a_run_whose_pod_is_gone_is_lost_after_a_while() -> None:
    bench = Bench(runs=1)
    bench.cluster.pods.add("w1")
    running(bench)
    bench.step(seconds=100.0, times=3)
    assert bench.states() == [RUNNING]
    bench.cluster.pods.clear()
    bench.step(seconds=5.0)
    bench.step(seconds=ORPHAN_SECONDS - 1.0)
    assert bench.states() == [RUNNING]
    bench.step(seconds=6.0, times=2)
    run = bench.ledger.runs[bench.key()]
    assert (run.state, run.attempt, run.last_error) == (QUEUED, 2, "its worker pod is gone")


def test_a_pod_that_is_seen_again_was_not_gone() -> None:
    bench = Bench(runs=1)
    running(bench)
    bench.step(seconds=ORPHAN_SECONDS - 5.0)
    bench.cluster.pods.add("w1")
    bench.step(seconds=6.0)
    bench.cluster.pods.clear()
    bench.step(seconds=6.0, times=3)
    assert bench.states() == [RUNNING]


def test_a_run_whose_worker_says_something_meanwhile_is_not_lost() -> None:
    bench = Bench(runs=1)
    running(bench)
    bench.step(seconds=40.0)
    bench.say("finished", 0, state="succeeded", exit_code=0)
    bench.step(seconds=6.0, times=3)
    assert bench.states() == [SUCCEEDED]


def test_a_run_whose_end_the_broker_forgot_does_not_run_for_ever() -> None:
    bench = Bench(runs=1)
    bench.cluster.pods.add("w1")
    running(bench)
    bench.say("ready", worker="w1")
    bench.step(seconds=5.0)
    bench.step(seconds=ORPHAN_SECONDS - 1.0)
    assert bench.states() == [RUNNING]
    bench.step(seconds=6.0, times=2)
    run = bench.ledger.runs[bench.key()]
    assert (run.state, run.attempt, run.last_error) == (QUEUED, 2, "its worker is idle and has said nothing of it")


def test_a_run_is_given_up_when_its_time_and_grace_are_long_over() -> None:
    bench = Bench(runs=1)
    bench.cluster.pods.add("w1")
    running(bench)
    bench.step(seconds=300 + 360 + OVERDUE_MARGIN_SECONDS - 1.0)
    assert bench.states() == [RUNNING]
    bench.step(seconds=6.0, times=2)
    run = bench.ledger.runs[bench.key()]
    assert (run.state, run.attempt) == (QUEUED, 2)
    # The worker is as busy as it was: what the loop says itself is no word of it.
    assert bench.loop.view(QUEUE).workers == {"w1": None}


# --- what nobody serves -----------------------------------------------------------------------------------------------


def test_a_restart_takes_nothing_from_anybody() -> None:
    bench = Bench()
    bench.cluster.pods.add("w1")
    running(bench)
    bench.broker.reconnect()
    bench.start()
    bench.step(seconds=5.0, times=30)
    assert bench.commands("release") == []
    assert bench.states() == [RUNNING, QUEUED, QUEUED, QUEUED]
    assert len(bench.broker.queues[QUEUE]) == 4
    assert bench.cluster.asked > 0


def test_a_queue_whose_model_is_gone_is_emptied() -> None:
    bench = Bench()
    bench.cluster.pods.add("w1")
    running(bench)
    bench.cluster.models.clear()
    bench.loop.withdraw(QUEUE, MODEL)
    assert bench.commands("release") == [{"command": "release", "queue": QUEUE}]
    bench.step(seconds=5.0)
    assert len(bench.commands("release")) == 2
    assert bench.states() == [RUNNING, QUEUED, QUEUED, QUEUED]
    bench.say("finished", 0, state="released")
    bench.step(seconds=5.0, times=2)
    assert bench.states() == [PLANNED] * 4
    assert not bench.broker.queues[QUEUE]
    bench.step(seconds=5.0, times=3)
    assert bench.states() == [PLANNED] * 4


def test_a_model_gone_while_the_operator_was_away_is_noticed() -> None:
    bench = Bench()
    bench.step()
    bench.cluster.models.clear()
    bench.broker.reconnect()
    bench.start()
    bench.step(seconds=5.0, times=2)
    assert bench.commands("release")
    assert bench.states() == [PLANNED] * 4


def test_only_its_own_model_withdraws_a_queue() -> None:
    bench = Bench()
    bench.loop.withdraw(QUEUE, Key("PecanModel", NAMESPACE, "another"))
    bench.step()
    assert bench.commands("release") == []
    assert bench.states() == [QUEUED] * 4


def test_runs_of_a_dead_worker_on_a_deserted_queue_are_not_running_for_ever() -> None:
    bench = Bench(runs=1)
    running(bench)
    bench.cluster.models.clear()
    bench.loop.withdraw(QUEUE, MODEL)
    bench.step(seconds=5.0, times=15)
    assert bench.states() == [PLANNED]
    assert bench.ledger.runs[bench.key()].attempt == 2


def test_what_waits_for_a_suspended_model_is_taken_back() -> None:
    bench = Bench()
    bench.step()
    bench.serve(suspended=True)
    bench.step(seconds=5.0, times=2)
    assert bench.states() == [PLANNED] * 4
    assert not bench.broker.queues[QUEUE]
    assert bench.commands("release") == []
    bench.serve()
    bench.step()
    assert bench.states() == [QUEUED] * 4


def test_a_suspended_models_busy_workers_finish_what_they_have_and_no_more() -> None:
    bench = Bench()
    bench.cluster.pods.add("w1")
    bench.step()
    bench.say("started", 0)
    bench.step()
    bench.serve(suspended=True)
    bench.step(seconds=5.0)
    assert bench.states() == [RUNNING, PLANNED, PLANNED, PLANNED]
    # One was on its way to a worker at that moment.
    bench.say("started", 1)
    bench.say("finished", 0, state="succeeded")
    bench.step(seconds=5.0)
    assert bench.states() == [SUCCEEDED, RUNNING, PLANNED, PLANNED]
    bench.serve()
    bench.step()
    assert bench.states() == [SUCCEEDED, RUNNING, QUEUED, QUEUED]
    assert {run.attempt for run in bench.ledger.runs.values()} == {1}


def test_a_cancelled_workflow_ends_although_no_worker_ever_starts() -> None:
    bench = Bench()
    bench.step()
    bench.ledger.cancel_workflow("a", "why")
    assert bench.states() == [QUEUED] * 4
    bench.enqueued.clear()
    bench.step(seconds=5.0)
    assert bench.states() == [CANCELLED] * 4
    assert not bench.broker.queues[QUEUE]
    assert (Key("PecanWorkflow", NAMESPACE, "a"), 0.0) in bench.enqueued


def test_a_cancelled_workflow_is_left_to_its_workers_where_there_are_some() -> None:
    bench = Bench()
    bench.cluster.pods.add("w1")
    bench.say("ready")
    bench.step()
    bench.ledger.cancel_workflow("a", "why")
    bench.step(seconds=1.0, times=8)
    assert bench.states() == [QUEUED] * 4
    cancels = bench.commands("cancel")
    assert len(cancels) == 8
    assert set(map(str, cancels)) == {str({"command": "cancel", "workflow": "99000000001", "generation": 0})}
    for number in range(4):
        bench.say("finished", number, state="cancelled")
    bench.step(seconds=1.0)
    bench.step(seconds=1.0, times=3)
    assert len(bench.commands("cancel")) == 8
    assert bench.states() == [CANCELLED] * 4


def test_runs_whose_messages_have_vanished_are_published_again() -> None:
    bench = Bench()
    bench.step()
    bench.broker.queues[QUEUE].clear()
    bench.step(seconds=5.0)
    bench.step(seconds=STALLED_SECONDS - 5.0)
    assert bench.states() == [QUEUED] * 4
    assert not bench.broker.queues[QUEUE]
    bench.step(seconds=6.0, times=3)
    assert len(bench.broker.queues[QUEUE]) == 4
    assert [run.attempt for run in bench.ledger.runs.values()] == [1] * 4


@pytest.mark.parametrize(
    "sign",
    [
        pytest.param(lambda bench: None, id="messages wait"),
        pytest.param(lambda bench: (bench.broker.queues[QUEUE].clear(), bench.say("started", 0)), id="one runs"),
    ],
)
def test_what_shows_that_messages_are_there(sign: Any) -> None:
    bench = Bench()
    bench.cluster.pods.add("w1")
    bench.step()
    sign(bench)
    before = len(bench.broker.published)
    bench.step(seconds=5.0, times=30)
    assert len(bench.broker.published) == before


def test_an_api_server_that_is_away_makes_nothing_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.cluster.pods.add("w1")
    running(bench)
    monkeypatch.setattr(bench.cluster, "gone_workers", _unavailable)
    bench.step(seconds=100.0, times=3)
    assert bench.states()[0] is RUNNING
    assert bench.loop.view(QUEUE).counts is not None


# --- views ------------------------------------------------------------------------------------------------------------


def test_nothing_is_known_before_the_first_look() -> None:
    view = Bench().loop.view(QUEUE)
    assert (view.counts, view.ready) == (None, None)


def test_a_queue_without_work_counts_zero_once_known() -> None:
    bench = Bench(runs=0)
    bench.step()
    view = bench.loop.view(QUEUE)
    assert view.counts is not None
    assert (view.counts.publishable, view.counts.queued, view.ready) == (0, 0, 0)


@pytest.mark.parametrize("part", ["broker", "database"])
def test_what_does_not_answer_is_unknown_and_the_model_hears_it_once(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    bench.step()
    bench.enqueued.clear()
    if part == "broker":
        bench.broker.go_away()
    else:
        monkeypatch.setattr(bench.ledger, "queue_counts", _unavailable)
    for _ in range(3):
        bench.seconds += 1.0
        with pytest.raises(Unavailable) as raised:
            bench.loop.step()
        bench.loop._unknown(raised.value)
    view = bench.loop.view(QUEUE)
    assert (view.counts, view.ready) == (None, None)
    assert (view.broker_error is not None) == (part == "broker")
    assert bench.enqueued.count((MODEL, 0.0)) == 1
    monkeypatch.undo()
    bench.broker.connected = True
    bench.step(seconds=1.0)
    assert bench.loop.view(QUEUE).counts is not None
    assert bench.enqueued.count((MODEL, 0.0)) == 2


def test_more_work_is_told_at_once_and_less_work_soon() -> None:
    bench = Bench(runs=0)
    bench.step()
    bench.enqueued.clear()
    bench.workflow("a", 4)
    bench.step(seconds=1.0)
    assert (MODEL, 0.0) in bench.enqueued
    bench.step(seconds=1.0)
    bench.enqueued.clear()
    bench.say("finished", 0, state="succeeded")
    bench.step()
    assert (MODEL, 0.0) not in bench.enqueued
    assert (MODEL, 1.0) in bench.enqueued


def test_work_of_others_in_the_queue_is_seen() -> None:
    bench = Bench(runs=0)
    bench.step()
    bench.enqueued.clear()
    bench.broker.queues[QUEUE].extend([object()] * 3)  # type: ignore[list-item]
    bench.step(seconds=1.0)
    assert bench.loop.view(QUEUE).ready == 3
    assert (MODEL, 0.0) in bench.enqueued


def test_nobody_is_told_of_a_workflow_that_is_not_followed() -> None:
    bench = Bench(runs=1)
    bench.loop.unfollow("a")
    bench.step()
    bench.enqueued.clear()
    bench.say("finished", 0, state="succeeded")
    bench.step()
    assert bench.states() == [SUCCEEDED]
    assert all(key.kind == "PecanModel" for key, _ in bench.enqueued)


def test_a_platform_that_goes_calls_everything_back() -> None:
    bench = Bench()
    bench.loop.release_all()
    assert bench.broker.controls == [{"command": "release", "queue": None}]


def test_the_thread_works_and_ends() -> None:
    bench = Bench()
    bench.loop.start()
    for _ in range(200):
        if bench.states() == [QUEUED] * 4:
            break
        bench.loop._stopping.wait(0.005)
    bench.loop.stop()
    assert bench.states() == [QUEUED] * 4
    assert not bench.loop._thread.is_alive()


def _unavailable(*_: Any, **__: Any) -> Any:
    raise Unavailable("Away", "no answer")
