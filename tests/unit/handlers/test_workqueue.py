import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pecan_operator.errors import NotYet, Unavailable, UserError
from pecan_operator.handlers.workqueue import (
    BACKOFF_FIRST_SECONDS,
    BACKOFF_MAX_SECONDS,
    Key,
    Schedule,
    WorkQueue,
)

A, B, C = (Key("PecanWorkflow", "forest", name) for name in "abc")


def test_the_longest_due_comes_first() -> None:
    schedule = Schedule()
    schedule.add(A, 2.0)
    schedule.add(B, 1.0)
    assert schedule.take(0.5) is None
    assert schedule.next_due() == 1.0
    assert [schedule.take(3.0), schedule.take(3.0), schedule.take(3.0)] == [B, A, None]


def test_calls_for_a_key_become_one_and_the_earliest_wins() -> None:
    schedule = Schedule()
    for due in (5.0, 1.0, 9.0):
        schedule.add(A, due)
    assert schedule.next_due() == 1.0
    assert schedule.take(10.0) == A
    schedule.done(A)
    assert schedule.take(10.0) is None


def test_what_comes_while_a_key_is_handled_waits_for_its_end() -> None:
    schedule = Schedule()
    schedule.add(A, 0.0)
    assert schedule.take(0.0) == A
    schedule.add(A, 3.0)
    schedule.add(A, 1.0)
    schedule.add(A, 2.0)
    schedule.add(B, 5.0)
    # The next moment is that of another key: nobody waits for one that cannot be taken.
    assert schedule.next_due() == 5.0
    assert schedule.take(4.0) is None
    schedule.done(A)
    assert schedule.next_due() == 1.0


class Appointments(RuleBasedStateMachine):
    """Against the plainest model: a set of wishes for each key."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule()
        self.wishes: dict[Key, list[float]] = {}
        self.running: set[Key] = set()
        self.now = 0.0

    @rule(key=st.sampled_from([A, B, C]), delay=st.integers(0, 5))
    def add(self, key: Key, delay: int) -> None:
        self.schedule.add(key, self.now + delay)
        self.wishes.setdefault(key, []).append(self.now + delay)

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        can = {key: min(due) for key, due in self.wishes.items() if key not in self.running and min(due) <= self.now}
        key = self.schedule.take(self.now)
        assert (key is None) == (not can)
        if key is not None:
            assert can[key] == min(can.values())
            self.running.add(key)
            del self.wishes[key]

    @rule(key=st.sampled_from([A, B, C]))
    def done(self, key: Key) -> None:
        if key in self.running:
            self.running.remove(key)
            self.schedule.done(key)

    @invariant()
    def the_next_moment_is_known(self) -> None:
        due = [min(due) for key, due in self.wishes.items() if key not in self.running]
        assert self.schedule.next_due() == min(due, default=None)


TestAppointments = Appointments.TestCase
TestAppointments.settings = settings(stateful_step_count=20)


class Clock:
    """A clock that a test moves; `queue` is woken as if the time had passed."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def wait_until(true: Callable[[], bool], seconds: float = 2.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "did not happen"
        time.sleep(0.001)


class Calls:
    """A handler that notes its calls and raises what it is told to."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.raises: list[Exception] = []
        self.at: list[float] = []
        self.clock = time.monotonic

    def __call__(self, key: Key) -> None:
        self.keys.append(key)
        self.at.append(self.clock())
        if self.raises:
            raise self.raises.pop(0)


def test_a_key_is_handled_by_one_thread_at_a_time_and_once_more_when_asked_meanwhile() -> None:
    at_once = most = 0
    lock = threading.Lock()
    calls: list[Key] = []
    go = threading.Event()

    def handle(key: Key) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        go.wait(2.0)
        with lock:
            at_once -= 1
            calls.append(key)

    queue = WorkQueue(handle, threads=4)
    queue.start()
    queue.add(A)
    wait_until(lambda: at_once == 1)
    for _ in range(50):
        queue.add(A)
    assert queue.longest_running_seconds() >= 0.0
    go.set()
    wait_until(lambda: len(calls) == 2)
    queue.stop()
    assert calls == [A, A]
    assert most == 1


def test_other_keys_do_not_wait_for_a_slow_one() -> None:
    go = threading.Event()
    handled: list[Key] = []

    def handle(key: Key) -> None:
        if key == A:
            go.wait(2.0)
        handled.append(key)

    queue = WorkQueue(handle, threads=2)
    queue.start()
    queue.add(A)
    wait_until(lambda: queue.longest_running_seconds() > 0)
    queue.add(A)
    began = time.monotonic()
    queue.add(B, 0.02)
    wait_until(lambda: handled == [B])
    assert time.monotonic() - began < 0.5
    go.set()
    queue.stop()


def run_once(calls: Calls, raises: Exception | None, turns: int = 1) -> list[float | None]:
    """The delays after which a failing key is taken up again; no thread and no waiting."""
    queue = WorkQueue(calls)
    delays = []
    for _ in range(turns):
        calls.raises = [] if raises is None else [raises]
        delays.append(queue._run(A))
    return delays


def test_a_failing_key_backs_off() -> None:
    delays = run_once(Calls(), Unavailable("DatabaseUnavailable", "no answer"), turns=9)
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert (delays[0], delays[-1]) == (BACKOFF_FIRST_SECONDS, BACKOFF_MAX_SECONDS)


@pytest.mark.parametrize("raised", [UserError("Bad", "x"), Unavailable("Away", "x"), RuntimeError("a bug")])
def test_back_off_is_by_key_and_ends_with_success(raised: Exception) -> None:
    queue = WorkQueue(calls := Calls())

    def run(key: Key, *raises: Exception) -> float | None:
        calls.raises = list(raises)
        return queue._run(key)

    assert [run(A, raised), run(A, raised), run(B, raised)] == [0.5, 1.0, 0.5]
    assert run(A) is None
    assert run(A, raised) == 0.5


def test_not_yet_is_tried_again_when_it_says_and_is_no_failure() -> None:
    queue = WorkQueue(calls := Calls())
    calls.raises = [RuntimeError(), NotYet("OldJob", "going", 2.0), RuntimeError()]
    assert [queue._run(A), queue._run(A), queue._run(A)] == [0.5, 2.0, 0.5]


@given(st.lists(st.booleans(), max_size=30))
def test_the_delay_is_never_longer_than_its_limit(fails: list[bool]) -> None:
    queue = WorkQueue(calls := Calls())
    for fail in fails:
        calls.raises = [Unavailable("Away", "x")] if fail else []
        delay = queue._run(A)
        assert (delay is not None) == fail
        assert delay is None or BACKOFF_FIRST_SECONDS <= delay <= BACKOFF_MAX_SECONDS


def test_retries_and_delays_follow_the_given_clock() -> None:
    clock, calls = Clock(), Calls()
    calls.clock = clock
    calls.raises = [Unavailable("Away", "x")]
    queue = WorkQueue(calls, threads=1, clock=clock)
    queue.start()
    queue.add(A)
    wait_until(lambda: len(calls.keys) == 1)
    queue.add(B, 0.2)
    clock.now += 0.3
    queue.add(C, 9.0)
    wait_until(lambda: calls.keys == [A, B])
    clock.now += 0.3
    queue.add(C, 9.0)
    wait_until(lambda: calls.keys == [A, B, A])
    queue.stop()
    assert calls.at == [100.0, 100.3, pytest.approx(100.6)]


def test_an_event_is_not_held_back_by_a_back_off() -> None:
    calls = Calls()
    calls.raises = [Unavailable("Away", "x")]
    queue = WorkQueue(calls, threads=1)
    queue.start()
    queue.add(A)
    wait_until(lambda: len(calls.keys) == 1)
    queue.add(A)
    wait_until(lambda: len(calls.keys) == 2, seconds=0.4)
    queue.stop()


def test_stopping_lets_the_running_finish_and_takes_up_nothing() -> None:
    go, began = threading.Event(), threading.Event()
    handled: list[Key] = []

    def handle(key: Key) -> None:
        began.set()
        go.wait(2.0)
        handled.append(key)

    queue = WorkQueue(handle, threads=1)
    queue.start()
    queue.add(A)
    assert began.wait(2.0)
    queue.add(B)
    stopping = threading.Thread(target=queue.stop)
    stopping.start()
    go.set()
    stopping.join(2.0)
    assert handled == [A]
    assert queue.longest_running_seconds() == 0.0


def test_stopping_does_not_wait_for_ever() -> None:
    go = threading.Event()
    queue = WorkQueue(lambda _: go.wait(2.0) and None, threads=1)
    queue.start()
    queue.add(A)
    wait_until(lambda: queue.longest_running_seconds() > 0)
    began = time.monotonic()
    queue.stop(deadline_seconds=0.02)
    assert time.monotonic() - began < 1.0
    go.set()
