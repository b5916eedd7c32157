from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.core.scaling import (
    MAX_REGRETS,
    Departure,
    Limits,
    Observation,
    Worker,
    count_busy,
    count_unknown,
    decide_departure,
    decide_replicas,
    patience,
    publish_window,
    regrets_after_growth,
)

LIMITS = Limits(min_replicas=0, max_replicas=10, runs_per_worker=1, idle_seconds=30.0)
QUIET = Observation(
    publishable=0, queued=0, running=0, ready=0, busy=0, unknown=0, replicas=0, seconds_below=0.0
)  # fmt: skip


def seen(**given: Any) -> Observation:
    return replace(QUIET, **given)


def limits(**given: Any) -> Limits:
    return replace(LIMITS, **given)


@pytest.mark.parametrize(
    ("observation", "limit", "replicas", "reason"),
    [
        pytest.param(seen(replicas=None), LIMITS, 0, "ScaledToWork", id="no work, no Deployment: none"),
        pytest.param(seen(), LIMITS, 0, "ScaledToWork", id="no work: none"),
        pytest.param(seen(publishable=3), LIMITS, 3, "ScaledToWork", id="up at once"),
        pytest.param(seen(publishable=3, replicas=2), LIMITS, 3, "ScaledToWork", id="up from some"),
        pytest.param(seen(publishable=300), LIMITS, 10, "ScaledToWork", id="never above max"),
        pytest.param(seen(publishable=7), limits(runs_per_worker=3), 3, "ScaledToWork", id="runsPerWorker rounds up"),
        pytest.param(seen(), limits(min_replicas=2), 2, "ScaledToWork", id="min is kept warm"),
        pytest.param(seen(publishable=1, replicas=2), limits(min_replicas=2), 2, "ScaledToWork", id="min is enough"),
        pytest.param(seen(queued=2, running=1, ready=2, busy=1), LIMITS, 3, "ScaledToWork", id="what is out counts once"),
        pytest.param(seen(ready=4), LIMITS, 4, "ScaledToWork", id="messages of others count"),
        pytest.param(seen(busy=2, replicas=1), LIMITS, 2, "ScaledToWork", id="jobs of others count"),
        pytest.param(seen(publishable=None, replicas=4), LIMITS, 4, "WorkUnknown", id="ledger unknown: held"),
        pytest.param(seen(queued=None, replicas=4), LIMITS, 4, "WorkUnknown", id="queued unknown: held"),
        pytest.param(seen(running=None, replicas=4), LIMITS, 4, "WorkUnknown", id="running unknown: held"),
        pytest.param(seen(ready=None, replicas=4), LIMITS, 4, "WorkUnknown", id="broker unknown: held"),
        pytest.param(
            seen(ready=None, replicas=4), limits(suspended=True), 4, "WorkUnknown", id="unknown holds when suspended"
        ),
        pytest.param(
            seen(ready=None, replicas=None), limits(min_replicas=3), 3, "WorkUnknown", id="unknown from nothing: min"
        ),
        pytest.param(
            seen(ready=None, replicas=None),
            limits(min_replicas=3, suspended=True),
            0,
            "WorkUnknown",
            id="unknown and suspended from nothing: none",
        ),
        pytest.param(seen(replicas=4, seconds_below=29.9), LIMITS, 4, "Idle", id="not before idleSeconds"),
        pytest.param(seen(replicas=4, seconds_below=30.0), LIMITS, 0, "ScaledToWork", id="to zero after idleSeconds"),
        pytest.param(
            seen(replicas=4, busy=2, running=2, seconds_below=30.0), LIMITS, 2, "ScaledToWork", id="down to the busy"
        ),
        pytest.param(
            seen(replicas=4, unknown=1, seconds_below=30.0), LIMITS, 1, "BusyWorkers", id="unknown ones stay"
        ),
        pytest.param(
            seen(replicas=4, unknown=9, seconds_below=30.0), LIMITS, 4, "BusyWorkers", id="never up when going down"
        ),
        pytest.param(seen(replicas=4, publishable=9), limits(suspended=True), 0, "ScaledToWork", id="suspended: none"),
        pytest.param(
            seen(replicas=4, publishable=9, busy=3, running=3),
            limits(suspended=True),
            3,
            "BusyWorkers",
            id="suspended: the busy finish",
        ),
        pytest.param(
            seen(replicas=14, publishable=50), LIMITS, 10, "ScaledToWork", id="above a lowered max: down without delay"
        ),
        pytest.param(
            seen(replicas=14, publishable=50, busy=12, running=12), LIMITS, 12, "BusyWorkers", id="above max, but busy"
        ),
    ],
)  # fmt: skip
def test_decisions(observation: Observation, limit: Limits, replicas: int, reason: str) -> None:
    decision = decide_replicas(observation, limit)
    assert (decision.replicas, decision.reason) == (replicas, reason)
    assert decision.message


def test_the_decision_tells_what_is_outstanding_and_wanted() -> None:
    decision = decide_replicas(seen(publishable=5, queued=2, running=3, ready=2, busy=3, replicas=10), LIMITS)
    assert (decision.outstanding, decision.wanted) == (10, 10)
    assert decide_replicas(seen(ready=None), LIMITS).outstanding is None
    assert decide_replicas(seen(ready=None), LIMITS).wanted is None


counts = st.integers(0, 60)
all_limits = st.builds(
    lambda least, more, per, suspended: Limits(least, least + more, per, 30.0, suspended),
    st.integers(0, 20),
    st.integers(1, 30),
    st.integers(1, 5),
    st.booleans(),
)
observations = st.builds(
    Observation,
    publishable=st.none() | counts,
    queued=st.none() | counts,
    running=st.none() | counts,
    ready=st.none() | counts,
    busy=counts,
    unknown=counts,
    replicas=st.none() | counts,
    seconds_below=st.floats(0, 100),
)


@given(observations, all_limits)
def test_what_always_holds(observation: Observation, limit: Limits) -> None:
    decision = decide_replicas(observation, limit)
    current = observation.replicas
    known = None not in (observation.publishable, observation.queued, observation.running, observation.ready)
    assert decision.replicas >= 0
    assert (decision.outstanding is not None) == known
    if current is None:
        assert decision.replicas <= limit.max_replicas
        return
    if decision.replicas > current:
        assert known
        assert decision.replicas <= limit.max_replicas
        assert not limit.suspended
    if decision.replicas < current:
        assert known
        assert decision.replicas >= min(current, observation.busy + observation.unknown)
        assert limit.suspended or current > limit.max_replicas or observation.seconds_below >= limit.idle_seconds
        assert limit.suspended or decision.replicas >= min(limit.min_replicas, current)
    if not known:
        assert decision.replicas == current


@given(observations, all_limits, st.sampled_from(["publishable", "queued", "running", "ready", "busy"]), counts)
def test_more_work_never_means_fewer_workers(observation: Observation, limit: Limits, field: str, more: int) -> None:
    if getattr(observation, field) is None:
        return
    heavier = replace(observation, **{field: getattr(observation, field) + more})
    assert decide_replicas(heavier, limit).replicas >= decide_replicas(observation, limit).replicas


@given(observations, all_limits)
def test_deciding_again_at_the_result_changes_nothing(observation: Observation, limit: Limits) -> None:
    first = decide_replicas(observation, limit)
    again = decide_replicas(replace(observation, replicas=first.replicas), limit)
    assert again.replicas == first.replicas


def worker(pod: str, idle_since: float | None = None, **given: bool) -> Worker:
    return Worker(
        pod,
        given.get("started", True),
        given.get("known", True),
        idle_since,
        given.get("retired", False),
        given.get("marked", False),
    )


def departure(*, ask: str = "", give: str = "", take: str = "", resume: str = "") -> Departure:
    """Each letter is a pod."""
    return Departure(tuple(ask), tuple(give), tuple(take), tuple(resume), len(ask))


def test_busy_workers_that_are_too_many_are_asked_and_kept() -> None:
    workers = [worker("c"), worker("b"), worker("a", 1.0), worker("d", known=False), worker("e")]
    decision = decide_replicas(seen(busy=3, unknown=1, running=9, replicas=5), limits(max_replicas=2))
    assert (decision.replicas, decision.reason, decision.overdue) == (4, "BusyWorkers", 2)
    found = decide_departure(workers, len(workers) - decision.replicas, decision.overdue)
    assert found == Departure(ask=("a", "b", "c"), give=(), take=(), resume=(), kept=1)


@pytest.mark.parametrize(
    ("workers", "surplus", "expected"),
    [
        pytest.param([worker("a", 1.0), worker("b", 2.0)], 0, departure(), id="nobody has to go"),
        pytest.param([worker("a", 1.0), worker("b", 2.0)], -3, departure(), id="more are coming"),
        pytest.param([worker("a", 2.0), worker("b", 1.0)], 1, departure(ask="b"), id="the longest idle is asked"),
        pytest.param([worker("b", 1.0), worker("a", 1.0)], 1, departure(ask="a"), id="equally idle: by name"),
        pytest.param([worker("a"), worker("b", 9.0)], 1, departure(ask="b"), id="never a busy one"),
        pytest.param([worker("a", known=False), worker("b")], 2, departure(), id="nor an unknown one"),
        pytest.param(
            [worker("a", 1.0), worker("b", started=False, known=False)], 1, departure(), id="unstarted ones go first"
        ),
        pytest.param(
            [worker("a", 1.0), worker("b", started=False, known=False)],
            2,
            departure(ask="a"),
            id="unstarted ones reduce the count",
        ),
        pytest.param([worker("a", 1.0, retired=True)], 1, departure(give="a"), id="retired: may be ended"),
        pytest.param(
            [worker("a", 1.0), worker("b", 9.0, retired=True)], 1, departure(give="b"), id="retired ones go first"
        ),
        pytest.param([worker("a", 1.0, retired=True, marked=True)], 1, departure(), id="marked already"),
        pytest.param(
            [worker("a", 1.0, retired=True, marked=True)], 0, departure(take="a", resume="a"), id="needed after all"
        ),
        pytest.param(
            [worker("a", marked=True), worker("b", 5.0)], 1, departure(ask="b", take="a"), id="resumed and took a job"
        ),
    ],
)
def test_departure(workers: list[Worker], surplus: int, expected: Departure) -> None:
    assert decide_departure(workers, surplus) == expected


def random_worker(started: bool, known: bool, idle: float | None, retired: bool, marked: bool) -> tuple[Any, ...]:
    known = started and known
    idle = idle if known else None
    return started, known, idle, retired and idle is not None, marked


workers_of_a_model = st.lists(
    st.builds(random_worker, st.booleans(), st.booleans(), st.none() | st.floats(0, 100), st.booleans(), st.booleans()),
    max_size=12,
).map(lambda rows: [Worker(f"pod-{n}", *row) for n, row in enumerate(rows)])


@given(workers_of_a_model, st.integers(-3, 15), st.integers(0, 12))
def test_who_goes(workers: list[Worker], surplus: int, overdue: int) -> None:
    found = decide_departure(workers, surplus, overdue)
    by_name = {each.pod: each for each in workers}
    marked = {each.pod for each in workers if each.marked} - set(found.take) | set(found.give)
    retired = {each.pod for each in workers if each.retired}
    busy = {each.pod for each in workers if each.known and each.idle_since is None}
    assert len(busy & set(found.ask)) == min(overdue, len(busy))
    going = set(found.ask) - busy | (retired - set(found.resume))
    idle = [each for each in workers if each.idle_since is not None]
    unstarted = sum(not each.started for each in workers)
    assert all(by_name[pod].idle_since is not None for pod in going)
    assert len(going) == min(len(idle), max(0, surplus - unstarted))
    assert marked <= going
    assert set(found.give) <= retired
    assert not set(found.give) & set(found.take)
    assert not set(found.ask) & set(found.resume)


@given(workers_of_a_model, st.integers(0, 12))
def test_only_retired_workers_are_left_to_be_ended(workers: list[Worker], wanted: int) -> None:
    """What the Deployment is lowered to leaves no place where a worker that could have a job would have to go."""
    observation = seen(
        busy=count_busy(workers), unknown=count_unknown(workers), replicas=len(workers), running=wanted,
        seconds_below=99.0,
    )  # fmt: skip
    decision = decide_replicas(observation, limits(max_replicas=100))
    target = decision.replicas
    found = decide_departure(workers, len(workers) - target, decision.overdue)
    ended = len(workers) - (target + found.kept)
    marked = {each.pod for each in workers if each.marked} - set(found.take) | set(found.give)
    unstarted = sum(not each.started for each in workers)
    assert all(each.retired for each in workers if each.pod in marked)
    assert len(marked) + unstarted >= ended


def test_counting() -> None:
    workers = [worker("a"), worker("b", 1.0), worker("c", known=False), worker("d", known=False, started=False)]
    assert (count_busy(workers), count_unknown(workers)) == (1, 1)


@pytest.mark.parametrize(
    ("replicas", "recent", "queued", "window"),
    [
        (0, 0, 0, 2),
        (1, 0, 0, 2),
        (4, 0, 8, 8),
        (4, 50, 40, 50),
        (4, 50, 12, 200),
        (1, 2, 0, 8),
        (4, 5000, 999, 1000),
        (900, 0, 0, 1000),
    ],
)
def test_the_window_keeps_every_worker_supplied(replicas: int, recent: int, queued: int, window: int) -> None:
    assert publish_window(replicas, recent, queued) == window


def test_a_worker_of_very_short_runs_is_not_held_up_while_the_window_opens() -> None:
    """Two hundred runs a second, a turn each 50 ms: after three turns the worker never waits again."""
    queued, ended, turns = 0.0, [0] * 10, 0
    while queued < 10:
        window = publish_window(1, sum(ended), int(queued))
        queued = max(queued, window)
        done = min(queued, 10.0)
        queued -= done
        ended = [*ended[1:], int(done)]
        turns += 1
    assert turns <= 3


def test_a_trickle_soon_leaves_the_worker_in_peace() -> None:
    """A job each 20 s, and idleSeconds 10: the first pause ends the worker, the next does not."""
    regrets, down_at, replicas, changes = 0, None, 0, 0
    idle_since = None
    for tenth in range(3000):
        now = tenth / 10
        if tenth % 200 == 0:
            if replicas == 0:
                regrets = regrets_after_growth(regrets, None if down_at is None else now - down_at, 10)
                replicas, changes = 1, changes + 1
            idle_since = now + 0.5
        elif replicas and idle_since is not None and now - idle_since >= patience(10, regrets):
            replicas, down_at, changes = 0, now, changes + 1
    assert changes == 3


@pytest.mark.parametrize(
    ("regrets", "since_down", "expected"),
    [
        pytest.param(0, None, 0, id="none has gone yet"),
        pytest.param(0, 29.0, 1, id="missed soon"),
        pytest.param(0, 31.0, 0, id="not missed"),
        pytest.param(1, 59.0, 2, id="missed again"),
        pytest.param(MAX_REGRETS, 10.0, MAX_REGRETS, id="no longer than that"),
        pytest.param(2, 10_000.0, 0, id="after a long rest all is as at first"),
    ],
)
def test_regrets(regrets: int, since_down: float | None, expected: int) -> None:
    assert regrets_after_growth(regrets, since_down, 10) == expected
