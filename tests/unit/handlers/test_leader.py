"""Holding the Lease, against an API server in memory; two candidates in any order, with any delay and any loss."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pecan_operator.core.leader import Terms, new_lease
from pecan_operator.errors import Superseded, Unavailable, UserError
from pecan_operator.handlers import leader as module
from pecan_operator.handlers.leader import Leader, leave_when_superseded, new_identity
from pecan_operator.records import Epoch

TERMS = Terms()
NAME = ("pecan-system", "pecan")


class Leases:
    """What the API server does with one Lease. `fault` is asked before and after each request takes effect."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.calls: list[str] = []
        self.fault: Callable[[str], None] = lambda when: None
        self._numbers = count(1)

    def read(self, api_version: str, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        assert (api_version, kind, namespace, name) == ("coordination.k8s.io/v1", "Lease", *NAME)
        return self._do("read", lambda: self.lease)

    def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        return self._do("create", lambda: self._put(manifest, f"u{next(self._numbers)}") if not self.lease else None)

    def replace(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        def put() -> dict[str, Any] | None:
            known = (self.lease or {"metadata": {}})["metadata"]
            same = known.get("resourceVersion") == manifest["metadata"]["resourceVersion"]
            return self._put(manifest, known["uid"]) if same else None

        return self._do("replace", put)

    def holder(self) -> str:
        return (self.lease or {"spec": {"holderIdentity": ""}})["spec"]["holderIdentity"]

    def _do(self, verb: str, action: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
        self.fault("before")
        self.calls.append(verb)
        answer = action()
        self.fault("after")
        return answer

    def _put(self, manifest: dict[str, Any], uid: str) -> dict[str, Any]:
        version = str(next(self._numbers))
        self.lease = {**manifest, "metadata": {**manifest["metadata"], "uid": uid, "resourceVersion": version}}
        return self.lease


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Process:
    """A leader whose threads are this test; `left` says why it has ended."""

    def __init__(self, leases: Leases, clock: Callable[[], float], identity: str) -> None:
        self.left: list[str] = []
        self.leader = Leader(leases, *NAME, identity, terms=TERMS, leave=self.left.append, clock=clock)


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def a(leases: Leases, clock: Clock) -> Process:
    return Process(leases, clock, "a")


@pytest.fixture
def b(leases: Leases, clock: Clock) -> Process:
    return Process(leases, clock, "b")


def test_before_its_first_look_it_neither_leads_nor_waits(a: Process) -> None:
    assert (a.leader.leads(), a.leader.waits()) == (False, False)


def test_the_first_one_leads_and_the_second_waits(leases: Leases, clock: Clock, a: Process, b: Process) -> None:
    assert a.leader.turn() == TERMS.renew_seconds
    assert b.leader.turn() == TERMS.look_seconds
    assert (a.leader.leads(), b.leader.leads()) == (True, False)
    assert (a.leader.waits(), b.leader.waits()) == (False, True)
    assert a.leader.epoch() == Epoch("u1", 0)
    for _ in range(30):
        clock.seconds += 1.0
        a.leader.turn()
        b.leader.turn()
    assert (a.leader.leads(), b.leader.leads(), leases.holder()) == (True, False, "a")
    assert (a.left, b.left) == ([], [])


def test_a_renewal_is_one_call(leases: Leases, clock: Clock, a: Process) -> None:
    a.leader.turn()
    leases.calls.clear()
    clock.seconds += 1.0
    a.leader.turn()
    assert leases.calls == ["replace"]


def test_a_leader_that_is_gone_is_followed_when_its_time_is_over(
    leases: Leases, clock: Clock, a: Process, b: Process
) -> None:
    a.leader.turn()
    while not b.leader.leads():
        assert clock.seconds <= TERMS.duration_seconds + TERMS.look_seconds
        clock.seconds += b.leader.turn()
    assert b.leader.epoch() == Epoch("u1", 1)
    a.leader._is_fresh = False
    a.leader.turn()
    assert a.left == ["Lease pecan is lost to b"]


def test_a_lease_given_back_is_taken_at_the_next_look(leases: Leases, clock: Clock, a: Process, b: Process) -> None:
    a.leader.turn()
    b.leader.turn()
    a.leader.release()
    assert (leases.holder(), a.leader.leads()) == ("", False)
    b.leader.turn()
    assert b.leader.leads()
    assert b.leader.epoch().number == 1
    assert a.left == []


def test_one_that_waits_gives_nothing_back(leases: Leases, a: Process, b: Process) -> None:
    a.leader.turn()
    b.leader.turn()
    leases.calls.clear()
    b.leader.release()
    assert leases.calls == []
    assert leases.holder() == "a"


def test_a_lease_that_is_anothers_already_is_not_given_back(
    leases: Leases, clock: Clock, a: Process, b: Process
) -> None:
    a.leader.turn()
    b.leader.turn()
    clock.seconds += TERMS.duration_seconds
    b.leader.turn()
    a.leader.release()
    assert leases.holder() == "b"


def test_an_api_server_that_does_not_answer_costs_the_lease_in_time(leases: Leases, clock: Clock, a: Process) -> None:
    a.leader.turn()
    leases.fault = _unavailable
    while a.leader.leads():
        clock.seconds += a.leader.turn()
    assert clock.seconds <= TERMS.duration_seconds
    leases.fault = lambda when: None
    a.leader.turn()
    assert len(a.left) == 1


def test_a_renewal_whose_answer_is_lost_is_made_again(leases: Leases, clock: Clock, a: Process) -> None:
    a.leader.turn()
    clock.seconds += 1.0
    leases.fault = lambda when: _unavailable(when) if when == "after" else None
    a.leader.turn()
    leases.fault = lambda when: None
    clock.seconds += 3.5
    a.leader.turn()
    clock.seconds += 3.5
    assert a.leader.leads()
    assert a.left == []


def test_a_lease_deleted_under_its_holder_ends_it_and_counts_anew(leases: Leases, a: Process, b: Process) -> None:
    a.leader.turn()
    leases.lease = None
    b.leader.turn()
    assert a.leader.epoch().lease != b.leader.epoch().lease
    a.leader.turn()
    a.leader.turn()
    assert a.left == ["Lease pecan is lost to b"]


def test_what_is_refused_is_told_once(leases: Leases, a: Process, caplog: pytest.LogCaptureFixture) -> None:
    def forbidden(when: str) -> None:
        raise UserError("RefusedByKubernetes", "leases is forbidden")

    leases.fault = forbidden
    assert [a.leader.turn() for _ in range(3)] == [TERMS.renew_seconds] * 3
    assert [record.getMessage() for record in caplog.records] == ["Lease pecan: leases is forbidden"]


def test_a_fault_of_ours_does_not_end_the_looking(leases: Leases, a: Process) -> None:
    def fault(when: str) -> None:
        raise KeyError("spec")

    leases.fault = fault
    assert a.leader.turn() == TERMS.renew_seconds
    leases.fault = lambda when: None
    a.leader.turn()
    assert a.leader.leads()


def test_the_threads_lead_renew_and_give_back(leases: Leases) -> None:
    quick = Terms(renew_seconds=0.01, look_seconds=0.01)
    first = Leader(leases, *NAME, "a", terms=quick)
    second = Leader(leases, *NAME, "b", terms=quick)
    never, stop = threading.Event(), threading.Event()
    first.start()
    assert first.wait(never)
    second.start()
    stop.set()
    assert not second.wait(stop)
    assert leases.holder() == "a"
    first.release()
    assert second.wait(never)
    second.release()
    assert leases.holder() == ""


def test_a_leader_whose_renewal_hangs_leaves(leases: Leases) -> None:
    hangs, left = threading.Event(), threading.Event()
    terms = Terms(duration_seconds=1, margin_seconds=0.8, renew_seconds=0.01)
    leader = Leader(leases, *NAME, "a", terms=terms, leave=lambda why: left.set())
    leases.fault = lambda when: hangs.wait(30.0) and None if len(leases.calls) > 2 else None
    leader.start()
    assert leader.wait(threading.Event())
    assert left.wait(20.0)
    hangs.set()
    leader.release()


def test_a_superseded_thread_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[str] = []
    others: list[type[BaseException]] = []
    monkeypatch.setattr(module, "leave", left.append)
    monkeypatch.setattr(threading, "excepthook", lambda thread: others.append(thread.exc_type))
    leave_when_superseded()

    def run(error: BaseException) -> None:
        def work() -> None:
            try:
                raise error
            except Exception:
                others.append(Exception)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    run(Superseded("operator number 2 has taken over"))
    assert (left, others[:1]) == (["operator number 2 has taken over"], [Superseded])
    run(KeyboardInterrupt())
    assert (len(left), others[1:]) == (1, [KeyboardInterrupt])


def test_identities_differ() -> None:
    one, other = new_identity(), new_identity()
    assert one != other
    assert one.rpartition("_")[0] == other.rpartition("_")[0] != ""


def _unavailable(when: str) -> None:
    raise Unavailable("KubernetesUnavailable", "the API server did not answer")


# --- any interleaving -------------------------------------------------------------------------------------------------


class Over(BaseException):
    """The simulation has ended."""


class Race:
    """Two processes, of which one at a time goes on to its next moment: before or after a request takes effect, or at the
    end of a turn. Their clocks differ by a day."""

    def __init__(self, is_orphaned: bool = False) -> None:
        """`is_orphaned`: there is a Lease, of a third one that is no more."""
        self.seconds = 0.0
        self.leases = Leases()
        if is_orphaned:
            self.leases.create(new_lease(*NAME, "c", datetime.now(UTC), TERMS))
        self.leases.fault = self._moment
        self.processes = [Process(self.leases, lambda n=n: self.seconds + n * 86400.0, "ab"[n]) for n in range(2)]
        self._go = [threading.Semaphore(0) for _ in range(2)]
        self._stopped = threading.Semaphore(0)
        self._current = 0
        self._is_lost = False
        self._is_over = False
        self._threads = [threading.Thread(target=self._live, args=(n,), daemon=True) for n in range(2)]
        for thread in self._threads:
            thread.start()

    def step(self, who: int, seconds: float, lost: bool) -> None:
        """Time passes, then `who` goes on; a request it is in the middle of is lost, or its answer is."""
        self.seconds += seconds
        if self.processes[who].left:
            return
        self._current, self._is_lost = who, lost
        self._go[who].release()
        assert self._stopped.acquire(timeout=10.0)

    def end(self) -> None:
        self._is_over = True
        for go in self._go:
            go.release()
        for thread in self._threads:
            thread.join(10.0)

    def leading(self) -> list[int]:
        return [n for n in range(2) if self.processes[n].leader.leads()]

    def _pause(self) -> None:
        who = self._current
        self._stopped.release()
        self._go[who].acquire()
        if self._is_over:
            raise Over

    def _moment(self, when: str) -> None:
        self._pause()
        if self._is_lost:
            _unavailable(when)

    def _live(self, who: int) -> None:
        self._go[who].acquire()
        try:
            while not self._is_over and not self.processes[who].left:
                self.processes[who].leader.turn()
                if not self.processes[who].left:
                    self._pause()
        except Over:
            return
        self._stopped.release()


SECONDS = [0.0, 0.0, 0.0, 0.0, 0.05, 0.25, 1.0, 2.0, 6.0]
LOST = [False] * 9 + [True]
# Some moments of one process, then of the other: alone, neither would come to the end of a turn in time.
MOVES = st.tuples(st.integers(0, 1), st.sampled_from(SECONDS), st.integers(1, 6), st.sampled_from(LOST))
ANSWERED_LATE = [(0, 0.0, 4, False), (1, 0.0, 3, False), (1, 6.0, 5, False), (0, 0.0, 1, False)]
TOO_EARLY = [(0, 0.0, 5, False), (1, 0.0, 3, False), (1, 4.9, 5, False)]
AT_ONCE = [(0, 0.0, 3, False), (1, 0.0, 3, False), (0, 6.0, 3, False), (1, 0.0, 5, False), (0, 0.0, 2, False)]
UNANSWERED = [(0, 0.0, 4, False), (0, 0.0, 1, True), (0, 0.0, 5, False), (1, 0.0, 5, False)]


@example(False, ANSWERED_LATE)
@example(False, UNANSWERED)
@example(False, TOO_EARLY)
@example(True, AT_ONCE)
@given(st.booleans(), st.lists(MOVES, min_size=20, max_size=60))
def test_two_never_lead_at_the_same_time(is_orphaned: bool, moves: list[tuple[int, float, int, bool]]) -> None:
    race = Race(is_orphaned)
    try:
        epochs: dict[Epoch, int] = {}
        for who, seconds, moments, lost in moves:
            for moment in range(moments):
                race.step(who, seconds if moment == 0 else 0.0, lost)
                leading = race.leading()
                assert len(leading) <= 1
                for leader in leading:
                    assert epochs.setdefault(race.processes[leader].leader.epoch(), leader) == leader
    finally:
        race.end()


def test_a_race_has_a_winner() -> None:
    """Else nothing would have been tried above."""
    race = Race()
    try:
        for _ in range(5):
            race.step(0, 0.0, False)
        assert race.leading() == [0]
        for moment in range(8):
            race.step(1, 6.0 if moment == 3 else 0.0, False)
        assert race.leading() == [1]
    finally:
        race.end()
