import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.core.fairness import allocate
from pecan_operator.records import Backlog


def backlog(workflow_id: int, planned: int, in_flight: int = 0, priority: int = 0, limit: int | None = None) -> Backlog:
    return Backlog(workflow_id, planned, in_flight, priority, limit)


@pytest.mark.parametrize(
    ("backlogs", "slots", "given"),
    [
        pytest.param([], 10, {}, id="nothing waits"),
        pytest.param([backlog(1, 5)], 0, {}, id="no place"),
        pytest.param([backlog(1, 5)], -3, {}, id="more out than the window"),
        pytest.param([backlog(1, 5)], 10, {1: 5}, id="all of one"),
        pytest.param([backlog(1, 100_000), backlog(2, 3)], 8, {1: 5, 2: 3}, id="a small one is not stuck"),
        pytest.param([backlog(1, 9), backlog(2, 9)], 5, {1: 3, 2: 2}, id="the odd place goes to the older"),
        pytest.param([backlog(1, 9, 6), backlog(2, 9)], 6, {2: 6}, id="what is out already counts"),
        pytest.param([backlog(1, 99, priority=0), backlog(2, 99, priority=2)], 8, {1: 2, 2: 6}, id="by weight"),
        pytest.param([backlog(1, 9, 3, limit=4), backlog(2, 1)], 9, {1: 1, 2: 1}, id="within maxParallel"),
        pytest.param([backlog(1, 9, 9, limit=4)], 9, {}, id="above a lowered maxParallel"),
        pytest.param([backlog(1, 0), backlog(2, 1)], 9, {2: 1}, id="nothing planned"),
    ],
)
def test_shares(backlogs: list[Backlog], slots: int, given: dict[int, int]) -> None:
    assert allocate(backlogs, slots) == given


backlogs = st.lists(
    st.builds(
        Backlog,
        workflow_id=st.integers(1, 10**6),
        planned=st.integers(0, 40),
        in_flight=st.integers(0, 20),
        priority=st.integers(0, 9),
        max_parallel=st.none() | st.integers(1, 30),
    ),
    max_size=8,
    unique_by=lambda each: each.workflow_id,
)


def room(each: Backlog) -> int:
    free = each.planned if each.max_parallel is None else each.max_parallel - each.in_flight
    return max(0, min(each.planned, free))


@given(backlogs, st.integers(-5, 200))
def test_places_are_used_and_limits_kept(waiting: list[Backlog], slots: int) -> None:
    shares = allocate(waiting, slots)
    by_id = {each.workflow_id: each for each in waiting}
    assert all(0 < share <= room(by_id[workflow_id]) for workflow_id, share in shares.items())
    assert sum(shares.values()) == min(max(slots, 0), sum(map(room, waiting)))


@given(backlogs, st.integers(0, 200))
def test_nobody_is_further_ahead_than_one_run(waiting: list[Backlog], slots: int) -> None:
    """Max-min: whoever still could take a place is not behind anyone who got one, by weight."""
    shares = allocate(waiting, slots)
    for other in waiting:
        got = shares.get(other.workflow_id, 0)
        if got == 0:
            continue
        last = (other.in_flight + got) / (1 + other.priority)
        for each in waiting:
            mine = shares.get(each.workflow_id, 0)
            if mine < room(each):
                assert (each.in_flight + mine + 1) / (1 + each.priority) >= last


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 60))
def test_nobody_starves(priorities: list[int], weight_of_the_big_one: int) -> None:
    """One place at a time, everything else full: each workflow is served within a round of all weights."""
    waiting = [backlog(n, 1000, 0, priority) for n, priority in enumerate([*priorities, weight_of_the_big_one])]
    turns = sum(1 + each.priority for each in waiting)
    shares = allocate(waiting, turns)
    assert shares == {each.workflow_id: 1 + each.priority for each in waiting}
